package wire

import (
	"math"

	"github.com/sonde-net/sonde/result"
)

// An Interval is what the server counted on one stream in about a second. It
// counts as the peer does: bytes of UDP with 8 more for each datagram, losses
// by the arithmetic of Tally.
//
//	kind                  "receive" or "send"
//	family                "tcp" or "udp"
//	stream_idx            from 0
//	timestamp, duration   seconds, the end of the interval and its length
//	bytes_received        receive
//	bytes_sent            send
//	sends_blocked         send; missing from peers before 0.1.8
//	packets_…             UDP
//	unbroken_sequence,
//	jitter_seconds        UDP receive
type Interval struct {
	UDP      bool
	Sent     bool // the server sends; otherwise it receives
	Stream   uint8
	End      Timestamp // by the server's clock
	Duration Seconds
	Bytes    uint64

	Blocked uint64 // writes refused because the socket buffer was full; only if Sent

	Packets uint64   // datagrams; only if UDP
	Counts  PeerLoss // only if UDP and not Sent

	Sonde *result.View // exact figures since the start of the stream; nil from peers that are not ours
}

// PeerLoss is what the peer's arithmetic makes of one interval of a UDP
// stream: comparable between peers, but not exact. See Tally.
type PeerLoss struct {
	Lost       int64
	OutOfOrder uint64
	Duplicated uint64
	Unbroken   uint64   // datagrams in the longest run without a break
	Jitter     *Seconds // at the end of that run; nil when it is shorter than 2
}

// Kind returns KindSend or KindReceive.
func (i Interval) Kind() Kind {
	if i.Sent {
		return KindSend
	}
	return KindReceive
}

func readInterval(o *object, sent bool) Interval {
	o.require("a string", "family")
	o.require("a stream number", "stream_idx")
	o.require("a number", "timestamp", "duration")
	i := Interval{
		UDP:      o.text("family") == "udp",
		Sent:     sent,
		Stream:   uint8(o.integer("stream_idx", 0, MaxStreams)),
		End:      Timestamp(o.number("timestamp", 0, maxTimestamp)),
		Duration: Seconds(o.number("duration", 0, MaxDuration)),
	}
	if sent {
		o.require("a whole number", "bytes_sent")
		i.Bytes = o.count("bytes_sent")
		i.Blocked = o.count("sends_blocked")
	} else {
		o.require("a whole number", "bytes_received")
		i.Bytes = o.count("bytes_received")
	}
	switch {
	case i.UDP && sent:
		o.require("a whole number", "packets_sent")
		i.Packets = o.count("packets_sent")
	case i.UDP:
		readPeerLoss(o, &i)
	}
	i.Sonde = readExact(o)
	return i
}

// maxTimestamp is the end of the year 9999.
const maxTimestamp = 253402300799

func readPeerLoss(o *object, i *Interval) {
	o.require("a whole number", "packets_received", "packets_lost",
		"packets_out_of_order", "packets_duplicated", "unbroken_sequence")
	i.Packets = o.count("packets_received")
	i.Counts = PeerLoss{
		Lost:       o.integer("packets_lost", math.MinInt64, math.MaxInt64),
		OutOfOrder: o.count("packets_out_of_order"),
		Duplicated: o.count("packets_duplicated"),
		Unbroken:   o.count("unbroken_sequence"),
	}
	if o.has("jitter_seconds") {
		j := Seconds(o.number("jitter_seconds", 0, MaxDuration))
		i.Counts.Jitter = &j
	}
}

// AppendBinary implements Message.
func (i Interval) AppendBinary(b []byte) ([]byte, error) {
	f := fields{
		"family":     family(i.UDP),
		"stream_idx": i.Stream,
		"timestamp":  float64(i.End),
		"duration":   float64(i.Duration),
	}
	if i.Sent {
		f["bytes_sent"] = i.Bytes
		f["sends_blocked"] = i.Blocked
		if i.UDP {
			f["packets_sent"] = i.Packets
		}
	} else {
		f["bytes_received"] = i.Bytes
		if i.UDP {
			f["packets_received"] = i.Packets
			i.Counts.add(f)
		}
	}
	if i.Sonde != nil {
		f["sonde"] = exactFields(i.Sonde)
	}
	return appendJSON(b, i.Kind(), f)
}

func (p PeerLoss) add(f fields) {
	f["packets_lost"] = p.Lost
	f["packets_out_of_order"] = p.OutOfOrder
	f["packets_duplicated"] = p.Duplicated
	f["unbroken_sequence"] = p.Unbroken
	f["jitter_seconds"] = nil
	if p.Jitter != nil {
		f["jitter_seconds"] = float64(*p.Jitter)
	}
}
