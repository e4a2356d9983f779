package diagnose

import (
	"fmt"
	"strings"
	"time"
)

// formatRate writes bit/s with three digits and a decimal prefix.
func formatRate(bps float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "Tbit/s"}, {1e9, "Gbit/s"}, {1e6, "Mbit/s"}, {1e3, "kbit/s"}} {
		if bps >= 0.9995*unit.size {
			return digits(bps/unit.size) + " " + unit.name
		}
	}
	return fmt.Sprintf("%.0f bit/s", bps)
}

// formatTime writes d in milliseconds, or in microseconds below one.
func formatTime(d time.Duration) string {
	if d.Abs() < time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return digits(float64(d)/float64(time.Millisecond)) + " ms"
}

// formatShare writes a share of 1 in percent.
func formatShare(share float64) string { return digits(100*share) + " %" }

// digits writes v, 0 or more, with about three digits.
func digits(v float64) string {
	switch {
	case v >= 99.95 || v <= -99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995 || v <= -9.995:
		return trim(fmt.Sprintf("%.1f", v))
	case v >= 0.9995 || v <= -0.9995:
		return trim(fmt.Sprintf("%.2f", v))
	}
	return trim(fmt.Sprintf("%.3f", v))
}

// trim drops zeros after the decimal point.
func trim(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }
