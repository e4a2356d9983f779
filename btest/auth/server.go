package auth

import (
	"crypto/subtle"
	"io"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// A Server is the server's side of one EC-SRP5 login: give the client's key to
// Key, send what it returns, give the client's confirmation to Check, and send
// what that returns if it is ok. If not, wait a second, then close and send
// nothing: RouterOS takes that as a wrong password.
type Server struct {
	record  Record
	known   bool
	gamma   *edwards25519.Point
	secret  [32]byte            // s_b
	sG      *edwards25519.Point // s_b·G
	client  *edwards25519.Point // W_a, nil unless a confirmation is due
	session [32]byte            // j
}

// NewServer begins a login for the user of record: 32 bytes of random, which is
// crypto/rand.Reader outside of tests, become its secret.
//
// With known false the login does the same work and fails in the end, so that
// names cannot be probed. Give a Decoy for a name that nobody has, and the
// user's own record for one who is disabled.
func NewServer(record Record, known bool, random io.Reader) (*Server, error) {
	gamma, err := record.gamma()
	if err != nil {
		return nil, err
	}
	s, sG, err := newSecret(random)
	if err != nil {
		return nil, err
	}
	return &Server{record: record, known: known, gamma: gamma, secret: s, sG: sG}, nil
}

// Key answers the client's key with the server's. It fails with a *KeyError on
// a key that no honest client sends; close the connection then.
func (s *Server) Key(m wire.ClientKey) (wire.ServerKey, error) {
	wa, ok := lift(m.Key)
	if !ok {
		return wire.ServerKey{}, &KeyError{"client key", m.Key, "is not on the curve"}
	}
	if isSmall(wa) {
		return wire.ServerKey{}, &KeyError{"client key", m.Key, "is of small order"}
	}
	wb := blind(s.record.X, 0)
	key := publicKey(wb.Add(s.sG, wb))
	s.client, s.session = wa, join(m.Key.X, key.X)
	return wire.ServerKey{Key: key, Salt: s.record.Salt}, nil
}

// Check reports whether the client's confirmation proves that it knows the
// password, and returns the server's own if so. It answers once: a client that
// was wrong has to begin anew.
func (s *Server) Check(clientConfirm [wire.ConfirmLen]byte) (serverConfirm [wire.ConfirmLen]byte, ok bool) {
	if s.client == nil {
		return serverConfirm, false
	}
	zPoint := multiply(s.secret, s.sum())
	s.client = nil
	z := publicKey(zPoint).X
	want := join(s.session, z)
	right := subtle.ConstantTimeCompare(want[:], clientConfirm[:])
	if right&bit(s.known)&bit(!isNeutral(zPoint)) != 1 {
		return serverConfirm, false
	}
	return join(s.session, want, z), true
}

// sum is W_a + j·gamma. The client's point need not be a multiple of G, and so
// the sum is multiplied by all of s_b, not by s_b mod r.
func (s *Server) sum() *edwards25519.Point {
	p := multiply(s.session, s.gamma)
	return p.Add(s.client, p)
}
