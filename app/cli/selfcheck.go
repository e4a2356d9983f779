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
	var asJSON, forget bool
	cmd := &cobra.Command{
		Use:   "selfcheck",
		Short: "what this host can send to itself, and by which technique",
		Long: `Measure what this host can send and receive over its own loopback interface, for
each transport and size, what a gigabit costs in processor time, and by which
technique the bytes move. A test over a network cannot be faster than this.

The figures are kept for this user; later results say how near they came.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runSelfcheck(cmd.Context(), e, time.Duration(each), asJSON, forget)
		},
	}
	cmd.Flags().VarP(&each, "duration", "d", "time for each line")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON document")
	cmd.Flags().BoolVar(&forget, "no-keep", false, "do not keep the figures")
	return cmd
}

func runSelfcheck(ctx context.Context, e *env, each time.Duration, asJSON, forget bool) error {
	if each < 100*time.Millisecond || each > time.Minute {
		return misuse("give 1s or so", "--duration %v: want 100ms to 1m", each)
	}
	host, err := os.Hostname()
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "name of this host", Err: err}
	}
	f := selfcheck.Figures{Time: time.Now().UTC(), Host: host}
	if !asJSON {
		fmt.Fprintf(e.out, "%s, %s/%s, %d processors, loopback, sender and receiver in one process\n", host, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
		fmt.Fprintf(e.out, "%-18s %15s %15s %8s %14s  %s\n", "", "rate", "packets/s", "lost", "CPU s/Gbit", "technique")
	}
	err = selfcheck.Run(ctx, selfcheck.Cases, each, func(r selfcheck.Row) {
		f.Rows = append(f.Rows, r)
		if !asJSON {
			printRow(e, r)
		}
	})
	if err != nil {
		return err
	}
	kept := ""
	if !forget {
		if kept, err = selfcheck.Keep(f); err != nil {
			fmt.Fprintf(e.err, "%s: the figures are not kept: %v\n", e.program, err)
		}
	}
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		return enc.Encode(f)
	}
	if kept != "" {
		fmt.Fprintf(e.out, "kept in %s: later results say how near to this they came\n", kept)
	}
	return nil
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
