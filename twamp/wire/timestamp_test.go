package wire

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimestampVectors(t *testing.T) {
	for _, v := range readVectors(t).Timestamps {
		ns, err := strconv.ParseInt(v.UnixNS, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(0, ns)
		if got := fmt.Sprintf("%016x", uint64(NTP(at))); got != v.NTP {
			t.Errorf("NTP(%d ns) = %s, want %s", ns, got, v.NTP)
		}
		if got := fmt.Sprintf("%016x", uint64(PTPTime(at))); got != v.PTP {
			t.Errorf("PTPTime(%d ns) = %s, want %s", ns, got, v.PTP)
		}
		for _, ptp := range []bool{false, true} {
			if got := Stamp(at, ptp).Time(ptp, at.Add(40*365*24*time.Hour)); !got.Equal(at) {
				t.Errorf("%d ns, ptp %t, came back as %d", ns, ptp, got.UnixNano())
			}
		}
	}
}

// A timestamp comes back to the nanosecond, whatever the era, as long as the
// reader's clock is within 68 years.
func TestTimestampRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-1<<33, 1<<34).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		near := time.Unix(at.Unix()+rapid.Int64Range(-1<<31+2, 1<<31-2).Draw(t, "off"), 0)
		ptp := rapid.Bool().Draw(t, "ptp")
		if got := Stamp(at, ptp).Time(ptp, near); !got.Equal(at) {
			t.Fatalf("%v near %v came back as %v", at, near, got)
		}
	})
}

// A peer that copies Z but writes NTP is found out by its nanoseconds.
func TestTimestampCopiedZ(t *testing.T) {
	now := time.Unix(1_800_000_000, 700_000_000) // fraction 0xb3333333 > 10⁹
	if got := NTP(now).Time(true, now); got.Sub(now).Abs() > time.Nanosecond {
		t.Errorf("read as %v, want %v", got, now)
	}
}

func TestInterval(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want Interval
	}{
		{0, 0}, {-time.Second, 0}, {time.Second, 1 << 32}, {2500 * time.Millisecond, 5 << 31},
		{1, 4}, {999_999_999, 0xfffffffc}, {math.MaxInt64, 1<<64 - 1},
	} {
		if got := IntervalOf(tt.d); got != tt.want {
			t.Errorf("IntervalOf(%v) = %#x, want %#x", tt.d, uint64(got), uint64(tt.want))
		}
		if tt.d >= 0 && tt.d < math.MaxInt64 && tt.want.Duration() != tt.d {
			t.Errorf("%#x = %v, want %v", uint64(tt.want), tt.want.Duration(), tt.d)
		}
	}
	if d := Interval(1<<64 - 1).Duration(); d < 136*365*24*time.Hour {
		t.Errorf("the longest interval is %v", d)
	}
}

func TestErrorEstimateVectors(t *testing.T) {
	for _, v := range readVectors(t).ErrorEstimate {
		d := time.Duration(math.Round(v.Seconds * 1e9))
		e := NewErrorEstimate(d, v.Synced == 1, v.PTPFormat == 1)
		if got := fmt.Sprintf("%04x", uint16(e)); got != v.Encoded {
			t.Errorf("error of %v: %s, want %s", d, got, v.Encoded)
		}
		if e.Synced() != (v.Synced == 1) || e.PTP() != (v.PTPFormat == 1) {
			t.Errorf("%s: synced %t, ptp %t", v.Encoded, e.Synced(), e.PTP())
		}
	}
	if NewErrorEstimate(time.Second, false, false) != UnknownError {
		t.Errorf("one second is not %#x", uint16(UnknownError))
	}
}

// An estimate is never below the error and at most 1 in 128 above it.
func TestErrorEstimateBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1000, int64(9*time.Second)).Draw(t, "error"))
		got, ok := NewErrorEstimate(d, true, false).Bound()
		if !ok || got < d-1 || got > d+d/128+1 {
			t.Fatalf("error of %v is told as %v, %t", d, got, ok)
		}
	})
}

func TestErrorEstimateMeansNothing(t *testing.T) {
	for _, e := range []ErrorEstimate{0, 0x8000, 0x3fff, 0x0001, 0x0900, 0xffff, 0x1cff} {
		if d, ok := e.Bound(); ok {
			t.Errorf("%#04x is believed: %v", uint16(e), d)
		}
	}
	for d, want := range map[time.Duration]ErrorEstimate{0: 0x0001, -1: 0x0001} {
		if got := NewErrorEstimate(d, false, false); got != want {
			t.Errorf("error of %v: %#04x", d, uint16(got))
		}
	}
	if e := NewErrorEstimate(math.MaxInt64, false, false); e&0xff == 0 {
		t.Errorf("the largest error is %#04x, which has no multiplier", uint16(e))
	}
}
