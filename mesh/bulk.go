package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// Limits of bulk transfer. All are on what a peer can make us keep.
const (
	maxGives     = 8  // files that one peer is given at once
	maxFetches   = 8  // files that one peer pushes at once
	maxTransfers = 64 // of each, in all
	maxSources   = 8  // of one file
	maxFinished  = 64 // ended transfers whose end is told again
	maxRefusals  = 20 // a second, to one peer; the rest is silence

	defaultAcceptMax = 1 << 30
	acceptedFor      = 64 // files of the largest size, until the node ends

	// relayedRate is what bulk transfer sends by way of a server, bit/s: three
	// quarters of what Relaying gives a pair, the rest is for the pings.
	relayedRate = 48_000
)

// A bulk moves files for a node: it knows all transfers and hands each what
// arrives for it. A packet counts only from an address at which the peer has
// answered a check, and what is sent goes to the path in use, so that nobody
// can have files sent to somebody else.
type bulk struct {
	node  *Node
	ctx   context.Context // of the node's run
	log   *slog.Logger
	out   func(to netip.AddrPort, b []byte) error
	shelf *shelf // nil: gives nothing that is asked for
	wg    sync.WaitGroup

	asked, given *throttle // BulkRate, each way

	mu         sync.Mutex // guards what follows; never held while taking that of the node
	fetches    map[exchange]*fetch
	gives      map[exchange]*give
	coming     map[wire.Hash]bool // pushed objects under way
	neighbours map[wire.ID]*neighbour
	finished   []finished // the latest ends of pushes
	accepted   uint64     // bytes taken from others, and promised
}

// An exchange names a transfer: request numbers are the peers' own.
type exchange struct {
	peer    wire.ID
	request uint64
}

// A finished transfer is remembered, for its end may be lost on the way.
type finished struct {
	exchange
	status wire.DoneStatus
}

// A neighbour is what a peer has to do with us.
type neighbour struct {
	gives, fetches int
	refusals       bucket
	quiet          time.Time // until then unknown requests are not answered
}

// startBulk makes the engine of a node that starts to run.
func (n *Node) startBulk(ctx context.Context, log *slog.Logger, out func(netip.AddrPort, []byte) error) (*bulk, error) {
	b := &bulk{
		node: n, ctx: ctx, log: log, out: out, asked: newThrottle(n.BulkRate), given: newThrottle(n.BulkRate),
		fetches: map[exchange]*fetch{}, gives: map[exchange]*give{}, coming: map[wire.Hash]bool{}, neighbours: map[wire.ID]*neighbour{},
	}
	if n.Accept != "" {
		root, err := os.OpenRoot(n.Accept)
		if err != nil {
			return nil, &result.Error{Word: result.CodeLocal, Text: "mesh: folder for files of others", Hint: "name a folder that is there", Err: err}
		}
		sweep(root)
		root.Close()
	}
	if n.Serve != "" {
		var err error
		if b.shelf, err = newShelf(n.Serve); err != nil {
			return nil, &result.Error{Word: result.CodeLocal, Text: "mesh: folder to serve", Hint: "name a folder that is there", Err: err}
		}
	}
	return b, nil
}

// end waits for all transfers that peers began; ctx must have ended.
func (b *bulk) end() {
	b.wg.Wait()
	if b.shelf != nil {
		b.shelf.close()
	}
}

// joined is ctx that ends with the node, too.
func (b *bulk) joined(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(b.ctx, func() {
		cancel(&result.Error{Word: result.CodeInterrupted, Text: "mesh: the node has ended"})
	})
	return ctx, func() { stop(); cancel(nil) }
}

// A note is what arrived for a transfer.
type note struct {
	exchange
	at    time.Time
	body  any     // one of the bodies of bulk transfer
	stamp *uint64 // MYTS of its packet
	echo  *uint64 // YOURTS
}

// take takes the records of a message; the node's agent is ours meanwhile.
func (b *bulk) take(a *agent, p *peer, m *message) {
	if !b.isProven(p, m) {
		a.drops[dropBulk]++
		return
	}
	for _, r := range m.bulk {
		n := note{exchange: exchange{peer: p.key.id}, at: m.at, stamp: m.Stamp, echo: m.Echo}
		var err error
		var reply []wire.Body
		switch r.Type {
		case wire.RecordOffer:
			var o wire.Offer
			if o, err = wire.ParseOffer(r.Value); err == nil {
				n.request, n.body = o.Request, o
				reply = b.offered(n, o)
			}
		case wire.RecordBlock:
			var k wire.Block
			if k, err = wire.ParseBlock(r.Value); err == nil {
				n.request, n.body = k.Request, k
				err = b.toFetch(n)
			}
		case wire.RecordWant:
			var w wire.Want
			if w, err = wire.ParseWant(r.Value); err == nil {
				n.request = w.Request
				reply = b.wanted(n, w, m.size)
			}
		case wire.RecordGet:
			var g wire.Get
			if g, err = wire.ParseGet(r.Value); err == nil {
				n.request, n.body = g.Request, g
				reply = b.asksFor(n)
			}
		case wire.RecordDone:
			var d wire.Done
			if d, err = wire.ParseDone(r.Value); err == nil {
				n.request, n.body = d.Request, d
				if !b.toGive(n) { // it ended here; the answer was lost
					reply = b.refuse(n, wire.CancelClosed, "")
				}
			}
		case wire.RecordCancel:
			var c wire.Cancel
			if c, err = wire.ParseCancel(r.Value); err == nil {
				n.request, n.body = c.Request, c
				if !b.toGive(n) {
					err = b.toFetch(n)
				}
			}
		}
		if err != nil {
			a.drops[dropBulk]++
		}
		for _, body := range reply {
			b.reply(a, p, body)
		}
	}
}

// isProven reports whether the peer has answered at the address that a message
// is from, or whether it was relayed and may be.
func (b *bulk) isProven(p *peer, m *message) bool {
	if p.key.id == (wire.ID{}) || p.self {
		return false
	}
	if m.via != nil {
		return b.node.BulkRelayed
	}
	t := p.tryAt(m.from)
	return t != nil && !t.works.IsZero()
}

var errUnknown = errors.New("no such transfer")

func (b *bulk) toFetch(n note) error {
	b.mu.Lock()
	f := b.fetches[n.exchange]
	b.mu.Unlock()
	if f == nil {
		return errUnknown
	}
	select {
	case f.inbox <- n:
	default: // a packet that is lost, as others are
	}
	return nil
}

func (b *bulk) toGive(n note) bool {
	b.mu.Lock()
	g := b.gives[n.exchange]
	b.mu.Unlock()
	if g == nil {
		return false
	}
	select {
	case g.inbox <- n:
	default:
	}
	return true
}

// asksFor takes a Get. Of an unknown transfer it is answered once, then there
// is silence for a while.
func (b *bulk) asksFor(n note) []wire.Body {
	if b.toGive(n) {
		return nil
	}
	b.mu.Lock()
	nb := b.neighbour(n.peer)
	quiet := n.at.Before(nb.quiet)
	if !quiet {
		nb.quiet = n.at.Add(5 * time.Second)
	}
	b.mu.Unlock()
	if quiet {
		return nil
	}
	return b.refuse(n, wire.CancelExpired, "")
}

// wanted takes a Want that came in a packet of size bytes. The answer is never
// longer: whoever asks fills up.
func (b *bulk) wanted(n note, w wire.Want, size int) []wire.Body {
	b.mu.Lock()
	g := b.gives[n.exchange]
	b.mu.Unlock()
	if g != nil {
		n.body = w
		select {
		case g.inbox <- n: // offers again
			return nil
		default:
			return b.refuse(n, wire.CancelBusy, "")
		}
	}
	if size < offerLen {
		return b.refuse(n, wire.CancelRefused, "") // no room for an offer
	}
	if b.shelf == nil {
		return b.refuse(n, wire.CancelRefused, "serves no files")
	}
	name := w.What
	if w.Kind == wire.WantObject {
		var ok bool
		if name, ok = b.shelf.find(wire.Hash([]byte(w.What))); !ok {
			return b.refuse(n, wire.CancelNotFound, "")
		}
	}
	g = newGive(b, n.exchange, false, nil)
	g.label, g.room = b.labelOf(n.peer), size
	if !b.addGive(g) {
		return b.refuse(n, wire.CancelBusy, "too many transfers")
	}
	b.wg.Go(func() { b.giveFrom(g, name) })
	return nil
}

// giveFrom gives a file of the shelf.
func (b *bulk) giveFrom(g *give, name string) {
	f, o, err := b.shelf.take(b.ctx, name)
	if err != nil {
		b.dropGive(g)
		c := wire.Cancel{Request: g.request, Reason: wire.CancelNotFound}
		if errors.Is(err, errBusy) {
			c.Reason, c.Text = wire.CancelBusy, "reads another file"
		}
		b.send(g.peer, nil, nil, c)
		return
	}
	defer f.Close()
	g.set(f, o, name)
	err = g.run(b.ctx)
	b.tell(g.transfer(time.Now()), err)
}

// addGive books a place; false if there is none. A peer that has all of its
// places gets those of transfers that it has never asked a block of: they may be
// by somebody who only knows its address.
func (b *bulk) addGive(g *give) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	nb := b.neighbour(g.peer)
	if nb.gives >= maxGives || len(b.gives) >= maxTransfers {
		for _, old := range b.gives {
			if old.peer == g.peer && !old.proven.Load() && !old.push {
				old.stop()
			}
		}
		return false
	}
	nb.gives++
	b.gives[g.exchange] = g
	return true
}

func (b *bulk) dropGive(g *give) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gives[g.exchange] == g {
		delete(b.gives, g.exchange)
		b.neighbours[g.peer].gives--
	}
}

func (b *bulk) addFetch(f *fetch, s *source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetches[s.exchange] = f
}

// dropFetch forgets a source of a transfer, but for how it ended.
func (b *bulk) dropFetch(s *source, status wire.DoneStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.fetches, s.exchange)
	if !s.pushed {
		return
	}
	if len(b.finished) >= maxFinished {
		b.finished = append(b.finished[:0], b.finished[1:]...)
	}
	b.finished = append(b.finished, finished{s.exchange, status})
}

// reply sends a record to a peer, while the agent is ours.
func (b *bulk) reply(a *agent, p *peer, body wire.Body) {
	pkt := &wire.Packet{Ext: stream(body)}
	switch {
	case p.use != nil:
		a.toPeer(p, p.use.At, nil, pkt, &p.bulkNumber)
	case p.via != nil && b.node.BulkRelayed && p.relayed.take(float64(8*len(pkt.Ext)), relayedRate, relayedRate, time.Now()):
		a.toPeer(p, netip.AddrPort{}, p.via, pkt, &p.bulkNumber)
	}
}

// send sends records to a peer on the path in use; false if there is none, or
// no room on the relay. What is sent may be lost, so nobody needs to know.
func (b *bulk) send(to wire.ID, echo, stamp *uint64, bodies ...wire.Body) bool {
	pkt := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseSonde, Echo: echo, Stamp: stamp, Ext: stream(bodies...)}
	var at netip.AddrPort
	relayed := false
	var from wire.ID
	var seals keys
	var auth wire.Auth
	b.node.with(func(a *agent) {
		p := a.peers[peerKey{id: to}]
		switch {
		case p == nil || a.left:
		case p.use != nil:
			at, pkt.ID, pkt.Sequence = p.use.At, a.id, p.bulkNumber
			p.bulkNumber++
			from, seals, auth = a.id, a.keys, a.keys.stamp(time.Now(), &p.counter)
		case p.via != nil && b.node.BulkRelayed && p.relayed.take(float64(8*len(pkt.Ext)), relayedRate, relayedRate, time.Now()):
			a.toPeer(p, netip.AddrPort{}, p.via, pkt, &p.bulkNumber)
			relayed = true
		}
	})
	if !at.IsValid() {
		return relayed
	}
	datagram, err := seals.append(pkt, from, to, at.Addr(), auth)
	if err == nil {
		err = b.out(at, datagram)
	}
	if err != nil {
		b.log.Warn("cannot send", "to", at, "err", err)
	}
	return err == nil
}

// pathTo is the kind of path in use, as in PeerStatus.
func (b *bulk) pathTo(id wire.ID) (path string) {
	b.node.with(func(a *agent) {
		switch p := a.peers[peerKey{id: id}]; {
		case p == nil:
		case p.use != nil:
			path = p.use.Kind.String()
		case p.via != nil:
			path = wire.CandidateRelay.String()
		}
	})
	return path
}

// labelOf is what a person calls a peer; the agent is ours.
func (b *bulk) labelOf(id wire.ID) string {
	if p := b.node.agent.peers[peerKey{id: id}]; p != nil {
		return p.label()
	}
	return id.String()
}

// tell notes how a transfer ended that a peer began.
func (b *bulk) tell(t Transfer, err error) {
	who := ""
	if len(t.Sources) > 0 {
		who = t.Sources[0].Peer
	}
	text, code, level := "", "", result.Info
	switch {
	case err == nil && t.File != "":
		code, text = "file_taken", fmt.Sprintf("%s: took %s, %d bytes in %v", who, t.File, t.Size, t.Elapsed.Round(time.Millisecond))
	case err == nil:
		code, text = "file_given", fmt.Sprintf("%s: gave %s, %d bytes in %v", who, t.Name, t.Size, t.Elapsed.Round(time.Millisecond))
	case b.ctx.Err() != nil:
		return
	default:
		code, text, level = "file_failed", fmt.Sprintf("%s: %s: %v", who, t.Name, err), result.Warning
	}
	b.node.with(func(a *agent) { a.note(level, code, text, result.HintOf(err)) })
}
