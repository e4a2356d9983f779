package secret

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of a hash, OWASP's second choice for Argon2id: 19 MiB, two passes.
// On two cores of a small server it takes some 30 ms.
const (
	memory  = 19 * 1024 // KiB
	passes  = 2
	lanes   = 1
	saltLen = 16
	hashLen = 32
)

// LongestPassword is what a hash is made of at most, in bytes.
const LongestPassword = 1024

// A Hasher hashes passwords, a few at a time: logins of strangers cost memory,
// and this bounds it. The zero Hasher is ready to use and safe for concurrent use.
type Hasher struct{ places places }

// ErrBusy is a login that found too many others waiting.
var ErrBusy = errors.New("too many logins at once; try again")

// Hash makes the text to keep of a password, in PHC's form.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > LongestPassword:
		return "", fmt.Errorf("the password is longer than %d bytes", LongestPassword)
	}
	salt := make([]byte, saltLen)
	rand.Read(salt)
	sum, err := h.sum(ctx, password, salt)
	if err != nil {
		return "", err
	}
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%s%s$%s", phcPrefix(), encode(salt), encode(sum)), nil
}

// phcPrefix opens every hash that this version makes.
func phcPrefix() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, memory, passes, lanes)
}

// decoySalt is that of the hash which is compared where there is none.
var decoySalt = make([]byte, saltLen)

// Check reports whether the password is the one that kept was made of. An empty
// or damaged kept is no password's, and costs as much as any other.
func (h *Hasher) Check(ctx context.Context, kept, password string) (bool, error) {
	salt, want, ok := parsePHC(kept)
	if !ok {
		salt, want = decoySalt, make([]byte, hashLen)
	}
	if password == "" || len(password) > LongestPassword {
		password, ok = "-", false
	}
	sum, err := h.sum(ctx, password, salt)
	if err != nil {
		return false, err
	}
	same := subtle.ConstantTimeCompare(sum, want) == 1
	return same && ok, nil
}

// parsePHC reads a hash of the one cost that this version makes: a kept text
// cannot ask for more memory.
func parsePHC(kept string) (salt, sum []byte, ok bool) {
	rest, ok := strings.CutPrefix(kept, phcPrefix())
	first, second, cut := strings.Cut(rest, "$")
	if !ok || !cut {
		return nil, nil, false
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(first)
	if err != nil || len(salt) != saltLen {
		return nil, nil, false
	}
	sum, err = base64.RawStdEncoding.Strict().DecodeString(second)
	return salt, sum, err == nil && len(sum) == hashLen
}

func (h *Hasher) sum(ctx context.Context, password string, salt []byte) ([]byte, error) {
	leave, err := h.places.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return argon2.IDKey([]byte(password), salt, passes, memory, lanes, hashLen), nil
}
