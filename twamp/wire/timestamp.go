package wire

import (
	"math/bits"
	"time"
)

// A Timestamp is the 64 bits of a point in time as they stand on the wire. Which
// of two formats they are in is said beside them, by the Z bit of an
// ErrorEstimate, and never by the timestamp itself.
//
// NTP (RFC 4656, section 4.1.2; RFC 5905): seconds since 1900 in the high 32
// bits, fractions of 2⁻³² s in the low 32. It wraps in 2036.
//
// PTP (RFC 8186): the low 32 bits of the seconds since 1970, then nanoseconds.
// The seconds of PTP proper count TAI; this program writes UTC, as RTTs do not
// care and one-way figures are checked for the difference.
type Timestamp uint64

// unixToNTP is the number of seconds from 1900 to 1970.
const unixToNTP = 2208988800

// era is how many seconds a timestamp counts before it starts again.
const era = 1 << 32

// NTP returns t in the NTP format, rounded to the nearest 2⁻³² s.
func NTP(t time.Time) Timestamp {
	hi, lo := bits.Mul64(uint64(t.Nanosecond()), era)
	lo, carry := bits.Add64(lo, 5e8, 0)
	fraction, _ := bits.Div64(hi+carry, lo, 1e9)
	return Timestamp(uint64(t.Unix()+unixToNTP)<<32 | fraction)
}

// PTPTime returns t in the truncated PTP format, seconds of UTC.
func PTPTime(t time.Time) Timestamp {
	return Timestamp(uint64(t.Unix())<<32 | uint64(t.Nanosecond()))
}

// Stamp returns t as NTP or, if ptp, in the PTP format.
func Stamp(t time.Time, ptp bool) Timestamp {
	if ptp {
		return PTPTime(t)
	}
	return NTP(t)
}

// Time returns the point in time closest to near that ts can stand for. A
// timestamp says nothing of its era, so near, such as the reader's clock, has
// to be within 68 years of it. If ptp is true ts is read in the PTP format,
// unless it has 10⁹ nanoseconds or more: then it is NTP from a peer that copied
// the Z bit of the other side.
func (ts Timestamp) Time(ptp bool, near time.Time) time.Time {
	low := int64(ts & 0xffffffff)
	if ptp && low < 1e9 {
		return time.Unix(nearest(uint32(ts>>32), near.Unix()), low)
	}
	ns := (low*1e9 + era/2) >> 32
	return time.Unix(nearest(uint32(ts>>32), near.Unix()+unixToNTP)-unixToNTP, ns)
}

// nearest returns the number with the low 32 bits s that is closest to near.
func nearest(s uint32, near int64) int64 {
	return near + int64(int32(s-uint32(near)))
}

// An Interval is a length of time in the NTP format: seconds in the high 32
// bits, fractions of 2⁻³² s in the low 32.
type Interval uint64

// IntervalOf returns d, which must not be negative and is cut at 2³² s.
func IntervalOf(d time.Duration) Interval {
	d = max(d, 0)
	seconds := uint64(d / time.Second)
	if seconds >= era {
		return 1<<64 - 1
	}
	fraction := (uint64(d%time.Second)<<32 + 5e8) / 1e9
	return Interval(seconds<<32 | fraction)
}

// Duration returns the interval, 0 to 136 years, to the nearest nanosecond.
func (i Interval) Duration() time.Duration {
	return time.Duration(i>>32)*time.Second + time.Duration((uint64(i&0xffffffff)*1e9+era/2)>>32)
}
