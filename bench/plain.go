package main

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// The plain Go program: what one writes with care but without the kernel's
// special offers. One reused buffer, calls that do not allocate.

const plainBlock = 128 << 10

func plainTCPSend(ctx context.Context, r role) error {
	conns, err := dial(ctx, r.at, r.n)
	if err != nil {
		return err
	}
	done := make(chan error, r.n)
	for _, c := range conns {
		go func() {
			buf := make([]byte, plainBlock)
			for {
				if _, err := c.Write(buf); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	return <-done
}

func plainTCPReceive(ctx context.Context, r role) error {
	conns, err := accept(ctx, r.at, r.n)
	if err != nil {
		return err
	}
	var bytes atomic.Uint64
	for _, c := range conns {
		go func() {
			buf := make([]byte, plainBlock)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				bytes.Add(uint64(n))
			}
		}()
	}
	return report(r, func() string { return "plain" }, func() count { return count{bytes: bytes.Load()} })
}

func plainUDPSend(_ context.Context, r role) error {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	buf := make([]byte, r.n)
	to := net.UDPAddrFromAddrPort(r.at)
	for seq := uint32(0); ; seq++ {
		binary.BigEndian.PutUint32(buf, seq)
		if _, err := c.WriteTo(buf, to); err != nil {
			return err
		}
	}
}

func plainUDPReceive(_ context.Context, r role) error {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(r.at))
	if err != nil {
		return err
	}
	_ = c.SetReadBuffer(4 << 20) // as much as the system grants
	var bytes, packets, lost atomic.Uint64
	go func() {
		buf := make([]byte, 1<<16)
		next := uint32(0)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			seq := binary.BigEndian.Uint32(buf)
			if packets.Load() > 0 {
				lost.Add(uint64(seq - next))
			}
			next = seq + 1
			packets.Add(1)
			bytes.Add(uint64(n))
		}
	}()
	return report(r, func() string { return "plain" }, func() count {
		return count{bytes: bytes.Load(), packets: packets.Load(), lost: int64(lost.Load())}
	})
}
