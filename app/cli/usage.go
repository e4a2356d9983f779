package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/unit"
	"github.com/sonde-net/sonde/result"
)

// A usageError is wrong usage: exit status 2, and nothing was sent.
type usageError struct {
	err  error
	hint string
}

func (u *usageError) Error() string  { return u.err.Error() }
func (u *usageError) Unwrap() error  { return u.err }
func (u *usageError) Code() string   { return result.CodeUsage }
func (u *usageError) ExitCode() int  { return 2 }
func (u *usageError) Advice() string { return u.hint }

// misuse makes a usageError. Its line names the flag, the value and the way
// out; a hint is only for what has no room there.
func misuse(hint, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: hint}
}

// flagError makes every fault in flags wrong usage, in one line.
func flagError(cmd *cobra.Command, err error) error {
	if value, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return misuse("", "%s: %w", flagValue(value.GetFlag().Name, value.GetValue()), valueFault(value))
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		f := missing.GetFlag()
		return misuse("", "--%s: its value is missing; %s", f.Name, f.Usage)
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return unknownFlag(cmd, unknown)
	}
	return misuse("", "%w; see %s --help", err, cmd.CommandPath())
}

// flagValue is a flag with its value as the user would type it.
func flagValue(name, value string) string {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) {
		value = strconv.Quote(value)
	}
	return "--" + name + " " + value
}

// valueFault is what is wrong with a value, in our words where package flag
// has those of strconv.
func valueFault(value *pflag.InvalidValueError) error {
	cause := value.Unwrap()
	if _, ok := errors.AsType[*strconv.NumError](cause); !ok {
		return cause
	}
	if value.GetFlag().Value.Type() == "bool" {
		return errors.New("not a switch's value; give true or false, or the flag alone")
	}
	return unit.ErrCount
}

// unknownFlag names a flag that there is not, and the one that is meant.
func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	name := "--" + unknown.GetSpecifiedName()
	if group := unknown.GetSpecifiedShortnames(); group != "" {
		name = "-" + unknown.GetSpecifiedName()
		if len(group) > 1 {
			name += " in -" + group
		}
		return misuse("", "unknown flag %s; see %s --help", name, cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
		return misuse("", "unknown flag %s; did you mean --%s?", name, near)
	}
	return misuse("", "unknown flag %s; see %s --help", name, cmd.CommandPath())
}

// unknownCommand names a command that there is not, and the one that is meant.
func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := nearest(word, names); near != "" {
		return misuse("", "%s: unknown command %q; did you mean %q?", cmd.CommandPath(), word, near)
	}
	return misuse("", "%s: unknown command %q; there are %s", cmd.CommandPath(), word, strings.Join(names, ", "))
}

// nearest returns the name that word begins or nearly is, or "".
func nearest(word string, names []string) string {
	best, least := "", 1+min(2, len(word)/2)
	for _, name := range names {
		switch d := distance(word, name); {
		case d < least:
			best, least = name, d
		case best == "" && len(word) > 1 && strings.HasPrefix(name, word):
			best = name
		}
	}
	return best
}

// distance is how many letters have to be changed, added or left out to make b
// of a (V. I. Levenshtein, 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}

// noArgs, oneArg: what a command takes besides flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse("", "%s: unexpected argument %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return misuse("", "%s: %s is missing; give %s %s", cmd.CommandPath(), what, cmd.CommandPath(), what)
		case len(args) > 1:
			return misuse("", "%s: unexpected argument %q; give one %s", cmd.CommandPath(), args[1], what)
		}
		return nil
	}
}
