package plot

import (
	"strings"
	"testing"
	"time"
)

func labels(all []tick, unit string) string {
	var b strings.Builder
	for _, t := range all {
		b.WriteString(t.label + " ")
	}
	return strings.TrimSpace(b.String() + unit)
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		unit   Unit
		lo, hi float64
		n      int
		want   string
	}{
		{Rate, 0, 94.2e6, 4, "0 25 50 75 Mbit/s"},
		{Rate, 0, 1e9, 5, "0.0 0.2 0.4 0.6 0.8 1.0 Gbit/s"},
		{Bytes, 0, 3 << 30, 4, "0 1 2 3 GiB"},
		{Bytes, 0, 700 << 20, 4, "0 200 400 600 MiB"},
		{Nanos, -2e6, 2e6, 4, "-2 -1 0 1 2 ms"},
		{Ratio, 0, 0.013, 4, "0.0 0.5 1.0 %"},
		{Number, 0, 0.00004, 4, "0.00000 0.00001 0.00002 0.00003 0.00004"},
		{Elapsed, 0, 10, 8, "0 2 4 6 8 10 s"},
		{Elapsed, 0, 100, 8, "0 15 30 45 60 75 90 s"},
		{Elapsed, 0, 600, 8, "0 2 4 6 8 10 min"},
		{Elapsed, 0, 0.5, 5, "0.0 0.1 0.2 0.3 0.4 0.5 s"},
		{Elapsed, 0, 7 * 86400, 8, "0 1 2 3 4 5 6 7 d"},
	} {
		got := labels(Axis{Unit: tt.unit}.ticks(tt.lo, tt.hi, tt.n))
		if got != tt.want {
			t.Errorf("unit %d from %v to %v: %q, want %q", tt.unit, tt.lo, tt.hi, got, tt.want)
		}
	}
}

func TestClockTicks(t *testing.T) {
	riga, err := time.LoadLocation("Europe/Riga")
	if err != nil {
		t.Skipf("no time zones on this system: %v", err)
	}
	at := func(s string) float64 {
		v, err := time.ParseInLocation("2006-01-02 15:04:05", s, riga)
		if err != nil {
			t.Fatal(err)
		}
		return At(v)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"2026-11-28 10:00:07", "2026-11-28 10:01:05", "10:00:10 10:00:20 10:00:30 10:00:40 10:00:50 10:01:00"},
		{"2026-11-28 22:10:00", "2026-11-29 01:50:00", "22:30 23:00 23:30 29 Nov 00:30 01:00 01:30"},
		{"2026-11-01 12:00:00", "2026-11-07 12:00:00", "2 Nov 3 Nov 4 Nov 5 Nov 6 Nov 7 Nov"},
		{"2026-10-20 00:00:00", "2026-12-01 00:00:00", "26 Oct 2 Nov 9 Nov 16 Nov 23 Nov 30 Nov"},
		{"2026-01-15 00:00:00", "2026-12-31 00:00:00", "Mar 2026 May 2026 Jul 2026 Sep 2026 Nov 2026"},
		// The clock is set back at 04:00 and forward at 03:00.
		{"2026-10-25 00:00:00", "2026-10-25 06:00:00", "25 Oct 01:00 02:00 03:00 04:00 05:00 06:00"},
		{"2026-03-29 00:00:00", "2026-03-29 06:00:00", "29 Mar 01:00 02:00 04:00 05:00 06:00"},
	} {
		if got := labels(clockTicks(at(tt.from), at(tt.to), 8, riga), ""); got != tt.want {
			t.Errorf("%s to %s: %q, want %q", tt.from, tt.to, got, tt.want)
		}
	}
}
