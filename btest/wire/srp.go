package wire

import (
	"bytes"
	"fmt"
	"io"
)

// Sizes of EC-SRP5.
const (
	KeyLen     = 32
	SaltLen    = 16
	ConfirmLen = 32
	// MaxSRPName is the longest name that fits a frame.
	MaxSRPName = 255 - 1 - KeyLen - 1
)

// AppendFrame appends payload as a frame: one byte of length, then the payload.
// It panics on more than 255 bytes, which no message here has.
func AppendFrame(b, payload []byte) []byte {
	if len(payload) > 255 {
		panic("btest: frame too long")
	}
	return append(append(b, byte(len(payload))), payload...)
}

// A PublicKey travels as the u coordinate of Curve25519, big-endian, and the
// lowest bit of the Weierstrass y.
type PublicKey struct {
	X      [KeyLen]byte
	Parity byte // 0 or 1
}

// A ClientKey is the first message of EC-SRP5, the payload of a frame:
//
//	off len
//	  0   n  Name
//	  n   1  0
//	n+1  32  Key.X
//	n+33  1  Key.Parity
//
// Source: capture of a RouterOS exchange; testdata/rs-tcp-receive-ecsrp5.json.
type ClientKey struct {
	Name string
	Key  PublicKey
}

// ParseClientKey reads the payload of a frame.
func ParseClientKey(b []byte) (ClientKey, error) {
	name, key, ok := bytes.Cut(b, []byte{0})
	if len(b) < KeyLen+2 || !ok || len(key) < KeyLen+1 {
		return ClientKey{}, fmt.Errorf("btest: client key: %w", io.ErrUnexpectedEOF)
	}
	if len(key) != KeyLen+1 {
		return ClientKey{}, &FieldError{"client key", "length", uint64(len(b))}
	}
	m := ClientKey{Name: string(name), Key: PublicKey{[KeyLen]byte(key), key[KeyLen]}}
	if m.Key.Parity > 1 {
		return ClientKey{}, &FieldError{"client key", "parity", uint64(m.Key.Parity)}
	}
	return m, nil
}

// AppendBinary appends the payload to b. It fails when the name has a zero
// byte or does not fit a frame.
func (m ClientKey) AppendBinary(b []byte) ([]byte, error) {
	if len(m.Name) > MaxSRPName || bytes.IndexByte([]byte(m.Name), 0) >= 0 {
		return b, &FieldError{"client key", "name length", uint64(len(m.Name))}
	}
	b = append(append(b, m.Name...), 0)
	b = append(b, m.Key.X[:]...)
	return append(b, m.Key.Parity), nil
}

// A ServerKey is the second message of EC-SRP5, the payload of a frame:
//
//	off len
//	  0  32  Key.X
//	 32   1  Key.Parity
//	 33  16  Salt
type ServerKey struct {
	Key  PublicKey
	Salt [SaltLen]byte
}

// ParseServerKey reads the payload of a frame. A BytesError may hold a message
// of the server in words.
func ParseServerKey(b []byte) (ServerKey, error) {
	if len(b) != KeyLen+1+SaltLen {
		return ServerKey{}, &BytesError{"server key", bytes.Clone(b)}
	}
	m := ServerKey{Key: PublicKey{[KeyLen]byte(b), b[KeyLen]}, Salt: [SaltLen]byte(b[KeyLen+1:])}
	if m.Key.Parity > 1 {
		return ServerKey{}, &FieldError{"server key", "parity", uint64(m.Key.Parity)}
	}
	return m, nil
}

// AppendBinary appends the payload to b. It never fails.
func (m ServerKey) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, m.Key.X[:]...)
	b = append(b, m.Key.Parity)
	return append(b, m.Salt[:]...), nil
}
