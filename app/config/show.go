package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Show writes the configuration as it holds, every value of a line each; with
// origins it says where each came from.
func (l *Loaded) Show(w io.Writer, origins bool) error {
	var root yaml.Node
	l.node(&root, l.values.Raw(), "", origins)
	if len(root.Content) == 0 {
		return nil
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&root); err != nil {
		return err
	}
	return e.Close()
}

// node makes n of a value, in the order of the file format.
func (l *Loaded) node(n *yaml.Node, v any, path string, origins bool) {
	switch v := v.(type) {
	case map[string]any:
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		for _, key := range ordered(v) {
			at := strings.Trim(path+"."+key, ".")
			var value yaml.Node
			l.node(&value, v[key], at, origins)
			if value.Kind == yaml.MappingNode && len(value.Content) == 0 && path == "" {
				continue
			}
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &value)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
	case []any:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		for i, one := range v {
			value := &yaml.Node{}
			l.node(value, one, fmt.Sprintf("%s[%d]", path, i), origins)
			n.Content = append(n.Content, value)
			if value.Kind == yaml.ScalarNode {
				value.LineComment = ""
				n.Style = yaml.FlowStyle
			}
		}
		if origins && n.Style == yaml.FlowStyle {
			n.LineComment = l.origin(path)
		}
	default:
		n.SetString(fmt.Sprint(v))
		if text := fmt.Sprint(v); plainScalar(text) {
			n.Tag, n.Style = "", 0
		}
		if origins {
			n.LineComment = l.origin(path)
		}
	}
}

// plainScalar reports whether text is written without quotes: true, false and
// numbers, which are texts here.
func plainScalar(text string) bool {
	return text == "true" || text == "false" || text != "" && strings.Trim(text, "0123456789") == ""
}

func (l *Loaded) origin(path string) string {
	if o, ok := l.origins[path]; ok {
		return o.String()
	}
	return fromDefault
}

// ordered are the keys of m as the manual has them; those it has not by name.
func ordered(m map[string]any) []string {
	rank := map[string]int{}
	for i, k := range Keys() {
		name := k.Path[strings.LastIndex(k.Path, ".")+1:]
		if _, ok := rank[name]; !ok {
			rank[name] = i
		}
	}
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if d := rank[a] - rank[b]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}
