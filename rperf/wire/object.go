package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
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
	if err := checkDepth(b); err != nil {
		return nil, fmt.Errorf("rperf: %s: %w", message, err)
	}
	o := &object{message: message, members: map[string]json.RawMessage{}}
	if err := o.split(json.NewDecoder(bytes.NewReader(b))); err != nil {
		return nil, fmt.Errorf("rperf: %s: %w", message, err)
	}
	return o, nil
}

func (o *object) split(dec *json.Decoder) error {
	if t, err := dec.Token(); err != nil {
		return unexpectedEOF(err)
	} else if t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	for n := 0; dec.More(); n++ {
		if n == maxMembers {
			return fmt.Errorf("more than %d keys", maxMembers)
		}
		key, err := dec.Token()
		if err != nil {
			return unexpectedEOF(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return unexpectedEOF(err)
		}
		o.members[key.(string)] = value // a Token before a value is a string
	}
	if _, err := dec.Token(); err != nil {
		return unexpectedEOF(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkDepth refuses deep nesting before a decoder follows it.
func checkDepth(b []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested more than %d deep", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
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
			f.Value = excerpt(v)
		}
		o.err = f
	}
}

// excerpt makes a value of the peer fit for an error message.
func excerpt(v json.RawMessage) string {
	const most = 40
	s := strings.ToValidUTF8(string(v[:min(len(v), most)]), "?")
	if len(v) > most {
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
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
	list, more, err := elements(v, MaxStreams)
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

// elements splits a list, up to its first most elements, and says whether
// there are more: a hostile list is never held as a whole.
func elements(v json.RawMessage, most int) (list []json.RawMessage, more bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(v))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, false, errors.New("not a list")
	}
	for dec.More() {
		if len(list) == most {
			return list, true, nil
		}
		var e json.RawMessage
		if err := dec.Decode(&e); err != nil {
			return nil, false, err
		}
		list = append(list, e)
	}
	return list, false, nil
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
