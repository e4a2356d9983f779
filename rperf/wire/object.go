package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/sonde-net/sonde/internal/peerjson"
)

// Bounds of one message, beside MaxPayload. The deepest real one has two
// levels and the widest, a configuration, twelve keys.
const (
	maxDepth   = 8
	maxMembers = 128
)

// An object is a JSON object with its values still undecoded. Its methods
// decode them; the first fault stays in err, and what they return after that
// means nothing. A null counts as missing: some peers write it.
type object struct {
	message string // for errors
	members map[string]json.RawMessage
	err     error
}

// parseObject splits b, which must be one JSON object and nothing more.
func parseObject(message string, b []byte) (*object, error) {
	members, err := peerjson.Members(b, peerjson.Bounds{Depth: maxDepth, Members: maxMembers})
	if err != nil {
		return nil, fmt.Errorf("rperf: %s: %w", message, err)
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
	if o.err == nil {
		f := &FieldError{Message: o.message, Field: key, Want: want}
		if v, ok := o.raw(key); ok {
			f.Value = peerjson.Excerpt(v)
		}
		o.err = f
	}
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

// flag is a boolean, false when it is missing.
func (o *object) flag(key string) (f bool) {
	if v, ok := o.raw(key); ok && json.Unmarshal(v, &f) != nil {
		o.reject(key, "true or false")
	}
	return f
}

// integer is a whole number from least to most, 0 when it is missing. Like the
// peer it takes none with a fraction or an exponent: 1000.0 is refused.
func (o *object) integer(key string, least, most int64) int64 {
	v, ok := o.raw(key)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least || n > most {
		o.reject(key, fmt.Sprintf("a whole number from %d to %d", least, most))
		return 0
	}
	return n
}

// count is a whole number of 64 bits, 0 when it is missing.
func (o *object) count(key string) uint64 {
	v, ok := o.raw(key)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		o.reject(key, "a whole number from 0 to 2^64-1")
	}
	return n
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

// ports is a list of at most MaxStreams port numbers.
func (o *object) ports(key string) []uint16 {
	v, ok := o.raw(key)
	if !ok {
		return nil
	}
	list, more, err := peerjson.Elements(v, MaxStreams)
	if err != nil || more {
		o.reject(key, fmt.Sprintf("a list of at most %d ports", MaxStreams))
		return nil
	}
	ports := make([]uint16, 0, len(list))
	for _, n := range list {
		p, err := strconv.ParseUint(string(n), 10, 16)
		if err != nil || p == 0 {
			o.reject(key, "ports from 1 to 65535")
			return nil
		}
		ports = append(ports, uint16(p))
	}
	return ports
}

// object is a nested object, nil when it is missing.
func (o *object) object(key string) *object {
	v, ok := o.raw(key)
	if !ok {
		return nil
	}
	inner, err := parseObject(o.message+": "+key, v)
	if err != nil {
		o.reject(key, "an object")
		return nil
	}
	return inner
}

// adopt takes over the fault of a nested object.
func (o *object) adopt(inner *object) {
	if o.err == nil && inner != nil {
		o.err = inner.err
	}
}
