package auth

import (
	"crypto/sha256"
	"math/big"
)

// This file is EC-SRP5 a second time, for the tests: affine points of the
// Weierstrass curve, straight from the description, sharing no code with the
// package. It calculates many logins in step, because the modular inversion
// that dominates an affine addition can then be shared by all of them.

var (
	oracleP     = number("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed")
	oracleR     = number("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
	oracleA     = number("2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa984914a144")
	oracleDelta = number("2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad2451")
	weierA      = residueOf(oracleA)
	oracleG, _  = oracleLift(big.NewInt(9), 0)
	// oraclePowers is G, 2G, 4G and so on: a multiple of G is a sum of some.
	oraclePowers = powersOf(oracleG)
)

func number(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic("not a number: " + hex)
	}
	return n
}

func integer(b [32]byte) *big.Int     { return new(big.Int).SetBytes(b[:]) }
func bytes32(n *big.Int) (b [32]byte) { n.FillBytes(b[:]); return b }

// An affine is a point of y² = x³ + ax + b; the zero value is the neutral one.
type affine struct {
	x, y   residue
	finite bool
}

// affineOf is the point with these coordinates.
func affineOf(x, y *big.Int) affine { return affine{residueOf(x), residueOf(y), true} }

// mont is how a point travels.
func (p affine) mont() (x [32]byte, parity byte) {
	return p.x.sub(residueOf(oracleDelta)).bytes(), byte(p.y.a & 1)
}

// slope returns numerator and denominator of the line through p and q, or of
// the tangent, and false where there is none because p, q or the sum is neutral.
func slope(p, q affine) (num, den residue, ok bool) {
	switch {
	case !p.finite, !q.finite:
		return num, den, false
	case p.x != q.x:
		return q.y.sub(p.y), q.x.sub(p.x), true
	case p.y != q.y, p.y == residue{}:
		return num, den, false
	}
	xx := p.x.mul(p.x)
	return xx.add(xx).add(xx).add(weierA), p.y.add(p.y), true
}

// withoutSlope is p + q where slope is false.
func withoutSlope(p, q affine) affine {
	switch {
	case !p.finite:
		return q
	case !q.finite:
		return p
	}
	return affine{}
}

// addAll adds ps[n] and qs[n] for every n.
func addAll(ps, qs []affine) []affine {
	sums := make([]affine, len(ps))
	nums, dens := make([]residue, 0, len(ps)), make([]residue, 0, len(ps))
	at := make([]int, 0, len(ps))
	for n := range ps {
		num, den, ok := slope(ps[n], qs[n])
		if !ok {
			sums[n] = withoutSlope(ps[n], qs[n])
			continue
		}
		nums, dens, at = append(nums, num), append(dens, den), append(at, n)
	}
	for k, inverse := range invertAll(dens) {
		p, q := ps[at[k]], qs[at[k]]
		l := nums[k].mul(inverse)
		x := l.mul(l).sub(p.x).sub(q.x)
		sums[at[k]] = affine{x, l.mul(p.x.sub(x)).sub(p.y), true}
	}
	return sums
}

// invertAll inverts all of ns with one inversion: 1/a is b/(ab), 1/b is a/(ab).
func invertAll(ns []residue) []residue {
	before := make([]residue, len(ns)) // the product of all earlier ones
	product := residue{a: 1}
	for k, n := range ns {
		before[k] = product
		product = product.mul(n)
	}
	rest := residueOf(new(big.Int).ModInverse(product.big(), oracleP))
	for k := len(ns) - 1; k >= 0; k-- {
		before[k] = before[k].mul(rest)
		rest = rest.mul(ns[k])
	}
	return before
}

// multiplyAll returns ns[n]·ps[n] for every n.
func multiplyAll(ns []*big.Int, ps []affine) []affine {
	sums := make([]affine, len(ps))
	for bit := 255; bit >= 0; bit-- {
		sums = addAll(sums, sums)
		sums = addAll(sums, pick(ns, bit, func(n int) affine { return ps[n] }))
	}
	return sums
}

// multiplyAllG returns ns[n]·G for every n.
func multiplyAllG(ns []*big.Int) []affine {
	sums := make([]affine, len(ns))
	for bit, power := range oraclePowers {
		sums = addAll(sums, pick(ns, bit, func(int) affine { return power }))
	}
	return sums
}

// pick returns term(n) where bit is set in ns[n] and the neutral point elsewhere.
func pick(ns []*big.Int, bit int, term func(n int) affine) []affine {
	terms := make([]affine, len(ns))
	for n := range ns {
		if ns[n].Bit(bit) == 1 {
			terms[n] = term(n)
		}
	}
	return terms
}

func powersOf(p affine) []affine {
	powers := []affine{p}
	for len(powers) < 256 {
		last := powers[len(powers)-1:]
		powers = append(powers, addAll(last, last)...)
	}
	return powers
}

// oracleLift is lift_x: the point with this u and parity, if there is one.
func oracleLift(u *big.Int, parity uint) (affine, bool) {
	t := new(big.Int).Add(u, big.NewInt(486662))
	t.Add(t.Mul(t.Mul(t, u), u), u)
	y := t.ModSqrt(t.Mod(t, oracleP), oracleP)
	if y == nil {
		return affine{}, false
	}
	if y.Sign() > 0 && y.Bit(0) != parity {
		y.Sub(oracleP, y)
	}
	return affineOf(new(big.Int).Add(u, oracleDelta), y), y.Bit(0) == parity
}

// oracleRedp1 hashes x to a point and says how many tries failed.
func oracleRedp1(x [32]byte, parity uint) (p affine, failed int) {
	t := integer(sha256.Sum256(x[:]))
	for ; ; failed++ {
		h := sha256.Sum256(bytes32Slice(t))
		if p, ok := oracleLift(integer(h), parity); ok {
			return p, failed
		}
		t.Add(t, big.NewInt(1))
		t.SetBit(t, 256, 0)
	}
}

func bytes32Slice(n *big.Int) []byte { b := bytes32(n); return b[:] }

func oracleHash(parts ...[]byte) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

// A login is all that goes into one login and, once oracleLogins has seen it,
// every value of both sides. The two need not know the same password.
type login struct {
	name, clientPassword, serverPassword string
	salt                                 [16]byte
	sa, sb                               [32]byte
	torsion                              affine // added to the client's key; the client does not know

	inner, i       [32]byte // of the server's password
	gamma, blind   affine
	wa, sbG, wb    affine
	j              [32]byte
	clientI        [32]byte
	v, b           affine // the client's blinding point; W_b without it
	k              *big.Int
	clientZ        [32]byte
	confirm        [32]byte // the client's
	jGamma, sum    affine
	serverZ        [32]byte
	expected       [32]byte // of the client, by the server
	serverConfirm  [32]byte
	xa, xb, xGamma [32]byte
	pa, pb, pGamma byte
}

// oracleLogins fills in every login.
func oracleLogins(ls []*login) {
	oracleRecords(ls)
	oracleKeys(ls)
	oracleClients(ls)
	oracleServers(ls)
}

func oracleRecords(ls []*login) {
	for _, l := range ls {
		l.inner = oracleHash([]byte(l.name), []byte(":"), []byte(l.serverPassword))
		l.i = oracleHash(l.salt[:], l.inner[:])
		client := oracleHash([]byte(l.name), []byte(":"), []byte(l.clientPassword))
		l.clientI = oracleHash(l.salt[:], client[:])
	}
	gammas := multiplyAllG(integers(ls, func(l *login) [32]byte { return l.i }))
	var wrong []*login
	for n, l := range ls {
		l.gamma = gammas[n]
		l.xGamma, l.pGamma = l.gamma.mont()
		l.blind, _ = oracleRedp1(l.xGamma, 0)
		l.v, _ = oracleRedp1(l.xGamma, 1)
		if l.clientI != l.i {
			wrong = append(wrong, l)
		}
	}
	for n, gamma := range multiplyAllG(integers(wrong, func(l *login) [32]byte { return l.clientI })) {
		x, _ := gamma.mont()
		wrong[n].v, _ = oracleRedp1(x, 1)
	}
}

func oracleKeys(ls []*login) {
	saG := multiplyAllG(integers(ls, func(l *login) [32]byte { return l.sa }))
	sbG := multiplyAllG(integers(ls, func(l *login) [32]byte { return l.sb }))
	was := addAll(saG, points(ls, func(l *login) affine { return l.torsion }))
	wbs := addAll(sbG, points(ls, func(l *login) affine { return l.blind }))
	for n, l := range ls {
		l.wa, l.sbG, l.wb = was[n], sbG[n], wbs[n]
		l.xa, l.pa = l.wa.mont()
		l.xb, l.pb = l.wb.mont()
		l.j = oracleHash(l.xa[:], l.xb[:])
	}
}

func oracleClients(ls []*login) {
	bs := addAll(points(ls, func(l *login) affine { return l.wb }), points(ls, func(l *login) affine { return l.v }))
	var ks []*big.Int
	for _, l := range ls {
		k := new(big.Int).Mul(integer(l.clientI), integer(l.j))
		l.k = k.Mod(k.Add(k, integer(l.sa)), oracleR)
		ks = append(ks, l.k)
	}
	for n, z := range multiplyAll(ks, bs) {
		l := ls[n]
		l.b = bs[n]
		l.clientZ, _ = z.mont()
		l.confirm = oracleHash(l.j[:], l.clientZ[:])
	}
}

func oracleServers(ls []*login) {
	jGammas := multiplyAll(integers(ls, func(l *login) [32]byte { return l.j }), points(ls, func(l *login) affine { return l.gamma }))
	sums := addAll(points(ls, func(l *login) affine { return l.wa }), jGammas)
	for n, z := range multiplyAll(integers(ls, func(l *login) [32]byte { return l.sb }), sums) {
		l := ls[n]
		l.jGamma, l.sum = jGammas[n], sums[n]
		l.serverZ, _ = z.mont()
		l.expected = oracleHash(l.j[:], l.serverZ[:])
		l.serverConfirm = oracleHash(l.j[:], l.expected[:], l.serverZ[:])
	}
}

func integers(ls []*login, of func(*login) [32]byte) (ns []*big.Int) {
	for _, l := range ls {
		ns = append(ns, integer(of(l)))
	}
	return ns
}

func points(ls []*login, of func(*login) affine) (ps []affine) {
	for _, l := range ls {
		ps = append(ps, of(l))
	}
	return ps
}

func integersOf(bs ...[32]byte) (ns []*big.Int) {
	for _, b := range bs {
		ns = append(ns, integer(b))
	}
	return ns
}
