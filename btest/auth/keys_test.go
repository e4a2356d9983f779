package auth

import (
	"errors"
	"math/big"
	"testing"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// noPoints are public keys that no point has.
var noPoints = []wire.PublicKey{{X: u(2)}, {X: u(3), Parity: 1}, {Parity: 1}, {X: u(9), Parity: 2}, {X: minusOne}}

// TestSmallServerKeys gives the client keys that unblind to a point of small
// order: W_b = small - v, which a false server can make for one guess.
func TestSmallServerKeys(t *testing.T) {
	source := newRandom(4000)
	small := smallPoints(t)
	small[wire.PublicKey{}] = edwards25519.NewIdentityPoint()
	for _, p := range small {
		l := drawLogin(source)
		client, err := NewClient(l.name, l.clientPassword, source)
		if err != nil {
			t.Fatal(err)
		}
		record := NewRecord(l.name, l.clientPassword, l.salt)
		wb := new(edwards25519.Point).Add(p, blind(record.X, 0))
		_, err = client.Confirm(wire.ServerKey{Key: publicKey(wb), Salt: l.salt})
		if refused, ok := errors.AsType[*KeyError](err); !ok || refused.Message != "server key" {
			t.Errorf("Confirm = %v, want a KeyError", err)
		}
		if err := client.Verify([32]byte{}); !errors.Is(err, ErrServerProof) {
			t.Errorf("Verify after it = %v", err)
		}
	}
}

// TestNeutralProduct sends the client a server key whose B is of no small order
// while k·B is neutral: k is a multiple of r for a client with this s_a.
func TestNeutralProduct(t *testing.T) {
	l := drawLogin(newRandom(5000))
	record := NewRecord(l.name, l.clientPassword, l.salt)
	i := exponent(l.salt, inner(l.name, l.clientPassword))
	key := publicKey(new(edwards25519.Point).Add(multiplyG(l.sb), blind(record.X, 0)))
	client := &Client{inner: inner(l.name, l.clientPassword)}
	j := join(client.key.X, key.X) // of a key that is not s_a·G, or j would depend on s_a
	k := new(big.Int).Mul(integer(i), integer(j))
	client.secret = bytes32(k.Mod(k.Neg(k), oracleR))
	_, err := client.Confirm(wire.ServerKey{Key: key, Salt: l.salt})
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Errorf("Confirm = %v, want a KeyError", err)
	}
}

// TestNeutralSum has a client whose W_a is the negative of j·gamma, so that z
// needs no secret. Nobody without gamma can send it, and it must not pass.
func TestNeutralSum(t *testing.T) {
	s := newServer(t, true)
	s.session = draw32(newRandom(5001))
	s.client = new(edwards25519.Point).Negate(multiply(s.session, s.gamma))
	confirm := join(s.session, publicKey(edwards25519.NewIdentityPoint()).X)
	if got, ok := s.Check(confirm); ok || got != [32]byte{} {
		t.Errorf("Check = %x, %v", got, ok)
	}
}

// TestBadClientKeys gives the server every key that it must refuse.
func TestBadClientKeys(t *testing.T) {
	bad := append([]wire.PublicKey{{X: bytes32(oracleP)}}, noPoints...) // u = 0, not reduced
	for key := range smallPoints(t) {
		bad = append(bad, key)
	}
	for _, key := range bad {
		server := newServer(t, true)
		_, err := server.Key(wire.ClientKey{Name: "ann", Key: key})
		if refused, ok := errors.AsType[*KeyError](err); !ok || refused.Key != key || refused.Message != "client key" {
			t.Errorf("Key(%x, %d) = %v, want a KeyError", key.X, key.Parity, err)
		}
		if _, ok := server.Check([32]byte{}); ok {
			t.Errorf("Check passes after Key(%x, %d)", key.X, key.Parity)
		}
	}
}

// TestBadServerKeys gives the client keys that no point has.
func TestBadServerKeys(t *testing.T) {
	for _, key := range noPoints {
		client, err := NewClient("ann", "secret", newRandom(4001))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Confirm(wire.ServerKey{Key: key})
		if refused, ok := errors.AsType[*KeyError](err); !ok || refused.Key != key || refused.Message != "server key" {
			t.Errorf("Confirm(%x, %d) = %v, want a KeyError", key.X, key.Parity, err)
		}
	}
}

func TestKeyErrorText(t *testing.T) {
	err := &KeyError{"client key", wire.PublicKey{X: u(2), Parity: 1}, "is not on the curve"}
	want := "btest: EC-SRP5: client key 0000000000000000000000000000000000000000000000000000000000000002/1 is not on the curve"
	if err.Error() != want {
		t.Errorf("Error = %s\nwant %s", err, want)
	}
}
