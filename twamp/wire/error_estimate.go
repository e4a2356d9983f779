package wire

import (
	"math/bits"
	"time"
)

// An ErrorEstimate says how far a timestamp may be wrong.
//
//	bit 15    S: the clock is synchronised to something outside
//	bit 14    Z: the timestamps beside it are PTP, not NTP (RFC 8186)
//	bit 13-8  Scale
//	bit 7-0   Multiplier, not 0; the error is Multiplier × 2^(Scale-32) seconds
//
// Source: RFC 4656, section 4.1.2.
type ErrorEstimate uint16

// UnknownError is what a clock says that knows nothing of itself: one second,
// not synchronised.
const UnknownError ErrorEstimate = 0x1980

const (
	syncedBit = 1 << 15
	ptpBit    = 1 << 14
)

// NewErrorEstimate returns the smallest estimate that is not below the error e.
// An e of more than 36 years is cut.
func NewErrorEstimate(e time.Duration, synced, ptp bool) ErrorEstimate {
	e = min(max(e, 0), 1<<60)
	hi, lo := bits.Mul64(uint64(e), 1<<32)
	units, rest := bits.Div64(hi, lo, 1e9) // of 2⁻³² s
	if rest > 0 {
		units++
	}
	scale := max(0, bits.Len64(units)-8)
	// Rounding up may need a ninth bit, and with it the next scale.
	if ceilShift(units, scale) > 255 {
		scale++
	}
	est := ErrorEstimate(scale<<8) | ErrorEstimate(max(1, ceilShift(units, scale)))
	if synced {
		est |= syncedBit
	}
	if ptp {
		est |= ptpBit
	}
	return est
}

func ceilShift(n uint64, by int) uint64 { return (n + 1<<by - 1) >> by }

// Synced reports whether the clock says that it is synchronised.
func (e ErrorEstimate) Synced() bool { return e&syncedBit != 0 }

// PTP reports whether the timestamps beside e are in the PTP format.
func (e ErrorEstimate) PTP() bool { return e&ptpBit != 0 }

// Bound returns the error; false when it means nothing: a multiplier of 0, less
// than 10 ns or more than 10 s. Peers that do not bother send 0x0001, 0.2 ns,
// or 0x3fff, 17 thousand years.
func (e ErrorEstimate) Bound() (time.Duration, bool) {
	scale, multiplier := uint(e>>8&0x3f), uint64(e&0xff)
	if scale > 36 { // 16 s and more
		return 0, false
	}
	hi, lo := bits.Mul64(multiplier<<scale, 1e9)
	d := time.Duration(hi<<32 | lo>>32)
	if d < 10*time.Nanosecond || d > 10*time.Second {
		return 0, false
	}
	return d, true
}

// WithPTP returns e for timestamps in the PTP format.
func (e ErrorEstimate) WithPTP() ErrorEstimate { return e | ptpBit }
