package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// listener is net.Listener, so that command files need not know package net.
type listener = net.Listener

// A listenFlag is where a server listens: on every address of both families
// unless told otherwise.
type listenFlag struct {
	port uint16
	at   []string
}

func (f *listenFlag) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.at, "listen", nil, "address to listen on, ADDR, ADDR:PORT or :PORT; may be given again (default every address)")
	fs.Uint16VarP(&f.port, "port", "P", f.port, "TCP port to listen on, where --listen gives none")
}

// addresses are what to listen on, as net.Listen takes them.
func (f *listenFlag) addresses() []string {
	if len(f.at) == 0 {
		return []string{net.JoinHostPort("", strconv.Itoa(int(f.port)))}
	}
	var all []string
	for _, a := range f.at {
		if _, _, err := net.SplitHostPort(a); err == nil {
			all = append(all, a)
		} else {
			all = append(all, joinPort(a, f.port))
		}
	}
	return all
}

// joinPort adds a port to an address, with or without brackets.
func joinPort(host string, port uint16) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(port)))
}

// open listens on all addresses, or none.
func open(ctx context.Context, addresses []string) ([]net.Listener, error) {
	var all []net.Listener
	for _, a := range addresses {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, cannotListen(a, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func cannotListen(address string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another program listens there: stop it, or choose a port with --port"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need a privilege: choose a higher one, or allow it with CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine has no such address"
	}
	var at *net.AddrError
	var name *net.DNSError
	if errors.As(err, &at) || errors.As(err, &name) {
		return misuse("give ADDR, ADDR:PORT or :PORT, with an IPv6 address in brackets", "--listen %s: %w", address, err)
	}
	return &result.Error{Word: result.CodeLocal, Text: "listen on " + address, Hint: hint, Err: err}
}

// A bindFlag is the source of everything sent.
type bindFlag struct{ at string }

func (f *bindFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.at, "bind", "", "source of everything sent: ADDR, ADDR%IFACE or %IFACE")
}

// dialer is how to connect from the given source; nil where there is none.
func (f *bindFlag) dialer() (btest.DialFunc, btest.ListenPacketFunc, error) {
	if f.at == "" {
		return nil, nil, nil
	}
	host, iface, _ := strings.Cut(f.at, "%")
	d := &net.Dialer{}
	if host != "" {
		addr, err := netip.ParseAddr(f.at)
		if err == nil && addr.Is6() && addr.IsLinkLocalUnicast() {
			iface = "" // the zone belongs to the address
		} else if addr, err = netip.ParseAddr(host); err != nil {
			return nil, nil, misuse("give an address of this machine, such as 192.0.2.1, or %eth0", "--bind %s: not an address", f.at)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	}
	if iface == "" {
		return d.DialContext, nil, nil
	}
	if _, err := net.InterfaceByName(iface); err != nil {
		return nil, nil, misuse("see the names with: ip link", "--bind %s: no network interface %q", f.at, iface)
	}
	control, err := bindTo(iface)
	if err != nil {
		return nil, nil, err
	}
	d.Control = control
	return d.DialContext, (&net.ListenConfig{Control: control}).ListenPacket, nil
}

// familyFlags choose the family of addresses.
type familyFlags struct{ four, six bool }

func (f *familyFlags) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.four, "ipv4", "4", false, "IPv4 only")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "IPv6 only")
}

func (f *familyFlags) network() string {
	switch {
	case f.four && !f.six:
		return "tcp4"
	case f.six && !f.four:
		return "tcp6"
	}
	return "tcp"
}

// A portRangeFlag is FIRST-LAST, or one port.
type portRangeFlag btest.PortRange

// String is the range as Set takes it.
func (p *portRangeFlag) String() string {
	if *p == (portRangeFlag{}) {
		return "2001-2100"
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// Type names the kind of value in help texts.
func (p *portRangeFlag) Type() string { return "ports" }

// Set parses text.
func (p *portRangeFlag) Set(text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%q is no range of ports: give FIRST-LAST, such as 2001-2100", text)
	}
	*p = portRangeFlag{uint16(a), uint16(b)}
	return btest.PortRange(*p).Validate()
}
