package mesh

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// What a fetch asks its sources for, and when.

// due does what the time asks for: it says when there is more to do, or that
// the object is whole.
func (f *fetch) due(now time.Time) (wake time.Duration, over bool, err error) {
	wake = 100 * time.Millisecond
	if err := f.callFor(now); err != nil && !(f.offered && f.asks.left == 0) { // else nobody is needed any more
		return 0, false, err
	}
	f.tick(now, f.transfer)
	if !f.offered {
		return wake / 2, false, nil
	}
	if f.unsummed >= sumEvery || f.asks.left == 0 || f.summing {
		f.unsummed = 0
		whole, err := f.land.advance(f.asks.first(f.object.blocks()))
		if err != nil {
			return 0, false, err
		}
		f.summing = !whole
		if whole && f.asks.left == 0 {
			if !f.land.isWhole() {
				return 0, false, errWrong
			}
			return 0, true, nil
		}
		if f.summing {
			wake = 0
		}
	}
	if f.asks.left == 0 {
		f.stage = Checking
		f.keepAlive(now)
		f.progressed = now
		return wake, false, nil
	}
	if lasted := now.Sub(f.began); f.push && lasted > leastOver && float64(f.bytes) < leastRate*lasted.Seconds() {
		return 0, false, &result.Error{Word: result.CodeLimit, Text: fmt.Sprintf("mesh: %s: %d bytes in %v, that will not end", f.title(), f.bytes, lasted.Round(time.Second))}
	}
	if now.Sub(f.progressed) >= giveUpAfter {
		return 0, false, &result.Error{Word: result.CodePeerLost, Text: "mesh: " + f.title(), Hint: "what has come is kept for the next try", Err: errGaveUp}
	}
	for _, s := range f.sources {
		if s.state != ready {
			continue
		}
		s.settle(now, f.asks)
		if len(f.sources) > 1 && !s.held && now.Sub(s.heard) > leaveAfter && now.Sub(f.progressed) < leaveAfter/2 {
			f.leave(s, errors.New("nothing comes from it any more"))
			continue
		}
		next, err := f.ask(now, s)
		if err != nil {
			return 0, false, err
		}
		wake = min(wake, next)
	}
	return wake, false, nil
}

// callFor asks the sources for their offers, and says when none is left.
func (f *fetch) callFor(now time.Time) error {
	left := 0
	var why error
	for _, s := range f.sources {
		if s.state == unfound && !now.Before(s.due) {
			f.seek(now, s)
		}
		if s.state == wanting && !now.Before(s.due) {
			if s.asked >= max(wants, s.limit) {
				f.leave(s, &result.Error{Word: result.CodeUnreachable, Text: "mesh: " + f.title() + ": the request is not answered"})
			} else if !s.pushed {
				s.asked++
				s.due = now.Add(wantEvery)
				w := wire.Want{Request: s.request, Kind: wire.WantName, What: f.want}
				f.b.send(s.peer, nil, nil, w, make(wire.Pad, offerLen+300-len(f.want)))
			}
		}
		if s.state != gone {
			left++
		} else {
			why = s.why
		}
	}
	if left == 0 {
		return why
	}
	return nil
}

// seek looks for a source.
func (f *fetch) seek(now time.Time, s *source) {
	s.due = now.Add(50 * time.Millisecond)
	id, final, why := f.b.lookFor(s.label, now.Sub(f.started))
	switch {
	case why == nil:
		s.peer, s.state, s.due = id, wanting, now
		f.b.addFetch(f, s)
		if !f.offered {
			f.stage = Offering
		}
	case final:
		f.leave(s, why)
	}
}

// keepAlive tells the sources that we are here though we need no blocks now.
func (f *fetch) keepAlive(now time.Time) {
	if now.Sub(f.kept) < 5*time.Second {
		return
	}
	f.kept = now
	for _, s := range f.sources {
		if s.state == ready {
			f.b.send(s.peer, s.token, nil, wire.Get{Request: s.request})
		}
	}
}

// ask asks a source for as many blocks as its window has room for, and says when
// to look again.
func (f *fetch) ask(now time.Time, s *source) (time.Duration, error) {
	s.save(now, f.b.pathTo)
	for {
		room := s.room()
		batch := s.batch()
		tail := f.asks.isSpent()
		if room <= 0 || room < batch && len(s.flying) > 0 && !tail {
			return s.wake(now), nil
		}
		if held := f.b.asked.wait(now); held > 0 {
			return min(held, s.wake(now)), nil
		}
		if allowed, wait := s.allowed(min(room, batch)); allowed == 0 {
			return min(wait, s.wake(now)), nil
		} else {
			room = min(room, allowed)
		}
		blocks := f.choose(now, s, min(room, maxBatch))
		if len(blocks) == 0 {
			return s.wake(now), nil
		}
		copies := 1
		for _, b := range blocks {
			k := f.asks.open[b]
			if k.tries > 0 {
				f.again++
			}
			if tail && 2*len(f.asks.open)*int(k.tries) < int(s.window.size) {
				copies = max(copies, min(int(k.tries), 3)) // there is room, and the end is near
			}
			if !f.asks.sent(b) {
				return 0, &result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("mesh: %s: block %d was asked for %d times", f.title(), b, maxAsks), Hint: "what has come is kept for the next try"}
			}
		}
		f.blocks += uint64(len(blocks))
		s.sent(now, blocks)
		f.b.asked.book(len(blocks)*f.blockSize, now)
		stamp := f.base + uint64(now.Sub(f.started))
		get := wire.Get{Request: s.request, Window: uint16(min(s.window.size, 1<<16-1)), Runs: runsOf(blocks)}
		for range copies {
			f.b.send(s.peer, s.token, &stamp, get)
		}
	}
}

// maxBatch is how many blocks one request asks for.
const maxBatch = 16

// choose takes blocks to ask a source for. When all are on the way, those that
// another source owes for longer than this one would take are asked for twice.
func (f *fetch) choose(now time.Time, s *source, n int) []uint32 {
	var all []uint32
	for len(all) < n {
		b, ok := f.asks.next()
		if !ok {
			break
		}
		all = append(all, b)
	}
	if len(all) > 0 || len(f.sources) == 1 {
		return all
	}
	for _, other := range f.sources {
		if other == s || other.state != ready {
			continue
		}
		for b, at := range other.flying {
			_, both := s.flying[b]
			if !both && len(all) < n && now.Sub(at) > s.window.timeout() && !slices.Contains(all, b) {
				all = append(all, b)
			}
		}
	}
	return all
}
