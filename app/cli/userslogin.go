//go:build !nano

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

func loginCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login",
		Short: "who may sign in to the dashboard",
		Long: `Keep the logins of the dashboard. They are not users: who may test may not look at
what others do. A viewer sees every address and user, an admin changes users and
stops tests. Passwords are kept as Argon2id.`,
		Example: `  sonde users login add root --store sonde.db --role admin
  sonde users login list --store sonde.db`,
	}
	cmd.AddCommand(loginAddCommand(e), keptDelCommand(e, "login", (*store.Store).DeleteLogin), keptListCommand(e, "login", (*store.Store).Logins))
	return cmd
}

func loginAddCommand(e *env) *cobra.Command {
	var st storeFlags
	var login loginFlags
	role := string(account.Viewer)
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "let somebody sign in, or give another password and role",
		Example: `  sonde users login add root --store sonde.db --role admin`,
		Args:    oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKept(args[0], role); err != nil {
				return err
			}
			password, err := login.newPassword(cmd, e, args[0])
			if err != nil {
				return err
			}
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				if err := s.SetLogin(cmd.Context(), now, args[0], password, account.Role(role)); err != nil {
					return err
				}
				return e.say("%s may sign in as %s", args[0], role)
			})
		},
	}
	st.register(cmd.Flags())
	login.registerNew(cmd)
	cmd.Flags().StringVar(&role, "role", role, "`ROLE`: viewer or admin")
	return cmd
}

// checkKept tells what is wrong with the name or the role of a login or token.
func checkKept(name, role string) error {
	if err := account.CheckName(name); err != nil {
		return misuse("", "%w", err)
	}
	if err := account.CheckRole(account.Role(role)); err != nil {
		return misuse("", "--role: %w", err)
	}
	return nil
}

func tokenCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "keys of programs that use the API",
		Long: `Keep the tokens of programs that use the API of the dashboard. A token is shown
once, when it is made; only a hash of it is kept.`,
		Example: `  sonde users token add grafana --store sonde.db --role viewer --expires 90d
  sonde users token del grafana --store sonde.db`,
	}
	cmd.AddCommand(tokenAddCommand(e), keptDelCommand(e, "token", (*store.Store).DeleteToken), keptListCommand(e, "token", (*store.Store).Tokens))
	return cmd
}

func tokenAddCommand(e *env) *cobra.Command {
	var st storeFlags
	var expires duration
	role := string(account.Viewer)
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "make a token and print it",
		Example: `  sonde users token add grafana --store sonde.db --expires 90d`,
		Args:    oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKept(args[0], role); err != nil {
				return err
			}
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				var until time.Time
				if expires > 0 {
					until = now.Add(time.Duration(expires))
				}
				token, err := s.AddToken(cmd.Context(), now, args[0], account.Role(role), until)
				if err != nil {
					return userError("token", args[0], err)
				}
				return e.say("%s", token)
			})
		},
	}
	st.register(cmd.Flags())
	cmd.Flags().StringVar(&role, "role", role, "`ROLE`: viewer or admin")
	cmd.Flags().Var(&expires, "expires", "how long it is good for, such as 90d; 0 for ever")
	return cmd
}

// What a store does with logins and tokens.
type (
	deleting func(*store.Store, context.Context, string) error
	listing  func(*store.Store, context.Context) ([]store.Login, error)
)

// keptDelCommand forgets a login or a token.
func keptDelCommand(e *env, what string, del deleting) *cobra.Command {
	var st storeFlags
	cmd := &cobra.Command{
		Use:     "del NAME",
		Short:   "forget a " + what,
		Example: "  sonde users " + what + " del NAME --store sonde.db",
		Args:    oneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return st.with(cmd.Context(), e, func(s *store.Store, _ time.Time) error {
				if err := del(s, cmd.Context(), args[0]); err != nil {
					return userError(what, args[0], err)
				}
				return e.say("%s %s deleted", what, args[0])
			})
		},
	}
	st.register(cmd.Flags())
	return cmd
}

// keptListCommand lists logins or tokens.
func keptListCommand(e *env, what string, list listing) *cobra.Command {
	var st storeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "list the " + what + "s",
		Example: "  sonde users " + what + " list --store sonde.db",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return st.with(cmd.Context(), e, func(s *store.Store, _ time.Time) error {
				all, err := list(s, cmd.Context())
				switch {
				case err != nil:
					return err
				case asJSON:
					return listKeptJSON(e, what, all)
				}
				t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "NAME\tROLE\tCREATED\tEXPIRES")
				for _, l := range all {
					expires := "never"
					if !l.Expires.IsZero() {
						expires = l.Expires.Format(time.RFC3339)
					}
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", plain(l.Name), l.Role, l.Created.Format(time.RFC3339), expires)
				}
				return t.Flush()
			})
		},
	}
	st.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// keptJSON is a login or token as JSON.
type keptJSON struct {
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires"` // null is never
}

func listKeptJSON(e *env, what string, all []store.Login) error {
	list := []keptJSON{}
	for _, l := range all {
		one := keptJSON{Name: l.Name, Role: string(l.Role), Created: l.Created}
		if !l.Expires.IsZero() {
			one.Expires = &l.Expires
		}
		list = append(list, one)
	}
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"schema": "sonde." + what + "s/1", what + "s": list})
}
