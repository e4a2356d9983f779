package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/selfcheck"
	"github.com/sonde-net/sonde/result"
)

func selfcheckCommand(e *env) *cobra.Command {
	each := duration(time.Second)
	var f selfcheckFlags
	cmd := &cobra.Command{
		Use:   "selfcheck",
		Short: "what this host can send to itself, and by which technique",
		Long: `Measure what this host can send and receive over its own loopback interface, for
each transport and size, what a gigabit costs in processor time, and by which
technique the bytes move. A test over a network cannot be faster than this.

The figures are kept for this user; later results say how near they came.

On Linux the limits of the system that tests run into are looked at, too, and
what to do about each; --settings does only that, and sends nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.each = time.Duration(each)
			return f.run(cmd.Context(), e)
		},
	}
	cmd.Flags().VarP(&each, "duration", "d", "time for each line")
	cmd.Flags().BoolVar(&f.json, "json", false, "one JSON document")
	cmd.Flags().BoolVar(&f.quiet, "no-progress", false, "with --json: do not say at a terminal how far it is")
	cmd.Flags().BoolVar(&f.forget, "no-keep", false, "do not keep the figures")
	cmd.Flags().BoolVar(&f.settings, "settings", false, "only look at the limits of this system")
	return cmd
}

type selfcheckFlags struct {
	each                   time.Duration
	json, forget, settings bool
	quiet                  bool
}

// A checked is the JSON document of selfcheck.
type checked struct {
	selfcheck.Figures
	Settings []selfcheck.Setting `json:"settings"`
}

func (s *selfcheckFlags) run(ctx context.Context, e *env) error {
	if s.each < 100*time.Millisecond || s.each > time.Minute {
		return misuse("give 1s or so", "--duration %v: want 100ms to 1m", s.each)
	}
	host, err := os.Hostname()
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "name of this host", Err: err}
	}
	doc := checked{selfcheck.Figures{Time: time.Now().UTC(), Host: host, Rows: []selfcheck.Row{}}, selfcheck.Settings()}
	if !s.settings {
		if err := s.measure(ctx, e, &doc.Figures); err != nil {
			return err
		}
	}
	if s.json {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		return enc.Encode(doc)
	}
	printSettings(e, doc.Settings)
	return nil
}

// measure fills the figures and keeps them.
func (s *selfcheckFlags) measure(ctx context.Context, e *env, f *selfcheck.Figures) error {
	if !s.json {
		fmt.Fprintf(e.out, "%s, %s/%s, %d processors, loopback, sender and receiver in one process\n", f.Host, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
		fmt.Fprintf(e.out, "%-18s %15s %15s %8s %14s  %s\n", "", "rate", "packets/s", "lost", "CPU s/Gbit", "technique")
	}
	far := progress{to: e.err, shown: s.json && !s.quiet && e.errTerminal, of: len(selfcheck.Cases)}
	defer far.end()
	far.at(0)
	err := selfcheck.Run(ctx, selfcheck.Cases, s.each, func(r selfcheck.Row) {
		f.Rows = append(f.Rows, r)
		far.at(len(f.Rows))
		if !s.json {
			printRow(e, r)
		}
	})
	if err != nil || s.forget {
		return err
	}
	kept, err := selfcheck.Keep(*f)
	switch {
	case err != nil:
		fmt.Fprintf(e.err, "%s: the figures are not kept: %v\n", e.program, err)
	case !s.json:
		fmt.Fprintf(e.out, "kept in %s: later results say how near to this they came\n", kept)
	}
	return nil
}

// printSettings prints each limit of the system, and of those that are too low
// what becomes of it and what to do.
func printSettings(e *env, settings []selfcheck.Setting) {
	for _, s := range settings {
		have, verdict := "-", "cannot tell"
		if s.Have != nil {
			have = *s.Have
		}
		if s.OK != nil {
			verdict = map[bool]string{true: "ok", false: "low"}[*s.OK]
		}
		fmt.Fprintf(e.out, "%-11s  %s = %s (want %s)\n", verdict, s.Name, have, s.Want)
		if s.OK != nil && !*s.OK {
			fmt.Fprintf(e.out, "%13s%s\n%13stry: %s\n", "", s.Why, "", s.Do)
		}
	}
}

func printRow(e *env, r selfcheck.Row) {
	packets, lost, cost := "-", "-", "-"
	if r.PacketsPerSecond != nil {
		packets = fmt.Sprint(*r.PacketsPerSecond)
	}
	if r.LossRatio != nil {
		lost = report.FormatPercent(*r.LossRatio)
	}
	if r.CPUPerGbit != nil {
		cost = fmt.Sprintf("%.4f", *r.CPUPerGbit)
	}
	fmt.Fprintf(e.out, "%-18s %15s %15s %8s %14s  %s\n", r.Name(), report.FormatRate(r.BitsPerSecond), packets, lost, cost, r.Sending)
}
