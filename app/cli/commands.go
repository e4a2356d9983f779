package cli

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

// A command is a row of the table: what makes it.
type command func(*env) *cobra.Command

// commands are the commands of sonde, in the order that help lists them.
var commands = slices.Concat([]command{
	btestCommand,
	rperfCommand,
	iperf3Command,
	testCommand,
	twampCommand,
	stampCommand,
}, daemonCommands, []command{
	demoCommand,
	explainCommand,
	diffCommand,
	selfcheckCommand,
	versionCommand,
})

// borrowed are the programs that sonde stands in for, by the name that the
// binary is called by: their flags, their defaults, their output.
var borrowed = merged(map[string]command{
	"btest":        oldBtestCommand,
	"btest-client": oldBtestClientCommand,
	"btest-server": oldBtestServerCommand,
	"rperf":        oldRperfCommand,
	"iperf3":       oldIperf3Command,
}, daemonBorrowed)

func merged(all ...map[string]command) map[string]command {
	m := map[string]command{}
	for _, one := range all {
		maps.Copy(m, one)
	}
	return m
}

// rootFor is the command tree for the name the program was called by.
func rootFor(e *env) (root *cobra.Command, isBorrowed bool) {
	if make, ok := borrowed[e.program]; ok {
		root := make(e)
		root.CompletionOptions.DisableDefaultCmd = true
		withVersion(root)
		// ptptest was no program: its commands have the exit statuses of sonde.
		return root, e.program != "ptptest"
	}
	e.program = "sonde"
	return Root(e), false
}

// Root is the command tree of sonde.
func Root(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "sonde",
		Short: "measure networks by speaking the protocols already out there",
		Long: `sonde measures networks by speaking the protocols already out there: it tests
against the devices you have, and they test against it.`,
		Example: `  sonde demo                                a short test on this machine alone
  sonde test HOST                           whatever it answers: download, upload, latency
  sonde btest client 192.168.88.1           against a MikroTik router
  sonde btest server                        for MikroTik routers to test against
  sonde stamp ping 192.0.2.7                delay and loss to a reflector; sonde twamp ping if it is TWAMP's
  sonde mesh node --server HOST             who can reach whom through which NATs`,
	}
	for _, make := range commands {
		root.AddCommand(make(e))
	}
	root.SetHelpCommand(helpCommand(root))
	wantSubcommands(root)
	withVersion(root)
	return root
}

// withVersion gives root --version and -V, or -v where -V is taken, and its way
// to tell faulty flags. The flag is not cobra's, whose templates would link
// every exported method of the program.
func withVersion(root *cobra.Command) {
	letter := "V"
	if root.Flags().ShorthandLookup(letter) != nil {
		letter = "v"
	}
	asked := root.Flags().BoolP("version", letter, false, "say which build this is")
	run, check := root.RunE, root.Args
	root.Args = func(cmd *cobra.Command, args []string) error {
		if *asked || check == nil {
			return nil
		}
		return check(cmd, args)
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *asked {
			fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return nil
		}
		return run(cmd, args)
	}
	root.SetFlagErrorFunc(flagError)
}

// wantSubcommands makes the commands that only group others name a wrong word.
func wantSubcommands(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		wantSubcommands(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// helpCommand is help for a command, or for the word that is none.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "help for any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd, fmt.Sprint(append(rest, args...)[0]))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}
