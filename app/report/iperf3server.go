package report

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// An iperf3Run is one of a server's tests.
type iperf3Run struct {
	report wire.Report
	udp    bool
}

// ServerEvent takes a piece of the report of one of a server's tests, stream by
// stream: Iperf3Config.Pieces.
func (s *Iperf3Sink) ServerEvent(id result.ID, name string, data any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.runs[id]
	if run == nil {
		return
	}
	if _, ok := data.(wire.ReportInterval); ok {
		s.whose(run)
	}
	s.event(&run.report, name, data)
}

// whose says whose line follows, where there are several tests at once.
func (s *Iperf3Sink) whose(run *iperf3Run) {
	if s.c.Kind == Iperf3Text && len(s.runs) > 1 && run.report.Start.Accepted != nil {
		s.write(fmt.Appendf(nil, "%s: ", run.report.Start.Accepted.Host))
	}
}

// serverEvent makes a piece of a report of a server's event.
func (s *Iperf3Sink) serverEvent(e result.Event) {
	switch e := e.(type) {
	case result.Begin:
		run := &iperf3Run{udp: e.Transport == result.UDP}
		s.runs[e.Run] = run
		if !s.c.Pieces {
			s.event(&run.report, wire.EventStart, iperf3ServerStart(e))
		}
	case result.Interval:
		run := s.runs[e.Run]
		if run == nil || s.c.Pieces || e.Stream != result.AllStreams || e.Local() == nil {
			return
		}
		f := run.figures(e.Local(), e.Direction, e.Start, e.End)
		f.Omitted = new(bool)
		s.whose(run)
		i := wire.ReportInterval{Streams: []wire.ReportFigures{f}, Sum: f}
		i.Streams[0].Socket = result.Some(5)
		s.event(&run.report, wire.EventInterval, i)
	case result.End:
		run := s.runs[e.Run]
		delete(s.runs, e.Run)
		if run == nil {
			run = &iperf3Run{}
		}
		ended := len(run.report.End.Streams) > 0
		if !ended {
			run.report.End = run.end(e)
		}
		if s.c.Kind == Iperf3Stream {
			if !ended {
				s.event(&run.report, wire.EventEnd, run.report.End)
			}
			if e.Err != nil {
				s.event(&run.report, wire.EventError, e.Err.Error())
			}
		}
		s.close(&run.report, e)
	}
}

// iperf3ServerStart is what was agreed.
func iperf3ServerStart(b result.Begin) wire.ReportStart {
	s := wire.ReportStart{
		Version: iperf3Version, SystemInfo: runtime.GOOS + " " + runtime.GOARCH,
		Timestamp: wire.ReportTimestampOf(b.Time),
		Accepted:  &wire.ReportHost{Host: b.Peer.Addr().Unmap().String(), Port: b.Peer.Port()},
		TestStart: &wire.ReportTestStart{
			Protocol: "TCP", NumStreams: 1, Blksize: b.Size, Duration: int(b.Duration / time.Second), TargetBitrate: max(b.DownRate, b.UpRate), Interval: 1,
		},
	}
	if b.Transport == result.UDP {
		s.TestStart.Protocol = "UDP"
	}
	switch b.Direction {
	case result.Down:
		s.TestStart.Reverse = 1
	case result.Both:
		s.TestStart.Bidir = 1
	}
	return s
}

// figures is a view of one direction at a server.
func (r *iperf3Run) figures(v *result.View, d result.Direction, from, to time.Duration) wire.ReportFigures {
	f := wire.ReportFigures{Start: from.Seconds(), End: to.Seconds(), Seconds: (to - from).Seconds(), Bytes: v.Bytes, Sender: d == result.Down}
	if rate := result.Rate(v.Bytes, to-from); rate != nil {
		f.BitsPerSecond = float64(*rate)
	}
	switch {
	case r.udp && f.Sender:
		f.Packets = v.Packets
	case r.udp:
		iperf3Received(&f, v)
	case f.Sender && v.TCP != nil:
		f.Retransmits, f.SndCwnd = &v.TCP.Retransmits, &v.TCP.Cwnd
	}
	return f
}

// iperf3Received fills in what a receiver of datagrams knows. Packets are those
// that were expected, as iperf3 has it.
func iperf3Received(f *wire.ReportFigures, v *result.View) {
	lost, ratio := lossOf(v)
	if lost == nil {
		return
	}
	f.LostPackets = lost
	f.Packets = result.Some(uint64(max(0, int64(orZero(v.Packets))-int64(orZero(v.Duplicate))+*lost)))
	f.LostPercent = new(float64)
	if ratio != nil {
		*f.LostPercent = 100 * *ratio
	}
	if v.Jitter != nil {
		f.JitterMS = result.Some(v.Jitter.Seconds() * 1e3)
	}
}

// end are the totals of what this end counted.
func (r *iperf3Run) end(e result.End) wire.ReportEnd {
	var all wire.ReportEnd
	for _, d := range result.Both.Each() {
		v := e.Local(d)
		if v == nil {
			continue
		}
		f := r.figures(v, d, 0, e.Elapsed)
		f.SndCwnd = nil
		one := f
		one.Socket = result.Some(5)
		switch {
		case r.udp:
			all.Streams = append(all.Streams, wire.ReportStream{UDP: &one})
			all.Sum = &f
		case f.Sender:
			all.Streams = append(all.Streams, wire.ReportStream{Sender: &one})
			all.SumSent = &f
		default:
			all.Streams = append(all.Streams, wire.ReportStream{Receiver: &one})
			all.SumReceived = &f
		}
	}
	return all
}
