package twamp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/twamp/wire"
)

// The benchmarks here measure how exact and how fast the two ends are:
//
//	go test -run '^$' -bench 'RTTError|Reflector' -benchtime 1x ./twamp

// A watched port keeps the kernel's stamps of what passes it.
type watched struct {
	*probePort
	mu   sync.Mutex
	t1   map[uint32]time.Time // of the kernel, by packet
	t4   map[uint32]time.Time
	t2   map[uint32]time.Time
	t3   map[uint32]time.Time // of the kernel, as followed up
	late map[uint32]uint32    // packet, by number of the reply
}

func watch(p *probePort) *watched {
	m := func() map[uint32]time.Time { return map[uint32]time.Time{} }
	return &watched{probePort: p, t1: m(), t2: m(), t3: m(), t4: m(), late: map[uint32]uint32{}}
}

func (w *watched) stamps(f func(uint32, time.Time)) bool {
	return w.probePort.stamps(func(n uint32, at time.Time) {
		w.mu.Lock()
		w.t1[n] = at
		w.mu.Unlock()
		f(n, at)
	})
}

func (w *watched) read(ds []datagram) (int, error) {
	n, err := w.probePort.read(ds)
	l := wire.Layout{STAMP: true}
	for i := range ds[:n] {
		b := ds[i].octets()
		p, perr := wire.ParseReply(b, l)
		tlv, _, terr := wire.ParseTLV(b[min(len(b), l.ReplyLen()):])
		if perr != nil || terr != nil || ds[i].Stamp != Kernel {
			continue
		}
		w.mu.Lock()
		w.t2[p.SenderSeq], w.t4[p.SenderSeq] = p.Received.Time(false, ds[i].At), ds[i].At.Round(0)
		w.late[p.Seq] = p.SenderSeq
		if f, err := wire.ParseFollowUp(tlv.Value); err == nil && f.Method != 0 {
			if seq, ok := w.late[f.Seq]; ok {
				w.t3[seq] = f.Sent.Time(false, ds[i].At)
			}
		}
		w.mu.Unlock()
	}
	return n, err
}

// wireTime is the round trip between the kernel's own four stamps.
func (w *watched) wireTime(seq uint32) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t1, ok1 := w.t1[seq]
	t3, ok3 := w.t3[seq]
	return w.t4[seq].Sub(t1) - t3.Sub(w.t2[seq]), ok1 && ok3
}

// A line is where packets pass: over loopback, or between two namespaces.
type line struct {
	name   string
	listen [2]ListenPacketFunc
	at     [2]string
}

func lines(b *testing.B) []line {
	system := (&net.ListenConfig{}).ListenPacket
	all := []line{{"lo", [2]ListenPacketFunc{system, system}, [2]string{"127.0.0.1:0", "127.0.0.1:0"}}}
	if exec.Command("ip", "netns").Run() != nil {
		return all
	}
	one, two := testnet.NewNamespace(b), testnet.NewNamespace(b)
	testnet.Wire(b, testnet.Cable{}, testnet.End{In: one, Name: "eth0", Addresses: []string{"192.0.2.1/24"}},
		testnet.End{In: two, Name: "eth0", Addresses: []string{"192.0.2.2/24"}})
	return append(all, line{"veth", [2]ListenPacketFunc{one.ListenPacket, two.ListenPacket}, [2]string{"192.0.2.1:0", "192.0.2.2:0"}})
}

// busy keeps all CPUs busy with other processes until the benchmark ends.
func busy(b *testing.B) {
	for range runtime.NumCPU() {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Process.Kill(); c.Wait() })
	}
}

// BenchmarkRTTError compares the RTT that a STAMP sender reports with the one
// between the kernel's own stamps at both ends.
func BenchmarkRTTError(b *testing.B) {
	for _, l := range lines(b) {
		for _, load := range []string{"idle", "busy"} {
			for _, way := range []string{"plain", "correct", "follow"} {
				b.Run(fmt.Sprintf("%s/%s/%s", l.name, load, way), func(b *testing.B) {
					if load == "busy" {
						busy(b)
					}
					for b.Loop() {
						errorOfRTT(b, l, way)
					}
				})
			}
		}
	}
}

func errorOfRTT(b *testing.B, l line, way string) {
	c, err := l.listen[1](b.Context(), "udp4", l.at[1])
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	r := &Reflector{Correct: way == "correct"}
	to := sock.AddrPort(c.LocalAddr())
	go func() { done <- r.Serve(ctx, c) }()
	const n = 600
	got := map[uint32]time.Duration{}
	p := Pinger{Addr: to.String(), ListenPacket: l.listen[0], Extensions: Extensions{FollowUp: true}, Probe: Probe{
		Count: n, Interval: 3 * time.Millisecond, Record: func(s Sample) { got[s.Seq] = s.RTT }}}
	p.Source = netip.AddrPortFrom(netip.MustParseAddrPort(l.at[0]).Addr(), 0)
	s, err := p.open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer s.port.close()
	w := watch(s.port.(*probePort))
	s.port, s.tally.follows = w, way == "follow"
	if err := s.run(b.Context()); err != nil {
		b.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	var errs []float64
	for seq, rtt := range got {
		if truth, ok := w.wireTime(seq); ok && seq > 20 { // the lag is learnt by then
			errs = append(errs, (rtt-truth).Abs().Seconds()*1e6)
		}
	}
	if len(errs) < n/2 || s.report().Stamps != "kernel-rx-tx" {
		b.Fatalf("%d of %d exchanges have all stamps, %s", len(errs), n, s.report().Stamps)
	}
	slices.Sort(errs)
	b.ReportMetric(errs[len(errs)/2], "median-µs")
	b.ReportMetric(errs[len(errs)*99/100], "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRate sends 10 000 packets a second in one TWAMP session for two
// seconds.
func BenchmarkRate(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- (&Server{}).Serve(ctx, l) }()
	for b.Loop() {
		c := &Client{Addr: l.Addr().String(), Probe: Probe{Count: 20000, Interval: 100 * time.Microsecond}}
		all, err := reportsOf(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		r := all[0]
		b.ReportMetric(r.Rate, "packets/s")
		b.ReportMetric(float64(r.Lost), "lost")
		b.ReportMetric(float64(r.LateSent), "late-sent")
		b.ReportMetric(r.Lateness.Seconds()*1e3, "latest-ms")
		b.ReportMetric(r.RTT.Delay.P50.Seconds()*1e6, "rtt-median-µs")
		b.Logf("stamps %s, dropped %v, remarks %v", r.Stamps, r.Dropped, r.remarks)
	}
	b.ReportMetric(0, "ns/op")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// naive reflects STAMP as one writes it first: a call for each packet in and out
// and a map by address.
func naive(c net.PacketConn, count map[string]uint32) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		t2 := time.Now()
		q, err := wire.ParseRequest(b[:n], wire.Layout{STAMP: true})
		if err != nil {
			continue
		}
		seq := count[from.String()]
		count[from.String()]++
		r := wire.Reply{Seq: seq, Received: wire.NTP(t2), SenderSeq: q.Seq, SenderSent: q.Sent, SenderTTL: 255, Sent: wire.NTP(time.Now())}
		if _, err := c.WriteTo(r.Append(b[:0], wire.Layout{STAMP: true}), from); err != nil {
			return
		}
	}
}

// flood sends STAMP packets from four sockets to an address until stop is
// closed: one by one, or joined.
func flood(b *testing.B, to netip.AddrPort, segments int, stop <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var from []*sock.ProbeSocket
	for range 4 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Error(err)
			return
		}
		// It takes trains whole: over loopback the reflector would pay for cutting them.
		p, err := sock.Probes(c, true)
		if p == nil || err != nil {
			b.Error(err)
			return
		}
		defer p.Close()
		from = append(from, p)
	}
	octets := make([]byte, 64*44)
	ds := make([]sock.Departure, 64)
	for i := range ds {
		ds[i] = sock.Departure{Data: octets[:44], To: to}
	}
	if segments > 1 {
		ds = []sock.Departure{{Data: octets, Segment: 44, To: to}}
	}
	for seq := uint32(1); ; seq++ {
		select {
		case <-stop:
			return
		default:
		}
		binary.BigEndian.PutUint32(octets, seq)
		if _, err := from[seq%4].Write(ds); err != nil && !sock.IsLoss(err) && !strings.Contains(err.Error(), "buffer") {
			b.Error(err)
			return
		}
	}
}

// BenchmarkReflector floods reflectors: how many packets do they answer?
func BenchmarkReflector(b *testing.B) {
	const each = 700 * time.Millisecond
	ours := func(segments int) float64 {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		r := &Reflector{Rate: -1}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		at := sock.AddrPort(c.LocalAddr())
		go func() { done <- r.Serve(ctx, c) }()
		rate := underFlood(b, at, segments, each, func() uint64 { return r.Counts()["reflected"] })
		cancel()
		<-done
		return rate
	}
	plain := func() float64 {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		w := &counted{PacketConn: c}
		go naive(w, map[string]uint32{})
		return underFlood(b, sock.AddrPort(c.LocalAddr()), 1, each, func() uint64 { return w.n.Load() })
	}
	var base, singles, trains, ratio1, ratio64 []float64
	for b.Loop() {
		x, y, z := plain(), ours(1), ours(64)
		base, singles, trains = append(base, x), append(singles, y), append(trains, z)
		ratio1, ratio64 = append(ratio1, y/x), append(ratio64, z/x)
	}
	for _, m := range []struct {
		unit string
		all  []float64
	}{{"plain-kpps", base}, {"single-kpps", singles}, {"trains-kpps", trains}, {"single-ratio", ratio1}, {"trains-ratio", ratio64}} {
		slices.Sort(m.all)
		b.ReportMetric(m.all[len(m.all)/2], m.unit)
	}
	b.ReportMetric(0, "ns/op")
	b.Logf("ratios of singles %.2f..%.2f, of trains %.1f..%.1f", ratio1[0], ratio1[len(ratio1)-1], ratio64[0], ratio64[len(ratio64)-1])
}

// underFlood is the rate of count, in thousands per second, after a warm-up.
func underFlood(b *testing.B, to netip.AddrPort, segments int, d time.Duration, count func() uint64) float64 {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { flood(b, to, segments, stop) })
	time.Sleep(200 * time.Millisecond)
	before, start := count(), time.Now()
	time.Sleep(d)
	n, took := count()-before, time.Since(start)
	close(stop)
	wg.Wait()
	return float64(n) / took.Seconds() / 1e3
}
