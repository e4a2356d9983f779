package sock

import (
	"net"
	"net/netip"
	"syscall"
)

// An AnswerConn is a UDP socket of a server. Bound to no address of its own, it
// tells to which of ours a datagram was sent, and sends from that one: by itself
// the system takes the address that its route prefers, and whoever asked another
// one takes no answer from there, nor does a NAT or firewall in between.
type AnswerConn struct {
	net.PacketConn
	socket udpSocket // nil where the system decides: bound to an address, or it does not tell
	v6     bool      // a socket of IPv6, or of both families
}

// A udpSocket has the calls of a net.UDPConn that pass control messages.
type udpSocket interface {
	syscall.Conn
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// Answering makes an AnswerConn of c. Where c is no socket of the system, or the
// system does not tell (other than Linux), it is c with another face.
func Answering(c net.PacketConn) *AnswerConn {
	a := &AnswerConn{PacketConn: c}
	socket, ok := c.(udpSocket)
	if at, isUDP := c.LocalAddr().(*net.UDPAddr); ok && isUDP && at.IP.IsUnspecified() {
		a.v6 = at.IP.To4() == nil
		if askDestination(socket) == nil {
			a.socket = socket
		}
	}
	return a
}

// ReadFromTo is ReadFrom and tells to which of our addresses the datagram was
// sent; the zero Addr if that is not known, or does not matter.
func (a *AnswerConn) ReadFromTo(b []byte) (n int, from netip.AddrPort, to netip.Addr, err error) {
	if a.socket == nil {
		n, addr, err := a.PacketConn.ReadFrom(b)
		return n, AddrPort(addr), netip.Addr{}, err
	}
	var oob [destinationOOB]byte
	n, oobn, _, from, err := a.socket.ReadMsgUDPAddrPort(b, oob[:])
	return n, unmap(from), destination(oob[:oobn]), err
}

// WriteToFrom is WriteTo from an address that ReadFromTo told; the zero Addr
// leaves it to the system.
func (a *AnswerConn) WriteToFrom(b []byte, to netip.AddrPort, from netip.Addr) error {
	if a.socket == nil || !from.IsValid() || from.IsMulticast() {
		_, err := a.WriteTo(b, net.UDPAddrFromAddrPort(to))
		return err
	}
	_, _, err := a.socket.WriteMsgUDPAddrPort(b, sourceControl(from, a.v6), to)
	return err
}
