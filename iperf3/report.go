package iperf3

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A reporter fills in iperf3's own document, event by event. A nil reporter
// does nothing.
type reporter struct {
	emit   func(event string, data any)
	params wire.Parameters
	role   result.Role
}

// socketOf stands for a descriptor, which is how the document tells streams
// apart: 5, 7, 9 and so on, as the original's mostly are.
func socketOf(n int) int { return 5 + 2*n }

// start says what was agreed. far is the control connection's far end: a
// target at a client, a peer at a server.
func (r *reporter) start(flows []*flow, far wire.ReportHost, cookie wire.Cookie, now time.Time) {
	if r == nil {
		return
	}
	p := r.params
	s := wire.ReportStart{
		Version: "iperf " + wire.Version, SystemInfo: runtime.GOOS + " " + runtime.GOARCH,
		Timestamp: wire.ReportTimestampOf(now),
		Cookie:    cookie.String(), TargetBitrate: &p.Bandwidth, SockBufsize: &p.Window,
		TestStart: &wire.ReportTestStart{
			Protocol: "TCP", NumStreams: p.Parallel, Blksize: p.Length, Omit: p.Omit, Duration: p.Time,
			Bytes: p.Bytes, Blocks: p.Blocks, TOS: p.TOS, TargetBitrate: p.Bandwidth, FQRate: p.FQRate, Interval: 1,
		},
	}
	if p.UDP {
		s.TestStart.Protocol = "UDP"
	} else {
		s.TCPMSSDefault = &p.MSS
	}
	if p.Reverse {
		s.TestStart.Reverse = 1
	}
	if p.Bidirectional {
		s.TestStart.Bidir = 1
	}
	if r.role == result.Client {
		s.ConnectingTo = &far
	} else {
		s.Accepted = &far
	}
	for n, f := range flows {
		local, remote := f.local(), f.remote()
		s.Connected = append(s.Connected, wire.ReportConnected{
			Socket: socketOf(n), LocalHost: local.Addr().String(), LocalPort: local.Port(),
			RemoteHost: remote.Addr().String(), RemotePort: remote.Port(),
		})
	}
	r.emit(wire.EventStart, s)
}

// interval says what all streams did since the last one, in views.
func (r *reporter) interval(flows []*flow, views []result.View, from, to time.Duration, omitted bool) {
	if r == nil {
		return
	}
	var i wire.ReportInterval
	sums := map[bool][]result.View{}
	for n, f := range flows {
		v := views[n]
		sums[f.sends] = append(sums[f.sends], v)
		one := r.figures(v, f.sends, from, to, true)
		one.Socket, one.Omitted = result.Some(socketOf(n)), &omitted
		i.Streams = append(i.Streams, one)
	}
	own := r.ownWay()
	sum := func(sends bool) wire.ReportFigures {
		s := r.figures(result.Sum(sums[sends]...), sends, from, to, false)
		s.Omitted = &omitted
		return s
	}
	i.Sum = sum(own)
	if r.params.Bidirectional {
		i.SumReverse = result.Some(sum(!own))
	}
	r.emit(wire.EventInterval, i)
}

// ownWay says whether our end sends in the direction that stands first.
func (r *reporter) ownWay() bool { return r.params.Reverse != (r.role == result.Client) }

// figures is what a view says, with the keys that belong to its end.
func (r *reporter) figures(v result.View, sends bool, from, to time.Duration, detail bool) wire.ReportFigures {
	f := wire.ReportFigures{
		Start: from.Seconds(), End: to.Seconds(), Seconds: (to - from).Seconds(), Bytes: v.Bytes, Sender: sends,
	}
	if to > from {
		f.BitsPerSecond = float64(v.Bytes) * 8 / (to - from).Seconds()
	}
	switch {
	case r.params.UDP && sends:
		f.Packets = v.Packets
	case r.params.UDP:
		r.losses(&f, v)
	case sends && v.TCP != nil:
		f.Retransmits = &v.TCP.Retransmits
		if detail {
			f.SndCwnd = &v.TCP.Cwnd
			f.RTT = result.Some(uint64(v.TCP.RTT.Microseconds()))
			f.RTTVar = result.Some(uint64(v.TCP.RTTVar.Microseconds()))
		}
	}
	return f
}

// losses fills in what a UDP receiver knows. Packets are those expected, as in
// the original.
func (r *reporter) losses(f *wire.ReportFigures, v result.View) {
	lost := int64(0)
	if v.Lost != nil {
		lost = *v.Lost
	}
	expected := uint64(0)
	if v.Packets != nil {
		expected = uint64(max(0, int64(unique(v))+lost))
	}
	percent := 0.0
	if expected > 0 {
		percent = 100 * float64(lost) / float64(expected)
	}
	f.LostPackets, f.Packets, f.LostPercent = &lost, &expected, &percent
	if v.Jitter != nil {
		f.JitterMS = result.Some(v.Jitter.Seconds() * 1e3)
	} else {
		f.JitterMS = new(float64)
	}
}

// unique is how many datagrams came in time, each counted once.
func unique(v result.View) uint64 {
	n := *v.Packets
	for _, less := range []*uint64{v.Duplicate, v.Late} {
		if less != nil {
			n -= min(n, *less)
		}
	}
	return n
}

// end says the totals. cpu is ours, far what the far end told; nil if nothing.
func (r *reporter) end(flows []*flow, took time.Duration, cpu wire.CPU, far *wire.Results) {
	if r == nil {
		return
	}
	var e wire.ReportEnd
	sums := map[bool]*bothEnds{true: {}, false: {}}
	for n, f := range flows {
		b := r.both(f, far)
		sums[f.sends].add(b)
		if r.params.UDP {
			e.Streams = append(e.Streams, wire.ReportStream{UDP: r.udpTotal(b, f.sends, took, result.Some(socketOf(n)))})
			continue
		}
		s, v := r.total(b.sent, f.sends, took), r.total(b.received, f.sends, took)
		s.Retransmits = b.retransmits
		s.Socket, v.Socket = result.Some(socketOf(n)), result.Some(socketOf(n))
		e.Streams = append(e.Streams, wire.ReportStream{Sender: s, Receiver: v})
	}
	own := r.ownWay()
	e.Sum, e.SumSent, e.SumReceived = r.sums(sums[own], own, took)
	if r.params.Bidirectional {
		e.SumReverse, e.SumSentReverse, e.SumReceivedReverse = r.sums(sums[!own], !own, took)
	}
	e.CPU = &wire.ReportCPU{HostTotal: cpu.Total, HostUser: cpu.User, HostSystem: cpu.System}
	if far != nil {
		e.CPU.RemoteTotal, e.CPU.RemoteUser, e.CPU.RemoteSystem = far.CPU.Total, far.CPU.User, far.CPU.System
	}
	r.emit(wire.EventEnd, e)
	if far != nil && far.ServerDocument != nil {
		r.emit(wire.EventServerDocument, far.ServerDocument)
	}
	if far != nil && far.ServerText != "" {
		r.emit(wire.EventServerText, far.ServerText)
	}
}

// bothEnds is one stream, or a sum of them, as its sender and its receiver
// counted it.
type bothEnds struct {
	sent, received result.View
	retransmits    *uint64
}

func (b *bothEnds) add(o bothEnds) {
	b.sent, b.received = result.Sum(b.sent, o.sent), result.Sum(b.received, o.received)
	if o.retransmits != nil {
		if b.retransmits == nil {
			b.retransmits = new(uint64)
		}
		*b.retransmits += *o.retransmits
	}
}

// both puts our count of a stream and the far end's together. What the far end
// did not tell is taken from ours, as in the original.
func (r *reporter) both(f *flow, far *wire.Results) bothEnds {
	near := f.measured()
	told := near
	if f.far != nil {
		told = *f.far
	}
	b := bothEnds{sent: near, received: told}
	if !f.sends {
		b = bothEnds{sent: told, received: near}
	}
	if f.sends && near.TCP != nil {
		b.retransmits = &near.TCP.Retransmits
	}
	if s := resultsOf(far, f.id); !f.sends && s != nil {
		b.retransmits = s.Retransmits
	}
	return b
}

func (r *reporter) total(v result.View, sends bool, took time.Duration) *wire.ReportFigures {
	f := r.figures(result.View{Bytes: v.Bytes}, sends, 0, took, false)
	f.Packets, f.LostPackets, f.LostPercent, f.JitterMS = nil, nil, nil, nil
	return &f
}

// udpTotal is the one record that a UDP stream has of both ends: bytes of the
// sender, losses of the receiver.
func (r *reporter) udpTotal(b bothEnds, sends bool, took time.Duration, socket *int) *wire.ReportFigures {
	f := r.total(b.sent, sends, took)
	r.losses(f, b.received)
	f.Packets = b.sent.Packets
	if socket != nil {
		f.Socket = socket
		f.OutOfOrder = b.received.Reordered
		if f.OutOfOrder == nil {
			f.OutOfOrder = new(uint64)
		}
	}
	return f
}

// sums are the records of one direction; the first is for UDP only.
func (r *reporter) sums(b *bothEnds, sends bool, took time.Duration) (sum, sent, received *wire.ReportFigures) {
	sent, received = r.total(b.sent, sends, took), r.total(b.received, sends, took)
	if !r.params.UDP {
		sent.Retransmits = b.retransmits
		return nil, sent, received
	}
	sum = r.udpTotal(*b, sends, took, nil)
	sent.Packets, sent.JitterMS, sent.LostPackets, sent.LostPercent = b.sent.Packets, new(float64), new(int64), new(float64)
	sent.Sender, received.Sender = true, false
	r.losses(received, b.received)
	return sum, sent, received
}

// fail says why there is no test, or no more of it.
func (r *reporter) fail(err error) {
	if r != nil {
		r.emit(wire.EventError, fmt.Sprint(err))
	}
}
