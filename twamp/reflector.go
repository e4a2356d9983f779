package twamp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A Reflector answers test packets that nobody has announced: TWAMP Light and
// STAMP, told apart by what comes. The zero Reflector answers everybody, but
// nobody with more than was sent: a sender that has not proved its address
// could be anybody's. Its fields must not change once it serves.
type Reflector struct {
	Only    []netip.Prefix // whom to answer; empty means everybody
	Trusted []netip.Prefix // who may be answered with more octets than were sent
	Echo    bool           // keep no count: replies carry the request's sequence number
	PTP     bool           // timestamps in the PTP format
	Key     auth.Secret    // of authenticated STAMP; then nothing else is answered

	// Correct writes into replies when they will leave, going by how late the
	// latest ones left in the median, instead of when they are written. That is
	// exact while the reflector idles and a guess while it is busy, so it is off by
	// default; a STAMP sender has no need of it, since it can ask for Follow-Up
	// Telemetry. It needs the kernel's stamps of what is sent.
	Correct bool
	// Apart has packets that come back to back stamped one by one: normally they
	// may come joined, which is many times as fast, and share one receive timestamp.
	Apart bool

	// Workers share the socket given to Serve, on Linux: more than one CPU can then
	// answer, but each sender is one worker's, and so are Rate and Sources. 0 means
	// 1, which answers some 250 000 packets per second.
	Workers int

	Rate    int // packets per second from one address; 0 means 20 000, -1 no limit
	Sources int // senders remembered; 0 means 65 536

	mu         sync.Mutex // guards responders
	responders []*responder
}

// Serve answers what comes to c until ctx ends; then it closes c and returns
// nil.
func (r *Reflector) Serve(ctx context.Context, c net.PacketConn) error {
	conns, err := r.spread(ctx, c)
	if err != nil {
		c.Close()
		return err
	}
	ports := make([]port, 0, len(conns))
	for i, one := range conns {
		p, err := newPort(one, !r.Apart)
		if err != nil {
			for _, p := range ports {
				p.close()
			}
			for _, one := range conns[i:] {
				one.Close()
			}
			return err
		}
		ports = append(ports, p)
	}
	return r.work(ctx, ports)
}

// spread opens the sockets of the workers beside c.
func (r *Reflector) spread(ctx context.Context, c net.PacketConn) ([]net.PacketConn, error) {
	u, ok := c.(*net.UDPConn)
	if !ok || r.Workers < 2 {
		return []net.PacketConn{c}, nil
	}
	shared, err := sock.Share(ctx, u, min(r.Workers, mostWorkers))
	if err != nil {
		return nil, err
	}
	all := make([]net.PacketConn, len(shared))
	for i, one := range shared {
		all[i] = one
	}
	return all, nil
}

// mostWorkers bounds the workers of a reflector.
const mostWorkers = 64

// work answers what comes to the ports until ctx ends or one of them fails.
func (r *Reflector) work(ctx context.Context, ports []port) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(ports))
	var wg sync.WaitGroup
	for i, p := range ports {
		one := newResponder(p, r.rules(p.localAddr().Port()))
		one.correct = r.Correct
		r.enlist(one)
		wg.Go(func() {
			defer stop()
			errs[i] = one.run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *Reflector) enlist(one *responder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.responders = append(r.responders, one)
}

// Counts returns what became of the packets that came: "reflected", or why not.
// "own_buffer" is how often our own receive buffer had no room, which the sender
// takes for loss on the way out; after Serve has ended it is not known.
func (r *Reflector) Counts() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]uint64{}
	for _, one := range r.responders {
		for o, n := range one.all() {
			all[outcome(o).String()] += n
		}
		all["own_buffer"] += one.overruns()
	}
	return all
}

func (r *Reflector) rules(own uint16) *openRules {
	rules := &openRules{
		only: r.Only, trusted: r.Trusted, echo: r.Echo, ptp: r.PTP, joins: !r.Apart, own: own,
		rate:    admit.Limit(r.Rate, 20000),
		sources: table[source, openSession]{most: admit.Limit(r.Sources, 65536)},
		rates:   table[netip.Addr, perSecond]{most: admit.Limit(r.Sources, 65536)},
	}
	if !r.Key.IsZero() {
		rules.stamp = auth.NewStamp(r.Key)
	}
	return rules
}

// openRules answer packets of no session. Their responder guards them.
type openRules struct {
	only, trusted []netip.Prefix
	echo, ptp     bool
	joins         bool // packets may come joined
	stamp         *auth.Stamp
	own           uint16 // our own port
	rate          int
	sources       table[source, openSession]
	rates         table[netip.Addr, perSecond]
}

// A source is what a session without a control connection is known by: RFC
// 8972, section 3.
type source struct {
	from netip.AddrPort
	ssid uint16
}

// An openSession is what is remembered of a source.
type openSession struct {
	reflection
	latest  time.Time
	request uint32 // number of the latest request
}

// forgetAfter is how long a source may be silent until its count starts again:
// the REFWAIT of RFC 5357, section 4.2.
const forgetAfter = 900 * time.Second

func (o *openRules) respond(dst, request []byte, a arrival, c clock, est *wire.ErrorEstimate) ([]byte, *reflection, outcome) {
	addr := a.From.Addr()
	switch {
	case a.From.Port() == wire.Port, a.From.Port() == o.own:
		return dst, nil, looping // reflectors send from there
	case len(o.only) > 0 && !within(addr, o.only):
		return dst, nil, unknown
	case len(request) < wire.ShortRequestLen:
		return dst, nil, tooShort
	}
	// Where there is a key, whoever lacks it changes nothing of what is remembered
	// of the senders whose addresses he borrows.
	fresh := reflection{layout: o.layoutOf(request), stamp: o.stamp, est: est, echo: o.echo, ptp: o.ptp}
	q, what := fresh.read(request)
	switch {
	case what != reflected:
		return dst, nil, what
	case o.rate > 0 && !o.rates.get(addr).allow(a.At, o.rate):
		return dst, nil, tooMany
	}
	s := o.sources.get(source{a.From, q.SSID})
	if s.startsAgain(q.Seq, a.At) {
		s.reflection = reflection{}
	}
	s.latest, s.request = a.At, q.Seq
	s.layout, s.stamp, s.est, s.echo, s.ptp = fresh.layout, fresh.stamp, fresh.est, fresh.echo, fresh.ptp
	s.grows = within(addr, o.trusted)
	out, what := s.reply(dst, request, q, a, c.now())
	return out, &s.reflection, what
}

// overtaken and overtakenFor bound what a packet with the number 0 may have been
// overtaken by, or come again after, without being the first of a new session.
const (
	overtaken    = 1024
	overtakenFor = time.Second
)

// startsAgain reports whether a request is the first of another session than
// the one before it from the same port.
func (s *openSession) startsAgain(seq uint32, at time.Time) bool {
	silent := at.Sub(s.latest)
	return silent > forgetAfter || seq == 0 && (s.request >= overtaken || silent > overtakenFor)
}

// layoutOf tells STAMP from TWAMP Light.
func (o *openRules) layoutOf(request []byte) wire.Layout {
	switch {
	case o.stamp != nil:
		return wire.Layout{STAMP: true, Keyed: true}
	case wire.HasSSID(request):
		return wire.Layout{STAMP: true}
	}
	return wire.Layout{}
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	a = a.WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
