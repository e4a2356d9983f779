package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/sonde-net/sonde/internal/peerjson"
)

// Bounds of JSON from a peer, beside its size. A server's own document, which
// may stand inside its results, is five levels deep.
const (
	maxDepth   = 16
	maxMembers = 128
)

// An object is a JSON object with its values still undecoded. Its methods
// decode them; the first fault stays in err, and what they return after that
// means nothing. A null counts as missing.
type object struct {
	message string // for errors
	members map[string]json.RawMessage
	err     error
}

// parseObject splits b, which must be one JSON object and nothing more. Only
// values of known keys are kept.
func parseObject(message string, b []byte, known map[string]bool) (*object, error) {
	members, err := peerjson.Members(b, peerjson.Bounds{Depth: maxDepth, Members: maxMembers, Keep: known})
	if err != nil {
		return nil, fmt.Errorf("iperf3: %s: %w", message, err)
	}
	return &object{message: message, members: members}, nil
}

func (o *object) raw(key string) (json.RawMessage, bool) {
	v, ok := o.members[key]
	return v, ok && string(v) != "null"
}

func (o *object) has(key string) bool {
	_, ok := o.raw(key)
	return ok
}

// reject records that key's value is not what it should be.
func (o *object) reject(key, want string) {
	if o.err != nil {
		return
	}
	f := &FieldError{Message: o.message, Field: key, Want: want}
	if v, ok := o.raw(key); ok {
		f.Value = peerjson.Excerpt(v)
	}
	o.err = f
}

// require records the first of keys that is missing.
func (o *object) require(want string, keys ...string) {
	for _, k := range keys {
		if !o.has(k) {
			o.reject(k, want)
		}
	}
}

// text is a string, empty when it is missing.
func (o *object) text(key string) (s string) {
	if v, ok := o.raw(key); ok && json.Unmarshal(v, &s) != nil {
		o.reject(key, "a string")
	}
	return s
}

// flag is a switch: true, or a number that is not 0. Real peers write some of
// them one way and some the other.
func (o *object) flag(key string) bool {
	v, ok := o.raw(key)
	if !ok {
		return false
	}
	var f bool
	if json.Unmarshal(v, &f) == nil {
		return f
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		o.reject(key, "true or 1")
	}
	return x != 0
}

// integer is a whole number from least to most, 0 when it is missing.
func (o *object) integer(key string, least, most int64) int64 {
	v, ok := o.raw(key)
	if !ok {
		return 0
	}
	n, ok := wholeNumber(v)
	if !ok || n < least || n > most {
		o.reject(key, fmt.Sprintf("a whole number from %d to %d", least, most))
		return 0
	}
	return n
}

// count is a whole number from 0 to 2^63-1, 0 when it is missing.
func (o *object) count(key string) uint64 { return uint64(o.integer(key, 0, math.MaxInt64)) }

// wholeNumber reads a number without a fraction. The library that iperf3 uses
// writes large ones with an exponent.
func wholeNumber(v json.RawMessage) (int64, bool) {
	if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		return n, true
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil || x != math.Trunc(x) || x < -1<<63 || x >= 1<<63 {
		return 0, false
	}
	return int64(x), true
}

// known is a count, nil when the peer does not know it: it is missing, or -1,
// or the 2^64-1 that versions up to 3.13 write for -1.
func (o *object) known(key string) *uint64 {
	v, ok := o.raw(key)
	if !ok {
		return nil
	}
	if x, err := strconv.ParseFloat(string(v), 64); err == nil && (x == -1 || x == 1<<64) {
		return nil
	}
	n := o.count(key)
	return &n
}

// number is any number from least to most, 0 when it is missing.
func (o *object) number(key string, least, most float64) float64 {
	v, ok := o.raw(key)
	if !ok {
		return 0
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsNaN(x) || x < least || x > most {
		o.reject(key, fmt.Sprintf("a number from %g to %g", least, most))
		return 0
	}
	return x
}

// elements splits a list of at most most values.
func (o *object) elements(key string, most int) []json.RawMessage {
	v, ok := o.raw(key)
	if !ok {
		return nil
	}
	list, more, err := peerjson.Elements(v, most)
	if err != nil || more {
		o.reject(key, fmt.Sprintf("a list of at most %d", most))
		return nil
	}
	return list
}

// keys makes the set of the names that parseObject keeps.
func keys(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}
