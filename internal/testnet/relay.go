package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// A Relay stands between real clients and a real server on this machine and
// does to what passes what Up and Down say. It relays TCP and UDP.
//
// UDP has all the properties of a Link; a datagram beyond the MTU vanishes. Of a
// TCP stream each 1460 bytes (or as many as fit the MTU) are a packet, and so is
// the FIN. A lost one passes again a round trip later, the rest behind it; a full queue makes
// the sender wait; Duplicate and Reorder do nothing. The kernels at both ends
// acknowledge to the relay: a connect takes no time, and buffers of the kernel
// lie before the bottleneck.
type Relay struct {
	Up, Down *Line // to the server, to the client

	target netip.AddrPort
	near   netip.AddrPort
	source netip.Addr
	tcp    net.Listener
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	wg      sync.WaitGroup
	dialing sync.RWMutex // read-locked while a connection reaches the server and is not yet in conns

	mu    sync.Mutex // guards what follows
	conns map[*crossing]struct{}
	last  netip.Addr // of the latest TCP client
	udp   []*datagrams
	err   error // the first that was no fault of either end
}

// A Route says where a Relay stands.
type Route struct {
	Target string // the server's address and port
	// Listen is the address and port where clients find the relay. Port 0 is a
	// free one, the same for TCP and UDP. Empty means 127.0.0.1:0 or [::1]:0.
	Listen string
	// Source is the address under which the server meets the clients; empty means
	// Listen's. Linux has all of 127.0.0.0/8 for Listen and Source.
	Source string
}

// Between starts a relay to target on the loopback address of its family. It ends
// with the test.
func Between(t testing.TB, up, down Link, target string) *Relay {
	t.Helper()
	return NewRelay(t, up, down, Route{Target: target})
}

// NewRelay starts a relay, which ends with the test.
func NewRelay(t testing.TB, up, down Link, route Route) *Relay {
	t.Helper()
	r, err := newRelay(up, down, route)
	if err != nil {
		t.Fatalf("testnet: relay to %s: %v", route.Target, err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Errorf("testnet: relay to %s: %v", route.Target, err)
		}
	})
	return r
}

func newRelay(up, down Link, route Route) (*Relay, error) {
	target, err := netip.ParseAddrPort(route.Target)
	if err != nil {
		return nil, err
	}
	listen, err := route.listen(target.Addr())
	if err != nil {
		return nil, err
	}
	source := listen.Addr()
	if route.Source != "" {
		if source, err = netip.ParseAddr(route.Source); err != nil {
			return nil, err
		}
	}
	r := &Relay{
		Up: newLine(up, 0), Down: newLine(down, 1),
		target: target, source: source,
		conns: map[*crossing]struct{}{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.listen(listen); err != nil {
		r.cancel()
		return nil, err
	}
	r.wg.Go(r.acceptAll)
	return r, nil
}

func (route Route) listen(target netip.Addr) (netip.AddrPort, error) {
	switch {
	case route.Listen != "":
		return netip.ParseAddrPort(route.Listen)
	case target.Is4():
		return netip.MustParseAddrPort("127.0.0.1:0"), nil
	}
	return netip.MustParseAddrPort("[::1]:0"), nil
}

// listen opens TCP and UDP on one port.
func (r *Relay) listen(at netip.AddrPort) error {
	const tries = 20 // a free port of TCP may be taken for UDP
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			return err
		}
		r.near = l.Addr().(*net.TCPAddr).AddrPort()
		if err = r.forward(r.near.Port(), r.target.Port(), 0); err == nil {
			r.tcp = l
			return nil
		}
		l.Close()
		if at.Port() != 0 || try == tries {
			return err
		}
	}
}

// Addr is where clients find the relay, for TCP and UDP.
func (r *Relay) Addr() string { return r.near.String() }

// ForwardUDP relays another UDP port of the server, which clients find under the
// same number. If clientPort is not 0 the server sees that port, and may send to
// it before it has heard anything: the relay then passes it on to clientPort of
// the latest client that connected by TCP. Both ports are opened on the relay's
// own addresses, so they must be free there; a server or client that binds all
// addresses takes them away.
func (r *Relay) ForwardUDP(serverPort, clientPort uint16) error {
	if err := r.forward(serverPort, serverPort, clientPort); err != nil {
		return fmt.Errorf("testnet: relay UDP port %d: %w", serverPort, err)
	}
	return nil
}

// Unplug lets nothing pass from now on, in either direction, and closes nothing.
// Datagrams vanish; streams are held back.
func (r *Relay) Unplug() {
	r.Up.Unplug()
	r.Down.Unplug()
}

// Plug ends Unplug.
func (r *Relay) Plug() {
	r.Up.Plug()
	r.Down.Plug()
}

// Reset ends all TCP connections that have reached the server with a RST to both
// ends. New ones are relayed.
func (r *Relay) Reset() {
	for _, c := range r.crossings() {
		c.reset()
	}
}

// Finish sends a FIN to both ends of all TCP connections that have reached the
// server, ahead of what is under way. What they still send is thrown away.
func (r *Relay) Finish() {
	for _, c := range r.crossings() {
		c.finish()
	}
}

func (r *Relay) crossings() []*crossing {
	r.dialing.Lock()
	defer r.dialing.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*crossing
	for c := range r.conns {
		all = append(all, c)
	}
	return all
}

// close ends the relay and returns the first error that neither end caused.
func (r *Relay) close() error {
	r.cancel()
	r.tcp.Close()
	r.Reset()
	r.mu.Lock()
	for _, d := range r.udp {
		d.close()
	}
	r.mu.Unlock()
	r.Plug() // lets those go who wait for it
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// failed keeps an error for close, unless it comes of closing.
func (r *Relay) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !errors.Is(err, net.ErrClosed) {
		r.err = err
	}
}

// acceptAll relays connections until the relay is closed.
func (r *Relay) acceptAll() {
	for {
		c, err := r.tcp.Accept()
		if err != nil {
			r.failed(err)
			return
		}
		r.wg.Go(func() { r.cross(c.(*net.TCPConn)) })
	}
}

// cross relays one connection until both its directions are at their end.
func (r *Relay) cross(client *net.TCPConn) {
	r.mu.Lock()
	r.last = client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	r.mu.Unlock()
	r.Up.awaitPlug()
	c, err := r.connect(client)
	if err != nil {
		Reset(client) // all that a relay can show of a refusal
		return
	}
	if r.ctx.Err() != nil {
		c.reset()
	}
	c.run()
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

// connect makes a connection to the server for one of a client.
func (r *Relay) connect(client *net.TCPConn) (*crossing, error) {
	r.dialing.RLock()
	defer r.dialing.RUnlock()
	server, err := r.dial()
	if err != nil {
		return nil, err
	}
	c := newCrossing(r, client, server)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = struct{}{}
	return c, nil
}

func (r *Relay) dial() (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.source, 0))}
	c, err := d.DialContext(r.ctx, "tcp", r.target.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
