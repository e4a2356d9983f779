package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// How long a giver waits.
const (
	offerEvery   = 500 * time.Millisecond // a push that was not answered
	offers       = 10
	remindAfter  = 2 * time.Second  // a push that is not asked for blocks any more: was its end lost?
	givenFor     = 60 * time.Second // without a request
	unprovenFor  = 10 * time.Second // without the first one
	burst        = 32               // blocks between two looks at what has come
	maxOwed      = 2 * windowBytes / wire.DefaultBlock
	givePackets  = 256 // requests that wait; more are lost
	fetchPackets = 2 * windowBytes / wire.DefaultBlock
)

// A give is a file on its way to one peer: it offers, and sends the blocks that
// it is asked for. It sends none before a request has echoed the token of the
// offer, which shows that the peer hears what is sent to it.
type give struct {
	b *bulk
	exchange
	label string // of the peer
	push  bool
	room  int // bytes that the answer to a Want may have
	inbox chan note
	stop  func()
	ended chan struct{} // closed by stop

	file    *os.File
	changed time.Time // the file, when it was read for its checksum
	object
	offer  wire.Offer
	token  uint64
	proven atomic.Bool

	progress
	began   time.Time
	owed    []owed
	asked   time.Time // the latest request
	offered time.Time
	count   int // offers
	blocks  uint64
	bytes   uint64
	closed  time.Time
	buf     []byte
}

// An owed block was asked for; stamp comes back with it.
type owed struct {
	block uint32
	stamp *uint64
}

func newGive(b *bulk, x exchange, push bool, told func(Transfer)) *give {
	g := &give{b: b, exchange: x, push: push, inbox: make(chan note, givePackets), ended: make(chan struct{}), token: random()}
	g.stop = sync.OnceFunc(func() { close(g.ended) })
	g.progress.to, g.stage, g.began = told, Finding, time.Now()
	return g
}

// set tells what is given.
func (g *give) set(f *os.File, o object, name string) {
	g.file, g.object, g.stage = f, o, Offering
	if info, err := f.Stat(); err == nil {
		g.changed = info.ModTime()
	}
	g.buf = make([]byte, o.blockSize)
	g.offer = wire.Offer{
		Request: g.request, Object: o.id, Size: uint64(o.size), BlockSize: uint16(o.blockSize),
		Push: g.push, Expires: uint16(givenFor / time.Second), Name: name,
	}
}

var errExpired = errors.New("not asked for any more")

// run gives until the peer has it, or wants no more.
func (g *give) run(ctx context.Context) error {
	now := time.Now()
	what := fmt.Sprintf("mesh: %s to %s", g.offer.Name, g.label)
	g.began, g.asked = now, now
	defer func() {
		g.b.dropGive(g)
		g.closed = time.Now()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			g.cancel(wire.CancelClosed, "")
			return context.Cause(ctx)
		case <-g.ended:
			return failed(what, errExpired)
		case n := <-g.inbox:
			if over, err := g.take(n, what); over || err != nil {
				return failed(what, err)
			}
		case <-timer.C:
		}
		wake, err := g.due(time.Now(), what)
		if err != nil {
			return failed(what, err)
		}
		timer.Reset(wake)
	}
}

// take takes what came; true if the transfer is over.
func (g *give) take(n note, what string) (bool, error) {
	switch body := n.body.(type) {
	case wire.Want:
		g.sendOffer(n.at)
	case wire.Get:
		return false, g.owe(n, body)
	case wire.Cancel:
		return true, cancelled(what, body)
	case wire.Done:
		g.cancel(wire.CancelClosed, "")
		if body.Status == wire.DoneComplete {
			g.stage = Ended
		}
		return true, g.outcome(body.Status, what)
	}
	return false, nil
}

// outcome is the error for how the transfer ended at the peer.
func (g *give) outcome(s wire.DoneStatus, what string) error {
	fail := func(word, text string) error { return &result.Error{Word: word, Text: what + ": " + text} }
	switch s {
	case wire.DoneRefused:
		return fail(result.CodeRefused, "the other side refuses it")
	case wire.DoneGaveUp:
		return fail(result.CodePeerLost, "the other side gave up")
	case wire.DoneWrong:
		return fail(result.CodeProtocol, "what arrived has another checksum and was not kept; did the file change?")
	}
	return nil
}

// owe takes a request.
func (g *give) owe(n note, get wire.Get) error {
	if !g.proven.Load() {
		if n.echo == nil || *n.echo != g.token {
			return nil
		}
		g.proven.Store(true)
		g.stage = Moving
	}
	g.asked = n.at
	if info, err := g.file.Stat(); err != nil || info.Size() != g.size || !info.ModTime().Equal(g.changed) {
		g.cancel(wire.CancelLocal, "the file has changed")
		return &result.Error{Word: result.CodeLocal, Text: "mesh: " + g.offer.Name + " has changed while it was sent", Hint: "send it again when nobody writes to it"}
	}
	for _, r := range get.Runs {
		for i := range r.Count {
			if b := r.First + i; b < g.object.blocks() && len(g.owed) < maxOwed {
				g.owed = append(g.owed, owed{b, n.stamp})
			}
		}
	}
	return nil
}

// due does what the time asks for, and says when there is more to do.
func (g *give) due(now time.Time, what string) (time.Duration, error) {
	quiet := now.Sub(g.asked)
	switch {
	case g.push && !g.proven.Load() && g.count >= offers && now.Sub(g.offered) >= offerEvery:
		return 0, &result.Error{Word: result.CodeUnreachable, Text: what + ": the offer is not answered", Hint: "check that the other side runs sonde and takes files (--accept)"}
	case quiet >= givenFor, !g.push && !g.proven.Load() && quiet >= unprovenFor:
		g.cancel(wire.CancelExpired, "")
		return 0, &result.Error{Word: result.CodePeerLost, Text: what + ": not asked for any more"}
	case g.push && !g.proven.Load() && now.Sub(g.offered) >= offerEvery,
		g.push && quiet >= remindAfter && now.Sub(g.offered) >= remindAfter,
		g.count == 0:
		g.sendOffer(now)
	}
	g.tick(now, g.transfer)
	wait := 100 * time.Millisecond
	for i := 0; len(g.owed) > 0; i++ {
		if i == burst {
			return 0, nil
		}
		if held := g.b.given.wait(now); held > 0 {
			return min(wait, held), nil
		}
		sent, err := g.sendBlock(now, g.owed[0])
		if err != nil {
			g.cancel(wire.CancelLocal, "cannot read the file")
			return 0, err
		}
		if !sent {
			return wait, nil // no path, or no room on the relay
		}
		g.owed = g.owed[1:]
	}
	return wait, nil
}

// sendOffer offers, in an answer never longer than the Want.
func (g *give) sendOffer(now time.Time) {
	g.offered = now
	g.count++
	if !g.push && offerLen+len(g.offer.Name) > g.room {
		g.cancel(wire.CancelRefused, "ask in a longer packet")
		return
	}
	g.b.send(g.peer, nil, &g.token, g.offer)
}

// offerLen is how long a packet with an Offer without a name is, with the
// headers of at most two CC.
const offerLen = 1 + 3 + 6 + 18 + 10 + 2*2 + 4 + 4 + 86 + 2

// sendBlock is false if nothing can be sent now.
func (g *give) sendBlock(now time.Time, o owed) (bool, error) {
	n := g.length(o.block)
	if _, err := g.file.ReadAt(g.buf[:n], int64(o.block)*int64(g.blockSize)); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !g.b.send(g.peer, o.stamp, nil, wire.Block{Request: g.request, Number: o.block, Data: g.buf[:n]}) {
		return false, nil
	}
	g.blocks++
	g.bytes += uint64(n)
	g.b.given.book(n, now)
	return true, nil
}

func (g *give) cancel(why wire.CancelReason, text string) {
	g.b.send(g.peer, nil, nil, wire.Cancel{Request: g.request, Reason: why, Text: text})
}

func (g *give) transfer(now time.Time) Transfer {
	if !g.closed.IsZero() {
		now = g.closed
	}
	t := Transfer{
		Stage: g.stage, Name: g.offer.Name, Object: hexOf(g.id), Size: uint64(g.size), BlockSize: g.blockSize,
		Moved: min(g.bytes, uint64(g.size)), Elapsed: now.Sub(g.began), Blocks: g.blocks,
		Sources: []Source{{Peer: g.label, Path: g.b.pathTo(g.peer), Bytes: g.bytes}},
	}
	if g.file != nil { // else it is not known yet
		t.Again = max(g.blocks, uint64(g.object.blocks())) - uint64(g.object.blocks())
	}
	return t
}
