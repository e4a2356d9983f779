package report

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A TwpingSink writes the summary of tests by packets that come back in the
// form that users of twping have scripts for.
type TwpingSink struct {
	out
	begins map[result.ID]result.Begin
}

// Twping writes one block of lines for each session, when its run ends. What
// cannot be told is "unknown"; one-way times stand only where the clocks can be
// trusted, with their error.
func Twping(w io.Writer) *TwpingSink {
	return &TwpingSink{out: out{w: w}, begins: map[result.ID]result.Begin{}}
}

// Put implements result.Sink.
func (s *TwpingSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.begins[e.Run] = e
	case result.End:
		b := s.begins[e.Run]
		delete(s.begins, e.Run)
		for n := range e.RoundTrips {
			s.write([]byte(twping(b, e, &e.RoundTrips[n])))
		}
	}
}

// twping is the block of one session.
func twping(b result.Begin, e result.End, r *result.RoundTrips) string {
	var t strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&t, format+"\n", args...) }
	line("\n--- twping statistics from [%s]:%d to [%s]:%d ---", b.Local.Addr().Unmap(), b.Local.Port(), twpingHost(b), b.Peer.Port())
	line("SID:\t%s", strings.ReplaceAll(string(e.Run), "-", ""))
	line("first:\t%s", twpingTime(b.Time))
	line("last:\t%s", twpingTime(b.Time.Add(e.Elapsed)))
	ratio, _ := r.LossRatio()
	line("%d sent, %d lost (%s%%), %s send duplicates, %s reflect duplicates", r.Sent, r.Lost,
		strconv.FormatFloat(ratio*100, 'f', 3, 64), twpingCount(r.DuplicateOut), twpingCount(r.DuplicateHome))
	if r.RTT == nil {
		line("round-trip time min/median/max = unknown")
		return t.String()
	}
	line("round-trip time %s, (%s)", twpingSpread(r.RTT.Delay), twpingErr(r.Clock))
	twpingOneWay(line, "send", r.Out, r.Clock)
	twpingOneWay(line, "reflect", r.Home, r.Clock)
	if r.Reflector != nil {
		line("reflector processing time min/max = %s/%s ms", twpingMS(r.Reflector.Min), twpingMS(r.Reflector.Max))
	}
	for _, way := range []struct {
		name string
		p    *result.Path
	}{{"two-way", r.RTT}, {"send", r.Out}, {"reflect", r.Home}} {
		if way.p != nil {
			line("%s PDV = %s ms (P95-P50)", way.name, twpingMS(way.p.Delay.P95-way.p.Delay.P50))
		}
	}
	twpingHops(line, "send", r.HopsOut)
	twpingHops(line, "reflect", r.HopsHome)
	return t.String()
}

func twpingHost(b result.Begin) string {
	if host, _ := hostPort(b); host != "" {
		return clean(host)
	}
	return netip.IPv6Unspecified().String()
}

func twpingTime(t time.Time) string { return t.Local().Format("2006-01-02T15:04:05.000") }

func twpingCount(n *uint64) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatUint(*n, 10)
}

// twpingMS is d in milliseconds with three significant digits or so, never with
// an exponent.
func twpingMS(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	decimals := 5
	for size := math.Abs(ms); size >= 0.01 && decimals > 0; size /= 10 {
		decimals--
	}
	return strconv.FormatFloat(ms, 'f', decimals, 64)
}

func twpingSpread(d result.Distribution) string {
	return fmt.Sprintf("min/median/max = %s/%s/%s ms", twpingMS(d.Min), twpingMS(d.P50), twpingMS(d.Max))
}

// twpingErr is the error of the clocks.
func twpingErr(c *result.Clock) string {
	if c == nil || c.Bound == nil {
		return "err unknown"
	}
	return "err=" + twpingMS(*c.Bound) + " ms"
}

func twpingOneWay(line func(string, ...any), name string, p *result.Path, c *result.Clock) {
	switch {
	case p == nil:
	case c == nil || !c.Usable:
		line("%s time min/median/max = unknown, (%s)", name, distrust(c))
	default:
		line("%s time %s, (%s)", name, twpingSpread(p.Delay), twpingErr(c))
	}
}

func twpingHops(line func(string, ...any), name string, h *result.Hops) {
	switch {
	case h == nil:
	case h.Min == h.Max:
		line("%s hops = %d (consistently)", name, h.Min)
	default:
		line("%s hops takes values from %d to %d", name, h.Min, h.Max)
	}
}
