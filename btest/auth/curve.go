package auth

import (
	"slices"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"

	"github.com/sonde-net/sonde/btest/wire"
)

// Curve25519 has three shapes here. EC-SRP5 is described on the short
// Weierstrass curve with x = u + A/3 and y = v; messages carry u and the lowest
// bit of v, coordinates of the Montgomery curve v² = u³ + A·u² + u; and this
// file adds on the Edwards curve -x² + y² = 1 + d·x²·y², whose one formula
// holds for all pairs of points, those of small order included. The map is
//
//	x = c·u/v        u = (1 + y)/(1 - y)
//	y = (u-1)/(u+1)  v = c·u/x           with c² = -(A + 2)
//
// It keeps sums, so the result is the same on all three. Either root c would
// do; ours takes G to the generator of edwards25519.

// montgomeryA is the A of the Montgomery curve.
const montgomeryA = 486662

var (
	one    = new(field.Element).One()
	curveA = new(field.Element).Mult32(one, montgomeryA)
	mapC   = rootOfMinus(montgomeryA + 2)
)

// rootOfMinus returns the even root of -n, which must be a square.
func rootOfMinus(n uint32) *field.Element {
	e := new(field.Element).Mult32(one, n)
	e.SqrtRatio(e.Negate(e), one)
	return e
}

// lift returns the point that key stands for, and false when there is none. A u
// of p or more is taken modulo p.
func lift(key wire.PublicKey) (*edwards25519.Point, bool) {
	if key.Parity > 1 {
		return nil, false
	}
	u := element(key.X)
	v, ok := root(u, key.Parity)
	if ok == 0 {
		return nil, false
	}
	return edwards(u, v), true
}

// root returns the v of the point with this u whose lowest bit is parity, and 1
// if it exists: u may be off the curve, and u = 0 has only the even v = 0. The
// time does not depend on u.
func root(u *field.Element, parity byte) (*field.Element, int) {
	v := new(field.Element)
	v.Multiply(v.Add(v.Multiply(v.Add(u, curveA), u), one), u) // ((u + A)u + 1)u
	_, square := v.SqrtRatio(v, one)
	other := new(field.Element).Negate(v)
	v.Select(other, v, v.IsNegative()^int(parity))
	return v, square & (1 ^ v.IsNegative() ^ int(parity))
}

// edwards maps a point of the Montgomery curve that is not the neutral one. All
// four coordinates are multiplied by v(u+1), which saves the divisions. That is
// zero only at v = 0, the point of order 2 that maps to (0, -1): no point has
// u = -1, because v² would be A-2, which is not a square.
func edwards(u, v *field.Element) *edwards25519.Point {
	var up, down, x, y, z, t, zero field.Element
	up.Add(u, one)
	down.Subtract(u, one)
	x.Multiply(t.Multiply(mapC, u), &up)
	y.Multiply(&down, v)
	z.Multiply(&up, v)
	t.Multiply(&t, &down)

	order2 := v.Equal(&zero)
	y.Select(new(field.Element).Negate(one), &y, order2)
	z.Select(one, &z, order2)
	t.Select(&zero, &t, order2)
	p, err := new(edwards25519.Point).SetExtendedCoordinates(&x, &y, &z, &t)
	if err != nil {
		panic("btest: EC-SRP5: the map left the curve: " + err.Error())
	}
	return p
}

// publicKey maps p back. The neutral point, which has no u, gives zeros like
// the point of order 2: whoever may meet it asks isNeutral first.
func publicKey(p *edwards25519.Point) wire.PublicKey {
	x, y, z, _ := p.ExtendedCoordinates()
	var up, down, u, v, inverse field.Element
	up.Add(z, y)
	down.Subtract(z, y)
	inverse.Invert(inverse.Multiply(&down, x)) // of zero: zero
	u.Multiply(u.Multiply(&up, x), &inverse)   // (z+y)/(z-y)
	v.Multiply(v.Multiply(&up, z), &inverse)   // u·z/x
	v.Multiply(&v, mapC)
	return wire.PublicKey{X: bigEndian(u.Bytes()), Parity: byte(v.IsNegative())}
}

// multiply returns n·p for the integer n, all 256 bits of it. A scalar of
// edwards25519 would be reduced modulo r, which is wrong for a p that is not a
// multiple of G. Each bit costs one doubling, one addition and one selection.
func multiply(n [32]byte, p *edwards25519.Point) *edwards25519.Point {
	sum, more := edwards25519.NewIdentityPoint(), new(edwards25519.Point)
	for _, b := range n {
		for i := 7; i >= 0; i-- {
			more.Add(sum.Double(sum), p)
			sum.Select(more, sum, int(b>>i&1))
		}
	}
	return sum
}

// multiplyG returns n·G. G has order r, so n may be reduced.
func multiplyG(n [32]byte) *edwards25519.Point {
	return new(edwards25519.Point).ScalarBaseMult(scalar(n))
}

func isNeutral(p *edwards25519.Point) bool {
	return p.Equal(edwards25519.NewIdentityPoint()) == 1
}

// isSmall reports whether p is one of the eight points of small order, which
// would let a peer choose z without a secret.
func isSmall(p *edwards25519.Point) bool {
	return isNeutral(new(edwards25519.Point).MultByCofactor(p))
}

// element is the big-endian number b modulo p.
func element(b [32]byte) *field.Element {
	e, err := new(field.Element).SetWideBytes(wide(b))
	if err != nil {
		panic("btest: EC-SRP5: " + err.Error()) // wide is always 64 bytes
	}
	return e
}

// scalar is the big-endian number b modulo r.
func scalar(b [32]byte) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetUniformBytes(wide(b))
	if err != nil {
		panic("btest: EC-SRP5: " + err.Error()) // wide is always 64 bytes
	}
	return s
}

// wide is the big-endian number b in 64 little-endian bytes.
func wide(b [32]byte) []byte {
	w := make([]byte, 64)
	copy(w, b[:])
	slices.Reverse(w[:32])
	return w
}

// bigEndian turns the 32 little-endian bytes of the library round.
func bigEndian(b []byte) [32]byte {
	slices.Reverse(b)
	return [32]byte(b)
}
