package diagnose

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A scene is a made-up run, second by second, from which a test departs.
type scene struct {
	begin   result.Begin
	notes   []result.Note
	seconds int
	// What each end counted in second n, from 1; nil when it is not known.
	sent, received func(n int) *result.View
	local, remote  func(n int) *float64 // CPU
	tcp            *result.TCPInfo      // the sender's, at the end
	round          func(n int) time.Duration
	latency        *result.Latency
	both           bool // the same happens the other way too
}

const payload = 1472

// udp is a download at a client: 8500 numbered packets a second of 1472 bytes,
// 102 Mbit/s with headers, none lost, the CPU of this end known.
func udp(changes ...func(*scene)) scene {
	s := scene{seconds: 10, received: numbered(8500, 0, 0), local: level(30)}
	s.begin = result.Begin{
		Head:      result.Head{Run: "r", Protocol: "btest", Role: result.Client},
		Transport: result.UDP, Direction: result.Down, Streams: 1, Size: payload,
		Peer: netip.MustParseAddrPort("192.0.2.1:2000"), Local: netip.MustParseAddrPort("192.0.2.9:40000"),
	}
	return s.with(changes)
}

// udpUp is an upload at a client: 8500 packets a second are sent, and the far
// end tells how many it received, without knowing which are missing.
func udpUp(changes ...func(*scene)) scene {
	s := udp(up)
	s.sent = plain(8500)
	s.received = told(8500)
	return s.with(changes)
}

// tcp is an upload at a client: 100 Mbit/s, with the kernel's view of the
// sending connection, which was held up by nothing but the path.
func tcp(changes ...func(*scene)) scene {
	s := udp(up)
	s.begin.Transport = result.TCP
	s.sent = stream(100e6)
	s.received = nil
	s.tcp = &result.TCPInfo{RTT: 21 * time.Millisecond, MinRTT: 20 * time.Millisecond, MSS: 1448, Busy: 10 * time.Second, Congestion: "cubic"}
	s.round = func(int) time.Duration { return 20 * time.Millisecond }
	return s.with(changes)
}

func (s scene) with(changes []func(*scene)) scene {
	for _, c := range changes {
		c(&s)
	}
	return s
}

func up(s *scene)       { s.begin.Direction = result.Up }
func atServer(s *scene) { s.begin.Role = result.Server }
func bothWays(s *scene) { s.both = true; s.begin.Direction = result.Both }

func lasting(seconds int) func(*scene) { return func(s *scene) { s.seconds = seconds } }

func asking(down, up uint64) func(*scene) {
	return func(s *scene) { s.begin.DownRate, s.begin.UpRate = down, up }
}

func cpus(local, remote func(int) *float64) func(*scene) {
	return func(s *scene) { s.local, s.remote = local, remote }
}

// level is the same reading each second; a negative one is none.
func level(percent float64) func(int) *float64 {
	return func(int) *float64 {
		if percent < 0 {
			return nil
		}
		return &percent
	}
}

func sending(f func(int) *result.View) func(*scene)   { return func(s *scene) { s.sent = f } }
func receiving(f func(int) *result.View) func(*scene) { return func(s *scene) { s.received = f } }

// numbered is what a receiver counts each second: so many packets, so many lost
// and so many of these dropped by its own socket; negative drops are not known.
func numbered(packets, lost, dropped int) func(int) *result.View {
	return func(int) *result.View {
		v := datagrams(packets)
		v.Lost = result.Some(int64(lost))
		if dropped >= 0 {
			v.Dropped = result.Some(uint64(dropped))
		}
		v.LossRuns = &result.LossRuns{Count: uint64(lost), Longest: 1}
		return v
	}
}

// told is what a far end reports of what it received: no numbers, no drops.
func told(packets int) func(int) *result.View {
	return func(int) *result.View {
		v := datagrams(packets)
		v.Covered = time.Second
		return v
	}
}

// plain is what a sender counts.
func plain(packets int) func(int) *result.View {
	return func(int) *result.View { return datagrams(packets) }
}

// late is what a sender counts that leaves packets out.
func late(packets, skipped int) func(int) *result.View {
	return func(int) *result.View {
		v := datagrams(packets)
		v.Skipped = result.Some(uint64(skipped))
		v.ScheduleErr = result.Some(12 * time.Millisecond)
		return v
	}
}

// inTrains is like numbered, but what was dropped were whole trains.
func inTrains(packets, lost, drops, train int) func(int) *result.View {
	return func(n int) *result.View {
		v := numbered(packets, lost, drops)(n)
		v.LossRuns = &result.LossRuns{Count: uint64(drops), Longest: uint64(train)}
		return v
	}
}

func datagrams(n int) *result.View {
	return &result.View{
		Bytes:     uint64(n) * payload,
		WireBytes: result.Some(uint64(n) * (payload + 28)),
		Packets:   result.Some(uint64(n)),
	}
}

func stream(bps float64) func(int) *result.View {
	return func(int) *result.View { return &result.View{Bytes: uint64(bps / 8)} }
}

// kernel changes TCP's view of the sending connection.
func kernel(change func(*result.TCPInfo)) func(*scene) {
	return func(s *scene) {
		t := *s.tcp
		change(&t)
		s.tcp = &t
	}
}

// rounds is TCP's round trip each second.
func rounds(d time.Duration) func(*scene) {
	return func(s *scene) { s.round = func(int) time.Duration { return d } }
}

// probing is what a side probe measured, in milliseconds.
func probing(idle, idle90, loaded float64) func(*scene) {
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	return func(s *scene) {
		s.latency = &result.Latency{Method: "udp-echo",
			Idle:   &result.Delay{Count: 20, P50: ms(idle), P90: ms(idle90), Mean: ms(idle)},
			Loaded: &result.Delay{Count: 100, P50: ms(loaded), P90: ms(loaded), Mean: ms(loaded)}}
	}
}

// events are all that the engine would put.
func (s scene) events() []result.Event {
	var all []result.Event
	all = append(all, s.begin)
	for _, n := range s.notes {
		n.Run = s.begin.Run
		all = append(all, n)
	}
	directions := []result.Direction{s.begin.Direction}
	if s.both {
		directions = result.Both.Each()
	}
	end := result.End{Head: s.begin.Head, Elapsed: time.Duration(s.seconds) * time.Second, Latency: s.latency, Reason: result.ReasonDone}
	for _, d := range directions {
		var sent, received []result.View
		for n := 1; n <= s.seconds; n++ {
			i := result.Interval{Head: s.begin.Head, Seq: n, Direction: d, Stream: result.AllStreams,
				Start: time.Duration(n-1) * time.Second, End: time.Duration(n) * time.Second}
			if s.sent != nil {
				if i.Sent = s.sent(n); i.Sent != nil {
					if s.tcp != nil {
						info := *s.tcp
						info.RTT = s.round(n)
						i.Sent.TCP = &info
					}
					sent = append(sent, *i.Sent)
				}
			}
			if s.received != nil {
				if i.Received = s.received(n); i.Received != nil {
					received = append(received, *i.Received)
				}
			}
			if s.local != nil {
				i.CPU.Local = s.local(n)
			}
			if s.remote != nil {
				i.CPU.Remote = s.remote(n)
			}
			all = append(all, i)
		}
		total := &result.Total{Sent: sum(sent), Received: sum(received), Elapsed: end.Elapsed}
		if total.Sent != nil {
			total.Sent.TCP = s.tcp
		}
		if d == result.Down {
			end.Down = total
		} else {
			end.Up = total
		}
	}
	return append(all, end)
}

func sum(views []result.View) *result.View {
	if len(views) == 0 {
		return nil
	}
	v := result.Sum(views...)
	v.Covered *= time.Duration(len(views))
	return &v
}

// run is a Run that was told of all of s.
func (s scene) run() *Run {
	var r Run
	for _, e := range s.events() {
		r.Add(e)
	}
	return &r
}
