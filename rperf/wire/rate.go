package wire

import (
	"fmt"
	"math"
	"strconv"
)

// Rates of rperf's -b.
const (
	DefaultRate = 125000 // bytes/s: what the original takes for one it cannot read
	LeastRate   = 1024   // bytes/s: what it takes for zero and less
)

// ParseRate reads the value of rperf's -b, the rate of one stream, as bytes/s.
// A bare number is bytes/s; k, m and g are kilo-, mega- and gigabits/s; K, M
// and G are kilo-, mega- and gigabytes/s, all decimal. Fractions are allowed.
// A rate of zero or less becomes LeastRate, as in the original. The original
// goes on with DefaultRate where ParseRate fails.
func ParseRate(s string) (bytesPerSecond uint64, err error) {
	digits, unit := s, 1.0
	if s != "" {
		if u, ok := rateUnits[s[len(s)-1]]; ok {
			digits, unit = s[:len(s)-1], u
		}
	}
	x, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(x) || x*unit > maxBandwidth {
		return 0, fmt.Errorf("rperf: %q is no rate: want bytes/s, or a number with k, m, g (bits) or K, M, G (bytes)", s)
	}
	if x <= 0 {
		return LeastRate, nil
	}
	return uint64(x * unit), nil
}

// rateUnits are bytes/s.
var rateUnits = map[byte]float64{
	'k': 1e3 / 8, 'm': 1e6 / 8, 'g': 1e9 / 8,
	'K': 1e3, 'M': 1e6, 'G': 1e9,
}
