package btest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/transcript"
)

// A tally is what a peer counted. All of it is safe to read after run.
type tally struct {
	mu       sync.Mutex
	begun    time.Time
	Elapsed  time.Duration
	Sent     uint64 // bytes of payload; statuses are none
	Received uint64
	Packets  uint64        // datagrams received
	Seconds  []uint64      // bytes received in each second
	Statuses []wire.Status // of the far end
}

func (t *tally) received(n, packets int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Received += uint64(n)
	t.Packets += uint64(packets)
	second := int(time.Since(t.begun) / time.Second)
	for len(t.Seconds) <= second {
		t.Seconds = append(t.Seconds, 0)
	}
	t.Seconds[second] += uint64(n)
}

func (t *tally) sent(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Sent += uint64(n)
}

func (t *tally) status(s wire.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Statuses = append(t.Statuses, s)
}

// sends and receives say what the peer does in its test.
func (p *peer) sends() bool {
	return p.command.Direction&map[transcript.Side]wire.Direction{transcript.Server: wire.Transmit, transcript.Client: wire.Receive}[p.side] != 0
}

func (p *peer) receives() bool {
	return p.command.Direction&map[transcript.Side]wire.Direction{transcript.Server: wire.Receive, transcript.Client: wire.Transmit}[p.side] != 0
}

// data is the data phase. A client ends it when its time is over, a server
// when its client closes the first connection.
func (p *peer) data(ctx context.Context, conns map[int]net.Conn) (*tally, error) {
	p.tally.begun = time.Now()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if p.side == transcript.Client {
		took := p.duration
		if took == 0 {
			took = 3 * time.Second
		}
		defer time.AfterFunc(took, func() { stop(errDone) }).Stop()
	}
	var wg sync.WaitGroup
	part := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				stop(err)
			}
		})
	}
	if p.command.Transport == wire.UDP {
		if err := p.openPorts(); err != nil {
			return nil, err
		}
		control := conns[1]
		part(func(ctx context.Context) error { return p.statuses(ctx, control) })
		part(func(context.Context) error { return p.hearStatuses(control) })
		for _, s := range p.sockets {
			part(func(context.Context) error { return p.hearDatagrams(s) })
		}
		if p.sends() {
			part(p.sendDatagrams)
		}
	} else {
		for _, c := range conns {
			counted := new(atomic.Uint64)
			part(func(ctx context.Context) error { return p.talk(ctx, c, len(conns), counted) })
			part(func(context.Context) error { return p.listenTo(c, counted) })
		}
	}
	<-ctx.Done()
	for _, s := range p.sockets {
		s.SetDeadline(longAgo)
	}
	for _, c := range conns {
		if reset, ok := c.(interface{ SetLinger(int) error }); ok && p.script.reset {
			reset.SetLinger(0)
		}
		c.Close()
	}
	wg.Wait()
	p.tally.Elapsed = time.Since(p.tally.begun)
	switch err := context.Cause(ctx); {
	case errors.Is(err, errDone) && p.side == transcript.Client, sock.IsGone(err) && p.side == transcript.Server:
		return &p.tally, nil
	case sock.IsGone(err):
		return &p.tally, fmt.Errorf("the server closed after %v", p.tally.Elapsed)
	default:
		return &p.tally, err
	}
}

// beat calls f every 10 ms with the number of beats so far, from 1, until ctx
// ends: bulk on each, a status on each hundredth.
func beat(ctx context.Context, f func(n int) error) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		if err := f(n); err != nil {
			return err
		}
	}
}

// share is how many bytes are due on each beat.
func (p *peer) share(flows int) int {
	rate := p.rate
	if rate == 0 {
		rate = 4e6
	}
	return int(rate / 8 / 100 / uint64(flows))
}

// report is a status as the recorded program says it.
func (p *peer) report(seq int, received uint64) []byte {
	s := wire.Status{CPU: wire.NoCPU, Seq: uint32(seq), Received: wire.Saturate(received)}
	if p.script.cpu {
		s.CPU = 42
	}
	b, _ := s.AppendBinary(nil)
	return b
}

// talk sends the bulk of one TCP connection, and statuses between.
func (p *peer) talk(ctx context.Context, c net.Conn, conns int, counted *atomic.Uint64) error {
	block := make([]byte, p.command.WriteSize())
	copy(block, p.script.mark)
	due, at := 0, 0
	return beat(ctx, func(n int) error {
		if p.sends() {
			for due += p.share(conns); due > 0; {
				part := block[at:min(len(block), at+due)]
				m, err := c.Write(part)
				due, at = due-m, (at+m)%len(block)
				p.tally.sent(m)
				if err != nil {
					return err
				}
			}
		}
		if n%100 != 0 || !p.script.statuses || p.script.mark != nil {
			return nil
		}
		_, err := c.Write(p.report(n/100, counted.Swap(0)))
		return err
	})
}

// listenTo counts what comes on one TCP connection.
func (p *peer) listenTo(c net.Conn, counted *atomic.Uint64) error {
	var scanner wire.Scanner
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		data := scanner.Scan(b[:n], p.tally.status)
		if data > 0 {
			counted.Add(uint64(data))
			p.tally.received(data, 0)
		}
		if err != nil {
			return err
		}
	}
}

// openPorts opens the client's UDP ports; the server's is open since it was
// announced.
func (p *peer) openPorts() error {
	if p.side == transcript.Server {
		return nil
	}
	for k := range p.command.Count() {
		if _, err := p.openSocket(p.port + wire.ClientPort + uint16(k)); err != nil {
			return err
		}
	}
	return nil
}

// sendDatagrams sends to the far end's port, in turn from each of ours.
func (p *peer) sendDatagrams(ctx context.Context) error {
	to := netip.AddrPortFrom(p.remote.Addr(), p.port)
	if p.side == transcript.Server {
		to = netip.AddrPortFrom(p.remote.Addr(), p.port+wire.ClientPort)
	}
	b := make([]byte, p.script.size)
	seq, due := p.script.first, 0
	return beat(ctx, func(int) error {
		for due += p.share(1); due >= len(b); due -= len(b) {
			binary.BigEndian.PutUint32(b, seq)
			s := p.sockets[int(seq)%len(p.sockets)]
			if _, err := s.WriteTo(b, net.UDPAddrFromAddrPort(to)); err == nil {
				p.tally.sent(len(b))
			}
			seq++
		}
		return nil
	})
}

// hearDatagrams counts datagrams that carry a number.
func (p *peer) hearDatagrams(s net.PacketConn) error {
	b := make([]byte, 1<<16)
	for {
		n, _, err := s.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err == nil && n >= wire.SequenceLen {
			p.tally.received(n, 1)
		}
	}
}

// statuses says one each second, with the bytes that came since the last,
// counted with their headers.
func (p *peer) statuses(ctx context.Context, c net.Conn) error {
	var before uint64
	return beat(ctx, func(n int) error {
		if n%100 != 0 || !p.script.statuses {
			return nil
		}
		p.tally.mu.Lock()
		now := p.tally.Received + p.tally.Packets*uint64(wire.Overhead(p.remote.Addr()))
		p.tally.mu.Unlock()
		_, err := c.Write(p.report(n/100, now-before))
		before = now
		return err
	})
}

// hearStatuses reads the far end's statuses until it closes.
func (p *peer) hearStatuses(c net.Conn) error {
	b := make([]byte, wire.StatusLen)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		s, err := wire.ParseStatus(b)
		if err != nil {
			return err
		}
		p.tally.status(s)
	}
}

// withData lists the recordings that get as far as data.
func withData(names []string, load func(string) *transcript.Recording) []string {
	return slices.DeleteFunc(names, func(name string) bool { return scriptOf(load(name), transcript.Client).bulk < 0 })
}
