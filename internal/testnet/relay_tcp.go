package testnet

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// relayWindow is how much of a stream may be on the relay, bytes each way.
	relayWindow = 16 << 20
	// relayBuffer keeps the kernel from hiding a bottleneck behind its own buffers.
	relayBuffer = 64 << 10
)

// A crossing is one relayed TCP connection.
type crossing struct {
	relay          *Relay
	client, server *net.TCPConn
	up, down       *half
	gone           chan struct{} // closed by reset
	once           sync.Once
}

func newCrossing(r *Relay, client, server *net.TCPConn) *crossing {
	c := &crossing{relay: r, client: client, server: server, gone: make(chan struct{})}
	c.up = newHalf(c, r.Up, client, server)
	c.down = newHalf(c, r.Down, server, client)
	return c
}

// run relays until both directions are at their end.
func (c *crossing) run() {
	var wg sync.WaitGroup
	for _, h := range []*half{c.up, c.down} {
		wg.Go(h.receive)
		wg.Go(h.send)
	}
	wg.Wait()
	c.client.Close()
	c.server.Close()
}

// reset ends both connections with a RST.
func (c *crossing) reset() {
	c.once.Do(func() {
		close(c.gone)
		Reset(c.client) // an error means that it is closed already
		Reset(c.server)
		c.up.stop()
		c.down.stop()
	})
}

// finish sends a FIN both ways and relays nothing any more.
func (c *crossing) finish() {
	c.up.finish()
	c.down.finish()
}

// A half is one direction of a crossing.
type half struct {
	crossing *crossing
	line     *Line
	from, to *net.TCPConn

	mu       sync.Mutex // guards what follows
	wake     sync.Cond  // on mu: anything below has changed
	arrived  [][]byte   // to be written
	under    int        // bytes taken and not yet written
	ended    bool       // FIN has arrived behind arrived
	broken   bool       // RST has
	stopped  bool       // by crossing.reset
	finished bool       // by crossing.finish: throw away what comes
}

func newHalf(c *crossing, line *Line, from, to *net.TCPConn) *half {
	h := &half{crossing: c, line: line, from: from, to: to}
	h.wake.L = &h.mu
	if line.current().Rate > 0 {
		if err := from.SetReadBuffer(relayBuffer); err != nil {
			c.relay.failed(err)
		}
	}
	return h
}

// receive takes what comes and puts it on the line.
func (h *half) receive() {
	b := make([]byte, 64<<10)
	for {
		n, err := h.from.Read(b)
		if !h.offer(b[:n]) {
			return
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			h.pass(nil, func() { h.change(func() { h.ended = true }) })
			return
		default: // RST
			h.pass(nil, func() { h.change(func() { h.broken = true }) })
			return
		}
	}
}

// offer puts p on the line in packets; it is false when the connection is gone.
func (h *half) offer(p []byte) bool {
	for len(p) > 0 && !h.isFinished() {
		n := min(len(p), max(1, mtuOf(h.line)-streamHeader(h.from)))
		data := append([]byte(nil), p[:n]...)
		if !h.awaitRoom(n) || !h.pass(data, func() { h.change(func() { h.arrived = append(h.arrived, data) }) }) {
			return false
		}
		p = p[n:]
	}
	return true
}

func streamHeader(c *net.TCPConn) int {
	return headerOf(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()) + tcpHeader
}

// pass offers one packet until the line has taken it.
func (h *half) pass(data []byte, arrive func()) bool {
	for {
		f := h.line.offer(len(data)+streamHeader(h.from), streamed, arrive)
		switch f.verdict {
		case accepted:
			return true
		case full:
			if !h.sleep(time.Until(f.due)) {
				return false
			}
		case lost:
			if !h.sleep(h.crossing.relay.roundTrip()) {
				return false
			}
		default:
			h.line.awaitPlug()
			if !h.sleep(0) {
				return false
			}
		}
	}
}

// roundTrip is how long the sender of a lost packet takes to notice.
func (r *Relay) roundTrip() time.Duration {
	return max(r.Up.current().Delay+r.Down.current().Delay, time.Millisecond)
}

// sleep is false when the connection is gone.
func (h *half) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-h.crossing.gone:
		return false
	case <-timer.C:
		return true
	}
}

// awaitRoom takes n bytes of the window; it is false when the connection is gone.
func (h *half) awaitRoom(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.under+n > relayWindow && !h.stopped && !h.finished {
		h.wake.Wait()
	}
	h.under += n
	return !h.stopped
}

func (h *half) isFinished() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.finished
}

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.wake.Broadcast()
}

func (h *half) stop() { h.change(func() { h.stopped = true }) }

func (h *half) finish() {
	h.change(func() { h.finished = true })
}

// send writes what has arrived until the direction is at its end.
func (h *half) send() {
	for {
		data, end := h.next()
		if len(data) > 0 {
			n, err := (*net.Buffers)(&data).WriteTo(h.to)
			h.change(func() { h.under -= int(n) })
			if err != nil { // the receiver is gone: the sender is told so, as TCP would
				end = withRST
			}
		}
		switch end {
		case withFIN:
			h.to.CloseWrite() // an error means that the other end is gone already
			return
		case withRST:
			h.crossing.reset()
			return
		}
	}
}

// An end says how a direction ends.
type end uint8

const (
	notYet end = iota
	withFIN
	withRST
)

// next waits for what is to be written, or for the end.
func (h *half) next() (data [][]byte, end end) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.stopped:
			return nil, withRST
		case h.finished:
			return nil, withFIN
		case len(h.arrived) > 0:
			data, h.arrived = h.arrived, nil
			return data, notYet
		case h.broken:
			return nil, withRST
		case h.ended:
			return nil, withFIN
		}
		h.wake.Wait()
	}
}
