package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// A command is a row of the table: what makes it.
type command func(*env) *cobra.Command

// commands are the commands of sonde, in the order that help lists them.
var commands = []command{
	btestCommand,
	demoCommand,
	versionCommand,
}

// borrowed are the programs that sonde stands in for, by the name that the
// binary is called by: their flags, their defaults, their output.
var borrowed = map[string]command{
	"btest":        oldBtestCommand,
	"btest-client": oldBtestCommand,
	"btest-server": oldBtestServerCommand,
}

// rootFor is the command tree for the name the program was called by.
func rootFor(e *env) (root *cobra.Command, isBorrowed bool) {
	if make, ok := borrowed[e.program]; ok {
		root := make(e)
		root.CompletionOptions.DisableDefaultCmd = true
		root.SetFlagErrorFunc(flagError)
		return root, true
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
against the devices you have, and they test against it.

  sonde demo                                a short test on this machine alone
  sonde btest client 192.168.88.1           against a MikroTik router
  sonde btest server                        for MikroTik routers to test against`,
		Args:    noArgs,
		Version: versionText(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	for _, make := range commands {
		root.AddCommand(make(e))
	}
	for _, sub := range root.Commands() {
		wantSubcommand(sub)
	}
	return root
}

// wantSubcommand makes a command that only groups others name the wrong word.
func wantSubcommand(cmd *cobra.Command) {
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("did you mean %q?", near[0])
		}
		return misuse(hint, "%s: no command %q", cmd.CommandPath(), args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// flagError makes every fault in flags wrong usage.
func flagError(cmd *cobra.Command, err error) error {
	return misuse(fmt.Sprintf("see %s --help", cmd.CommandPath()), "%s: %w", cmd.CommandPath(), err)
}
