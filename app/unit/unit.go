// Package unit reads what a person writes for rates, sizes, durations, numbers
// and ports, the same on command lines and in the configuration file.
// docs/units.md has the table.
package unit

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// A Rate is a flag value in bit/s: 1000000, 10M, 1.5G, 10Mi, 12.5MB/s,
// 100Mbit/s; 0 and "unlimited" are no limit. Plain prefixes are decimal.
type Rate uint64

// String is the value in bit/s.
func (r *Rate) String() string {
	if *r == 0 {
		return "unlimited"
	}
	return strconv.FormatUint(uint64(*r), 10)
}

// Type names the kind of value in help texts.
func (r *Rate) Type() string { return "rate" }

// Set parses text.
func (r *Rate) Set(text string) error {
	n, err := ParseRate(text)
	*r = Rate(n)
	return err
}

// UnmarshalText is Set, for files.
func (r *Rate) UnmarshalText(text []byte) error { return r.Set(string(text)) }

// MarshalText is String, for files.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Size is a flag value in bytes: 1500, 10K (10 240, as iperf3 has it), 10Mi,
// 10MB (decimal).
type Size uint64

// String is the value in bytes.
func (s *Size) String() string { return strconv.FormatUint(uint64(*s), 10) }

// Type names the kind of value in help texts.
func (s *Size) Type() string { return "size" }

// Set parses text.
func (s *Size) Set(text string) error {
	n, err := ParseSize(text)
	*s = Size(n)
	return err
}

// UnmarshalText is Set, for files.
func (s *Size) UnmarshalText(text []byte) error { return s.Set(string(text)) }

// MarshalText is String, for files.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Duration is a flag value: 500ms, 10s, 1h30m, 7d; a bare number is seconds.
type Duration time.Duration

// String is the value as Go writes it.
func (d *Duration) String() string { return time.Duration(*d).String() }

// Type names the kind of value in help texts.
func (d *Duration) Type() string { return "duration" }

// Set parses text.
func (d *Duration) Set(text string) error {
	n, err := ParseDuration(text)
	*d = Duration(n)
	return err
}

// UnmarshalText is Set, for files.
func (d *Duration) UnmarshalText(text []byte) error { return d.Set(string(text)) }

// MarshalText is String, for files.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// A Count is a flag value that is a whole number.
type Count int

// String is the value in figures.
func (c *Count) String() string { return strconv.Itoa(int(*c)) }

// Type names the kind of value in help texts.
func (c *Count) Type() string { return "number" }

// Set parses text.
func (c *Count) Set(text string) error {
	n, err := ParseCount(text)
	*c = Count(n)
	return err
}

// UnmarshalText is Set, for files.
func (c *Count) UnmarshalText(text []byte) error { return c.Set(string(text)) }

// MarshalText is String, for files.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// A Port is a flag value: a port number of TCP or UDP.
type Port uint16

// String is the value in figures.
func (p *Port) String() string { return strconv.Itoa(int(*p)) }

// Type names the kind of value in help texts.
func (p *Port) Type() string { return "port" }

// Set parses text.
func (p *Port) Set(text string) error {
	n, err := ParsePort(text)
	*p = Port(n)
	return err
}

// UnmarshalText is Set, for files.
func (p *Port) UnmarshalText(text []byte) error { return p.Set(string(text)) }

// MarshalText is String, for files.
func (p Port) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// What is said of a value that is none of its kind. The flag and the value
// stand before it.
var (
	errRate     = errors.New("not a rate; give bit/s such as 1000000, 10M, 1.5G, 100Mbit/s or 12.5MB/s, or 0 for no limit")
	errSize     = errors.New("not a size; give bytes such as 1500, 64K (65536) or 10MB (10000000)")
	errDuration = errors.New("not a duration; give seconds, or 500ms, 10s, 1h30m, 7d")
	ErrCount    = errors.New("not a whole number")
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

// ParseRate reads a rate in bit/s.
func ParseRate(text string) (uint64, error) {
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

// ParseSize reads a size in bytes.
func ParseSize(text string) (uint64, error) {
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

// LongestTime bounds every duration that a person can ask for.
const LongestTime = 10 * 365 * 24 * time.Hour

// ParseDuration reads a duration of 0 to LongestTime.
func ParseDuration(text string) (time.Duration, error) {
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
	if days.Cmp(big.NewRat(int64(LongestTime), 1)) > 0 {
		return 0, fmt.Errorf("too long; give at most %dd", LongestTime/(24*time.Hour))
	}
	d = time.Duration(new(big.Int).Quo(days.Num(), days.Denom()).Int64())
	if d == 0 && strings.ContainsAny(text, "123456789") { // less than a nanosecond, and 0 means for ever
		return 0, errDuration
	}
	return d, nil
}

// ParseCount reads a whole number of 32 bits.
func ParseCount(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("too large; give at most %d", math.MaxInt32)
	case err != nil:
		return 0, ErrCount
	}
	return int(n), nil
}

// ParsePort reads a port number, 1 to 65535.
func ParsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, errPort
	}
	return uint16(n), nil
}
