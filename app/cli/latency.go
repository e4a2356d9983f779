package cli

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/result"
)

// lookUpTime is how long a target's address is looked for, to be probed.
const lookUpTime = 700 * time.Millisecond

// A beside probes round trips beside a test whose protocol has no probes of its
// own: by ICMP echoes, which take no place at the server.
type beside struct {
	network string // "tcp", "tcp4" or "tcp6"
	from    netip.Addr
	log     *slog.Logger
}

// run runs a test against the target and puts what its path's round trips took,
// idle and under load, into its results. Where echoes do not come back the test
// runs without.
func (b beside) run(ctx context.Context, target string, sink result.Sink, run func(context.Context, result.Sink) error) error {
	w, err := b.watch(ctx, target)
	if err != nil {
		b.log.Debug("latency is not probed", "err", err)
		return run(ctx, sink)
	}
	defer w.Close()
	s := &probed{next: sink, watch: w}
	s.ctx, s.stop = context.WithCancel(ctx)
	defer s.end()
	return run(ctx, s)
}

// watch probes the idle path to the target; an error without echoes.
func (b beside) watch(ctx context.Context, target string) (*rtt.Watch, error) {
	look, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	to, err := lookUp(look, b.network, hostOf(target))
	if err != nil {
		return nil, err
	}
	return rtt.Begin(ctx, b.from, netip.AddrPortFrom(to, 0), nil) // without a port only echoes are left
}

// probed is the sink of a test with probes beside it.
type probed struct {
	next  result.Sink
	watch *rtt.Watch
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// end ends the probes.
func (s *probed) end() {
	s.stop()
	s.wg.Wait()
}

// Put implements result.Sink.
func (s *probed) Put(e result.Event) {
	switch e := e.(type) {
	case result.Begin:
		s.watch.Loaded()
		e.Idle = s.watch.IdleDelay()
		s.wg.Go(func() { s.watch.Run(s.ctx) })
		s.next.Put(e)
	case result.Interval:
		if e.Stream == result.AllStreams && e.RTT == nil {
			e.RTT = s.watch.Interval()
		}
		s.next.Put(e)
	case result.End:
		s.end()
		if e.Latency == nil && e.Elapsed > 0 {
			e.Latency = s.watch.Latency()
		}
		s.next.Put(e)
	default:
		s.next.Put(e)
	}
}

// hostOf is a target without its port.
func hostOf(target string) string {
	if host, _, err := net.SplitHostPort(target); err == nil {
		return host
	}
	return strings.Trim(target, "[]")
}

// lookUp is the first address of a host in the family of a network.
func lookUp(ctx context.Context, network, host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), nil
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, strings.Replace(network, "tcp", "ip", 1), host)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0].Unmap(), nil
}
