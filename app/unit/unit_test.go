package unit

import (
	"math"
	"strings"
	"testing"
	"time"
)

// no is a value that must be refused.
const no = math.MaxUint64

// units are rates in bit/s and sizes in bytes. The first rows are the ones
// that docs/units.md promises.
var units = []struct {
	text       string
	rate, size uint64
}{
	{"1000000", 1_000_000, 1_000_000},
	{"10K", 10_000, 10_240},
	{"10k", 10_000, 10_240},
	{"10M", 10_000_000, 10 << 20},
	{"1.5G", 1_500_000_000, 3 << 29},
	{"10Ki", 10 << 10, 10 << 10},
	{"10Mi", 10 << 20, 10 << 20},
	{"1Gi", 1 << 30, 1 << 30},
	{"10kB", 80_000, 10_000},
	{"10MB", 80_000_000, 10_000_000},
	{"1GB", 8_000_000_000, 1_000_000_000},
	{"100Mbit", 100_000_000, no},
	{"100Mbps", 100_000_000, no},
	{"100Mbit/s", 100_000_000, no},
	{"12.5MB/s", 100_000_000, no},
	{"0", 0, 0},
	{"unlimited", 0, 0},
	{"10Q", no, no},
	{"-5M", no, no},
	{"1e400", no, no},
	{"10 M x", no, no},

	// Either case, as btest-rs has it.
	{"10m", 10_000_000, 10 << 20},
	{"2g", 2_000_000_000, 2 << 30},
	{"1T", 1_000_000_000_000, 1 << 40},
	{"Unlimited", 0, 0},
	{"300", 300, 300},
	{"0.5K", 500, 512},
	{".5M", 500_000, 1 << 19},
	{"1.5", 1, 1},
	{"10MiB", 10 << 23, 10 << 20},
	{"10MiB/s", 10 << 23, no},
	{"8B", 64, 8},
	{"10kbit/s", 10_000, no},
	{"9223372036854775807", math.MaxInt64, math.MaxInt64},
	{"0K", 0, 0},
	{"0.0", 0, 0},

	// A number, a unit, and nothing else.
	{"", no, no},
	{" ", no, no},
	{" 10M", no, no},
	{"10M ", no, no},
	{"10 M", no, no},
	{"+5M", no, no},
	{"M", no, no},
	{"B", no, no},
	{"i", no, no},
	{"10i", no, no},
	{"10KK", no, no},
	{"10Kii", no, no},
	{"1_000", no, no},
	{"1,5M", no, no},
	{"1.2.3", no, no},
	{".", no, no},
	{"0x10", no, no},
	{"1e3", no, no},
	{"1/2", no, no},
	{"inf", no, no},
	{"NaN", no, no},
	{"10Bps", no, no},
	{"10MBit", no, no},
	{"10b", no, no},
	{"١٠", no, no},
	{"limited", no, no},
	// Too much, and so little that it would become 0, which is no limit.
	{"9223372036854775808", no, no},
	{"18446744073709551616", no, no},
	{"99999999T", no, no},
	{"9999999999999999999999999999999999999999", no, no},
	{"0.00001K", no, no},
	{"0.1", no, no},
	{strings.Repeat("9", 400), no, no},
}

func TestUnits(t *testing.T) {
	for _, tt := range units {
		check := func(kind string, got uint64, err error, want uint64) {
			t.Helper()
			if (err != nil) != (want == no) || err == nil && got != want {
				t.Errorf("%s %q = %d, %v; want %d", kind, tt.text, got, err, want)
			}
		}
		r, err := ParseRate(tt.text)
		check("rate", r, err, tt.rate)
		s, err := ParseSize(tt.text)
		check("size", s, err, tt.size)
	}
}

const wrong = time.Duration(-1)

var durations = []struct {
	text string
	want time.Duration
}{
	{"10", 10 * time.Second},
	{"0", 0},
	{"0s", 0},
	{"1.5", 1500 * time.Millisecond},
	{"500ms", 500 * time.Millisecond},
	{"10s", 10 * time.Second},
	{"1h30m", 90 * time.Minute},
	{"7d", 7 * 24 * time.Hour},
	{"1.5d", 36 * time.Hour},
	{"1d12h", 36 * time.Hour},
	{"0.5d", 12 * time.Hour},
	{"3650d", LongestTime},

	{"", wrong},
	{"d", wrong},
	{"s", wrong},
	{".", wrong},
	{"-5", wrong},
	{"-5s", wrong},
	{"+5s", wrong},
	{"1d-1h", wrong},
	{"-1d", wrong},
	{"1e3", wrong},
	{"10 s", wrong},
	{"10x", wrong},
	{"7D", wrong},
	{"1d2d", wrong},
	{"10K", wrong},
	{"inf", wrong},
	{"3651d", wrong},
	{"3650d1s", wrong},
	{"999999999h", wrong},
	{"9999999999999999999", wrong},
	// So little that it would become 0, which is for ever.
	{"0.0000000001", wrong},
	{"0.1ns", wrong},
}

func TestDurations(t *testing.T) {
	for _, tt := range durations {
		got, err := ParseDuration(tt.text)
		if (err != nil) != (tt.want == wrong) || err == nil && got != tt.want {
			t.Errorf("duration %q = %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}

func FuzzUnits(f *testing.F) {
	for _, tt := range units {
		f.Add(tt.text)
	}
	for _, tt := range durations {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		zero := !strings.ContainsAny(text, "123456789")
		for kind, parse := range map[string]func(string) (uint64, error){"rate": ParseRate, "size": ParseSize} {
			n, err := parse(text)
			switch {
			case err != nil && n != 0:
				t.Errorf("%s %q = %d beside %v", kind, text, n, err)
			case err == nil && n > math.MaxInt64:
				t.Errorf("%s %q = %d, beyond 63 bits", kind, text, n)
			case err == nil && n == 0 && !zero:
				t.Errorf("%s %q = 0: that is no limit", kind, text)
			case err == nil && strings.HasPrefix(text, "-"):
				t.Errorf("%s %q = %d: it is negative", kind, text, n)
			}
		}
		d, err := ParseDuration(text)
		if err == nil && (d < 0 || d > LongestTime || d == 0 && !zero) || err != nil && d != 0 {
			t.Errorf("duration %q = %v, %v", text, d, err)
		}
	})
}
