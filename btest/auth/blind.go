package auth

import (
	"crypto/sha256"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// tries is how often blind looks for a point, found or not. Half of all tries
// fail, so one x in 2³² needs more. Stopping at the first point would tell by
// its time how many tries the password's x needs: about two bits a salt, enough
// for a false server that sends many salts to sieve a dictionary.
const tries = 32

// blind hashes x to a point of the curve with this parity. It is seldom a
// multiple of G, and the points of the two parities are each other's negative.
// The descriptions of Winbox call it redp1.
func blind(x [32]byte, parity byte) *edwards25519.Point {
	var u, v field.Element
	found := 0
	t := sha256.Sum256(x[:])
	for n := 0; n < tries || found == 0; n++ {
		tryU := element(sha256.Sum256(t[:]))
		tryV, ok := root(tryU, parity)
		u.Select(&u, tryU, found)
		v.Select(&v, tryV, found)
		found |= ok
		increment(&t)
	}
	return edwards(&u, &v)
}

// increment adds 1 to the big-endian number t, modulo 2²⁵⁶.
func increment(t *[32]byte) {
	carry := uint16(1)
	for i := len(t) - 1; i >= 0; i-- {
		carry += uint16(t[i])
		t[i] = byte(carry)
		carry >>= 8
	}
}
