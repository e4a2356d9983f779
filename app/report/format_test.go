package report

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFormatRate(t *testing.T) {
	for _, tt := range []struct {
		n    uint64
		want string
	}{
		{0, "0 bit/s"},
		{999, "999 bit/s"},
		{1000, "1.00 kbit/s"},
		{999_994, "999.99 kbit/s"},
		{999_995, "1.00 Mbit/s"}, // rounding carries into the next unit
		{943_210_000, "943.21 Mbit/s"},
		{102e9, "102.00 Gbit/s"},
		{math.MaxUint64, "18446.74 Pbit/s"},
	} {
		if got := FormatRate(tt.n); got != tt.want {
			t.Errorf("FormatRate(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for _, tt := range []struct {
		n    uint64
		want string
	}{
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.00 KiB"},
		{1<<20 - 1, "1.00 MiB"},
		{1_181_116_006, "1.10 GiB"},
		{math.MaxUint64, "16.00 EiB"},
	} {
		if got := FormatSize(tt.n); got != tt.want {
			t.Errorf("FormatSize(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestFormatTimes(t *testing.T) {
	for _, tt := range []struct {
		d              time.Duration
		delay, elapsed string
	}{
		{0, "0.000 ms", "0.0 s"},
		{45 * us, "0.045 ms", "0.0 s"},
		{1500 * us, "1.50 ms", "0.0 s"},
		{12340 * us, "12.3 ms", "0.0 s"},
		{480 * ms, "480 ms", "0.5 s"},
		{-2 * ms, "-2.00 ms", "-0.0 s"},
		{12 * time.Second, "12.0 s", "12.0 s"},
		{125 * time.Second, "125.0 s", "2m05s"},
		{time.Hour + 61*time.Second, "3661.0 s", "1h01m01s"},
	} {
		if got := FormatDelay(tt.d); got != tt.delay {
			t.Errorf("FormatDelay(%v) = %q, want %q", tt.d, got, tt.delay)
		}
		if got := FormatElapsed(tt.d); got != tt.elapsed {
			t.Errorf("FormatElapsed(%v) = %q, want %q", tt.d, got, tt.elapsed)
		}
	}
}

func TestFormatPercent(t *testing.T) {
	for _, tt := range []struct {
		ratio float64
		want  string
	}{
		{0, "0 %"}, {1e-9, "<0.01 %"}, {0.0001, "0.01 %"}, {0.0234, "2.3 %"}, {0.5, "50.0 %"},
		{1, "100 %"}, {2.5, "250 %"}, {-0.001, "-0.10 %"}, {math.NaN(), "-"}, {math.Inf(1), "-"},
	} {
		if got := FormatPercent(tt.ratio); got != tt.want {
			t.Errorf("FormatPercent(%v) = %q, want %q", tt.ratio, got, tt.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{
		{"short", 5, "short"}, {"longer", 5, "lo..."}, {"ééééé", 6, "é..."}, {"abc", 1, "..."},
	} {
		if got := clip(tt.s, tt.n); got != tt.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tt.s, tt.n, got, tt.want)
		}
	}
}

var hostile = []string{
	"", "-", "ann", "ann smith", `a"b\c=d`, "a\r\nb", "\x1b[31m", "\x00\x07\x7f", "\u009b1m", "\u2028\u2029", "\u202eabc",
	"=1+1", "@SUM(A1)", "+1", "-1", "\t=1", "\xff\xfe", "näme", strings.Repeat("ü", 300), `x","y`, "\u00a0", "\ufeff=1",
}

// lineBreaks are what some reader takes for the end of a line.
const lineBreaks = "\n\r\v\f\u0085\u2028\u2029"

func FuzzClean(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) || strings.IndexFunc(got, unprintable) >= 0 || strings.ContainsAny(got, lineBreaks) {
			t.Errorf("clean(%q) = %q", s, got)
		}
		if again := clean(got); again != got {
			t.Errorf("clean(clean(%q)) = %q, clean once = %q", s, again, got)
		}
	})
}
