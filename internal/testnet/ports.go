package testnet

import (
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// A binding is the local end of a socket that listens.
type binding struct {
	at     netip.AddrPort
	family family
}

// covers reports whether the socket takes what is sent to addr.
func (b binding) covers(addr netip.Addr) bool {
	switch {
	case !b.at.Addr().IsUnspecified():
		return b.at.Addr() == addr
	case b.family == only4:
		return addr.Is4()
	case b.family == only6:
		return addr.Is6()
	}
	return true
}

// overlaps reports whether two sockets cannot have the same port.
func (b binding) overlaps(other binding) bool {
	if !b.at.Addr().IsUnspecified() {
		return other.covers(b.at.Addr())
	}
	if !other.at.Addr().IsUnspecified() {
		return b.covers(other.at.Addr())
	}
	return b.family == dual || other.family == dual || b.family == other.family
}

// ports are the sockets of a host that are bound to a port, for one protocol.
type ports[S interface {
	comparable
	bound() binding
}] map[uint16][]S

// isFree reports whether a socket can be bound there.
func (p ports[S]) isFree(b binding) bool {
	return !slices.ContainsFunc(p[b.at.Port()], func(s S) bool { return s.bound().overlaps(b) })
}

// find returns the socket for what comes to an address. One that is bound to it
// goes before one that is bound to all.
func (p ports[S]) find(to netip.AddrPort) (found S, ok bool) {
	for _, s := range p[to.Port()] {
		if b := s.bound(); b.covers(to.Addr()) && (!ok || !b.at.Addr().IsUnspecified()) {
			found, ok = s, true
		}
	}
	return found, ok
}

func (p ports[S]) add(s S) {
	port := s.bound().at.Port()
	p[port] = append(p[port], s)
}

func (p ports[S]) remove(s S) {
	port := s.bound().at.Port()
	p[port] = slices.DeleteFunc(p[port], func(other S) bool { return other == s })
}

// firstPort is the first of the dynamic ports (RFC 6335, section 6).
const firstPort = 49152

// freePort returns a dynamic port that isFree says is free. The caller holds h.mu.
func (h *Host) freePort(isFree func(uint16) bool) (uint16, error) {
	for range 65536 - firstPort {
		port := firstPort + h.nextPort%(65536-firstPort)
		h.nextPort++
		if isFree(port) {
			return port, nil
		}
	}
	return 0, syscall.EADDRINUSE
}

// settle checks that b can be bound, and chooses the port if it has none. The
// caller holds h.mu.
func (h *Host) settle(b binding, isFree func(binding) bool) (binding, error) {
	if a := b.at.Addr(); !a.IsUnspecified() && !h.owns(a) {
		return b, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	withPort := func(port uint16) binding {
		return binding{netip.AddrPortFrom(b.at.Addr(), port), b.family}
	}
	if b.at.Port() != 0 {
		if !isFree(b) {
			return b, os.NewSyscallError("bind", syscall.EADDRINUSE)
		}
		return b, nil
	}
	port, err := h.freePort(func(port uint16) bool { return isFree(withPort(port)) })
	if err != nil {
		return b, os.NewSyscallError("bind", err)
	}
	return withPort(port), nil
}
