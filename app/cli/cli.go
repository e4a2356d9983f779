// Package cli is the command line of sonde: flags become the config of a client
// or a server, that runs, and its results go to a report. Nothing here knows
// how a protocol works or how a result is printed.
//
// It is not meant for import by other programs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sonde-net/sonde/result"
)

// An env is what a command has around it.
type env struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	program  string // the name the binary was called by
	terminal bool   // out is a terminal
}

// Main runs the command line args, the program's name first, and returns the
// exit status.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	e := &env{in: in, out: out, err: errs, getenv: os.Getenv, program: programName(args), terminal: isTerminal(out)}
	root, borrowed := rootFor(e)
	if len(args) > 1 {
		root.SetArgs(args[1:])
	} else {
		root.SetArgs([]string{})
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	root.SilenceUsage, root.SilenceErrors = true, true
	ctx, release := interruptible(context.Background())
	defer release()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	printError(errs, e.program, err)
	status := exitCode(err)
	if borrowed {
		status = borrowedStatus(status)
	}
	return status
}

// programName is the name the binary was called by: without folder, without
// .exe, lower case, so that BTEST.EXE is btest.
func programName(args []string) string {
	if len(args) == 0 {
		return "sonde"
	}
	name := strings.ToLower(filepath.Base(strings.ReplaceAll(args[0], `\`, "/")))
	return strings.TrimSuffix(name, ".exe")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

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

// misuse makes a usageError.
func misuse(hint, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: hint}
}

// exitCode is the status for err: cobra's own errors are wrong usage.
func exitCode(err error) int {
	if _, ok := errors.AsType[result.Coder](err); ok {
		return result.ExitCode(err)
	}
	return 1
}

// borrowedStatus is the status under the name of another program, which knew
// fewer of them.
func borrowedStatus(status int) int {
	switch status {
	case 0, 2, 130, 143:
		return status
	}
	return 1
}

// printError prints what failed and, indented, what to do about it.
func printError(w io.Writer, program string, err error) {
	if quiet, ok := errors.AsType[*reported](err); ok {
		err = quiet.err
	}
	for n, line := range strings.Split(strings.TrimSpace(err.Error()), "\n") {
		if n == 0 {
			line = program + ": " + line
		} else {
			line = "  " + line
		}
		fmt.Fprintln(w, line)
	}
	if hint := result.HintOf(err); hint != "" {
		fmt.Fprintln(w, "  hint: "+hint)
	}
}

// reported is an error that a result has told already; only the status counts.
type reported struct{ err error }

func (r *reported) Error() string { return r.err.Error() }
func (r *reported) Unwrap() error { return r.err }

// noArgs, oneArg: what a command takes besides flags, with errors that say so.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse(fmt.Sprintf("see %s --help", cmd.CommandPath()), "%s: unexpected argument %q", cmd.CommandPath(), args[0])
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return misuse(fmt.Sprintf("%s %s", cmd.CommandPath(), what), "%s: %s is missing", cmd.CommandPath(), what)
		case len(args) > 1:
			return misuse(fmt.Sprintf("one %s at a time", what), "%s: unexpected argument %q", cmd.CommandPath(), args[1])
		}
		return nil
	}
}
