package plot

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A Unit is what a number means.
type Unit uint8

// The units.
const (
	Number   Unit = iota
	Rate          // bit/s, with decimal prefixes
	ByteRate      // byte/s, with decimal prefixes
	Bytes         // with binary prefixes
	Nanos         // a time in ns, shown in ns, µs, ms or s
	Ratio         // 0 to 1, shown in percent
	Elapsed       // seconds since the beginning
	Clock         // a moment: seconds since 1970, see At
)

// A scale is one way to write the numbers of a Unit.
type scale struct {
	one  float64 // what is written as 1
	name string
}

// scales of the units that have several, smallest first.
var scales = map[Unit][]scale{
	Number:   {{1, ""}},
	Rate:     {{1, "bit/s"}, {1e3, "kbit/s"}, {1e6, "Mbit/s"}, {1e9, "Gbit/s"}, {1e12, "Tbit/s"}},
	ByteRate: {{1, "B/s"}, {1e3, "kB/s"}, {1e6, "MB/s"}, {1e9, "GB/s"}, {1e12, "TB/s"}},
	Bytes:    {{1, "B"}, {1 << 10, "KiB"}, {1 << 20, "MiB"}, {1 << 30, "GiB"}, {1 << 40, "TiB"}, {1 << 50, "PiB"}},
	Nanos:    {{1, "ns"}, {1e3, "µs"}, {1e6, "ms"}, {1e9, "s"}},
	Ratio:    {{0.01, "%"}},
	Elapsed:  {{1, "s"}, {60, "min"}, {3600, "h"}, {86400, "d"}},
}

// scaleFor is the scale in which v has the fewest digits before its point, but
// at least one.
func (u Unit) scaleFor(v float64) scale {
	all := scales[u]
	if len(all) == 0 {
		return scale{1, ""}
	}
	best := all[0]
	for _, s := range all {
		if math.Abs(v) >= s.one {
			best = s
		}
	}
	return best
}

// Format writes v for a person: 943.21 Mbit/s, 1.10 GiB, 1.25 ms, 0.3 %; "-" for
// a Gap. A moment is written in UTC.
func (u Unit) Format(v float64) string { return u.format(v, time.UTC) }

func (u Unit) format(v float64, zone *time.Location) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	switch u {
	case Clock:
		return moment(v, zone).Format("2006-01-02 15:04:05")
	case Elapsed:
		return significant(v) + " s"
	case Ratio:
		return significant(v*100) + " %"
	case Number:
		return significant(v)
	}
	s := u.scaleFor(v)
	if s.one == 1 {
		return significant(v) + " " + s.name
	}
	return strconv.FormatFloat(v/s.one, 'f', 2, 64) + " " + s.name
}

// significant writes v with at most two decimals, more for the very small.
func significant(v float64) string {
	decimals := 2
	if a := math.Abs(v); a > 0 && a < 0.01 {
		decimals = 5
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

func moment(v float64, zone *time.Location) time.Time {
	if zone == nil {
		zone = time.UTC
	}
	return time.UnixMicro(int64(math.Round(v * 1e6))).In(zone)
}
