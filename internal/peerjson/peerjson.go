// Package peerjson takes JSON of a peer apart within bounds: nothing that a peer
// sends makes it go deep, or hold more than was asked for.
package peerjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of one object, beside the size of the message that it came in.
type Bounds struct {
	Depth   int             // of nesting, 1 for an object of plain values
	Members int             // of the object itself
	Keep    map[string]bool // the keys whose values are kept; nil is all
}

// Members splits b, which must be one JSON object and nothing more, and leaves
// its values undecoded.
func Members(b []byte, bounds Bounds) (map[string]json.RawMessage, error) {
	if err := checkDepth(b, bounds.Depth); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil {
		return nil, unexpectedEOF(err)
	} else if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for n := 0; dec.More(); n++ {
		if n == bounds.Members {
			return nil, fmt.Errorf("more than %d keys", bounds.Members)
		}
		key, err := dec.Token()
		if err != nil {
			return nil, unexpectedEOF(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, unexpectedEOF(err)
		}
		if name := key.(string); bounds.Keep == nil || bounds.Keep[name] { // a Token before a value is a string
			members[name] = value
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, unexpectedEOF(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkDepth refuses deep nesting before a decoder follows it.
func checkDepth(b []byte, most int) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return fmt.Errorf("nested more than %d deep", most)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Elements splits a list, up to its first most elements, and says whether there
// are more: a hostile list is never held as a whole.
func Elements(list []byte, most int) (elements []json.RawMessage, more bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(list))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, false, errors.New("not a list")
	}
	for dec.More() {
		if len(elements) == most {
			return elements, true, nil
		}
		var e json.RawMessage
		if err := dec.Decode(&e); err != nil {
			return nil, false, err
		}
		elements = append(elements, e)
	}
	return elements, false, nil
}

// Excerpt makes a value fit for an error message: short, and of printable text.
func Excerpt(value []byte) string {
	const most = 40
	s := strings.ToValidUTF8(string(value[:min(len(value), most)]), "?")
	if len(value) > most {
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
