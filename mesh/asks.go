package mesh

import (
	"slices"

	"github.com/sonde-net/sonde/mesh/wire"
)

// maxTries is how often one block is asked for.
const maxAsks = 32

// asks knows which blocks of an object are missing, and what becomes of them: to
// be asked for first, on the way, or lost and to be asked for again. Its size is
// that of what is on the way, not of the object.
type asks struct {
	todo []wire.Run // never asked for, in rising order
	open map[uint32]*ask
	lost []uint32 // of open: on no way; may hold blocks that came after all
	left uint64   // blocks missing
}

// An ask is a block that was asked for and has not come.
type ask struct {
	tries uint8
	ways  uint8 // sources that owe it
}

func newAsks(missing []wire.Run) *asks {
	a := &asks{todo: slices.Clone(missing), open: map[uint32]*ask{}}
	for _, r := range missing {
		a.left += uint64(r.Count)
	}
	return a
}

// next is a block to ask for, which is on no way now.
func (a *asks) next() (uint32, bool) {
	for len(a.lost) > 0 {
		b := a.lost[0]
		a.lost = a.lost[1:]
		if k := a.open[b]; k != nil && k.ways == 0 {
			return b, true
		}
	}
	if len(a.todo) == 0 {
		return 0, false
	}
	r := &a.todo[0]
	b := r.First
	r.First++
	if r.Count--; r.Count == 0 {
		a.todo = a.todo[1:]
	}
	a.open[b] = &ask{}
	return b, true
}

// isSpent reports whether nothing is left to ask for but what is on the way.
func (a *asks) isSpent() bool { return len(a.todo) == 0 && len(a.lost) == 0 }

// sent notes that a source was asked for a block. It is false if that was once
// too often.
func (a *asks) sent(b uint32) bool {
	k := a.open[b]
	k.ways++
	k.tries++
	return k.tries <= maxAsks
}

// gone notes that a source does not bring a block.
func (a *asks) gone(b uint32) {
	if k := a.open[b]; k != nil {
		if k.ways--; k.ways == 0 {
			a.lost = append(a.lost, b)
		}
	}
}

// came notes a block that arrived; false if it was not missing, or never asked
// for.
func (a *asks) came(b uint32) bool {
	if a.open[b] == nil {
		return false
	}
	delete(a.open, b)
	a.left--
	return true
}

// first is the first block that is missing; n if none is.
func (a *asks) first(n uint32) uint32 {
	if len(a.todo) > 0 {
		n = a.todo[0].First
	}
	for b := range a.open {
		n = min(n, b)
	}
	return n
}

// missing is all that has not come, in rising order.
func (a *asks) missing() []wire.Run {
	open := make([]uint32, 0, len(a.open))
	for b := range a.open {
		open = append(open, b)
	}
	slices.Sort(open)
	var all []wire.Run
	put := func(r wire.Run) {
		if n := len(all); n > 0 && all[n-1].First+all[n-1].Count == r.First {
			all[n-1].Count += r.Count
			return
		}
		all = append(all, r)
	}
	todo := a.todo
	for _, b := range open {
		for len(todo) > 0 && todo[0].First < b {
			put(todo[0])
			todo = todo[1:]
		}
		put(wire.Run{First: b, Count: 1})
	}
	for _, r := range todo {
		put(r)
	}
	return all
}

// runsOf joins blocks in a row.
func runsOf(blocks []uint32) []wire.Run {
	var all []wire.Run
	for _, b := range blocks {
		if n := len(all); n > 0 && all[n-1].First+all[n-1].Count == b {
			all[n-1].Count++
			continue
		}
		all = append(all, wire.Run{First: b, Count: 1})
	}
	return all
}
