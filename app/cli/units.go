package cli

import (
	"errors"
	"fmt"
	"math"
	"math/big"
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
	return fmt.Sprint(uint64(*r))
}

// Type names the kind of value in help texts.
func (r *rate) Type() string { return "rate" }

// Set parses text.
func (r *rate) Set(text string) error {
	n, err := parseRate(text)
	*r = rate(n)
	return err
}

// A size is a flag value in bytes: 1000000, 10K (10 240, as iperf3 has it),
// 10Mi, 10MB (decimal).
type size uint64

// String is the value in bytes.
func (s *size) String() string { return fmt.Sprint(uint64(*s)) }

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
	v, err := parseDuration(text)
	*d = duration(v)
	return err
}

var errNumber = errors.New("not a number that makes sense here")

// rateSuffixes are the units of rates, longest first where one ends another.
var rateSuffixes = []struct {
	suffix string
	bits   int64
}{
	{"bit/s", 1}, {"bps", 1}, {"bit", 1}, {"B/s", 8}, {"B", 8}, {"", 1},
}

// parseRate reads a rate in bit/s.
func parseRate(text string) (uint64, error) {
	fail := func() (uint64, error) {
		return 0, fmt.Errorf("%q is not a rate: give bit/s, such as 1000000, 10M, 1.5G, 100Mbit/s or 12.5MB/s, or 0 for no limit", text)
	}
	t := strings.TrimSpace(text)
	if strings.EqualFold(t, "unlimited") {
		return 0, nil
	}
	for _, u := range rateSuffixes {
		rest, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		n, err := scaled(rest, 1000, u.bits, u.suffix != "")
		if err != nil {
			return fail()
		}
		return n, nil
	}
	return fail()
}

// parseSize reads a size in bytes.
func parseSize(text string) (uint64, error) {
	t := strings.TrimSpace(text)
	if strings.EqualFold(t, "unlimited") {
		return 0, nil
	}
	base := int64(1024)
	rest, ok := strings.CutSuffix(t, "B")
	if ok && !strings.HasSuffix(rest, "i") {
		base = 1000
	}
	n, err := scaled(rest, base, 1, true)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size: give bytes, such as 1500, 64K (65536) or 10MB (10000000)", text)
	}
	return n, nil
}

// scaled reads a number with a prefix k, M, G or T (base 1000 or 1024) or Ki,
// Mi, Gi, Ti (1024 always), times unit. Exact: no floats.
func scaled(text string, base, unit int64, named bool) (uint64, error) {
	if named {
		text = strings.TrimSpace(text)
	}
	if rest, ok := strings.CutSuffix(text, "i"); ok {
		text, base = rest, 1024
		if text == "" || !strings.ContainsAny(text[len(text)-1:], "KkMGT") {
			return 0, errNumber
		}
	}
	power := 0
	if text != "" {
		power = strings.IndexByte(" KMGT", text[len(text)-1])
		switch c := text[len(text)-1]; {
		case c == 'k' || c == 'm' || c == 'g' || c == 't':
			power = strings.IndexByte(" kmgt", c)
		case c == ' ':
			power = -1
		}
		if power > 0 {
			text = text[:len(text)-1]
		}
	}
	if text == "" || strings.Trim(text, "0123456789.") != "" || len(text) > 40 {
		return 0, errNumber
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, errNumber
	}
	for range max(0, power) {
		v.Mul(v, big.NewRat(base, 1))
	}
	v.Mul(v, big.NewRat(unit, 1))
	whole := new(big.Int).Quo(v.Num(), v.Denom())
	if !whole.IsUint64() || whole.Uint64() > math.MaxInt64 {
		return 0, errNumber
	}
	return whole.Uint64(), nil
}

// longestTime bounds every duration that a person can ask for.
const longestTime = 10 * 365 * 24 * time.Hour

// parseDuration reads a duration.
func parseDuration(text string) (time.Duration, error) {
	fail := fmt.Errorf("%q is not a duration: give seconds, or 500ms, 10s, 1h30m, 7d", text)
	t := strings.TrimSpace(text)
	if days, ok := strings.CutSuffix(t, "d"); ok {
		n, err := scaled(days, 1, 1, false)
		if err != nil || n > uint64(longestTime/(24*time.Hour)) || strings.ContainsAny(days, "KMGTkmgt") {
			return 0, fail
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	if t != "" && strings.Trim(t, "0123456789.") == "" {
		t += "s"
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 || d > longestTime {
		return 0, fail
	}
	return d, nil
}
