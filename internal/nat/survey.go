package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// A Survey finds out all that this package can of how a host is seen from
// outside, and leaves nothing behind at the router. The zero Survey does without
// a server, and so without most of it.
type Survey struct {
	Servers   []netip.AddrPort // whom to ask, at most one of each family
	Source    netip.Addr       // to send from; zero leaves it to the system
	Router    netip.Addr       // asked for port mappings; zero means Gateway
	NoMapping bool             // ask for no port mapping

	// ListenPacket opens UDP sockets, and Dial TCP connections; nil means those of
	// package net. ListenWhole opens sockets that send no fragments.
	ListenPacket, ListenWhole func(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial                      func(ctx context.Context, network, address string) (net.Conn, error)
}

// Findings are what a Survey found. Figures that could not be found are nil, and
// Unknown of their group says why, by the name of the figure.
type Findings struct {
	Addresses     []netip.Addr      `json:"addresses"` // of this host, without loopback and link-local ones
	Gateway       *netip.Addr       `json:"gateway"`
	UDPBlocked    *bool             `json:"udp_blocked"`
	DoubleNAT     *bool             `json:"double_nat"`
	IPv4          *View             `json:"ipv4"`
	IPv6          *View             `json:"ipv6"`
	PortMappings  []PortFinding     `json:"port_mappings"`
	MappedPortsOK *bool             `json:"port_mapping_works"` // some mapping was proven from outside
	Unknown       map[string]string `json:"unknown"`
}

// A View is how a server sees us over one family.
type View struct {
	Server    netip.AddrPort    `json:"server"`
	Local     netip.AddrPort    `json:"local"`
	Reflexive *netip.AddrPort   `json:"reflexive"` // we, from outside
	Mapping   *string           `json:"mapping"`   // RFC 4787, 4.1
	Filtering *string           `json:"filtering"` // RFC 4787, 5
	Old       *string           `json:"rfc3489"`   // the name of RFC 3489 for both together
	PortKept  *bool             `json:"port_kept"`
	Step      *int              `json:"port_step"`
	Hairpin   *bool             `json:"hairpin"`
	RTT       *time.Duration    `json:"rtt_ns"`
	MTU       *int              `json:"mtu_bytes"` // of the path to the server: the largest IP packet
	Remarks   []string          `json:"remarks"`
	Unknown   map[string]string `json:"unknown"`

	Report Report `json:"-"`
}

// A PortFinding is what became of asking the router in one protocol.
type PortFinding struct {
	Protocol  string            `json:"protocol"`
	Answers   *bool             `json:"answers"` // the router speaks it
	Granted   *bool             `json:"granted"`
	External  *netip.AddrPort   `json:"external"`
	Lifetime  *float64          `json:"lifetime_seconds"` // 0: until it is removed
	Took      *time.Duration    `json:"took_ns"`          // until it was granted
	Reachable *bool             `json:"reachable"`        // from outside
	Removed   *bool             `json:"removed"`
	Doubt     string            `json:"doubt"` // why it may lead nowhere; may be empty
	Fault     string            `json:"error"` // may be empty
	Dialogue  []Exchanged       `json:"dialogue"`
	Unknown   map[string]string `json:"unknown"`
}

// An Exchanged is a Step in JSON.
type Exchanged struct {
	Asked  string        `json:"asked"`
	Answer string        `json:"answer"`
	Took   time.Duration `json:"took_ns"`
}

// Run finds out. It takes 20 s at most. That something could not be found is no
// error.
func (s *Survey) Run(ctx context.Context) (*Findings, error) {
	f := &Findings{Addresses: ownAddresses(), PortMappings: []PortFinding{}, Unknown: map[string]string{}}
	t := &surveyor{Survey: *s, findings: f}
	t.defaults()
	views, faults := make([]*View, len(s.Servers)), make([]error, len(s.Servers))
	var wg sync.WaitGroup
	for i, server := range s.Servers {
		wg.Go(func() { views[i], faults[i] = t.view(ctx, server) })
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, v := range views {
		if v.Server.Addr().Is4() {
			f.IPv4 = v
		} else {
			f.IPv6 = v
		}
	}
	t.families()
	t.blocked(ctx)
	if err := t.ports(ctx); err != nil {
		return nil, err
	}
	return f, context.Cause(ctx)
}

// A surveyor is a Survey at work.
type surveyor struct {
	Survey
	findings *Findings
}

func (t *surveyor) defaults() {
	if t.ListenPacket == nil {
		t.ListenPacket = new(net.ListenConfig).ListenPacket
	}
	if t.ListenWhole == nil {
		t.ListenWhole = (&net.ListenConfig{Control: sock.ForbidFragments}).ListenPacket
	}
	if t.Dial == nil {
		t.Dial = new(net.Dialer).DialContext
	}
	if t.Source.IsValid() {
		t.findings.Addresses = []netip.Addr{t.Source.WithZone("")}
	}
}

// ownAddresses are those of this host that others could know it by.
func ownAddresses() []netip.Addr {
	all := []netip.Addr{}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return all // then there is none to compare with
	}
	for _, o := range own {
		p, ok := o.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(p.IP); ok && a.Unmap().IsGlobalUnicast() {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// open makes an Exchange on a socket of the family and the source.
func (t *surveyor) open(ctx context.Context, at netip.Addr, whole bool) (*Exchange, func(), error) {
	network, listen := "udp4", t.ListenPacket
	if at.Is6() {
		network = "udp6"
	}
	if whole {
		listen = t.ListenWhole
	}
	c, err := listen(ctx, network, netip.AddrPortFrom(at, 0).String())
	if err != nil {
		return nil, nil, fmt.Errorf("nat: open a UDP socket at %v: %w", at, err)
	}
	e, over := Listen(c)
	return e, func() { c.Close(); <-over }, nil
}

// source is the address from which the system sends to a server, and no socket
// to it has been open before: false if there is no way to it.
func (t *surveyor) source(ctx context.Context, to netip.AddrPort) (netip.Addr, error) {
	if t.Source.IsValid() {
		return t.Source, nil
	}
	c, err := t.Dial(ctx, "udp", to.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("nat: %v is no UDP address", c.LocalAddr())
	}
	return at.AddrPort().Addr().Unmap(), nil
}

var viewFigures = []string{"reflexive", "mapping", "filtering", "rfc3489", "port_kept", "port_step", "hairpin", "rtt_ns", "mtu_bytes"}

// view asks one server.
func (t *surveyor) view(ctx context.Context, server netip.AddrPort) (*View, error) {
	v := &View{Server: server, Remarks: []string{}, Unknown: map[string]string{}}
	own, err := t.source(ctx, server)
	if err != nil {
		for _, figure := range viewFigures {
			v.Unknown[figure] = fmt.Sprintf("no way to %v: %v", server.Addr(), err)
		}
		return v, nil
	}
	socket, closeSocket, err := t.open(ctx, own, false)
	if err != nil {
		return nil, err
	}
	defer closeSocket()
	fresh, closeFresh, err := t.open(ctx, own, false)
	if err != nil {
		return nil, err
	}
	defer closeFresh()
	r, err := Discover(ctx, socket, fresh, append([]netip.Addr{own}, t.findings.Addresses...), Server{At: server, TryNext: true}, nil)
	if err != nil {
		return nil, err
	}
	v.take(r)
	if r.Mapping == Blocked {
		v.Unknown["mtu_bytes"] = "the server does not answer"
		return v, nil
	}
	whole, closeWhole, err := t.open(ctx, own, true)
	if err != nil {
		return nil, err
	}
	defer closeWhole()
	mtu, err := MTU(ctx, whole, server, func() (int, bool) { return t.knownMTU(ctx, server) })
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		v.Unknown["mtu_bytes"] = err.Error()
	default:
		v.MTU = &mtu
	}
	return v, nil
}

// knownMTU is what the system believes the path to a server carries.
func (t *surveyor) knownMTU(ctx context.Context, server netip.AddrPort) (int, bool) {
	c, err := t.Dial(ctx, "udp", server.String())
	if err != nil {
		return 0, false
	}
	defer c.Close()
	return sock.ConnMTU(c)
}

// take takes what Discover found into a View.
func (v *View) take(r Report) {
	v.Report, v.Local = r, r.Local
	v.PortKept, v.Step, v.Hairpin, v.RTT = r.PortKept, r.Step, r.Hairpin, r.RTT
	v.Remarks = append(v.Remarks, r.Remarks...)
	for figure, why := range r.Unknown {
		v.Unknown[figure] = why
	}
	if r.Reflexive.IsValid() {
		v.Reflexive = &r.Reflexive
	}
	for _, b := range []struct {
		figure string
		is     Behaviour
		to     **string
	}{{"mapping", r.Mapping, &v.Mapping}, {"filtering", r.Filtering, &v.Filtering}} {
		switch {
		case b.is == Blocked:
			v.Unknown[b.figure] = "the server does not answer"
		case b.is != Unknown:
			word := b.is.String()
			*b.to = &word
		}
	}
	if old := r.Old(); old != "" && r.Mapping != Blocked {
		v.Old = &old
	} else {
		v.Unknown["rfc3489"] = "mapping and filtering have no name together, or are not both known"
	}
}

// families says why a family has not been looked at.
func (t *surveyor) families() {
	f := t.findings
	has := func(is func(netip.Addr) bool) bool { return slices.ContainsFunc(f.Addresses, is) }
	for _, family := range []struct {
		name string
		view *View
		has  bool
	}{{"ipv4", f.IPv4, has(netip.Addr.Is4)}, {"ipv6", f.IPv6, has(netip.Addr.Is6)}} {
		switch {
		case family.view != nil:
		case len(t.Servers) == 0:
			f.Unknown[family.name] = "no server was named that could tell how we are seen"
		case !family.has:
			f.Unknown[family.name] = "this host has no public address of the family"
		default:
			f.Unknown[family.name] = "the server has no address of the family"
		}
	}
}

// blocked judges whether UDP passes. Silence alone does not tell: a host that
// answers over TCP, but not over UDP, is there.
func (t *surveyor) blocked(ctx context.Context) {
	f := t.findings
	yes, no := true, false
	if len(t.Servers) == 0 {
		f.Unknown["udp_blocked"] = "no server was named that could answer"
		return
	}
	for _, v := range []*View{f.IPv4, f.IPv6} {
		if v != nil && v.Reflexive != nil {
			f.UDPBlocked = &no
			return
		}
	}
	for _, server := range t.Servers {
		if t.refuses(ctx, server) {
			f.UDPBlocked = &no
			for _, v := range []*View{f.IPv4, f.IPv6} {
				v.refused()
			}
			return
		}
	}
	for _, server := range t.Servers {
		ctx, stop := context.WithTimeout(ctx, time.Second)
		c, err := t.Dial(ctx, "tcp", server.String())
		stop()
		if err == nil {
			c.Close()
		}
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			f.UDPBlocked = &yes
			return
		}
	}
	f.Unknown["udp_blocked"] = "nothing comes back: UDP is blocked on the way, or the server is down"
}

// refused makes it the reason for all that is not known that nobody listens.
func (v *View) refused() {
	if v == nil {
		return
	}
	for figure := range v.Unknown {
		v.Unknown[figure] = fmt.Sprintf("%v says that nobody listens there: the server is down, or the port is wrong", v.Server)
	}
	v.Remarks = []string{}
}

// refuses reports whether a host says that nobody listens at its port.
func (t *surveyor) refuses(ctx context.Context, server netip.AddrPort) bool {
	c, err := t.Dial(ctx, "udp", server.String())
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	b := make([]byte, 1500)
	for range 2 {
		if _, err = c.Write([]byte{0}); err == nil {
			_, err = c.Read(b)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
	}
	return false
}
