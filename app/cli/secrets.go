package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/sonde-net/sonde/btest"
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
	f.set = fs
	fs.StringVarP(&f.name, "user", "a", "", "name to log in with")
	fs.StringVar(&f.name, "authuser", "", "the same as --user")
	fs.StringVarP(&f.password, "password", "p", "", "password; other users of this machine may see it, prefer a file")
	fs.StringVar(&f.password, "authpass", "", "the same as --password")
	fs.StringVar(&f.file, "password-file", "", "file whose first line is the password; - for standard input")
	fs.StringVar(&f.variable, "password-env", "", "environment variable that holds the password (default "+passwordVariable+")")
	_ = fs.MarkHidden("authuser")
	_ = fs.MarkHidden("authpass")
}

// flagged reports whether the password stands on the command line.
func (f *loginFlags) flagged() bool { return f.set.Changed("password") || f.set.Changed("authpass") }

// passwordGiven reports whether there is a password, be it empty.
func (f *loginFlags) passwordGiven(e *env) bool {
	return f.flagged() || f.file != "" || f.variable != "" || e.getenv(passwordVariable) != "" || f.name != "" && f.canAsk(e)
}

// read returns the name and its password: from the flag, the file, the
// environment, or asked for at a terminal.
func (f *loginFlags) read(e *env) (name, password string, err error) {
	switch {
	case f.flagged():
		fmt.Fprintf(e.err, "%s: a password on the command line can be read by other users of this machine; prefer --password-file\n", e.program)
		f.password = blankPassword(f.password)
		return f.name, f.password, nil
	case f.file == "-":
		password, err = firstLine(e.in)
	case f.file != "":
		password, err = readSecret(f.file)
	case f.variable != "":
		return f.name, e.getenv(f.variable), nil
	case e.getenv(passwordVariable) != "":
		return f.name, e.getenv(passwordVariable), nil
	case f.name != "" && f.canAsk(e):
		password, err = f.ask(e)
	}
	return f.name, password, err
}

// canAsk reports whether there is somebody to ask.
func (f *loginFlags) canAsk(e *env) bool {
	in, ok := e.in.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

func (f *loginFlags) ask(e *env) (string, error) {
	fmt.Fprintf(e.err, "Password of %s: ", f.name)
	b, err := term.ReadPassword(int(e.in.(*os.File).Fd()))
	fmt.Fprintln(e.err)
	return string(b), err
}

// readSecret reads the first line of a file that others must not read.
func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", &result.Error{Word: result.CodeUsage, Text: "password file", Err: err, Hint: "the file's first line is the password"}
	}
	defer file.Close()
	if err := checkPrivate(file); err != nil {
		return "", err
	}
	return firstLine(file)
}

// checkPrivate refuses a file of secrets that other users can read.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 {
		return misuse("chmod 600 "+f.Name(), "%s: everybody can read this file of secrets (mode %04o)", f.Name(), info.Mode().Perm())
	}
	return nil
}

// longestLine bounds what is read of a password or of a user.
const longestLine = 4096

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, longestLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// readUsers reads a file of users: NAME:PASSWORD on a line each, empty lines
// and lines that begin with # are left out. All faults are told at once.
func readUsers(path string) (btest.List, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &result.Error{Word: result.CodeUsage, Text: "users", Err: err, Hint: "a line NAME:PASSWORD for each user"}
	}
	defer file.Close()
	if err := checkPrivate(file); err != nil {
		return nil, err
	}
	list := btest.List{}
	var faults []error
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, password, ok := strings.Cut(line, ":")
		_, twice := list[name]
		switch {
		case !ok || name == "":
			faults = append(faults, fmt.Errorf("%s:%d: want NAME:PASSWORD", path, n))
		case twice:
			faults = append(faults, fmt.Errorf("%s:%d: user %q is there twice", path, n, name))
		default:
			list[name] = btest.Secret{Password: password}
		}
	}
	faults = append(faults, lines.Err())
	if err := errors.Join(faults...); err != nil {
		return nil, misuse("a line NAME:PASSWORD for each user", "%w", err)
	}
	if len(list) == 0 {
		return nil, misuse("a line NAME:PASSWORD for each user", "%s: no user in it, and without one everybody could test", path)
	}
	return list, nil
}
