// Package auth makes and checks the token with which an iperf3 client shows
// who its user is, and reads the files of keys and users that iperf3 uses.
//
// The token is a text of user, password and time, encrypted with the server's
// public RSA key. It protects the password against those who listen, and a
// token that was overheard works only for as long as the clocks may differ.
// It does not tell the client who the server is, and it protects nothing else
// of the test.
//
// The package is pure: no I/O and no clock; the moment is passed in.
package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Padding is how the text is padded before it is encrypted. Client and
// server cannot negotiate it.
type Padding uint8

// The paddings.
const (
	PKCS1 Padding = iota // PKCS #1 v1.5: iperf3 up to 3.16
	OAEP                 // RSAES-OAEP with SHA-1: iperf3 from 3.17 on
)

// String returns the padding's usual name.
func (p Padding) String() string {
	if p == OAEP {
		return "OAEP"
	}
	return "PKCS1v15"
}

// DefaultSkew is how much the clocks of client and server may differ in the
// original, either way.
const DefaultSkew = 10 * time.Second

// MaxTokenLen is the longest token that is looked at: that of a key of 16384
// bits.
const MaxTokenLen = 2732

// ErrDenied is all that a client may learn of why it was turned away.
var ErrDenied = errors.New("iperf3: not authorized")

// A Claim is what a token says.
type Claim struct {
	User     string
	Password string
	At       time.Time // when the token was made, whole seconds
}

// A ClaimError reports a user or password that a token cannot carry.
type ClaimError struct{ What string }

func (e *ClaimError) Error() string { return "iperf3: " + e.What }

// text is what is encrypted: three lines, with one, two and three spaces.
func (c Claim) text() (string, error) {
	if c.User == "" {
		return "", &ClaimError{"no user name"}
	}
	if strings.ContainsAny(c.User, "\n\x00") || strings.ContainsAny(c.Password, "\n\x00") {
		return "", &ClaimError{"line feeds and zero bytes are not allowed in user name and password"}
	}
	return fmt.Sprintf("user: %s\npwd:  %s\nts:   %d", c.User, c.Password, c.At.Unix()), nil
}

// NewToken makes the token of c for the server with key.
func NewToken(key *rsa.PublicKey, p Padding, c Claim) (string, error) {
	text, err := c.text()
	if err != nil {
		return "", err
	}
	var sealed []byte
	if p == OAEP {
		sealed, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, key, []byte(text), nil)
	} else {
		//lint:ignore SA1019 iperf3 before 3.16 knows no other padding
		sealed, err = rsa.EncryptPKCS1v15(rand.Reader, key, []byte(text))
	}
	if errors.Is(err, rsa.ErrMessageTooLong) {
		return "", &ClaimError{fmt.Sprintf("user name and password are too long for a key of %d bits", 8*key.Size())}
	}
	if err != nil {
		return "", fmt.Errorf("iperf3: token: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// Open decrypts a token, whichever padding the client used. Every failure is
// the same ErrDenied, so that answers tell nothing of the key.
func Open(key *rsa.PrivateKey, token string) (Claim, error) {
	if len(token) > MaxTokenLen {
		return Claim{}, ErrDenied
	}
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return Claim{}, ErrDenied
	}
	// Both are always tried, so that time does not tell them apart.
	oaep, oaepErr := rsa.DecryptOAEP(sha1.New(), nil, key, sealed, nil)
	//lint:ignore SA1019 iperf3 before 3.16 knows no other padding; failures all look the same
	pkcs, pkcsErr := rsa.DecryptPKCS1v15(nil, key, sealed)
	for _, try := range []struct {
		text []byte
		err  error
	}{{oaep, oaepErr}, {pkcs, pkcsErr}} {
		if try.err == nil {
			if c, ok := parseText(string(try.text)); ok {
				return c, nil
			}
		}
	}
	return Claim{}, ErrDenied
}

func parseText(s string) (Claim, bool) {
	s, ok := strings.CutPrefix(s, "user: ")
	if !ok {
		return Claim{}, false
	}
	user, s, ok := strings.Cut(s, "\npwd:  ")
	if !ok {
		return Claim{}, false
	}
	// The last line is looked for from the end: what stands before it may be
	// any password.
	i := strings.LastIndex(s, "\nts:   ")
	if i < 0 {
		return Claim{}, false
	}
	unix, err := strconv.ParseInt(s[i+len("\nts:   "):], 10, 64)
	if err != nil || unix < 0 || unix > maxUnix {
		return Claim{}, false
	}
	return Claim{User: user, Password: s[:i], At: time.Unix(unix, 0)}, true
}

// maxUnix is the end of the year 9999.
const maxUnix = 253402300799

// Check opens a token and compares it with users and the moment now. It
// returns the user's name, or ErrDenied for whatever reason; reason is for the
// server's own log and never for the client.
func Check(key *rsa.PrivateKey, users Users, token string, now time.Time, skew time.Duration) (user, reason string, err error) {
	c, err := Open(key, token)
	if err != nil {
		return "", "token cannot be decrypted", ErrDenied
	}
	known := users.Verify(c.User, c.Password)
	switch apart := now.Sub(c.At).Abs(); {
	case !known:
		return c.User, "unknown user or wrong password", ErrDenied
	case apart >= skew+time.Second: // the token's time is cut to whole seconds
		return c.User, fmt.Sprintf("clocks are %v apart, at most %v allowed", apart.Round(time.Second), skew), ErrDenied
	}
	return c.User, "", nil
}
