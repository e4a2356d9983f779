package sock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// SplitTarget splits what a user names as the far end, HOST or HOST:PORT, with
// an IPv6 address in brackets before a port. Without one it is usual.
func SplitTarget(target string, usual int) (host, port string, err error) {
	if a, err := netip.ParseAddr(target); err == nil { // an IPv6 address without brackets
		return a.String(), strconv.Itoa(usual), nil
	}
	host, port, err = net.SplitHostPort(target)
	if e, ok := errors.AsType[*net.AddrError](err); ok && e.Err == "missing port in address" {
		host, port, err = net.SplitHostPort(net.JoinHostPort(trimBrackets(target), strconv.Itoa(usual)))
	}
	if err != nil || host == "" {
		return "", "", fmt.Errorf("target %q: want HOST or HOST:PORT, with an IPv6 address in brackets before a port", target)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", fmt.Errorf("target %q: port %q is not a number from 1 to 65535", target, port)
	}
	return host, port, nil
}

func trimBrackets(s string) string {
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1]
	}
	return s
}
