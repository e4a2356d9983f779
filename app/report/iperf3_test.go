package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// The lines of this file are those that iperf 3.12 printed on a loopback
// interface; the events are what its document says of the same.

// sec makes figures of an interval.
func sec(socket int, from, to float64, bytes uint64, bits float64, sends bool) wire.ReportFigures {
	f := wire.ReportFigures{Start: from, End: to, Seconds: to - from, Bytes: bytes, BitsPerSecond: bits, Sender: sends, Omitted: new(bool)}
	if socket > 0 {
		f.Socket = &socket
	}
	return f
}

func retr(f wire.ReportFigures, n, cwnd uint64) wire.ReportFigures {
	f.Retransmits = &n
	if cwnd > 0 {
		f.SndCwnd = &cwnd
	}
	return f
}

func lossy(f wire.ReportFigures, jitter float64, lost int64, packets uint64) wire.ReportFigures {
	f.JitterMS, f.LostPackets, f.Packets, f.LostPercent = &jitter, &lost, &packets, result.Some(100*float64(lost)/float64(packets))
	return f
}

func iperf3StartOf(t wire.ReportTestStart, streams ...wire.ReportConnected) wire.ReportStart {
	return wire.ReportStart{ConnectingTo: &wire.ReportHost{Host: "127.0.0.1", Port: 15299}, Connected: streams, TestStart: &t}
}

func connected(socket int, port uint16) wire.ReportConnected {
	return wire.ReportConnected{Socket: socket, LocalHost: "127.0.0.1", LocalPort: port, RemoteHost: "127.0.0.1", RemotePort: 15299}
}

const mi, gi = 1 << 20, 1 << 30

func TestIperf3Text(t *testing.T) {
	upload := func(bytes uint64) *result.Total { return &result.Total{Received: &result.View{Bytes: bytes}} }
	for _, tt := range []struct {
		name   string
		c      Iperf3Config
		events []any
		end    result.End
		want   string
	}{
		{"tcp", Iperf3Config{}, []any{
			iperf3StartOf(wire.ReportTestStart{Protocol: "TCP", NumStreams: 1}, connected(5, 41994)),
			wire.ReportInterval{Streams: []wire.ReportFigures{retr(sec(5, 0, 1, 695*mi, 5.83e9, true), 3, 1023<<10)}},
			wire.ReportInterval{Streams: []wire.ReportFigures{retr(sec(5, 1, 2, 1965*mi*954/1000, 15.7e9, true), 1, 895<<10)}},
			wire.ReportEnd{Streams: []wire.ReportStream{{
				Sender:   result.Some(retr(sec(5, 0, 2, gi*5/2, 10.8e9, true), 4, 0)),
				Receiver: result.Some(sec(5, 0, 2, gi*5/2, 10.7e9, true)),
			}}},
		}, result.End{}, `Connecting to host 127.0.0.1, port 15299
[  5] local 127.0.0.1 port 41994 connected to 127.0.0.1 port 15299
[ ID] Interval           Transfer     Bitrate         Retr  Cwnd
[  5]   0.00-1.00   sec   695 MBytes  5.83 Gbits/sec    3   1023 KBytes       
[  5]   1.00-2.00   sec  1.83 GBytes  15.7 Gbits/sec    1    895 KBytes       
- - - - - - - - - - - - - - - - - - - - - - - - -
[ ID] Interval           Transfer     Bitrate         Retr
[  5]   0.00-2.00   sec  2.50 GBytes  10.8 Gbits/sec    4             sender
[  5]   0.00-2.00   sec  2.50 GBytes  10.7 Gbits/sec                  receiver

iperf Done.
`},
		{"udp reverse, a unit", Iperf3Config{Unit: 'k'}, []any{
			iperf3StartOf(wire.ReportTestStart{Protocol: "UDP", NumStreams: 1, Reverse: 1}, connected(5, 36147)),
			wire.ReportInterval{Streams: []wire.ReportFigures{lossy(sec(5, 0, 1, 128<<10, 1.05e6, false), 0.008, 0, 4)}},
			wire.ReportEnd{Streams: []wire.ReportStream{{UDP: result.Some(lossy(sec(5, 0, 1, 160<<10, 1.31e6, false), 0.011, 1, 5))}}},
		}, result.End{Down: upload(128 << 10)}, `Connecting to host 127.0.0.1, port 15299
Reverse mode, remote host 127.0.0.1 is sending
[  5] local 127.0.0.1 port 36147 connected to 127.0.0.1 port 15299
[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-1.00   sec   128 KBytes  1050 Kbits/sec  0.008 ms  0/4 (0%)  
- - - - - - - - - - - - - - - - - - - - - - - - -
[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-1.00   sec   160 KBytes  1310 Kbits/sec  0.000 ms  0/5 (0%)  sender
[  5]   0.00-1.00   sec   128 KBytes  1049 Kbits/sec  0.011 ms  1/5 (20%)  receiver

iperf Done.
`},
		{"both ways, two streams", Iperf3Config{}, []any{
			iperf3StartOf(wire.ReportTestStart{Protocol: "UDP", NumStreams: 2, Bidir: 1}),
			wire.ReportInterval{
				Streams: []wire.ReportFigures{
					{Socket: result.Some(5), End: 1, Bytes: 128 << 10, BitsPerSecond: 1.05e6, Packets: result.Some[uint64](4), Sender: true},
					{Socket: result.Some(7), End: 1, Bytes: 128 << 10, BitsPerSecond: 1.05e6, Packets: result.Some[uint64](4), Sender: true},
					lossy(sec(9, 0, 1, 160<<10, 1.31e6, false), 0.022, 0, 5), lossy(sec(12, 0, 1, 160<<10, 1.31e6, false), 0.016, 0, 5),
				},
				Sum:        wire.ReportFigures{End: 1, Bytes: 256 << 10, BitsPerSecond: 2.1e6, Packets: result.Some[uint64](8), Sender: true},
				SumReverse: result.Some(lossy(sec(0, 0, 1, 320<<10, 2.62e6, false), 0.019, 0, 10)),
			},
			wire.ReportEnd{},
		}, result.End{Err: errors.New("cut")}, `Connecting to host 127.0.0.1, port 15299
[ ID][Role] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5][TX-C]   0.00-1.00   sec   128 KBytes  1.05 Mbits/sec            4  
[  7][TX-C]   0.00-1.00   sec   128 KBytes  1.05 Mbits/sec            4  
[SUM][TX-C]   0.00-1.00   sec   256 KBytes  2.10 Mbits/sec            8  
[  9][RX-C]   0.00-1.00   sec   160 KBytes  1.31 Mbits/sec  0.022 ms  0/5 (0%)  
[ 12][RX-C]   0.00-1.00   sec   160 KBytes  1.31 Mbits/sec  0.016 ms  0/5 (0%)  
[SUM][RX-C]   0.00-1.00   sec   320 KBytes  2.62 Mbits/sec  0.019 ms  0/10 (0%)  
- - - - - - - - - - - - - - - - - - - - - - - - -
[ ID][Role] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			s := Iperf3(&b, tt.c)
			for _, e := range tt.events {
				s.Event("", e)
			}
			tt.end.Role = result.Client
			s.Put(tt.end)
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("real to ours:\n%s", diff)
			}
		})
	}
}

// TestIperf3Valid: the document and each event are JSON whatever happened.
func TestIperf3Valid(t *testing.T) {
	refused := &result.Error{Word: result.CodeRefused, Text: "connection refused"}
	for _, kind := range []Iperf3Kind{Iperf3JSON, Iperf3Stream} {
		for _, server := range []bool{false, true} {
			var b bytes.Buffer
			s := Iperf3(&b, Iperf3Config{Kind: kind, Server: server})
			if !server {
				s.Event(wire.EventError, refused.Error())
			}
			s.Put(result.End{Err: refused})
			if !strings.Contains(b.String(), "connection refused") {
				t.Errorf("%s, server %v: without the error: %s", kind, server, b.String())
			}
			for d := json.NewDecoder(&b); d.More(); {
				if err := d.Decode(new(any)); err != nil {
					t.Fatalf("%s, server %v: %v", kind, server, err)
				}
			}
		}
	}
}

// TestIperf3Server: a server's report is made of its results.
func TestIperf3Server(t *testing.T) {
	head := result.Head{Run: "run", Role: result.Server}
	events := []result.Event{
		result.Begin{Head: head, Transport: result.UDP, Direction: result.Up, Peer: netip.MustParseAddrPort("192.0.2.9:4000")},
		result.Interval{Head: head, Direction: result.Up, Stream: result.AllStreams, End: time.Second,
			Received: &result.View{Bytes: 128 << 10, Packets: result.Some[uint64](4), Lost: result.Some[int64](1)}},
		result.End{Head: head, Elapsed: time.Second, Up: &result.Total{Elapsed: time.Second,
			Received: &result.View{Bytes: 128 << 10, Packets: result.Some[uint64](4), Lost: result.Some[int64](1)}}},
	}
	const want = `Accepted connection from 192.0.2.9, port 4000
[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-1.00   sec   128 KBytes  1.05 Mbits/sec  0.000 ms  1/5 (20%)  
- - - - - - - - - - - - - - - - - - - - - - - - -
[ ID] Interval           Transfer     Bitrate         Jitter    Lost/Total Datagrams
[  5]   0.00-1.00   sec   128 KBytes  1.05 Mbits/sec  0.000 ms  1/5 (20%)  receiver
`
	var b bytes.Buffer
	s := Iperf3(&b, Iperf3Config{Server: true})
	for _, e := range events {
		s.Put(e)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if len(s.runs) != 0 {
		t.Error("the run is kept")
	}
}
