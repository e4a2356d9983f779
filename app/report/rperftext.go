package report

import (
	"bytes"
	"fmt"

	"github.com/sonde-net/sonde/rperf/wire"
)

const (
	rperfRule = "----------\n"
	rperfBar  = "==========\n"
)

// unit is the second way in which a rate is told, and how many bytes/s it is.
func (k RperfKind) unit() (name string, bytes float64) {
	if k == RperfMegabyte {
		return "megabytes/second", 1e6
	}
	return "megabits/second", 125000
}

func rperfFamily(udp bool) string {
	if udp {
		return "UDP"
	}
	return "TCP"
}

// rperfBlock is one result of one stream. rperf computes the rates of a result
// in single precision, those of sums in double.
func rperfBlock(k RperfKind, i wire.Interval) []byte {
	var b bytes.Buffer
	what := "receive"
	if i.Sent {
		what = "send"
	}
	seconds := float32(i.Duration)
	rate := func(n uint64) float32 {
		if seconds <= 0 {
			return 0
		}
		return float32(n) / seconds
	}
	unit, each := k.unit()
	fmt.Fprintf(&b, "%s%s %s result over %.2fs | stream: %d\n", rperfRule, rperfFamily(i.UDP), what, seconds, i.Stream)
	fmt.Fprintf(&b, "bytes: %d | per second: %.3f | %s: %.3f\n", i.Bytes, rate(i.Bytes), unit, rate(i.Bytes)/float32(each))
	switch {
	case i.UDP && i.Sent:
		fmt.Fprintf(&b, "packets: %d per second: %.3f\n", i.Packets, rate(i.Packets))
	case i.UDP:
		fmt.Fprintf(&b, "packets: %d | lost: %d | out-of-order: %d | duplicate: %d | per second: %.3f\n",
			i.Packets, i.Counts.Lost, i.Counts.OutOfOrder, i.Counts.Duplicated, rate(i.Packets))
		if j := i.Counts.Jitter; j != nil {
			fmt.Fprintf(&b, "jitter: %.6fs over %d consecutive packets\n", *j, i.Counts.Unbroken)
		}
	}
	if i.Blocked > 0 {
		fmt.Fprintf(&b, "stalls due to a full send buffer: %d\n", i.Blocked)
	}
	return b.Bytes()
}

func rperfStreamEnd(stream uint8) []byte {
	return fmt.Appendf(nil, "%sEnd of stream from client | stream: %d\n", rperfRule, stream)
}

// rperfSummary is the sums over all streams, sending first.
func rperfSummary(c RperfConfig, streams []rperfStream) []byte {
	var b bytes.Buffer
	sent, received := sumsOf(streams, c.Omit)
	sent.rates(&b, c, "send")
	if c.UDP {
		fmt.Fprintf(&b, "packets: %d per second: %.3f\n", sent.packets, sent.total(float64(sent.packets)))
	}
	received.rates(&b, c, "receive")
	if c.UDP {
		lost := int64(sent.packets) - (int64(received.packets) - int64(received.again))
		fmt.Fprintf(&b, "packets: %d | lost: %d (%.1f%%) | out-of-order: %d | duplicate: %d | per second: %.3f\n",
			received.packets, lost, 100*per(float64(lost), float64(sent.packets)), received.late, received.again, received.total(float64(received.packets)))
		if j, ok := received.averageJitter(); ok {
			fmt.Fprintf(&b, "jitter: %.6fs over %d consecutive packets\n", j, received.jittered)
		}
	}
	if sent.blocked > 0 {
		b.WriteString("SENDING WAS THROTTLED BY BUFFER LIMITS\n")
	}
	if !rperfSuccess(streams) {
		b.WriteString("TESTING DID NOT COMPLETE SUCCESSFULLY\n")
	}
	return b.Bytes()
}

// rates are the lines that sending and receiving, TCP and UDP have in common.
func (t rperfSum) rates(b *bytes.Buffer, c RperfConfig, what string) {
	unit, each := c.Kind.unit()
	average := per(float64(t.bytes), t.duration)
	total := t.total(float64(t.bytes))
	fmt.Fprintf(b, "%s%s %s result over %.2fs | streams: %d\n", rperfBar, rperfFamily(c.UDP), what, t.longest, t.streams)
	fmt.Fprintf(b, "stream-average bytes per second: %.3f | %s: %.3f\n", average, unit, average/each)
	fmt.Fprintf(b, "total bytes: %d | per second: %.3f | %s: %.3f\n", t.bytes, total, unit, total/each)
}

// total is n per second of the test: the durations are added up over the
// streams, which ran at the same time.
func (t rperfSum) total(n float64) float64 { return per(n, t.duration) * float64(t.streams) }
