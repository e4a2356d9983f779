package iperf3

import (
	"context"
	"encoding/json"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// TestDeafPort: what comes for a stream that only sends fills no queue.
func TestDeafPort(t *testing.T) {
	p := &port{some: make(chan struct{}, 1), most: leastQueued}
	m := &sock.Message{Data: make([]byte, 16), Len: 16}
	p.put(m)
	p.deafen()
	for range 10 {
		p.put(m)
	}
	if len(p.queue) != 0 {
		t.Errorf("%d messages are queued", len(p.queue))
	}
}

// TestOutputBounded: what is kept for a client that wants our output does not
// grow with the streams and the time it asked for.
func TestOutputBounded(t *testing.T) {
	o := &output{}
	for range 200 {
		o.take("", wire.ReportInterval{Streams: make([]wire.ReportFigures, 256)})
	}
	if n := len(o.report.Intervals); n == 0 || n > mostFigures/256 {
		t.Errorf("%d intervals of 256 streams are kept", n)
	}
}

// TestStreamsOfOne: one address has only so many streams, and is told that the
// server is busy.
func TestStreamsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{StreamsPerAddress: 8})
		for streams, code := range map[int]string{8: "", 9: result.CodeRefused} {
			if _, err := p.run(t.Context(), Client{Streams: streams, Duration: time.Second, Rate: 1e5}); result.CodeOf(err) != code {
				t.Errorf("%d streams: %v (%s), want %q", streams, err, result.CodeOf(err), code)
			}
		}
		if _, err := p.run(t.Context(), Client{Streams: 8, Duration: time.Second, Rate: 1e5}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		p.stop()
	})
}

// TestOneRing: all streams of all tests write from one ring, however long their
// writes are said to be.
func TestOneRing(t *testing.T) {
	a, b := &plan{Parameters: wire.Parameters{Length: wire.MaxTCPLength}}, &plan{}
	if a.ring() != b.ring() {
		t.Error("a ring for each test")
	}
	a.RepeatingPayload = true
	if r := a.ring(); r == b.ring() || string(r.Block()[:12]) != "012345678901" {
		t.Errorf("digits asked for, but %q", r.Block()[:12])
	}
}

// TestInterruptedReport: the document of a test that was interrupted is whole,
// with what was measured and why it ended.
func TestInterruptedReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, udp := range []bool{false, true} {
			p := newPair(t, slow, &Server{})
			var doc wire.Report
			c := Client{UDP: udp, Direction: result.Both, Duration: time.Minute, Rate: 1e6, Report: document(&doc, io.Discard)}
			_, err := p.run(interrupted(t, 2500*time.Millisecond), c)
			p.stop()
			out, jerr := wire.AppendReport(nil, &doc)
			if jerr != nil || !json.Valid(out) {
				t.Errorf("udp=%v: %v\n%s", udp, jerr, out)
			}
			if result.ExitCode(err) != 130 || doc.Error == "" || len(doc.Intervals) < 2 || len(doc.End.Streams) != 2 {
				t.Errorf("udp=%v: %v, document with error %q, %d intervals, %d streams", udp, err, doc.Error, len(doc.Intervals), len(doc.End.Streams))
			}
		}
	})
}

// TestCutByLimit: a test that a server's limit ends is one that was limited, not
// one whose server was lost.
func TestCutByLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{Policy: limits(0, 2*time.Second)})
		r, err := p.run(t.Context(), Client{Bytes: 1 << 40, Rate: 1e6})
		p.stop()
		if result.ExitCode(err) != 5 || r.End(t).Up == nil {
			t.Errorf("%v (%s)", err, result.CodeOf(err))
		}
		if e := p.sink.End(t); e.Reason != result.ReasonMaxDuration {
			t.Errorf("server: %s, %v", e.Reason, e.Err)
		}
	})
}

// interrupted is a context that an operator ends after d.
func interrupted(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, &result.Error{Word: result.CodeInterrupted, Text: "interrupted"})
	t.Cleanup(cancel)
	return ctx
}
