package twamp

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A Pinger sends to a reflector that needs no control connection: STAMP, or
// TWAMP Light if Light is set.
type Pinger struct {
	Addr  string // host, or host and port; the port is 862 if it is missing
	Light bool
	SSID  uint16      // identifies the session, STAMP only; 0 sends none
	Key   auth.Secret // of authenticated STAMP
	// Extensions to ask for, STAMP only.
	Extensions Extensions
	Probe

	Network      string           // "udp", "udp4" or "udp6"; empty means "udp"
	ListenPacket ListenPacketFunc // nil means the system's network
	Log          *slog.Logger     // nil means none
}

// Run measures and puts what it finds into sink. The end of ctx is no error, and
// neither is loss, unless nothing came back at all.
func (g *Pinger) Run(ctx context.Context, sink result.Sink) error {
	protocol := StampProtocol
	if g.Light {
		protocol = LightProtocol
	}
	r := newRun(protocol, sink, g.Every)
	return r.end(ctx, g.measure(ctx, r))
}

func (g *Pinger) measure(ctx context.Context, r *run) error {
	if err := g.Validate(); err != nil {
		return err
	}
	s, err := g.open(ctx)
	if err != nil {
		return err
	}
	defer s.port.close()
	return r.measure(ctx, result.Begin{Target: g.Addr, Peer: s.to, Local: s.port.localAddr(), Size: s.size(), Login: "none"}, s)
}

// open makes the sender, with its socket.
func (g *Pinger) open(ctx context.Context) (*sender, error) {
	to, err := g.resolve(ctx)
	if err != nil {
		return nil, err
	}
	from := g.Source
	if !from.Addr().IsValid() {
		from = netip.AddrPortFrom(netip.IPv4Unspecified(), from.Port())
		if to.Addr().Is6() {
			from = netip.AddrPortFrom(netip.IPv6Unspecified(), from.Port())
		}
	}
	p, err := g.Probe.open(ctx, g.ListenPacket, from)
	if err != nil {
		return nil, err
	}
	s := &sender{probe: g.Probe, port: p, to: to, ssid: g.SSID, layout: wire.Layout{STAMP: !g.Light}, extensions: g.Extensions}
	s.tally.follows = g.Extensions.FollowUp
	if !g.Key.IsZero() {
		s.layout.Keyed = true
		s.sealStamp, s.openStamp = auth.NewStamp(g.Key), auth.NewStamp(g.Key)
	}
	return s, nil
}

// resolve finds the reflector's address.
func (g *Pinger) resolve(ctx context.Context) (netip.AddrPort, error) {
	addr := withPort(g.Addr)
	if at, err := netip.ParseAddrPort(addr); err == nil {
		at = unmap(at)
		if g.Network == "udp4" && !at.Addr().Is4() || g.Network == "udp6" && at.Addr().Is4() {
			return at, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("address %v is not of IPv%s, the version asked for", at.Addr(), g.Network[3:])}
		}
		return at, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("address %q", g.Addr), Err: err}
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return netip.AddrPort{}, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("port %q", port), Err: err}
	}
	family := map[string]string{"udp4": "ip4", "udp6": "ip6"}[g.Network]
	all, err := net.DefaultResolver.LookupNetIP(ctx, cmp.Or(family, "ip"), host)
	if err != nil {
		return netip.AddrPort{}, &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("%s %s", StampProtocol, g.Addr), Err: err}
	}
	return netip.AddrPortFrom(all[0].Unmap(), uint16(n)), nil
}
