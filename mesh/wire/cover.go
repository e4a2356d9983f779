package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
)

// ErrSeal says that a packet lacks an Auth or Sign that was asked for, or that
// it is not by whom it has to be.
var ErrSeal = errors.New("not authenticated")

// The lengths that seals add to a stream.
const (
	AuthSize = 4 + 1 + 8 + 4 + 16
	SignSize = 4 + 8 + 8 + 64

	macLen = 16
)

// sealMark keeps a MAC or signature from being taken for one of something else.
const sealMark = "sonde-mesh-1"

// Authenticate adds an Auth to p as its last record: its MAC covers the mark, the
// sender, the receiver, the version byte, all fields before CC, and the records
// up to itself. A server is the zero ID, in either place. to is as in Append;
// after it p must not change.
func (p *Packet) Authenticate(key []byte, from, receiver ID, a Auth, to netip.Addr) error {
	a.MAC = [macLen]byte{}
	covered, err := p.extend(a, from, receiver, to)
	if err != nil {
		return err
	}
	copy(p.Ext[len(p.Ext)-macLen:], macOf(key, covered[:len(covered)-macLen]))
	return nil
}

// Sign adds a Sign to p, behind which only an Auth may follow. Its signature
// covers the same as a MAC does.
func (p *Packet) Sign(key ed25519.PrivateKey, from, receiver ID, time uint64, to netip.Addr) error {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return ErrSeal
	}
	covered, err := p.extend(Sign{Key: keyName(public), Time: time}, from, receiver, to)
	if err != nil {
		return err
	}
	copy(p.Ext[len(p.Ext)-ed25519.SignatureSize:], ed25519.Sign(key, covered[:len(covered)-ed25519.SignatureSize]))
	return nil
}

// keyName is the front of a hash of a public key, by which it is looked up.
func keyName(k ed25519.PublicKey) [8]byte {
	sum := sha256.Sum256(k)
	return [8]byte(sum[:8])
}

// extend adds a record, and returns what is covered together with it.
func (p *Packet) extend(body Body, from, receiver ID, to netip.Addr) ([]byte, error) {
	ext, err := AppendRecord(slices.Clone(p.Ext), body)
	if err != nil {
		return nil, err
	}
	front := *p
	front.Ext = nil
	b, err := front.Append(nil, to)
	if err != nil {
		return nil, err
	}
	p.Ext = ext
	return cover(from, receiver, b[:len(b)-checksumLen], append([]byte(streamMark), ext...)), nil
}

func cover(from, receiver ID, front, stream []byte) []byte {
	return slices.Concat([]byte(sealMark), from[:], receiver[:], front, stream)
}

func macOf(key, covered []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(covered)
	return mac.Sum(nil)[:macLen]
}

// VerifyAuth checks the Auth of a datagram that ParsePacket takes, and returns
// it. Fields behind the first CC would not be covered, so there must be none.
func VerifyAuth(datagram, key []byte, from, receiver ID) (Auth, error) {
	front, stream, last, err := sealed(datagram)
	if err != nil {
		return Auth{}, err
	}
	if len(last) != 1 || last[0].Type != RecordAuth || len(last[0].Value) != AuthSize-4 {
		return Auth{}, ErrSeal
	}
	a, err := ParseAuth(last[0].Value)
	if err != nil {
		return Auth{}, err
	}
	if !hmac.Equal(a.MAC[:], macOf(key, cover(from, receiver, front, stream[:len(stream)-macLen]))) {
		return Auth{}, ErrSeal
	}
	return a, nil
}

// VerifySign checks the Sign of a datagram, and returns it.
func VerifySign(datagram []byte, key ed25519.PublicKey, from, receiver ID) (Sign, error) {
	front, stream, _, err := sealed(datagram)
	if err != nil {
		return Sign{}, err
	}
	// Without the Auth behind it, if there is one, the Sign is last.
	if end := len(stream) - AuthSize; end > 0 && isAt(stream, end, RecordAuth, AuthSize) && isAt(stream, end-SignSize, RecordSign, SignSize) {
		stream = stream[:end]
	}
	at := len(stream) - SignSize
	if !isAt(stream, at, RecordSign, SignSize) {
		return Sign{}, ErrSeal
	}
	s, err := ParseSign(stream[at+4:])
	if err != nil {
		return Sign{}, err
	}
	if s.Key != keyName(key) || !ed25519.Verify(key, cover(from, receiver, front, stream[:len(stream)-ed25519.SignatureSize]), s.Signature[:]) {
		return Sign{}, ErrSeal
	}
	return s, nil
}

// isAt reports whether a record of a type and size, with its header, begins at an
// offset.
func isAt(stream []byte, at int, t RecordType, size int) bool {
	return at >= len(streamMark) && at+size <= len(stream) &&
		RecordType(binary.BigEndian.Uint16(stream[at:])) == t && int(binary.BigEndian.Uint16(stream[at+2:])) == size-4
}

// sealed takes a datagram apart into what is before the first CC, the stream
// with its mark, and its last record.
func sealed(datagram []byte) (front, stream []byte, last []Record, err error) {
	body, err := verify(datagram)
	if err != nil {
		return nil, nil, nil, err
	}
	end := 0
	for at := 1; at < len(body); {
		f, n, err := parseField(body[at:])
		if err != nil {
			return nil, nil, nil, err
		}
		switch {
		case f.Type == CC:
			if end == 0 {
				end = at
			}
			stream = append(stream, f.Value...)
		case end != 0:
			return nil, nil, nil, ErrSeal
		}
		at += n
	}
	rest, ok := bytes.CutPrefix(stream, []byte(streamMark))
	if !ok {
		return nil, nil, nil, ErrSeal
	}
	records, err := ParseRecords(rest)
	if err != nil {
		return nil, nil, nil, err
	}
	// The last record that is known has to be the last there is.
	if n := len(records); n > 0 {
		v := records[n-1].Value
		if len(v)+4 <= len(rest) && bytes.Equal(rest[len(rest)-len(v):], v) && isAt(stream, len(stream)-len(v)-4, records[n-1].Type, len(v)+4) {
			last = records[n-1:]
		}
	}
	return body[:end], stream, last, nil
}
