package testnet

import (
	"net"
	"net/netip"
	"strconv"
)

// A family is the address family that a network's name asks for.
type family byte

const (
	dual  family = 0
	only4 family = '4'
	only6 family = '6'
)

func isUDP(network string) bool { return network == "udp" || network == "udp4" || network == "udp6" }

func familyOf(network string) (family, error) {
	switch network {
	case "tcp", "udp":
		return dual, nil
	case "tcp4", "udp4":
		return only4, nil
	case "tcp6", "udp6":
		return only6, nil
	}
	return dual, net.UnknownNetworkError(network)
}

// resolve reads address, such as "192.0.2.1:2000" or ":0". No host, or for
// "tcp" and "udp" any unspecified one, means all addresses of the family, as in
// package net.
func resolve(network, address string) (binding, error) {
	f, err := familyOf(network)
	if err != nil {
		return binding{}, err
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return binding{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return binding{}, &net.AddrError{Err: "the port is not a number of 0 to 65535", Addr: address}
	}
	addr := netip.IPv6Unspecified()
	if f == only4 {
		addr = netip.IPv4Unspecified()
	}
	if host != "" {
		given, err := netip.ParseAddr(host)
		if err != nil {
			return binding{}, &net.AddrError{Err: "not an IP address, and in memory there is no DNS", Addr: address}
		}
		given = given.Unmap()
		if given.Is4() && f == only6 || given.Is6() && f == only4 {
			return binding{}, &net.AddrError{Err: "not of the family of " + network, Addr: address}
		}
		if !given.IsUnspecified() {
			addr = given
		}
	}
	return binding{netip.AddrPortFrom(addr, uint16(port)), f}, nil
}
