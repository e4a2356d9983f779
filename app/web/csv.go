package web

import (
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/store"
)

// harmless is a text that no spreadsheet takes for a formula: what begins like
// one gets an apostrophe before it.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n|%", rune(s[0])) {
		return "'" + s
	}
	return s
}

// table answers with CSV (RFC 4180). Texts from outside go through harmless.
func table(w http.ResponseWriter, name string, head []string, rows [][]string) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.Write(head); err != nil {
		return nil // the reader has gone
	}
	_ = c.WriteAll(rows)
	return nil
}

// cell is a figure; nothing where it was not measured.
func cell[N ~int64 | ~uint64](n *N) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(*n), 10)
}

func seconds(d *time.Duration) string {
	if d == nil {
		return ""
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

func (s *Site) testsCSV(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	f.Limit = mostExported
	runs, err := s.Store.Runs(r.Context(), f)
	if err != nil {
		return err
	}
	return table(w, "tests.csv", []string{
		"id", "run_id", "started_at", "ended_at", "protocol", "transport", "direction", "username", "peer_ip", "streams",
		"tx_bytes", "rx_bytes", "duration_seconds", "lost", "reason",
	}, rowsOf(runs))
}

func rowsOf(runs []store.Run) [][]string {
	rows := make([][]string, 0, len(runs))
	for _, one := range runs {
		rows = append(rows, []string{
			strconv.FormatInt(one.Num, 10), harmless(string(one.ID)), moment(one.Started), moment(one.Ended), harmless(one.Protocol), harmless(string(one.Transport)),
			one.Direction.String(), harmless(one.Account), harmless(one.Address), strconv.Itoa(one.Streams),
			cell(one.Out), cell(one.In), seconds(one.Elapsed), cell(one.Lost), harmless(one.Reason),
		})
	}
	return rows
}

func (s *Site) refusalsCSV(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	f.Limit = mostExported
	all, err := s.Store.Refusals(r.Context(), f)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, one := range all {
		rows = append(rows, []string{
			strconv.FormatInt(one.Num, 10), moment(one.Time), harmless(one.Protocol), harmless(one.Account), harmless(one.Address), harmless(one.Word),
			harmless(one.Text), cell(one.Used), cell(one.Limit), moment(one.Until),
		})
	}
	return table(w, "refusals.csv", []string{"id", "time", "protocol", "username", "peer_ip", "reason", "text", "used_bytes", "limit_bytes", "works_again_at"}, rows)
}
