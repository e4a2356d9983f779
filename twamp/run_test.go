package twamp

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// reportsOf runs a Client or a Pinger and returns what each session found.
func reportsOf(ctx context.Context, m interface {
	measure(context.Context, *run) error
}) ([]*report, error) {
	r := newRun(Protocol, nil, 0)
	err := m.measure(ctx, r)
	var all []*report
	for _, s := range r.senders {
		all = append(all, s.report())
	}
	return all, err
}

// A book keeps events.
type book struct {
	mu     sync.Mutex
	events []result.Event
}

func (b *book) Put(e result.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// TestEvents: one Begin, intervals whose sum is the whole, notes, one End.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		here := network.Host(testnet.Link{Delay: 5 * time.Millisecond}, testnet.Link{}, "192.0.2.1")
		there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		stop := startServer(t, there, &Server{})
		time.AfterFunc(4*time.Second, func() { here.Down.Set(testnet.Link{Loss: testnet.Every(7)}) })
		var events book
		c := &Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket, Sessions: 2, Probe: Probe{Count: 1000, Interval: 10 * time.Millisecond}}
		if err := c.Run(t.Context(), &events); err != nil {
			t.Fatal(err)
		}
		stop()
		b, ok := events.events[0].(result.Begin)
		if !ok || b.Protocol != Protocol || b.Role != result.Sender || b.Streams != 2 || b.Size != 41 || b.Target != "192.0.2.2" || b.Login != "unauthenticated" {
			t.Errorf("begins with %+v", events.events[0])
		}
		e, ok := events.events[len(events.events)-1].(result.End)
		if !ok || e.Err != nil || e.Reason != result.ReasonDone || len(e.RoundTrips) != 2 || e.Run != b.Run {
			t.Fatalf("ends with %+v", events.events[len(events.events)-1])
		}
		var sum result.RoundTrips
		for _, event := range events.events {
			if i, ok := event.(result.Interval); ok && i.Stream == 0 {
				sum.Sent += i.RoundTrips.Sent
				sum.Replies += i.RoundTrips.Replies
				sum.Lost += i.RoundTrips.Lost
				if i.RoundTrips.Replies > 0 && i.RoundTrips.RTT.Delay.Count != i.RoundTrips.Replies {
					t.Errorf("interval %d: %+v", i.Seq, i.RoundTrips)
				}
			}
		}
		if all := e.RoundTrips[0]; sum.Sent != 1000 || sum.Lost != all.Lost || sum.Replies != all.Replies || all.Sent != 1000 || all.Lost == 0 || *all.LostHome+*all.LostEither != all.Lost || *all.LostEither > 1 {
			t.Errorf("intervals %+v, all %+v", sum, all)
		}
	})
}

// Nobody answers: that is an error, with a way out, and still ends with an End.
func TestNoReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		here := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1")
		var events book
		p := &Pinger{Addr: "192.0.2.2", ListenPacket: here.ListenPacket, Probe: Probe{Count: 3}}
		err := p.Run(t.Context(), &events)
		if result.CodeOf(err) != result.CodeUnreachable || result.HintOf(err) == "" || !strings.Contains(err.Error(), "192.0.2.2:862: no reply to 3 packets") {
			t.Errorf("%v, hint %q", err, result.HintOf(err))
		}
		e, ok := events.events[len(events.events)-1].(result.End)
		if !ok || e.Err != err || e.Reason != result.ReasonFailed || e.RoundTrips[0].Lost != 3 || e.RoundTrips[0].RTT != nil {
			t.Errorf("ends with %+v", e)
		}
	})
}

// TestStartTime: no packet leaves before the time that was asked for, also when
// the user gives up meanwhile; the server hears of the stop.
func TestStartTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop time.Duration
		sent uint64
	}{{"waits", time.Hour, 5}, {"interrupted", 10 * time.Second, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network testnet.Network
				here := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1")
				there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
				stop := startServer(t, there, &Server{})
				defer stop()
				ctx, cancel := context.WithTimeout(t.Context(), tt.stop)
				defer cancel()
				at := time.Now().Add(time.Minute)
				var first time.Time
				c := &Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket, StartTime: at,
					Probe: Probe{Count: 5, Record: func(s Sample) {
						if first.IsZero() {
							first = s.Sent
						}
					}}}
				var events book
				if err := c.Run(ctx, &events); err != nil {
					t.Fatal(err)
				}
				e := events.events[len(events.events)-1].(result.End)
				if e.RoundTrips[0].Sent != tt.sent || tt.sent > 0 && first.Before(at) {
					t.Errorf("%d sent, the first at %v, want %d from %v on", e.RoundTrips[0].Sent, first, tt.sent, at)
				}
			})
		})
	}
}

// Settings that no session can have are told before anything is sent.
func TestClientSettings(t *testing.T) {
	for name, c := range map[string]Client{
		"receiver ports past the last": {Sessions: 3, ReceiverPort: 65534},
		"source ports past the last":   {Sessions: 3, Probe: Probe{Source: netip.MustParseAddrPort("192.0.2.1:65534")}},
		"start too far ahead":          {StartTime: time.Now().Add(time.Hour)},
	} {
		c.Addr = "192.0.2.1"
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%s: it connects", name)
			return nil, net.ErrClosed
		}
		if err := c.Run(t.Context(), nil); result.CodeOf(err) != result.CodeUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A test that cannot be made has an End too, and no Begin.
func TestNothingToMeasure(t *testing.T) {
	var events book
	err := (&Pinger{Addr: "192.0.2.1", Probe: Probe{DSCP: 64}}).Run(t.Context(), &events)
	if result.ExitCode(err) != 2 || len(events.events) != 1 {
		t.Errorf("%v, %d events", err, len(events.events))
	}
}
