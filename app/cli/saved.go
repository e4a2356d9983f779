package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/compare"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// Commands that read results which were saved with --json or --json-stream.

func explainCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE",
		Short: "tell a saved result in words",
		Long: `Tell in words what is in a file of results that --json or --json-stream wrote,
with all figures and remarks of each test. FILE may be - for standard input.`,
		Example: `  sonde btest client 192.168.88.1 --json -o monday.json
  sonde explain monday.json`,
		Args: oneArg("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			tests := 0
			err := readSaved(e, args[0], func(r *report.Run) error {
				if tests++; tests > 1 {
					fmt.Fprintln(e.out)
				}
				text := report.Text(e.out, report.TextConfig{Verbose: true, Streams: true})
				r.Replay(text)
				switch {
				case r.End == nil:
					fmt.Fprintln(e.out, "the file ends before this test did")
				case r.End.Err != nil:
					fmt.Fprintf(e.out, "it ended with an error: %s\n", plain(r.End.Err.Error()))
					if hint := result.HintOf(r.End.Err); hint != "" {
						fmt.Fprintf(e.out, "  hint: %s\n", plain(hint))
					}
				}
				return text.Err()
			})
			if err == nil && tests == 0 {
				return misuse("", "%s: no test in it; give a file that --json or --json-stream wrote", args[0])
			}
			return err
		},
	}
}

func diffCommand(e *env) *cobra.Command {
	var asJSON, fail bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "say whether B is slower than A, or no difference can be shown",
		Long: `Compare two files of results that --json or --json-stream wrote. With four runs
or more on both sides the runs are compared, which shows how much one test
differs from the next; with fewer the seconds within them are. A difference is
told only where chance would show one as large in less than one comparison of
twenty. One of the files may be - for standard input.`,
		Example: `  sonde btest client 192.168.88.1 --every 1m --count 10 --json -o before.json
  sonde diff before.json after.json --fail-worse`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return misuse("", "%s: %d files; give two, %s A B", cmd.CommandPath(), len(args), cmd.CommandPath())
			}
			if args[0] == "-" && args[1] == "-" {
				return misuse("", "%s: both are standard input; give a file for one of them", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var sides [2]compare.Set
			for n, name := range args {
				err := readSaved(e, name, func(r *report.Run) error {
					sides[n].Runs = append(sides[n].Runs, compare.Run{End: r.End, Intervals: r.Intervals})
					return nil
				})
				if err != nil {
					return err
				}
				if len(sides[n].Runs) == 0 {
					return misuse("", "%s: no test in it; give a file that --json or --json-stream wrote", name)
				}
			}
			all := compare.Compare(sides[0], sides[1])
			write := report.WriteDifferences
			if asJSON {
				write = report.WriteDifferencesJSON
			}
			if err := write(e.out, all); err != nil {
				return err
			}
			for _, d := range all {
				if worse := (d.B.Mean < d.A.Mean) == d.Figure.MoreIsBetter(); fail && d.Certain && worse {
					return &result.Error{Word: result.CodeThreshold, Text: fmt.Sprintf("%s: %s is worse than %s", d.Figure, args[1], args[0])}
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON document: means, the change and how certain it is")
	cmd.Flags().BoolVar(&fail, "fail-worse", false, "exit status 3 if a figure of B is certainly worse")
	return cmd
}

// readSaved reads the runs of the file of that name, - for standard input.
func readSaved(e *env, name string, each func(*report.Run) error) error {
	in := e.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fileError(name, "give a file that --json or --json-stream wrote", err)
		}
		defer f.Close()
		in = f
	}
	if err := report.ReadRuns(io.Reader(in), each); err != nil {
		return misuse("give a file that --json or --json-stream wrote", "%s: %w", name, err)
	}
	return nil
}
