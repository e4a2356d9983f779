package auth

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Users are those who may log in: name to Hash.
type Users map[string][sha256.Size]byte

// maxUsers keeps a wrong file from filling the memory.
const maxUsers = 1 << 20

// Hash is what a file of users keeps of a password: the SHA-256 of
// "{name}password", braces included.
func Hash(user, password string) [sha256.Size]byte {
	return sha256.Sum256([]byte("{" + user + "}" + password))
}

// A LineError reports a line of a file of users.
type LineError struct {
	Line int // from 1
	What string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.What) }

// ParseUsers reads a file of users: a line "name,hash" for each, the hash in
// hex. Empty lines and lines that begin with # are passed over.
func ParseUsers(file string) (Users, error) {
	users := Users{}
	n := 0
	for line := range strings.Lines(file) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, digits, ok := strings.Cut(line, ",")
		if !ok || name == "" {
			return nil, &LineError{n, "want name,hash"}
		}
		hash, err := hex.DecodeString(strings.TrimSpace(digits))
		if err != nil || len(hash) != sha256.Size {
			return nil, &LineError{n, fmt.Sprintf("the hash of %q is not %d hex digits of SHA-256", name, 2*sha256.Size)}
		}
		if _, again := users[name]; again {
			return nil, &LineError{n, fmt.Sprintf("user %q stands here twice", name)}
		}
		if len(users) == maxUsers {
			return nil, &LineError{n, fmt.Sprintf("more than %d users", maxUsers)}
		}
		users[name] = [sha256.Size]byte(hash)
	}
	return users, nil
}

// AppendUser appends the line for a user to b.
func AppendUser(b []byte, user, password string) ([]byte, error) {
	if user == "" || strings.ContainsAny(user, ",\n\r\x00") || strings.TrimSpace(user) != user || user[0] == '#' {
		return b, &ClaimError{fmt.Sprintf("user name %q: want one without commas, line ends and outer spaces, not beginning with #", user)}
	}
	hash := Hash(user, password)
	b = append(append(b, user...), ',')
	return append(hex.AppendEncode(b, hash[:]), '\n'), nil
}

// Verify says whether password is user's. It takes as long for a user who does
// not exist.
func (u Users) Verify(user, password string) bool {
	want, known := u[user]
	got := Hash(user, password)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}

// ParsePublicKey reads a public RSA key in PEM.
func ParsePublicKey(file []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return nil, errors.New("iperf3: public key: not PEM")
	}
	if block.Type == "RSA PUBLIC KEY" {
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("iperf3: public key: %w", err)
		}
		return key, nil
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("iperf3: public key: %w", err)
	}
	key, ok := any.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("iperf3: public key: a %T, want an RSA key", any)
	}
	return key, nil
}

// ParsePrivateKey reads a private RSA key in PEM. Encrypted keys are not read:
// decrypt them first, with openssl rsa.
func ParsePrivateKey(file []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return nil, errors.New("iperf3: private key: not PEM")
	}
	if strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("iperf3: private key: it is encrypted: decrypt it with openssl rsa")
	}
	if block.Type == "RSA PRIVATE KEY" {
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("iperf3: private key: %w", err)
		}
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("iperf3: private key: %w", err)
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("iperf3: private key: a %T, want an RSA key", any)
	}
	return key, nil
}
