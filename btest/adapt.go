package btest

import (
	"math"
	"time"
)

// Speed adaptation of a UDP sender without a limit: the receiver reports each
// second what came, and the sender follows. RouterOS sends at 110 % or more of
// the report, the open implementations at 150 %; any factor above one
// interoperates. All arithmetic is in 64 bits: a 32-bit product wraps at
// 4.29 Gbit/s, which is how one open tool falls back to a crawl.
const (
	startRate  = 100_000_000 // bit/s; full blast would lose most of the first second on a slow link
	lowestRate = 1_000_000   // never 0: the peer would have nothing left to report
	rampFactor = 4.0         // while nothing is lost
	holdFactor = 1.25        // room to grow, at the price of that much overload
	rampLoss   = 0.20        // missing from a report that ends the ramp
	quietTime  = 2 * time.Second
)

// An adapter follows the reports on what we send. Its zero value is ready.
type adapter struct {
	rate    uint64 // bit/s in force; 0 before the first use
	ramping bool
	before  uint64 // the report before the last one, bytes
	last    time.Time
}

// begin returns the rate to start with.
func (a *adapter) begin(now time.Time) uint64 {
	a.rate, a.ramping, a.last = startRate, true, now
	return a.rate
}

// report takes one status: the bytes that the peer received in a second, and
// the bytes that we sent since the report before. Both count headers. It
// returns the new rate.
func (a *adapter) report(received uint32, sent uint64, now time.Time) uint64 {
	if received == 0 {
		return a.quiet(now)
	}
	a.last = now
	came := uint64(received)
	if received == math.MaxUint32 {
		came = max(came, sent) // saturated: at least that much
	}
	// A report covers a second that began a round trip before ours, when the
	// rate was lower: some is always missing while the rate climbs.
	if float64(came) < float64(sent)*(1-rampLoss) {
		a.ramping = false
	}
	factor := holdFactor
	if a.ramping {
		factor = rampFactor
	}
	seen := max(came, a.before)
	a.before = came
	a.rate = max(lowestRate, uint64(float64(seen)*8*factor))
	return a.rate
}

// quiet halves the rate when nothing, or only zeros, came for two seconds.
func (a *adapter) quiet(now time.Time) uint64 {
	if now.Sub(a.last) >= quietTime {
		a.last = now
		a.before = 0
		a.rate = max(lowestRate, a.rate/2)
	}
	return a.rate
}
