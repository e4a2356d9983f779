package stat

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// model does what a Window does, with a set of all numbers that came and no
// thought for time or memory.
type model struct {
	came       map[int64]bool // numbers of the present numbering, without wrap
	base, high int64
	c          Counts // of everything but what came and lost tell
	ended      Counts // earlier numberings

	straysInARow int
	stray        uint32
}

func (m *model) record(seq uint32) Outcome {
	if m.came == nil {
		m.came = map[int64]bool{int64(seq): true}
		m.base, m.high = int64(seq), int64(seq)
		return New
	}
	n := m.high + int64(int32(seq-uint32(m.high)))
	if m.high-n >= Width {
		if m.straysInARow > 0 && seq == m.stray+1 {
			m.straysInARow++
		} else {
			m.straysInARow = 1
		}
		m.stray = seq
		if m.straysInARow > 1024 {
			m.ended = m.counts()
			*m = model{c: m.c, ended: m.ended}
			return m.record(seq)
		}
		m.c.Late++
		return Late
	}
	m.straysInARow = 0
	switch {
	case m.came[n]:
		m.c.Duplicate++
		return Duplicate
	case n < m.high:
		m.came[n] = true
		m.base = min(m.base, n)
		m.c.Reordered++
		return Reordered
	}
	m.came[n] = true
	m.high = n
	return New
}

func (m *model) counts() Counts {
	c := m.c
	c.Unique, c.Lost, c.Runs, c.Longest = m.ended.Unique, m.ended.Lost, m.ended.Runs, m.ended.Longest
	if m.came == nil {
		return c
	}
	var run uint64
	for n := m.base; n <= m.high; n++ {
		if !m.came[n] {
			c.Lost++
			run++
			continue
		}
		c.Unique++
		if run > 0 {
			c.Runs++
			c.Longest = max(c.Longest, run)
			run = 0
		}
	}
	return c
}

// step draws the next numbers: mostly in order, with the faults of networks,
// and now and then something no network does.
func step(t *rapid.T, highest uint32) (first uint32, n int) {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2:
		return highest + 1, 1
	case 3, 4:
		return highest + 1, rapid.IntRange(1, 300).Draw(t, "train")
	case 5: // a gap
		return highest + uint32(rapid.IntRange(1, 200).Draw(t, "gap")), 1
	case 6: // near behind: reordered or again
		return highest - uint32(rapid.IntRange(0, 200).Draw(t, "back")), rapid.IntRange(1, 150).Draw(t, "train")
	case 7: // about the edge of the window
		return highest - Width + uint32(rapid.IntRange(-70, 70).Draw(t, "edge")), rapid.IntRange(1, 150).Draw(t, "train")
	case 8: // far ahead, about as far as the bitmap is long
		return highest + uint32(Width+rapid.IntRange(-200, 200).Draw(t, "jump")), rapid.IntRange(1, 150).Draw(t, "train")
	}
	// A new numbering behind, long enough to be believed, or not.
	return highest - uint32(rapid.IntRange(Width, 1<<31).Draw(t, "restart")), rapid.IntRange(900, 1200).Draw(t, "train")
}

func TestWindowAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var single, trains Window
		var m model
		highest := rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(0, 3), rapid.Uint32Range(1<<32-300, 1<<32-1)).Draw(t, "start")
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			first, n := step(t, highest)
			trains.RecordRun(first, n)
			for i := range n {
				seq := first + uint32(i)
				if got, want := single.Record(seq), m.record(seq); got != want {
					t.Fatalf("Record(%d) = %v, want %v", seq, got, want)
				}
			}
			highest = uint32(m.high)
			want := m.counts()
			if got := single.Counts(); got != want {
				t.Fatalf("Records: %+v\nwant     %+v", got, want)
			}
			if got := trains.Counts(); got != want {
				t.Fatalf("RecordRun(%d, %d): %+v\nwant %+v", first, n, got, want)
			}
		}
	})
}

// TestWindowRandomNetwork sends packets through loss, duplication and delay
// that puts them out of order, and compares with what was done to them.
func TestWindowRandomNetwork(t *testing.T) {
	for _, start := range []uint32{0, 1, 1<<32 - 5000, 1 << 31} {
		r := rand.New(rand.NewPCG(1, uint64(start)))
		var w Window
		var lost, duplicate uint64
		const sent = 10000
		due := map[int][]uint32{} // when → which
		for i := range sent {
			seq := start + uint32(i)
			edge := i < 50 || i > sent-50 // the first and last are kept: what is lost there nobody can know
			switch {
			case !edge && r.Float64() < 0.05:
				lost++
				continue
			case !edge && r.Float64() < 0.02:
				duplicate++
				at := i + r.IntN(20)
				due[at] = append(due[at], seq)
			}
			at := i + r.IntN(40)
			due[at] = append(due[at], seq)
		}
		for at := range sent + 100 {
			for _, seq := range due[at] {
				w.Record(seq)
			}
		}
		c := w.Counts()
		if c.Unique != sent-lost || c.Lost != int64(lost) || c.Duplicate != duplicate || c.Late != 0 {
			t.Errorf("from %d: %+v, want %d unique, %d lost, %d duplicate", start, c, sent-lost, lost, duplicate)
		}
	}
}

func TestWindow(t *testing.T) {
	seqs := func(s ...uint32) []uint32 { return s }
	tests := []struct {
		name string
		in   []uint32
		want Counts
	}{
		{"nothing", nil, Counts{}},
		{"one", seqs(7), Counts{Unique: 1}},
		{"zero is a number", seqs(0, 1, 2), Counts{Unique: 3}},
		{"in order across the wrap", seqs(1<<32-2, 1<<32-1, 0, 1), Counts{Unique: 4}},
		{"lost across the wrap", seqs(1<<32-2, 1), Counts{Unique: 2, Lost: 2, Runs: 1, Longest: 2}},
		{"reordered across the wrap", seqs(1<<32-2, 0, 1<<32-1), Counts{Unique: 3, Reordered: 1}},
		{"lost, then come after all", seqs(1, 2, 5, 3), Counts{Unique: 4, Lost: 1, Reordered: 1, Runs: 1, Longest: 1}},
		{"a hole in the middle of a run", seqs(1, 7, 4), Counts{Unique: 3, Lost: 4, Reordered: 1, Runs: 2, Longest: 2}},
		{"again", seqs(1, 2, 2, 1), Counts{Unique: 2, Duplicate: 2}},
		{"again after reordering", seqs(1, 3, 2, 2), Counts{Unique: 3, Reordered: 1, Duplicate: 1}},
		{"the very first reordered", seqs(3, 1, 2, 4), Counts{Unique: 4, Reordered: 2}},
		{"before the baseline, with a hole", seqs(5, 2, 6), Counts{Unique: 3, Lost: 2, Reordered: 1, Runs: 1, Longest: 2}},
		{"before the baseline, below zero", seqs(1, 1<<32-1, 2), Counts{Unique: 3, Lost: 1, Reordered: 1, Runs: 1, Longest: 1}},
		{"just in time", seqs(0, Width-1, 0, 1), Counts{Unique: 3, Lost: Width - 3, Reordered: 1, Duplicate: 1, Runs: 1, Longest: Width - 3}},
		{"too late", seqs(0, Width+1, 1, 0), Counts{Unique: 2, Lost: Width, Late: 2, Runs: 1, Longest: Width}},
		{"as far ahead as can be", seqs(0, 1<<31-1), Counts{Unique: 2, Lost: 1<<31 - 2, Runs: 1, Longest: 1<<31 - 2}},
		{"further is behind", seqs(0, 1<<31), Counts{Unique: 1, Late: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w Window
			for _, s := range tt.in {
				w.Record(s)
			}
			if got := w.Counts(); got != tt.want {
				t.Errorf("%d: %+v\nwant %+v", tt.in, got, tt.want)
			}
		})
	}
}

// TestWindowRestart is the case of a stray packet of the test before: without
// a rule for it the whole test would be late.
func TestWindowRestart(t *testing.T) {
	var w Window
	w.Record(5_000_000)
	w.RecordRun(0, 10_000)
	want := Counts{Unique: 1 + 10_000 - restarts, Late: restarts}
	if got := w.Counts(); got != want {
		t.Errorf("after a stray: %+v\nwant %+v", got, want)
	}
}

// TestWindowHostile lets a peer choose the worst numbers. What counts is that
// the test ends: no step may loop over a gap of 2^31.
func TestWindowHostile(t *testing.T) {
	for _, stride := range []uint32{1<<31 - 1, 1 << 31, 1<<31 + 1, Width, Width + perWord, 1<<32 - Width, 1<<32 - 1, perWord} {
		var w Window
		var seq uint32
		for range 2000 {
			w.Record(seq)
			seq += stride
		}
		if c := w.Counts(); c.Unique+c.Late+c.Duplicate != 2000 || c.Lost < 0 {
			t.Errorf("stride %d: %+v does not add up to 2000 packets", stride, c)
		}
	}
}

func TestWindowAllocatesNothing(t *testing.T) {
	var w Window
	seq := uint32(1<<32 - 1000)
	n := testing.AllocsPerRun(1000, func() {
		w.Record(seq)
		w.RecordRun(seq+3, 64)
		w.Record(seq + 1)
		w.Counts()
		seq += 70
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzWindow(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 255, 254, 128, 127, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		var w Window
		var seq uint32
		for _, b := range in {
			// Small steps forward and back, and jumps of every size.
			seq += uint32(int32(int8(b)))
			if b%16 == 7 {
				seq += 1 << (b / 8)
			}
			w.Record(seq)
		}
		c := w.Counts()
		if c.Unique+c.Late+c.Duplicate != uint64(len(in)) {
			t.Errorf("%+v does not add up to %d packets", c, len(in))
		}
		if c.Lost < 0 || (c.Lost == 0) != (c.Runs == 0) || uint64(c.Lost) < c.Runs || c.Longest > uint64(c.Lost) {
			t.Errorf("%+v: lost, runs and the longest do not fit together", c)
		}
	})
}

func BenchmarkWindowRecord(b *testing.B) {
	var w Window
	var seq uint32
	b.ReportAllocs()
	for b.Loop() {
		w.Record(seq)
		seq++
	}
}

func BenchmarkWindowRecordReordered(b *testing.B) {
	var w Window
	var seq uint32
	b.ReportAllocs()
	for b.Loop() {
		w.Record(seq ^ 1)
		seq++
	}
}

// BenchmarkWindowRecordRun takes trains of 64; ns/packet is the figure to
// compare with BenchmarkWindowRecord.
func BenchmarkWindowRecordRun(b *testing.B) {
	var w Window
	var seq uint32
	b.ReportAllocs()
	for b.Loop() {
		w.RecordRun(seq, 64)
		seq += 64
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/packet")
}

// BenchmarkWindowHostile jumps over the whole bitmap with every packet.
func BenchmarkWindowHostile(b *testing.B) {
	var w Window
	var seq uint32
	for b.Loop() {
		w.Record(seq)
		seq += Width + perWord
	}
}

func BenchmarkWindowCounts(b *testing.B) {
	var w Window
	for i := range uint32(Width) {
		if i%10 != 0 {
			w.Record(i)
		}
	}
	for b.Loop() {
		w.Counts()
	}
}
