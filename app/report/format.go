package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// unknown stands for a figure that was not measured.
const unknown = "-"

// FormatRate returns a rate in bit/s with decimal prefixes, such as
// "943.21 Mbit/s".
func FormatRate(bitsPerSecond uint64) string {
	return scaled(float64(bitsPerSecond), 1000, "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s")
}

// FormatSize returns a number of bytes with IEC prefixes, such as "1.10 GiB".
func FormatSize(bytes uint64) string {
	return scaled(float64(bytes), 1024, "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
}

// scaled divides n by step until it is below one step of the next unit, as
// rounded for print: two decimals, none in the first unit.
func scaled(n, step float64, units ...string) string {
	if n < step {
		return strconv.FormatFloat(n, 'f', 0, 64) + " " + units[0]
	}
	i := 0
	for i < len(units)-1 && math.Round(n*100)/100 >= step {
		n /= step
		i++
	}
	return strconv.FormatFloat(n, 'f', 2, 64) + " " + units[i]
}

// FormatDelay returns a delay in milliseconds with three significant digits or
// so, such as "0.045 ms", "12.3 ms" and "480 ms"; from 10 s on in seconds.
func FormatDelay(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch size := math.Abs(ms); {
	case size < 1:
		return strconv.FormatFloat(ms, 'f', 3, 64) + " ms"
	case size < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	case size < 100:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case size < 10_000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// FormatElapsed returns a length of time for a person: "10.0 s", or "2m05s"
// from two minutes on.
func FormatElapsed(d time.Duration) string {
	if d < 2*time.Minute {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	if h == 0 {
		return fmt.Sprintf("%dm%02ds", m, s)
	}
	return fmt.Sprintf("%dh%02dm%02ds", h, m, s)
}

// FormatPercent returns a ratio as a percentage: "12.3 %", "0.01 %", and
// "<0.01 %" where two decimals would say zero although it is not.
func FormatPercent(ratio float64) string {
	p := ratio * 100
	switch size := math.Abs(p); {
	case p == 0:
		return "0 %"
	case math.IsNaN(p) || math.IsInf(p, 0):
		return unknown
	case p > 0 && p < 0.005:
		return "<0.01 %"
	case size < 1:
		return strconv.FormatFloat(p, 'f', 2, 64) + " %"
	case size < 99.95:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// formatCount returns a count with its noun: "1 packet", "3 packets".
func formatCount[T int | int64 | uint64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// orUnknown formats the figure p points to, or returns "-".
func orUnknown[T any](p *T, format func(T) string) string {
	if p == nil {
		return unknown
	}
	return format(*p)
}

// clean returns s as one line without anything that a terminal or a log reader
// could take for more than text: control characters, line and paragraph
// separators, marks that change the direction of writing, and bytes that are
// no UTF-8 become escapes such as \x1b. Names and texts from a peer pass
// through it before they are shown.
func clean(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func unprintable(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// clip cuts s to at most n bytes, at a character, and marks the cut.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n = max(0, n-len("..."))
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// Clean is text from a peer as it may be shown: what a terminal would obey is
// escaped.
func Clean(s string) string { return clean(s) }
