package cli

import (
	"net"
	"net/netip"
	"strings"

	"github.com/sonde-net/sonde/app/unit"
)

// checkTarget refuses a HOST or HOST:PORT that cannot be one, before anything is
// looked up. Names of ports stand for none here.
func checkTarget(target string) error {
	none := misuse("", "%q: not a host; give HOST, HOST:PORT or [ADDR]:PORT", target)
	host, bracketed := strings.CutPrefix(target, "[")
	if bracketed {
		host, bracketed = strings.CutSuffix(host, "]")
	}
	if _, err := netip.ParseAddr(host); err == nil && bracketed == strings.HasPrefix(target, "[") {
		return nil
	}
	if !strings.Contains(target, ":") {
		host = target
	} else if h, number, err := net.SplitHostPort(target); err != nil {
		return none
	} else if _, err := unit.ParsePort(number); err != nil {
		return misuse("", "%q: not a host and a port; give HOST:PORT with a port from 1 to 65535", target)
	} else {
		host = h
	}
	if host == "" || strings.ContainsAny(host, " \t/[]") {
		return none
	}
	return nil
}
