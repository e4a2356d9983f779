package auth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Secret is what both ends share: the octets of a passphrase, or a key. It
// does not let itself be printed.
type Secret struct{ octets []byte }

// NewSecret makes a Secret of a passphrase or key.
func NewSecret(s string) Secret { return Secret{[]byte(s)} }

// String returns "***".
func (Secret) String() string { return "***" }

// GoString returns "***".
func (Secret) GoString() string { return "***" }

// MarshalText returns "***": a secret does not get into any document.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return len(s.octets) == 0 }

// keyIDLen is the room for a key's name in a Set-Up-Response, octets.
const keyIDLen = 80

// Keys are shared secrets by the name of their key, the KeyID. The zero Keys is
// empty.
type Keys struct{ secrets map[string]Secret }

// A LineError reports a line of a key file that cannot be used. It does not
// quote the line, which holds a secret.
type LineError struct {
	Line    int // from 1
	Problem string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Problem) }

// ParseKeys reads a key file: on each line the name of a key and after blanks a
// passphrase, which may hold blanks, or "hex:" and the octets in hexadecimal.
//
//	# comment
//	carrier-a  correct horse battery staple
//	carrier-b  hex:00112233445566778899aabbccddeeff
//
// Blank lines and those that begin with # do not count. The passphrase ends
// with the line, without the blanks before its end. The error joins the
// *LineErrors of all lines that are wrong.
func ParseKeys(b []byte) (Keys, error) {
	k := Keys{map[string]Secret{}}
	var errs []error
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(b, []byte("\ufeff"))) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		if problem := k.add(text); problem != "" {
			errs = append(errs, &LineError{n, problem})
		}
	}
	return k, errors.Join(errs...)
}

// add takes in one line without the blanks around it. It returns what is wrong.
func (k Keys) add(text string) (problem string) {
	cut := strings.IndexAny(text, " \t")
	if cut < 0 {
		return "no secret after the key's name"
	}
	id, rest := text[:cut], strings.TrimLeft(text[cut:], " \t")
	switch {
	case len(id) > keyIDLen:
		return fmt.Sprintf("the key's name has %d octets, at most %d fit", len(id), keyIDLen)
	case !utf8.ValidString(id) || strings.Contains(id, "\x00"):
		return "the key's name is not UTF-8 text"
	case !k.Secret(id).IsZero():
		return fmt.Sprintf("key %q stands here a second time", id)
	}
	s := []byte(rest)
	if digits, ok := strings.CutPrefix(rest, "hex:"); ok {
		var err error
		if s, err = hex.DecodeString(digits); err != nil || len(s) == 0 {
			return "no even number of hexadecimal digits after hex:"
		}
	}
	k.secrets[id] = Secret{s}
	return ""
}

// Secret returns the secret of a key, the zero Secret if it is not known.
func (k Keys) Secret(id string) Secret { return k.secrets[id] }

// Len returns how many keys there are.
func (k Keys) Len() int { return len(k.secrets) }

// Admit opens a token of the key with this name. It does the same work for a
// name that is not known as for a wrong key, so that nobody can find out which
// names exist.
func (k Keys) Admit(id string, salt, challenge [16]byte, count uint32, token [TokenLen]byte) (SessionKeys, bool) {
	s, known := k.secrets[id]
	if !known {
		s = NewSecret("nobody has this key")
	}
	derived, err := DeriveKey(s, salt, count)
	if err != nil {
		return SessionKeys{}, false
	}
	keys, ok := OpenToken(derived, challenge, token)
	if !known || !ok {
		return SessionKeys{}, false
	}
	return keys, true
}
