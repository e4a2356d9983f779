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
	"unicode"

	"golang.org/x/term"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// An env is what a command has around it.
type env struct {
	in          io.Reader
	out, err    io.Writer
	getenv      func(string) string
	environ     func() []string
	program     string        // the name the binary was called by
	terminal    bool          // out is a terminal
	errTerminal bool          // err is one
	sink        result.Sink   // takes the results, in the place of all outputs; nil: the flags say where they go
	check       bool          // look at the flags and do no more
	budget      *admit.Budget // of a throughput test; nil never ends
	reloads     func()        // SIGHUP is not to end the command from now on; may be nil
	told        bool          // the results say, or will say, how the command ended
}

// Main runs the command line args, the program's name first, and returns the
// exit status.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	e := &env{in: in, out: out, err: errs, getenv: os.Getenv, environ: os.Environ, program: programName(args), terminal: isTerminal(out), errTerminal: isTerminal(errs)}
	root, borrowed := rootFor(e)
	if len(args) > 0 {
		args = args[1:]
	}
	args = joinOptional(args, "--listen6")
	root.SetArgs(append([]string{}, args...))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	root.SilenceUsage, root.SilenceErrors = true, true
	ctx, reloads, release := interruptible(context.Background(), errs)
	defer release()
	e.reloads = reloads
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if sink := askedJSON(args, out); sink != nil && !e.told {
		protocol, role := aim(cmd.CommandPath())
		sink.Put(failure(protocol, role, err))
	}
	printError(errs, e.program, err)
	if borrowed {
		return borrowedStatus(result.ExitCode(err))
	}
	return result.ExitCode(err)
}

// joinOptional joins the flag, whose value is optional, with the value behind
// it, if there is one: package flag takes an optional value only after "=".
func joinOptional(args []string, flag string) []string {
	var joined []string
	for n := 0; n < len(args); n++ {
		arg := args[n]
		if arg == flag && n+1 < len(args) && !strings.HasPrefix(args[n+1], "-") {
			n++
			arg += "=" + args[n]
		}
		joined = append(joined, arg)
	}
	return joined
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

// borrowedStatus is the status under the name of another program, which knew
// fewer of them.
func borrowedStatus(status int) int {
	switch status {
	case 0, 2, 130, 143:
		return status
	}
	return 1
}

// printError prints what failed, a line for each fault, and indented what to do
// about it.
func printError(w io.Writer, program string, err error) {
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		fmt.Fprintf(w, "%s: %s\n", program, plain(line))
	}
	if hint := result.HintOf(err); hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", plain(hint))
	}
}

// plain is text without what a terminal would obey instead of show: names and
// messages may come from afar.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// cause is what the system says was wrong, without the operation and the name
// that our own message has already.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
