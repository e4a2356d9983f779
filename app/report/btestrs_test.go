package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// The lines are the examples of what btest-rs 0.6.3 prints.
func TestBtestRSLine(t *testing.T) {
	cpu := func(local, remote float64) result.CPU { return result.CPU{Local: &local, Remote: &remote} }
	some := result.Some[uint64]
	for _, tt := range []struct {
		name      string
		transport result.Transport
		role      result.Role
		direction result.Direction
		seq       int
		view      result.View
		cpu       result.CPU
		want      string
	}{
		{"UDP receive with loss", result.UDP, result.Client, result.Down, 3,
			result.View{Bytes: 52_809_472, WireBytes: some(53_813_376), Lost: result.Some[int64](5)}, cpu(18, 45),
			"[   3]   RX  430.51 Mbps (53813376 bytes)  lost: 5  cpu: 18%/45%"},
		{"TCP send, busy", result.TCP, result.Client, result.Up, 4, result.View{Bytes: 56_250_000}, cpu(72, 85),
			"[   4]   TX  450.00 Mbps (56250000 bytes)  cpu: 72%/85% !"},
		{"UDP receive without loss", result.UDP, result.Server, result.Up, 12345,
			result.View{Bytes: 12, Lost: result.Some[int64](0)}, cpu(0, 70), "[12345]   RX  96 bps (12 bytes)  cpu: 0%/70%"},
		{"TCP server", result.TCP, result.Server, result.Down, 1, result.View{Bytes: 1_250_000_000}, cpu(99, 99),
			"[   1]   TX  10.00 Gbps (1250000000 bytes)"},
		{"the far end's CPU not yet told", result.TCP, result.Client, result.Down, 1, result.View{Bytes: 1000},
			result.CPU{Local: result.Some(3.0)}, "[   1]   RX  8.00 Kbps (1000 bytes)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := result.Interval{Head: result.Head{Role: tt.role}, Seq: tt.seq, Direction: tt.direction,
				Stream: result.AllStreams, End: time.Second, CPU: tt.cpu}
			if (tt.role == result.Client) == (tt.direction == result.Down) {
				i.Received = &tt.view
			} else {
				i.Sent = &tt.view
			}
			if got := btestRSLine(tt.transport, i); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestBtestRS(t *testing.T) {
	var lines, log bytes.Buffer
	put(BtestRS(&lines, BtestRSConfig{Log: &log}), udpBoth(), tcpLost(), refused())
	golden(t, "btestrs.txt", lines.String())
	golden(t, "btestrs-log.txt", log.String())
	lines.Reset()
	log.Reset()
	put(BtestRS(&lines, BtestRSConfig{Log: &log, Quiet: true}), udpBoth())
	if lines.Len() != 0 || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("quiet: lines %q, log %q", &lines, &log)
	}
	put(BtestRS(&lines, BtestRSConfig{}), udpBoth()) // no log: nowhere, no panic
}

func TestLoginLine(t *testing.T) {
	l := result.Login{Account: "ann", Method: "md5"}
	for _, tt := range []struct {
		name string
		n    result.Note
		want string
	}{
		{"success", result.Note{Code: result.NoteAuthSuccess, Login: &l}, "AUTH_SUCCESS peer=- user=ann type=md5"},
		{"failure", result.Note{Code: result.NoteAuthFailure, Login: &result.Login{Reason: "wrong password"}},
			`AUTH_FAILURE peer=- user=- type=- reason="wrong password"`},
		{"failure without a reason", result.Note{Code: result.NoteAuthFailure, Login: &l}, "AUTH_FAILURE peer=- user=ann type=md5 reason=-"},
		{"a user called -", result.Note{Login: &result.Login{Account: "-", Method: "md5"}}, `AUTH_SUCCESS peer=- user="-" type=md5`},
		{"injection", result.Note{Login: &result.Login{Account: "x\nAUTH_SUCCESS user=root", Method: "md5"}},
			`AUTH_SUCCESS peer=- user="xAUTH_SUCCESS user=root" type=md5`},
		{"quotes", result.Note{Login: &result.Login{Account: `a"\`, Method: "md5"}}, `AUTH_SUCCESS peer=- user="a\"\\" type=md5`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := loginLine(tt.n)
			if !ok || got.text != tt.want {
				t.Errorf("loginLine = %q, %v, want %q", got.text, ok, tt.want)
			}
		})
	}
	if _, ok := loginLine(result.Note{Text: "no login"}); ok {
		t.Error("a note without a login gave a line")
	}
}

func TestHostPort(t *testing.T) {
	peer := tcpLost()[0].(result.Begin).Peer
	for _, tt := range []struct{ target, host, port string }{
		{"router.example:2000", "router.example", "2000"},
		{"[fe80::1%eth0]:2001", "fe80::1%eth0", "2001"},
		{"fe80::1", "fe80::1", "51022"},
		{"router", "router", "51022"},
		{"", "198.51.100.7", "51022"},
	} {
		if host, port := hostPort(result.Begin{Target: tt.target, Peer: peer}); host != tt.host || port != tt.port {
			t.Errorf("hostPort(%q) = %q, %q, want %q, %q", tt.target, host, port, tt.host, tt.port)
		}
	}
}
