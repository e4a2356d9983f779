package rperf

import (
	"context"
	"net"
	"net/netip"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A yard is where the parts of a test are made: our network, our ports, and
// the far end's address.
type yard struct {
	net   network
	pools *pools
	peer  netip.Addr // the far end of the control connection, with its zone
	near  netip.Addr // a server's end of it, with its zone; invalid at a client
	// unproven bounds the connections to our ports that have not shown an id, of
	// all streams and tests together.
	unproven *admit.Gate
}

// udpAddress is where a UDP socket is opened. A server's is the address that the
// client has asked: of a host with several it would otherwise send from the one
// that the route prefers, which the client and the NAT before it do not expect.
func (y *yard) udpAddress() netip.Addr {
	if y.near.IsValid() {
		return y.near
	}
	return anyAddress(y.peer)
}

// listening are parts whose streams the far end opens, and the ports it is to
// open them to. On an error nothing stays open.
func (y *yard) listening(ctx context.Context, p *plan, udp, sends bool, streams int) (parts []part, ports []uint16, err error) {
	defer func() {
		if err != nil {
			closeAll(parts)
		}
	}()
	for range streams {
		var one part
		err := y.pools.of(udp, y.peer).open(ctx, func(port uint16) (err error) {
			if udp {
				one, port, err = y.listenUDP(ctx, p, netip.AddrPortFrom(y.udpAddress(), port), sends)
			} else {
				one, port, err = y.listenTCP(ctx, p, netip.AddrPortFrom(anyAddress(y.peer), port), sends)
			}
			if err == nil {
				ports = append(ports, port)
			}
			return err
		})
		if err != nil {
			return parts, nil, err
		}
		parts = append(parts, one)
	}
	return parts, ports, nil
}

func (y *yard) listenTCP(ctx context.Context, p *plan, at netip.AddrPort, sends bool) (part, uint16, error) {
	l, err := y.net.listenTCP(ctx, at)
	if err != nil {
		return nil, 0, err
	}
	link := &called{listener: l, id: p.id, peer: y.peer, data: !sends, yields: p.yields, within: joinTime, unproven: y.unproven}
	port := sock.AddrPort(l.Addr()).Port()
	if sends {
		return &tcpSender{plan: p, link: link}, port, nil
	}
	return &tcpReceiver{plan: p, link: link}, port, nil
}

func (y *yard) listenUDP(ctx context.Context, p *plan, at netip.AddrPort, sends bool) (part, uint16, error) {
	c, err := y.net.listenUDP(ctx, at, p.packetOptions(sends))
	if err != nil {
		return nil, 0, err
	}
	port := c.LocalAddrPort().Port()
	if sends {
		return &udpSender{plan: p, conn: c, learn: true}, port, nil
	}
	return newUDPReceiver(p, c, y.peer), port, nil
}

// calling are parts that open their streams to the far end's ports.
func (y *yard) calling(ctx context.Context, p *plan, udp, sends bool, ports []uint16) ([]part, error) {
	var parts []part
	for _, port := range ports {
		to := netip.AddrPortFrom(y.peer, port)
		if !udp {
			parts = append(parts, y.callTCP(p, to, sends))
			continue
		}
		one, err := y.callUDP(ctx, p, to, sends)
		if err != nil {
			closeAll(parts)
			return nil, err
		}
		parts = append(parts, one)
	}
	return parts, nil
}

func (y *yard) callTCP(p *plan, to netip.AddrPort, sends bool) part {
	link := &caller{within: joinTime, dial: func(ctx context.Context) (net.Conn, error) { return y.net.dialTCP(ctx, to) }}
	if sends {
		return &tcpSender{plan: p, link: link}
	}
	link.tell = p.id[:]
	return &tcpReceiver{plan: p, link: link}
}

func (y *yard) callUDP(ctx context.Context, p *plan, to netip.AddrPort, sends bool) (part, error) {
	c, err := y.net.listenUDP(ctx, netip.AddrPortFrom(y.udpAddress(), 0), p.packetOptions(sends))
	if err != nil {
		return nil, err
	}
	if sends {
		return &udpSender{plan: p, conn: c, to: to}, nil
	}
	r := newUDPReceiver(p, c, y.peer)
	r.hello = to
	return r, nil
}

func closeAll(parts []part) {
	for _, p := range parts {
		p.close()
	}
}

// planOf is what a configuration asks of the end that sends, if sends, or
// receives.
func planOf(c wire.Configuration) *plan {
	p := &plan{id: c.TestID, length: c.Length, streams: max(c.Streams, len(c.StreamPorts)), noDelay: c.NoDelay, sendBuf: c.SendBuffer, recvBuf: c.ReceiveBuffer}
	if c.Reverse {
		p.rate = bitsPerSecond(c.Bandwidth)
		if c.Bandwidth > 0 { // else a stream ends at once, as at a real server
			p.duration = c.Duration.Duration()
		}
	}
	if c.UDP {
		p.length = min(p.length, sock.MaxDatagram)
	}
	return p
}

// fastest is what "no limit" is on the wire, bytes/s: what people write for it.
const fastest = 12_500_000_000

// bytesPerSecond is a rate in bit/s as the wire has it.
func bytesPerSecond(rate uint64) uint64 {
	if rate == 0 {
		return fastest
	}
	return max(1, rate/8)
}

// bitsPerSecond is a rate of the wire in bit/s; what people write for "no
// limit" is none.
func bitsPerSecond(bytes uint64) uint64 {
	if bytes >= fastest {
		return 0
	}
	return 8 * bytes
}
