package auth

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"hash"
)

// A Sealer protects what one end of a control connection sends: one chain of
// AES-CBC blocks from the first encrypted octet to the last, never started
// afresh, with HMACs that each cover what was sent since the one before. A nil
// Sealer is that of mode 1: it changes nothing. It is not for concurrent use.
//
// Source: RFC 4656, section 3.1; RFC 5357, section 3.
type Sealer struct {
	chain cipher.BlockMode
	mac   hash.Hash // of what was sent since the last HMAC
}

// NewSealer starts the chain of one direction with that direction's IV: the
// Client-IV for a client, the Server-IV for a server.
func NewSealer(k SessionKeys, iv IV) *Sealer {
	return &Sealer{
		chain: cipher.NewCBCEncrypter(newAES(k.AES), iv[:]),
		mac:   hmac.New(sha1.New, k.HMAC[:]),
	}
}

// Seal encrypts b, whole blocks that do not end in an HMAC, in place. The next
// HMAC covers them.
func (s *Sealer) Seal(b []byte) {
	if s == nil {
		return
	}
	s.mac.Write(b)
	s.chain.CryptBlocks(b, b)
}

// Sign writes the HMAC into the last 16 octets of the message b and encrypts all
// of it, in place.
func (s *Sealer) Sign(b []byte) {
	if s == nil {
		return
	}
	at := len(b) - BlockLen
	s.mac.Write(b[:at])
	copy(b[at:], s.mac.Sum(nil)[:BlockLen])
	s.mac.Reset()
	s.chain.CryptBlocks(b, b)
}

// An Opener undoes what the Sealer of the other end does. A nil Opener is that
// of mode 1: it changes nothing and believes everything. It is not for
// concurrent use.
type Opener struct {
	chain cipher.BlockMode
	mac   hash.Hash
}

// NewOpener starts the chain of one direction with that direction's IV: the
// Server-IV for a client, the Client-IV for a server.
func NewOpener(k SessionKeys, iv IV) *Opener {
	return &Opener{
		chain: cipher.NewCBCDecrypter(newAES(k.AES), iv[:]),
		mac:   hmac.New(sha1.New, k.HMAC[:]),
	}
}

// Open decrypts b, whole blocks that do not end in an HMAC, in place. The next
// HMAC covers them.
func (o *Opener) Open(b []byte) {
	if o == nil {
		return
	}
	o.chain.CryptBlocks(b, b)
	o.mac.Write(b)
}

// Check decrypts the rest of a message, b, whose last 16 octets are its HMAC, in
// place. It returns ErrHMAC if the HMAC is not right: nothing that came since
// the last one can be believed, and nothing that follows.
func (o *Opener) Check(b []byte) error {
	if o == nil {
		return nil
	}
	at := len(b) - BlockLen
	o.chain.CryptBlocks(b, b)
	o.mac.Write(b[:at])
	want := o.mac.Sum(nil)[:BlockLen]
	o.mac.Reset()
	if !hmac.Equal(b[at:], want) {
		return ErrHMAC
	}
	return nil
}
