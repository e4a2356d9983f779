package rtt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// protocolICMP and protocolICMPv6 are the IANA numbers of the two protocols.
const (
	protocolICMP   = 1
	protocolICMPv6 = 58
)

// An echo sends ICMP echo requests. A reply is known by a random number in it,
// since the system may choose the identifier.
type echo struct {
	conn     *icmp.PacketConn
	to       net.Addr
	request  icmp.Type
	reply    icmp.Type
	protocol int
	id       [8]byte
	seq      uint32
	buf      [1500]byte
}

// newEcho opens a socket for echoes from local to the host at to: an
// unprivileged one, or a raw one where only that is allowed.
func newEcho(local, to netip.Addr) (*echo, error) {
	e := &echo{request: ipv4.ICMPTypeEcho, reply: ipv4.ICMPTypeEchoReply, protocol: protocolICMP}
	networks, source := []string{"udp4", "ip4:icmp"}, "0.0.0.0"
	if to.Is6() {
		e.request, e.reply, e.protocol = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, protocolICMPv6
		networks, source = []string{"udp6", "ip6:ipv6-icmp"}, "::"
	}
	if local.IsValid() {
		source = local.String()
	}
	rand.Read(e.id[:])
	var failures []error
	for _, network := range networks {
		conn, err := icmp.ListenPacket(network, source)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		e.conn = conn
		e.to = &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
		if network[:3] == "udp" {
			e.to = &net.UDPAddr{IP: to.AsSlice(), Zone: to.Zone()}
		}
		return e, nil
	}
	return nil, fmt.Errorf("ICMP echo: %w", errors.Join(failures...))
}

// Method implements prober.
func (e *echo) Method() string { return methodEcho }

// Every implements prober.
func (e *echo) Every() time.Duration { return 50 * time.Millisecond }

// Close implements prober.
func (e *echo) Close() error { return e.conn.Close() }

// Probe implements prober.
func (e *echo) Probe(ctx context.Context) (time.Duration, error) {
	stop := context.AfterFunc(ctx, func() { e.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	e.seq++
	data := binary.BigEndian.AppendUint32(append([]byte(nil), e.id[:]...), e.seq)
	b, err := (&icmp.Message{Type: e.request, Body: &icmp.Echo{Seq: int(e.seq & 0xffff), Data: data}}).Marshal(nil)
	if err != nil {
		return 0, err
	}
	if err := e.conn.SetReadDeadline(time.Now().Add(probeTime)); err != nil {
		return 0, err
	}
	if ctx.Err() != nil { // ended just now: its deadline may have been overwritten
		return 0, context.Cause(ctx)
	}
	sent := time.Now()
	if _, err := e.conn.WriteTo(b, e.to); err != nil {
		return 0, err
	}
	for {
		n, _, err := e.conn.ReadFrom(e.buf[:])
		came := time.Now()
		if err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, err
		}
		if e.answers(e.buf[:n], data) {
			return came.Sub(sent), nil
		}
		if came.Sub(sent) > probeTime { // a flood of other messages must not keep us
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// answers reports whether b is the reply to the request with data.
func (e *echo) answers(b, data []byte) bool {
	m, err := icmp.ParseMessage(e.protocol, b)
	if err != nil || m.Type != e.reply {
		return false
	}
	body, ok := m.Body.(*icmp.Echo)
	return ok && string(body.Data) == string(data)
}
