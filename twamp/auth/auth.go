// Package auth is the cryptography of TWAMP (RFC 4656, sections 3 and 4, as
// RFC 5357 takes it over) and of STAMP (RFC 8762, section 4.4).
//
// It is pure: octets and keys in, octets out. It works in place on messages
// that package wire lays out, and knows of them only where the HMAC lies and
// how far encryption reaches. Random octets come from the caller.
//
// AES-128 in CBC, HMAC-SHA1 cut to 16 octets and PBKDF2 are the protocol's
// choice, not ours. What they do not protect is told where it matters.
package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/bits"
)

// BlockLen is the unit of encryption and the length of an AES-128 key, of an
// initialisation vector and of an HMAC on the wire, octets.
const BlockLen = 16

// ErrHMAC says that an HMAC is not the one that the key gives: the message was
// changed on the way, or the peer has another key.
var ErrHMAC = errors.New("twamp: wrong hmac")

// Bounds of PBKDF2 iterations.
const (
	LeastCount   = 1024  // RFC 4656, section 3.1
	DefaultCount = 2048  // what a server asks for
	MostCount    = 32768 // what a client agrees to unless told otherwise
)

// A CountError reports a number of PBKDF2 iterations that a client does not
// agree to: the server makes it compute them.
type CountError struct {
	Count uint32
	Most  uint32
}

func (e *CountError) Error() string {
	return fmt.Sprintf("twamp: server-greeting: %d key derivation rounds, not a power of two from %d to %d", e.Count, LeastCount, e.Most)
}

// CheckCount returns a *CountError unless count is a power of two, at least
// LeastCount and at most most; a most of 0 means MostCount.
func CheckCount(count, most uint32) error {
	if most == 0 {
		most = MostCount
	}
	if count < LeastCount || count > most || bits.OnesCount32(count) != 1 {
		return &CountError{count, most}
	}
	return nil
}

// A Key is an AES-128 key.
type Key [BlockLen]byte

// An IV starts a chain of blocks.
type IV [BlockLen]byte

// DeriveKey makes the key of a token from the shared secret: PBKDF2 with
// HMAC-SHA1. It costs count times two SHA-1 blocks, about 1 µs each; check count
// first.
func DeriveKey(s Secret, salt [16]byte, count uint32) (Key, error) {
	k, err := pbkdf2.Key(sha1.New, string(s.octets), salt[:], int(count), BlockLen)
	if err != nil {
		return Key{}, fmt.Errorf("twamp: key derivation: %w", err)
	}
	return Key(k), nil
}

// SessionKeys are made by the client for one control connection, at random.
type SessionKeys struct {
	AES  Key
	HMAC [32]byte
}

// TokenLen is the length of a token: the challenge and both session keys.
const TokenLen = 64

// NewToken proves the knowledge of k by encrypting the server's challenge, and
// tells the server the session keys.
func NewToken(k Key, challenge [16]byte, s SessionKeys) [TokenLen]byte {
	var t [TokenLen]byte
	copy(t[:], challenge[:])
	copy(t[16:], s.AES[:])
	copy(t[32:], s.HMAC[:])
	cipher.NewCBCEncrypter(newAES(k), make([]byte, BlockLen)).CryptBlocks(t[:], t[:])
	return t
}

// OpenToken returns the session keys that token carries; false when it does not
// answer the challenge, so that the client has another key than k.
func OpenToken(k Key, challenge [16]byte, token [TokenLen]byte) (SessionKeys, bool) {
	cipher.NewCBCDecrypter(newAES(k), make([]byte, BlockLen)).CryptBlocks(token[:], token[:])
	if subtle.ConstantTimeCompare(token[:16], challenge[:]) != 1 {
		return SessionKeys{}, false
	}
	return SessionKeys{AES: Key(token[16:]), HMAC: [32]byte(token[32:])}, true
}

// newAES cannot fail: the key has the length that AES wants.
func newAES(k Key) cipher.Block {
	b, err := aes.NewCipher(k[:])
	if err != nil {
		panic("twamp: a key of 16 octets: " + err.Error())
	}
	return b
}
