package config

import (
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// Options say what to load.
type Options struct {
	File    string            // of --config; empty: the first one of the usual places that is there
	Environ []string          // NAME=VALUE
	Flags   map[string]string // values by path that override all others
}

// A Loaded is a configuration with where it came from.
type Loaded struct {
	Config
	File string // empty: none was there

	values  *koanf.Koanf
	origins map[string]Origin
}

// An Origin is where a value came from.
type Origin struct {
	From string // "default", a file, an environment variable, or a flag
	Line int    // of the file
}

func (o Origin) String() string {
	if o.Line > 0 {
		return fmt.Sprintf("%s:%d", o.From, o.Line)
	}
	return o.From
}

const fromDefault = "default"

// Load reads the configuration. With an error, which is of Faults, the Loaded is
// what was right, for further checks.
func Load(o Options) (*Loaded, error) {
	l := &Loaded{values: koanf.New("."), origins: map[string]Origin{}}
	var faults Faults
	name, err := find(o)
	if err != nil {
		return l, Faults{err}
	}
	var file *reading
	if name != "" {
		l.File, file = name, readFile(name)
		faults = append(faults, file.faults...)
		l.merge(file.values)
		for path, line := range file.lines {
			l.origins[path] = Origin{From: name, Line: line}
		}
	}
	faults = append(faults, l.environment(o.Environ)...)
	faults = append(faults, l.flags(o.Flags)...)
	l.defaults()
	if err := l.values.UnmarshalWithConf("", &l.Config, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName: "config", Result: &l.Config, WeaklyTypedInput: true, DecodeHook: mapstructure.TextUnmarshallerHookFunc(),
	}}); err != nil {
		faults = append(faults, &Fault{File: name, Text: err.Error()})
	}
	faults = append(faults, l.validate()...)
	return l, faults.err()
}

// merge puts values over those that are there.
func (l *Loaded) merge(values map[string]any) {
	_ = l.values.Load(confmap.Provider(values, ""), nil) // a map cannot fail
}

// environment puts the values of variables over those of the file.
func (l *Loaded) environment(environ []string) Faults {
	paths := map[string]Key{}
	for _, k := range Keys() {
		if k.Kind != "section" && !strings.ContainsAny(k.Path, "[*") {
			paths[variable(k.Path)] = k
		}
	}
	var faults Faults
	p := env.Provider(".", env.Opt{
		Prefix: "SONDE_", EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			k, ok := paths[name]
			if !ok {
				return "", nil
			}
			v, err := parsed(k.Path, text)
			if err != nil {
				faults = append(faults, &Fault{File: name, Key: k.Path, Text: err.Error()})
				return "", nil
			}
			l.origins[k.Path] = Origin{From: name}
			return k.Path, v
		},
	})
	if err := l.values.Load(p, nil); err != nil {
		faults = append(faults, &Fault{Text: err.Error()})
	}
	return faults
}

// flags puts the values of flags over all others.
func (l *Loaded) flags(flags map[string]string) Faults {
	var faults Faults
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		from := "--" + strings.NewReplacer(".", "-", "_", "-").Replace(path)
		v, err := parsed(path, flags[path])
		if err != nil {
			faults = append(faults, &Fault{File: from, Text: err.Error()})
			continue
		}
		l.origins[path] = Origin{From: from}
		_ = l.values.Load(confmap.Provider(map[string]any{path: v}, "."), nil) // a map cannot fail
	}
	return faults
}

// parsed is the value of a key that stands in one line: lists have commas.
func parsed(path, text string) (any, error) {
	t, ok := typeOf(reflect.TypeFor[Config](), path)
	switch sub, _ := section(t); {
	case !ok || sub != nil || t.Kind() == reflect.Map:
		return nil, fmt.Errorf("%s: no key that takes one value", path)
	}
	if t.Kind() != reflect.Slice {
		if err := checkText(t, text); err != nil {
			return nil, fmt.Errorf("%s: %w", shown(text), err)
		}
		return text, nil
	}
	all := []any{}
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if err := checkText(t.Elem(), one); err != nil {
			return nil, fmt.Errorf("%s: %w", shown(one), err)
		}
		all = append(all, one)
	}
	return all, nil
}

// typeOf is the type of a key below t.
func typeOf(t reflect.Type, path string) (reflect.Type, bool) {
	key, rest, more := strings.Cut(path, ".")
	f, ok := field(t, key)
	if !ok || !more {
		return f.Type, ok
	}
	sub, how := section(f.Type)
	if sub == nil || how != reflect.Struct {
		return nil, false
	}
	return typeOf(sub, rest)
}

// defaults puts under all values those of the sections that are there.
func (l *Loaded) defaults() {
	under := defaultsOf(reflect.TypeFor[Config](), "", l.values.Raw())
	for path := range koanfKeys(under, "") {
		if _, ok := l.origins[path]; !ok {
			l.origins[path] = Origin{From: fromDefault}
		}
	}
	all := koanf.New(".")
	_ = all.Load(confmap.Provider(under, ""), nil) // maps cannot fail
	_ = all.Load(confmap.Provider(filled(reflect.TypeFor[Config](), l.values.Raw()), ""), nil)
	l.values = all
}

// defaultsOf are the defaults of t's values, and of the sections that are there
// or always are.
func defaultsOf(t reflect.Type, path string, there map[string]any) map[string]any {
	all := map[string]any{}
	for f := range fields(t) {
		key := f.Tag.Get("config")
		sub, how := section(f.Type)
		value, ok := there[key]
		switch {
		case sub == nil:
			if d, ok := f.Tag.Lookup("default"); ok {
				all[key] = d
				if f.Type.Kind() == reflect.Slice {
					all[key] = []any{d}
				}
			}
		case how == reflect.Struct && (ok || f.Type.Kind() != reflect.Pointer):
			m, _ := value.(map[string]any)
			all[key] = defaultsOf(sub, path+key+".", m)
		}
	}
	return all
}

// filled is there with the defaults of the sections in lists and by names, which
// merge with nothing.
func filled(t reflect.Type, there map[string]any) map[string]any {
	for f := range fields(t) {
		key := f.Tag.Get("config")
		sub, how := section(f.Type)
		switch {
		case sub == nil:
		case how == reflect.Slice:
			list, _ := there[key].([]any)
			for i, one := range list {
				if m, ok := one.(map[string]any); ok {
					list[i] = over(defaultsOf(sub, "", nil), m)
				}
			}
		case how == reflect.Map:
			named, _ := there[key].(map[string]any)
			for name, one := range named {
				if m, ok := one.(map[string]any); ok {
					named[name] = over(defaultsOf(sub, "", nil), m)
				}
			}
		}
	}
	return there
}

func over(under, values map[string]any) map[string]any {
	maps.Copy(under, values)
	return under
}

// koanfKeys yields the paths of values in nested maps.
func koanfKeys(m map[string]any, prefix string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if sub, ok := m[key].(map[string]any); ok {
				for path := range koanfKeys(sub, prefix+key+".") {
					if !yield(path) {
						return
					}
				}
			} else if !yield(prefix + key) {
				return
			}
		}
	}
}

// Given reports whether a key has a value that is not its default's.
func (l *Loaded) Given(path string) bool {
	o, ok := l.origins[path]
	return ok && o.From != fromDefault
}

// Values yields the keys of a section that have values which are not their
// defaults, with the texts of these, of which lists have several or none.
func (l *Loaded) Values(section string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for _, key := range l.values.MapKeys(section) {
			path := section + "." + key
			if !l.Given(path) {
				continue
			}
			var texts []string
			switch v := l.values.Get(path).(type) {
			case []any:
				for _, one := range v {
					texts = append(texts, fmt.Sprint(one))
				}
			case map[string]any: // a section of its own
				continue
			default:
				texts = []string{fmt.Sprint(v)}
			}
			if !yield(key, texts) {
				return
			}
		}
	}
}

// Fault is one with the value of a key, or with the section around it.
func (l *Loaded) Fault(path, format string, args ...any) *Fault {
	f := &Fault{Key: path, Text: fmt.Sprintf(format, args...)}
	for at := path; at != ""; {
		if o, ok := l.origins[at]; ok && o.From != fromDefault {
			f.File, f.Line = o.From, o.Line
			return f
		}
		cut := strings.LastIndexAny(at, ".[")
		at = at[:max(cut, 0)]
	}
	f.File = l.File
	return f
}

// find is the file to read: the one that was asked for, or the first one of the
// usual places that is there; empty for none.
func find(o Options) (string, *Fault) {
	getenv := func(name string) string {
		for _, v := range o.Environ {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
	if o.File != "" {
		return o.File, nil
	}
	if name := getenv("SONDE_CONFIG"); name != "" {
		return name, nil
	}
	for _, name := range Places(getenv) {
		switch _, err := os.Stat(name); {
		case err == nil:
			return name, nil
		case !os.IsNotExist(err):
			return "", &Fault{File: name, Text: err.Error()}
		}
	}
	return "", nil
}

// Places are where the file is looked for, where nothing names one.
func Places(getenv func(string) string) []string {
	var all []string
	if home := getenv("XDG_CONFIG_HOME"); home != "" {
		all = append(all, filepath.Join(home, "sonde", "sonde.yaml"))
	} else if home := getenv("HOME"); home != "" {
		all = append(all, filepath.Join(home, ".config", "sonde", "sonde.yaml"))
	}
	if runtime.GOOS == "windows" {
		return append(all, filepath.Join(getenv("ProgramData"), "sonde", "sonde.yaml"))
	}
	return append(all, "/etc/sonde/sonde.yaml")
}
