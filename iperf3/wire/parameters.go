package wire

import (
	"encoding/json"
	"fmt"
	"math"
)

// Parameters are the client's order for one test. The field's key on the wire
// stands beside it.
type Parameters struct {
	UDP           bool // "udp" or "tcp"
	Omit          int  // "omit": seconds that are not counted, before Time
	Time          int  // "time": seconds; 0 when the test ends by Bytes or Blocks, or not by itself
	Bytes         uint64
	Blocks        uint64
	Parallel      int    // "parallel": streams per direction
	Reverse       bool   // "reverse": the server sends
	Bidirectional bool   // "bidirectional": both send
	Length        int    // "len": bytes per write or datagram
	Bandwidth     uint64 // "bandwidth": bit/s per stream; 0 is no limit
	FQRate        uint64 // "fqrate": bit/s, paced by the kernel
	PacingTimer   int    // "pacing_timer": µs
	Burst         int    // "burst": writes per pacing decision; 0 is not used

	MSS        int    // "MSS": 0 leaves it to the system
	NoDelay    bool   // "nodelay"
	Window     int    // "window": bytes of both socket buffers; 0 leaves it to the system
	TOS        int    // "TOS"
	FlowLabel  int    // "flowlabel"
	Congestion string // "congestion": name of the algorithm; empty leaves it to the system

	GetServerOutput  bool // "get_server_output"
	Counters64       bool // "udp_counters_64bit": datagrams are numbered with 64 bits
	RepeatingPayload bool // "repeating_payload"
	ZeroCopy         bool // "zerocopy"
	DontFragment     bool // "dont_fragment"
	ServerAffinity   *int // "server_affinity": a CPU

	Title          string
	ExtraData      string // "extra_data"
	CongestionUsed string // "congestion_used": what the client's system took
	AuthToken      string // "authtoken"; see package auth
	ClientVersion  string // "client_version"
}

// Streams is the number of data streams of the test, both directions together.
func (p Parameters) Streams() int {
	if p.Bidirectional {
		return 2 * p.Parallel
	}
	return p.Parallel
}

// ServerSends says whether the server sends on stream i, from 0 in the order
// in which the client opens them: of a bidirectional test first come all on
// which the client sends.
func (p Parameters) ServerSends(i int) bool {
	return p.Reverse || p.Bidirectional && i >= p.Parallel
}

var parameterKeys = keys("tcp", "udp", "sctp", "omit", "time", "num", "blockcount", "MSS", "nodelay", "parallel",
	"reverse", "bidirectional", "window", "len", "bandwidth", "fqrate", "pacing_timer", "burst", "TOS", "flowlabel",
	"title", "extra_data", "congestion", "congestion_used", "get_server_output", "udp_counters_64bit",
	"repeating_payload", "zerocopy", "dont_fragment", "server_affinity", "authtoken", "client_version")

// ParseParameters reads a block of parameters. Unknown keys are ignored; a
// test that no iperf3 could run is a *FieldError. A key of the wrong type is
// one too: recent servers pass over it and run another test than was asked.
func ParseParameters(b []byte) (Parameters, error) {
	if len(b) > MaxParameters {
		return Parameters{}, fmt.Errorf("iperf3: parameters of %d bytes, want at most %d", len(b), MaxParameters)
	}
	o, err := parseObject("parameters", b, parameterKeys)
	if err != nil {
		return Parameters{}, err
	}
	p := Parameters{
		Omit:          int(o.integer("omit", 0, MaxOmit)),
		Time:          int(o.integer("time", 0, MaxTime)),
		Bytes:         o.count("num"),
		Blocks:        o.count("blockcount"),
		Parallel:      1,
		Reverse:       o.flag("reverse"),
		Bidirectional: o.flag("bidirectional"),
		Bandwidth:     o.count("bandwidth"),
		FQRate:        o.count("fqrate"),
		PacingTimer:   int(o.integer("pacing_timer", 0, math.MaxInt32)),
		Burst:         int(o.integer("burst", 0, MaxBurst)),
		MSS:           int(o.integer("MSS", 0, math.MaxUint16)),
		NoDelay:       o.flag("nodelay"),
		Window:        int(o.integer("window", 0, math.MaxInt32)),
		TOS:           int(o.integer("TOS", 0, 255)),
		FlowLabel:     int(o.integer("flowlabel", 0, 1<<20-1)),
		Congestion:    o.text("congestion"),

		GetServerOutput:  o.flag("get_server_output"),
		Counters64:       o.flag("udp_counters_64bit"),
		RepeatingPayload: o.flag("repeating_payload"),
		ZeroCopy:         o.flag("zerocopy"),
		DontFragment:     o.flag("dont_fragment"),

		Title:          o.text("title"),
		ExtraData:      o.text("extra_data"),
		CongestionUsed: o.text("congestion_used"),
		AuthToken:      o.text("authtoken"),
		ClientVersion:  o.text("client_version"),
	}
	if o.has("parallel") {
		p.Parallel = int(o.integer("parallel", 1, MaxParallel))
	}
	if o.has("server_affinity") {
		cpu := int(o.integer("server_affinity", 0, 1<<16))
		p.ServerAffinity = &cpu
	}
	p.UDP = readTransport(o)
	p.Length = readLength(o, p.UDP)
	if p.Reverse && p.Bidirectional {
		o.reject("bidirectional", "one of reverse and bidirectional")
	}
	return p, o.err
}

func readTransport(o *object) (udp bool) {
	tcp, udp := o.flag("tcp"), o.flag("udp")
	switch {
	case o.flag("sctp"):
		o.reject("sctp", "tcp or udp")
	case !tcp && !udp:
		o.reject("tcp", "tcp or udp to be true")
	case tcp && udp:
		o.reject("udp", "one of tcp and udp to be true")
	}
	return udp
}

// readLength fills in the default for a block size of 0, as peers do.
func readLength(o *object, udp bool) int {
	least, most, usual := 1, MaxTCPLength, DefaultTCPLength
	if udp {
		least, most, usual = MinUDPLength, MaxUDPLength, DefaultUDPLength
	}
	n := int(o.integer("len", 0, math.MaxInt32))
	if n == 0 {
		return usual
	}
	if n < least || n > most {
		o.reject("len", fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return n
}

// wireParameters has the keys in the order in which 3.12 writes them. Those
// that it leaves out when they do not matter are left out here too.
type wireParameters struct {
	TCP             bool   `json:"tcp,omitempty"`
	UDP             bool   `json:"udp,omitempty"`
	Omit            int    `json:"omit"`
	Time            int    `json:"time"`
	Num             uint64 `json:"num"`
	Blockcount      uint64 `json:"blockcount"`
	MSS             int    `json:"MSS,omitempty"`
	NoDelay         bool   `json:"nodelay,omitempty"`
	Parallel        int    `json:"parallel"`
	Reverse         bool   `json:"reverse,omitempty"`
	Bidirectional   bool   `json:"bidirectional,omitempty"`
	Window          int    `json:"window,omitempty"`
	Len             int    `json:"len"`
	Bandwidth       uint64 `json:"bandwidth,omitempty"`
	FQRate          uint64 `json:"fqrate,omitempty"`
	PacingTimer     int    `json:"pacing_timer,omitempty"`
	Burst           int    `json:"burst,omitempty"`
	TOS             int    `json:"TOS,omitempty"`
	FlowLabel       int    `json:"flowlabel,omitempty"`
	Title           string `json:"title,omitempty"`
	ExtraData       string `json:"extra_data,omitempty"`
	Congestion      string `json:"congestion,omitempty"`
	CongestionUsed  string `json:"congestion_used,omitempty"`
	GetServerOutput int    `json:"get_server_output,omitempty"`
	Counters64      int    `json:"udp_counters_64bit,omitempty"`
	Repeating       int    `json:"repeating_payload,omitempty"`
	ZeroCopy        int    `json:"zerocopy,omitempty"`
	DontFragment    int    `json:"dont_fragment,omitempty"`
	ServerAffinity  *int   `json:"server_affinity,omitempty"`
	AuthToken       string `json:"authtoken,omitempty"`
	ClientVersion   string `json:"client_version,omitempty"`
}

// AppendBinary appends p as JSON to b, without the length. It fails when the
// block would be longer than a peer takes.
func (p Parameters) AppendBinary(b []byte) ([]byte, error) {
	out, err := json.Marshal(wireParameters{
		TCP: !p.UDP, UDP: p.UDP, Omit: p.Omit, Time: p.Time, Num: p.Bytes, Blockcount: p.Blocks, MSS: p.MSS,
		NoDelay: p.NoDelay, Parallel: p.Parallel, Reverse: p.Reverse, Bidirectional: p.Bidirectional,
		Window: p.Window, Len: p.Length, Bandwidth: p.Bandwidth, FQRate: p.FQRate, PacingTimer: p.PacingTimer,
		Burst: p.Burst, TOS: p.TOS, FlowLabel: p.FlowLabel, Title: p.Title, ExtraData: p.ExtraData,
		Congestion: p.Congestion, CongestionUsed: p.CongestionUsed, GetServerOutput: one(p.GetServerOutput),
		Counters64: one(p.Counters64), Repeating: one(p.RepeatingPayload), ZeroCopy: one(p.ZeroCopy),
		DontFragment: one(p.DontFragment), ServerAffinity: p.ServerAffinity, AuthToken: p.AuthToken,
		ClientVersion: p.ClientVersion,
	})
	if err != nil {
		return b, fmt.Errorf("iperf3: parameters: %w", err)
	}
	if len(out) > MaxParameters {
		return b, fmt.Errorf("iperf3: parameters of %d bytes, a server takes at most %d: shorten title or extra data", len(out), MaxParameters)
	}
	return append(b, out...), nil
}

func one(on bool) int {
	if on {
		return 1
	}
	return 0
}
