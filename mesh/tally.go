package mesh

import (
	"cmp"
	"slices"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// windowSize is how many pings a sliding window holds: five minutes at the
// usual pace.
const windowSize = 600

// A ping is one that was sent, in the window of its tally.
type ping struct {
	number  uint64 // counted from 0
	token   uint64
	sent    time.Time
	rtt     time.Duration // less the time the peer took; valid when answered
	out     time.Duration // one way, with the offset of the clocks in it
	home    time.Duration
	fate    fate
	dups    uint16
	told    bool // out, home and arrived are known
	arrived uint64
}

type fate uint8

const (
	pending fate = iota
	answered
	lost
	late // answered after it was given up
)

// A tally follows the pings to one peer: which came back, when, and on which way
// the others were lost. Times are ours alone, so the peer cannot bend them. It
// is not safe for concurrent use; the zero tally is ready.
type tally struct {
	window  []ping // at most windowSize, oldest first
	sent    uint64
	pending int

	replies, lost, late, dups uint64
	runs                      result.LossRuns
	open                      uint64 // lost in a row so far
	settled                   uint64 // pings below this number are not pending

	smoothed, deviation time.Duration // of the RTT: RFC 6298
	jitter              stat.Jitter
	outJitter           stat.Jitter
	homeJitter          stat.Jitter

	peer          stat.Window // the peer's numbers
	told          bool        // the peer tells how many pings came
	base, arrived uint64      // pings before base are not counted by direction
	baseArrived   uint64
	unanswered    uint64 // pings before base that had no answer then
	lastNumber    uint64 // of the latest ping whose count we have
	reorderedOut  uint64
	highPong      uint32
	highEcho      uint64
	hasPong       bool
}

// A pong is the answer to a ping.
type pong struct {
	token    uint64
	sequence uint32
	at       time.Time
	// of peers that tell it:
	told         bool
	t1, t2, t3   time.Time
	pingsArrived uint64
}

// send notes a ping that leaves now.
func (t *tally) send(token uint64, now time.Time) {
	if len(t.window) == windowSize {
		copy(t.window, t.window[1:])
		t.window = t.window[:windowSize-1]
	}
	t.window = append(t.window, ping{number: t.sent, token: token, sent: now})
	t.sent++
	t.pending++
}

// wait is how long an answer is waited for.
func (t *tally) wait() time.Duration { return max(time.Second, t.smoothed+4*t.deviation) }

// settle gives up pings that have waited too long.
func (t *tally) settle(now time.Time) {
	if t.pending == 0 {
		return
	}
	wait := t.wait()
	for i, left := len(t.window)-1, t.pending; i >= 0 && left > 0; i-- {
		p := &t.window[i]
		if p.fate != pending {
			continue
		}
		left--
		if now.Sub(p.sent) > wait {
			p.fate = lost
			t.pending--
			t.lost++
		}
	}
	t.countRuns()
}

// countRuns follows how losses cluster, over the pings that are settled.
func (t *tally) countRuns() {
	for i := range t.window {
		p := &t.window[i]
		switch {
		case p.number < t.settled:
			continue
		case p.fate == pending:
			return
		case p.fate == answered:
			t.open = 0
		default:
			if t.open++; t.open == 1 {
				t.runs.Count++
			}
			t.runs.Longest = max(t.runs.Longest, t.open)
		}
		t.settled = p.number + 1
	}
}

// find returns the ping with a token.
func (t *tally) find(token uint64) *ping {
	for i := len(t.window) - 1; i >= 0; i-- {
		if t.window[i].token == token {
			return &t.window[i]
		}
	}
	return nil
}

// echo takes an answer. It is false if it answers no ping of ours.
func (t *tally) echo(a pong) bool {
	p := t.find(a.token)
	if p == nil {
		return false
	}
	switch p.fate {
	case answered, late:
		p.dups++
		t.dups++
		return true
	case lost:
		p.fate = late
		t.late++
	case pending:
		p.fate = answered
		t.pending--
		t.replies++
	}
	p.rtt = a.at.Sub(p.sent)
	if a.told {
		p.rtt = max(0, p.rtt-max(0, a.t3.Sub(a.t2)))
		p.out, p.home, p.told = a.t2.Sub(a.t1), a.at.Sub(a.t3), true
		t.outJitter.Record(a.t1, a.t2)
		t.homeJitter.Record(a.t3, a.at)
		t.direction(p, a)
	}
	t.smooth(p.rtt)
	t.jitter.Record(p.sent, p.sent.Add(p.rtt))
	t.order(p, a.sequence)
	t.countRuns()
	return true
}

// smooth keeps mean and deviation of the RTT (RFC 6298, section 2).
func (t *tally) smooth(rtt time.Duration) {
	if t.smoothed == 0 {
		t.smoothed, t.deviation = rtt, rtt/2
		return
	}
	t.deviation += ((t.smoothed - rtt).Abs() - t.deviation) / 4
	t.smoothed += (rtt - t.smoothed) / 8
}

// direction keeps how many pings the peer had seen when it answered this one.
func (t *tally) direction(p *ping, a pong) {
	p.arrived = a.pingsArrived
	switch {
	case !t.told || a.pingsArrived < t.baseArrived:
		// The first, or the peer has started again.
		t.told, t.base, t.baseArrived = true, p.number, a.pingsArrived
		t.unanswered = p.number - min(p.number, t.replies-1)
		t.lastNumber, t.arrived = p.number, a.pingsArrived
	case p.number > t.lastNumber:
		t.lastNumber, t.arrived = p.number, a.pingsArrived
	}
}

// order counts pings that came to the peer after later ones: the peer answers
// at once, so its own numbers say in which order they came.
func (t *tally) order(p *ping, sequence uint32) {
	if !t.hasPong || int32(sequence-t.highPong) > 0 {
		if t.hasPong && p.number < t.highEcho {
			t.reorderedOut++
		}
		t.highPong, t.hasPong = sequence, true
	}
	t.highEcho = max(t.highEcho, p.number)
}

// lostOut is how many pings since the base did not reach the peer, up to the
// latest whose count we have.
func (t *tally) lostOut() uint64 {
	sent, came := t.lastNumber-t.base, t.arrived-t.baseArrived
	return sent - min(sent, came)
}

// result is all that was measured since the start.
func (t *tally) result(asked time.Duration) result.RoundTrips {
	r := result.RoundTrips{
		Sent: t.sent - uint64(t.pending), Pending: uint64(t.pending), Replies: t.replies, Lost: t.lost,
		Late: t.late, Duplicate: t.dups, LossRuns: result.Some(t.runs), Stamps: "user",
	}
	if asked > 0 {
		r.Asked = 1 / asked.Seconds()
	}
	if t.told {
		// Before the base and after the latest answer nobody can tell.
		either := min(t.unanswered+t.open, t.lost)
		out := min(t.lostOut(), t.lost-either)
		r.LostOut, r.LostHome, r.LostEither = &out, result.Some(t.lost-either-out), &either
		r.ReorderedOut = &result.Reordering{Packets: t.replies + t.late, Reordered: t.reorderedOut}
	}
	if c := t.peer.Counts(); c.Unique > 0 {
		r.ReorderedHome = &result.Reordering{Packets: c.Unique, Reordered: c.Reordered}
	}
	t.delays(&r, t.window)
	return r
}

// recent is what was measured over the window.
func (t *tally) recent() result.RoundTrips {
	r := result.RoundTrips{Stamps: "user"}
	var first, last *ping
	for i := range t.window {
		p := &t.window[i]
		r.Duplicate += uint64(p.dups)
		switch p.fate {
		case pending:
			r.Pending++
			continue
		case answered:
			r.Replies++
		case late:
			r.Late++
			r.Lost++
		case lost:
			r.Lost++
		}
		r.Sent++
		if p.told {
			if first == nil {
				first = p
			}
			last = p
		}
	}
	if first != nil && last.arrived >= first.arrived {
		sent, came := last.number-first.number, last.arrived-first.arrived
		r.LostOut = result.Some(min(sent-min(sent, came), r.Lost))
	}
	t.delays(&r, t.window)
	return r
}

// delays fills in the delays of the pings that were answered.
func (t *tally) delays(r *result.RoundTrips, window []ping) {
	var rtts, outs, homes []time.Duration
	for _, p := range window {
		if p.fate != answered {
			continue
		}
		rtts = append(rtts, p.rtt)
		if p.told {
			outs, homes = append(outs, p.out), append(homes, p.home)
		}
	}
	r.RTT = pathOf(rtts, &t.jitter)
	r.Out, r.Home = pathOf(outs, &t.outJitter), pathOf(homes, &t.homeJitter)
	if r.Out != nil {
		r.Clock = &result.Clock{Why: "the clocks of the two nodes are not compared: only how one-way delays vary can be trusted"}
	}
}

func pathOf(delays []time.Duration, j *stat.Jitter) *result.Path {
	if len(delays) == 0 {
		return nil
	}
	p := &result.Path{IPDV: variation(delays)}
	if v, ok := j.Value(); ok {
		p.Jitter = &v
	}
	least := slices.Min(delays)
	over := make([]time.Duration, len(delays))
	for i, d := range delays {
		over[i] = d - least
	}
	p.Delay, p.PDV = distribution(delays), distribution(over)
	return p
}

// distribution sorts delays.
func distribution(delays []time.Duration) result.Distribution {
	slices.Sort(delays)
	n := len(delays)
	var sum float64
	for _, d := range delays {
		sum += float64(d)
	}
	at := func(perTenThousand int) time.Duration { return delays[(n*perTenThousand+9999)/10000-1] }
	return result.Distribution{
		Count: uint64(n), Min: delays[0], Mean: time.Duration(sum / float64(n)), Max: delays[n-1],
		P50: at(5000), P75: at(7500), P90: at(9000), P95: at(9500), P99: at(9900), P999: at(9990), P9999: at(9999),
	}
}

// variation is of neighbours in the order they were sent; nil without two.
func variation(delays []time.Duration) *result.Variation {
	if len(delays) < 2 {
		return nil
	}
	v := &result.Variation{Count: uint64(len(delays) - 1), Min: delays[1] - delays[0], Max: delays[1] - delays[0]}
	all := make([]time.Duration, 0, len(delays)-1)
	var sum float64
	for i, d := range delays[1:] {
		step := d - delays[i]
		v.Min, v.Max = min(v.Min, step), max(v.Max, step)
		all = append(all, step.Abs())
		sum += float64(step.Abs())
	}
	slices.SortFunc(all, cmp.Compare)
	v.MeanAbs = time.Duration(sum / float64(len(all)))
	v.P95Abs = all[(len(all)*95+99)/100-1]
	return v
}
