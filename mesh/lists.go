package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// due does what the time asks for: expiry, lists of what has changed, lists of
// the period. Changes go out in rounds at least a second apart.
func (h *hub) due(now time.Time) {
	if now.Sub(h.checked) >= time.Second {
		h.checked = now
		h.expire(now)
		h.announce(func(c *client) bool { return now.Sub(c.listed) >= listEvery })
	}
	rate := float64(h.limits.listRate()) / 8
	if h.changed && now.Sub(h.published) >= time.Second && h.listBucket.take(0, rate, rate, now) {
		h.published = now
		h.generation++
		h.announce(func(*client) bool { return true })
		h.deliver(now)
		h.introduce() // after the lists: whom to send to is in them
		h.changed, h.fresh = false, nil
		return
	}
	h.deliver(now)
}

// announce lets those who are to have a list wait for it.
func (h *hub) announce(isDue func(*client) bool) {
	for _, c := range h.inOrder() {
		if !c.waits && isDue(c) {
			c.waits = true
			h.waiting = append(h.waiting, c)
		}
	}
}

// deliver sends lists to those who wait for one, as fast as lists may go.
func (h *hub) deliver(now time.Time) {
	rate := float64(h.limits.listRate()) / 8
	for len(h.waiting) > 0 {
		c := h.waiting[0]
		if h.clients[c.id] != c {
			h.waiting = h.waiting[1:]
			continue
		}
		packets := h.listFor(c)
		// A bucket of a second, and never smaller than one whole list.
		size := max(rate, float64(len(packets)*wire.MaxPacket))
		if !h.listBucket.take(float64(len(packets)*wire.MaxPacket), rate, size, now) {
			return
		}
		h.waiting = h.waiting[1:]
		c.waits, c.listed = false, now
		a := c.main()
		for _, p := range packets {
			token := c.stamps.fresh(now)
			p.ID, p.Stamp, p.Seen = c.id, &token, a.outside
			c.sent++
			h.sendSigned(a, p)
		}
	}
	h.waiting = nil
}

// inOrder is all clients by admission.
func (h *hub) inOrder() []*client {
	all := make([]*client, 0, len(h.clients))
	for _, c := range h.clients {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *client) int { return cmp.Compare(a.order, b.order) })
	return all
}

func (h *hub) listFor(c *client) []*wire.Packet {
	if c.sonde {
		return h.pagesFor(c)
	}
	return []*wire.Packet{h.oldListFor(c)}
}

// An old client takes one list of one packet, and answers only whom it lists.
const (
	oldListRoom  = wire.MaxPacket - 51
	oldEntry     = 8
	oldPairEntry = 16 // with an inside address
	oldMost      = oldListRoom / oldPairEntry
)

// oldListFor is the list as of old. When not everybody fits, each old client
// is listed to the old clients that were admitted next before and after it, so
// that of two old clients either both list the other or none; nodes, which
// answer all who are listed to them, get what room is left.
func (h *hub) oldListFor(c *client) *wire.Packet {
	var old, nodes []*client
	for _, o := range h.inOrder() {
		if !o.at[0].outside.IsValid() || o.observes() {
			continue
		}
		if o.sonde {
			nodes = append(nodes, o)
		} else {
			old = append(old, o)
		}
	}
	p := &wire.Packet{Whole: true}
	room := oldListRoom
	chosen := nearest(old, c, oldMost)
	slices.SortFunc(chosen, func(a, b *client) int { return cmp.Compare(a.order, b.order) })
	for _, o := range append(chosen, nodes...) {
		l := wire.Listed{Outside: o.at[0].outside}
		need := oldEntry
		if o.at[0].outside.Addr() == c.at[0].outside.Addr() && o.local.Addr().Is4() {
			l.Inside, need = o.local, oldPairEntry
		}
		if room -= need; room < 0 {
			break
		}
		p.Peers = append(p.Peers, l)
	}
	return p
}

// nearest is the neighbours of c in the ring of all, c itself left out: half of
// most on each side.
func nearest(all []*client, c *client, most int) []*client {
	i := slices.Index(all, c)
	if i >= 0 {
		all = slices.Concat(all[i+1:], all[:i])
	}
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most/2]), all[len(all)-most/2:]...)
}

// pagesFor is the list for a node, in as many packets as it needs.
func (h *hub) pagesFor(c *client) []*wire.Packet {
	hello := stream(wire.Hello{Part: wire.PartServer, Can: h.can(), Name: h.name}, h.reflection(c.main()))
	room := 1300 - h.keys.room() // of a page's records; the fields and the list's own header take the rest
	var pages [][]wire.Entry
	var page []wire.Entry
	size, total := 0, 0
	for _, o := range h.inOrder() {
		if o == c || o.observes() || total == wire.MaxEntries || len(pages) == 254 {
			continue
		}
		e := o.entryFor(c)
		b, err := e.AppendBinary(nil)
		if err != nil {
			h.log.Error("cannot list a client", "id", o.id, "err", err)
			continue
		}
		if size+len(b) > room-len(hello) {
			pages, page, size = append(pages, page), nil, 0
		}
		page, size, total = append(page, e), size+len(b), total+1
	}
	pages = append(pages, page)
	packets := make([]*wire.Packet, len(pages))
	for i, entries := range pages {
		l := wire.List{Generation: h.generation, Page: uint8(i), Pages: uint8(len(pages)), Total: uint16(total), Entries: entries}
		packets[i] = &wire.Packet{Ext: append(slices.Clone(hello), stream(l)...)}
	}
	return packets
}

func (h *hub) can() wire.Capabilities {
	can := wire.IsSplit // two sockets of a node are joined
	if h.relay != nil {
		can |= wire.OffersRelay
	}
	return can
}

// observes reports whether a client only sees who is there.
func (o *client) observes() bool { return o.hello.Part == wire.PartControl }

// entryFor is how o is listed to c.
func (o *client) entryFor(c *client) wire.Entry {
	e := wire.Entry{ID: o.id, Mapping: o.hello.Mapping, Filtering: o.hello.Filtering, Name: o.hello.Name, Candidates: o.candidatesFor(c)}
	if !o.sonde {
		e.Flags |= wire.EntryOld
	}
	if sharesOutside(o, c) {
		e.Flags |= wire.EntryNeighbour
	}
	return e
}

func sharesOutside(a, b *client) bool {
	x, y := a.at[0].outside.Addr(), b.at[0].outside.Addr()
	return x.IsValid() && x == y
}

// candidatesFor is what c may try to reach o: where we see it, and what it says
// of itself. Private addresses are for those who can use them: behind the same
// outside address, or with an address in the same prefix.
func (o *client) candidatesFor(c *client) []wire.Candidate {
	var all []wire.Candidate
	for _, a := range o.at {
		if a.outside.IsValid() && (!a.outside.Addr().IsLoopback() || c.isLoopback()) {
			all = append(all, wire.Candidate{Kind: wire.CandidateReflexive, Priority: 50, At: a.outside})
		}
	}
	for _, k := range o.offered {
		if isPublic(k.At.Addr()) || sharesOutside(o, c) || c.sharesPrefix(k.At.Addr()) {
			all = append(all, k)
		}
	}
	if !o.sonde && o.local.IsValid() && sharesOutside(o, c) {
		all = append(all, wire.Candidate{Kind: wire.CandidateHost, Priority: 100, At: o.local})
	}
	return all[:min(len(all), wire.MaxCandidates)]
}

// isPublic reports whether everybody may hear of an address.
func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrier.Contains(a)
}

// carrier is the address space between carriers and their customers: RFC 6598.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// sharesPrefix reports whether the client has a host address beside a.
func (c *client) sharesPrefix(a netip.Addr) bool {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	near, err := a.Prefix(bits)
	if err != nil {
		return false
	}
	for _, k := range c.offered {
		if k.Kind == wire.CandidateHost && near.Contains(k.At.Addr()) {
			return true
		}
	}
	return false
}

// introduce tells new nodes and all others when to send to each other.
func (h *hub) introduce() {
	for _, c := range h.clients {
		if !c.sonde {
			continue
		}
		targets := h.fresh
		if slices.Contains(h.fresh, c) {
			targets = h.inOrder()
		}
		h.listBucket.level -= float64(h.punch(c, targets)) // lists pay for it
	}
}

// echoSize is the field YOURTS.
const echoSize = 10

// punch sends c a Punch for each of the nodes among targets, as many to a
// packet as fit.
func (h *hub) punch(c *client, targets []*client) (sent int) {
	var ext []byte
	flush := func() {
		if len(ext) > 0 {
			sent += h.sendSigned(c.main(), &wire.Packet{ID: c.id, Ext: ext})
			ext = nil
		}
	}
	for _, o := range targets {
		if o == c || !o.sonde || o.observes() || c.observes() || h.clients[o.id] != o {
			continue
		}
		b := stream(wire.Punch{Nonce: h.seal.pair(c.id, o.id), Start: h.headStart(c, o), Peer: o.id, Candidates: o.candidatesFor(c)})
		if len(ext)+len(b)+h.keys.room()+echoSize > wire.MaxStream {
			flush()
		}
		ext = append(ext, b...)
	}
	flush()
	return sent
}

// headStart is how long c is to wait, so that the first packets of both leave at
// about the same time: half of what the other's round trip is longer, ms.
func (h *hub) headStart(c, o *client) uint16 {
	if c.rtt == nil || o.rtt == nil || *o.rtt <= *c.rtt {
		return 0
	}
	return uint16(min((*o.rtt-*c.rtt)/2, time.Second) / time.Millisecond)
}
