package rperf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A Unit is what rperf's text report gives rates in, beside bytes/s.
type Unit string

// The units.
const (
	Megabit  Unit = "megabit"
	Megabyte Unit = "megabyte"
)

// A Report makes the text and the document that rperf prints of a test, from
// the records of a Client. It keeps to their form, but computes with signs
// where the original wraps. Its methods are safe for concurrent use.
type Report struct {
	Client Client // as it runs
	Omit   int    // records of each stream, at either end, that no sum counts
	Unit   Unit   // empty means Megabit
	IPv6   bool   // the control connection is

	mu      sync.Mutex // guards streams
	streams map[uint8]*reported
	kept    int // records in them
}

// mostRecords bounds what a Report keeps, about 100 MB: a server may tell more
// than it should. A test of 8 streams fills it in 18 hours.
const mostRecords = 1 << 20

// reported is what was told of one stream.
type reported struct {
	receive, send []wire.Interval
	over          bool // our end is
	failed        bool // at either end
}

// Add takes a record and returns the text to print for it now.
func (r *Report) Add(rec Record) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams == nil {
		r.streams = map[uint8]*reported{}
	}
	s := r.streams[rec.Stream]
	if s == nil {
		s = &reported{}
		r.streams[rec.Stream] = s
	}
	if rec.Over {
		s.failed = s.failed || rec.Failed
		if rec.Server {
			return ""
		}
		s.over = true
		return fmt.Sprintf("%s\nEnd of stream from client | stream: %d\n", hyphens, rec.Stream)
	}
	if r.kept++; r.kept > mostRecords {
		return r.interval(rec.Interval)
	}
	if rec.Sent {
		s.send = append(s.send, rec.Interval)
	} else {
		s.receive = append(s.receive, rec.Interval)
	}
	return r.interval(rec.Interval)
}

const (
	hyphens = "----------"
	equals  = "=========="
)

// rate is bytes/s in the report's unit.
func (r *Report) rate(bytesPerSecond float64) string {
	if r.Unit == Megabyte {
		return fmt.Sprintf("megabytes/second: %.3f", bytesPerSecond/1e6)
	}
	return fmt.Sprintf("megabits/second: %.3f", bytesPerSecond/125000)
}

// interval is the text of one record. The original divides in single
// precision.
func (r *Report) interval(i wire.Interval) string {
	per := func(n uint64) float64 {
		if i.Duration <= 0 {
			return 0
		}
		return float64(float32(n) / float32(i.Duration))
	}
	family, what := "TCP", "receive"
	if i.UDP {
		family = "UDP"
	}
	if i.Sent {
		what = "send"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s %s result over %.2fs | stream: %d\n", hyphens, family, what, float64(i.Duration), i.Stream)
	fmt.Fprintf(&b, "bytes: %d | per second: %.3f | %s\n", i.Bytes, per(i.Bytes), r.rate(per(i.Bytes)))
	switch {
	case i.UDP && i.Sent:
		fmt.Fprintf(&b, "packets: %d per second: %.3f\n", i.Packets, per(i.Packets))
	case i.UDP:
		fmt.Fprintf(&b, "packets: %d | lost: %d | out-of-order: %d | duplicate: %d | per second: %.3f\n",
			i.Packets, i.Counts.Lost, i.Counts.OutOfOrder, i.Counts.Duplicated, per(i.Packets))
		if j := i.Counts.Jitter; j != nil {
			fmt.Fprintf(&b, "jitter: %.6fs over %d consecutive packets\n", float64(*j), i.Counts.Unbroken)
		}
	}
	if i.Blocked > 0 {
		fmt.Fprintf(&b, "stalls due to full send-buffer: %d\n", i.Blocked)
	}
	return b.String()
}

// A sum adds up records.
type sum struct {
	duration, longest float64
	bytes, packets    uint64
	late, again       uint64
	jitter            float64 // weighted
	consecutive       uint64
	blocked           uint64
}

func (s *sum) add(records []wire.Interval) {
	total := 0.0
	for _, i := range records {
		total += float64(i.Duration)
		s.bytes += i.Bytes
		s.packets += i.Packets
		s.late += i.Counts.OutOfOrder
		s.again += i.Counts.Duplicated
		s.blocked += i.Blocked
		if j := i.Counts.Jitter; j != nil {
			s.jitter += float64(*j) * float64(i.Counts.Unbroken)
			s.consecutive += i.Counts.Unbroken
		}
	}
	s.duration += total
	s.longest = max(s.longest, total)
}

// counted are the records that sums count.
func (r *Report) counted(records []wire.Interval) []wire.Interval {
	return records[min(r.Omit, len(records)):]
}

// sums adds up all streams.
func (r *Report) sums() (sent, received sum) {
	for n := range 256 {
		if s := r.streams[uint8(n)]; s != nil {
			sent.add(r.counted(s.send))
			received.add(r.counted(s.receive))
		}
	}
	return sent, received
}

// Success is whether all our streams ended and none failed at either end. It
// does not say that the server told of all of them.
func (r *Report) Success() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.success()
}

func (r *Report) success() bool {
	ended := 0
	for _, s := range r.streams {
		if s.failed {
			return false
		}
		if s.over {
			ended++
		}
	}
	return ended == max(1, r.Client.Streams)
}

// Summary is the end of the text.
func (r *Report) Summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent, received := r.sums()
	var b strings.Builder
	r.part(&b, "send", sent)
	if r.Client.UDP {
		fmt.Fprintf(&b, "packets: %d per second: %.3f\n", sent.packets, r.perSecond(sent.packets, sent.duration))
	}
	r.part(&b, "receive", received)
	if r.Client.UDP {
		lost := int64(sent.packets) - int64(received.packets) + int64(received.again)
		percent := 0.0
		if sent.packets > 0 {
			percent = 100 * float64(lost) / float64(sent.packets)
		}
		fmt.Fprintf(&b, "packets: %d | lost: %d (%.1f%%) | out-of-order: %d | duplicate: %d | per second: %.3f\n",
			received.packets, lost, percent, received.late, received.again, r.perSecond(received.packets, received.duration))
		if received.consecutive > 0 {
			fmt.Fprintf(&b, "jitter: %.6fs over %d consecutive packets\n", received.jitter/float64(received.consecutive), received.consecutive)
		}
	}
	if sent.blocked > 0 {
		b.WriteString("throughput was limited by full send-buffers\n")
	}
	if !r.success() {
		b.WriteString("TESTING DID NOT COMPLETE SUCCESSFULLY\n")
	}
	return b.String()
}

// part is what the summary says of sending or receiving.
func (r *Report) part(b *strings.Builder, what string, s sum) {
	family := "TCP"
	if r.Client.UDP {
		family = "UDP"
	}
	average, total := 0.0, r.perSecond(s.bytes, s.duration)
	if s.duration > 0 {
		average = float64(s.bytes) / s.duration
	}
	fmt.Fprintf(b, "%s\n%s %s result over %.2fs | streams: %d\n", equals, family, what, s.longest, max(1, r.Client.Streams))
	fmt.Fprintf(b, "stream-average bytes per second: %.3f | %s\n", average, r.rate(average))
	fmt.Fprintf(b, "total bytes: %d | per second: %.3f | %s\n", s.bytes, total, r.rate(total))
}

// perSecond is n over the mean duration of a stream.
func (r *Report) perSecond(n uint64, duration float64) float64 {
	if duration <= 0 {
		return 0
	}
	return float64(n) / duration * float64(max(1, r.Client.Streams))
}

// A float is written as the original does: with a fraction, and with an
// exponent below 10^-5.
type float float64

// MarshalJSON implements json.Marshaler.
func (f float) MarshalJSON() ([]byte, error) {
	x := float64(f)
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return []byte("null"), nil
	case x != 0 && (math.Abs(x) < 1e-5 || math.Abs(x) >= 1e16):
		s := strconv.FormatFloat(x, 'e', -1, 64)
		s = strings.Replace(strings.Replace(s, "e-0", "e-", 1), "e+", "e", 1)
		return []byte(s), nil
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return []byte(s), nil
}

// JSON is the document of -f json: indented, keys in alphabetical order.
func (r *Report) JSON() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	streams := []any{}
	for n := range max(1, r.Client.Streams) {
		s := r.streams[uint8(n)]
		if s == nil {
			s = &reported{}
		}
		var sent, received sum
		sent.add(r.counted(s.send))
		received.add(r.counted(s.receive))
		streams = append(streams, map[string]any{
			"abandoned": !s.over, "failed": s.failed,
			"intervals": map[string]any{
				"receive": records(s.receive), "send": records(s.send), "summary": r.summary(sent, received),
			},
		})
	}
	sent, received := r.sums()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	err := enc.Encode(map[string]any{
		"config": r.config(), "streams": streams, "success": r.success(), "summary": r.summary(sent, received),
	})
	if err != nil {
		return nil, fmt.Errorf("rperf: report: %w", err)
	}
	return b.Bytes(), nil
}

// config is what the test was asked to be.
func (r *Report) config() map[string]any {
	c := r.Client.withDefaults()
	version := 4
	if r.IPv6 {
		version = 6
	}
	family := "tcp"
	upload := map[string]any{
		"bandwidth": bytesPerSecond(c.Rate), "duration": float(wire.SecondsOf(c.Duration)),
		"send_interval": float(wire.SecondsOf(c.SendInterval)),
	}
	if c.UDP {
		family = "udp"
	} else {
		upload["no_delay"] = c.NoDelay
	}
	if c.SendBuffer > 0 {
		upload["send_buffer"] = c.SendBuffer
	}
	download := map[string]any{}
	if c.ReceiveBuffer > 0 {
		download["receive_buffer"] = c.ReceiveBuffer
	}
	return map[string]any{
		"additional": map[string]any{"ip_version": version, "omit_seconds": r.Omit, "reverse": c.Direction == result.Down},
		"common":     map[string]any{"family": family, "length": c.Length, "streams": c.Streams},
		"download":   download, "upload": upload,
	}
}

// records are intervals as the document has them.
func records(all []wire.Interval) []any {
	list := []any{}
	for _, i := range all {
		m := map[string]any{"duration": float(i.Duration), "timestamp": float(i.End)}
		switch {
		case i.Sent:
			m["bytes_sent"], m["sends_blocked"] = i.Bytes, i.Blocked
			if i.UDP {
				m["packets_sent"] = i.Packets
			}
		default:
			m["bytes_received"] = i.Bytes
			if i.UDP {
				m["packets_received"], m["packets_lost"] = i.Packets, i.Counts.Lost
				m["packets_out_of_order"], m["packets_duplicated"] = i.Counts.OutOfOrder, i.Counts.Duplicated
				m["unbroken_sequence"], m["jitter_seconds"] = i.Counts.Unbroken, nil
				if j := i.Counts.Jitter; j != nil {
					m["jitter_seconds"] = float(*j)
				}
			}
		}
		list = append(list, m)
	}
	return list
}

// summary is the sums as the document has them. Loss takes no account of
// duplicates, as in the original, but is never below zero by wrapping.
func (r *Report) summary(sent, received sum) map[string]any {
	m := map[string]any{
		"duration_send": float(sent.duration), "duration_receive": float(received.duration),
		"bytes_sent": sent.bytes, "bytes_received": received.bytes,
	}
	if !r.Client.UDP {
		return m
	}
	m["packets_sent"], m["packets_received"] = sent.packets, received.packets
	m["packets_lost"] = int64(sent.packets) - int64(received.packets)
	m["packets_out_of_order"], m["packets_duplicated"] = received.late, received.again
	if sent.packets > 0 {
		m["framed_packet_size"] = sent.bytes / sent.packets
	}
	if received.consecutive > 0 {
		m["jitter_average"] = float(received.jitter / float64(received.consecutive))
		m["jitter_packets_consecutive"] = received.consecutive
	}
	return m
}
