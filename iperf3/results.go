package iperf3

import (
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// results are what we tell the far end.
func (t *test) results() wire.Results {
	r := wire.Results{CPU: t.cpu.share(), CongestionUsed: t.plan.Congestion}
	for _, f := range t.flows {
		all, kept := f.view(), f.measured()
		s := wire.StreamResults{ID: f.id, Bytes: kept.Bytes, End: wire.SecondsOf(t.meter.before)}
		if f.sends {
			r.HasRetransmits = result.Some(kept.TCP != nil)
		}
		if t.plan.UDP {
			udpResults(&s, f, all)
		} else if f.sends && kept.TCP != nil {
			s.Retransmits = &kept.TCP.Retransmits
		}
		r.Streams = append(r.Streams, s)
	}
	if r.CongestionUsed == "" {
		r.CongestionUsed = t.congestion()
	}
	return r
}

// udpResults fills in a UDP stream: with the omitted part, which later
// versions tell beside it.
func udpResults(s *wire.StreamResults, f *flow, all result.View) {
	if f.sends {
		s.Packets = *all.Packets
	} else {
		s.Errors = *all.Lost
		s.Packets = uint64(max(0, int64(unique(all))+*all.Lost))
		if all.Jitter != nil {
			s.Jitter = wire.SecondsOf(*all.Jitter)
		}
	}
	base := f.omitted
	if base == nil || base.Packets == nil {
		return
	}
	s.Omitted = &wire.Omitted{Packets: *base.Packets}
	if !f.sends {
		s.Omitted.Errors = *base.Lost
		s.Omitted.Packets = uint64(max(0, int64(unique(*base))+*base.Lost))
	}
}

// congestion is the name of the algorithm that the kernel uses.
func (t *test) congestion() string {
	for _, f := range t.flows {
		if tcp := f.view().TCP; tcp != nil {
			return tcp.Congestion
		}
	}
	return ""
}

// resultsOf finds a stream in the far end's results.
func resultsOf(r *wire.Results, id int) *wire.StreamResults {
	if r == nil {
		return nil
	}
	for n := range r.Streams {
		if r.Streams[n].ID == id {
			return &r.Streams[n]
		}
	}
	return nil
}

// hear takes the far end's results.
func (t *test) hear(r *wire.Results) {
	for _, f := range t.flows {
		s := resultsOf(r, f.id)
		if s == nil {
			continue
		}
		v := &result.View{Bytes: s.Bytes}
		f.far = v
		if !t.plan.UDP {
			continue
		}
		packets, lost := s.Packets, s.Errors
		switch {
		case s.Omitted != nil:
			packets -= min(packets, s.Omitted.Packets)
			lost -= s.Omitted.Errors
		case f.omitted != nil && f.omitted.Packets != nil: // the far end counts the omitted part and does not say how much
			packets -= min(packets, *f.omitted.Packets)
		}
		v.Packets = &packets
		if f.sends {
			v.Packets = result.Some(uint64(max(0, int64(packets)-lost)))
			v.Lost = &lost
			v.Jitter = result.Some(s.Jitter.Duration())
		}
	}
}

// A cpuShare is how much of one processor this process used.
type cpuShare struct {
	self         *process.Process // nil where the system does not tell
	user, system float64          // seconds, at the start
	at           time.Time
}

func newCPUShare() *cpuShare {
	c := &cpuShare{at: time.Now()}
	p, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return c
	}
	if times, err := p.Times(); err == nil {
		c.self, c.user, c.system = p, times.User, times.System
	}
	return c
}

// share is percent since the start; the protocol has no way to say "unknown".
func (c *cpuShare) share() wire.CPU {
	took := time.Since(c.at).Seconds()
	if c.self == nil || took <= 0 {
		return wire.CPU{}
	}
	times, err := c.self.Times()
	if err != nil {
		return wire.CPU{}
	}
	u, s := 100*(times.User-c.user)/took, 100*(times.System-c.system)/took
	return wire.CPU{Total: u + s, User: u, System: s}
}
