package btest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/transcript"
)

// A relay passes on the datagrams of one UDP test. Towards the client it has
// one socket, in the place of the server's; towards the server one in the
// place of each of the client's.
type relay struct {
	of       *passage
	server   netip.AddrPort // the server's port
	clientIP netip.Addr
	toClient *net.UDPConn
	wg       sync.WaitGroup

	mu     sync.Mutex       // guards what follows
	ports  []*net.UDPConn   // towards the server, by the number of the client's port; nil where not yet needed
	sender []netip.AddrPort // where the client's datagrams of each come from
	strays int
	done   bool
}

// newRelay binds the ports for a test of count client ports on the port that
// the server announced.
func newRelay(p *passage, announced uint16, count int) (*relay, error) {
	if announced == 0 || announced > wire.MaxUDPPort {
		return nil, &wire.FieldError{Message: "UDP port", Field: "number", Value: uint64(announced)}
	}
	server := sock.AddrPort(p.server.RemoteAddr())
	r := &relay{of: p, clientIP: sock.AddrPort(p.client.RemoteAddr()).Addr(),
		server: netip.AddrPortFrom(server.Addr(), announced),
		ports:  make([]*net.UDPConn, count), sender: make([]netip.AddrPort, count)}
	var err error
	if r.toClient, err = bindNear(sock.AddrPort(p.client.LocalAddr()).Addr(), announced); err != nil {
		return nil, err
	}
	if got := r.announced(); got != announced {
		p.remark("connection %d: UDP port %d is taken on the recorder's address, so %d was announced to the client", p.n, announced, got)
	}
	for k := range r.sender {
		r.sender[k] = netip.AddrPortFrom(r.clientIP, r.announced()+wire.ClientPort+uint16(k))
	}
	if err := r.bindPort(0); err != nil {
		r.toClient.Close()
		return nil, err
	}
	r.wg.Go(r.fromClient)
	return r, nil
}

// announced is the port that the client is to send to.
func (r *relay) announced() uint16 { return sock.AddrPort(r.toClient.LocalAddr()).Port() }

// bindNear binds a UDP port, or another one that leaves room for the client's
// when it is taken.
func bindNear(ip netip.Addr, port uint16) (*net.UDPConn, error) {
	c, err := bind(ip, port)
	for range 20 {
		if err == nil && sock.AddrPort(c.LocalAddr()).Port() <= wire.MaxUDPPort-maxStreams {
			return c, nil
		}
		if err == nil {
			c.Close()
		}
		c, err = bind(ip, 0)
	}
	if err == nil {
		c.Close()
		err = errors.New("the system gives none that leaves room for the client's")
	}
	return nil, fmt.Errorf("no UDP port on %v: %w", ip, err)
}

// maxStreams is the most client ports above the first.
const maxStreams = 255

func bind(ip netip.Addr, port uint16) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
	if err == nil {
		_ = c.SetReadBuffer(4 << 20) // as much as the system lets us have
	}
	return c, err
}

// bindPort binds the socket in the place of the client's k-th port, with mu
// held or before anybody else knows r.
func (r *relay) bindPort(k int) error {
	ip := sock.AddrPort(r.of.server.LocalAddr()).Addr()
	want := int(r.server.Port()) + wire.ClientPort + k
	if want > 65535 {
		return fmt.Errorf("UDP port %d: there is none", want)
	}
	c, err := bind(ip, uint16(want))
	if err != nil {
		r.of.remark("connection %d: UDP port %d is taken towards the server: one that sends to no other port will not be heard (%v)", r.of.n, want, err)
		if c, err = bind(ip, 0); err != nil {
			return err
		}
	}
	r.ports[k] = c
	r.wg.Go(func() { r.fromServer(k, c) })
	return nil
}

// fromClient passes on what the client sends.
func (r *relay) fromClient() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := r.toClient.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // such as a port unreachable: only lost datagrams
		}
		now := time.Now()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		c, k := r.port(from)
		if c == nil {
			continue
		}
		r.of.condenser.UDP(now, transcript.Client, r.server.Port()+wire.ClientPort+uint16(k), r.server.Port(), b[:n], n)
		_, _ = c.WriteToUDPAddrPort(b[:n], r.server) // a datagram lost here is a datagram lost
	}
}

// port finds the socket for the client's datagrams from an address.
func (r *relay) port(from netip.AddrPort) (*net.UDPConn, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := int(from.Port()) - int(r.announced()) - wire.ClientPort
	if len(r.ports) == 1 {
		k = 0 // a NAT may have changed the port
	}
	if from.Addr() != r.clientIP || k < 0 || k >= len(r.ports) || r.done {
		if r.strays++; r.strays == 1 {
			r.of.remark("connection %d: datagrams from a port that is not the client's were left out", r.of.n)
		}
		return nil, 0
	}
	if r.ports[k] == nil {
		if err := r.bindPort(k); err != nil {
			r.of.remark("connection %d: %v", r.of.n, err)
			return nil, 0
		}
	}
	r.sender[k] = from
	return r.ports[k], k
}

// fromServer passes on what the server sends to the client's k-th port.
func (r *relay) fromServer(k int, c *net.UDPConn) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || from.Addr().Unmap() != r.server.Addr() {
			continue
		}
		r.mu.Lock()
		to := r.sender[k]
		r.mu.Unlock()
		r.of.condenser.UDP(time.Now(), transcript.Server, from.Port(), r.server.Port()+wire.ClientPort+uint16(k), b[:n], n)
		_, _ = r.toClient.WriteToUDPAddrPort(b[:n], to) // a datagram lost here is a datagram lost
	}
}

// close ends the relay and waits for it.
func (r *relay) close() {
	r.mu.Lock()
	r.done = true
	r.toClient.Close()
	for _, c := range r.ports {
		if c != nil {
			c.Close()
		}
	}
	r.mu.Unlock()
	r.wg.Wait()
}
