package mesh

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// How long and for how many addresses the lobby remembers.
const (
	pendingFor  = 10 * time.Second
	provenFor   = 60 * time.Second
	lobbyPlaces = 4096
)

// A visitor is a client at an address that is not in the table.
type visitor struct {
	at netip.AddrPort
	id wire.ID
}

// A registration is what a client says of itself.
type registration struct {
	who     visitor
	via     door // it came to
	local   netip.AddrPort
	stamp   uint64 // MYTS
	records []wire.Record
}

// A lobby remembers registrations until their senders have proven to hear, and
// who has proven it without one. Its memory does not grow with what is sent to
// it: the oldest is forgotten for the newest.
type lobby struct {
	pending ring[registration]
	proven  ring[struct{}]
}

// A ring remembers the latest lobbyPlaces visitors, each for a while.
type ring[T any] struct {
	places []struct {
		who   visitor
		value T
		until time.Time
	}
	index map[visitor]int
	next  int
}

func (r *ring[T]) put(who visitor, value T, until time.Time) {
	if r.index == nil {
		r.index = map[visitor]int{}
	}
	i, ok := r.index[who]
	switch {
	case ok:
	case len(r.places) < lobbyPlaces:
		i = len(r.places)
		r.places = append(r.places, struct {
			who   visitor
			value T
			until time.Time
		}{})
	default:
		i = r.next % lobbyPlaces
		r.next++
		if r.index[r.places[i].who] == i {
			delete(r.index, r.places[i].who)
		}
	}
	p := &r.places[i]
	p.who, p.value, p.until = who, value, until
	r.index[who] = i
}

// take returns what was put for who, once.
func (r *ring[T]) take(who visitor, now time.Time) (value T, ok bool) {
	i, ok := r.index[who]
	if !ok {
		return value, false
	}
	p := &r.places[i]
	delete(r.index, who)
	value, ok = p.value, now.Before(p.until)
	clear(r.places[i : i+1])
	return value, ok
}

// stranger takes a packet of somebody who is not in the table. It answers with
// at most one packet, not longer than what came, and nobody else hears of it.
func (h *hub) stranger(now time.Time, via door, from netip.AddrPort, p *wire.Packet, records []wire.Record, size int) {
	who := visitor{from, p.ID}
	if p.Echo != nil && h.seal.proves(*p.Echo, from, p.ID, now) {
		if r, ok := h.lobby.pending.take(who, now); ok {
			h.admit(now, r)
		} else {
			h.lobby.proven.put(who, struct{}{}, now.Add(provenFor))
		}
		return
	}
	switch {
	case p.Stamp == nil || p.Shutdown:
		h.drops[dropSource]++
		return
	case !p.Local.IsValid():
		h.drops[dropOrder]++
		return
	}
	l := h.limits
	if !h.strangers.of(from.Addr()).take(1, float64(l.perStranger()), float64(l.perStranger()), now) ||
		!h.allStrangers.take(1, float64(l.strangers()), float64(l.strangers()), now) {
		h.drops[dropLimit]++
		return
	}
	r := registration{who: who, via: via, local: p.Local, stamp: *p.Stamp, records: copyOf(records)}
	if _, ok := h.lobby.proven.take(who, now); ok {
		h.admit(now, r)
		return
	}
	h.lobby.pending.put(who, r, now.Add(pendingFor))
	h.challenge(now, r, *p.Stamp, size)
}

// challenge answers a registration of size bytes: with acknowledgement, token
// and address if there is room for them, and the token alone otherwise, which
// an old client echoes as well.
func (h *hub) challenge(now time.Time, r registration, echo uint64, size int) {
	token := h.seal.challenge(r.who.at, r.who.id, now)
	p := &wire.Packet{ID: r.who.id, Echo: &echo, Stamp: &token, Seen: r.who.at}
	short := &wire.Packet{ID: r.who.id, Stamp: &token}
	if h.isFull(r.who.at.Addr()) {
		short = &wire.Packet{ID: r.who.id, Echo: &echo}
		p = short
		h.drops[dropLimit]++
	}
	for _, answer := range []*wire.Packet{p, short} {
		answer.Role, answer.Release, answer.Sequence = wire.FromServer, wire.ReleaseSonde, h.sequence
		b, err := h.keys.append(answer, noID, answer.ID, r.who.at.Addr(), h.keys.stamp(now, h.counterOf(answer.ID)))
		if err == nil && len(b) <= size {
			h.sequence++
			h.out(r.via, r.who.at, b)
			return
		}
	}
	h.drops[dropSize]++
}

// copyOf makes records that do not alias the datagram. Only those that matter
// in a registration are kept.
func copyOf(records []wire.Record) []wire.Record {
	var kept []wire.Record
	for _, r := range records {
		if r.Type == wire.RecordHello || r.Type == wire.RecordCandidates {
			kept = append(kept, wire.Record{Type: r.Type, Value: append([]byte(nil), r.Value...)})
		}
	}
	return kept
}
