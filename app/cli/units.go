package cli

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// A rate is a flag value in bit/s: 1000000, 10M, 1.5G, 10Mi, 12.5MB/s,
// 100Mbit/s; 0 and "unlimited" are no limit. Plain prefixes are decimal.
type rate uint64

// String is the value in bit/s.
func (r *rate) String() string {
	if *r == 0 {
		return "unlimited"
	}
	return strconv.FormatUint(uint64(*r), 10)
}

// Type names the kind of value in help texts.
func (r *rate) Type() string { return "rate" }

// Set parses text.
func (r *rate) Set(text string) error {
	n, err := parseRate(text)
	*r = rate(n)
	return err
}

// A size is a flag value in bytes: 1500, 10K (10 240, as iperf3 has it), 10Mi,
// 10MB (decimal).
type size uint64

// String is the value in bytes.
func (s *size) String() string { return strconv.FormatUint(uint64(*s), 10) }

// Type names the kind of value in help texts.
func (s *size) Type() string { return "size" }

// Set parses text.
func (s *size) Set(text string) error {
	n, err := parseSize(text)
	*s = size(n)
	return err
}

// A duration is a flag value: 500ms, 10s, 1h30m, 7d; a bare number is seconds.
type duration time.Duration

// String is the value as Go writes it.
func (d *duration) String() string { return time.Duration(*d).String() }

// Type names the kind of value in help texts.
func (d *duration) Type() string { return "duration" }

// Set parses text.
func (d *duration) Set(text string) error {
	n, err := parseDuration(text)
	*d = duration(n)
	return err
}

// A count is a flag value that is a whole number.
type count int

// String is the value in figures.
func (c *count) String() string { return strconv.Itoa(int(*c)) }

// Type names the kind of value in help texts.
func (c *count) Type() string { return "number" }

// Set parses text.
func (c *count) Set(text string) error {
	n, err := parseCount(text)
	*c = count(n)
	return err
}

// A port is a flag value: a port number of TCP or UDP.
type port uint16

// String is the value in figures.
func (p *port) String() string { return strconv.Itoa(int(*p)) }

// Type names the kind of value in help texts.
func (p *port) Type() string { return "port" }

// Set parses text.
func (p *port) Set(text string) error {
	n, err := parsePort(text)
	*p = port(n)
	return err
}

// What is said of a value that is none of its kind. The flag and the value
// stand before it.
var (
	errRate     = errors.New("not a rate; give bit/s such as 1000000, 10M, 1.5G, 100Mbit/s or 12.5MB/s, or 0 for no limit")
	errSize     = errors.New("not a size; give bytes such as 1500, 64K (65536) or 10MB (10000000)")
	errDuration = errors.New("not a duration; give seconds, or 500ms, 10s, 1h30m, 7d")
	errCount    = errors.New("not a whole number")
	errPort     = errors.New("not a port; give a number from 1 to 65535")
)

// rateSuffixes are the units of rates in bits, longest first where one ends
// another.
var rateSuffixes = []struct {
	suffix string
	bits   int64
}{
	{"bit/s", 1}, {"bps", 1}, {"bit", 1}, {"B/s", 8}, {"B", 8}, {"", 1},
}

// parseRate reads a rate in bit/s.
func parseRate(text string) (uint64, error) {
	if strings.EqualFold(text, "unlimited") {
		return 0, nil
	}
	for _, u := range rateSuffixes {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			n, ok := scaled(rest, 1000, u.bits)
			if !ok {
				break
			}
			return n, nil
		}
	}
	return 0, errRate
}

// parseSize reads a size in bytes.
func parseSize(text string) (uint64, error) {
	if strings.EqualFold(text, "unlimited") {
		return 0, nil
	}
	base := int64(1024)
	rest, named := strings.CutSuffix(text, "B")
	if named {
		base = 1000
	}
	n, ok := scaled(rest, base, 1)
	if !ok {
		return 0, errSize
	}
	return n, nil
}

// scaled reads a number with a prefix k, m, g or t (times base) or Ki, Mi, Gi,
// Ti (times 1024), times unit; fractions of the result are dropped. It is false
// for anything else, for what does not fit 63 bits, and for what would become 0
// although it is not: 0 means no limit. Exact: no floats.
func scaled(text string, base, unit int64) (uint64, bool) {
	number, binary := strings.CutSuffix(text, "i")
	if binary {
		base = 1024
	}
	power := 0
	if number != "" {
		if at := strings.IndexByte("kmgtKMGT", number[len(number)-1]); at >= 0 {
			power = at%4 + 1
			number = number[:len(number)-1]
		}
	}
	v, ok := decimal(number)
	if !ok || binary && power == 0 {
		return 0, false
	}
	for range power {
		v.Mul(v, big.NewRat(base, 1))
	}
	v.Mul(v, big.NewRat(unit, 1))
	whole := new(big.Int).Quo(v.Num(), v.Denom())
	if !whole.IsInt64() || whole.Sign() == 0 && v.Sign() != 0 {
		return 0, false
	}
	return whole.Uint64(), true
}

// decimal reads an unsigned number of digits with at most one point.
func decimal(text string) (*big.Rat, bool) {
	if len(text) > 40 || strings.Trim(text, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// longestTime bounds every duration that a person can ask for.
const longestTime = 10 * 365 * 24 * time.Hour

// parseDuration reads a duration of 0 to longestTime.
func parseDuration(text string) (time.Duration, error) {
	whole, clock, ok := strings.Cut(text, "d")
	switch {
	case !ok:
		whole, clock = "0", text
		if _, bare := decimal(text); bare {
			clock += "s"
		}
	case clock == "":
		clock = "0s"
	}
	days, ok := decimal(whole)
	d, err := time.ParseDuration(clock)
	if !ok || err != nil || strings.ContainsAny(clock, "+-") {
		return 0, errDuration
	}
	days.Mul(days, big.NewRat(int64(24*time.Hour), 1))
	days.Add(days, big.NewRat(int64(d), 1))
	if days.Cmp(big.NewRat(int64(longestTime), 1)) > 0 {
		return 0, fmt.Errorf("too long; give at most %dd", longestTime/(24*time.Hour))
	}
	d = time.Duration(new(big.Int).Quo(days.Num(), days.Denom()).Int64())
	if d == 0 && strings.ContainsAny(text, "123456789") { // less than a nanosecond, and 0 means for ever
		return 0, errDuration
	}
	return d, nil
}

// parseCount reads a whole number of 32 bits.
func parseCount(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("too large; give at most %d", math.MaxInt32)
	case err != nil:
		return 0, errCount
	}
	return int(n), nil
}

// parsePort reads a port number, 1 to 65535.
func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, errPort
	}
	return uint16(n), nil
}
