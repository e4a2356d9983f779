package sock

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	udpNap  = 50 * time.Microsecond
	udpNaps = 20 // in vain, about 2 ms
)

// mostSockets bounds the UDP sockets outside of the runtime's poller. While one
// waits it takes a thread, and for a moment one of the runtime's processors: with
// two processors, sixteen sockets do no harm, a hundred starve each other.
func mostSockets() int32 { return int32(8 * runtime.GOMAXPROCS(0)) }

var packetSockets atomic.Int32

// packetSocket is a PacketConn on a descriptor of its own. See train_linux.go
// for how it sends and gather_linux.go for how it receives.
type packetSocket struct {
	*descriptor
	local netip.AddrPort
	v6    bool // an IPv6 socket: IPv4 addresses are mapped
	train train
	catch catch
}

// detachPackets takes a UDP socket out of the poller and turns on what the
// kernel offers. Nil, without an error, when enough are out already.
func detachPackets(c *net.UDPConn, o PacketOptions) (PacketConn, error) {
	if packetSockets.Add(1) > mostSockets() {
		packetSockets.Add(-1)
		return nil, nil
	}
	p := &packetSocket{local: AddrPort(c.LocalAddr())}
	var err error
	if p.descriptor, err = detach(c); err != nil {
		packetSockets.Add(-1)
		return nil, err
	}
	domain, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		p.Close()
		return nil, os.NewSyscallError("getsockopt", err)
	}
	p.v6 = domain == unix.AF_INET6
	p.train.init()
	p.train.fragment = o.Fragment
	p.catch.init(p.fd, o)
	return p, nil
}

func (p *packetSocket) Close() error {
	err := p.descriptor.Close()
	if !errors.Is(err, net.ErrClosed) {
		packetSockets.Add(-1)
	}
	return err
}

func (p *packetSocket) LocalAddrPort() netip.AddrPort { return p.local }
func (p *packetSocket) blockedFor() time.Duration     { return time.Duration(p.out.waited.Load()) }
func (p *packetSocket) joins() bool                   { return p.catch.gro }

// receiveBuffer is the room that the kernel says it granted, in bytes.
func (p *packetSocket) receiveBuffer() (n int) {
	_ = p.with(func(fd int) (err error) { // closed: no room
		n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		return err
	})
	return n
}

// Technique names both ways: how trains are sent, whether they are received
// joined, and whether the reader naps.
func (p *packetSocket) Technique() string {
	way := p.train.technique()
	switch {
	case p.catch.gro && p.catch.short.Load():
		way += "+gro-trunc"
	case p.catch.gro:
		way += "+gro"
	default:
		way += "+recvmmsg"
	}
	if p.catch.naps {
		way += "+nap"
	}
	return way
}

// Dropped asks the socket itself, so that drops at the end are seen without a
// later packet to tell of them (as SO_RXQ_OVFL needs).
func (p *packetSocket) Dropped() (n uint64, ok bool) {
	err := p.with(func(fd int) error {
		var info [unix.SK_MEMINFO_VARS]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if e != 0 {
			return e
		}
		n = uint64(info[unix.SK_MEMINFO_DROPS])
		return nil
	})
	return n, err == nil
}

// sockaddr is room for an address of either family.
type sockaddr [unix.SizeofSockaddrInet6]byte

// put writes a as the socket's family wants it and returns the length.
func (s *sockaddr) put(a netip.AddrPort, v6 bool) (int, error) {
	addr := a.Addr()
	if !v6 {
		if addr = addr.Unmap(); !addr.Is4() {
			return 0, &net.AddrError{Err: "an IPv4 socket cannot send there", Addr: a.String()}
		}
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(s))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
		putPort(&sa.Port, a.Port())
		return unix.SizeofSockaddrInet4, nil
	}
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(s))
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16()}
	putPort(&sa.Port, a.Port())
	if zone := addr.Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return 0, err
		}
		sa.Scope_id = uint32(i.Index)
	}
	return unix.SizeofSockaddrInet6, nil
}

// putPort writes a port in network order.
func putPort(to *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(to))
	b[0], b[1] = byte(port>>8), byte(port)
}

// zones remembers the name of the last IPv6 zone, so that addresses with one
// cost no look-up per packet.
type zones struct {
	index uint32
	name  string
}

func (z *zones) of(index uint32) string {
	if index != z.index {
		z.index, z.name = index, ""
		if i, err := net.InterfaceByIndex(int(index)); err == nil {
			z.name = i.Name
		}
	}
	return z.name
}

// get reads an address as the kernel wrote it, unmapped.
func (s *sockaddr) get(z *zones) netip.AddrPort {
	switch (*unix.RawSockaddr)(unsafe.Pointer(s)).Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(s))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), getPort(&sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(s))
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && addr.Is6() {
			addr = addr.WithZone(z.of(sa.Scope_id))
		}
		return netip.AddrPortFrom(addr, getPort(&sa.Port))
	}
	return netip.AddrPort{}
}

func getPort(from *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(from))
	return uint16(b[0])<<8 | uint16(b[1])
}
