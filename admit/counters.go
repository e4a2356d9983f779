package admit

import "sync/atomic"

// Counters are live totals over all tests that share them, for a dashboard or
// metrics. Engines add to them at least once a second; a nil *Counters counts
// nothing. The zero Counters is ready to use.
type Counters struct {
	sent, received atomic.Uint64
	tests, running atomic.Int64
}

// Add counts bytes of payload moved by our end.
func (c *Counters) Add(sent, received uint64) {
	if c != nil {
		c.sent.Add(sent)
		c.received.Add(received)
	}
}

// Begin counts a test that begins and returns the function that counts its end.
func (c *Counters) Begin() (end func()) {
	if c == nil {
		return func() {}
	}
	c.tests.Add(1)
	c.running.Add(1)
	return func() { c.running.Add(-1) }
}

// Bytes returns the payload sent and received so far.
func (c *Counters) Bytes() (sent, received uint64) { return c.sent.Load(), c.received.Load() }

// Tests returns how many tests have begun, and how many of them run now.
func (c *Counters) Tests() (begun, running int64) { return c.tests.Load(), c.running.Load() }
