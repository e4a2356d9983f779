package auth

import (
	"encoding/binary"
	"math/big"
	"math/bits"
	"testing"
)

// A residue is a number modulo p, fully reduced, lowest word first: the oracle's
// arithmetic where math/big would take a minute. math/big does the rest and
// checks it, TestResidue. Four fields stay in registers, an array would not.
type residue struct{ a, b, c, d uint64 }

// residueOf reduces n modulo p.
func residueOf(n *big.Int) residue {
	return residueFrom(bytes32(new(big.Int).Mod(n, oracleP)))
}

func residueFrom(b [32]byte) residue {
	word := binary.BigEndian.Uint64
	return residue{word(b[24:]), word(b[16:]), word(b[8:]), word(b[:])}
}

func (r residue) bytes() (b [32]byte) {
	for k, word := range []uint64{r.d, r.c, r.b, r.a} {
		binary.BigEndian.PutUint64(b[8*k:], word)
	}
	return b
}

func (r residue) big() *big.Int { return integer(r.bytes()) }

// plus adds without reducing and returns the carry.
func (r residue) plus(s residue) (sum residue, carry uint64) {
	sum.a, carry = bits.Add64(r.a, s.a, 0)
	sum.b, carry = bits.Add64(r.b, s.b, carry)
	sum.c, carry = bits.Add64(r.c, s.c, carry)
	sum.d, carry = bits.Add64(r.d, s.d, carry)
	return sum, carry
}

// reduce brings any 256 bits below p: 2²⁵⁵ is 19.
func (r residue) reduce() residue {
	top := r.d >> 63
	r.d &= 1<<63 - 1
	r, _ = r.plus(residue{a: 19 * top})                       // below 2²⁵⁵ + 19
	if above, _ := r.plus(residue{a: 19}); above.d>>63 == 1 { // p or more
		above.d &= 1<<63 - 1
		return above
	}
	return r
}

func (r residue) add(s residue) residue {
	sum, _ := r.plus(s) // below 2p: no carry
	return sum.reduce()
}

func (r residue) sub(s residue) residue {
	var minus residue // p - s
	var borrow uint64
	minus.a, borrow = bits.Sub64(1<<64-19, s.a, 0)
	minus.b, borrow = bits.Sub64(1<<64-1, s.b, borrow)
	minus.c, borrow = bits.Sub64(1<<64-1, s.c, borrow)
	minus.d, _ = bits.Sub64(1<<63-1, s.d, borrow)
	return r.add(minus)
}

// mul multiplies as by hand, a word of r at a time.
func (r residue) mul(s residue) residue {
	var low, high residue
	low.a, high = high.plusTimes(s, r.a)
	low.b, high = high.plusTimes(s, r.b)
	low.c, high = high.plusTimes(s, r.c)
	low.d, high = high.plusTimes(s, r.d)

	first, rest := low.plusTimes(high, 38) // 2²⁵⁶ is 38
	low, carry := residue{first, rest.a, rest.b, rest.c}.plus(residue{a: 38 * rest.d})
	low.a += 38 * carry // the sum has wrapped to a small number
	return low.reduce()
}

// plusTimes returns r + s·x without reducing: its first word and the four above.
func (r residue) plusTimes(s residue, x uint64) (first uint64, rest residue) {
	var carry uint64
	first, carry = mulAdd(s.a, x, r.a, 0)
	rest.a, carry = mulAdd(s.b, x, r.b, carry)
	rest.b, carry = mulAdd(s.c, x, r.c, carry)
	rest.c, rest.d = mulAdd(s.d, x, r.d, carry)
	return first, rest
}

// mulAdd returns x·y + a + b, which is below 2¹²⁸.
func mulAdd(x, y, a, b uint64) (low, high uint64) {
	high, low = bits.Mul64(x, y)
	low, c := bits.Add64(low, a, 0)
	high += c
	low, c = bits.Add64(low, b, 0)
	return low, high + c
}

func TestResidue(t *testing.T) {
	random := newRandom(5)
	ns := []*big.Int{new(big.Int), big.NewInt(1), big.NewInt(19), big.NewInt(38), twice(big.NewInt(19))}
	for n := range int64(40) { // around p, 2p and 2²⁵⁶
		ns = append(ns, addSmall(oracleP, n-20), addSmall(twice(oracleP), n-1))
	}
	for range 300 {
		ns = append(ns, integer(draw32(random)))
	}
	for k, a := range ns {
		b := ns[(k*k+7)%len(ns)]
		r, s := residueOf(a), residueOf(b)
		for what, x := range map[string]struct {
			got  residue
			want *big.Int
		}{
			"itself": {r, a},
			"sum":    {r.add(s), new(big.Int).Add(a, b)}, "difference": {r.sub(s), new(big.Int).Sub(a, b)},
			"product": {r.mul(s), new(big.Int).Mul(a, b)}, "square": {r.mul(r), new(big.Int).Mul(a, a)},
		} {
			if want := new(big.Int).Mod(x.want, oracleP); x.got.big().Cmp(want) != 0 {
				t.Errorf("%s of %x and %x = %x, want %x", what, a, b, x.got.big(), want)
			}
		}
		wide := residueFrom(bytes32(new(big.Int).SetBit(a, 256, 0))) // not reduced
		if want := new(big.Int).Mod(wide.big(), oracleP); wide.reduce().big().Cmp(want) != 0 {
			t.Errorf("reduce(%x) = %x", wide.big(), wide.reduce().big())
		}
	}
}
