package cli

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
	"github.com/sonde-net/sonde/twamp/wire"
)

// reflectTime is how long a host has to send one of two STAMP packets back.
const reflectTime = time.Second

// A reflection is what a host answers to packets that come back.
type reflection struct {
	protocol string // "" if it answers none
	run      func(context.Context, result.Sink) error
}

// text says what was found, for a person.
func (r reflection) text() string {
	if r.protocol == "" {
		return ""
	}
	return fmt.Sprintf(", %s (port %d): answers", r.protocol, wire.Port)
}

// reflection finds out whether the host has a TWAMP server or a STAMP reflector;
// a server that asks for a key comes last.
func (t *trial) reflection(ctx context.Context) reflection {
	target := net.JoinHostPort(t.host, strconv.Itoa(wire.Port))
	var modes wire.Mode
	var stamp bool
	var wg sync.WaitGroup
	wg.Go(func() { modes = twampModes(ctx, t.dial(), t.network, target) })
	wg.Go(func() { stamp = t.pinger(target, 2, reflectTime).Run(ctx, nil) == nil })
	wg.Wait()
	switch {
	case modes.Has(wire.Unauthenticated), modes != 0 && !stamp:
		return reflection{twamp.Protocol, t.twampClient(target).Run}
	case stamp:
		return reflection{twamp.StampProtocol, t.pinger(target, 50, 2*time.Second).Run}
	}
	return reflection{}
}

// twampModes are the modes that a TWAMP server greets with; 0 if there is none.
func twampModes(ctx context.Context, dial dialFunc, network, address string) wire.Mode {
	b, err := greetingOf(ctx, dial, network, address, greetTime)
	if err != nil || len(b) < wire.ServerGreetingLen {
		return 0
	}
	g, err := wire.ParseServerGreeting(b)
	if err != nil {
		return 0
	}
	return g.Modes & wire.AnySecurity
}

// packets is a short probe.
func (t *trial) packets(count int, wait time.Duration) twamp.Probe {
	p := twamp.Probe{Count: count, Interval: 20 * time.Millisecond, Wait: wait}
	if t.from.addr.IsValid() {
		p.Source = netip.AddrPortFrom(t.from.addr, 0)
	}
	return p
}

func (t *trial) pinger(target string, count int, wait time.Duration) *twamp.Pinger {
	_, listen := t.from.dialer()
	return &twamp.Pinger{
		Addr: target, Probe: t.packets(count, wait), Network: udpOf(t.network),
		ListenPacket: twamp.ListenPacketFunc(listen), Log: t.output.logger(),
	}
}

func (t *trial) twampClient(target string) *twamp.Client {
	dial, listen := t.from.dialer()
	return &twamp.Client{
		Addr: target, Probe: t.packets(50, 2*time.Second), Network: t.network,
		Dial: twamp.DialFunc(dial), ListenPacket: twamp.ListenPacketFunc(listen), Log: t.output.logger(),
	}
}

// roundTrips tests with what the host reflects, where it has no server for
// throughput.
func (t *trial) roundTrips(ctx context.Context, r reflection, sink result.Sink) error {
	t.output.say("%s: no server for throughput%s\n", t.host, r.text())
	t.output.say("testing by %s: 50 round trips\n", r.protocol)
	return interruptedTest(ctx, judged(sink), r.run)
}
