package probe

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// mostRows bounds the intervals of a document.
const mostRows = 1000

// A collector takes the events of one test, adds the verdict and hands them on,
// until it is closed.
type collector struct {
	probe *Probe
	next  result.Sink

	mu     sync.Mutex // guards what follows
	closed bool
	begin  *result.Begin
	end    *result.End
	moved  uint64 // by intervals
	text   bytes.Buffer
	json   *report.JSONSink
}

func newCollector(p *Probe, next result.Sink) *collector {
	c := &collector{probe: p, next: next}
	if next == nil {
		c.next = result.Discard
	}
	c.json = report.JSON(&c.text, report.JSONConfig{Rows: mostRows})
	return c
}

// Put implements result.Sink. What comes after the end, or after the test was
// given up, is dropped.
func (c *collector) Put(e result.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && c.end == nil {
		c.put(e)
	}
}

func (c *collector) put(e result.Event) {
	switch v := e.(type) {
	case result.Begin:
		c.begin = &v
	case result.Interval:
		if l := v.Local(); l != nil && v.Stream == result.AllStreams {
			c.moved += l.Bytes
		}
	case result.End:
		v = c.judged(v)
		c.end, e = &v, v
	}
	c.json.Put(e)
	c.next.Put(e)
}

// judged adds the verdict. A test that has moved what it may is over, not
// broken.
func (c *collector) judged(e result.End) result.End {
	if spent, ok := errors.AsType[*admit.ExceededError](e.Err); ok && spent.Word == result.ReasonBytesExceeded {
		e.Err, e.Reason = nil, result.ReasonBytesExceeded
	}
	if e.Err == nil {
		e.Verdict = c.probe.Rules.Judge(e)
	}
	return e
}

// close ends it: a test that began and put no end gets one, so that whoever saw
// it begin sees it end.
func (c *collector) close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil && c.begin != nil {
		if err == nil {
			err = &result.Error{Word: result.CodeLocal, Text: "the test ended without a result"}
		}
		head := c.begin.Head
		head.Time = time.Now()
		c.put(result.End{Head: head, Reason: result.ReasonFailed, Err: err})
	}
	c.closed = true
}

// id is that of the run; a fresh one if it put nothing.
func (c *collector) id() result.ID {
	switch {
	case c.end != nil && c.end.Run != "":
		return c.end.Run
	case c.begin != nil && c.begin.Run != "":
		return c.begin.Run
	}
	return result.NewID()
}

func (c *collector) document() []byte {
	if c.text.Len() == 0 {
		return nil
	}
	return c.text.Bytes()
}

// headers of a datagram: IP without options and UDP.
const (
	headersV4 = 20 + 8
	headersV6 = 40 + 8
)

// bytes are what the test moved, both ways: payload by our end's count, and of
// datagrams the headers, too. TCP's headers and acknowledgements are in no count.
func (c *collector) bytes() uint64 {
	headers := uint64(headersV4)
	size := uint64(0)
	if c.begin != nil {
		size = uint64(max(0, c.begin.Size))
		if a := c.begin.Peer.Addr(); a.Is6() && !a.Is4In6() {
			headers = headersV6
		}
	}
	if c.end == nil {
		return c.moved
	}
	var sum uint64
	for _, d := range (result.Both).Each() {
		if v := c.end.Local(d); v != nil {
			sum += v.Bytes
			if v.Packets != nil {
				sum += *v.Packets * headers
			}
		}
	}
	for _, r := range c.end.RoundTrips {
		sum += (r.Sent + r.Pending + r.Replies + r.Late + r.Duplicate) * (size + headers)
	}
	return max(sum, c.moved)
}
