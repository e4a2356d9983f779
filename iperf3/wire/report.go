package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Report is the document that iperf3 -J prints, with the names that scripts
// read. Which figures stand where is recorded from 3.12; ../testdata/report
// has examples of every mode. A figure that was not measured is left out, as
// in the original, never zero.
type Report struct {
	Start          ReportStart      `json:"start"`
	Intervals      []ReportInterval `json:"intervals"`
	End            ReportEnd        `json:"end"`
	ServerDocument json.RawMessage  `json:"server_output_json,omitempty"`
	ServerText     string           `json:"server_output_text,omitempty"`
	Error          string           `json:"error,omitempty"`
}

// ReportStart says what was agreed.
type ReportStart struct {
	Connected  []ReportConnected `json:"connected"`
	Version    string            `json:"version"` // "iperf 3.12"; scripts look at it
	SystemInfo string            `json:"system_info"`
	Timestamp  *ReportTimestamp  `json:"timestamp,omitempty"`

	ConnectingTo *ReportHost `json:"connecting_to,omitempty"`       // at a client
	Accepted     *ReportHost `json:"accepted_connection,omitempty"` // at a server

	Cookie        string           `json:"cookie,omitempty"`
	TCPMSSDefault *int             `json:"tcp_mss_default,omitempty"` // bytes; TCP only
	TargetBitrate *uint64          `json:"target_bitrate,omitempty"`  // bit/s per stream
	FQRate        *uint64          `json:"fq_rate,omitempty"`         // from 3.15 on
	SockBufsize   *int             `json:"sock_bufsize,omitempty"`    // asked for
	SndbufActual  *int             `json:"sndbuf_actual,omitempty"`
	RcvbufActual  *int             `json:"rcvbuf_actual,omitempty"`
	TestStart     *ReportTestStart `json:"test_start,omitempty"`
}

// ReportConnected is one data stream.
type ReportConnected struct {
	Socket     int    `json:"socket"` // a descriptor in the original: 5, 7, …; any number that tells streams apart
	LocalHost  string `json:"local_host"`
	LocalPort  uint16 `json:"local_port"`
	RemoteHost string `json:"remote_host"`
	RemotePort uint16 `json:"remote_port"`
}

// ReportTimestamp is when the test began.
type ReportTimestamp struct {
	Time     string `json:"time"`     // RFC 1123, GMT
	Timesecs int64  `json:"timesecs"` // Unix
}

// ReportTimestampOf makes the timestamp of a moment. (The layout is that of
// http.TimeFormat, whose package a small build has no room for.)
func ReportTimestampOf(t time.Time) *ReportTimestamp {
	return &ReportTimestamp{Time: t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), Timesecs: t.Unix()}
}

// Version is the one of the iperf3 whose messages and documents these are, and that we
// say we are.
const Version = "3.12"

// ReportHost is a far end.
type ReportHost struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// ReportTestStart are the parameters.
type ReportTestStart struct {
	Protocol      string `json:"protocol"` // "TCP", "UDP"
	NumStreams    int    `json:"num_streams"`
	Blksize       int    `json:"blksize"`
	Omit          int    `json:"omit"`     // seconds
	Duration      int    `json:"duration"` // seconds
	Bytes         uint64 `json:"bytes"`
	Blocks        uint64 `json:"blocks"`
	Reverse       int    `json:"reverse"`
	TOS           int    `json:"tos"`
	TargetBitrate uint64 `json:"target_bitrate"`
	Bidir         int    `json:"bidir"`    // from 3.15 on
	FQRate        uint64 `json:"fqrate"`   // from 3.15 on
	Interval      int    `json:"interval"` // seconds; from 3.17 on
}

// ReportInterval is what all streams did between two moments. Sum is the
// client's own direction, of a bidirectional test what it sends; SumReverse
// the other one.
type ReportInterval struct {
	Streams    []ReportFigures `json:"streams"`
	Sum        ReportFigures   `json:"sum"`
	SumReverse *ReportFigures  `json:"sum_bidir_reverse,omitempty"`
}

// ReportEnd are the totals. For TCP a stream has a sender's and a receiver's
// record, for UDP one of both.
type ReportEnd struct {
	Streams []ReportStream `json:"streams,omitempty"`

	Sum         *ReportFigures `json:"sum,omitempty"` // UDP only
	SumSent     *ReportFigures `json:"sum_sent,omitempty"`
	SumReceived *ReportFigures `json:"sum_received,omitempty"`

	SumReverse         *ReportFigures `json:"sum_bidir_reverse,omitempty"` // UDP only
	SumSentReverse     *ReportFigures `json:"sum_sent_bidir_reverse,omitempty"`
	SumReceivedReverse *ReportFigures `json:"sum_received_bidir_reverse,omitempty"`

	CPU                *ReportCPU `json:"cpu_utilization_percent,omitempty"`
	SenderCongestion   string     `json:"sender_tcp_congestion,omitempty"`
	ReceiverCongestion string     `json:"receiver_tcp_congestion,omitempty"`
}

// ReportStream are the totals of one stream.
type ReportStream struct {
	Sender   *ReportFigures `json:"sender,omitempty"`   // TCP
	Receiver *ReportFigures `json:"receiver,omitempty"` // TCP
	UDP      *ReportFigures `json:"udp,omitempty"`
}

// ReportCPU is the busy share of both ends' processes, percent of one
// processor.
type ReportCPU struct {
	HostTotal    float64 `json:"host_total"`
	HostUser     float64 `json:"host_user"`
	HostSystem   float64 `json:"host_system"`
	RemoteTotal  float64 `json:"remote_total"`
	RemoteUser   float64 `json:"remote_user"`
	RemoteSystem float64 `json:"remote_system"`
}

// ReportFigures is one record of counts. Which of the pointers are set depends
// on transport and role.
type ReportFigures struct {
	Socket        *int     `json:"socket,omitempty"` // of a stream's record
	Start         float64  `json:"start"`            // seconds
	End           float64  `json:"end"`              // seconds
	Seconds       float64  `json:"seconds"`
	Bytes         uint64   `json:"bytes"`
	BitsPerSecond float64  `json:"bits_per_second"`
	Retransmits   *uint64  `json:"retransmits,omitempty"` // TCP sender
	SndCwnd       *uint64  `json:"snd_cwnd,omitempty"`    // bytes; TCP sender
	SndWnd        *uint64  `json:"snd_wnd,omitempty"`     // bytes; TCP sender
	RTT           *uint64  `json:"rtt,omitempty"`         // µs; TCP sender
	RTTVar        *uint64  `json:"rttvar,omitempty"`      // µs; TCP sender
	PMTU          *uint64  `json:"pmtu,omitempty"`        // TCP sender
	MaxSndCwnd    *uint64  `json:"max_snd_cwnd,omitempty"`
	MaxSndWnd     *uint64  `json:"max_snd_wnd,omitempty"`
	MaxRTT        *uint64  `json:"max_rtt,omitempty"`
	MinRTT        *uint64  `json:"min_rtt,omitempty"`
	MeanRTT       *uint64  `json:"mean_rtt,omitempty"`
	JitterMS      *float64 `json:"jitter_ms,omitempty"`    // UDP receiver
	LostPackets   *int64   `json:"lost_packets,omitempty"` // UDP receiver
	Packets       *uint64  `json:"packets,omitempty"`      // UDP
	LostPercent   *float64 `json:"lost_percent,omitempty"` // UDP receiver
	OutOfOrder    *uint64  `json:"out_of_order,omitempty"` // UDP, of a stream's total
	Omitted       *bool    `json:"omitted,omitempty"`      // of an interval
	Sender        bool     `json:"sender"`
}

// AppendReport appends r to b as -J prints it: one document, indented by tabs.
func AppendReport(b []byte, r *Report) ([]byte, error) {
	c := *r
	if c.Start.Connected == nil {
		c.Start.Connected = []ReportConnected{} // readers expect a list
	}
	if c.Intervals == nil {
		c.Intervals = []ReportInterval{}
	}
	out, err := json.MarshalIndent(&c, "", "\t")
	if err != nil {
		return b, fmt.Errorf("iperf3: report: %w", err)
	}
	return append(append(b, out...), '\n'), nil
}

// The events of --json-stream. Their data are a ReportStart, a ReportInterval,
// a ReportEnd, and for an error its text; the server's output has the same
// type as in a Report. Source: the description of esnet/iperf pull request
// 1098, where the option was made.
const (
	EventStart          = "start"
	EventInterval       = "interval"
	EventEnd            = "end"
	EventError          = "error"
	EventServerDocument = "server_output_json"
	EventServerText     = "server_output_text"
)

// An Event is one line of --json-stream.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// AppendEvent appends one line of --json-stream to b.
func AppendEvent(b []byte, name string, data any) ([]byte, error) {
	d, err := json.Marshal(data)
	if err != nil {
		return b, fmt.Errorf("iperf3: %s event: %w", name, err)
	}
	out, err := json.Marshal(Event{name, d})
	if err != nil {
		return b, fmt.Errorf("iperf3: %s event: %w", name, err)
	}
	return append(append(b, out...), '\n'), nil
}

// ParseEvent reads one line of --json-stream.
func ParseEvent(line []byte) (Event, error) {
	o, err := parseObject("event", line, keys("event", "data"))
	if err != nil {
		return Event{}, err
	}
	o.require("a string", "event")
	e := Event{Name: o.text("event")}
	e.Data, _ = o.raw("data")
	return e, o.err
}
