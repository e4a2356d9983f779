package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Fault is one thing that is wrong with the configuration.
type Fault struct {
	File string // or the environment variable, or the flag; empty: no one place
	Line int    // 0 where there are none
	Key  string // its whole path, such as server.btest.listen; may be empty
	Text string // what is wrong and the way out
}

func (f *Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
		}
		b.WriteString(": ")
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	return b.String() + f.Text
}

// Faults are all that is wrong, a line for each, in the order of the file.
type Faults []*Fault

func (f Faults) Error() string {
	var lines []string
	for _, one := range f {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// err is nil for none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return f
}

// Join is all faults of the errors; nil for none.
func Join(errs ...error) error {
	var all Faults
	for _, err := range errs {
		if err == nil {
			continue
		}
		if f, ok := errors.AsType[Faults](err); ok {
			all = append(all, f...)
		} else if f, ok := errors.AsType[*Fault](err); ok {
			all = append(all, f)
		} else {
			all = append(all, &Fault{Text: err.Error()})
		}
	}
	return all.err()
}
