package cli

import (
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// A bindFlag is the source of everything sent.
type bindFlag struct{ at string }

func (f *bindFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.at, "bind", "", "source of everything sent: `ADDR`, ADDR%IFACE or %IFACE")
}

// A source is what a bindFlag means. The zero source leaves it to the system.
type source struct {
	addr    netip.Addr // the zero Addr is any
	control func(network, address string, c syscall.RawConn) error
}

// source reads the flag.
func (f *bindFlag) source() (source, error) {
	if f.at == "" {
		return source{}, nil
	}
	var s source
	host, iface, _ := strings.Cut(f.at, "%")
	if host != "" {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return source{}, misuse("", "%s: not an address; give one of this machine, such as 192.0.2.1, or %%eth0", flagValue("bind", f.at))
		}
		s.addr = addr
		if addr.Is6() && addr.IsLinkLocalUnicast() { // the zone belongs to the address
			s.addr = addr.WithZone(iface)
		}
	}
	if iface == "" {
		if strings.Contains(f.at, "%") {
			return source{}, misuse("", "%s: the interface is missing behind %%; give its name, such as %%eth0", flagValue("bind", f.at))
		}
		return s, nil
	}
	if _, err := net.InterfaceByName(iface); err != nil {
		return source{}, misuse("", "%s: no network interface %q; give one of %s", flagValue("bind", f.at), iface, interfaces())
	}
	control, err := bindTo(iface)
	if err != nil {
		return source{}, err
	}
	s.control = control
	return s, nil
}

// interfaces are the names that --bind takes.
func interfaces() string {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		return "those of this machine"
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, ", ")
}

// check finds out whether the system lets us use the address, which sends
// nothing.
func (s source) check() error {
	if !s.addr.IsValid() {
		return nil
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.addr, 0)))
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "--bind " + s.addr.String(), Err: cause(err), Hint: "choose an address of this machine"}
	}
	return l.Close()
}

// dialer is how to connect from the source; nil where there is none.
func (s source) dialer() (btest.DialFunc, btest.ListenPacketFunc) {
	if !s.addr.IsValid() && s.control == nil {
		return nil, nil
	}
	d := &net.Dialer{Control: s.control}
	if s.addr.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.addr, 0))
	}
	if s.control == nil {
		return d.DialContext, nil // the datagrams take the address of the connection
	}
	return d.DialContext, (&net.ListenConfig{Control: s.control}).ListenPacket
}

// host is where to listen on the source: every address if it has none.
func (s source) host() string {
	if s.addr.IsValid() {
		return s.addr.String()
	}
	return ""
}

// familyFlags choose the family of addresses.
type familyFlags struct{ four, six bool }

func (f *familyFlags) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.four, "ipv4", "4", false, "IPv4 only")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "IPv6 only")
}

// network is the family as package net names it, which has to be that of the
// source.
func (f *familyFlags) network(from source) (string, error) {
	switch {
	case f.four && f.six:
		return "", misuse("", "-4 and -6 exclude each other; choose one, or leave both out")
	case f.four && from.addr.Is6(), f.six && from.addr.Is4():
		return "", misuse("", "--bind %v: not an address of the family that -4 or -6 chooses; leave one of them out", from.addr)
	case f.four:
		return "tcp4", nil
	case f.six:
		return "tcp6", nil
	}
	return "tcp", nil
}
