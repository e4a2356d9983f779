package mesh

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// epochLength is how long an admission token is made; it is taken for as long
// again.
const epochLength = 30 * time.Second

// A seal makes values that only its owner can make, and that nobody has to keep.
type seal struct {
	secret [32]byte
	start  time.Time
}

func newSeal(now time.Time) seal {
	s := seal{start: now}
	rand.Read(s.secret[:]) // never fails: crypto/rand
	return s
}

// token is what an address must echo to prove that id hears at it.
func (s *seal) token(at netip.AddrPort, id wire.ID, epoch uint64) uint64 {
	b := append([]byte("address"), at.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, at.Port())
	return s.sum(binary.BigEndian.AppendUint64(append(b, id[:]...), epoch))
}

// challenge is the token for now.
func (s *seal) challenge(at netip.AddrPort, id wire.ID, now time.Time) uint64 {
	return s.token(at, id, s.epoch(now))
}

// proves reports whether echo is a token of this epoch or of the one before.
func (s *seal) proves(echo uint64, at netip.AddrPort, id wire.ID, now time.Time) bool {
	e := s.epoch(now)
	return echo == s.token(at, id, e) || e > 0 && echo == s.token(at, id, e-1)
}

// pair is the nonce by which two nodes know each other's pings, whatever
// address they come from.
func (s *seal) pair(a, b wire.ID) uint64 {
	if string(a[:]) > string(b[:]) {
		a, b = b, a
	}
	return s.sum(append(append([]byte("pair"), a[:]...), b[:]...))
}

func (s *seal) epoch(now time.Time) uint64 { return uint64(now.Sub(s.start) / epochLength) }

func (s *seal) sum(b []byte) uint64 {
	mac := hmac.New(sha256.New, s.secret[:])
	mac.Write(b)
	return binary.BigEndian.Uint64(mac.Sum(nil))
}

// random is 64 bits that nobody can guess.
func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return binary.BigEndian.Uint64(b[:])
}

// stamps remembers the latest tokens sent to one party and when, so that an
// echo gives a round trip on our own clock and nobody can make one up.
type stamps struct {
	ring [64]struct {
		token uint64
		at    time.Time
	}
	next int
}

// fresh makes a token that leaves now.
func (s *stamps) fresh(now time.Time) uint64 {
	token := random()
	s.keep(token, now)
	return token
}

// keep notes a token that was made elsewhere.
func (s *stamps) keep(token uint64, now time.Time) {
	e := &s.ring[s.next%len(s.ring)]
	e.token, e.at = token, now
	s.next++
}

// has reports whether a token is one of the latest, answered or not.
func (s *stamps) has(token uint64) bool {
	n := min(s.next, len(s.ring))
	for i := range n {
		if s.ring[i].token == token {
			return true
		}
	}
	return false
}

// match returns the round trip that an echo ends, once for each token.
func (s *stamps) match(echo uint64, now time.Time) (time.Duration, bool) {
	for i := range s.ring {
		if e := &s.ring[i]; e.token == echo && !e.at.IsZero() {
			d := now.Sub(e.at)
			e.at = time.Time{}
			return d, true
		}
	}
	return 0, false
}
