//go:build !nano

package cli

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestProUsers holds the user commands of btest-server-pro: its flags work, its
// traps are gone.
func TestProUsers(t *testing.T) {
	db := filepath.Join(t.TempDir(), "btest-users.db")
	run := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		e := &env{in: strings.NewReader("from stdin\n"), out: &out, err: &errs, getenv: func(string) string { return "" }, program: "btest-server-pro"}
		root := &cobra.Command{Use: "btest-server-pro", SilenceErrors: true, SilenceUsage: true}
		root.PersistentFlags().String(proUsersDB, "", "")
		root.AddCommand(proUserCommands(e)...)
		root.SetArgs(append([]string{"--users-db", db}, args...))
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	for _, tt := range []struct {
		args string
		want string // of the output, or of the error behind "!"
	}{
		{"useradd ann secret", "User 'ann' added"},
		{"useradd ann other", "!already"},
		{"useradd bob --password-file -", "User 'bob' added"},
		{"userset ann --daily 50G --weekly 100000", "User 'ann' updated"},
		{"userset ann --enabled false", "User 'ann' updated"},
		{"userset ann --enabled maybe", "!true or false"},
		{"userset ann", "!nothing to change"},
		{"userset carl --daily 1", "!no user \"carl\""},
		{"userlist", "ann false 50.00 GiB 97.66 KiB default"},
		{"userset ann --daily 0 --enabled true", "User 'ann' updated"},
		{"userlist", "ann true default 97.66 KiB default"},
		{"userlist", "bob true default default default"},
		{"userset ann --daily unlimited", "User 'ann' updated"},
		{"userlist", "ann true unlimited 97.66 KiB default"},
		{"userlist --json", `"weekly": 100000`},
		{"userdel ann", "User 'ann' deleted"},
		{"userdel ann", "!no user \"ann\""},
	} {
		out, err := run(strings.Fields(tt.args)...)
		if fault, ok := strings.CutPrefix(tt.want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), fault) {
				t.Errorf("%s: %v, want %q", tt.args, err, fault)
			}
			continue
		}
		if flat := strings.Join(strings.Fields(out), " "); err != nil || !strings.Contains(flat, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.args, flat, err, tt.want)
		}
	}
}
