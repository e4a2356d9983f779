package auth

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"hash"
)

// How far the protection of test packets reaches, octets. RFC 5357, sections
// 4.1.2 and 4.2.1.
const (
	authenticated    = 16 // encrypted and covered in authenticated mode, both ways
	encryptedRequest = 32
	encryptedReply   = 96
	requestHMAC      = 32 // where the HMAC lies; never encrypted
	replyHMAC        = 96
)

// TestKeys are the keys of one session's test packets, in both directions.
type TestKeys struct {
	AES  Key
	HMAC [32]byte
}

// TestKeys makes the keys of the session with this identifier: the identifier
// is the key, and the session keys are what is encrypted with it. RFC 4656,
// section 4.1.2.
func (s SessionKeys) TestKeys(sid [16]byte) TestKeys {
	block := newAES(sid)
	var t TestKeys
	block.Encrypt(t.AES[:], s.AES[:])
	cipher.NewCBCEncrypter(block, make([]byte, BlockLen)).CryptBlocks(t.HMAC[:], s.HMAC[:])
	return t
}

// Packets protects the test packets of one session. There is no protection
// against replay, and in authenticated mode the timestamps are not covered at
// all: that is the protocol. It allocates nothing per packet and is not for
// concurrent use: a sender that reads and writes at once makes two.
type Packets struct {
	block     cipher.Block
	mac       hash.Hash
	encrypted bool
	sum       [sha1.Size]byte
	last      [BlockLen]byte // ciphertext of the block before
}

// NewPackets makes the protection of authenticated or encrypted mode.
func NewPackets(k TestKeys, encrypted bool) *Packets {
	return &Packets{block: newAES(k.AES), mac: hmac.New(sha1.New, k.HMAC[:]), encrypted: encrypted}
}

// SealRequest writes the HMAC into the request at the front of b, at least 48
// octets, and encrypts it in place.
func (p *Packets) SealRequest(b []byte) { p.seal(b, p.requestSpan(), requestHMAC) }

// SealReply does so with a reply, at least 112 octets.
func (p *Packets) SealReply(b []byte) { p.seal(b, p.replySpan(), replyHMAC) }

// OpenRequest decrypts the request at the front of b, at least 48 octets, in
// place. It returns ErrHMAC if the HMAC is not right: drop the packet.
func (p *Packets) OpenRequest(b []byte) error { return p.open(b, p.requestSpan(), requestHMAC) }

// OpenReply does so with a reply, at least 112 octets.
func (p *Packets) OpenReply(b []byte) error { return p.open(b, p.replySpan(), replyHMAC) }

func (p *Packets) requestSpan() int {
	if p.encrypted {
		return encryptedRequest
	}
	return authenticated
}

func (p *Packets) replySpan() int {
	if p.encrypted {
		return encryptedReply
	}
	return authenticated
}

func (p *Packets) seal(b []byte, span, at int) {
	copy(b[at:at+BlockLen], p.hmacOf(b[:span]))
	clear(p.last[:]) // the IV is zero for each packet
	for ; span > 0; span, b = span-BlockLen, b[BlockLen:] {
		for i := range p.last {
			b[i] ^= p.last[i]
		}
		p.block.Encrypt(b[:BlockLen], b[:BlockLen])
		p.last = [BlockLen]byte(b)
	}
}

func (p *Packets) open(b []byte, span, at int) error {
	clear(p.last[:])
	for left := b[:span]; len(left) > 0; left = left[BlockLen:] {
		this := [BlockLen]byte(left)
		p.block.Decrypt(left[:BlockLen], left[:BlockLen])
		for i := range p.last {
			left[i] ^= p.last[i]
		}
		p.last = this
	}
	if !hmac.Equal(b[at:at+BlockLen], p.hmacOf(b[:span])) {
		return ErrHMAC
	}
	return nil
}

// hmacOf is good until the next call.
func (p *Packets) hmacOf(b []byte) []byte {
	p.mac.Reset()
	p.mac.Write(b)
	return p.mac.Sum(p.sum[:0])[:BlockLen]
}
