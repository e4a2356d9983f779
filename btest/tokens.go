package btest

import (
	"crypto/rand"
	"net"
	"net/netip"
	"sync"

	"github.com/sonde-net/sonde/btest/wire"
)

// tokens are the TCP tests that wait for more connections, by the token that
// joins them. A join must come from the address of the first connection: two
// tests behind one NAT have different tokens, two addresses never share one.
type tokens struct {
	mu   sync.Mutex // guards open
	open map[wire.Token]*joinable
}

// A joinable test takes further connections. conns has room for all of them,
// so that handing one over never blocks.
type joinable struct {
	peer  netip.Addr
	conns chan net.Conn
	done  chan struct{} // closed when the test is over

	mu   sync.Mutex // guards what follows
	left int        // places not taken yet
	over bool       // conns is closed
}

// register makes a token for a test of more connections from peer; false when
// no free token was found, because too many tests are open.
func (t *tokens) register(peer netip.Addr, more int) (wire.Token, *joinable, bool) {
	j := &joinable{peer: peer, left: more, conns: make(chan net.Conn, more), done: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[wire.Token]*joinable{}
	}
	var b [2]byte
	for range 1000 {
		rand.Read(b[:])
		token := wire.Token{Hi: 2 + b[0]%254, Lo: 1 + b[1]%255}
		if t.open[token] == nil {
			t.open[token] = j
			return token, j, true
		}
	}
	return wire.Token{}, nil, false
}

// drop forgets a token and closes the connections that joined too late.
func (t *tokens) drop(token wire.Token) {
	t.mu.Lock()
	j := t.open[token]
	delete(t.open, token)
	t.mu.Unlock()
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left, j.over = 0, true
	close(j.conns)
	close(j.done)
	for c := range j.conns {
		c.Close()
	}
}

// claim takes a place in the test of token for a connection from peer.
func (t *tokens) claim(token wire.Token, peer netip.Addr) (*joinable, bool) {
	t.mu.Lock()
	j := t.open[token]
	t.mu.Unlock()
	if j == nil || j.peer != peer {
		return nil, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.left == 0 {
		return nil, false
	}
	j.left--
	return j, true
}

// hand gives a claimed connection to the test; false when the test is over.
func (j *joinable) hand(c net.Conn) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return false
	}
	j.conns <- c
	return true
}
