package twamp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// request answers a Request-TW-Session. A refusal does not end the connection:
// the client may ask for something else.
func (c *serverConn) request(ctx context.Context, m []byte) error {
	return c.send(c.grant(ctx, m))
}

// mostRefusalsLogged bounds what a client can have us write: of each connection
// only so many refused sessions are told.
const mostRefusalsLogged = 10

// grant makes the session that is asked for, or says why not.
func (c *serverConn) grant(ctx context.Context, m []byte) wire.AcceptSession {
	refuse := func(a wire.Accept, why error) wire.AcceptSession {
		if c.refusals++; c.refusals <= mostRefusalsLogged {
			c.log.Info("session refused", "accept", a, "err", why, "last_logged", c.refusals == mostRefusalsLogged)
		}
		return wire.AcceptSession{Accept: a}
	}
	r, err := wire.ParseRequestSession(m)
	if err != nil {
		return refuse(wire.Unsupported, err)
	}
	s, err := c.describe(r)
	if err != nil {
		return refuse(wire.Unsupported, err)
	}
	if most := admit.Limit(c.server.SessionsPerConnection, 256); most > 0 && len(c.sessions) >= most {
		return refuse(wire.TemporaryResource, fmt.Errorf("%d sessions on this connection, the limit", len(c.sessions)))
	}
	if err := c.admit(ctx, s); err != nil {
		return refuse(wire.TemporaryResource, err)
	}
	port, err := c.server.ports.place(ctx, c.wg, s, c.local.Addr(), r.ReceiverPort)
	if err != nil {
		if s.settle != nil {
			s.settle(0, 0)
		}
		return refuse(wire.TemporaryResource, err)
	}
	c.sessions = append(c.sessions, s)
	c.log.Info("session accepted", "sid", s.sid, "sender", s.sender, "port", port, "mode", c.mode, "account", c.account)
	a := wire.AcceptSession{Port: port, SID: s.sid}
	if c.mode.Has(wire.ReflectOctets) {
		a.ReflectedOctets = r.OctetsToReflect
	}
	return a
}

// describe makes the session of a request, not yet placed. The error says which
// aspect of the request is not supported.
func (c *serverConn) describe(r wire.RequestSession) (*session, error) {
	dscp, ok := r.TypeP.DSCP()
	if !ok {
		return nil, fmt.Errorf("type-p %#x is no DSCP", uint32(r.TypeP))
	}
	sender := c.peer.Addr()
	if r.SenderAddr.IsValid() && r.SenderAddr.Unmap() != sender.WithZone("") {
		return nil, fmt.Errorf("sender %v is not the client", r.SenderAddr)
	}
	if sender.Is6() != r.IPv6 {
		return nil, fmt.Errorf("session over the other IP version than the connection from %v", sender)
	}
	if r.SenderPort == 0 {
		return nil, fmt.Errorf("sender port 0")
	}
	l := c.mode.Layout()
	if err := checkPadding(r, l); err != nil {
		return nil, err
	}
	s := &session{
		sid:    newSID(c.local.Addr(), c.server.random),
		sender: netip.AddrPortFrom(sender, r.SenderPort),
		mark:   dscp << 2,
		grace:  min(r.Timeout.Duration(), or(c.server.MaxGrace, time.Minute)),
		pps:    admit.Limit(c.server.PacketsPerSecond, 0),
	}
	s.local, s.size = c.local, l.RequestLen()+int(r.Padding)
	s.layout, s.grows, s.ptp = l, true, c.mode.Has(wire.PTP)
	if c.mode.TestKeyed() {
		s.keys = auth.NewPackets(c.keys.TestKeys(s.sid), c.mode.Has(wire.Encrypted))
		if !c.server.Duplicates {
			s.replays = new(replays)
		}
	}
	return s, nil
}

// checkPadding holds that the packets fit a datagram and what is to be reflected
// fits the padding: RFC 6038, section 4.
func checkPadding(r wire.RequestSession, l wire.Layout) error {
	if size := uint64(l.RequestLen()) + uint64(r.Padding); size > wire.MaxPacketLen {
		return fmt.Errorf("packets of %d octets, at most %d fit a datagram", size, wire.MaxPacketLen)
	}
	if r.ReflectLen == 0 {
		return nil
	}
	if need := int64(r.ReflectLen) + int64(l.SymmetricPadding()); int64(r.Padding) < need {
		return fmt.Errorf("padding of %d octets, %d are needed to reflect %d", r.Padding, need, r.ReflectLen)
	}
	return nil
}

// admit asks the policy.
func (c *serverConn) admit(ctx context.Context, s *session) error {
	s.id = result.NewID()
	if c.server.Policy == nil {
		return nil
	}
	g, err := c.server.Policy.Admit(ctx, admit.Request{
		Protocol: Protocol, Run: string(s.id), Account: c.account, Peer: c.peer.Addr(), Transmit: true, Receive: true, Streams: 1,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", result.CodeOf(err), err)
	}
	s.budget, s.settle, s.revoked = g.Budget, g.Settle, g.Ended
	if g.Time > 0 {
		s.expires = time.Now().Add(g.Time)
	}
	return nil
}

// newSID makes a session identifier: RFC 4656, section 3.5 asks for an address
// of the server, the time and a random number. In the modes with keys the packets' keys
// hang on it, so all but the address is random here.
func newSID(local netip.Addr, random func([]byte)) wire.SID {
	var s wire.SID
	random(s[4:])
	a := local.Unmap().AsSlice()
	if len(a) >= 4 {
		copy(s[:4], a[len(a)-4:])
	}
	return s
}
