package report

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/sonde-net/sonde/rperf/wire"
)

// The types of this file are rperf's JSON document, with their fields in the
// order in which rperf writes them: that of the alphabet. "error" is ours: a
// real rperf that cannot test prints no document.

type rperfDocument struct {
	Config  rperfConfigJSON   `json:"config"`
	Error   *errorJSON        `json:"error,omitempty"`
	Streams []rperfStreamJSON `json:"streams"`
	Success bool              `json:"success"`
	Summary rperfSummaryJSON  `json:"summary"`
}

type rperfConfigJSON struct {
	Additional struct {
		IPVersion *int `json:"ip_version"` // null when nobody was reached
		Omit      int  `json:"omit_seconds"`
		Reverse   bool `json:"reverse"`
	} `json:"additional"`
	Common struct {
		Family  string `json:"family"`
		Length  int    `json:"length"`
		Streams int    `json:"streams"`
	} `json:"common"`
	Download struct {
		ReceiveBuffer int `json:"receive_buffer,omitempty"`
	} `json:"download"`
	Upload struct {
		Bandwidth    uint64      `json:"bandwidth"`
		Duration     rperfNumber `json:"duration"`
		NoDelay      *bool       `json:"no_delay,omitempty"`
		SendBuffer   int         `json:"send_buffer,omitempty"`
		SendInterval rperfNumber `json:"send_interval"`
	} `json:"upload"`
}

type rperfStreamJSON struct {
	Abandoned bool `json:"abandoned"`
	Failed    bool `json:"failed"`
	Intervals struct {
		Receive []rperfRecordJSON `json:"receive"`
		Send    []rperfRecordJSON `json:"send"`
		Summary rperfSummaryJSON  `json:"summary"`
	} `json:"intervals"`
}

// rperfRecordJSON is a result of any kind; what a kind does not have is nil.
type rperfRecordJSON struct {
	BytesReceived *uint64         `json:"bytes_received,omitempty"`
	BytesSent     *uint64         `json:"bytes_sent,omitempty"`
	Duration      rperfNumber     `json:"duration"`
	Jitter        json.RawMessage `json:"jitter_seconds,omitempty"` // null when it was not measured
	Duplicated    *uint64         `json:"packets_duplicated,omitempty"`
	Lost          *int64          `json:"packets_lost,omitempty"`
	OutOfOrder    *uint64         `json:"packets_out_of_order,omitempty"`
	Received      *uint64         `json:"packets_received,omitempty"`
	Sent          *uint64         `json:"packets_sent,omitempty"`
	Blocked       *uint64         `json:"sends_blocked,omitempty"`
	Timestamp     rperfNumber     `json:"timestamp"`
	Unbroken      *uint64         `json:"unbroken_sequence,omitempty"`
}

type rperfSummaryJSON struct {
	BytesReceived    uint64       `json:"bytes_received"`
	BytesSent        uint64       `json:"bytes_sent"`
	DurationReceived rperfNumber  `json:"duration_receive"`
	DurationSent     rperfNumber  `json:"duration_send"`
	FramedSize       *uint64      `json:"framed_packet_size,omitempty"`
	Jitter           *rperfNumber `json:"jitter_average,omitempty"`
	Jittered         *uint64      `json:"jitter_packets_consecutive,omitempty"`
	Duplicated       *uint64      `json:"packets_duplicated,omitempty"`
	Lost             *uint64      `json:"packets_lost,omitempty"`
	OutOfOrder       *uint64      `json:"packets_out_of_order,omitempty"`
	Received         *uint64      `json:"packets_received,omitempty"`
	Sent             *uint64      `json:"packets_sent,omitempty"`
}

// document is the whole of what was measured.
func (s *RperfSink) document(fault error) []byte {
	d := rperfDocument{Config: s.config(), Streams: []rperfStreamJSON{}, Summary: rperfSummaryOf(s.c, s.streams)}
	if fault != nil {
		d.Error = errorOf(fault)
	}
	if s.ipVersion != 0 {
		d.Success = rperfSuccess(s.streams) && fault == nil
		for _, one := range s.streams {
			d.Streams = append(d.Streams, rperfStreamOf(s.c, one))
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if s.c.Indent {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(d); err != nil && s.err == nil {
		s.err = err
	}
	return b.Bytes()
}

func (s *RperfSink) config() rperfConfigJSON {
	var j rperfConfigJSON
	if s.ipVersion != 0 {
		j.Additional.IPVersion = &s.ipVersion
	}
	j.Additional.Omit, j.Additional.Reverse = s.c.Omit, s.c.Reverse
	j.Common.Family, j.Common.Length, j.Common.Streams = strings.ToLower(rperfFamily(s.c.UDP)), s.c.Length, len(s.streams)
	j.Download.ReceiveBuffer = s.c.ReceiveBuffer
	j.Upload.Bandwidth, j.Upload.SendBuffer = s.c.Bandwidth, s.c.SendBuffer
	j.Upload.Duration = rperfNumber(wire.SecondsOf(s.c.Duration))
	j.Upload.SendInterval = rperfNumber(wire.SecondsOf(s.c.SendInterval))
	if !s.c.UDP {
		j.Upload.NoDelay = &s.c.NoDelay
	}
	return j
}

func rperfStreamOf(c RperfConfig, one rperfStream) rperfStreamJSON {
	j := rperfStreamJSON{Abandoned: !one.ended, Failed: one.failed}
	j.Intervals.Receive, j.Intervals.Send = []rperfRecordJSON{}, []rperfRecordJSON{}
	for _, i := range one.received {
		j.Intervals.Receive = append(j.Intervals.Receive, rperfRecordOf(i))
	}
	for _, i := range one.sent {
		j.Intervals.Send = append(j.Intervals.Send, rperfRecordOf(i))
	}
	j.Intervals.Summary = rperfSummaryOf(c, []rperfStream{one})
	return j
}

func rperfRecordOf(i wire.Interval) rperfRecordJSON {
	j := rperfRecordJSON{Duration: rperfNumber(i.Duration), Timestamp: rperfNumber(i.End)}
	if i.Sent {
		j.BytesSent, j.Blocked = &i.Bytes, &i.Blocked
		if i.UDP {
			j.Sent = &i.Packets
		}
		return j
	}
	j.BytesReceived = &i.Bytes
	if !i.UDP {
		return j
	}
	n := i.Counts
	j.Received, j.Lost, j.OutOfOrder, j.Duplicated, j.Unbroken = &i.Packets, &n.Lost, &n.OutOfOrder, &n.Duplicated, &n.Unbroken
	j.Jitter = json.RawMessage("null")
	if n.Jitter != nil {
		j.Jitter = json.RawMessage(rperfNumber(*n.Jitter).String())
	}
	return j
}

// rperfSummaryOf adds up some streams. Unlike the text, rperf's document does
// not take duplicates into account in what is lost. Where more came than was
// sent, which is possible with duplicates and omitted records, rperf writes a
// number near 2^64; we write 0.
func rperfSummaryOf(c RperfConfig, streams []rperfStream) rperfSummaryJSON {
	sent, received := sumsOf(streams, c.Omit)
	j := rperfSummaryJSON{
		BytesReceived: received.bytes, BytesSent: sent.bytes,
		DurationReceived: rperfNumber(received.duration), DurationSent: rperfNumber(sent.duration),
	}
	if !c.UDP {
		return j
	}
	lost := sent.packets - min(sent.packets, received.packets)
	j.Sent, j.Received, j.Lost = &sent.packets, &received.packets, &lost
	j.OutOfOrder, j.Duplicated = &received.late, &received.again
	if sent.packets > 0 {
		framed := sent.bytes / sent.packets
		j.FramedSize = &framed
	}
	if mean, ok := received.averageJitter(); ok {
		n := rperfNumber(mean)
		j.Jitter, j.Jittered = &n, &received.jittered
	}
	return j
}

// An rperfNumber is a number with a fraction as rperf writes it: the fewest
// digits that are exact, always with a point, and with an exponent below
// 0.00001 and from 10^16 on.
type rperfNumber float64

// String is the number in JSON; what JSON cannot say is null.
func (n rperfNumber) String() string {
	x := float64(n)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "null"
	}
	if a := math.Abs(x); x != 0 && (a < 1e-5 || a >= 1e16) {
		digits, exponent, _ := strings.Cut(strconv.FormatFloat(x, 'e', -1, 64), "e")
		power, _ := strconv.Atoi(exponent) // FormatFloat made it
		return digits + "e" + strconv.Itoa(power)
	}
	text := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// MarshalJSON implements json.Marshaler.
func (n rperfNumber) MarshalJSON() ([]byte, error) { return []byte(n.String()), nil }
