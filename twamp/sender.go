package twamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A sender is a Session-Sender: one session's packets out, and the replies in.
type sender struct {
	probe  Probe
	port   port
	to     netip.AddrPort
	layout wire.Layout
	ssid   uint16
	sid    wire.SID

	sealKeys, openKeys   *auth.Packets // TWAMP with keys; two, for the two directions run at once
	sealStamp, openStamp *auth.Stamp   // authenticated STAMP
	start                []byte        // the first octets of the padding, RFC 6038
	extensions           Extensions
	hmacAt               int       // where the HMAC TLV's value lies in a request; 0 if it has none
	out                  [1]parcel // being sent

	mu       sync.Mutex // guards what follows
	tally    tally
	told     told
	own      wire.ErrorEstimate
	foreign  uint64
	short    uint64
	badHMAC  uint64
	unsent   uint64 // the system refused them; counted as lost
	lateSent uint64
	lateness time.Duration

	stamped  bool   // ask for the kernel's stamp of each packet
	stamps   uint64 // that came
	counted  uint32 // number of the packet whose stamp is the first
	overruns uint64 // of our own buffer
}

// Whether a driver stamps what leaves is seen from the first packets: none of
// triedPackets stamped after triedTime means that it does not.
const (
	triedPackets = 16
	triedTime    = 50 * time.Millisecond
)

// lastReplies is how long a sender listens on when everything was answered, for
// duplicates of the last packets, and four times the longest round trip more.
const lastReplies = 10 * time.Millisecond

// interruptedWait is how long a sender that was stopped waits for replies.
const interruptedWait = 300 * time.Millisecond

// run sends all packets, or until ctx ends, and waits for the replies. Loss is a
// result, not an error: run fails only if it cannot go on measuring.
func (s *sender) run(ctx context.Context) error {
	s.tally.wait, s.tally.record, s.tally.far.ttl = s.probe.wait(), s.probe.Record, s.probe.TTL
	s.stamped = s.port.stamps(s.departed)
	sent, received := make(chan error, 1), make(chan error, 1)
	go func() { sent <- s.send(ctx) }()
	go func() { received <- s.receive() }()
	err := <-sent
	if err == nil {
		s.linger(ctx)
	}
	if e := s.port.setReadDeadline(longAgo); e != nil {
		s.port.close() // it cannot be woken in any other way
	}
	err = errors.Join(err, <-received)
	if n, ok := s.port.overruns(); ok {
		s.mu.Lock()
		s.overruns = n
		s.mu.Unlock()
	}
	return err
}

// departed takes the kernel's stamp of a packet.
func (s *sender) departed(n uint32, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamps++
	s.tally.departed(s.counted+n, at)
}

// report sums up a session that is over.
func (s *sender) report() *report {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.tally.finish(time.Now())
	r := s.tally.report(s.own)
	r.Pending, r.sid, r.LateSent, r.Lateness = pending, s.sid, s.lateSent, s.lateness
	s.told.report(r)
	if s.overruns > 0 {
		r.note("own_drops", fmt.Sprintf("%d times our own receive buffer was full: that many replies or more count as lost that the path did not lose; raise net.core.rmem_max", s.overruns))
	}
	r.Asked = float64(time.Second) / float64(s.probe.interval())
	r.Dropped["foreign"], r.Dropped["short"], r.Dropped["bad_hmac"], r.Dropped["unsent"] = s.foreign, s.short, s.badHMAC, s.unsent
	r.Dropped["own_buffer"] = s.overruns
	return r
}

// interval is what was found out since the call before.
func (s *sender) interval() result.RoundTrips {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.settle(time.Now())
	return s.tally.interval()
}

// size is how long the packets are.
func (s *sender) size() int { return len(s.packet()) }

// waiter waits as exactly as the port is real. It may lock the goroutine to its
// thread for good.
func (s *sender) waiter() *pace.Waiter {
	if isSystem(s.port) {
		runtime.LockOSThread()
		return pace.Precise()
	}
	return pace.NewWaiter()
}

func (s *sender) send(ctx context.Context) error {
	w := s.waiter()
	defer w.Close()
	buf := s.packet()
	all, ends := s.probe.count()
	plan := s.probe.newSchedule(time.Now())
	for n := 0; !ends || n < all; n++ {
		due := plan.tick()
		if !w.Until(ctx, due) {
			return nil
		}
		if err := s.sendOne(buf, due); err != nil {
			return err
		}
	}
	return nil
}

// packet makes the buffer that all packets are written into, with the padding:
// in STAMP a TLV, whose header is the least that can be added.
func (s *sender) packet() []byte {
	n, padding := s.layout.RequestLen(), s.probe.padding(s.layout)
	buf := make([]byte, n, n+padding)
	if s.layout.STAMP {
		buf, padding = s.layTLVs(buf, padding)
	}
	pad := make([]byte, padding)
	if !s.probe.Zeros {
		for i := range pad {
			pad[i] = byte(rand.Uint32())
		}
	}
	copy(pad, s.start)
	return append(buf, pad...)
}

// sendOne sends the packet that was due at the given time.
func (s *sender) sendOne(buf []byte, due time.Time) error {
	s.mu.Lock()
	if s.tally.next%64 == 0 {
		s.refresh()
	}
	now := readClock()
	if behind := now.Sub(due); behind > s.probe.interval()/10 {
		s.lateSent++
		s.lateness = max(s.lateness, behind)
	}
	est, stamp := s.own, s.stamped
	seq := s.tally.send(now) // before the write: the reply may be quick
	s.mu.Unlock()
	s.compose(buf, seq, now, est)
	s.out[0] = parcel{b: buf, to: s.to, class: s.probe.DSCP << 2, stamp: stamp}
	_, err := s.port.write(s.out[:])
	switch {
	case err == nil:
		return nil
	case sock.IsLoss(err):
		return s.notSent(seq)
	}
	return fmt.Errorf("%s: packet %d to %v: %w", Protocol, seq, s.to, err)
}

// notSent books a packet that the system refused to send.
func (s *sender) notSent(seq uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent++
	s.counted = seq + 1
	return s.port.recount()
}

// compose writes the fixed part of a packet into buf, and what protects it.
func (s *sender) compose(buf []byte, seq uint32, now time.Time, est wire.ErrorEstimate) {
	if s.probe.PTP {
		est = est.WithPTP()
	}
	wire.Request{Seq: seq, Sent: wire.Stamp(now, s.probe.PTP), Error: est, SSID: s.ssid}.Append(buf[:0], s.layout)
	if s.layout.STAMP && len(buf) > s.layout.RequestLen() {
		s.sealTLVs(buf, seq)
	}
	switch {
	case s.sealKeys != nil:
		s.sealKeys.SealRequest(buf)
	case s.layout.Keyed:
		s.sealStamp.Sign(buf)
	}
}

// refresh settles what is old and asks the clock how exact it is.
func (s *sender) refresh() {
	now := time.Now()
	s.tally.settle(now)
	s.own = clockEstimate()
	if s.stamps == 0 && s.tally.next >= triedPackets && now.Sub(s.tally.first) > triedTime {
		s.stamped = false
	}
}

// linger waits until every packet was answered or is lost.
func (s *sender) linger(ctx context.Context) {
	end := time.Now().Add(s.probe.wait())
	if ctx.Err() != nil {
		end = time.Now().Add(min(s.probe.wait(), interruptedWait))
	}
	var last time.Time // when nothing was outstanding for the first time
	for now := time.Now(); now.Before(end); now = time.Now() {
		s.mu.Lock()
		open := s.tally.outstanding(now)
		more := lastReplies + 4*s.tally.gross.delay.max
		s.mu.Unlock()
		switch {
		case open > 0:
			last = time.Time{}
		case last.IsZero():
			last = now
		case now.Sub(last) >= more:
			return
		}
		time.Sleep(min(10*time.Millisecond, end.Sub(now)))
	}
}

// receive takes replies until it is woken by a past deadline.
func (s *sender) receive() error {
	if isSystem(s.port) {
		runtime.LockOSThread() // reading may sleep on its thread
		defer runtime.UnlockOSThread()
	}
	in := newDatagrams(repliesAtOnce)
	for {
		n, err := s.port.read(in)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil && sock.IsLoss(err):
			continue
		case err != nil:
			return fmt.Errorf("%s: replies from %v: %w", Protocol, s.to, err)
		}
		for i := range in[:n] {
			s.take(in[i].octets(), in[i].arrival)
		}
	}
}

// repliesAtOnce is how many replies are read in one call at most.
const repliesAtOnce = 8

// newDatagrams makes room for n datagrams of any size.
func newDatagrams(n int) []datagram {
	ds := make([]datagram, n)
	for i := range ds {
		ds[i].room = make([]byte, wire.MaxPacketLen+1)
	}
	return ds
}

// take opens one datagram and books it.
func (s *sender) take(b []byte, a arrival) {
	p, err := s.openReply(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case a.From != s.to:
		s.foreign++
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.short++
	case err != nil:
		s.badHMAC++
	case s.layout.STAMP && p.SSID != s.ssid && p.SSID != 0: // TWAMP Light sends none
		s.foreign++
	default:
		if s.layout.STAMP && len(b) > s.layout.ReplyLen() {
			s.tally.follow(s.readTLVs(b, p), p.Error.PTP())
		}
		s.tally.reply(p, a)
	}
}

// openReply decrypts, checks and parses a reply.
func (s *sender) openReply(b []byte) (wire.Reply, error) {
	p, err := wire.ParseReply(b, s.layout)
	if err != nil {
		return p, err
	}
	switch {
	case s.openKeys != nil:
		if err := s.openKeys.OpenReply(b); err != nil {
			return p, err
		}
		return wire.ParseReply(b, s.layout)
	case s.layout.Keyed:
		if err := s.openStamp.Check(b); err != nil {
			return p, err
		}
	}
	return p, nil
}
