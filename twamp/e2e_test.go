package twamp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// testKeys is the key file of the recordings.
func testKeys(tb testing.TB) auth.Keys {
	tb.Helper()
	k, err := auth.ParseKeys([]byte("sondekey correct horse battery staple\n"))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// serve runs s on a free port of the loopback address and returns where.
func serve(t *testing.T, s *Server, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no listener on %s: %v", host, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// TestMatrix runs every mode over both IP versions with every padding and with
// and without symmetrical packets.
func TestMatrix(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		addr := serve(t, &Server{Keys: testKeys(t)}, host)
		for _, mode := range []wire.Mode{wire.Unauthenticated, wire.Authenticated, wire.Encrypted, wire.Mixed} {
			for _, padding := range []int{-1, 27, 64, 1400} {
				for _, features := range []wire.Mode{0, wire.Symmetrical, wire.AllFeatures &^ wire.Symmetrical, wire.AllFeatures} {
					t.Run(fmt.Sprintf("%s/%v/%d", host, mode|features, padding), func(t *testing.T) {
						t.Parallel()
						c := &Client{Addr: addr, Mode: mode, Features: features, KeyID: "sondekey",
							Secret: auth.NewSecret("correct horse battery staple"), Sessions: 2,
							Probe: Probe{Count: 5, Interval: time.Millisecond, Padding: padding, DSCP: 46, Wait: 20 * time.Second}}
						reports, err := reportsOf(t.Context(), c)
						if err != nil {
							t.Fatal(err)
						}
						if len(reports) != 2 {
							t.Fatalf("%d reports", len(reports))
						}
						for _, r := range reports {
							if r.Sent != 5 || r.Replies != 5 || r.Lost != 0 || r.RTT == nil || r.RTT.Delay.Count != 5 || *r.LostOut != 0 {
								t.Errorf("%+v", r)
							}
							for why, n := range r.Dropped {
								if n != 0 {
									t.Errorf("%d dropped as %s", n, why)
								}
							}
						}
					})
				}
			}
		}
	}
}

// The example of the README of twamp-rs, whose own sample has a jitter of 0.00
// although its round trips vary: 100 packets over loopback, none lost.
func TestLoopbackExample(t *testing.T) {
	addr := serve(t, &Server{}, "127.0.0.1")
	all, err := reportsOf(t.Context(), &Client{Addr: addr, Probe: Probe{Count: 100, Interval: 2 * time.Millisecond, Wait: 20 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	r := all[0]
	if r.Sent != 100 || r.Replies != 100 || r.Lost != 0 || *r.LostOut != 0 || *r.LostHome != 0 {
		t.Errorf("%+v", r.RoundTrips)
	}
	d := r.RTT.Delay
	if d.Min <= 0 || d.Min > d.P50 || d.P50 > d.Max {
		t.Errorf("RTT %+v", d)
	}
	if d.Min != d.Max && (r.RTT.Jitter == nil || *r.RTT.Jitter == 0 || r.RTT.IPDV.MeanAbs == 0) {
		t.Errorf("RTT from %v to %v without jitter: %+v", d.Min, d.Max, r.RTT)
	}
}

// reflect runs r on a free port and returns where.
func startReflector(t *testing.T, r *Reflector) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c.LocalAddr().String()
}

func TestPinger(t *testing.T) {
	key := auth.NewSecret("stamp secret")
	for _, tt := range []struct {
		name      string
		reflector *Reflector
		pinger    Pinger
		replies   uint64
	}{
		{"STAMP", &Reflector{}, Pinger{SSID: 7}, 20},
		{"STAMP padded", &Reflector{}, Pinger{Probe: Probe{Padding: 500}}, 20},
		{"STAMP, no count", &Reflector{Echo: true, PTP: true}, Pinger{}, 20},
		{"STAMP PTP", &Reflector{}, Pinger{Probe: Probe{PTP: true}}, 20},
		{"STAMP authenticated", &Reflector{Key: key}, Pinger{Key: key, Probe: Probe{Padding: 30}}, 20},
		{"STAMP wrong key", &Reflector{Key: key}, Pinger{Key: auth.NewSecret("other")}, 0},
		{"three workers", &Reflector{Workers: 3}, Pinger{}, 20},
		{"corrected, apart", &Reflector{Correct: true, Apart: true}, Pinger{}, 20},
		{"Light", &Reflector{}, Pinger{Light: true}, 20},
		{"Light too short", &Reflector{}, Pinger{Light: true, Probe: Probe{Padding: -1}}, 0},
		{"Light trusted", &Reflector{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Pinger{Light: true, Probe: Probe{Padding: -1}}, 20},
		{"not admitted", &Reflector{Only: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, Pinger{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.pinger
			p.Addr = startReflector(t, tt.reflector)
			p.Count, p.Interval, p.Wait = 20, time.Millisecond, 20*time.Second
			if tt.replies == 0 {
				p.Wait = 100 * time.Millisecond // which nothing depends on
			}
			all, err := reportsOf(t.Context(), &p)
			if err != nil {
				t.Fatal(err)
			}
			r := all[0]
			if r.Sent != 20 || r.Replies != tt.replies || r.Lost != 20-tt.replies {
				t.Fatalf("sent %d, %d replies, %d lost, %d late; dropped %v; reflector %v", r.Sent, r.Replies, r.Lost, r.Late, r.Dropped, tt.reflector.Counts())
			}
			if tt.replies > 0 {
				t.Logf("rtt %+v, clock %+v", r.RTT.Delay, *r.Clock)
			}
		})
	}
}

// Everything that STAMP can ask for, with and without keys.
func TestExtensions(t *testing.T) {
	for _, key := range []auth.Secret{{}, auth.NewSecret("stamp secret")} {
		p := Pinger{
			Addr: startReflector(t, &Reflector{Key: key}), Key: key, SSID: 3,
			Extensions: Extensions{Class: true, Clock: true, Location: true, FollowUp: true, Direct: true, Access: &wire.AccessReport{ID: 1, Code: 1}},
			Probe:      Probe{Count: 20, Interval: time.Millisecond, DSCP: 34, Padding: 100, Wait: 20 * time.Second},
		}
		all, err := reportsOf(t.Context(), &p)
		if err != nil {
			t.Fatal(err)
		}
		r := all[0]
		if r.Replies != 20 || r.Lost != 0 || r.RTT.Delay.Count != 20 {
			t.Errorf("%+v", r)
		}
		for _, m := range r.remarks {
			t.Errorf("remark %+v", m)
		}
		if r.clock == nil || r.clock.MethodIn != wire.SoftwareLocal {
			t.Errorf("clock %+v", r.clock)
		}
		if r.direct == nil || r.direct.SenderTransmitted != 20 || r.direct.ReflectorReceived != 20 || r.direct.ReflectorTransmitted != 19 {
			t.Errorf("direct measurement %+v", r.direct)
		}
		if r.seenFrom.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("seen from %v", r.seenFrom)
		}
		if runtime.GOOS == "linux" {
			if r.followUps == 0 { // on a busy machine some come too late
				t.Error("no reply told when the one before left")
			}
			if *r.MarkingOut != (result.Marking{DSCP: 34}) || *r.MarkingHome != (result.Marking{DSCP: 34}) || *r.HopsOut != (result.Hops{}) || r.Stamps != "kernel-rx-tx" || r.seenAt.Addr() != r.seenFrom.Addr() {
				t.Errorf("class %+v and %+v, hops %+v, T4 by %s, seen at %v", r.MarkingOut, r.MarkingHome, r.HopsOut, r.Stamps, r.seenAt)
			}
		}
	}
}

// A reflector for both IP versions answers each from the address that was
// asked, with its TTL and class.
func TestBothVersions(t *testing.T) {
	c, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&Reflector{}).Serve(ctx, c) }()
	port := sock.AddrPort(c.LocalAddr()).Port()
	for _, host := range []string{"127.0.0.1", "127.0.0.5", "::1"} {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			t.Logf("%s is not to be had: %v", host, err)
			continue
		} else {
			l.Close()
		}
		p := Pinger{Addr: net.JoinHostPort(host, fmt.Sprint(port)), Probe: Probe{Count: 5, Interval: time.Millisecond, DSCP: 46, Wait: 20 * time.Second}}
		all, err := reportsOf(t.Context(), &p)
		if err != nil {
			t.Fatal(err)
		}
		r := all[0]
		if r.Replies != 5 || r.Dropped["foreign"] != 0 {
			t.Errorf("%s: %d replies, dropped %v", host, r.Replies, r.Dropped)
		}
		if runtime.GOOS == "linux" && (r.MarkingHome == nil || r.MarkingHome.DSCP != 46 || r.HopsHome == nil || r.HopsHome.Max != 0 || r.Stamps != "kernel-rx-tx") {
			t.Errorf("%s: %+v, %+v, stamps %s", host, r.MarkingHome, r.HopsHome, r.Stamps)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
