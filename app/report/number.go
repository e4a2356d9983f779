package report

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/app/number"
	"github.com/sonde-net/sonde/result"
)

type (
	count  = number.Count
	signed = number.Signed
)

// The functions below turn a figure of package result into one of JSON and
// keep nil, which is null: not measured.

func counts(n *uint64) *count { return number.Counts(n) }

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
