package sock

import (
	"cmp"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

const (
	sendBuffer    = 4 << 20
	receiveBuffer = 64 << 20
)

// apply sets up a new UDP socket before it is bound. Buffers are a wish: what
// the system grants is in use. That fragments are never sent is a promise: a
// system that refuses it is an error.
func (o PacketOptions) apply(network string, fd int) error {
	resize(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cmp.Or(o.SendBuffer, sendBuffer))
	resize(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cmp.Or(o.ReceiveBuffer, receiveBuffer))
	if o.Interface != "" {
		if err := unix.BindToDevice(fd, o.Interface); err != nil {
			return fmt.Errorf("interface %s: %w", o.Interface, err)
		}
	}
	v6 := network == "udp6"
	discover := unix.IP_PMTUDISC_DO
	if o.Fragment {
		discover = unix.IP_PMTUDISC_DONT
	}
	if err := setFragments(network, fd, discover); err != nil {
		return fmt.Errorf("forbid fragments: %w", err)
	}
	if o.Refusals { // without it a closed port looks like silence
		_ = setOption(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		if v6 {
			_ = setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		}
	}
	if o.TrafficClass == 0 {
		return nil
	}
	err := setOption(fd, unix.IPPROTO_IP, unix.IP_TOS, o.TrafficClass)
	if v6 {
		err = setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, o.TrafficClass)
	}
	if err != nil {
		return fmt.Errorf("traffic class %#x: %w", o.TrafficClass, err)
	}
	return nil
}

// setFragments says what becomes of datagrams that exceed the path MTU. An IPv6
// socket that also carries IPv4 has both settings.
func setFragments(network string, fd, discover int) error {
	err := setOption(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover)
	if network == "udp6" { // without IPv4 there is nothing to set for it
		err = setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, discover)
	}
	return err
}

func forbidFragments(network string, fd int) error {
	return setFragments(network, fd, unix.IP_PMTUDISC_DO)
}

// resize asks for a buffer beyond the system's limit, which needs CAP_NET_ADMIN,
// or else for as much as the limit allows.
func resize(fd, force, ask, size int) {
	if setOption(fd, unix.SOL_SOCKET, force, size) != nil {
		// Refused as well: the default stays in use, and is read back where it matters.
		_ = setOption(fd, unix.SOL_SOCKET, ask, size)
	}
}

// packetsOn makes the best PacketConn of a socket that apply has set up.
func packetsOn(c *net.UDPConn, o PacketOptions) (PacketConn, error) {
	if o.Plain {
		return Packets(c), nil
	}
	if p, err := detachPackets(c, o); p != nil || err != nil {
		return p, err
	}
	return Packets(c), nil
}
