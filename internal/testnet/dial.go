package testnet

import (
	"context"
	"errors"
	"net"
)

// DialContext connects as net.Dialer.DialContext does: tcp or udp, with 4 or 6
// behind it or not, to an address and port in figures. The net.Conn for TCP has
// also CloseWrite, SetLinger, SetReadBuffer and SetWriteBuffer.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	b, err := resolve(network, address)
	to := b.at
	if err == nil && to.Addr().IsUnspecified() {
		err = errors.New("missing address")
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if isUDP(network) {
		c, err := h.dialUDP(to)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: net.UDPAddrFromAddrPort(to), Err: err}
		}
		return c, nil
	}
	c, err := h.dialTCP(ctx, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return c, nil
}

// Listen listens for TCP as net.ListenConfig.Listen does.
func (h *Host) Listen(_ context.Context, network, address string) (net.Listener, error) {
	b, err := resolve(network, address)
	if err == nil && isUDP(network) {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	l, err := h.listenTCP(b)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(b.at), Err: err}
	}
	return l, nil
}

// ListenPacket opens a UDP socket as net.ListenConfig.ListenPacket does. The
// net.PacketConn has also ReadFromUDPAddrPort, WriteToUDPAddrPort and
// SetReadBuffer.
func (h *Host) ListenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	b, err := resolve(network, address)
	if err == nil && !isUDP(network) {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	c, err := h.listenUDP(b)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.UDPAddrFromAddrPort(b.at), Err: err}
	}
	return c, nil
}
