package stat

const (
	words    = 2048 // of the bitmap at most; a power of two
	fewWords = 4    // at first; likewise
	perWord  = 64   // numbers in a word
	allHere  = ^uint64(0)
	restarts = 1024 // numbers in a row far behind that mean a new numbering
)

// Width is how far behind the highest number a packet may come and still be
// told apart from a duplicate. What is further behind is late.
const Width = (words - 1) * perWord

// An Outcome says what a number that came meant for the flow.
type Outcome uint8

const (
	New       Outcome = iota // above all before; the numbers skipped count as lost
	Reordered                // not seen before, after a higher one (RFC 4737, section 3); one lost less
	Duplicate                // seen before (RFC 5560)
	Late                     // Width or more behind: given up, stays lost (RFC 7680, waiting time)
)

// A Window follows the 32-bit sequence numbers of one flow over a whole test
// and counts what was lost, came late, out of order or twice.
//
// The first number seen is the baseline; numbers before it that are still in
// the window (the very first packets were reordered) move it back. Numbers wrap
// at 2^32: each is compared with the highest so far as a signed 32-bit
// difference, so a gap may be up to 2^31-1 long.
//
// A sender that starts again at a lower number, or whose baseline was a stray
// packet of an earlier test, would be late for ever. So when 1024 numbers in a
// row are late, each one more than the last, the Window takes up the new
// numbering from there; those 1024 stay late and no number is counted as lost
// between the two.
//
// The zero Window is ready to use. Its bitmap grows with the numbers it spans, to
// 16 KiB, so that a flow of few packets takes little. It does bounded work for
// any number: at worst one pass over the bitmap, and that only for a gap as long
// as the bitmap. It is not safe for concurrent use.
type Window struct {
	// Numbers are kept in 64 bits, the first one with 2^32 added, so that they
	// neither wrap nor fall below zero. high is 0 before the first.
	base uint64 // the first number, or the lowest that came in time
	high uint64 // the highest number, which always has come

	earlier   uint64 // numbers expected before the sender started again
	unique    uint64
	late      uint64
	reordered uint64
	duplicate uint64
	settled   runs // of the numbers that have left the bitmap

	stray     uint32 // the latest late number
	strays    int    // late numbers in a row that end with stray
	straySeen uint64 // packets in the window when stray came

	// One bit for each number that has come, 64 to a word. Word w of the number
	// line lies at w%len(came), a power of two; it holds the words up to the one
	// of high. Below those no number has come that is still in the window.
	came []uint64
}

// Counts is what a Window has counted. Unique and Lost add up to the numbers
// expected: from the baseline to the highest.
type Counts struct {
	Unique    uint64 // numbers that came in time, each once
	Lost      int64  // numbers that have not come, or too late
	Late      uint64
	Reordered uint64
	Duplicate uint64
	Runs      uint64 // loss runs: numbers lost in a row (loss periods of RFC 3357)
	Longest   uint64 // numbers in the longest
}

// Record takes the number of a packet that came.
func (w *Window) Record(seq uint32) Outcome {
	if w.high == 0 {
		w.begin(seq)
		return New
	}
	n := w.extend(seq)
	if n > w.high {
		w.advance(n)
		w.mark(n)
		w.unique++
		return New
	}
	if w.high-n >= Width {
		return w.recordLate(seq)
	}
	if w.has(n) {
		w.duplicate++
		return Duplicate
	}
	w.cover(n/perWord, w.high/perWord)
	w.mark(n)
	w.base = min(w.base, n)
	w.unique++
	w.reordered++
	return Reordered
}

// RecordRun takes n consecutive numbers from first, as a train of packets that
// came in one piece has them. The result is the same as that of n Records.
func (w *Window) RecordRun(first uint32, n int) {
	for n > 0 && (w.high == 0 || w.extend(first) <= w.high) {
		w.Record(first)
		first++
		n--
	}
	for n > 0 {
		part := min(n, Width/2)
		from := w.extend(first)
		to := from + uint64(part) - 1
		w.advance(to)
		w.markRun(from, to)
		w.unique += uint64(part)
		first += uint32(part)
		n -= part
	}
}

// Counts returns what was counted so far. It looks through the bitmap, so it is
// for once an interval, not for each packet.
func (w *Window) Counts() Counts {
	c := Counts{Unique: w.unique, Late: w.late, Reordered: w.reordered, Duplicate: w.duplicate}
	if w.high == 0 {
		return c
	}
	r := w.settled
	w.settleAll(&r)
	c.Lost = int64(w.earlier + w.high - w.base + 1 - w.unique)
	c.Runs, c.Longest = r.count, r.longest
	return c
}

func (w *Window) begin(seq uint32) {
	w.high = 1<<32 + uint64(seq)
	w.base = w.high
	w.cover(w.high/perWord, w.high/perWord)
	w.mark(w.high)
	w.unique++
}

// extend finds the 64-bit number for seq that is nearest to the highest.
func (w *Window) extend(seq uint32) uint64 {
	return w.high + uint64(int64(int32(seq-uint32(w.high))))
}

func (w *Window) recordLate(seq uint32) Outcome {
	seen := w.unique + w.duplicate
	if w.strays > 0 && seq == w.stray+1 && seen == w.straySeen {
		w.strays++
	} else {
		w.strays = 1
	}
	if w.strays > restarts {
		w.restart(seq)
		return New
	}
	w.stray, w.straySeen = seq, seen
	w.late++
	return Late
}

// restart closes the numbering so far and begins another with seq.
func (w *Window) restart(seq uint32) {
	w.settleAll(&w.settled)
	w.earlier += w.high - w.base + 1
	w.strays = 0
	clear(w.came)
	w.begin(seq)
}

// advance makes n the highest number: the words up to its own are emptied, and
// what they held is settled.
func (w *Window) advance(n uint64) {
	old, now := w.high/perWord, n/perWord
	if old == now {
		w.high = n
		return
	}
	// The word w.high lies in leaves the bitmap when now reaches old+words.
	if now-old >= words {
		w.settle(&w.settled, old+1)
		w.settled.lose((now - words - old) * perWord)
		clear(w.came)
	} else {
		w.settle(&w.settled, now+1-words)
		w.cover(w.base/perWord, now)
		for i := old + 1; i <= now; i++ {
			w.came[w.at(i)] = 0
		}
	}
	w.high = n
}

// cover makes room for the words from first to last, or as many of them as the
// bitmap may hold.
func (w *Window) cover(first, last uint64) {
	old, size := uint64(len(w.came)), max(fewWords, len(w.came))
	for need := min(last-first+1, words); uint64(size) < need; {
		size *= 2
	}
	if size == len(w.came) {
		return
	}
	came := w.came
	w.came = make([]uint64, size)
	for n := range old {
		i := w.high/perWord - n
		w.came[w.at(i)] = came[i&(old-1)]
	}
}

// at is where word i of the number line lies.
func (w *Window) at(i uint64) uint64 { return i & uint64(len(w.came)-1) }

// held reports whether the bitmap holds word i; what it does not is empty.
func (w *Window) held(i uint64) bool { return i+uint64(len(w.came)) > w.high/perWord }

// settle adds the words of the bitmap that lie below end to r.
func (w *Window) settle(r *runs, end uint64) {
	from := max(w.base/perWord, w.high/perWord+1-words)
	for i := from; i < end; i++ {
		if came := w.word(i); came != allHere || r.open > 0 {
			r.add(came)
		}
	}
}

// settleAll adds all numbers of the bitmap up to the highest to r.
func (w *Window) settleAll(r *runs) {
	last := w.high / perWord
	w.settle(r, last)
	r.add(w.word(last) | ^below(w.high)) // above the highest nothing is expected yet
}

// word returns word i of the number line. Numbers before the baseline were not
// expected; they pass for come.
func (w *Window) word(i uint64) uint64 {
	came := uint64(0)
	if w.held(i) {
		came = w.came[w.at(i)]
	}
	if i == w.base/perWord {
		came |= below(w.base)
	}
	return came
}

func (w *Window) has(n uint64) bool {
	i := n / perWord
	return w.held(i) && w.came[w.at(i)]&(1<<(n%perWord)) != 0
}

// mark notes that n has come.
func (w *Window) mark(n uint64) { w.came[w.at(n/perWord)] |= 1 << (n % perWord) }

// markRun notes that all numbers from first to last have come.
func (w *Window) markRun(first, last uint64) {
	w.cover(first/perWord, last/perWord)
	for i := first / perWord; i <= last/perWord; i++ {
		mask := allHere
		if i == first/perWord {
			mask &^= below(first)
		}
		if i == last/perWord {
			mask &= below(last) | 1<<(last%perWord)
		}
		w.came[w.at(i)] |= mask
	}
}

// below returns the bits of n's word that stand for lower numbers.
func below(n uint64) uint64 { return 1<<(n%perWord) - 1 }
