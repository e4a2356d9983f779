package twamp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// sessionPorts are the UDP sockets of a server. Sessions share them as far as
// their senders' addresses tell them apart.
type sessionPorts struct {
	listen   ListenPacketFunc
	given    *Reflector // of packets without a session; may be nil
	correct  bool
	span     PortRange
	most     int // sockets; 0 is no limit
	sessions int // in all; 0 is no limit
	idle     time.Duration
	log      *slog.Logger
	sink     result.Sink

	mu   sync.Mutex // guards what follows
	at   map[netip.AddrPort]*socket
	held int    // sessions placed and not yet swept
	next uint16 // port of the range to try first
}

// leastPort is the lowest port that a client may have opened for it.
const leastPort = 1024

// sweepEvery is how often a server looks for sessions that have ended.
const sweepEvery = time.Second

// A socket is a responder at work.
type socket struct {
	*responder
	keep  bool // is there for other packets too
	close context.CancelFunc
}

func newSessionPorts(s *Server) *sessionPorts {
	return &sessionPorts{
		listen: s.ListenPacket, given: s.Open, correct: s.Correct || s.Open != nil && s.Open.Correct, span: s.Ports, most: admit.Limit(s.Sockets, 256), sessions: admit.Limit(s.Sessions, 16384),
		idle: or(s.RefWait, 900*time.Second), log: s.Log, sink: s.Sink, at: map[netip.AddrPort]*socket{}, next: s.Ports.First,
	}
}

// serveOpen opens the socket for packets of no session, at the address of the
// listener.
func (p *sessionPorts) serveOpen(ctx context.Context, wg *sync.WaitGroup, at netip.AddrPort) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.Addr().IsUnspecified() && at.Addr().Is6() {
		at = netip.AddrPortFrom(netip.Addr{}, at.Port()) // both families, like the listener
	}
	one, err := p.openLocked(ctx, wg, at, p.given.rules(at.Port()))
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("listen on udp %v", at), Err: err}
	}
	one.keep = true
	p.given.enlist(one.responder)
	return nil
}

// openLocked opens a socket and starts its responder.
func (p *sessionPorts) openLocked(ctx context.Context, wg *sync.WaitGroup, at netip.AddrPort, rules *openRules) (*socket, error) {
	port, err := openPort(ctx, p.listen, at, rules != nil && rules.joins)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &socket{responder: newResponder(port, rules), close: cancel}
	one.correct = p.correct
	p.at[at] = one
	wg.Go(func() {
		defer cancel()
		if err := one.run(ctx); err != nil {
			p.log.Error("reflector ended", "err", err)
		}
	})
	return one, nil
}

// place finds a port for a session: the proposed one, else one that is open
// already, else one of the range. It returns the port.
func (p *sessionPorts) place(ctx context.Context, wg *sync.WaitGroup, s *session, local netip.Addr, proposed uint16) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions > 0 && p.held >= p.sessions {
		return 0, fmt.Errorf("%d sessions are open, the limit of this server", p.held)
	}
	mayOpen := proposed >= leastPort && p.freeLocked()
	if p.tryLocked(ctx, wg, s, netip.AddrPortFrom(local, proposed), mayOpen) {
		p.held++
		return proposed, nil
	}
	for at, one := range p.at {
		if at.Addr() == local && one.attach(s) {
			p.held++
			return at.Port(), nil
		}
	}
	if !p.freeLocked() {
		return 0, fmt.Errorf("%d UDP sockets are open, the limit, and sender %v has a session on each", len(p.at), s.sender)
	}
	for range int(p.span.Last) - int(p.span.First) + 1 {
		at := netip.AddrPortFrom(local, p.next)
		if p.next++; p.next > p.span.Last || p.next < p.span.First {
			p.next = p.span.First
		}
		if p.tryLocked(ctx, wg, s, at, true) {
			p.held++
			return at.Port(), nil
		}
	}
	return 0, fmt.Errorf("no UDP port from %d to %d is free", p.span.First, p.span.Last)
}

// freeLocked reports whether another socket may be opened.
func (p *sessionPorts) freeLocked() bool { return p.most <= 0 || len(p.at) < p.most }

// tryLocked attaches the session to the socket at an address, which it opens if
// it may.
func (p *sessionPorts) tryLocked(ctx context.Context, wg *sync.WaitGroup, s *session, at netip.AddrPort, open bool) bool {
	for _, addr := range []netip.Addr{at.Addr(), {}, netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if one := p.at[netip.AddrPortFrom(addr, at.Port())]; one != nil {
			return one.attach(s)
		}
	}
	if !open {
		return false
	}
	one, err := p.openLocked(ctx, wg, at, nil)
	return err == nil && one.attach(s)
}

// sweep ends sessions whose time is over, and closes sockets without any, until
// ctx ends.
func (p *sessionPorts) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.sweepOnce(time.Now(), true)
			return
		case now := <-ticker.C:
			p.sweepOnce(now, false)
		}
	}
}

func (p *sessionPorts) sweepOnce(now time.Time, all bool) {
	p.put(p.collect(now, all))
}

// collect takes the sessions that have ended, and closes sockets without any.
func (p *sessionPorts) collect(now time.Time, all bool) (ended []*session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := 0
	for at, one := range p.at {
		over, left := one.sweep(now, p.idle, all)
		ended = append(ended, over...)
		held += left
		if left == 0 && !one.keep {
			one.close()
			delete(p.at, at)
		}
	}
	p.held = held
	return ended
}
