package mesh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// How long a receiver waits.
const (
	wantEvery   = 500 * time.Millisecond
	wants       = 20
	busyEvery   = 2 * time.Second
	busyWants   = 300              // a large file may be read for ten minutes
	giveUpAfter = 30 * time.Second // without a new block
	leaveAfter  = 10 * time.Second // a source without a block, while others bring some
	sumEvery    = 512              // blocks, between two looks at what is whole
	leastOver   = 2 * time.Minute  // after that a push has to bring
	leastRate   = 512              // bytes a second
)

// doneWaits are between the times that the end of a transfer is told, until the
// other end closes.
var doneWaits = []time.Duration{200 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond}

// A fetch is a file that arrives. It drives everything: it asks its sources for
// blocks, as many as their windows have room for, asks again for what was lost,
// and gives up.
type fetch struct {
	b      *bulk
	folder string
	name   string // of the file; empty until the offer names it
	want   string // the name asked for; empty in a push
	push   bool
	max    uint64
	inbox  chan note
	base   uint64 // of the stamps: the time since began is added

	object
	offered  bool // the offer is here
	land     *landing
	path     string // where the file is in the end
	asks     *asks
	sources  []*source
	suspects []*source // to be tried alone, when the whole was wrong; nil before

	progress
	started    time.Time
	began      time.Time // the offer came; zero before
	closed     time.Time
	progressed time.Time // the latest new block
	kept       time.Time // the latest sign to sources that we are here
	blocks     uint64    // asked for
	again      uint64
	twice      uint64
	new        uint64 // blocks that came
	bytes      uint64
	resumed    uint64
	unsummed   int // blocks since the last look at what is whole
	summing    bool
}

func newFetch(b *bulk, told func(Transfer)) *fetch {
	f := &fetch{b: b, inbox: make(chan note, fetchPackets), base: random(), started: time.Now()}
	f.progress.to, f.stage = told, Finding
	return f
}

var (
	errWrong  = errors.New("what arrived has another checksum; nothing is kept")
	errGaveUp = errors.New("nothing has come for " + giveUpAfter.String())
)

// run fetches the file. It ends with the file in its place, or with nothing, or,
// given up, with what came hidden for the next time.
func (f *fetch) run(ctx context.Context) (err error) {
	err = f.loop(ctx)
	for errors.Is(err, errWrong) && f.retrySingly() {
		err = f.loop(ctx)
	}
	if err == nil {
		f.path, err = f.land.finish()
		f.land = nil
		if err == nil {
			f.stage = Ended
		}
	}
	status := wire.DoneComplete
	switch {
	case err == nil:
	case errors.Is(err, errWrong):
		status = wire.DoneWrong
		err = errors.Join(err, f.discard())
	case f.land == nil && f.offered:
		status = wire.DoneRefused
	default:
		status = wire.DoneGaveUp
		err = f.leaveRest(err)
	}
	f.closed = time.Now()
	err = failed("mesh: "+f.title(), err)
	f.end(ctx, status)
	return err
}

// leaveRest keeps what came of a transfer that ended with err for a later one;
// but not what a peer pushed and this machine could not store.
func (f *fetch) leaveRest(err error) error {
	if f.land == nil {
		return err
	}
	if _, local := errors.AsType[*fs.PathError](err); local && f.push {
		return errors.Join(err, f.discard())
	}
	e := f.land.keep(f.asks.missing())
	f.land = nil
	return errors.Join(err, e)
}

func (f *fetch) discard() error {
	if f.land == nil {
		return nil
	}
	err := f.land.discard()
	f.land = nil
	return err
}

// title is what is fetched and from whom, for messages.
func (f *fetch) title() string {
	what, from := f.want, ""
	if what == "" {
		what = f.name
	}
	if len(f.sources) > 0 {
		from = " from " + f.sources[0].label
	}
	return what + from
}

func (f *fetch) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case n := <-f.inbox:
			if err := f.takeAll(n); err != nil {
				return err
			}
		case <-timer.C:
		}
		wake, over, err := f.due(time.Now())
		if over || err != nil {
			return err
		}
		timer.Reset(wake)
	}
}

// takeAll takes a note and some of those behind it.
func (f *fetch) takeAll(n note) error {
	for i := 0; ; i++ {
		if err := f.take(n); err != nil || i == burst {
			return err
		}
		select {
		case n = <-f.inbox:
		default:
			return nil
		}
	}
}

func (f *fetch) take(n note) error {
	s := f.sourceOf(n.exchange)
	if s == nil || s.state == gone {
		return nil
	}
	switch body := n.body.(type) {
	case wire.Block:
		return f.takeBlock(n, s, body)
	case wire.Offer:
		return f.takeOffer(n, s, body)
	case wire.Cancel:
		switch {
		case body.Reason == wire.CancelBusy && s.state == wanting && s.asked < busyWants:
			s.due = n.at.Add(busyEvery)
			s.limit = busyWants
		case body.Reason == wire.CancelExpired && s.state == ready && !f.push:
			// It has forgotten us: we ask anew.
			s.rest(f.asks)
			s.state, s.asked, s.due = wanting, 0, n.at
		default:
			f.leave(s, cancelled("mesh: "+f.title(), body))
		}
	}
	return nil
}

func (f *fetch) sourceOf(x exchange) *source {
	for _, s := range f.sources {
		if s.exchange == x {
			return s
		}
	}
	return nil
}

// leave asks a source no more.
func (f *fetch) leave(s *source, why error) {
	if f.asks != nil {
		s.rest(f.asks)
	}
	s.state, s.why = gone, why
}

// takeOffer takes the first offer of a source. The first of all says what the
// object is; what is offered later, by the same source or another, must be that.
func (f *fetch) takeOffer(n note, s *source, o wire.Offer) error {
	if s.state != wanting {
		return nil // again, or something else now: the first counts
	}
	if f.offered && objectOf(o) != f.object {
		f.leave(s, errors.New("it offers another content"))
		return nil
	}
	if !f.offered {
		if err := f.begin(n.at, s, o); err != nil {
			if f.push {
				f.b.send(s.peer, nil, nil, wire.Cancel{Request: s.request, Reason: wire.CancelRefused, Text: objectionTo(err)})
				f.leave(s, err)
			}
			return err
		}
	}
	s.state, s.began, s.heard = ready, n.at, n.at
	s.token = n.stamp
	s.window = newWindow(n.at, f.blockSize)
	f.b.send(s.peer, s.token, nil, wire.Get{Request: s.request}) // we are here
	return nil
}

// begin takes the object and its place in the folder.
func (f *fetch) begin(now time.Time, s *source, o wire.Offer) error {
	f.offered, f.object = true, objectOf(o)
	if f.name == "" && f.push {
		f.name = o.Name
	} else if f.name == "" {
		f.name = f.want // and not what the other side would have it be
	}
	if f.max > 0 && o.Size > f.max {
		return &result.Error{Word: result.CodeLimit, Text: fmt.Sprintf("mesh: %s: %d bytes, at most %d are taken", f.title(), o.Size, f.max), Hint: "allow more"}
	}
	land, missing, err := newLanding(f.folder, f.name, f.object)
	if err != nil {
		return err
	}
	f.land, f.asks, f.progressed = land, newAsks(missing), now
	f.resumed = uint64(f.size) - f.bytesOf(missing)
	f.unsummed = sumEvery
	f.began, f.stage = now, Moving
	return nil
}

// objectionTo is what a peer is told of why its file has no place here: nothing
// of our folders.
func objectionTo(err error) string {
	if errors.Is(err, errExists) {
		return errExists.Error()
	}
	return "cannot store it"
}

// bytesOf is how many bytes blocks have.
func (o object) bytesOf(blocks []wire.Run) uint64 {
	var n uint64
	for _, r := range blocks {
		last := r.First + r.Count - 1
		n += uint64(r.Count-1)*uint64(o.blockSize) + uint64(o.length(last))
	}
	return n
}

func (f *fetch) takeBlock(n note, s *source, k wire.Block) error {
	if s.state != ready || s.held {
		return nil
	}
	s.arrived(n, f.base, f.started)
	if f.asks.open[k.Number] == nil {
		f.twice++
		return nil
	}
	if len(k.Data) != f.length(k.Number) {
		if s.wrong++; s.wrong > 8 {
			f.leave(s, errors.New("it sends blocks of wrong lengths"))
		}
		return nil
	}
	if err := f.land.put(k.Number, k.Data); err != nil {
		return err
	}
	f.asks.came(k.Number)
	for _, other := range f.sources {
		delete(other.flying, k.Number)
	}
	s.bytes += uint64(len(k.Data))
	f.bytes += uint64(len(k.Data))
	f.new++
	f.unsummed++
	f.progressed = n.at
	return nil
}

// retrySingly begins anew with one source at a time when several have given and
// the whole is wrong: one of them lies. It is false when none is left to try.
func (f *fetch) retrySingly() bool {
	if f.resumed > 0 { // what an earlier transfer left may be what is wrong
		return f.beginAgain(nil)
	}
	if f.suspects == nil {
		for _, s := range f.sources {
			if s.bytes > 0 {
				f.suspects = append(f.suspects, s)
			}
		}
		if len(f.suspects) < 2 {
			return false
		}
	}
	f.suspects = slices.DeleteFunc(f.suspects, func(s *source) bool { return s.state != ready })
	if len(f.suspects) == 0 {
		return false
	}
	only := f.suspects[0]
	f.suspects = f.suspects[1:]
	return f.beginAgain(only)
}

// beginAgain throws away what came and begins anew, with one source or, if that
// is nil, with all.
func (f *fetch) beginAgain(only *source) bool {
	if f.discard() != nil {
		return false
	}
	land, missing, err := newLanding(f.folder, f.name, f.object)
	if err != nil {
		return false
	}
	f.stage = Moving
	f.land, f.asks, f.progressed, f.unsummed, f.summing = land, newAsks(missing), time.Now(), sumEvery, false
	f.resumed = 0
	for _, s := range f.sources {
		clear(s.flying)
		s.queue, s.bytes, s.held = nil, 0, only != nil && s != only
	}
	return true
}

// end tells the sources how it ended, until they close, the caller has no more
// patience or the node ends.
func (f *fetch) end(ctx context.Context, status wire.DoneStatus) {
	defer func() {
		for _, s := range f.sources {
			f.b.dropFetch(s, status)
		}
	}()
	for _, wait := range doneWaits {
		open := false
		for _, s := range f.sources {
			if s.state == ready || s.pushed && s.state == wanting {
				f.b.send(s.peer, nil, nil, wire.Done{Request: s.request, Status: status})
				open = true
			}
		}
		if !open || ctx.Err() != nil || f.b.ctx.Err() != nil {
			return
		}
		f.awaitClose(ctx, wait)
	}
}

// awaitClose waits until all sources have closed, but not for long.
func (f *fetch) awaitClose(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for slices.ContainsFunc(f.sources, func(s *source) bool { return s.state == ready || s.pushed && s.state == wanting }) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case n := <-f.inbox:
			if _, ok := n.body.(wire.Cancel); ok {
				if s := f.sourceOf(n.exchange); s != nil {
					s.state = gone
				}
			}
		}
	}
}

func (f *fetch) transfer(now time.Time) Transfer {
	if !f.closed.IsZero() {
		now = f.closed
	}
	began := f.began
	if began.IsZero() {
		began = f.started
	}
	t := Transfer{
		Stage: f.stage, Name: f.name, File: f.path, Object: hexOf(f.id), Size: uint64(f.size), BlockSize: f.blockSize,
		Moved: f.bytes, Resumed: f.resumed, Elapsed: now.Sub(began), Blocks: f.blocks, Again: f.again, Twice: f.twice,
	}
	if t.Name == "" {
		t.Name = f.want
	}
	if f.path != "" {
		if abs, err := filepath.Abs(f.path); err == nil {
			t.File = abs
		}
	}
	for _, s := range f.sources {
		t.Sources = append(t.Sources, s.status(f.b.pathTo))
	}
	return t
}
