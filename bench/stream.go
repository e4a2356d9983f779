package main

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
)

// dial opens n TCP connections with cubic.
func dial(ctx context.Context, at netip.AddrPort, n int) ([]net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return useCubic(c) }}
	var conns []net.Conn
	for range n {
		c, err := d.DialContext(ctx, "tcp", at.String())
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

// accept takes n TCP connections at an address.
func accept(ctx context.Context, at netip.AddrPort, n int) ([]net.Conn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return useCubic(c) }}
	l, err := lc.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var conns []net.Conn
	for range n {
		c, err := l.Accept()
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

func streamTCPSend(ctx context.Context, r role) error {
	conns, err := dial(ctx, r.at, r.n)
	if err != nil {
		return err
	}
	limit := pace.NewLimiter(pace.NewRate(r.rate))
	done := make(chan error, r.n)
	for _, c := range conns {
		b, err := sock.Bulk(c)
		if err != nil {
			return err
		}
		s := &stream.TCPSender{Conn: b, Block: make([]byte, 32768), Limit: limit}
		go func() { done <- s.Run(ctx) }()
	}
	return <-done
}

func streamTCPReceive(ctx context.Context, r role) error {
	conns, err := accept(ctx, r.at, r.n)
	if err != nil {
		return err
	}
	var receivers []*stream.TCPReceiver
	for _, c := range conns {
		b, err := sock.Bulk(c)
		if err != nil {
			return err
		}
		one := &stream.TCPReceiver{Conn: b}
		receivers = append(receivers, one)
		go one.Run(ctx)
	}
	return report(r, receivers[0].Conn.Technique, func() (c count) {
		for _, one := range receivers {
			c.bytes += one.View().Bytes
		}
		return c
	})
}

// stampSeq is btest's header: a big-endian number.
func stampSeq(b []byte, seq uint64, _ time.Time) { binary.BigEndian.PutUint32(b, uint32(seq)) }

func parseSeq(b []byte) (stream.Mark, bool) {
	if len(b) < 4 {
		return stream.Mark{}, false
	}
	return stream.Mark{Seq: binary.BigEndian.Uint32(b)}, true
}

func streamUDPSend(ctx context.Context, r role) error {
	c, err := sock.ListenPackets(ctx, netip.AddrPortFrom(netip.IPv4Unspecified(), 0), sock.PacketOptions{})
	if err != nil {
		return err
	}
	s := &stream.Sender{
		Conn: c, To: func() netip.AddrPort { return r.at }, Size: r.n, Stamp: stampSeq, Rate: pace.NewRate(r.rate),
	}
	return s.Run(ctx)
}

func streamUDPReceive(ctx context.Context, r role) error {
	c, err := sock.ListenPackets(ctx, r.at, sock.PacketOptions{})
	if err != nil {
		return err
	}
	one := &stream.Receiver{Conn: c, Parse: parseSeq, Header: 4}
	go one.Run(ctx)
	return report(r, c.Technique, func() count {
		v := one.View()
		n := count{bytes: v.Bytes, packets: *v.Packets, lost: *v.Lost}
		if v.Dropped != nil {
			n.dropped = *v.Dropped
		}
		return n
	})
}

// gapReceive measures the time between arrivals by the kernel's stamps.
func gapReceive(ctx context.Context, r role) error {
	c, err := sock.ListenPackets(ctx, r.at, sock.PacketOptions{Stamp: true})
	if err != nil {
		return err
	}
	ms := make([]sock.Message, 32)
	for i := range ms {
		ms[i].Data = make([]byte, 64)
	}
	var gaps []float64
	var last, end time.Time
	var all, measured, packets uint64
	var begin time.Time
	for end.IsZero() || last.Before(end) {
		n, err := c.ReadBatch(ms)
		if err != nil {
			return err
		}
		for _, m := range ms[:n] {
			if end.IsZero() {
				begin = m.At.Add(r.warm)
				end = begin.Add(r.time)
			}
			all += uint64(m.Len)
			if m.At.After(begin) {
				measured += uint64(m.Len)
				packets++
				gaps = append(gaps, float64(m.At.Sub(last))/1e3)
			}
			last = m.At
		}
	}
	slices.Sort(gaps)
	return encode(figure{
		Bytes: measured, Packets: packets, Seconds: last.Sub(begin).Seconds(), AllBytes: all, Technique: c.Technique(),
		GapP50: gaps[len(gaps)/2], GapP99: gaps[len(gaps)*99/100],
	})
}
