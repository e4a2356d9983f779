// Package number has integers that every reader of JSON keeps exactly.
package number

import (
	"bytes"
	"strconv"
)

// exact is the largest integer that every reader of JSON keeps exactly: many
// hold numbers in 64-bit floating point (RFC 8259, section 6).
const exact = 1 << 53

// A Count is an integer in JSON; beyond exact it is a string of its digits.
type Count uint64

// MarshalJSON implements json.Marshaler.
func (c Count) MarshalJSON() ([]byte, error) {
	return digits(strconv.FormatUint(uint64(c), 10), c <= exact), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Count) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseUint(string(bytes.Trim(b, `"`)), 10, 64)
	*c = Count(n)
	return err
}

// A Signed is a Count that may be negative.
type Signed int64

// MarshalJSON implements json.Marshaler.
func (s Signed) MarshalJSON() ([]byte, error) {
	return digits(strconv.FormatInt(int64(s), 10), -exact <= s && s <= exact), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Signed) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	*s = Signed(n)
	return err
}

func digits(text string, exact bool) []byte {
	if !exact {
		text = `"` + text + `"`
	}
	return []byte(text)
}

// Counts keeps nil, which is null: not measured.
func Counts(n *uint64) *Count {
	if n == nil {
		return nil
	}
	return new(Count(*n))
}
