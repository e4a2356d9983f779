package config

import (
	"encoding"
	"reflect"
	"strings"
)

// A Key is one that the file can have.
type Key struct {
	Path    string // such as server.btest.listen; probes[].name in a list, modules.*.protocol by a name
	Kind    string // such as "duration", "list"; "section" for one that has keys of its own
	Default string // empty: none
	Help    string
}

// Keys are all that the file can have, in its order.
func Keys() []Key {
	var all []Key
	addKeys(&all, "", reflect.TypeFor[Config]())
	return all
}

func addKeys(all *[]Key, prefix string, t reflect.Type) {
	for f := range fields(t) {
		path := prefix + f.Tag.Get("config")
		k := Key{Path: path, Kind: kind(f.Type), Default: f.Tag.Get("default"), Help: f.Tag.Get("help")}
		*all = append(*all, k)
		switch sub, how := section(f.Type); {
		case sub == nil:
		case how == reflect.Slice:
			addKeys(all, path+"[].", sub)
		case how == reflect.Map:
			addKeys(all, path+".*.", sub)
		default:
			addKeys(all, path+".", sub)
		}
	}
}

// fields are those of t that are keys.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("config") != "" && !yield(f) {
				return
			}
		}
	}
}

// names are the keys of t.
func names(t reflect.Type) []string {
	var all []string
	for f := range fields(t) {
		all = append(all, f.Tag.Get("config"))
	}
	return all
}

// field is the one with that key.
func field(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range fields(t) {
		if f.Tag.Get("config") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// section is the struct that t has keys of, and whether as itself, in a list
// (Slice) or by names (Map); nil for a value.
func section(t reflect.Type) (reflect.Type, reflect.Kind) {
	how := reflect.Struct
	switch t.Kind() {
	case reflect.Pointer:
		t = t.Elem()
	case reflect.Slice, reflect.Map:
		how, t = t.Kind(), t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, 0
	}
	return t, how
}

// kind is what a value is called in messages and in the manual.
func kind(t reflect.Type) string {
	if sub, how := section(t); sub != nil {
		switch how {
		case reflect.Slice:
			return "list of sections"
		case reflect.Map:
			return "sections by name"
		}
		return "section"
	}
	if v, ok := reflect.New(t).Interface().(interface{ Type() string }); ok {
		return v.Type()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "names with values"
	}
	return "text"
}

// checkText finds what is wrong with the text of a value of type t.
func checkText(t reflect.Type, text string) error {
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if t.Kind() == reflect.Bool && text != "true" && text != "false" {
		return errBool
	}
	return nil
}

// variable is the environment's name for a key.
func variable(path string) string {
	return "SONDE_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}
