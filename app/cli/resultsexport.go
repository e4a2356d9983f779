//go:build !nano

package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/store"
)

func resultsExportCommand(e *env) *cobra.Command {
	var f resultFlags
	var format, file string
	var whole bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "write tests as JSON lines or CSV, oldest first",
		Long: `Write tests, oldest first: one line of JSON for each, or one of CSV. With --whole
it is the results themselves, of those tests of probes whose whole result is
still kept: what sonde report, sonde explain and sonde diff read.`,
		Example: `  sonde results export --store sonde.db --since 7d --format csv -o week.csv
  sonde results export --store sonde.db --probe office --whole -o office.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "jsonl" && format != "csv" {
				return misuse("", "%s: not one of the choices; give jsonl or csv", flagValue("format", format))
			}
			if whole && format == "csv" {
				return misuse("", "--whole: whole results are JSON; leave --format csv out")
			}
			return f.store.with(cmd.Context(), e, func(s *store.Store, now time.Time) error {
				w, shut := e.out, func() error { return nil }
				if file != "" && file != "-" {
					out, err := os.Create(file)
					if err != nil {
						return cannotWrite("output", file, err)
					}
					w, shut = out, out.Close
				}
				err := f.export(cmd.Context(), s, now, w, format, whole)
				if closed := shut(); err == nil && closed != nil {
					err = cannotWrite("output", file, closed)
				}
				return err
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "jsonl", "`KIND` of lines: jsonl or csv")
	cmd.Flags().StringVarP(&file, "output", "o", "", "`FILE` to write instead of standard output")
	cmd.Flags().BoolVar(&whole, "whole", false, "the results of probes themselves, as far as they are kept")
	return cmd
}

func (f *resultFlags) export(ctx context.Context, s *store.Store, now time.Time, w io.Writer, format string, whole bool) error {
	servers, ofServers, probes, ofProbes := f.filters(now)
	put := jsonRows(w)
	flush := func() error { return nil }
	if format == "csv" {
		c := csv.NewWriter(w)
		put = func(r resultRow) error { return c.Write(r.columns()) }
		flush = func() error { c.Flush(); return c.Error() }
		if err := c.Write(resultColumns); err != nil {
			return err
		}
	}
	if ofProbes {
		err := s.EachProbeRun(ctx, probes, func(r store.ProbeRun) error {
			if !f.keeps(r) {
				return nil
			}
			if !whole {
				return put(rowOfProbe(r))
			}
			r, err := s.ProbeRun(ctx, r.Num)
			if err != nil || r.Document == nil {
				return err
			}
			var line bytes.Buffer
			if err := json.Compact(&line, r.Document); err != nil {
				return err
			}
			line.WriteByte('\n')
			_, err = w.Write(line.Bytes())
			return err
		})
		if err != nil {
			return err
		}
	}
	if ofServers && !whole {
		if err := s.EachRun(ctx, servers, func(r store.Run) error { return put(rowOfServer(r)) }); err != nil {
			return err
		}
	}
	return flush()
}

func jsonRows(w io.Writer) func(resultRow) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(r resultRow) error { return enc.Encode(r) }
}

// resultColumns are the columns of CSV; new ones come at the end.
var resultColumns = []string{
	"number", "id", "time", "probe", "protocol", "target", "account", "duration_seconds", "bytes", "download_bits_per_second", "upload_bits_per_second",
	"packets_sent", "packets_lost", "rtt_count", "rtt_min_ns", "rtt_p50_ns", "rtt_p90_ns", "rtt_p99_ns", "rtt_max_ns",
	"rtt_loaded_count", "rtt_loaded_min_ns", "rtt_loaded_p50_ns", "rtt_loaded_p90_ns", "rtt_loaded_p99_ns", "rtt_loaded_max_ns",
	"success", "state", "code", "error", "why",
}

// columns are those of a row; what was not measured is empty.
func (r resultRow) columns() []string {
	name, state, success, seconds, lost := "", "", "", "", ""
	if r.Probe != nil {
		name, state, success = *r.Probe, *r.State, strconv.FormatBool(*r.Success)
	}
	if r.Seconds != nil {
		seconds = strconv.FormatFloat(*r.Seconds, 'f', -1, 64)
	}
	if r.Lost != nil {
		lost = strconv.FormatInt(*r.Lost, 10)
	}
	all := []string{r.Number, string(r.ID), r.Time.UTC().Format(time.RFC3339Nano), name, r.Protocol, r.Target, r.Account, seconds,
		plainCount(r.Bytes), plainCount(r.Down), plainCount(r.Up), plainCount(r.Sent), lost}
	for _, s := range []*spreadRow{r.RTT, r.Loaded} {
		if s == nil {
			all = append(all, "", "", "", "", "", "")
			continue
		}
		all = append(all, plainCount(&s.Count))
		for _, d := range []time.Duration{s.Min, s.P50, s.P90, s.P99, s.Max} {
			all = append(all, strconv.FormatInt(int64(d), 10))
		}
	}
	return append(all, success, state, r.Code, r.Error, r.Why)
}

func plainCount(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}
