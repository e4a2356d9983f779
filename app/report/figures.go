package report

import (
	"cmp"
	"math"
	"time"

	"github.com/sonde-net/sonde/result"
)

// busyCPU is the share of busy CPU, in percent, above which a throughput may
// be the machine's and not the path's.
const busyCPU = 70

// differMuch is how far apart sender and receiver may be, as a share of the
// sender's figure, before the summary remarks on it. Data under way when the
// test ends stays well below.
const differMuch = 0.05

// rateOf is v's rate in bit/s over the time it covers: elapsed, unless the
// view says otherwise. It is nil for no view and for no time.
func rateOf(v *result.View, elapsed time.Duration) *uint64 {
	if v == nil {
		return nil
	}
	return result.Rate(v.Bytes, cmp.Or(v.Covered, elapsed))
}

// lossOf is the number of lost packets and their share of all that were to
// come, as the receiver counted them. The share is nil when nothing was to
// come or when late arrivals make it negative.
func lossOf(received *result.View) (lost *int64, ratio *float64) {
	if received == nil || received.Lost == nil {
		return nil, nil
	}
	lost = received.Lost
	if received.Packets == nil {
		return lost, nil
	}
	came := float64(*received.Packets)
	if received.Duplicate != nil {
		came -= float64(*received.Duplicate)
	}
	if all := came + float64(*lost); all > 0 && *lost >= 0 && came >= 0 {
		ratio = result.Some(float64(*lost) / all)
	}
	return lost, ratio
}

// differ is how far the receiver's rate lies from the sender's, as a share of
// the sender's: -0.1 means that a tenth did not arrive. It is nil when one of
// them is not known or nothing was sent.
func differ(t *result.Total) *float64 {
	sent, received := rateOf(t.Sent, t.Elapsed), rateOf(t.Received, t.Elapsed)
	if sent == nil || received == nil || *sent == 0 {
		return nil
	}
	return result.Some((float64(*received) - float64(*sent)) / float64(*sent))
}

// finite returns p's figure rounded to so many decimals, or nil where it is
// not a number.
func finite(p *float64, decimals int) *float64 {
	if p == nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
		return nil
	}
	scale := math.Pow10(decimals)
	return result.Some(math.Round(*p*scale) / scale)
}

// busy reports whether a CPU is known to be above busyCPU.
func busy(percent *float64) bool { return percent != nil && *percent > busyCPU }
