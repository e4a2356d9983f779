package cli

import (
	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

func btestCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "btest",
		Short: "the MikroTik bandwidth test, as client and server",
		Long: `The MikroTik bandwidth test, which every RouterOS device speaks, and btest-rs and
btest-opensource too. A link or copy of sonde that is named btest takes the flags
of btest-rs and prints its lines.`,
	}
	cmd.AddCommand(btestClientCommand(e), btestServerCommand(e), btestDecodeCommand(e), btestRecordCommand(e))
	return cmd
}

// direction is what -t and -r ask for; neither means to receive, as RouterOS
// has it.
func direction(transmit, receive bool) result.Direction {
	switch {
	case transmit && receive:
		return result.Both
	case transmit:
		return result.Up
	}
	return result.Down
}

// remarkAuth says what a server's kind of login exposes.
func remarkAuth(s *btest.Server) {
	switch {
	case s.Accounts == nil:
		s.Log.Warn("no users: everybody who reaches this server can test, and make it send; -a NAME and --password-file ask for a login")
	case s.Auth == btest.AuthMD5:
		s.Log.Warn("MD5 logins show a hash from which a weak password can be guessed; EC-SRP5 does not, RouterOS has it since 6.43")
	}
}
