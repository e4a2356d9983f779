//go:build !nano

package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

func usersAddCommand(e *env) *cobra.Command {
	var st storeFlags
	var login loginFlags
	var limits limitFlags
	var md5, disabled bool
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "let somebody test",
		Long: `Make a user, with a password that is asked for, or read from a file or standard
input. A limit that is not given is the server's default. It fails if there is
a user of that name: sonde users set changes one.`,
		Example: `  sonde users add ann --store sonde.db
  sonde users add bob --store sonde.db --daily 50M --max-tests 1 --password-file secret`,
		Args: oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a := account.Account{Name: args[0], Disabled: disabled}
			limits.apply(&a.Limits)
			if err := checkUserName(a.Name, md5); err != nil {
				return err
			}
			password, err := login.newPassword(cmd, e, a.Name)
			if err != nil {
				return err
			}
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				if err := s.CreateAccount(cmd.Context(), now, a, store.NewSecrets(a.Name, password, md5)); err != nil {
					return userError("user", a.Name, err)
				}
				return e.say("user %s added", a.Name)
			})
		},
	}
	st.register(cmd.Flags())
	login.registerNew(cmd)
	limits.register(cmd.Flags(), "")
	cmd.Flags().BoolVar(&md5, "md5", false, "allow MD5 logins too; the password is kept, sealed")
	cmd.Flags().BoolVar(&disabled, "disabled", false, "refuse the user, whose limits stay; =false lets them in again")
	return cmd
}

// checkUserName refuses names that no login could carry.
func checkUserName(name string, md5 bool) error {
	if err := account.CheckName(name); err != nil {
		return misuse("", "%w", err)
	}
	if md5 && len(name) > account.LongestMD5Name {
		return misuse("", "the name %q has %d bytes; an MD5 login carries %d at most", name, len(name), account.LongestMD5Name)
	}
	return nil
}

func usersSetCommand(e *env) *cobra.Command {
	var st storeFlags
	var login loginFlags
	var limits limitFlags
	var md5, enable, disable, ask bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "change what a user may do, or the password",
		Long: `Change a user. What is not given stays as it is. A user who is disabled, or
whose limit is lowered below what is used, is cut in the middle of a test at the
server's next check.`,
		Example: `  sonde users set ann --store sonde.db --daily 100G --weekly default
  sonde users set ann --store sonde.db --disable
  sonde users set ann --store sonde.db --new-password`,
		Args: oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, fs := args[0], cmd.Flags()
			newPassword := ask || login.given()
			switch {
			case enable && disable:
				return misuse("", "--enable and --disable exclude each other; choose one")
			case md5 && !newPassword:
				return misuse("", "--md5: an MD5 login needs the password, which is not kept; give --new-password, or --password-file FILE")
			case !newPassword && !enable && !disable && !limits.changed() && !fs.Changed("md5"):
				return misuse("", "nothing to change is given; see sonde users set --help")
			}
			if err := checkUserName(name, md5); err != nil {
				return err
			}
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				was, err := s.Entry(cmd.Context(), name) // before a password is asked for
				if err != nil {
					return userError("user", name, err)
				}
				var secrets *store.Secrets
				if newPassword {
					password, err := login.newPassword(cmd, e, name)
					if err != nil {
						return err
					}
					if !fs.Changed("md5") {
						md5 = was.MD5
					}
					secrets = new(store.NewSecrets(name, password, md5))
				}
				err = s.ChangeAccount(cmd.Context(), now, name, func(u *store.Entry) error {
					limits.apply(&u.Limits)
					u.Disabled = u.Disabled && !enable || disable
					if fs.Changed("md5") {
						u.MD5 = md5
					}
					return nil
				}, secrets)
				if err != nil {
					return userError("user", name, err)
				}
				return e.say("user %s changed", name)
			})
		},
	}
	st.register(cmd.Flags())
	login.registerNew(cmd)
	limits.register(cmd.Flags(), "")
	cmd.Flags().BoolVar(&ask, "new-password", false, "set a new password: it is asked for, or read as the flags below say")
	cmd.Flags().BoolVar(&md5, "md5", false, "allow MD5 logins too, which keeps the password, sealed; --md5=false forgets it")
	cmd.Flags().BoolVar(&enable, "enable", false, "let the user test again")
	cmd.Flags().BoolVar(&disable, "disable", false, "refuse the user, and cut what runs")
	return cmd
}

func usersDelCommand(e *env) *cobra.Command {
	var st storeFlags
	cmd := &cobra.Command{
		Use:   "del NAME",
		Short: "forget a user",
		Long: `Forget a user and what proves who they are. What was used is remembered for as
long as anybody's is: a user of the same name does not begin with fresh quotas.
Tests that run are cut at the server's next check.`,
		Example: `  sonde users del ann --store sonde.db`,
		Args:    oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return st.with(cmd.Context(), e, func(s *store.Store, _ time.Time) error {
				if err := s.DeleteAccount(cmd.Context(), args[0]); err != nil {
					return userError("user", args[0], err)
				}
				return e.say("user %s deleted", args[0])
			})
		},
	}
	st.register(cmd.Flags())
	return cmd
}
