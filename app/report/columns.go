package report

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A column of CSV: its name in the header and its cell in the row of a run.
type column struct {
	name string
	cell func(record) string
}

// compatible is how many columns, from the left, are those of btest-rs.
const compatible = 14

// columns are all columns; new ones are only ever added at the end.
var columns = slices.Concat(flowColumns, tripsColumns)

// flowColumns are those of every test, and of throughput.
var flowColumns = []column{
	// The columns of btest-rs 0.6.3, with correct values.
	{"timestamp", func(r record) string { return strconv.FormatInt(r.end.Time.Unix(), 10) }},
	{"host", func(r record) string { host, _ := hostPort(r.begin); return cell(host) }},
	{"port", func(r record) string { _, port := hostPort(r.begin); return cell(port) }},
	{"protocol", func(r record) string { return strings.ToUpper(string(r.begin.Transport)) }},
	{"direction", func(r record) string { return localDirection(r.end.Role, r.begin.Direction) }},
	{"duration_s", func(r record) string { return r.whenBegun(r.wholeSeconds()) }},
	{"tx_avg_mbps", func(r record) string { return r.megabits(transmit(r.end.Role)) }},
	{"rx_avg_mbps", func(r record) string { return r.megabits(receive(r.end.Role)) }},
	{"tx_bytes", func(r record) string { return r.or(integer(r.bytes(transmit(r.end.Role))), "") }},
	{"rx_bytes", func(r record) string { return r.or(integer(r.bytes(receive(r.end.Role))), "") }},
	{"lost_packets", func(r record) string { return r.or(integer(r.lost()), "") }},
	{"local_cpu_pct", func(r record) string { return r.or(decimal(r.end.CPU.Local, 0), "") }},
	{"remote_cpu_pct", func(r record) string { return r.or(decimal(r.end.CPU.Remote, 0), "") }},
	{"auth_type", func(r record) string { return r.whenBegun(r.authType()) }},

	// Ours.
	{"id", func(r record) string { return string(r.end.Run) }},
	{"end_time", func(r record) string { return stamp(r.end.Time) }},
	{"tool", func(r record) string { return cell(r.end.Protocol) }},
	{"role", func(r record) string { return string(r.end.Role) }},
	{"account", func(r record) string { return cell(r.begin.Account) }},
	{"login", func(r record) string { return cell(r.begin.Login) }},
	{"streams", func(r record) string { return r.whenBegun(strconv.Itoa(r.begin.Streams)) }},
	{"reason", func(r record) string { return cell(r.end.Reason) }},
	{"error_code", func(r record) string { return cell(result.CodeOf(r.end.Err)) }},
	{"exit_code", func(r record) string { return strconv.Itoa(result.ExitCode(r.end.Err)) }},
	{"duration_seconds", func(r record) string {
		return r.whenBegun(strconv.FormatFloat(seconds(r.end.Elapsed), 'f', 3, 64))
	}},
	{"download_sent_bytes", sentBytes(result.Down)},
	{"download_received_bytes", receivedBytes(result.Down)},
	{"download_bits_per_second", rateCell(result.Down)},
	{"download_steady_bits_per_second", steadyCell(result.Down)},
	{"download_lost", lostCell(result.Down)},
	{"download_loss_ratio", lossCell(result.Down)},
	{"download_reordered", arrival(result.Down, func(v result.View) *uint64 { return v.Reordered })},
	{"download_duplicate", arrival(result.Down, func(v result.View) *uint64 { return v.Duplicate })},
	{"download_jitter_ns", jitterCell(result.Down)},
	{"upload_sent_bytes", sentBytes(result.Up)},
	{"upload_received_bytes", receivedBytes(result.Up)},
	{"upload_bits_per_second", rateCell(result.Up)},
	{"upload_steady_bits_per_second", steadyCell(result.Up)},
	{"upload_lost", lostCell(result.Up)},
	{"upload_loss_ratio", lossCell(result.Up)},
	{"upload_reordered", arrival(result.Up, func(v result.View) *uint64 { return v.Reordered })},
	{"upload_duplicate", arrival(result.Up, func(v result.View) *uint64 { return v.Duplicate })},
	{"upload_jitter_ns", jitterCell(result.Up)},
	{"idle_rtt_ns", func(r record) string {
		return latencyCell(r, func(l result.Latency) *result.Delay { return l.Idle })
	}},
	{"loaded_rtt_ns", func(r record) string {
		return latencyCell(r, func(l result.Latency) *result.Delay { return l.Loaded })
	}},
	{"latency_grade", func(r record) string {
		if r.end.Latency == nil {
			return ""
		}
		return cell(r.end.Latency.Grade)
	}},
	{"limit", func(r record) string {
		if r.end.Why == nil {
			return ""
		}
		return cell(r.end.Why.Limit)
	}},
}

// cell makes text of others harmless: one line, and nothing at its front that
// makes a spreadsheet compute it (OWASP, "CSV Injection").
func cell(s string) string {
	s = clean(s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}

// authType says whether there was a login, as btest-rs does: by its method at
// a server, as "auth" at a client.
func (r record) authType() string {
	switch {
	case r.begin.Login == "" || r.begin.Login == "none":
		return "none"
	case r.end.Role == result.Client:
		return "auth"
	}
	return cell(r.begin.Login)
}

// whenBegun is text, or nothing for a run that failed before it began.
func (r record) whenBegun(text string) string {
	if !r.begun() {
		return ""
	}
	return text
}

func decimal(p *float64, decimals int) string {
	if p = finite(p, decimals); p == nil {
		return ""
	}
	return strconv.FormatFloat(*p, 'f', decimals, 64)
}

// viewCell is a cell of one view of direction d; empty without that view.
func viewCell(d result.Direction, view func(result.Total) *result.View, cell func(result.View) string) func(record) string {
	return func(r record) string {
		t := r.end.Total(d)
		if t == nil {
			return ""
		}
		v := view(*t)
		if v == nil {
			return ""
		}
		return cell(*v)
	}
}

func sender(t result.Total) *result.View   { return t.Sent }
func receiver(t result.Total) *result.View { return t.Received }

func sentBytes(d result.Direction) func(record) string {
	return viewCell(d, sender, func(v result.View) string { return strconv.FormatUint(v.Bytes, 10) })
}

func receivedBytes(d result.Direction) func(record) string {
	return viewCell(d, receiver, func(v result.View) string { return strconv.FormatUint(v.Bytes, 10) })
}

func arrival(d result.Direction, figure func(result.View) *uint64) func(record) string {
	return viewCell(d, receiver, func(v result.View) string { return integer(figure(v)) })
}

func lostCell(d result.Direction) func(record) string {
	return viewCell(d, receiver, func(v result.View) string { return integer(v.Lost) })
}

func lossCell(d result.Direction) func(record) string {
	return viewCell(d, receiver, func(v result.View) string {
		_, ratio := lossOf(&v)
		return decimal(ratio, 9)
	})
}

func jitterCell(d result.Direction) func(record) string {
	return viewCell(d, receiver, func(v result.View) string {
		return orNothing(v.Jitter, func(d time.Duration) string { return strconv.FormatInt(int64(d), 10) })
	})
}

// rateCell is the rate from the local view, as everywhere.
func rateCell(d result.Direction) func(record) string {
	return func(r record) string {
		t := r.end.Total(d)
		if t == nil {
			return ""
		}
		return integer(rateOf(r.end.Local(d), t.Elapsed))
	}
}

func steadyCell(d result.Direction) func(record) string {
	return func(r record) string {
		t := r.end.Total(d)
		if t == nil || t.Steady == nil || t.Steady.Rate == 0 {
			return ""
		}
		return strconv.FormatUint(t.Steady.Rate, 10)
	}
}

func latencyCell(r record, which func(result.Latency) *result.Delay) string {
	if r.end.Latency == nil {
		return ""
	}
	return orNothing(which(*r.end.Latency), func(d result.Delay) string { return strconv.FormatInt(int64(d.P50), 10) })
}

// orNothing formats the figure p points to, or returns an empty cell.
func orNothing[T any](p *T, format func(T) string) string {
	if p == nil {
		return ""
	}
	return format(*p)
}
