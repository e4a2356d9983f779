// Package secret keeps what proves who somebody is: a key that seals secrets
// which a server has to read again, hashes of passwords which it has not, and
// tokens. It knows neither names nor databases.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// A Key seals the secrets of a store. Whoever has the store and not the key can
// read none of them; without it nobody can log in.
type Key struct {
	bytes [32]byte
	aead  cipher.AEAD
}

// keyPrefix opens the file of a key, and names the cipher.
const keyPrefix = "sonde-key-aes256gcm:"

// newKey is the key of these bytes.
func newKey(b [32]byte) *Key {
	block, err := aes.NewCipher(b[:])
	if err != nil {
		panic(err) // only of a key of another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only of another block size
	}
	return &Key{b, aead}
}

// NewKey makes a key and the file of it, which must not exist.
func NewKey(file string) (*Key, error) {
	var b [32]byte
	rand.Read(b[:])
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "%s%s\n", keyPrefix, base64.StdEncoding.EncodeToString(b[:]))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	return newKey(b), nil
}

// longestFile bounds what is read of a key's file.
const longestFile = 1024

// ReadKey reads a key from its file. It refuses one that others can read.
func ReadKey(file string) (*Key, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir() || info.Size() > longestFile:
		return nil, fmt.Errorf("%s: is not the file of a key", file)
	case info.Size() == 0:
		return nil, fmt.Errorf("%s: the file of the key is empty", file)
	case runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0:
		return nil, fmt.Errorf("%s: everybody can read this key (mode %04o); run chmod 600 %s", file, info.Mode().Perm(), file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	digits, ok := strings.CutPrefix(strings.TrimSpace(string(text)), keyPrefix)
	b, err := base64.StdEncoding.DecodeString(digits)
	if !ok || err != nil || len(b) != 32 {
		return nil, fmt.Errorf("%s: the key is damaged; want %q and 32 bytes in base64", file, keyPrefix)
	}
	return newKey([32]byte(b)), nil
}

// IsMissing reports whether there is no file of a key.
func IsMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Seal encrypts secret for the place that label names. Equal secrets look
// different each time.
func (k *Key) Seal(secret []byte, label string) []byte {
	return k.aead.Seal(nil, nil, secret, []byte(label))
}

// ErrSealed is a secret that the key does not open: damaged, moved from another
// place, or sealed by another key.
var ErrSealed = errors.New("the secret is damaged or was sealed by another key")

// Open decrypts what Seal made for the same label.
func (k *Key) Open(sealed []byte, label string) ([]byte, error) {
	secret, err := k.aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return nil, ErrSealed
	}
	return secret, nil
}

// Derive is a further key for one purpose.
func (k *Key) Derive(purpose string) [32]byte {
	b, err := hkdf.Expand(sha256.New, k.bytes[:], "sonde "+purpose, 32)
	if err != nil {
		panic(err) // only of a length that SHA-256 cannot give
	}
	return [32]byte(b)
}

// String hides the key.
func (k *Key) String() string { return "secret.Key" }
