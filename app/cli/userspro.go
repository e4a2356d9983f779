//go:build !nano

package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

// The users of btest-server-pro as its own commands keep them. Where they had
// traps they do better: a user is never replaced unasked, one who is not there is
// an error, and a limit that is not given stays.

// proUsersDB is the flag of btest-server-pro for its database, above all of its
// commands.
const proUsersDB = "users-db"

// proUserCommands are useradd, userdel, userlist and userset. The command above
// them has the flag --users-db.
func proUserCommands(e *env) []*cobra.Command {
	return []*cobra.Command{proUserAdd(e), proUserDel(e), proUserList(e), proUserSet(e)}
}

// withPro does something with the database of the command above.
func withPro(cmd *cobra.Command, e *env, do func(context.Context, *store.Store, time.Time) error) error {
	st := storeFlags{dsn: cmd.Flag(proUsersDB).Value.String()}
	return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error { return do(cmd.Context(), s, now) })
}

func proUserAdd(e *env) *cobra.Command {
	var login loginFlags
	var limits limitFlags
	var md5 bool
	cmd := &cobra.Command{
		Use:   "useradd NAME [PASSWORD]",
		Short: "let somebody test",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a := account.Account{Name: args[0]}
			limits.apply(&a.Limits)
			if err := checkUserName(a.Name, md5); err != nil {
				return err
			}
			password, err := proPassword(cmd, e, &login, args)
			if err != nil {
				return err
			}
			return withPro(cmd, e, func(ctx context.Context, s *store.Store, now time.Time) error {
				if err := s.CreateAccount(ctx, now, a, store.NewSecrets(a.Name, password, md5)); err != nil {
					return userError("user", a.Name, err)
				}
				return e.say("User '%s' added", a.Name)
			})
		},
	}
	login.registerNew(cmd)
	limits.register(cmd.Flags(), proDefault)
	cmd.Flags().BoolVar(&md5, "md5", false, "allow MD5 logins too (RouterOS before 6.43); the password is kept, sealed")
	return cmd
}

// proPassword is the second argument, or what a file or a person says.
func proPassword(cmd *cobra.Command, e *env, login *loginFlags, args []string) (string, error) {
	if len(args) < 2 {
		return login.newPassword(cmd, e, args[0])
	}
	fmt.Fprintf(e.err, "%s: warning: other users of this machine can read a password on the command line; prefer --password-file\n", e.program)
	if args[1] == "" {
		return "", misuse("", "the password of %q is empty, and would let everybody in", args[0])
	}
	return args[1], nil
}

// proDefault is how the old program writes the server's default.
const proDefault = "0"

func proUserDel(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "userdel NAME",
		Short: "forget a user",
		Args:  oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withPro(cmd, e, func(ctx context.Context, s *store.Store, _ time.Time) error {
				if err := s.DeleteAccount(ctx, args[0]); err != nil {
					return userError("user", args[0], err)
				}
				return e.say("User '%s' deleted", args[0])
			})
		},
	}
}

func proUserList(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "userlist",
		Short: "list the users and their quotas",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPro(cmd, e, func(ctx context.Context, s *store.Store, _ time.Time) error {
				users, err := s.Entries(ctx)
				switch {
				case err != nil:
					return err
				case asJSON:
					return listUsersJSON(e.out, users, make([]uses, len(users)), false)
				}
				t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "USERNAME\tENABLED\tDAILY QUOTA\tWEEKLY QUOTA\tMONTHLY QUOTA")
				for _, u := range users {
					fmt.Fprintf(t, "%s\t%t\t%s\t%s\t%s\n", plain(u.Name), !u.Disabled,
						quotaText(u.Limits, account.Day), quotaText(u.Limits, account.Week), quotaText(u.Limits, account.Month))
				}
				return t.Flush()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func proUserSet(e *env) *cobra.Command {
	var limits limitFlags
	var enabled bool
	cmd := &cobra.Command{
		Use:   "userset NAME",
		Short: "change a user's quotas, or whether they may test",
		Args:  oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed("enabled")
			if !given && !limits.changed() {
				return misuse("", "nothing to change is given; give --enabled true or false, or a limit")
			}
			return withPro(cmd, e, func(ctx context.Context, s *store.Store, now time.Time) error {
				err := s.ChangeAccount(ctx, now, args[0], func(u *store.Entry) error {
					limits.apply(&u.Limits)
					if given {
						u.Disabled = !enabled
					}
					return nil
				}, nil)
				if err != nil {
					return userError("user", args[0], err)
				}
				return e.say("User '%s' updated", args[0])
			})
		},
	}
	limits.register(cmd.Flags(), proDefault)
	cmd.Flags().Var((*spelled)(&enabled), "enabled", "whether the user may test: true or false")
	return cmd
}

// spelled is a switch whose value is written out behind it: --enabled false.
type spelled bool

func (s *spelled) String() string { return fmt.Sprint(bool(*s)) }
func (s *spelled) Type() string   { return "true|false" }

// Set implements pflag.Value.
func (s *spelled) Set(text string) error {
	switch text {
	case "true":
		*s = true
	case "false":
		*s = false
	default:
		return errors.New("want true or false")
	}
	return nil
}
