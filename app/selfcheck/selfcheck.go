// Package selfcheck measures what this host can send to itself: the ceiling of
// every test it takes part in, and what a gigabit costs it.
package selfcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// A Case is one kind of traffic.
type Case struct {
	Transport result.Transport `json:"transport"`
	Streams   int              `json:"streams"`
	Size      int              `json:"size_bytes"` // payload of a datagram, or of one write
}

// Name says the case in words.
func (c Case) Name() string {
	switch {
	case c.Transport == result.UDP:
		return fmt.Sprintf("UDP, %d bytes", c.Size)
	case c.Streams == 1:
		return "TCP, 1 stream"
	}
	return fmt.Sprintf("TCP, %d streams", c.Streams)
}

// Cases are what Run measures unless told otherwise.
var Cases = []Case{
	{result.TCP, 1, 32768},
	{result.TCP, 4, 32768},
	{result.UDP, 1, 64},
	{result.UDP, 1, 512},
	{result.UDP, 1, 1450},
	{result.UDP, 1, 8192},
}

// A Row is what a Case reached, counted at the receiver, sender and receiver in
// this process.
type Row struct {
	Case
	BitsPerSecond    uint64   `json:"bits_per_second"` // payload
	PacketsPerSecond *uint64  `json:"packets_per_second"`
	LossRatio        *float64 `json:"loss_ratio"`
	// CPUPerGbit is seconds of processor time for a gigabit, both ends together.
	CPUPerGbit *float64 `json:"cpu_seconds_per_gbit"`
	Sending    string   `json:"sending"` // the technique in use
}

// warmUp is left out at the front of each case.
const warmUp = 150 * time.Millisecond

// Run measures each case for the given time and hands each row to report.
func Run(ctx context.Context, cases []Case, each time.Duration, report func(Row)) error {
	for _, c := range cases {
		row, err := measure(ctx, c, each)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("selfcheck, %s: %w", c.Name(), err)
		}
		report(row)
	}
	return nil
}

// A flow is one stream between two sockets of this process.
type flow struct {
	send, receive func(context.Context) error
	sent, came    func() result.View
	technique     string
	close         func()
}

func measure(ctx context.Context, c Case, each time.Duration) (Row, error) {
	var flows []flow
	defer func() {
		for _, f := range flows {
			f.close()
		}
	}()
	for range c.Streams {
		f, err := open(ctx, c)
		if err != nil {
			return Row{}, err
		}
		flows = append(flows, f)
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	failed := make(chan error, 2*len(flows))
	for _, f := range flows {
		for _, part := range []func(context.Context) error{f.send, f.receive} {
			wg.Go(func() {
				if err := part(ctx); err != nil {
					failed <- err
					stop()
				}
			})
		}
	}
	row := Row{Case: c, Sending: flows[0].technique}
	row.watch(ctx, flows, each)
	stop()
	wg.Wait()
	close(failed)
	return row, <-failed
}

// watch waits for the warm-up, then counts for the given time.
func (r *Row) watch(ctx context.Context, flows []flow, each time.Duration) {
	if !sleep(ctx, warmUp) {
		return
	}
	began, spent, ok := now()
	sent, came := sums(flows)
	if !sleep(ctx, each) {
		return
	}
	ended, spentAfter, _ := now()
	sentAfter, cameAfter := sums(flows)
	took := ended.Sub(began)
	bytes := cameAfter.Bytes - came.Bytes
	r.BitsPerSecond = rate(bytes*8, took)
	if ok && bytes > 0 {
		r.CPUPerGbit = result.Some((spentAfter - spent).Seconds() / (float64(bytes) * 8 / 1e9))
	}
	if came.Packets == nil {
		return
	}
	arrived := *cameAfter.Packets - *came.Packets
	r.PacketsPerSecond = result.Some(rate(arrived, took))
	if left := *sentAfter.Packets - *sent.Packets; left > 0 {
		r.LossRatio = result.Some(max(0, 1-float64(arrived)/float64(left)))
	}
}

func now() (at time.Time, spent time.Duration, ok bool) {
	spent, ok = host.Spent()
	return time.Now(), spent, ok
}

func rate(n uint64, took time.Duration) uint64 { return uint64(float64(n) / took.Seconds()) }

func sums(flows []flow) (sent, came result.View) {
	var s, c []result.View
	for _, f := range flows {
		s, c = append(s, f.sent()), append(c, f.came())
	}
	return result.Sum(s...), result.Sum(c...)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// open makes a flow over the loopback interface.
func open(ctx context.Context, c Case) (flow, error) {
	if c.Transport == result.UDP {
		return openUDP(ctx, c.Size)
	}
	return openTCP(ctx, c.Size)
}

func openTCP(ctx context.Context, size int) (flow, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return flow{}, err
	}
	defer l.Close()
	dialled, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return flow{}, err
	}
	accepted, err := l.Accept()
	if err != nil {
		return flow{}, errors.Join(err, dialled.Close())
	}
	from, err1 := sock.Bulk(dialled)
	to, err2 := sock.Bulk(accepted)
	if err := errors.Join(err1, err2); err != nil {
		return flow{}, err
	}
	s := &stream.TCPSender{Conn: from, Block: make([]byte, size)}
	r := &stream.TCPReceiver{Conn: to}
	return flow{s.Run, tcpReceive(r), s.View, r.View, from.Technique(), func() { from.Close(); to.Close() }}, nil
}

// tcpReceive takes the sender's end for what it is.
func tcpReceive(r *stream.TCPReceiver) func(context.Context) error {
	return func(ctx context.Context) error {
		err := r.Run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

func openUDP(ctx context.Context, size int) (flow, error) {
	any := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	from, err1 := sock.ListenPackets(ctx, any, sock.PacketOptions{})
	to, err2 := sock.ListenPackets(ctx, any, sock.PacketOptions{})
	if err := errors.Join(err1, err2); err != nil {
		return flow{}, err
	}
	at := to.LocalAddrPort()
	s := &stream.Sender{Conn: from, To: func() netip.AddrPort { return at }, Size: size, Stamp: stamp}
	r := &stream.Receiver{Conn: to, Header: 4, Parse: parse}
	return flow{s.Run, r.Run, s.View, r.View, from.Technique(), func() { from.Close(); to.Close() }}, nil
}
