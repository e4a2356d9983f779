package peerjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	bounds := Bounds{Depth: 3, Members: 3, Keep: map[string]bool{"a": true, "b": true}}
	for _, tt := range []struct {
		in   string
		want string // the members kept, or the error
	}{
		{`{}`, "map[]"},
		{`{"a":1,"b":"x","c":2}`, `map[a:1 b:"x"]`},
		{`{"a":[[1]]}`, "map[a:[[1]]]"},
		{`{"a":[[[1]]]}`, "nested more than 3 deep"},
		{`{"c":[[[1]]]}`, "nested more than 3 deep"},
		{`{"a":"[[[[\"[["}`, `map[a:"[[[[\"[["]`},
		{`{"a":1,"b":2,"c":3,"d":4}`, "more than 3 keys"},
		{`{"a":1} `, "map[a:1]"},
		{`{"a":1}{}`, "something follows the JSON object"},
		{`[1]`, "not a JSON object"},
		{`{"a":1`, "unexpected EOF"},
		{``, "unexpected EOF"},
	} {
		members, err := Members([]byte(tt.in), bounds)
		got := fmt.Sprintf("%s", members)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
	}
	if all, err := Members([]byte(`{"a":1,"z":2}`), Bounds{Depth: 1, Members: 2}); err != nil || len(all) != 2 {
		t.Errorf("without Keep: %s, %v", all, err)
	}
}

func TestElements(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string
	}{
		{`[1,2]`, "[1 2] false <nil>"},
		{`[1,2,3]`, "[1 2] true <nil>"},
		{`[]`, "[] false <nil>"},
		{`{}`, "[] false not a list"},
		{`[1,`, "[] false EOF"},
	} {
		list, more, err := Elements([]byte(tt.in), 2)
		if got := fmt.Sprintf("%s %v %v", list, more, err); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzMembers: whatever comes, what is kept is valid JSON within the bounds.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{"c":2}]}`, `{"a":"\u0000"}`, strings.Repeat(`{"a":`, 5)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		members, err := Members(b, Bounds{Depth: 4, Members: 8})
		if err != nil {
			return
		}
		if !json.Valid(b) || len(members) > 8 {
			t.Fatalf("%d members of %q", len(members), b)
		}
		for key, value := range members {
			if !json.Valid(value) {
				t.Errorf("%q is %q", key, value)
			}
			if s := Excerpt(value); len(s) > 130 || strings.ContainsAny(s, "\x00\n\x7f") {
				t.Errorf("excerpt %q", s)
			}
			Elements(value, 3)
		}
	})
}
