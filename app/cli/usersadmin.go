//go:build !nano

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/store"
)

func usersCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "who may test against the servers of a store, and how much",
		Long: `Keep the users of a store: who may test, how much, how fast, how long. Servers
that are given the same store look a user up at each login, so that what is
changed here holds at once. Without --store it is the store of the configuration
of sonde serve.

A password is not kept. What is kept proves an EC-SRP5 login, is sealed with a
key that is not in the store, and lets nobody in without that key. MD5 logins
(RouterOS before 6.43) need the password itself: where a user is allowed them it
is kept too, sealed.`,
		Example: `  sonde users add ann --store sonde.db --daily 50G --password-file secret
  sonde users set ann --store sonde.db --daily 100G --max-rate 500M
  sonde users list --store sonde.db --usage`,
	}
	cmd.AddCommand(usersAddCommand(e), usersSetCommand(e), usersDelCommand(e), usersListCommand(e), usersImportCommand(e),
		loginCommand(e), tokenCommand(e))
	return cmd
}

// userError says what is wrong with a name that was asked for.
func userError(what, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case store.IsNotFound(err):
		return misuse("", "there is no %s %q", what, name)
	case errors.Is(err, store.ErrExists):
		return misuse("", "there is a %s %q already", what, name)
	}
	return err
}

// say prints a line about what was done.
func (e *env) say(format string, args ...any) error {
	_, err := fmt.Fprintln(e.out, plain(fmt.Sprintf(format, args...)))
	return err
}

// newPassword reads the password that somebody is to have: it is asked for twice.
func (f *loginFlags) newPassword(cmd *cobra.Command, e *env, name string) (string, error) {
	f.name = name
	asks := !f.flagged() && f.file == "" && f.variable == "" && e.getenv(passwordVariable) == ""
	if asks && !e.canAsk() {
		return "", misuse("", "the password of %q is missing; give --password-file FILE, or --password-file - for standard input", name)
	}
	_, password, err := f.read(cmd.Context(), e)
	if err != nil {
		return "", err
	}
	if password == "" {
		return "", misuse("", "the password of %q is empty, and would let everybody in", name)
	}
	if asks {
		again, err := e.ask(cmd.Context(), "Again: ")
		switch {
		case err != nil:
			return "", err
		case again != password:
			return "", misuse("", "the two passwords differ; nothing was changed")
		}
	}
	return password, nil
}

// registerNew registers the ways to give somebody a password.
func (f *loginFlags) registerNew(cmd *cobra.Command) {
	f.set = cmd.Flags()
	f.set.StringVar(&f.file, "password-file", "", "`FILE` whose first line is the password; - for standard input")
	f.set.StringVar(&f.variable, "password-env", "", "environment `VARIABLE` that holds the password (default "+passwordVariable+")")
}

// given reports whether a password is to be had without asking for it.
func (f *loginFlags) given() bool { return f.file != "" || f.variable != "" }
