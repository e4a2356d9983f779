package pace

import (
	"testing"
	"time"
)

// run sends trains as early as they are due until end, each late by what the
// machine costs, and returns when they left and how many packets that were.
func run(table *Timetable, rate func(time.Duration) uint64, size uint64, end time.Duration,
	late func(i int) time.Duration,
) (at []time.Duration, packets, skipped uint64) {
	now := time.Duration(0)
	for i := 0; ; i++ {
		r := rate(now)
		due := max(table.Due(now, r), now)
		if due > end {
			return at, packets, skipped
		}
		now = due + late(i)
		n := Train(r, size, DefaultQuantum, 64)
		_, left := table.Sent(now, n, size)
		at = append(at, now)
		packets += uint64(n)
		skipped += left
	}
}

func punctual(int) time.Duration { return 0 }

func constant(bps uint64) func(time.Duration) uint64 {
	return func(time.Duration) uint64 { return bps }
}

// TestTimetableRate: over any time the rate is right to one train.
func TestTimetableRate(t *testing.T) {
	const size = 8 * 1478
	for _, bps := range []uint64{8_000, 999_983, 1e6, 1e8, 1e9, 5e9, 400e9} {
		end := 10 * time.Second
		if bps >= 1e9 {
			end = time.Second
		}
		_, packets, skipped := run(&Timetable{}, constant(bps), size, end, punctual)
		want := float64(bps) * end.Seconds() / size
		train := float64(Train(bps, size, DefaultQuantum, 64))
		if got := float64(packets); got < want-train || got > want+train {
			t.Errorf("%d bit/s: %.0f packets in %v, want %.1f within %v", bps, got, end, want, train)
		}
		if skipped != 0 {
			t.Errorf("%d bit/s: %d packets skipped", bps, skipped)
		}
	}
}

// TestTimetableEven: at low rates every gap is the ideal one, to the nanosecond.
func TestTimetableEven(t *testing.T) {
	const size = 8 * 1478
	at, _, _ := run(&Timetable{}, constant(1e6), size, 10*time.Second, punctual)
	ideal := time.Duration(size * 1000)
	for i := 1; i < len(at); i++ {
		if gap := at[i] - at[i-1]; gap < ideal-1 || gap > ideal+1 {
			t.Fatalf("gap %d is %v, want %v", i, gap, ideal)
		}
	}
}

// TestTimetableLate: what is late by up to 10 ms is caught up on, at no more
// than four times the rate; what is more is dropped and said.
func TestTimetableLate(t *testing.T) {
	const size = 8 * 1250 // 100 µs at 100 Mbit/s
	for _, tt := range []struct {
		late    time.Duration
		skipped uint64
	}{
		{0, 0},
		{9 * time.Millisecond, 0},
		{20 * time.Millisecond, 200},
		{time.Second, 10_000},
	} {
		at, packets, skipped := run(&Timetable{}, constant(1e8), size, 2*time.Second, func(i int) time.Duration {
			if i == 1000 {
				return tt.late
			}
			return 0
		})
		if skipped != tt.skipped {
			t.Errorf("%v late: %d packets skipped, want %d", tt.late, skipped, tt.skipped)
		}
		if all := packets + skipped; all < 20_000 || all > 20_001 {
			t.Errorf("%v late: %d packets sent and skipped, want 20000", tt.late, all)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < 25*time.Microsecond {
				t.Fatalf("%v late: gap %d is %v, below a quarter of 100µs", tt.late, i, gap)
			}
		}
	}
}

// TestTimetableChange: a new rate holds from the next packet on, whatever was
// due under the old one.
func TestTimetableChange(t *testing.T) {
	const size = 8 * 1000
	var table Timetable
	table.Due(0, 8_000)
	table.Sent(0, 1, size) // the next is due after a second
	if due := table.Due(500*time.Millisecond, 8_000); due != time.Second {
		t.Fatalf("due at %v, want 1s", due)
	}
	if due := table.Due(500*time.Millisecond, 8e6); due != 500*time.Millisecond {
		t.Fatalf("after a faster rate due at %v, want now", due)
	}
	if late, skipped := table.Sent(500*time.Millisecond, 1, size); late != 0 || skipped != 0 {
		t.Errorf("after a faster rate late %v, skipped %d, want none", late, skipped)
	}
	if due := table.Due(500*time.Millisecond, 8e6); due != 501*time.Millisecond {
		t.Errorf("next due at %v, want 501ms", due)
	}
	if due := table.Due(500*time.Millisecond, 0); due != 500*time.Millisecond {
		t.Errorf("without a limit due at %v, want now", due)
	}
	if due := table.Due(700*time.Millisecond, 8e6); due != 700*time.Millisecond {
		t.Errorf("with a limit again due at %v, want now", due)
	}
}

func TestTrain(t *testing.T) {
	for _, tt := range []struct {
		rate, size uint64
		want       int
	}{
		{0, 11824, 45},             // no limit
		{1e6, 11824, 1},            // a packet is longer than the quantum
		{100e6, 11824, 1},          //
		{5e9, 11824, 42},           // 500 kbit
		{1e12, 11824, 45},          // bounded by the buffer
		{^uint64(0), 8, 45},        // no overflow
		{1e9, 8 * (64 + 28), 45},   //
		{100e6, 8 * (64 + 28), 13}, //
	} {
		if got := Train(tt.rate, tt.size, DefaultQuantum, 45); got != tt.want {
			t.Errorf("Train(%d, %d) = %d, want %d", tt.rate, tt.size, got, tt.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	start := time.Now()
	for _, bps := range []uint64{8_000, 1e6, 99_999_989, 1e9, 100e9} {
		l := NewLimiter(NewRate(bps))
		now, sent := start, 0
		for range 10_000 {
			n := l.Block()
			at := l.Reserve(n, now)
			if now.Before(at) {
				now = at
			}
			sent += n / 2
			l.Return(n - n/2) // only half was written
		}
		got := float64(sent) * 8 / now.Sub(start).Seconds()
		if ratio := got / float64(bps); ratio < 0.999 || ratio > 1.001 {
			t.Errorf("%d bit/s: %.0f bit/s", bps, got)
		}
	}
}

func TestLimiterBlock(t *testing.T) {
	for _, tt := range []struct {
		rate uint64
		want int
	}{{0, 0}, {1, 1}, {8_000, 10}, {1e6, 1250}, {100e6, 65536}} {
		if got := NewLimiter(NewRate(tt.rate)).Block(); got != tt.want {
			t.Errorf("Block at %d bit/s = %d, want %d", tt.rate, got, tt.want)
		}
	}
	var none *Limiter
	if none.Block() != 0 || none.Rate() != 0 {
		t.Error("a nil Limiter limits")
	}
}

// TestLimiterDebt: a stall is not caught up on beyond 50 ms, and a new rate
// begins without debt.
func TestLimiterDebt(t *testing.T) {
	rate := NewRate(8e6) // 1 byte each µs
	l := NewLimiter(rate)
	now := time.Now()
	l.Reserve(1000, now)
	now = now.Add(10 * time.Second)
	if at := l.Reserve(1000, now); now.Sub(at) != limiterDebt {
		t.Errorf("debt %v, want %v", now.Sub(at), limiterDebt)
	}
	rate.Set(16e6)
	if at := l.Reserve(1000, now); !at.Equal(now) {
		t.Errorf("at a new rate %v from now, want now", at.Sub(now))
	}
}
