//go:build !nano

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/result"
)

func configCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "write, check and show the configuration of sonde serve",
		Long: `The configuration of sonde serve is one YAML file: the one of --config, or of
SONDE_CONFIG, else the first one that is there of sonde/sonde.yaml in
$XDG_CONFIG_HOME (or ~/.config) and /etc/sonde/sonde.yaml; on Windows
%ProgramData%\sonde\sonde.yaml. Every key that stands in no list can come from
the environment, too: SONDE_WEB_LISTEN is web.listen. A flag wins over the
environment, that over the file. docs/config.md has all keys.`,
	}
	cmd.AddCommand(configInitCommand(e), configCheckCommand(e), configShowCommand(e))
	return cmd
}

// configFlags say which configuration.
type configFlags struct {
	file string
	over []string
}

func (f *configFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "config", "", "`FILE` of the configuration")
	fs.StringArrayVar(&f.over, "set", nil, "a `KEY=VALUE` over what the file has, such as server.btest.listen=:2001; may be given again")
}

// load reads the configuration. With an error there may still be some of it.
func (f *configFlags) load(e *env) (*config.Loaded, error) {
	o := config.Options{File: f.file, Environ: e.environ(), Flags: map[string]string{}}
	for _, one := range f.over {
		key, value, ok := strings.Cut(one, "=")
		if !ok {
			return nil, misuse("", "%s: want KEY=VALUE, such as web.listen=:8080", flagValue("set", one))
		}
		o.Flags[key] = value
	}
	return config.Load(o)
}

// checked is the configuration if all of it is right, and what it makes.
func (f *configFlags) checked(e *env, log *output) (*config.Loaded, []part, error) {
	l, err := f.load(e)
	if l == nil {
		return nil, nil, err
	}
	parts, faults := build(e, log, l)
	if err := config.Join(err, faults, checkModules(e, l), checkProbes(e, l), checkLDAP(l)); err != nil {
		return nil, nil, misuse("", "%w", err)
	}
	return l, parts, nil
}

func configInitCommand(e *env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "init [FILE]",
		Short:   "write a configuration to begin with",
		Long:    `Write a configuration to begin with: to FILE, which must not be there, or to standard output.`,
		Example: "  sonde config init\n  sonde config init sonde.yaml",
		Args:    atMost(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprint(e.out, config.Example)
				return err
			}
			how := os.O_CREATE | os.O_WRONLY | os.O_EXCL
			if force {
				how = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
			}
			f, err := os.OpenFile(args[0], how, 0o644)
			if errors.Is(err, os.ErrExist) {
				return &result.Error{Word: result.CodeLocal, Text: args[0] + ": there is such a file already", Hint: "give another name, or --force to write over it"}
			}
			if err != nil {
				return &result.Error{Word: result.CodeLocal, Text: args[0], Err: cause(err)}
			}
			_, err = f.WriteString(config.Example)
			return errors.Join(err, f.Close())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "write over a file that is there")
	return cmd
}

func configCheckCommand(e *env) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "say what is wrong with a configuration",
		Long: `Say all that is wrong with a configuration, with file, line and key. Files that it
names are read, too. Nothing is started; exit status 2 if something is wrong.`,
		Example: "  sonde config check\n  sonde config check sonde.yaml",
		Args:    atMost(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.argument(args); err != nil {
				return err
			}
			l, parts, err := f.checked(e, newOutput(e))
			if err != nil {
				return err
			}
			var names []string
			for _, p := range parts {
				names = append(names, p.name)
			}
			if n := len(l.Probes); n > 0 {
				names = append(names, fmt.Sprintf("probes: %d", n))
			}
			where, what := l.File, strings.Join(names, ", ")
			if where == "" {
				where = "no configuration file; the defaults"
			}
			if what == "" {
				what = "no server, no probe"
			}
			_, err = fmt.Fprintf(e.out, "%s: right (%s)\n", where, what)
			return err
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func configShowCommand(e *env) *cobra.Command {
	var f configFlags
	var origin bool
	cmd := &cobra.Command{
		Use:     "show [FILE]",
		Short:   "show the configuration that holds, defaults included",
		Long:    `Show the configuration that holds: file, environment and defaults together, as a file that means the same.`,
		Example: "  sonde config show --origin",
		Args:    atMost(1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.argument(args); err != nil {
				return err
			}
			l, _, err := f.checked(e, newOutput(e))
			if err != nil {
				return err
			}
			return l.Show(e.out, origin)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	return cmd
}

// argument takes the file as an argument, too.
func (f *configFlags) argument(args []string) error {
	if len(args) == 0 {
		return nil
	}
	if f.file != "" {
		return misuse("", "%s: the file is given twice; leave one out", flagValue("config", f.file))
	}
	f.file = args[0]
	return nil
}

// atMost allows so many arguments.
func atMost(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return misuse("", "%q: %s takes no more than %s; see %s --help", args[n], cmd.Name(), what, cmd.CommandPath())
		}
		return nil
	}
}
