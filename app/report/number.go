package report

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonde-net/sonde/result"
)

// exact is the largest integer that every reader of JSON keeps exactly: many
// hold numbers in 64-bit floating point (RFC 8259, section 6).
const exact = 1 << 53

// A count is an integer in JSON; beyond exact it is a string of its digits.
type count uint64

// MarshalJSON implements json.Marshaler.
func (c count) MarshalJSON() ([]byte, error) {
	digits := strconv.FormatUint(uint64(c), 10)
	if c > exact {
		digits = `"` + digits + `"`
	}
	return []byte(digits), nil
}

// A signed is a count that may be negative.
type signed int64

// MarshalJSON implements json.Marshaler.
func (s signed) MarshalJSON() ([]byte, error) {
	digits := strconv.FormatInt(int64(s), 10)
	if s > exact || s < -exact {
		digits = `"` + digits + `"`
	}
	return []byte(digits), nil
}

var (
	_ json.Marshaler = count(0)
	_ json.Marshaler = signed(0)
)

// The functions below turn a figure of package result into one of JSON and
// keep nil, which is null: not measured.

func counts(n *uint64) *count {
	if n == nil {
		return nil
	}
	return result.Some(count(*n))
}

func signeds(n *int64) *signed {
	if n == nil {
		return nil
	}
	return result.Some(signed(*n))
}

func nanos(d *time.Duration) *signed {
	if d == nil {
		return nil
	}
	return result.Some(signed(*d))
}

// seconds keeps nanoseconds: a float64 holds them for a hundred days.
func seconds(d time.Duration) float64 { return float64(d) / float64(time.Second) }

// text is s without what JSON cannot carry; nil for the empty string.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func address(a netip.AddrPort) *string {
	if !a.IsValid() {
		return nil
	}
	return result.Some(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String())
}

// stamp is t as RFC 3339 in UTC, always with six decimals so that stamps sort
// as text.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
