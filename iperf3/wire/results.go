package wire

import (
	"encoding/json"
	"fmt"
	"math"
)

// Results are what each end tells the other after the test, the client first.
// The field's key on the wire stands beside it.
type Results struct {
	CPU            CPU
	HasRetransmits *bool           // "sender_has_retransmits": whether this sender counts them; nil for a pure receiver
	CongestionUsed string          // "congestion_used": TCP only
	ServerText     string          // "server_output_text": what the server printed, if it was asked
	ServerDocument json.RawMessage // "server_output_json": the same as a document
	Streams        []StreamResults // "streams": both directions
}

// CPU is the busy share of the reporting process, percent of one processor.
type CPU struct {
	Total  float64 // "cpu_util_total"
	User   float64 // "cpu_util_user"
	System float64 // "cpu_util_system"
}

// StreamResults are what one end counted of one stream.
type StreamResults struct {
	ID          int     // "id": 1, 3, 4, …; see StreamID
	Bytes       uint64  // "bytes": sent by this end if it sends the stream, else received; without the omitted part
	Retransmits *uint64 // "retransmits": segments; nil is not known
	Jitter      Seconds // "jitter"
	Errors      int64   // "errors": lost datagrams
	Packets     uint64  // "packets": sent, or the highest number seen; with the omitted part
	Start       Seconds // "start_time"
	End         Seconds // "end_time": how long was measured

	Omitted *Omitted // from 3.14 on; nil when the peer does not say
}

// Omitted are the datagrams of the omitted part, contained in Errors and
// Packets.
type Omitted struct {
	Errors  int64  // "omitted_errors"
	Packets uint64 // "omitted_packets"
}

var (
	resultKeys = keys("cpu_util_total", "cpu_util_user", "cpu_util_system", "sender_has_retransmits", "congestion_used",
		"server_output_text", "server_output_json", "streams")
	streamKeys = keys("id", "bytes", "retransmits", "jitter", "errors", "packets", "start_time", "end_time",
		"omitted_errors", "omitted_packets")
)

// Bounds of figures that are not counts.
const (
	maxPercent = 1e6 // of one processor: room for 10000 of them
	maxSeconds = 1e9
)

// ParseResults reads a block of results.
func ParseResults(b []byte) (Results, error) {
	o, err := parseObject("results", b, resultKeys)
	if err != nil {
		return Results{}, err
	}
	o.require("a number", "cpu_util_total", "cpu_util_user", "cpu_util_system", "sender_has_retransmits")
	o.require("a list", "streams")
	r := Results{
		CPU: CPU{
			Total:  o.number("cpu_util_total", -maxPercent, maxPercent),
			User:   o.number("cpu_util_user", -maxPercent, maxPercent),
			System: o.number("cpu_util_system", -maxPercent, maxPercent),
		},
		CongestionUsed: o.text("congestion_used"),
		ServerText:     o.text("server_output_text"),
	}
	if has := o.known("sender_has_retransmits"); has != nil {
		yes := *has != 0
		r.HasRetransmits = &yes
	}
	if doc, ok := o.raw("server_output_json"); ok {
		r.ServerDocument = doc
	}
	for _, e := range o.elements("streams", MaxStreams) {
		s, err := parseStream(e)
		if err != nil && o.err == nil {
			o.err = err
		}
		r.Streams = append(r.Streams, s)
	}
	return r, o.err
}

func parseStream(b []byte) (StreamResults, error) {
	o, err := parseObject("results", b, streamKeys)
	if err != nil {
		return StreamResults{}, err
	}
	o.require("a number", "id", "bytes", "retransmits", "jitter", "errors", "packets")
	s := StreamResults{
		ID:          int(o.integer("id", 1, math.MaxInt32)),
		Bytes:       o.count("bytes"),
		Retransmits: o.known("retransmits"),
		Jitter:      Seconds(o.number("jitter", 0, maxSeconds)),
		Errors:      o.integer("errors", math.MinInt64, math.MaxInt64),
		Packets:     o.count("packets"),
		Start:       Seconds(o.number("start_time", 0, maxSeconds)),
		End:         Seconds(o.number("end_time", 0, maxSeconds)),
	}
	if o.has("omitted_errors") && o.has("omitted_packets") {
		s.Omitted = &Omitted{
			Errors:  o.integer("omitted_errors", math.MinInt64, math.MaxInt64),
			Packets: o.count("omitted_packets"),
		}
	}
	return s, o.err
}

type wireResults struct {
	CPUTotal       float64         `json:"cpu_util_total"`
	CPUUser        float64         `json:"cpu_util_user"`
	CPUSystem      float64         `json:"cpu_util_system"`
	HasRetransmits int             `json:"sender_has_retransmits"`
	CongestionUsed string          `json:"congestion_used,omitempty"`
	ServerText     string          `json:"server_output_text,omitempty"`
	ServerDocument json.RawMessage `json:"server_output_json,omitempty"`
	Streams        []wireStream    `json:"streams"`
}

type wireStream struct {
	ID             int     `json:"id"`
	Bytes          uint64  `json:"bytes"`
	Retransmits    int64   `json:"retransmits"`
	Jitter         float64 `json:"jitter"`
	Errors         int64   `json:"errors"`
	OmittedErrors  *int64  `json:"omitted_errors,omitempty"`
	Packets        uint64  `json:"packets"`
	OmittedPackets *uint64 `json:"omitted_packets,omitempty"`
	Start          float64 `json:"start_time"`
	End            float64 `json:"end_time"`
}

// unknown is what is written for a figure that is not known. Peers up to 3.13
// write it as an unsigned number, but read this.
const unknown = -1

// AppendBinary appends r as JSON to b, without the length.
func (r Results) AppendBinary(b []byte) ([]byte, error) {
	w := wireResults{
		CPUTotal: r.CPU.Total, CPUUser: r.CPU.User, CPUSystem: r.CPU.System,
		HasRetransmits: unknown, CongestionUsed: r.CongestionUsed,
		ServerText: r.ServerText, ServerDocument: r.ServerDocument,
		Streams: make([]wireStream, 0, len(r.Streams)),
	}
	if r.HasRetransmits != nil {
		w.HasRetransmits = one(*r.HasRetransmits)
	}
	for _, s := range r.Streams {
		w.Streams = append(w.Streams, s.wire())
	}
	out, err := json.Marshal(w)
	if err != nil {
		return b, fmt.Errorf("iperf3: results: %w", err)
	}
	return append(b, out...), nil
}

func (s StreamResults) wire() wireStream {
	w := wireStream{
		ID: s.ID, Bytes: s.Bytes, Retransmits: unknown, Jitter: float64(s.Jitter), Errors: s.Errors,
		Packets: s.Packets, Start: float64(s.Start), End: float64(s.End),
	}
	if s.Retransmits != nil {
		w.Retransmits = int64(*s.Retransmits)
	}
	if s.Omitted != nil {
		w.OmittedErrors, w.OmittedPackets = &s.Omitted.Errors, &s.Omitted.Packets
	}
	return w
}
