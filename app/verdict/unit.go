package verdict

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A unit is what a figure counts.
type unit int

// The units, and their base.
const (
	delay   unit = iota // nanoseconds
	ratio               // 1
	number              // 1
	bitRate             // bit/s
	perSec              // packets per second
)

// example says how a limit is written.
func (u unit) example() string {
	switch u {
	case delay:
		return "a time such as 30ms, 250us or 1.5s"
	case ratio:
		return "a share such as 0.1%"
	case bitRate:
		return "a rate such as 400M, 1.5G or 12.5MB/s"
	case perSec:
		return "packets per second such as 1000"
	}
	return "a whole number such as 10"
}

// parse reads a limit. Every limit is finite and not negative, and only 0 goes
// without a unit where there is one.
func (u unit) parse(text string) (float64, bool) {
	switch u {
	case delay:
		return parseDelay(text)
	case ratio:
		n, percent := strings.CutSuffix(text, "%")
		v, ok := parseDecimal(strings.TrimSpace(n))
		return v / 100, ok && (percent || v == 0)
	case bitRate:
		return parseBitRate(text)
	case perSec:
		return parseDecimal(text)
	}
	v, ok := parseDecimal(text)
	return v, ok && v == math.Trunc(v)
}

// parseDecimal reads digits with at most one point.
func parseDecimal(text string) (float64, bool) {
	if len(text) > 20 || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}

func parseDelay(text string) (float64, bool) {
	if v, ok := parseDecimal(text); ok {
		return 0, v == 0
	}
	if len(text) > 40 || strings.ContainsAny(text, "+-") {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	return float64(d), err == nil
}

// rateUnits are the suffixes of a rate, in bits, the longer ones first.
var rateUnits = []struct {
	suffix string
	bits   float64
}{{"bit/s", 1}, {"bps", 1}, {"bit", 1}, {"B/s", 8}, {"B", 8}, {"", 1}}

// parseBitRate reads a rate as everywhere on the command line: decimal prefixes,
// or binary ones with an i.
func parseBitRate(text string) (float64, bool) {
	for _, u := range rateUnits {
		n, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		base := 1000.0
		n, binary := strings.CutSuffix(n, "i")
		if binary {
			base = 1024
		}
		power := 0
		if n != "" {
			if at := strings.IndexByte("kmgtKMGT", n[len(n)-1]); at >= 0 {
				n, power = n[:len(n)-1], at%4+1
			}
		}
		v, ok := parseDecimal(n)
		return v * math.Pow(base, float64(power)) * u.bits, ok && !(binary && power == 0)
	}
	return 0, false
}

// format is a figure for a person, in the way a limit is written.
func (u unit) format(v float64) string {
	switch u {
	case delay:
		return time.Duration(v).Round(100 * time.Nanosecond).String()
	case ratio:
		return short(v*100) + "%"
	case bitRate:
		for _, p := range []struct {
			size float64
			name string
		}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
			if v >= p.size {
				return short(v/p.size) + p.name + "bit/s"
			}
		}
		return short(v) + "bit/s"
	}
	return short(v)
}

// short is v with four digits, and more where they stand before the point.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
