//go:build !nano

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

func usersImportCommand(e *env) *cobra.Command {
	var st storeFlags
	var in importing
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "take over the users of btest-rs, or of a file",
		Long: `Take over the users of a database of btest-rs (btest-users.db), without knowing
their passwords, or of a file with a line NAME:PASSWORD for each. FILE is only
read. A user who is in the store already is left as is, unless --replace is given.
Quotas and disabled users stay as they are; a quota of 0 is the server's default.`,
		Example: `  sonde users import btest-users.db --store sonde.db
  sonde users import users.txt --store sonde.db --md5`,
		Args: oneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			users, err := foreignUsers(cmd, args[0])
			if err != nil {
				return err
			}
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				return in.run(cmd, e, s, now, users)
			})
		},
	}
	st.register(cmd.Flags())
	cmd.Flags().BoolVar(&in.replace, "replace", false, "give users who are there already the password and limits of the file")
	cmd.Flags().BoolVar(&in.md5, "md5", false, "allow MD5 logins to those whose password is in the file; it is kept, sealed")
	return cmd
}

// sqliteMagic opens every file of SQLite 3.
var sqliteMagic = []byte("SQLite format 3\x00")

// foreignUsers reads the users of a file of either kind.
func foreignUsers(cmd *cobra.Command, file string) ([]store.Foreign, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fileError(file, "", err)
	}
	head := make([]byte, len(sqliteMagic))
	_, err = io.ReadFull(f, head)
	f.Close()
	if err == nil && bytes.Equal(head, sqliteMagic) {
		users, err := store.ReadBtestRS(cmd.Context(), file)
		if err != nil {
			return nil, misuse("want the database of btest-server-pro, btest-users.db", "%w", err)
		}
		return users, nil
	}
	list, err := readUsers(file, false)
	if err != nil {
		return nil, err
	}
	var users []store.Foreign
	for _, name := range slices.Sorted(maps.Keys(list)) {
		password := list[name].Password
		users = append(users, store.Foreign{Account: account.Account{Name: name}, Secrets: store.NewSecrets(name, password, false), Password: &password, Fault: account.CheckName(name)})
	}
	return users, nil
}

// importing is how users are taken over, and what has become of them.
type importing struct {
	replace, md5 bool
	added        int
	replaced     int
	kept         int
	faults       []error
}

func (in *importing) run(cmd *cobra.Command, e *env, s *store.Store, now time.Time, users []store.Foreign) error {
	for _, u := range users {
		if u.Fault == nil && in.md5 && u.Password != nil && len(u.Account.Name) <= account.LongestMD5Name {
			u.Secrets.Password = u.Password
		}
		err := u.Fault
		if err == nil {
			err = in.take(cmd, s, now, u)
		}
		if local := new(store.Fault); errors.As(err, &local) {
			return err // of the store: the next one would meet it too
		}
		if err != nil {
			in.faults = append(in.faults, fmt.Errorf("user %q was not taken over: %w", u.Account.Name, err))
		}
	}
	if err := e.say("%d users added, %d replaced, %d were there already", in.added, in.replaced, in.kept); err != nil {
		return err
	}
	if len(in.faults) > 0 {
		return misuse("", "%w", errors.Join(in.faults...))
	}
	return nil
}

// take keeps one user.
func (in *importing) take(cmd *cobra.Command, s *store.Store, now time.Time, u store.Foreign) error {
	err := s.CreateAccount(cmd.Context(), now, u.Account, u.Secrets)
	switch {
	case err == nil:
		in.added++
	case !errors.Is(err, store.ErrExists):
		return err
	case !in.replace:
		in.kept++
	default:
		err = s.ChangeAccount(cmd.Context(), now, u.Account.Name, func(one *store.Entry) error {
			one.Disabled, one.Limits = u.Account.Disabled, u.Account.Limits.Over(one.Limits)
			return nil
		}, &u.Secrets)
		if err != nil {
			return err
		}
		in.replaced++
	}
	return nil
}
