//go:build !nano

package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/result"
)

func resultsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "results",
		Short: "list, show, export and prune the results in a store",
		Long: `The results that sonde serve and servers with --store keep: tests of scheduled
probes, and of clients against servers.`,
	}
	cmd.AddCommand(resultsListCommand(e), resultsShowCommand(e), resultsExportCommand(e), resultsPruneCommand(e))
	return cmd
}

// resultFlags choose results.
type resultFlags struct {
	store           storeFlags
	probe, protocol string
	account         string
	address         string
	since           duration
}

func (f *resultFlags) register(fs *pflag.FlagSet) {
	f.store.register(fs)
	fs.StringVar(&f.probe, "probe", "", "only tests of the probe of this `NAME`")
	fs.StringVar(&f.protocol, "protocol", "", "only tests of this protocol, such as stamp")
	fs.StringVar(&f.account, "account", "", "only tests of servers by this user")
	fs.StringVar(&f.address, "address", "", "only tests of servers from this address")
	fs.Var(&f.since, "since", "only tests that began in so long a time until now, such as 24h or 7d; 0 all")
}

// filters choose the same among tests of servers and of probes; a false one is
// none.
func (f *resultFlags) filters(now time.Time) (servers store.Filter, ofServers bool, probes store.ProbeFilter, ofProbes bool) {
	servers = store.Filter{Protocol: f.protocol, Account: f.account, Address: f.address}
	probes = store.ProbeFilter{Probe: f.probe, Protocol: f.protocol}
	if f.since > 0 {
		servers.From = now.Add(-time.Duration(f.since))
		probes.From = servers.From
	}
	return servers, f.probe == "", probes, f.account == "" && f.address == ""
}

func (f *resultFlags) keeps(r store.ProbeRun) bool {
	return f.protocol == "" || r.Probe.Protocol == f.protocol
}

// A resultRow is a test in a list: what is common to tests of probes and of
// servers. What was not measured is null.
type resultRow struct {
	Number   string     `json:"number"` // p12 of a probe, s34 of a server
	ID       result.ID  `json:"id"`
	Time     time.Time  `json:"time"`
	Probe    *string    `json:"probe"`
	Protocol string     `json:"protocol"`
	Target   string     `json:"target"` // of a probe; the client's address at a server
	Account  string     `json:"account"`
	Seconds  *float64   `json:"duration_seconds"`
	Bytes    *uint64    `json:"bytes"`
	Down     *uint64    `json:"download_bits_per_second"`
	Up       *uint64    `json:"upload_bits_per_second"`
	Sent     *uint64    `json:"packets_sent"`
	Lost     *int64     `json:"packets_lost"`
	RTT      *spreadRow `json:"rtt"`
	Loaded   *spreadRow `json:"rtt_loaded"`
	Success  *bool      `json:"success"`
	State    *string    `json:"state"`
	Code     string     `json:"code"` // "ok", or the fixed word
	Error    string     `json:"error"`
	Why      string     `json:"why"`
}

type spreadRow struct {
	Count uint64        `json:"count"`
	Min   time.Duration `json:"min_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

func spreadRowOf(s *store.Spread) *spreadRow {
	if s == nil {
		return nil
	}
	return &spreadRow{s.Count, s.Min, s.P50, s.P90, s.P99, s.Max}
}

func rowOfProbe(r store.ProbeRun) resultRow {
	row := resultRow{
		Number: fmt.Sprintf("p%d", r.Num), ID: r.ID, Time: r.Started, Probe: &r.Probe.Name, Protocol: r.Probe.Protocol, Target: r.Probe.Target,
		Seconds: new(r.Took.Seconds()), Bytes: &r.Bytes, Down: r.Down, Up: r.Up, Sent: r.Sent, RTT: spreadRowOf(r.RTT), Loaded: spreadRowOf(r.Loaded),
		Success: &r.Success, State: &r.State, Code: cmp.Or(r.Word, "ok"), Error: r.Error, Why: r.Why,
	}
	if r.Lost != nil {
		row.Lost = new(int64(*r.Lost))
	}
	return row
}

func rowOfServer(r store.Run) resultRow {
	row := resultRow{
		Number: fmt.Sprintf("s%d", r.Num), ID: r.ID, Time: r.Started, Protocol: r.Protocol, Target: r.Address, Account: r.Account,
		Lost: r.Lost, Code: cmp.Or(r.Reason, "running"), Error: r.Error,
	}
	if r.In != nil || r.Out != nil {
		row.Bytes = new(uint64)
		for _, n := range []*uint64{r.In, r.Out} {
			if n != nil {
				*row.Bytes += *n
			}
		}
	}
	if r.Elapsed != nil {
		row.Seconds = new(r.Elapsed.Seconds())
		row.Down, row.Up = rateFor(r.Out, *r.Elapsed), rateFor(r.In, *r.Elapsed)
	}
	return row
}

// rateFor is the rate of what a server counted, nil where nothing flowed.
func rateFor(n *uint64, d time.Duration) *uint64 {
	if n == nil {
		return nil
	}
	return result.Rate(*n, d)
}

func resultsListCommand(e *env) *cobra.Command {
	var f resultFlags
	var asJSON bool
	most := count(50)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list tests, newest first",
		Long: `List tests in a store, newest first: those of scheduled probes (p12) and those of
clients against servers (s34). sonde results show has one of them in words.`,
		Example: `  sonde results list --store /var/lib/sonde/sonde.db
  sonde results list --store sonde.db --probe office --since 24h`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.store.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				rows, err := f.rows(cmd.Context(), s, now, int(most))
				if err != nil {
					return err
				}
				if asJSON {
					return writeIndented(e.out, map[string]any{"results": rows})
				}
				return listResults(e.out, rows)
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().Var(&most, "most", "list so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// rows are the newest tests of both kinds.
func (f *resultFlags) rows(ctx context.Context, s *store.Store, now time.Time, most int) ([]resultRow, error) {
	rows := []resultRow{}
	servers, ofServers, probes, ofProbes := f.filters(now)
	servers.Limit, probes.Limit = most, most
	if ofServers {
		runs, err := s.Runs(ctx, servers)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			rows = append(rows, rowOfServer(r))
		}
	}
	if ofProbes {
		runs, err := s.ProbeRuns(ctx, probes)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			if f.keeps(r) {
				rows = append(rows, rowOfProbe(r))
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b resultRow) int { return b.Time.Compare(a.Time) })
	return rows[:min(len(rows), most)], nil
}

func listResults(w io.Writer, rows []resultRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tTIME\tPROBE\tPROTOCOL\tTARGET\tDOWN\tUP\tLOST\tRTT\tSTATE\tCODE")
	for _, r := range rows {
		name, state, lost, rtt := "-", "-", "-", "-"
		if r.Probe != nil {
			name, state = *r.Probe, *r.State
		}
		if r.Lost != nil {
			lost = strconv.FormatInt(*r.Lost, 10)
		}
		if r.RTT != nil {
			rtt = r.RTT.P50.Round(10 * time.Microsecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Number, r.Time.Local().Format("2006-01-02 15:04:05"),
			plain(name), plain(r.Protocol), plain(r.Target), rateText(r.Down), rateText(r.Up), lost, rtt, state, plain(r.Code))
	}
	return t.Flush()
}

func rateText(n *uint64) string {
	if n == nil {
		return "-"
	}
	return report.FormatRate(*n)
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func resultsShowCommand(e *env) *cobra.Command {
	var st storeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NUMBER",
		Short: "tell one test in words",
		Long: `Tell one test in words, with all that is still known of it. NUMBER is that of
sonde results list, such as p12 or s34. With --json it is the result as the test
itself wrote it, which is kept of the latest tests of each probe.`,
		Example: "  sonde results show p12 --store sonde.db",
		Args:    oneArg("NUMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, rest := args[0][:min(1, len(args[0]))], strings.TrimLeft(args[0], "ps")
			num, err := strconv.ParseInt(rest, 10, 64)
			if err != nil || kind != "p" && kind != "s" {
				return misuse("", "%s: not the number of a result; sonde results list has them, such as p12 or s34", args[0])
			}
			return st.with(cmd.Context(), e, func(s *store.Store, _ time.Time) error {
				show := showServerRun
				if kind == "p" {
					show = showProbeRun
				}
				err := show(cmd.Context(), e, s, num, asJSON)
				if store.IsNotFound(err) {
					return misuse("sonde results list has those that there are", "%s: no such result in the store", args[0])
				}
				return err
			})
		},
	}
	st.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func showProbeRun(ctx context.Context, e *env, s *store.Store, num int64, asJSON bool) error {
	r, err := s.ProbeRun(ctx, num)
	if err != nil {
		return err
	}
	if asJSON {
		if r.Document == nil {
			return writeIndented(e.out, rowOfProbe(r))
		}
		_, err := e.out.Write(append(bytes.TrimSpace(r.Document), '\n'))
		return err
	}
	row := rowOfProbe(r)
	fmt.Fprintf(e.out, "probe %s: %s to %s, %s, state %s after it\n", plain(r.Probe.Name), plain(r.Probe.Protocol), plain(r.Probe.Target),
		r.Started.Local().Format("2006-01-02 15:04:05 MST"), plain(r.State))
	if r.Document != nil {
		text := report.Text(e.out, report.TextConfig{Verbose: true, Streams: true})
		if err := report.ReadRuns(bytes.NewReader(r.Document), func(one *report.Run) error { one.Replay(text); return text.Err() }); err != nil {
			return err
		}
	} else {
		showRow(e.out, row)
	}
	switch {
	case r.Word == store.Stopped:
		fmt.Fprintf(e.out, "sonde itself ended it, which says nothing of the path: %s\n", plain(cmp.Or(r.Error, "the bytes of the day are used up")))
	case r.Error != "":
		fmt.Fprintf(e.out, "no success: %s\n", plain(r.Error))
	}
	return nil
}

// showRow tells what is left of a test whose whole result is no longer kept.
func showRow(w io.Writer, r resultRow) {
	for _, one := range []struct {
		name string
		rate *uint64
	}{{"download", r.Down}, {"upload", r.Up}} {
		if one.rate != nil {
			fmt.Fprintf(w, "%s: %s\n", one.name, report.FormatRate(*one.rate))
		}
	}
	if r.Sent != nil && r.Lost != nil {
		fmt.Fprintf(w, "packets: %d sent, %d lost\n", *r.Sent, *r.Lost)
	}
	for _, one := range []struct {
		name string
		s    *spreadRow
	}{{"round trip", r.RTT}, {"round trip under load", r.Loaded}} {
		if s := one.s; s != nil {
			fmt.Fprintf(w, "%s: least %v, median %v, 90 %% %v, 99 %% %v, most %v\n", one.name, s.Min, s.P50, s.P90, s.P99, s.Max)
		}
	}
	if r.Why != "" {
		fmt.Fprintf(w, "why: %s\n", plain(r.Why))
	}
}

func showServerRun(ctx context.Context, e *env, s *store.Store, num int64, asJSON bool) error {
	r, err := s.Run(ctx, num)
	if err != nil {
		return err
	}
	row := rowOfServer(r)
	if asJSON {
		return writeIndented(e.out, row)
	}
	fmt.Fprintf(e.out, "%s test of %s, %s", plain(r.Protocol), plain(r.Address), r.Started.Local().Format("2006-01-02 15:04:05 MST"))
	if r.Account != "" {
		fmt.Fprintf(e.out, ", by %s", plain(r.Account))
	}
	fmt.Fprintln(e.out)
	showRow(e.out, row)
	if r.Elapsed != nil {
		fmt.Fprintf(e.out, "it lasted %v and ended with %s\n", r.Elapsed.Round(time.Millisecond), plain(row.Code))
	} else {
		fmt.Fprintf(e.out, "it has no end: %s\n", plain(row.Code))
	}
	if r.Error != "" {
		fmt.Fprintf(e.out, "%s\n", plain(r.Error))
	}
	return nil
}

func resultsPruneCommand(e *env) *cobra.Command {
	var st storeFlags
	var older duration
	var name string
	var dry bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "drop old results",
		Long: `Drop results that are older than so long. What users and addresses have used, and
their limits, stay. Without this command results go as store.retention says.`,
		Example: `  sonde results prune --store sonde.db --older 365d --dry-run
  sonde results prune --store sonde.db --older 30d --probe office`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("older") {
				return misuse("", "%s: how old? give --older, such as --older 90d", cmd.CommandPath())
			}
			return st.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				p, err := s.Prune(cmd.Context(), now.Add(-time.Duration(older)), name, dry)
				if err != nil {
					return err
				}
				what := "dropped"
				if dry {
					what = "would be dropped"
				}
				_, err = fmt.Fprintf(e.out, "%s: %d tests of probes, %d hours and days of probes, %d missed, %d changes of state, %d tests of servers, %d refusals\n",
					what, p.Probes, p.Hours, p.Missed, p.Changes, p.Runs, p.Refusals)
				return err
			})
		},
	}
	st.register(cmd.Flags())
	cmd.Flags().Var(&older, "older", "drop what is older than so long, such as 90d")
	cmd.Flags().StringVar(&name, "probe", "", "only results of the probe of this `NAME`")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say how much it would be")
	return cmd
}
