package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// alternating is a in odd seconds and b in even ones.
func alternating(a, b func(int) *result.View) func(int) *result.View {
	return func(n int) *result.View {
		if n%2 == 1 {
			return a(n)
		}
		return b(n)
	}
}

func note(code, text string) func(*scene) {
	return func(s *scene) { s.notes = append(s.notes, result.Note{Code: code, Text: text}) }
}

func stalling(f func(int) *result.View, each time.Duration) func(int) *result.View {
	return func(n int) *result.View {
		v := f(n)
		v.Stalled = &each
		return v
	}
}

func loopback(s *scene) {
	s.begin.Peer, s.begin.Local = netip.MustParseAddrPort("127.0.0.1:2000"), netip.MustParseAddrPort("127.0.0.1:40000")
}

// wasted is a connection that sent the share again over a path of 40 ms, on
// which TCP then carries about 1.4 Mbit/s at 1 %.
func wasted(share float64, bps float64) func(*scene) {
	return func(s *scene) {
		s.sent = stream(bps)
		s.tcp = &result.TCPInfo{RTT: 40 * time.Millisecond, MinRTT: 40 * time.Millisecond, MSS: 1448,
			Busy: 10 * time.Second, Retransmits: uint64(share * bps * 10 / 8 / 1448), Congestion: "cubic"}
		s.round = func(int) time.Duration { return 40 * time.Millisecond }
	}
}

// Each limit as it should be named, each followed by near misses, which are to
// stay unknown or to get the name that is left.
var scenes = []struct {
	name string
	scene
	want string
}{
	{"UDP download and nothing at its limit", udp(), Unknown},
	{"UDP upload and nothing at its limit", udpUp(), Unknown},
	{"TCP and nothing at its limit", tcp(), Unknown},

	{"target reached", udp(asking(102e6, 0)), OwnRateLimit},
	{"target reached, upload", udpUp(asking(0, 102e6)), OwnRateLimit},
	{"target reached with some loss", udp(asking(104e6, 0), receiving(numbered(8500, 170, 0))), OwnRateLimit},
	{"target reached and CPU full", udp(asking(102e6, 0), cpus(level(99), nil)), OwnRateLimit},
	{"target reached, TCP after a ramp-up", tcp(asking(0, 100e6), sending(func(n int) *result.View {
		return stream(min(float64(n)*30e6, 100e6))(n)
	})), OwnRateLimit},
	{"target reached in a short test", udp(asking(102e6, 0), lasting(1)), OwnRateLimit},
	{"target reached, at the server that sends", udp(atServer, asking(102e6, 0), sending(plain(8500))), OwnRateLimit},
	{"target missed by 6 %", udp(asking(108e6, 0)), Unknown},
	{"target passed by 10 %: nobody held it", udp(asking(92e6, 0)), Unknown},
	{"target of the other direction", udp(asking(0, 102e6)), Unknown},
	{"target sent, but a tenth did not come", udpUp(asking(0, 102e6), receiving(told(7650))), Unknown},

	{"target of the client, seen by the server", udp(atServer, up, asking(0, 102e6)), PeerRateLimit},
	{"limit told by the far end", udp(note(NotePeerRateLimit, "this account has 100 Mbit/s")), PeerRateLimit},
	{"limit told, but much is lost", udp(note(NotePeerRateLimit, "100 Mbit/s"), receiving(numbered(8500, 900, 0))), PathLoss},
	{"another note", udp(note("no_datagrams", "100 Mbit/s")), Unknown},

	{"one second", udp(lasting(1)), TooShort},
	{"one second, CPU full", udp(lasting(1), cpus(level(99), nil)), TooShort},
	{"rising to the end", tcp(sending(func(n int) *result.View { return stream(float64(n) * 10e6)(n) })), TooShort},
	{"three seconds", udp(lasting(3)), Unknown},

	{"our socket buffer overflows", udp(receiving(numbered(8500, 900, 900))), ReceiverDrops},
	{"our socket buffer overflows, CPU full", udp(receiving(numbered(8500, 900, 900)), cpus(level(99), nil)), ReceiverDrops},
	{"our socket buffer has no room for trains", udp(receiving(inTrains(8500, 900, 20, 45))), ReceiverDrops},
	{"trains too short for what is missing", udp(receiving(inTrains(8500, 900, 2, 45))), PathLoss},
	{"few drops, and as many long gaps of the path", udp(receiving(inTrains(8500, 8500, 6, 9000))), PathLoss},
	{"a few drops", udp(receiving(numbered(8500, 40, 40))), Unknown},
	{"drops are the smaller part of the loss", udp(receiving(numbered(8500, 1700, 300))), PathLoss},

	{"CPU here", udp(cpus(level(98), level(40))), CPULocal},
	{"CPU here, TCP held by the window of the far end", tcp(cpus(level(98), level(40)),
		kernel(func(t *result.TCPInfo) { t.RwndLimited = 8 * time.Second })), CPULocal},
	{"CPU here, and the round trip rose a little", tcp(cpus(level(98), nil), rounds(35*time.Millisecond)), CPULocal},
	{"CPU here, and a long queue: either could be it", tcp(cpus(level(98), nil), rounds(90*time.Millisecond)), Unknown},
	{"CPU there", udp(cpus(level(40), level(98))), CPURemote},
	{"CPU there, not told here", udp(cpus(nil, level(98))), CPURemote},
	{"CPU of both, most there", udp(cpus(level(96), level(99))), CPURemote},
	{"CPU of both, most here", udp(cpus(level(99), level(96))), CPULocal},
	{"both ends on one machine", udp(loopback, cpus(level(97), level(99))), CPULocal},
	{"CPU there, most of the time", udp(cpus(nil, func(n int) *float64 { return result.Some(float64(90 + n)) })), CPURemote},
	{"CPU at 94 %", udp(cpus(level(94), level(94))), Unknown},
	{"CPU full half of the time", udp(cpus(func(n int) *float64 { return result.Some(float64(n % 2 * 100)) }, nil)), Unknown},
	{"CPU full in one second", udp(cpus(func(n int) *float64 {
		if n == 5 {
			return result.Some(100.0)
		}
		return result.Some(20.0)
	}, nil)), Unknown},
	{"CPU told only twice", udp(cpus(nil, func(n int) *float64 {
		if n < 3 {
			return result.Some(100.0)
		}
		return nil
	})), Unknown},

	{"receive window", tcp(kernel(func(t *result.TCPInfo) { t.RwndLimited = 8 * time.Second })), ReceiveWindow},
	{"receive window, four connections", tcp(func(s *scene) { s.begin.Streams = 4 },
		kernel(func(t *result.TCPInfo) { t.Busy, t.RwndLimited = 40*time.Second, 30*time.Second })), ReceiveWindow},
	{"receive window for less than half", tcp(kernel(func(t *result.TCPInfo) { t.RwndLimited = 4 * time.Second })), Unknown},
	{"receive window, but TCP hardly sent", tcp(kernel(func(t *result.TCPInfo) { t.Busy, t.RwndLimited = 2*time.Second, 2*time.Second })), Unknown},
	{"receive window open far enough to fill the path", tcp(rounds(80*time.Millisecond),
		kernel(func(t *result.TCPInfo) { t.RwndLimited = 9 * time.Second })), PathFull},

	{"send buffer", tcp(kernel(func(t *result.TCPInfo) { t.SndbufLimited = 6 * time.Second })), SendBuffer},
	{"send buffer more than window", tcp(kernel(func(t *result.TCPInfo) { t.SndbufLimited, t.RwndLimited = 5500*time.Millisecond, 4*time.Second })), SendBuffer},
	{"send buffer for less than half", tcp(kernel(func(t *result.TCPInfo) { t.SndbufLimited = 4 * time.Second })), Unknown},

	{"TCP's round trip stands high", tcp(rounds(80 * time.Millisecond)), PathFull},
	{"the side probe waits", udp(probing(20, 22, 120)), PathFull},
	{"the side probe waits, TCP download", tcp(func(s *scene) {
		s.begin.Direction, s.sent, s.received, s.tcp = result.Down, nil, stream(100e6), nil
	}, probing(20, 22, 120)), PathFull},
	{"a short queue, a steady rate, both CPUs calm", tcp(rounds(45*time.Millisecond), cpus(level(20), level(20)),
		kernel(func(t *result.TCPInfo) { t.MinRTT = 44 * time.Millisecond })), Unknown},
	{"a queue of 4 ms on a path of 1 ms, both CPUs calm", tcp(rounds(5*time.Millisecond), cpus(level(20), level(20)),
		kernel(func(t *result.TCPInfo) { t.MinRTT = time.Millisecond })), PathFull},
	{"the same, the far CPU not told", tcp(rounds(5*time.Millisecond), cpus(level(20), nil),
		kernel(func(t *result.TCPInfo) { t.MinRTT = time.Millisecond })), Unknown},
	{"the same, the rate varies", tcp(rounds(5*time.Millisecond), cpus(level(20), level(20)),
		kernel(func(t *result.TCPInfo) { t.MinRTT = time.Millisecond }), sending(alternating(stream(70e6), stream(130e6)))), Unknown},
	{"the side probe waits, no longer than it does idle", udp(probing(20, 40, 55)), Unknown},
	{"the side probe waits 6 ms more", udp(probing(20, 21, 26)), Unknown},
	{"few probes", udp(probing(20, 22, 120), func(s *scene) { s.latency.Loaded.Count = 4 }), Unknown},
	{"more is sent and no more comes", udpUp(sending(alternating(plain(10000), plain(12000))), receiving(told(8500)), cpus(level(30), level(30))), PathFull},
	{"more is sent and no more comes, by the numbers", udp(receiving(alternating(numbered(8500, 1500, 0), numbered(8500, 3500, 0)))), PathFull},
	{"more is sent at first, as an adaptive sender does", udpUp(cpus(level(30), level(30)), receiving(told(8500)), sending(func(n int) *result.View {
		return plain([]int{8500, 34000, 14000, 10600}[min(n, 4)-1])(n)
	})), PathFull},
	{"more is sent, and a CPU is full", udp(receiving(alternating(numbered(8500, 1500, 0), numbered(8500, 3500, 0))), cpus(level(98), nil)), CPULocal},
	{"more is sent, and the receiver drops it", udp(receiving(alternating(numbered(8500, 1500, 1400), numbered(8500, 3500, 3300)))), ReceiverDrops},
	{"more is sent, and the receiver drops a part", udp(receiving(alternating(numbered(8500, 1500, 300), numbered(8500, 3500, 300)))), PathLoss},
	{"the same is sent all the time", udp(receiving(numbered(8500, 1500, 0))), PathLoss},
	{"more is sent and more comes", udp(receiving(alternating(numbered(8500, 1500, 0), numbered(10200, 1800, 0)))), PathLoss},
	{"our interface takes no more", udpUp(sending(stalling(plain(8500), 700*time.Millisecond))), PathFull},
	{"our interface makes us wait a little", udpUp(sending(stalling(plain(8500), 200*time.Millisecond))), Unknown},
	{"target missed because our interface takes no more", udpUp(asking(0, 200e6), sending(stalling(late(8500, 5000), 900*time.Millisecond))), PathFull},

	{"a tenth of the packets lost", udp(receiving(numbered(8500, 900, 0))), PathLoss},
	{"a tenth lost, drops not known, CPU calm", udp(receiving(numbered(8500, 900, -1))), PathLoss},
	{"a tenth lost, by two counts", udpUp(receiving(told(7650)), cpus(level(30), level(30))), PathLoss},
	{"a tenth lost, drops and CPU not known", udp(receiving(numbered(8500, 900, -1)), cpus(nil, nil)), Unknown},
	{"a tenth lost, far CPU not known", udpUp(receiving(told(7650))), Unknown},
	{"3 % lost", udp(receiving(numbered(8500, 260, 0))), Unknown},
	{"a tenth lost and a queue", udp(receiving(numbered(8500, 900, 0)), probing(20, 22, 120)), PathFull},
	{"TCP sends 1 % again", tcp(wasted(0.01, 5e6)), PathLoss},
	{"TCP sends 1 % again, and is faster by far than that allows", tcp(wasted(0.01, 5e6), func(s *scene) { s.tcp.RTT /= 100 }), Unknown},
	{"TCP sends 2 % again at a very short round trip: it waits for time-outs", tcp(wasted(0.02, 50e6), rounds(300*time.Microsecond), func(s *scene) {
		s.tcp.RTT, s.tcp.MinRTT = 300*time.Microsecond, 300*time.Microsecond
	}), PathLoss},
	{"TCP sends 0.2 % again at a very short round trip", tcp(wasted(0.002, 900e6), rounds(200*time.Microsecond), func(s *scene) {
		s.tcp.RTT, s.tcp.MinRTT = 50*time.Microsecond, 50*time.Microsecond
	}), Unknown},
	{"TCP sends 0.05 % again", tcp(wasted(0.0005, 20e6)), Unknown},
	{"TCP sends 1 % again, and a queue", tcp(wasted(0.01, 5e6), rounds(90*time.Millisecond)), PathFull},
	{"BBR sends 1 % again", tcp(wasted(0.01, 5e6), func(s *scene) { s.tcp.Congestion = "bbr" }), Unknown},
	{"TCP sends 3 % again, and the CPU is full", tcp(wasted(0.03, 5e6), cpus(level(98), nil)), Unknown},

	{"the sender is late", udpUp(asking(0, 200e6), sending(late(8500, 5000))), PacingLate},
	{"the sender is late, CPU full", udpUp(asking(0, 200e6), sending(late(8500, 5000)), cpus(level(98), nil)), CPULocal},
	{"the sender leaves a few out", udpUp(asking(0, 200e6), sending(late(8500, 40))), Unknown},
	{"no target, so nothing is late", udpUp(sending(late(8500, 5000))), Unknown},

	{"all comes and nothing waits", udp(probing(20, 22, 20.2)), PeerSlow},
	{"all comes, for four seconds", udp(probing(20, 22, 20.2), lasting(4)), Unknown},
	{"all comes, and more each second", udp(probing(20, 22, 20.2), lasting(4), receiving(func(n int) *result.View {
		return numbered(1000<<(2*n), 0, 0)(n)
	})), TooShort},
	{"all comes, far from the target", udp(asking(500e6, 0), probing(20, 22, 20.2)), PeerSlow},
	{"all comes, the far CPU is full", udp(probing(20, 22, 20.2), cpus(nil, level(98))), CPURemote},
	{"all comes, delay unknown", udp(asking(500e6, 0)), Unknown},
	{"all comes, but most probes are lost", udp(probing(20, 22, 20.2), func(s *scene) { s.latency.Lost = 200 }), Unknown},
	{"all comes, a little delay", udp(probing(20, 22, 22)), Unknown},
	{"1 % lost and nothing waits", udp(probing(20, 22, 20.2), receiving(numbered(8500, 85, 0))), Unknown},
	{"we send", udpUp(probing(20, 22, 20.2)), Unknown},

	{"no data at all", udp(receiving(numbered(0, 0, 0))), Unknown},
	{"both ways, a queue", tcp(bothWays, rounds(80*time.Millisecond)), PathFull},
	{"both ways, one at its target", udp(bothWays, asking(102e6, 0)), OwnRateLimit},
	{"both ways, CPU there", udp(bothWays, cpus(nil, level(99))), CPURemote},
}

func TestWhy(t *testing.T) {
	for _, tt := range scenes {
		t.Run(tt.name, func(t *testing.T) {
			why := Why(tt.run())
			if why == nil {
				t.Fatal("nil")
			}
			if why.Limit != tt.want {
				t.Errorf("%s, want %s: %s\n%s", why.Limit, tt.want, why.Text, strings.Join(why.Evidence, "\n"))
			}
			if why.Text == "" || why.Try == "" || strings.Contains(why.Text, "\n") {
				t.Errorf("text %q, try %q", why.Text, why.Try)
			}
			if why.Limit != Unknown && len(why.Evidence) == 0 {
				t.Errorf("%s without evidence", why.Limit)
			}
		})
	}
}

// TestWhyNamesAll makes sure that each limit of the table is named by a scene,
// and that each explains only what stands in the table.
func TestWhyNamesAll(t *testing.T) {
	var words []string
	for _, c := range causes {
		words = append(words, c.word)
	}
	for _, c := range causes {
		if !slices.ContainsFunc(scenes, func(s struct {
			name string
			scene
			want string
		}) bool {
			return s.want == c.word
		}) {
			t.Errorf("no scene is named %s", c.word)
		}
		for _, e := range c.explains {
			if e == c.word || !slices.Contains(words, e) {
				t.Errorf("%s explains %s", c.word, e)
			}
		}
	}
}

func TestWhyText(t *testing.T) {
	why := Why(udp(cpus(level(40), level(98))).run())
	if want := "the CPU of the far end is the limit (98 %), not the link"; why.Text != want {
		t.Errorf("%q, want %q", why.Text, want)
	}
	if !strings.Contains(why.Try, "measure through it, not to it") {
		t.Errorf("try %q", why.Try)
	}
	why = Why(udp(bothWays, asking(102e6, 0)).run())
	if !strings.HasPrefix(why.Text, "download: the rate limit") || !strings.Contains(why.Text, "; upload: not known") {
		t.Errorf("of two directions: %q", why.Text)
	}
	why = Why(tcp(cpus(level(98), nil), rounds(90*time.Millisecond)).run())
	if !strings.Contains(why.Text, "cpu_local and path_full") || len(why.Evidence) != 2 {
		t.Errorf("of two limits: %q, %q", why.Text, why.Evidence)
	}
	why = Why(tcp().run())
	if len(why.Evidence) < 4 {
		t.Errorf("unknown tells too little of what it saw: %q", why.Evidence)
	}
}

// TestWhyOfNothing: a run that failed before any data has no rate to explain.
func TestWhyOfNothing(t *testing.T) {
	var r Run
	if why := Why(&r); why != nil {
		t.Errorf("without an End: %+v", why)
	}
	r.Add(result.End{Reason: result.ReasonFailed})
	if why := Why(&r); why != nil {
		t.Errorf("without totals: %+v", why)
	}
}
