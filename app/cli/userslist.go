//go:build !nano

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/store"
)

func usersListCommand(e *env) *cobra.Command {
	var st storeFlags
	var asJSON, usage bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the users, their limits and what they have used",
		Long: `List the users of a store. "default" is a limit that is left to the server;
"in" is what the user sends, "out" what the user receives.`,
		Example: `  sonde users list --store sonde.db
  sonde users list --store sonde.db --usage --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				users, err := s.Entries(cmd.Context())
				if err != nil {
					return err
				}
				used := make([]uses, len(users))
				for n := 0; usage && n < len(users); n++ {
					if used[n], err = usedBy(cmd.Context(), s, users[n].Name, now); err != nil {
						return err
					}
				}
				if asJSON {
					return listUsersJSON(e.out, users, used, usage)
				}
				return listUsers(e.out, users, used, usage)
			})
		},
	}
	st.register(cmd.Flags())
	cmd.Flags().BoolVar(&usage, "usage", false, "also what was used in the last 1, 7 and 30 days")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// uses are what a user moved in the last day, week and month.
type uses [account.Periods]account.Use

func usedBy(ctx context.Context, s *store.Store, name string, now time.Time) (u uses, err error) {
	var since []time.Time
	for p := range account.Periods {
		since = append(since, now.Add(-p.Length()))
	}
	all, err := s.Usage(ctx, account.Subject{Account: name}, since...)
	copy(u[:], all)
	return u, err
}

// listUsers prints a table.
func listUsers(w io.Writer, users []store.Entry, used []uses, usage bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "NAME\tENABLED\tLOGIN\tDAILY\tWEEKLY\tMONTHLY\tTESTS\tDURATION\tRATE"
	if usage {
		head += "\tUSED 1 DAY\t7 DAYS\t30 DAYS"
	}
	fmt.Fprintln(t, head)
	for n, u := range users {
		enabled, login := "yes", "ecsrp5"
		if u.Disabled {
			enabled = "no"
		}
		switch {
		case !u.SRP5:
			login = "none"
		case u.MD5:
			login += ",md5"
		}
		l := u.Limits
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", plain(u.Name), enabled, login,
			quotaText(l, account.Day), quotaText(l, account.Week), quotaText(l, account.Month),
			limitText(l.Tests, func(n int) string { return orUnlimited(n == 0, strconv.Itoa(n)) }),
			limitText(l.Duration, func(d time.Duration) string { return orUnlimited(d == 0, d.String()) }),
			limitText(l.Rate, func(r uint64) string { return orUnlimited(r == 0, report.FormatRate(r)) }))
		if usage {
			for p := range account.Periods {
				fmt.Fprintf(t, "\t%s", report.FormatSize(used[n][p].Of(account.Both)))
			}
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func orUnlimited(unlimited bool, text string) string {
	if unlimited {
		return "unlimited"
	}
	return text
}

// userJSON is a user as JSON. A limit that is null is left to the server, 0 is
// none.
type userJSON struct {
	Name     string             `json:"name"`
	Enabled  bool               `json:"enabled"`
	Logins   []string           `json:"logins"`
	Bytes    map[string]*uint64 `json:"quota_bytes"`
	Duration *float64           `json:"max_duration_seconds"`
	Tests    *int               `json:"max_tests"`
	Rate     *uint64            `json:"max_rate_bits_per_second"`
	Used     map[string]uint64  `json:"used_bytes,omitempty"`
	Created  time.Time          `json:"created"`
	Changed  time.Time          `json:"changed"`
}

// windowKey names a quota in JSON, such as "daily" or "weekly_inbound".
func windowKey(w account.Window) string {
	if w.Flow == account.Both {
		return w.Period.String()
	}
	return w.Period.String() + "_" + w.Flow.String()
}

func listUsersJSON(w io.Writer, users []store.Entry, used []uses, usage bool) error {
	doc := struct {
		Schema string     `json:"schema"`
		Users  []userJSON `json:"users"`
	}{"sonde.users/1", []userJSON{}}
	for n, u := range users {
		one := userJSON{Name: u.Name, Enabled: !u.Disabled, Logins: []string{}, Bytes: map[string]*uint64{}, Tests: u.Limits.Tests, Rate: u.Limits.Rate,
			Created: u.Created, Changed: u.Changed}
		if u.SRP5 {
			one.Logins = append(one.Logins, "ecsrp5")
		}
		if u.MD5 {
			one.Logins = append(one.Logins, "md5")
		}
		if d := u.Limits.Duration; d != nil {
			one.Duration = new(d.Seconds())
		}
		for _, w := range account.Windows() {
			one.Bytes[windowKey(w)] = nil
			if n, ok := u.Limits.Bytes[w]; ok {
				one.Bytes[windowKey(w)] = &n
			}
		}
		if usage {
			one.Used = map[string]uint64{}
			for _, w := range account.Windows() {
				one.Used[windowKey(w)] = used[n][w.Period].Of(w.Flow)
			}
		}
		doc.Users = append(doc.Users, one)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
