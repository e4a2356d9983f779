package sock

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A Capability is one thing that makes bulk traffic fast or exact, and whether
// this system offers it to us.
type Capability struct {
	Name   string // stable, such as "udp-gso"
	OK     bool
	Detail string // what is in use, or what to do to get it
}

// Capabilities tries out, over loopback, what the sockets of this package can
// do here. It moves a few kilobytes and takes milliseconds. It fails when there
// is no loopback at all.
func Capabilities(ctx context.Context) ([]Capability, error) {
	udp, err := udpCapabilities(ctx)
	if err != nil {
		return nil, fmt.Errorf("udp over loopback: %w", err)
	}
	tcp, err := tcpCapabilities(ctx)
	if err != nil {
		return nil, fmt.Errorf("tcp over loopback: %w", err)
	}
	return append(udp, tcp...), nil
}

func udpCapabilities(ctx context.Context) ([]Capability, error) {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	c, err := ListenPackets(ctx, at, PacketOptions{Stamp: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	const size, datagrams = 64, 256
	if _, err := c.WriteTrain(make([]byte, size*datagrams), size, c.LocalAddrPort()); err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	ms := []Message{{Data: make([]byte, 1<<16)}}
	if _, err := c.ReadBatch(ms); err != nil {
		return nil, err
	}
	technique := c.Technique()
	_, drops := c.Dropped()
	list := []Capability{
		{"udp-technique", technique != "plain", technique},
		{"udp-gso", strings.Contains(technique, "gso"), "trains leave in one call: Linux 4.18"},
		{"udp-gro", Joins(c), "trains come in one call: Linux 5.0"},
		{"udp-own-drops", drops, "drops of our own buffer are told apart from loss: Linux 4.12"},
		{"udp-stamps", !ms[0].At.IsZero(), "arrivals are stamped by the kernel"},
	}
	if b, ok := c.(interface{ receiveBuffer() int }); ok {
		list = append(list, bufferCapability(b.receiveBuffer()))
	}
	return list, nil
}

// bufferCapability judges a receive buffer of n bytes as the kernel counts, which
// is twice what was asked for.
func bufferCapability(n int) Capability {
	c := Capability{"udp-receive-buffer", n >= enoughBuffer, fmt.Sprintf("%d bytes", n)}
	if !c.OK {
		c.Detail += fmt.Sprintf("; a fast stream will overrun it: raise net.core.rmem_max to %d or give CAP_NET_ADMIN", enoughBuffer/2)
	}
	return c
}

func tcpCapabilities(ctx context.Context) ([]Capability, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	b, err := Bulk(c)
	if err != nil {
		c.Close()
		return nil, err
	}
	defer b.Close()
	_, info := b.Info()
	option := func(name string, err error, detail string) Capability {
		if err != nil {
			detail = err.Error()
		}
		return Capability{name, err == nil, detail}
	}
	return []Capability{
		{"tcp-technique", b.Technique() != "plain", b.Technique()},
		{"tcp-info", info, "the kernel tells round-trip time, window, retransmits and what limits: Linux"},
		option("tcp-pacing", b.SetPacingRate(1e9), "the kernel spreads segments: Linux 4.13"),
		option("tcp-notsent-lowat", b.SetNotSentLowat(1<<17), "statuses do not queue behind data: Linux 3.12"),
		option("tcp-user-timeout", b.SetUserTimeout(8*time.Second), "a silent peer is noticed in time: Linux 2.6.37"),
	}, nil
}
