package auth

import (
	"crypto/ecdh"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"

	"github.com/sonde-net/sonde/btest/wire"
)

// u is the coordinate of a small number, on the wire.
func u(n byte) [32]byte { return [32]byte{31: n} }

// minusOne is p-1, the u where the map to Edwards would divide by zero.
var minusOne = bytes32(new(big.Int).Sub(oracleP, big.NewInt(1)))

func TestCurveVectors(t *testing.T) {
	v := srpVectorsOf(t)
	g, ok := lift(wire.PublicKey{X: u(9)})
	if !ok || g.Equal(edwards25519.NewGeneratorPoint()) != 1 {
		t.Fatal("G does not map to the generator of edwards25519")
	}
	minus := bytes32(new(big.Int).Sub(oracleR, big.NewInt(1)))
	odd, ok := lift(wire.PublicKey{X: u(9), Parity: 1})
	if !ok {
		t.Fatal("no odd point with u = 9")
	}
	samePoint(t, "G", g, v.point(t, "G"))
	samePoint(t, "2G", multiply(u(2), g), v.point(t, "2G"))
	samePoint(t, "3G", multiply(u(3), g), v.point(t, "3G"))
	samePoint(t, "(r-1)G", multiply(minus, g), v.point(t, "(r-1)G"))
	samePoint(t, "lift(9, 1)", odd, v.point(t, "lift_x(9,1)"))
	samePoint(t, "blind(0, 0)", blind([32]byte{}, 0), v.point(t, "redp1(32 zero bytes, 0)"))
	samePoint(t, "blind(0, 1)", blind([32]byte{}, 1), v.point(t, "redp1(32 zero bytes, 1)"))
	if !isNeutral(multiply(bytes32(oracleR), g)) {
		t.Error("r·G is not neutral")
	}
}

// TestLiftSmall lifts every u below 30 with both parities.
func TestLiftSmall(t *testing.T) {
	var off []int
	if err := json.Unmarshal(srpVectorsOf(t).Curve["small_u_not_on_curve"], &off); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 30; n++ {
		for parity := range byte(2) {
			key := wire.PublicKey{X: u(byte(n)), Parity: parity}
			p, ok := lift(key)
			if want := !slices.Contains(off, n); ok != want {
				t.Errorf("lift(%d, %d) = %v, want %v", n, parity, ok, want)
			}
			if ok && publicKey(p) != key {
				t.Errorf("lift(%d, %d) comes back as %v", n, parity, publicKey(p))
			}
		}
	}
}

// TestLiftExceptions goes where the map to the Edwards curve divides by zero,
// and beyond the field.
func TestLiftExceptions(t *testing.T) {
	zero, ok := lift(wire.PublicKey{})
	if !ok {
		t.Fatal("no point with u = 0")
	}
	samePoint(t, "lift(0, 0)", zero, srpVectorsOf(t).point(t, "lift_x(0,0)"))
	if isNeutral(zero) || !isNeutral(new(edwards25519.Point).Double(zero)) {
		t.Error("the point with u = 0 is not of order 2")
	}
	if key := publicKey(zero); key != (wire.PublicKey{}) {
		t.Errorf("the point with u = 0 travels as %v", key)
	}
	if key := publicKey(edwards25519.NewIdentityPoint()); key != (wire.PublicKey{}) {
		t.Errorf("the neutral point gives %v, want zeros", key)
	}
	allOnes := [32]byte(slices.Repeat([]byte{0xff}, 32))
	for _, key := range []wire.PublicKey{
		{Parity: 1},                      // v = 0 is even
		{X: bytes32(oracleP), Parity: 1}, // the same, not reduced
		{X: minusOne}, {X: minusOne, Parity: 1},
		{X: u(9), Parity: 2}, {X: u(9), Parity: 255},
	} {
		if _, ok := lift(key); ok {
			t.Errorf("lift(%x, %d) finds a point", key.X, key.Parity)
		}
	}
	for _, x := range [][32]byte{bytes32(oracleP), allOnes, bytes32(addSmall(oracleP, 9)), bytes32(addSmall(twice(oracleP), 9))} {
		want, wantOK := oracleLift(integer(x), 0)
		got, ok := lift(wire.PublicKey{X: x})
		if ok != wantOK || ok && weierstrass(got) != want {
			t.Errorf("lift(%x, 0) is not the point of the number modulo p", x)
		}
	}
}

func twice(n *big.Int) *big.Int                { return new(big.Int).Lsh(n, 1) }
func addSmall(n *big.Int, more int64) *big.Int { return new(big.Int).Add(n, big.NewInt(more)) }

// smallPoints are the points of order 1, 2, 4 and 8, found by taking r times
// points of the whole curve, with their Weierstrass coordinates.
func smallPoints(t testing.TB) map[wire.PublicKey]*edwards25519.Point {
	points := map[wire.PublicKey]*edwards25519.Point{}
	for n := range byte(250) {
		p, ok := lift(wire.PublicKey{X: u(n)})
		if !ok {
			continue
		}
		if p = multiply(bytes32(oracleR), p); !isNeutral(p) {
			points[publicKey(p)] = p
		}
	}
	if len(points) != 7 {
		t.Fatalf("%d points of order 2, 4 and 8, want 7", len(points))
	}
	return points
}

func TestSmallPoints(t *testing.T) {
	for key, p := range smallPoints(t) {
		lifted, ok := lift(key)
		if !ok || lifted.Equal(p) != 1 {
			t.Errorf("%x, %d does not come back", key.X, key.Parity)
		}
		if !isSmall(p) {
			t.Errorf("%x, %d counts as large", key.X, key.Parity)
		}
	}
	if !isSmall(edwards25519.NewIdentityPoint()) || isSmall(edwards25519.NewGeneratorPoint()) {
		t.Error("the neutral point must count as small, G must not")
	}
}

// TestMultiply compares with the oracle on points of the whole curve and
// integers of 256 bits, special ones among them.
func TestMultiply(t *testing.T) {
	random := newRandom(1)
	ns := [][32]byte{{}, u(1), u(2), u(8), bytes32(oracleR), bytes32(addSmall(oracleR, 1)), bytes32(oracleP),
		[32]byte(slices.Repeat([]byte{0xff}, 32))}
	for range 40 {
		ns = append(ns, draw32(random))
	}
	small := smallPoints(t)
	for key := range small {
		small := weierstrass(small[key])
		checkMultiples(t, ns[:12], slices.Repeat([]affine{small}, 12))
	}
	var ps []affine
	for range ns {
		p, _ := oracleRedp1(draw32(random), uint(len(ps)&1))
		ps = append(ps, p)
	}
	checkMultiples(t, ns, ps)
}

func checkMultiples(t *testing.T, ns [][32]byte, ps []affine) {
	t.Helper()
	var integers []*big.Int
	for _, n := range ns {
		integers = append(integers, integer(n))
	}
	for k, want := range multiplyAll(integers, ps) {
		x, parity := ps[k].mont()
		p, ok := lift(wire.PublicKey{X: x, Parity: parity})
		if !ok || weierstrass(p) != ps[k] {
			t.Fatalf("lift(%x, %d) is not the oracle's point", x, parity)
		}
		if got := weierstrass(multiply(ns[k], p)); got != want {
			t.Errorf("%x · (%x, %d) differs from the oracle's", ns[k], x, parity)
		}
	}
}

// TestMultiplyG compares the library's multiplication with the plain one.
func TestMultiplyG(t *testing.T) {
	random := newRandom(2)
	for range 50 {
		n := draw32(random)
		if multiplyG(n).Equal(multiply(n, edwards25519.NewGeneratorPoint())) != 1 {
			t.Errorf("%x·G differs", n)
		}
	}
}

// TestMultiplyX25519 compares with crypto/ecdh, which knows u only.
func TestMultiplyX25519(t *testing.T) {
	random := newRandom(3)
	for range 50 {
		n, p := draw32(random), multiplyG(draw32(random))
		x := publicKey(p).X
		slices.Reverse(x[:])
		private, err := ecdh.X25519().NewPrivateKey(n[:])
		if err != nil {
			t.Fatal(err)
		}
		public, err := ecdh.X25519().NewPublicKey(x[:])
		if err != nil {
			t.Fatal(err)
		}
		want, err := private.ECDH(public)
		if err != nil {
			t.Fatal(err)
		}
		clamped := n
		clamped[0] &= 248
		clamped[31] = clamped[31]&127 | 64
		got := publicKey(multiply(bigEndian(clamped[:]), p)).X
		sameBytes(t, "u", got[:], reversed(want))
	}
}

func reversed(b []byte) []byte { slices.Reverse(b); return b }

// TestBlind compares with the oracle, on either parity.
func TestBlind(t *testing.T) {
	random := newRandom(4)
	for range 200 {
		x := draw32(random)
		for parity := range byte(2) {
			want, _ := oracleRedp1(x, uint(parity))
			if got := weierstrass(blind(x, parity)); got != want {
				t.Errorf("blind(%x, %d) differs from the oracle's", x, parity)
			}
		}
		sum := blind(x, 0)
		if !isNeutral(sum.Add(sum, blind(x, 1))) {
			t.Errorf("the points of %x are not each other's negative", x)
		}
	}
}

func TestIncrement(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"00", "01"},
		{"ff", "0100"},
		{"01ffff", "020000"},
		{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "00"},
	} {
		n := bytes32(number(tt.in))
		if increment(&n); n != bytes32(number(tt.want)) {
			t.Errorf("%s + 1 = %x, want %s", tt.in, n, tt.want)
		}
	}
}

// TestMapConstant: c² = -(A + 2), and A - 2, the square that v would have at
// u = -1, is none.
func TestMapConstant(t *testing.T) {
	square := new(field.Element).Square(mapC)
	if square.Add(square, new(field.Element).Mult32(one, montgomeryA+2)).Equal(new(field.Element)) != 1 {
		t.Error("c is not a root of -(A+2)")
	}
	if _, ok := new(field.Element).SqrtRatio(new(field.Element).Mult32(one, montgomeryA-2), one); ok != 0 {
		t.Error("there is a point with u = -1")
	}
}

func newRandom(seed uint64) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
}

func draw32(random *rand.ChaCha8) (b [32]byte) {
	random.Read(b[:])
	return b
}
