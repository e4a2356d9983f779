package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"filippo.io/edwards25519"

	"github.com/sonde-net/sonde/btest/wire"
)

// RecordLen is the length of a Record in binary form.
const RecordLen = wire.SaltLen + wire.KeyLen + 1

// textPrefix opens a Record in text form and names the scheme.
const textPrefix = "ecsrp5:"

// A Record is what a server keeps of a user in place of the password. It is a
// secret all the same, because passwords can be tried against it offline: seal
// it where it is stored, and do not give it to a logger that asks for its text.
// The name is hashed in, so a user who is renamed needs a new record.
type Record struct {
	Salt   [wire.SaltLen]byte // random, one for each user; sent to whoever gives the name
	X      [wire.KeyLen]byte  // u of gamma = i·G, big-endian
	Parity byte               // lowest bit of gamma's v: 0 or 1
}

// NewRecord makes the record of a user. The salt must be random; a user who
// gets a new password gets a new salt.
func NewRecord(name, password string, salt [wire.SaltLen]byte) Record {
	return RecordFromInner(inner(name, password), salt)
}

// RecordFromInner makes a record from H(name || ":" || password), SHA-256,
// which other servers keep in their databases.
func RecordFromInner(inner [sha256.Size]byte, salt [wire.SaltLen]byte) Record {
	gamma := publicKey(multiplyG(exponent(salt, inner)))
	return Record{salt, gamma.X, gamma.Parity}
}

// Decoy makes the record to answer with when nobody has this name, so that the
// name cannot be told from a user's: the same secret, kept for the life of the
// installation, gives the same record for the same name. Call it for every
// login, before looking the user up, or its time tells.
func Decoy(secret [32]byte, name string) Record {
	salt := keyed(secret, name)
	// The zero byte, which no name has, keeps this apart from all salts.
	return RecordFromInner(keyed(secret, name+"\x00"), [wire.SaltLen]byte(salt[:]))
}

// keyed is the HMAC-SHA-256 of message.
func keyed(secret [32]byte, message string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, secret[:])
	io.WriteString(mac, message) // a hash takes all it is given
	return [sha256.Size]byte(mac.Sum(nil))
}

// inner is what a password is worth for a name: H(name || ":" || password).
func inner(name, password string) [sha256.Size]byte {
	return sha256.Sum256([]byte(name + ":" + password))
}

// exponent is i = H(salt || inner).
func exponent(salt [wire.SaltLen]byte, inner [sha256.Size]byte) [sha256.Size]byte {
	return sha256.Sum256(append(salt[:], inner[:]...))
}

// gamma returns the point of r, or an error if no password can have made r.
func (r Record) gamma() (*edwards25519.Point, error) {
	key := wire.PublicKey{X: r.X, Parity: r.Parity}
	p, ok := lift(key)
	switch {
	case !ok:
		return nil, errors.New("btest: EC-SRP5 record: damaged: X and Parity are no point of the curve")
	case isSmall(p):
		return nil, errors.New("btest: EC-SRP5 record: damaged: X is a point of small order")
	case publicKey(p) != key:
		return nil, errors.New("btest: EC-SRP5 record: damaged: X is not reduced modulo 2^255-19")
	}
	return p, nil
}

// String hides what a log should not have.
func (r Record) String() string { return fmt.Sprintf("%s%x…", textPrefix, r.Salt) }

// AppendBinary appends r's RecordLen bytes to b: Salt, X, Parity. It never
// fails.
func (r Record) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, r.Salt[:]...)
	b = append(b, r.X[:]...)
	return append(b, r.Parity), nil
}

// ParseRecord reads what AppendBinary wrote and nothing else: it fails on any
// other length and on an X that no password gives.
func ParseRecord(b []byte) (Record, error) {
	if len(b) < RecordLen {
		return Record{}, fmt.Errorf("btest: EC-SRP5 record: %d of %d bytes: %w", len(b), RecordLen, io.ErrUnexpectedEOF)
	}
	if len(b) > RecordLen {
		return Record{}, fmt.Errorf("btest: EC-SRP5 record: %d bytes, want %d", len(b), RecordLen)
	}
	r := Record{Salt: [wire.SaltLen]byte(b), X: [wire.KeyLen]byte(b[wire.SaltLen:]), Parity: b[RecordLen-1]}
	if _, err := r.gamma(); err != nil {
		return Record{}, err
	}
	return r, nil
}

// MarshalText returns the binary form in hexadecimal after "ecsrp5:". It never
// fails.
func (r Record) MarshalText() ([]byte, error) {
	b, err := r.AppendBinary(nil)
	return hex.AppendEncode([]byte(textPrefix), b), err
}

// UnmarshalText reads what MarshalText wrote.
func (r *Record) UnmarshalText(text []byte) error {
	digits, ok := bytes.CutPrefix(text, []byte(textPrefix))
	if !ok {
		return fmt.Errorf("btest: EC-SRP5 record: does not begin with %q", textPrefix)
	}
	b, err := hex.AppendDecode(nil, digits)
	if err != nil {
		return fmt.Errorf("btest: EC-SRP5 record: %w", err)
	}
	parsed, err := ParseRecord(b)
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
