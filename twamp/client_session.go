package twamp

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// request opens a UDP socket and asks for a session that sends from it.
func (x *exchange) request(ctx context.Context) error {
	p, err := x.client.open(ctx, x.client.ListenPacket, x.source())
	if err != nil {
		return err
	}
	s := &sender{probe: x.client.Probe, port: p, layout: x.mode.Layout()}
	s.probe.PTP = s.probe.PTP || x.mode.Has(wire.PTP)
	s.tally.number = len(x.senders)
	x.senders = append(x.senders, s) // it is closed from here on
	r := x.describe(s)
	if err := x.send(r); err != nil {
		return x.lost("request", err)
	}
	if err := x.expect(ctx); err != nil {
		return err
	}
	b, err := x.message(wire.AcceptSessionLen)
	if err != nil {
		return x.lost("accept-session", err)
	}
	a, err := wire.ParseAcceptSession(b)
	if err != nil {
		return err
	}
	if a.Accept != wire.OK {
		return x.refused(a.Accept, r)
	}
	if a.Port == 0 {
		return x.fail(result.CodeProtocol, "the server accepted a session on port 0", "", nil)
	}
	// The port is the server's to choose, whatever was proposed.
	s.to, s.sid = netip.AddrPortFrom(x.peer.Addr(), a.Port), a.SID
	s.tally.counts = true
	if x.mode.TestKeyed() {
		k := x.keys.TestKeys(a.SID)
		s.sealKeys = auth.NewPackets(k, x.mode.Has(wire.Encrypted))
		s.openKeys = auth.NewPackets(k, x.mode.Has(wire.Encrypted))
	}
	if x.mode.Has(wire.ReflectOctets) && a.ServerOctets != 0 {
		s.start = []byte{byte(a.ServerOctets >> 8), byte(a.ServerOctets)}
	}
	return nil
}

// source is where the next session sends from: each has a port of its own.
func (x *exchange) source() netip.AddrPort {
	at := x.client.Source
	addr := at.Addr()
	if !addr.IsValid() {
		addr = x.local.Addr()
	}
	port := at.Port()
	if port != 0 {
		port += uint16(len(x.senders))
	}
	return netip.AddrPortFrom(addr, port)
}

// describe is the request for a session.
func (x *exchange) describe(s *sender) wire.RequestSession {
	c := x.client
	from := s.port.localAddr()
	r := wire.RequestSession{
		IPv6: x.peer.Addr().Is6(), SenderPort: from.Port(), ReceiverPort: from.Port(),
		Padding: uint32(s.probe.padding(s.layout)), TypeP: wire.TypePOf(c.DSCP),
		Timeout: wire.IntervalOf(cmp.Or(c.Grace, c.wait())),
	}
	if c.ReceiverPort != 0 {
		r.ReceiverPort = c.ReceiverPort + uint16(len(x.senders)-1)
	}
	if c.Explicit {
		r.SenderAddr, r.ReceiverAddr = from.Addr().WithZone(""), x.peer.Addr().WithZone("")
	}
	if !c.StartTime.IsZero() {
		r.StartTime = wire.NTP(c.StartTime)
	}
	if x.mode.Has(wire.ReflectOctets) {
		r.OctetsToReflect = uint16(len(x.senders))
		r.ReflectLen = uint16(min(0xffff, max(0, int(r.Padding)-s.layout.SymmetricPadding())))
	}
	return r
}

// refused says why there is no session.
func (x *exchange) refused(a wire.Accept, r wire.RequestSession) error {
	text := fmt.Sprintf("the server refused the session: %v", a)
	switch a {
	case wire.Unsupported:
		return x.fail(result.CodeUnsupported, text,
			fmt.Sprintf("asked for: padding %d, DSCP %d, sender port %d; some servers want at least 27 octets of padding", r.Padding, x.client.DSCP, r.SenderPort), nil)
	case wire.TemporaryResource, wire.PermanentResource:
		return x.fail(result.CodeLimit, text, "the server has no room for it", nil)
	}
	return x.fail(result.CodeRefused, text, "", nil)
}

// start lets the server reflect.
func (x *exchange) start(ctx context.Context) error {
	if err := x.expect(ctx); err != nil {
		return err
	}
	if x.mode.Has(wire.Individual) {
		return x.startN()
	}
	if err := x.send(wire.StartSessions{}); err != nil {
		return x.lost("start", err)
	}
	b, err := x.message(wire.StartAckLen)
	if err != nil {
		return x.lost("start-ack", err)
	}
	a, err := wire.ParseStartAck(b)
	if err != nil {
		return err
	}
	if a.Accept != wire.OK {
		return x.fail(result.CodeRefused, fmt.Sprintf("the server did not start the sessions: %v", a.Accept), "", nil)
	}
	return nil
}

// startN starts the sessions one by one: RFC 5938, section 3.2.
func (x *exchange) startN() error {
	if err := x.send(x.list(wire.CommandStartN)); err != nil {
		return x.lost("start-n", err)
	}
	return x.acknowledged(wire.CommandStartNAck)
}

func (x *exchange) list(c wire.Command) wire.SessionList {
	l := wire.SessionList{Command: c}
	for _, s := range x.senders {
		l.SIDs = append(l.SIDs, s.sid)
	}
	return l
}

// acknowledged reads acknowledgements until each session has one.
func (x *exchange) acknowledged(c wire.Command) error {
	for left := len(x.senders); left > 0; {
		b, err := x.next()
		if err != nil {
			return x.lost("acknowledgement", err)
		}
		l, err := wire.ParseSessionList(b)
		if err != nil {
			return x.lost("acknowledgement", err)
		}
		if l.Command != c {
			return x.fail(result.CodeProtocol, fmt.Sprintf("command %d instead of %d", l.Command, c), "", nil)
		}
		if l.Accept != wire.OK {
			return x.fail(result.CodeRefused, fmt.Sprintf("the server did not start or stop %d sessions: %v", len(l.SIDs), l.Accept), "", nil)
		}
		left -= len(l.SIDs)
	}
	return nil
}

// stop ends the sessions at the server. The results are valid if ok.
func (x *exchange) stop(ctx context.Context, ok bool) error {
	if err := x.expect(ctx); err != nil {
		return err
	}
	if x.mode.Has(wire.Individual) {
		if err := x.send(x.list(wire.CommandStopN)); err != nil {
			return err
		}
		return x.acknowledged(wire.CommandStopNAck)
	}
	a := wire.OK
	if !ok {
		a = wire.Failure
	}
	return x.send(wire.StopSessions{Accept: a, Sessions: uint32(len(x.senders))})
}
