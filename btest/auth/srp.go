package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// ErrServerProof means that a server took our confirmation but did not show
// that it knows the password: it may be somebody else's. Do not test with it.
var ErrServerProof = errors.New("btest: EC-SRP5: the server did not prove that it knows the password")

// A KeyError reports a peer's public key that no honest peer sends.
type KeyError struct {
	Message string // "client key" or "server key"
	Key     wire.PublicKey
	Reason  string // such as "is not on the curve"
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("btest: EC-SRP5: %s %x/%d %s", e.Message, e.Key.X, e.Key.Parity, e.Reason)
}

// newSecret draws a secret number s and returns it with s·G.
func newSecret(random io.Reader) (s [32]byte, sG *edwards25519.Point, err error) {
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return s, nil, fmt.Errorf("btest: EC-SRP5: draw a secret: %w", err)
	}
	if sG = multiplyG(s); isNeutral(sG) {
		return s, nil, errors.New("btest: EC-SRP5: draw a secret: the random source is broken: it gave zero")
	}
	return s, sG, nil
}

// join is H(parts…), the parts joined.
func join(parts ...[32]byte) [sha256.Size]byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p[:]...)
	}
	return sha256.Sum256(b)
}
