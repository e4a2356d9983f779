package mesh

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A Key is a secret that all of a mesh share. Who has one takes only packets that
// were made with it; others are dropped without an answer. It proves that a
// packet is of the mesh, not of which member, and hides nothing.
type Key [32]byte

// NewKey makes a key.
func NewKey() *Key {
	k := &Key{}
	rand.Read(k[:]) // never fails: crypto/rand
	return k
}

// ParseKey reads a key as String writes it: 64 hexadecimal digits. Space around
// them and lines that begin with # are left out.
func ParseKey(text string) (*Key, error) {
	b, err := parseHex(text, "key", len(Key{}))
	if err != nil {
		return nil, err
	}
	return (*Key)(b), nil
}

// String is the key for a file that nobody else may read.
func (k *Key) String() string { return hex.EncodeToString(k[:]) }

// A SigningKey lets nodes tell the lists of a server from those that a member of
// the mesh forges; they need its VerifyKey.
type SigningKey struct{ seed [ed25519.SeedSize]byte }

// A VerifyKey is the public half of a SigningKey.
type VerifyKey struct{ public [ed25519.PublicKeySize]byte }

// NewSigningKey makes a key.
func NewSigningKey() *SigningKey {
	k := &SigningKey{}
	rand.Read(k.seed[:]) // never fails: crypto/rand
	return k
}

// ParseSigningKey reads a key as String writes it.
func ParseSigningKey(text string) (*SigningKey, error) {
	b, err := parseHex(text, "signing key", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return &SigningKey{[ed25519.SeedSize]byte(b)}, nil
}

// ParseVerifyKey reads the public half of a key as String writes it.
func ParseVerifyKey(text string) (*VerifyKey, error) {
	b, err := parseHex(text, "server's public key", ed25519.PublicKeySize)
	if err != nil {
		return nil, err
	}
	return &VerifyKey{[ed25519.PublicKeySize]byte(b)}, nil
}

// String is the key for a file that nobody else may read.
func (k *SigningKey) String() string { return hex.EncodeToString(k.seed[:]) }

// VerifyKey is the half that nodes are given.
func (k *SigningKey) VerifyKey() *VerifyKey {
	public, _ := k.private().Public().(ed25519.PublicKey) // never another type
	return &VerifyKey{[ed25519.PublicKeySize]byte(public)}
}

func (k *SigningKey) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.seed[:]) }

// String is the key for everybody.
func (k *VerifyKey) String() string { return hex.EncodeToString(k.public[:]) }

func parseHex(text, what string, size int) ([]byte, error) {
	var digits strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			digits.WriteString(line)
		}
	}
	b, err := hex.DecodeString(digits.String())
	switch {
	case err != nil:
		return nil, fmt.Errorf("mesh: the %s is not %d hexadecimal digits", what, 2*size) // without the text, which may be secret
	case len(b) != size:
		return nil, fmt.Errorf("mesh: the %s has %d bytes, %d hexadecimal digits are needed", what, len(b), 2*size)
	}
	return b, nil
}

// noID stands for a server where a sender or receiver is named.
var noID wire.ID

// keys are those of one party: what it seals with and asks others for. The zero
// keys neither seal nor ask.
type keys struct {
	mesh  *Key
	sign  ed25519.PrivateKey // of a server
	start time.Time          // of our counting; the clock may be set later, our times go on
}

// room is how many bytes of a stream the seals take.
func (k *keys) room() int {
	n := 0
	if k.mesh != nil {
		n += wire.AuthSize
	}
	if k.sign != nil {
		n += wire.SignSize
	}
	return n
}

// stamp is the Auth of the next packet to a receiver, for whom counter counts.
func (k *keys) stamp(now time.Time, counter *uint32) wire.Auth {
	if k.mesh == nil {
		return wire.Auth{}
	}
	if *counter == 0 {
		*counter = uint32(random()) // so that after a restart it is not near to what was
	}
	*counter++
	if k.start.IsZero() {
		k.start = now
	}
	ms := k.start.UnixMilli() + now.Sub(k.start).Milliseconds()
	if wall := now.UnixMilli(); wall > ms { // the clock was set, or we were suspended
		k.start, ms = now, wall
	}
	return wire.Auth{Time: uint64(ms), Counter: *counter}
}

// append makes a packet with the seals that it has to have.
func (k *keys) append(p *wire.Packet, from, receiver wire.ID, to netip.Addr, a wire.Auth) ([]byte, error) {
	if k.mesh != nil {
		if err := p.Authenticate(k.mesh[:], from, receiver, a, to); err != nil {
			return nil, err
		}
	}
	return p.Append(nil, to)
}

// signed adds the server's signature, if it has a key, to a list or Punch.
func (k *keys) signed(p *wire.Packet, receiver wire.ID, to netip.Addr, now time.Time) error {
	if k.sign == nil {
		return nil
	}
	return p.Sign(k.sign, noID, receiver, uint64(now.UnixMilli()), to)
}

// check is what an Auth says of a datagram; true without a key.
func (k *keys) check(datagram []byte, from, receiver wire.ID) (wire.Auth, bool) {
	if k.mesh == nil {
		return wire.Auth{}, true
	}
	a, err := wire.VerifyAuth(datagram, k.mesh[:], from, receiver)
	return a, err == nil
}

// clockDifference is how far the clocks of two may differ when they meet.
const clockDifference = 120 * time.Second

// isNear reports whether a time of somebody we know nothing of is now.
func isNear(ms uint64, now time.Time) bool {
	return ms < 1<<62 && now.Sub(time.UnixMilli(int64(ms))).Abs() <= clockDifference
}

// freshness tells packets of one sender from those that were sent again by
// somebody else. The zero freshness has seen none.
type freshness struct {
	high   uint32 // counter
	seen   uint64 // bit n: high-n
	first  uint64 // ms of the sender's clock when it began to count
	newest uint64 // ms, likewise
}

// accept reports whether a packet is new: its counter is in front of, or open in,
// a window of 64. A sender that begins to count anew, after a restart, has a
// later time than all before; what is from before then is old, whatever it counts.
func (f *freshness) accept(a wire.Auth, now time.Time) bool {
	switch behind := f.high - a.Counter; {
	case f.seen == 0 || int32(behind) >= 64 && a.Time > f.newest:
		if !isNear(a.Time, now) {
			return false
		}
		f.high, f.seen, f.first = a.Counter, ^uint64(0), a.Time // those in front of the first are not waited for
	case a.Time < f.first:
		return false
	case int32(behind) < 0: // in front
		f.high = a.Counter
		f.seen = f.seen<<-behind | 1 // more than 63 shift all out
	case behind < 64 && f.seen>>behind&1 == 0:
		f.seen |= 1 << behind
	default:
		return false
	}
	f.newest = max(f.newest, a.Time)
	return true
}
