package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/sonde-net/sonde/result"
)

// passwordVariable is the environment's place for a password.
const passwordVariable = "SONDE_PASSWORD"

// loginFlags are a name and the ways to give its password.
type loginFlags struct {
	name     string
	password string
	file     string
	variable string
	set      *pflag.FlagSet
}

func (f *loginFlags) register(fs *pflag.FlagSet) {
	f.registerAs(fs, "user", "password", "authuser", "authpass")
	fs.StringVar(&f.variable, "password-env", "", "environment `VARIABLE` that holds the password (default "+passwordVariable+")")
}

// registerOld registers the flags by the names that btest-rs has.
func (f *loginFlags) registerOld(fs *pflag.FlagSet) {
	f.registerAs(fs, "authuser", "authpass", "user", "password")
}

// registerAs registers the flags by the first two names; the others mean the
// same and are not shown.
func (f *loginFlags) registerAs(fs *pflag.FlagSet, name, password, hiddenName, hiddenPassword string) {
	f.set = fs
	fs.StringVarP(&f.name, name, "a", "", "`NAME` to log in with")
	fs.StringVar(&f.name, hiddenName, "", "the same as --"+name)
	fs.StringVarP(&f.password, password, "p", "", "`SECRET` to log in with; other users of this machine may see it, prefer a file")
	fs.StringVar(&f.password, hiddenPassword, "", "the same as --"+password)
	fs.StringVar(&f.file, "password-file", "", "`FILE` whose first line is the password; - for standard input")
	_ = fs.MarkHidden(hiddenName)
	_ = fs.MarkHidden(hiddenPassword)
}

// flagged reports whether the password stands on the command line.
func (f *loginFlags) flagged() bool { return f.set.Changed("password") || f.set.Changed("authpass") }

// passwordGiven reports whether there is a password, be it empty, or somebody
// to ask for it.
func (f *loginFlags) passwordGiven(e *env) bool {
	return f.flagged() || f.file != "" || f.variable != "" || e.getenv(passwordVariable) != "" || f.name != "" && e.canAsk()
}

// read returns the name and its password: from the flag, the file, the
// environment, or asked for at a terminal.
func (f *loginFlags) read(ctx context.Context, e *env) (name, password string, err error) {
	if f.flagged() && f.file != "" || f.flagged() && f.variable != "" || f.file != "" && f.variable != "" {
		return "", "", misuse("", "--password, --password-file and --password-env exclude each other; choose one")
	}
	switch {
	case f.flagged():
		fmt.Fprintf(e.err, "%s: warning: other users of this machine can read a password on the command line; prefer --password-file\n", e.program)
		f.password = blankPassword(f.password)
		password = f.password
	case f.file == "-":
		password, err = firstLine(e.in)
	case f.file != "":
		password, err = readSecret(f.file)
	case f.variable != "":
		if password = e.getenv(f.variable); password == "" {
			err = misuse("", "%s: no such variable, or it is empty; set it, or give --password-file", flagValue("password-env", f.variable))
		}
	case e.getenv(passwordVariable) != "":
		password = e.getenv(passwordVariable)
	case f.name != "" && e.canAsk():
		password, err = e.ask(ctx, "Password of "+plain(f.name)+": ")
	}
	return f.name, password, err
}

// canAsk reports whether there is somebody to ask.
func (e *env) canAsk() bool {
	in, ok := e.in.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// ask asks at the terminal, without showing the answer, until ctx ends.
func (e *env) ask(ctx context.Context, question string) (string, error) {
	fd := int(e.in.(*os.File).Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	fmt.Fprint(e.err, question)
	defer fmt.Fprintln(e.err)
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		answered <- answer{b, err}
	}()
	select {
	case a := <-answered:
		return string(a.text), a.err
	case <-ctx.Done(): // the read goes on, but the program ends
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

// fileError tells that a file cannot be used: a wrong name is wrong usage, all
// else is the system's.
func fileError(what, hint string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return misuse(hint, "%s: %w", what, cause(err))
	}
	return &result.Error{Word: result.CodeLocal, Text: what, Err: cause(err), Hint: hint}
}

// readSecret reads the first line of a file that others must not read.
func readSecret(path string) (string, error) { return readSecretOf("password-file", path) }

// readSecretOf is readSecret for the file of another flag.
func readSecretOf(flag, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fileError(flagValue(flag, path), "the first line of the file is the password", err)
	}
	defer file.Close()
	if err := checkPrivate(flag, file); err != nil {
		return "", err
	}
	return firstLine(file)
}

// checkPrivate refuses a file of secrets that other users can read.
func checkPrivate(flag string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fileError(flagValue(flag, f.Name()), "", err)
	}
	switch {
	case info.IsDir():
		return misuse("", "%s: a folder, not a file; give the file", flagValue(flag, f.Name()))
	case runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0:
		return misuse("", "%s: everybody can read this file of secrets (mode %04o); run chmod 600 %s", flagValue(flag, f.Name()), info.Mode().Perm(), f.Name())
	}
	return nil
}

// longestLine bounds what is read of a password or of a user.
const longestLine = 4096

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, longestLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", &result.Error{Word: result.CodeLocal, Text: "read the password", Err: cause(err)}
	}
	if len(line) == longestLine {
		return "", misuse("", "--password-file: the first line is longer than %d bytes; the first line is the password", longestLine-1)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
