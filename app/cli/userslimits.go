//go:build !nano

package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/unit"
)

// A setting is the value of a flag that may also be left to the server's default.
type setting[T any] struct {
	value   *T // nil: the default
	changed bool
	unset   string // a further word for the default
	text    string
	kind    string
	parse   func(string) (T, error)
}

// defaultWord leaves a limit to the server.
const defaultWord = "default"

func (s *setting[T]) String() string { return s.text }
func (s *setting[T]) Type() string   { return s.kind }

// Set implements pflag.Value.
func (s *setting[T]) Set(text string) error {
	var value *T
	if text != defaultWord && (s.unset == "" || text != s.unset) {
		v, err := s.parse(text)
		if err != nil {
			return err
		}
		value = &v
	}
	s.value, s.changed, s.text = value, true, text
	return nil
}

// limitFlags are the limits of one user.
type limitFlags struct {
	bytes    map[account.Window]*setting[uint64]
	duration setting[time.Duration]
	tests    setting[int]
	rate     setting[uint64]
}

// windowFlag is the name of a quota's flag, such as daily or weekly-in.
func windowFlag(w account.Window) string {
	switch w.Flow {
	case account.In:
		return w.Period.String() + "-in"
	case account.Out:
		return w.Period.String() + "-out"
	}
	return w.Period.String()
}

// parseSizeOr reads a size, and says which other words there are.
func parseSizeOr(text string) (uint64, error) {
	n, err := unit.ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("%w, or default", err)
	}
	return n, nil
}

// register registers the flags. Of quotas the word unset is the default, too.
func (f *limitFlags) register(fs *pflag.FlagSet, unset string) {
	f.bytes = map[account.Window]*setting[uint64]{}
	ways := map[account.Flow]string{account.Both: "both ways together", account.In: "sent by the user", account.Out: "received by the user"}
	for _, w := range account.Windows() {
		s := &setting[uint64]{kind: "size", unset: unset, parse: parseSizeOr}
		f.bytes[w] = s
		fs.Var(s, windowFlag(w), fmt.Sprintf("%s quota, %s, such as 50G; unlimited, or default for the server's", w.Period, ways[w.Flow]))
	}
	f.duration = setting[time.Duration]{kind: "duration", parse: unit.ParseDuration}
	f.tests = setting[int]{kind: "number", parse: func(text string) (int, error) {
		n, err := unit.ParseCount(text)
		if err == nil && n < 0 {
			err = unit.ErrCount
		}
		return n, err
	}}
	f.rate = setting[uint64]{kind: "rate", parse: unit.ParseRate}
	fs.Var(&f.duration, "max-duration", "longest test; 0 no limit, default for the server's")
	fs.Var(&f.tests, "max-tests", "tests at once; 0 no limit, default for the server's")
	fs.Var(&f.rate, "max-rate", "highest rate each way of one test, bit/s; 0 no limit, default for the server's")
}

// changed reports whether any limit was given.
func (f *limitFlags) changed() bool {
	for _, s := range f.bytes {
		if s.changed {
			return true
		}
	}
	return f.duration.changed || f.tests.changed || f.rate.changed
}

// apply sets the limits that were given, and leaves the others.
func (f *limitFlags) apply(l *account.Limits) {
	if l.Bytes == nil {
		l.Bytes = map[account.Window]uint64{}
	}
	for w, s := range f.bytes {
		switch {
		case !s.changed:
		case s.value == nil:
			delete(l.Bytes, w)
		default:
			l.Bytes[w] = *s.value
		}
	}
	if f.duration.changed {
		l.Duration = f.duration.value
	}
	if f.tests.changed {
		l.Tests = f.tests.value
	}
	if f.rate.changed {
		l.Rate = f.rate.value
	}
}

// limitText is one of a user's limits as a table shows it.
func limitText[T any](v *T, show func(T) string) string {
	if v == nil {
		return defaultWord
	}
	return show(*v)
}

// sizeText shows a quota.
func sizeText(n uint64) string {
	if n == 0 {
		return "unlimited"
	}
	return report.FormatSize(n)
}

// quotaText shows the quotas of a period, those of one direction behind.
func quotaText(l account.Limits, p account.Period) string {
	one := func(f account.Flow) *uint64 {
		if n, ok := l.Bytes[account.Window{Period: p, Flow: f}]; ok {
			return &n
		}
		return nil
	}
	parts := []string{limitText(one(account.Both), sizeText)}
	for _, f := range []account.Flow{account.In, account.Out} {
		if n := one(f); n != nil {
			parts = append(parts, strings.TrimSuffix(f.String(), "bound")+" "+sizeText(*n))
		}
	}
	return strings.Join(parts, ", ")
}
