package cli

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/result"
)

// A listenFlag is where a server listens: on every address of both families
// unless told otherwise.
type listenFlag struct {
	port port
	at   []string
}

func (f *listenFlag) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.at, "listen", nil, "`ADDR`, ADDR:PORT or :PORT to listen on; may be given again (default every address)")
	fs.VarP(&f.port, "port", "P", "TCP port to listen on, where --listen gives none")
}

// addresses are what to listen on, as open takes them. Everything is on host
// where --listen names none.
func (f *listenFlag) addresses(host string) ([]string, error) {
	if len(f.at) == 0 {
		return []string{joinPort(host, f.port)}, nil
	}
	var all []string
	for _, text := range f.at {
		at, err := listenAddress(text, f.port)
		if err != nil {
			return nil, err
		}
		if number, ok := strings.CutPrefix(at, ":"); ok {
			at = net.JoinHostPort(host, number)
		}
		all = append(all, at)
	}
	return all, nil
}

// listenAddress reads ADDR, ADDR:PORT or :PORT. Names are not looked up.
func listenAddress(text string, otherwise port) (string, error) {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return joinPort(a.String(), otherwise), nil
	}
	host, number, err := net.SplitHostPort(text)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil { // 0 is any free port
		_, err = strconv.ParseUint(number, 10, 16)
	}
	if err != nil {
		return "", misuse("", "%s: not an address to listen on; give ADDR, ADDR:PORT or :PORT, such as 127.0.0.1:2000 or [::1]:2000", flagValue("listen", text))
	}
	return text, nil
}

// joinPort adds a port to an address, with or without brackets.
func joinPort(host string, p port) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(p)))
}

// withPort is the target with the port of --port. Without that the target stays
// as it is; with a port of its own it takes no other.
func withPort(target string, p port, given bool) (string, error) {
	if !given {
		return target, nil
	}
	if _, err := netip.ParseAddr(strings.Trim(target, "[]")); err != nil {
		if _, own, err := net.SplitHostPort(target); err == nil {
			return "", misuse("", "--port %d: %s has port %s already; give one of them", p, target, own)
		}
	}
	return joinPort(target, p), nil
}

// checkHost refuses what can be neither a name nor an address before anybody is
// asked to look it up. The flag is empty for an argument.
func checkHost(flag, target string) error {
	host := strings.Trim(target, "[]")
	if h, _, err := net.SplitHostPort(target); err == nil {
		host = h
	}
	shown := strconv.Quote(target)
	if flag != "" {
		shown = flagValue(flag, target)
	}
	_, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return nil
	case host == "" || strings.Trim(host, "0123456789.") == "":
		return misuse("", "%s: not an address; give a name, or an address such as 192.0.2.1 or 2001:db8::1", shown)
	case strings.ContainsFunc(host, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }):
		return misuse("", "%s: not a name; give a name, or an address such as 192.0.2.1 or 2001:db8::1", shown)
	}
	return nil
}

// open listens on all addresses, or none. An address without host is for both
// families, one of IPv6 for that family only, :: too.
func open(ctx context.Context, config net.ListenConfig, addresses []string) ([]net.Listener, error) {
	var all []net.Listener
	for _, a := range addresses {
		l, err := config.Listen(ctx, network(a), a)
		if err != nil {
			closeAll(all)
			return nil, cannotListen(a, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// network is the family of a listening address, as package net names it.
func network(address string) string {
	at, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return "tcp"
	case at.Addr().Is4():
		return "tcp4"
	}
	return "tcp6"
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
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
	return &result.Error{Word: result.CodeLocal, Text: "listen on " + address, Hint: hint, Err: cause(err)}
}
