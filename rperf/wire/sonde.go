package wire

import (
	"math"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Between two of our own ends more is said, under one key that real peers
// ignore: "sonde". The client offers it in its Configuration; only a server
// that sees the offer answers with the key, so a real client never meets it.

// OfferVersion is the version of what is said under the key.
const OfferVersion = 1

// An Offer is what our client can do beyond the protocol: read Queued messages
// and exact figures in intervals, and, with Dial, open the data streams of a
// reverse test itself, so that they pass a NAT.
type Offer struct {
	Version int // from 1
	Dial    bool
}

func readOffer(o *object) *Offer {
	in := o.object("sonde")
	if in == nil {
		// A peer may use the key for something else: then it is not ours.
		o.forgive("sonde")
		return nil
	}
	offer := &Offer{Version: int(in.integer("version", 1, math.MaxInt32)), Dial: in.flag("dial")}
	if in.err != nil || offer.Version == 0 {
		return nil
	}
	return offer
}

// forgive takes back a fault of key.
func (o *object) forgive(key string) {
	if f, ok := o.err.(*FieldError); ok && f.Field == key {
		o.err = nil
	}
}

func (f *Offer) fields() fields { return fields{"version": f.Version, "dial": f.Dial} }

// An Accept is our server's answer to an Offer.
type Accept struct {
	Version     int      // from 1
	StreamPorts []uint16 // the client is to open the streams of a reverse test to these ports; nil: the server opens them
}

func readAccept(o *object) *Accept {
	in := o.object("sonde")
	if in == nil {
		o.forgive("sonde")
		return nil
	}
	a := &Accept{Version: int(in.integer("version", 1, math.MaxInt32)), StreamPorts: in.ports("stream_ports")}
	if in.err != nil || a.Version == 0 {
		return nil
	}
	return a
}

func (a *Accept) add(f fields) {
	if a == nil {
		return
	}
	in := fields{"version": a.Version}
	if a.StreamPorts != nil {
		in["stream_ports"] = a.StreamPorts
	}
	f["sonde"] = in
}

// A Queued tells a client that made an Offer to wait: the server has no place
// for its test yet. The answer to its Configuration follows when it has.
type Queued struct {
	Position int     // 1 is next
	Wait     Seconds // expected; 0 is unknown
}

// Kind returns KindQueued.
func (Queued) Kind() Kind { return KindQueued }

func readQueued(o *object) Queued {
	o.require("a whole number", "position")
	return Queued{
		Position: int(o.integer("position", 0, math.MaxInt32)),
		Wait:     Seconds(o.number("wait_seconds", 0, MaxDuration)),
	}
}

// AppendBinary implements Message.
func (q Queued) AppendBinary(b []byte) ([]byte, error) {
	return appendJSON(b, KindQueued, fields{"position": q.Position, "wait_seconds": float64(q.Wait)})
}

// readExact reads the exact figures of an interval: totals since the start of
// the stream, so that a lost or late message spoils nothing.
func readExact(o *object) *result.View {
	in := o.object("sonde")
	if in == nil {
		o.forgive("sonde")
		return nil
	}
	v := &result.View{
		Bytes:     in.count("bytes"),
		Packets:   in.optional("packets"),
		Late:      in.optional("late"),
		Reordered: in.optional("reordered"),
		Duplicate: in.optional("duplicate"),
		Dropped:   in.optional("dropped"),
		Skipped:   in.optional("skipped"),
		TCP:       readTCPInfo(in),
	}
	if in.has("lost") {
		v.Lost = result.Some(in.integer("lost", math.MinInt64, math.MaxInt64))
	}
	if in.has("jitter_ns") {
		v.Jitter = result.Some(in.nanoseconds("jitter_ns"))
	}
	v.Queueing = readDelay(in, "queueing")
	if in.err != nil {
		return nil
	}
	return v
}

func (o *object) optional(key string) *uint64 {
	if !o.has(key) {
		return nil
	}
	return result.Some(o.count(key))
}

func (o *object) nanoseconds(key string) time.Duration {
	return time.Duration(o.integer(key, 0, math.MaxInt64))
}

// readDelay reads a distribution of delays.
func readDelay(o *object, key string) *result.Delay {
	in := o.object(key)
	if in == nil {
		return nil
	}
	d := &result.Delay{
		Count: in.count("count"),
		Min:   in.nanoseconds("min_ns"),
		Mean:  in.nanoseconds("mean_ns"),
		P50:   in.nanoseconds("p50_ns"),
		P90:   in.nanoseconds("p90_ns"),
		P99:   in.nanoseconds("p99_ns"),
		Max:   in.nanoseconds("max_ns"),
	}
	o.adopt(in)
	return d
}

func readTCPInfo(o *object) *result.TCPInfo {
	in := o.object("tcp")
	if in == nil {
		return nil
	}
	t := &result.TCPInfo{
		RTT:           in.nanoseconds("rtt_ns"),
		RTTVar:        in.nanoseconds("rttvar_ns"),
		MinRTT:        in.nanoseconds("min_rtt_ns"),
		Cwnd:          in.count("cwnd_bytes"),
		MSS:           in.count("mss_bytes"),
		Retransmits:   in.count("retransmits"),
		DeliveryRate:  in.count("delivery_bits_per_second"),
		PacingRate:    in.count("pacing_bits_per_second"),
		Busy:          in.nanoseconds("busy_ns"),
		RwndLimited:   in.nanoseconds("rwnd_limited_ns"),
		SndbufLimited: in.nanoseconds("sndbuf_limited_ns"),
		Congestion:    in.text("congestion"),
	}
	o.adopt(in)
	return t
}

func exactFields(v *result.View) fields {
	f := fields{"bytes": v.Bytes}
	for key, n := range map[string]*uint64{
		"packets": v.Packets, "late": v.Late, "reordered": v.Reordered,
		"duplicate": v.Duplicate, "dropped": v.Dropped, "skipped": v.Skipped,
	} {
		if n != nil {
			f[key] = *n
		}
	}
	if v.Lost != nil {
		f["lost"] = *v.Lost
	}
	if v.Jitter != nil {
		f["jitter_ns"] = v.Jitter.Nanoseconds()
	}
	if d := v.Queueing; d != nil {
		f["queueing"] = fields{
			"count": d.Count, "min_ns": d.Min.Nanoseconds(), "mean_ns": d.Mean.Nanoseconds(), "p50_ns": d.P50.Nanoseconds(),
			"p90_ns": d.P90.Nanoseconds(), "p99_ns": d.P99.Nanoseconds(), "max_ns": d.Max.Nanoseconds(),
		}
	}
	if t := v.TCP; t != nil {
		f["tcp"] = fields{
			"rtt_ns": t.RTT.Nanoseconds(), "rttvar_ns": t.RTTVar.Nanoseconds(), "min_rtt_ns": t.MinRTT.Nanoseconds(),
			"cwnd_bytes": t.Cwnd, "mss_bytes": t.MSS, "retransmits": t.Retransmits,
			"delivery_bits_per_second": t.DeliveryRate, "pacing_bits_per_second": t.PacingRate,
			"busy_ns": t.Busy.Nanoseconds(), "rwnd_limited_ns": t.RwndLimited.Nanoseconds(),
			"sndbuf_limited_ns": t.SndbufLimited.Nanoseconds(), "congestion": t.Congestion,
		}
	}
	return f
}
