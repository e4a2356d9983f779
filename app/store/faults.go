package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/sonde-net/sonde/result"
)

// A Fault is a failure of the store in words that a person can act upon.
type Fault struct {
	Place string // of the store
	Doing string
	Text  string
	Hint  string
	Err   error
	again bool // the same may go well if it is done once more
}

func (f *Fault) Error() string {
	s := fmt.Sprintf("store %s: %s", f.Place, f.Doing)
	if f.Text != "" {
		s += ": " + f.Text
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Code returns the stable word: the store is a resource of this machine.
func (f *Fault) Code() string { return result.CodeLocal }

// ExitCode returns the one of that word.
func (f *Fault) ExitCode() int { return (&result.Error{Word: result.CodeLocal}).ExitCode() }

// Advice says what to do.
func (f *Fault) Advice() string { return f.Hint }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// explain says what was being done, where, and what is wrong. Nil stays nil, and
// who gave up waiting is told so.
func (s *Store) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if f := new(Fault); errors.As(err, &f) {
		return err
	}
	f := s.engine.fault(err)
	if f == nil || errors.Is(err, context.Canceled) {
		f = &Fault{}
	}
	f.Place, f.Doing, f.Err = s.place, doing, err
	return f
}

// errNewer is a database that a later version has written.
type errNewer struct{ has, knows int64 }

func (e errNewer) Error() string {
	return fmt.Sprintf("its schema is version %d, this program knows up to %d", e.has, e.knows)
}
