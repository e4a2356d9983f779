package twamp

import (
	"testing"
	"time"

	"github.com/sonde-net/sonde/twamp/wire"
)

func TestArrivalStamp(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name   string
		steady bool
		waited time.Duration
		want   Source
	}{
		{"just now", true, 0, Kernel},
		{"waited", true, 3 * time.Millisecond, Kernel},
		{"in the future: the clock was set back", true, -time.Millisecond, User},
		{"an hour ago: the clock was set forward", true, time.Hour, User},
		{"the clock was set by less", false, 3 * time.Millisecond, User},
	} {
		a := arrival{At: now, Stamp: User, steady: tt.steady}
		a.stamp(now.Round(0).Add(-tt.waited))
		moved := now.Sub(a.At)
		if a.Stamp != tt.want || (tt.want == Kernel && moved != tt.waited) || (tt.want == User && moved != 0) {
			t.Errorf("%s: by %s, moved by %v", tt.name, a.Stamp, moved)
		}
	}
}

func TestStepWatch(t *testing.T) {
	var w stepWatch
	now := time.Now()
	if w.set(now) || w.set(now.Add(time.Hour)) {
		t.Error("a step without one")
	}
	// No time.Time can be made whose clocks disagree, so only what reads the clock
	// tells; whoever sets a clock sets that of the machine.
	w = stepWatch{latest: time.Now()}
	if w.set(readClock()) {
		t.Log("the clock was set just now, or we were interrupted between its readings")
	}
}

// The kernel's T1 replaces ours if it can be right, and the RTT is then between
// the kernel's stamps.
func TestDeparted(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		name string
		lag  time.Duration
		rtt  time.Duration
	}{
		{"on time", 0, 10 * time.Millisecond},
		{"late", 2 * time.Millisecond, 8 * time.Millisecond},
		{"before it was written: the clock was set back", -2 * time.Millisecond, 10 * time.Millisecond},
		{"an hour late: the clock was set forward", time.Hour, 10 * time.Millisecond},
	} {
		b := tally{wait: time.Second}
		seq := b.send(start)
		b.departed(seq, start.Round(0).Add(tt.lag))
		b.departed(seq+1, start.Round(0)) // of a packet never sent
		at := start.Add(10 * time.Millisecond)
		b.reply(wire.Reply{SenderSeq: seq, Received: wire.NTP(at), Sent: wire.NTP(at)}, arrival{At: at, Stamp: Kernel})
		if got := b.rtt.delay.min; (got - tt.rtt).Abs() > 2 {
			t.Errorf("%s: RTT %v, want %v", tt.name, got, tt.rtt)
		}
	}
}

func TestStampsTold(t *testing.T) {
	if got := new(ends).stamps(); got != "" {
		t.Errorf("without an exchange: %s", got)
	}
	for _, tt := range []struct {
		rx, both int
		want     string
		mixed    uint64
	}{
		{1000, 1000, "kernel-rx-tx", 0},
		{1000, 995, "kernel-rx-tx", 5},
		{1000, 900, "kernel-rx", 0},
		{995, 0, "kernel-rx", 5},
		{900, 900, "user", 0},
		{0, 0, "user", 0},
	} {
		var e ends
		for i := range 1000 {
			a := arrival{Stamp: User}
			if i < tt.rx {
				a.Stamp = Kernel
			}
			e.record(wire.Reply{}, a, i < tt.both)
		}
		if got := e.stamps(); got != tt.want || e.mixed() != tt.mixed {
			t.Errorf("%d and %d of 1000: %s, %d mixed", tt.rx, tt.both, got, e.mixed())
		}
	}
}

func TestLags(t *testing.T) {
	var l lags
	for i := range 15 {
		l.record(time.Duration(i))
		if l.median() != 0 {
			t.Errorf("a median of %d", i+1)
		}
	}
	l.record(time.Hour)
	if got := l.median(); got != 8 {
		t.Errorf("median %v", got)
	}
	for range 16 {
		l.record(7)
	}
	if got := l.median(); got != 7 {
		t.Errorf("median %v of what is remembered", got)
	}
}
