package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// A Client is the client's side of one EC-SRP5 login: send Key, give the
// server's key to Confirm, send what it returns, give the answer to Verify.
type Client struct {
	name      string
	inner     [sha256.Size]byte
	secret    [32]byte       // s_a
	key       wire.PublicKey // W_a
	confirmed bool
	expected  [wire.ConfirmLen]byte // of the server, once confirmed
}

// NewClient draws the secret of a login: 32 bytes of random, which is
// crypto/rand.Reader outside of tests.
func NewClient(name, password string, random io.Reader) (*Client, error) {
	s, sG, err := newSecret(random)
	if err != nil {
		return nil, err
	}
	return &Client{name: name, inner: inner(name, password), secret: s, key: publicKey(sG)}, nil
}

// Key is the first message.
func (c *Client) Key() wire.ClientKey { return wire.ClientKey{Name: c.name, Key: c.key} }

// Confirm answers the server's key with the client's confirmation. It fails
// with a *KeyError on a key that no honest server sends. A wrong password does
// not show here: a server that refuses it closes the connection.
func (c *Client) Confirm(m wire.ServerKey) (confirm [wire.ConfirmLen]byte, err error) {
	wb, ok := lift(m.Key)
	if !ok {
		return confirm, &KeyError{"server key", m.Key, "is not on the curve"}
	}
	i := exponent(m.Salt, c.inner)
	b := unblind(wb, i)
	if isSmall(b) {
		return confirm, &KeyError{"server key", m.Key, "is of small order when unblinded"}
	}
	j := join(c.key.X, m.Key.X)
	zPoint := multiply(c.factor(i, j), b)
	if isNeutral(zPoint) {
		return confirm, &KeyError{"server key", m.Key, "gives the neutral point"}
	}
	z := publicKey(zPoint).X
	confirm = join(j, z)
	c.expected, c.confirmed = join(j, confirm, z), true
	return confirm, nil
}

// unblind takes the blinding point off W_b. What is left is s_b·G if the
// password is right. W_b itself is seldom a multiple of G and need not be.
func unblind(wb *edwards25519.Point, i [32]byte) *edwards25519.Point {
	v := blind(publicKey(multiplyG(i)).X, 1)
	return v.Add(wb, v)
}

// factor is k = i·j + s_a mod r.
func (c *Client) factor(i, j [32]byte) [32]byte {
	k := edwards25519.NewScalar().MultiplyAdd(scalar(i), scalar(j), scalar(c.secret))
	return bigEndian(k.Bytes())
}

// Verify returns nil if the server's confirmation proves that it knows the
// user's record, and ErrServerProof otherwise, also before Confirm.
func (c *Client) Verify(serverConfirm [wire.ConfirmLen]byte) error {
	if subtle.ConstantTimeCompare(c.expected[:], serverConfirm[:])&bit(c.confirmed) != 1 {
		return ErrServerProof
	}
	return nil
}
