package stat

import "math/bits"

// runs finds loss runs in numbers that are added in order: one or more lost
// numbers in a row, between two that came. RFC 3357 calls such a run a loss
// period and its number of packets the loss period length.
type runs struct {
	count   uint64
	longest uint64
	open    uint64 // lost numbers since the last that came
}

// add takes 64 numbers, the lowest bit first; a bit is set if its number came.
func (r *runs) add(came uint64) {
	for left := 64; left > 0; {
		if n := min(bits.TrailingZeros64(came), left); n > 0 {
			r.lose(uint64(n))
			came >>= n
			left -= n
			continue
		}
		n := min(bits.TrailingZeros64(^came), left)
		r.close()
		came >>= n
		left -= n
	}
}

// lose takes n lost numbers.
func (r *runs) lose(n uint64) { r.open += n }

// close takes a number that came.
func (r *runs) close() {
	if r.open == 0 {
		return
	}
	r.count++
	r.longest = max(r.longest, r.open)
	r.open = 0
}
