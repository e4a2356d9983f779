package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostFile bounds a configuration file, in bytes.
const mostFile = 1 << 20

var errBool = errors.New("not true or false")

// wantName is what a name of a section has to look like.
var wantName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// A reading is a file on its way to values: their texts as the file nests them,
// where each stands, and what is wrong.
type reading struct {
	file   string
	values map[string]any
	lines  map[string]int // by path
	faults Faults
}

// readFile reads the file. What it finds wrong is in the reading's faults; the
// values are those that are right.
func readFile(name string) *reading {
	r := &reading{file: name, values: map[string]any{}, lines: map[string]int{}}
	b, err := limited(name)
	if err != nil {
		r.fault(0, "", "%v", err)
		return r
	}
	r.parse(b)
	return r
}

func limited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		if p, ok := errors.AsType[*os.PathError](err); ok {
			err = p.Err
		}
		return nil, fmt.Errorf("%w; sonde config init writes one", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostFile+1))
	if err == nil && len(b) > mostFile {
		err = fmt.Errorf("longer than %d bytes; that is no configuration of sonde", mostFile)
	}
	return b, err
}

func (r *reading) fault(line int, key, format string, args ...any) {
	r.faults = append(r.faults, &Fault{File: r.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

// syntaxLine is how package yaml begins what it says of a file.
var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (r *reading) parse(b []byte) {
	decoder := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF): // empty, which is all defaults
		return
	case err != nil:
		m := syntaxLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
		if m == nil {
			r.fault(0, "", "not YAML: %v", err)
			return
		}
		line, _ := strconv.Atoi(m[1]) // 0 where it is not told
		r.fault(line, "", "not YAML: %s; keys are followed by a colon and a space, and indented by spaces", m[2])
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.fault(doc.Line, "", "more than one document; leave out the lines of --- and what follows")
	}
	if root := doc.Content[0]; !null(root) {
		if v := r.section(root, "", reflect.TypeFor[Config]()); v != nil {
			r.values = v
		}
	}
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// section reads the keys of a struct; nil if it is none.
func (r *reading) section(n *yaml.Node, path string, t reflect.Type) map[string]any {
	if null(n) { // "btest:" alone is that server with its defaults
		return map[string]any{}
	}
	if n.Kind != yaml.MappingNode {
		r.fault(n.Line, path, "want keys, such as %s: ...; %s", names(t)[0], suggestionless(names(t)))
		return nil
	}
	values := map[string]any{}
	r.each(n, path, func(key *yaml.Node, at string, value *yaml.Node) {
		f, ok := field(t, key.Value)
		if !ok {
			r.fault(key.Line, at, "unknown key %s", suggestion(key.Value, names(t)))
			return
		}
		if v := r.value(value, at, f); v != nil {
			values[key.Value] = v
		}
	})
	return values
}

func suggestionless(known []string) string { return "there are " + strings.Join(known, ", ") }

// each calls do for the keys of a mapping that are there once.
func (r *reading) each(n *yaml.Node, path string, do func(key *yaml.Node, at string, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			r.fault(key.Line, path, "a key that is not a word; write KEY: VALUE")
			continue
		case first[key.Value] != 0:
			r.fault(key.Line, at, "the key is there already, on line %d; leave one out", first[key.Value])
			continue
		case value.Kind == yaml.AliasNode || key.Value == "<<":
			r.fault(key.Line, at, "aliases are not followed; write the value itself")
			continue
		}
		first[key.Value], r.lines[at] = key.Line, key.Line
		do(key, at, value)
	}
}

// value reads what a field has; nil if it is wrong.
func (r *reading) value(n *yaml.Node, path string, f reflect.StructField) any {
	switch sub, how := section(f.Type); {
	case sub != nil && how == reflect.Struct:
		if v := r.section(n, path, sub); v != nil {
			return v
		}
		return nil
	case sub != nil && how == reflect.Slice:
		return r.list(n, path, sub)
	case sub != nil:
		return r.named(n, path, func(n *yaml.Node, at string) any {
			if v := r.section(n, at, sub); v != nil {
				return v
			}
			return nil
		})
	case f.Type.Kind() == reflect.Map:
		return r.named(n, path, func(n *yaml.Node, at string) any { return r.text(n, at, f.Type.Elem()) })
	case f.Type.Kind() == reflect.Slice:
		return r.texts(n, path, f.Type.Elem())
	}
	return r.text(n, path, f.Type)
}

// list reads a list of sections. The path of each is its number in brackets.
func (r *reading) list(n *yaml.Node, path string, sub reflect.Type) any {
	if null(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fault(n.Line, path, "want a list; begin each entry with a dash: - %s: ...", names(sub)[0])
		return nil
	}
	var all []any
	for i, one := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.lines[at] = one.Line
		if v := r.section(one, at, sub); v != nil {
			all = append(all, v)
		}
	}
	return all
}

// named reads values by names that the file gives.
func (r *reading) named(n *yaml.Node, path string, read func(*yaml.Node, string) any) any {
	if null(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.fault(n.Line, path, "want names with values; write NAME: ...")
		return nil
	}
	all := map[string]any{}
	r.each(n, path, func(key *yaml.Node, at string, value *yaml.Node) {
		if !wantName.MatchString(key.Value) {
			r.fault(key.Line, at, "not a name; give up to 63 letters, digits, - and _")
			return
		}
		if v := read(value, at); v != nil {
			all[key.Value] = v
		}
	})
	return all
}

// texts reads a list of values; a single value is a list of one.
func (r *reading) texts(n *yaml.Node, path string, t reflect.Type) any {
	if n.Kind == yaml.ScalarNode {
		if v := r.text(n, path, t); v != nil {
			return []any{v}
		}
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fault(n.Line, path, "want a list; write [FIRST, SECOND]")
		return nil
	}
	all := []any{}
	for _, one := range n.Content {
		if v := r.text(one, path, t); v != nil {
			all = append(all, v)
		}
	}
	return all
}

// text reads one value.
func (r *reading) text(n *yaml.Node, path string, t reflect.Type) any {
	switch {
	case null(n):
		r.fault(n.Line, path, "the value is missing; give one, or leave the key out")
		return nil
	case n.Kind != yaml.ScalarNode:
		r.fault(n.Line, path, "want one value (%s), not a list or keys", kind(t))
		return nil
	}
	if err := checkText(t, n.Value); err != nil {
		r.fault(n.Line, path, "%s: %v", shown(n.Value), err)
		return nil
	}
	return n.Value
}

// shown is a value as messages have it.
func shown(text string) string {
	if text == "" || strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}
