package btest

import (
	"crypto/rand"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
)

// tokens are the TCP tests that wait for more connections, by the token that
// joins them. A join must come from the address of the first connection: two
// tests behind one NAT have different tokens, two addresses never share one.
type tokens struct {
	mu    sync.Mutex // guards what follows
	open  map[wire.Token]*joinable
	ended map[wire.Token]ending // tests that were over a moment ago
}

// An ending is whose test ended, and when.
type ending struct {
	peer netip.Addr
	at   time.Time
}

// A joinable test takes further connections. conns has room for all of them,
// so that handing one over never blocks.
type joinable struct {
	peer  netip.Addr
	conns chan net.Conn
	done  chan struct{} // closed when the test is over

	mu     sync.Mutex // guards what follows
	left   int        // places not taken yet
	closed bool       // none will be free again
	over   bool       // conns is closed
}

// register makes a token for a test of more connections from peer; false when
// no free token was found, because too many connections join tests.
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
	if j != nil {
		t.remember(token, j.peer, time.Now())
	}
	t.mu.Unlock()
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left, j.closed, j.over = 0, true, true
	close(j.conns)
	close(j.done)
	for c := range j.conns {
		c.Close()
	}
}

// remember keeps for a while that a test has ended; the caller holds mu.
func (t *tokens) remember(token wire.Token, peer netip.Addr, now time.Time) {
	for old, e := range t.ended {
		if now.Sub(e.at) > joinTime {
			delete(t.ended, old)
		}
	}
	if t.ended == nil {
		t.ended = map[wire.Token]ending{}
	}
	t.ended[token] = ending{peer, now}
}

// late reports whether token is that of a test of peer that has just ended:
// who joins that one is too late, but did not guess.
func (t *tokens) late(token wire.Token, peer netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[token] != nil {
		return t.open[token].peer == peer
	}
	e, ok := t.ended[token]
	return ok && e.peer == peer && now.Sub(e.at) <= joinTime
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

// giveBack frees the place of a claimed connection that broke.
func (j *joinable) giveBack() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.left++
	}
}

// shut lets no more connections in and returns how many places were left.
func (j *joinable) shut() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	left := j.left
	j.left, j.closed = 0, true
	return left
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
