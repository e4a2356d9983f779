package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A Path joins two namespaces by a wire that does to the packets what a Link
// says, for the kernel's own TCP and UDP: delay, loss, a rate, a shallow queue.
// A process carries them, so it is for some 100 Mbit/s; its times are those of a
// busy machine, its counts are exact. ARP, IPv6 neighbour discovery and multicast
// pass untouched and uncounted.
type Path struct {
	Up, Down *Line // from a to b, from b to a

	err error
	mu  sync.Mutex // guards err
}

// NewPath makes a path between two interfaces, which ends with the test. The
// interfaces have the MTU of cable and send each packet by itself; what is larger
// than the MTU of a Link vanishes. Wait does nothing.
func NewPath(t testing.TB, cable Cable, up, down Link, a, b End) *Path {
	t.Helper()
	middle := NewNamespace(t)
	if err := middle.sysctl("net.ipv6.conf.default.disable_ipv6", "1"); err != nil {
		t.Fatalf("testnet: path: %v", err)
	}
	cable.Single = true
	Wire(t, cable, a, End{In: middle, Name: "a"})
	Wire(t, cable, b, End{In: middle, Name: "b"})
	p := &Path{Up: newLine(up, 0), Down: newLine(down, 1)}
	taps, err := openTaps(middle)
	if err != nil {
		t.Fatalf("testnet: path: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.carry(p.Up, taps[0], taps[1]) })
	wg.Go(func() { p.carry(p.Down, taps[1], taps[0]) })
	t.Cleanup(func() {
		err := errors.Join(taps[0].dropped(), taps[1].dropped())
		for _, tap := range taps {
			err = errors.Join(err, tap.Close())
		}
		wg.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := errors.Join(err, p.err); err != nil {
			t.Errorf("testnet: path: %v", err)
		}
	})
	return p
}

// Unplug lets all that is sent vanish from now on.
func (p *Path) Unplug() {
	p.Up.Unplug()
	p.Down.Unplug()
}

// Plug ends Unplug.
func (p *Path) Plug() {
	p.Up.Plug()
	p.Down.Plug()
}

// The kernel puts a header before each frame that says what is left to do for
// it, such as the checksum: struct virtio_net_hdr, packet(7), PACKET_VNET_HDR.
const (
	offloadHeader = 10
	segmentsAt    = 1 // gso_type; 0 means one packet
	etherHeader   = 14
	etherType     = 12
)

// carry takes what comes from one tap over a line to the other.
func (p *Path) carry(l *Line, from, to *tap) {
	b := make([]byte, 1<<17)
	for {
		n, err := from.Read(b)
		if err != nil {
			p.failed(err)
			return
		}
		frame := slices.Clone(b[:n])
		if len(frame) < offloadHeader+etherHeader || frame[segmentsAt] != 0 {
			p.failed(fmt.Errorf("a frame of %d bytes, or several in one", n))
			continue
		}
		send := func() {
			if _, err := to.Write(frame); err != nil {
				p.failed(err)
			}
		}
		ether := frame[offloadHeader:]
		if isHousekeeping(ether) {
			send()
			continue
		}
		l.offer(len(ether)-etherHeader, routed, send)
	}
}

// failed keeps an error for the end of the test, unless it comes of that.
func (p *Path) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && !errors.Is(err, os.ErrClosed) {
		p.err = err
	}
}

// isHousekeeping reports whether a frame is neither IPv4 nor unicast IPv6, or is
// of neighbour discovery (ICMPv6 types 133 to 137, RFC 4861).
func isHousekeeping(frame []byte) bool {
	packet := frame[etherHeader:]
	switch binary.BigEndian.Uint16(frame[etherType:]) {
	case unix.ETH_P_IP:
		return len(packet) < ip4Header
	case unix.ETH_P_IPV6:
		if len(packet) < ip6Header {
			return true
		}
		to := netip.AddrFrom16([16]byte(packet[24:40]))
		isICMP := packet[6] == unix.IPPROTO_ICMPV6 && len(packet) > ip6Header
		return to.IsMulticast() || isICMP && packet[ip6Header] >= 133 && packet[ip6Header] <= 137
	}
	return true
}

// A tap is a packet socket on an interface: it reads what comes in there, with
// the header above, and writes what is to go out.
type tap struct{ *os.File }

// openTaps opens the taps of the interfaces a and b.
func openTaps(ns *Namespace) (taps [2]*tap, err error) {
	for i, name := range []string{"a", "b"} {
		link, err := ns.kernel.LinkByName(name)
		if err != nil {
			return taps, err
		}
		if taps[i], err = openTap(ns, link.Attrs().Index); err != nil {
			return taps, fmt.Errorf("packet socket: %w", err)
		}
	}
	return taps, nil
}

func openTap(ns *Namespace, index int) (*tap, error) {
	var fd int
	var err error
	ns.Do(func() { fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	const buffer = 16 << 20 // bytes; the path must lose nothing of itself
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &tap{os.NewFile(uintptr(fd), "tap")}, nil
}

// dropped is an error if the socket's buffer was ever full.
func (t *tap) dropped() error {
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var stats *unix.TpacketStats
	var optErr error
	err = raw.Control(func(fd uintptr) {
		stats, optErr = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err := errors.Join(err, optErr); err != nil {
		return err
	}
	if stats.Drops > 0 {
		return fmt.Errorf("%d packets came too fast for it", stats.Drops)
	}
	return nil
}
