package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// tokenPrefix lets a person, and a scanner of leaked secrets, know a token.
const tokenPrefix = "sonde_"

// NewToken makes a token of 256 random bits.
func NewToken() string {
	var b [32]byte
	rand.Read(b[:])
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// HashToken is what is kept of a token. It has no salt and is quick: 256 random
// bits cannot be guessed. Looking for it tells by its time nothing that leads to
// a token.
func HashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
