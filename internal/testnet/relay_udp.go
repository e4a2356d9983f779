package testnet

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// datagrams relays one UDP port of the server.
type datagrams struct {
	relay      *Relay
	near       *net.UDPConn // where clients send to
	target     netip.AddrPort
	clientPort uint16

	mu    sync.Mutex // guards what follows
	flows map[netip.AddrPort]*exchange
	fixed *exchange // the only one, if clientPort is not 0
	shut  bool
}

// An exchange is what one client and the server send each other.
type exchange struct {
	far    *net.UDPConn   // where the server sends to
	client netip.AddrPort // guarded by datagrams.mu
}

// forward opens nearPort and relays it to serverPort.
func (r *Relay) forward(nearPort, serverPort, clientPort uint16) error {
	near, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.near.Addr(), nearPort)))
	if err != nil {
		return err
	}
	d := &datagrams{
		relay: r, near: near, clientPort: clientPort,
		target: netip.AddrPortFrom(r.target.Addr(), serverPort),
		flows:  map[netip.AddrPort]*exchange{},
	}
	if clientPort != 0 {
		if d.fixed, err = d.open(netip.AddrPort{}); err != nil {
			near.Close()
			return err
		}
	}
	r.mu.Lock()
	r.udp = append(r.udp, d)
	r.mu.Unlock()
	r.wg.Go(d.fromClients)
	return nil
}

// open makes the exchange of a client. The caller holds mu or is the only one.
func (d *datagrams) open(client netip.AddrPort) (*exchange, error) {
	if d.shut {
		return nil, net.ErrClosed
	}
	far, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.relay.source, d.clientPort)))
	if err != nil {
		return nil, err
	}
	e := &exchange{far: far, client: client}
	d.relay.wg.Go(func() { d.fromServer(e) })
	return e, nil
}

// fromClients relays to the server until the socket is closed.
func (d *datagrams) fromClients() {
	b := make([]byte, 65536)
	for {
		n, from, err := d.near.ReadFromUDPAddrPort(b)
		if err != nil {
			d.relay.failed(err)
			return
		}
		e, err := d.exchangeOf(from)
		if err != nil {
			d.relay.failed(err)
			return
		}
		d.relay.Up.offerDatagram(e.far, b[:n], d.target, d.relay.failed)
	}
}

func (d *datagrams) exchangeOf(client netip.AddrPort) (*exchange, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fixed != nil {
		d.fixed.client = client
		return d.fixed, nil
	}
	if e := d.flows[client]; e != nil {
		return e, nil
	}
	e, err := d.open(client)
	if err == nil {
		d.flows[client] = e
	}
	return e, err
}

// fromServer relays to one client until the socket is closed.
func (d *datagrams) fromServer(e *exchange) {
	b := make([]byte, 65536)
	for {
		n, from, err := e.far.ReadFromUDPAddrPort(b)
		if err != nil {
			d.relay.failed(err)
			return
		}
		if from.Addr().Unmap() != d.target.Addr() {
			continue // a stranger
		}
		if client := d.clientOf(e); client.IsValid() {
			d.relay.Down.offerDatagram(d.near, b[:n], client, d.relay.failed)
		}
	}
}

// clientOf is where the server's datagrams go: to whom it was that sent some, or
// to whom the server was told of by TCP.
func (d *datagrams) clientOf(e *exchange) netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.client.IsValid() {
		return e.client
	}
	d.relay.mu.Lock()
	defer d.relay.mu.Unlock()
	if !d.relay.last.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(d.relay.last, d.clientPort)
}

// offerDatagram puts a copy of p on the line; where it ends, c sends it on.
func (l *Line) offerDatagram(c *net.UDPConn, p []byte, to netip.AddrPort, failed func(error)) {
	p = slices.Clone(p)
	l.offer(headerOf(to.Addr().Unmap())+udpHeader+len(p), routed, func() {
		if _, err := c.WriteToUDPAddrPort(p, to); err != nil {
			failed(err)
		}
	})
}

func (d *datagrams) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	d.near.Close()
	if d.fixed != nil {
		d.fixed.far.Close()
	}
	for _, e := range d.flows {
		e.far.Close()
	}
}
