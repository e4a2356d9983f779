package twamp

import (
	"math/rand/v2"
	"sort"
	"time"

	"github.com/sonde-net/sonde/twamp/wire"
)

// A path is a made-up network between a sender and a reflector, in which the
// fate of every packet is known.
type path struct {
	lossOut, lossHome     float64
	twiceOut, twiceHome   float64
	shuffleOut, shuffHome float64       // share that comes 5 ms late
	echo                  bool          // the reflector keeps no count
	first                 uint32        // number it starts from
	offset                time.Duration // of its clock
	restart               int           // it starts again after so many packets
}

// truth is what the path did.
type truth struct {
	lostOut, lostHome, twiceOut, twiceHome, reorderedOut, reorderedHome uint64
}

type event struct {
	at  time.Time
	seq uint32
	r   uint32
	t2  time.Time
}

// run sends n packets, 1 ms apart, over the path into a tally. The last packet
// always comes back.
func (p path) run(n int, t *tally) truth {
	chance := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(1_800_000_000, 0)
	const oneWay = 2 * time.Millisecond
	late := func(share float64) time.Duration {
		if chance.Float64() < share {
			return oneWay + 5*time.Millisecond + 500*time.Microsecond
		}
		return oneWay
	}
	var truth truth
	var there, back []event
	for i := range n {
		at := start.Add(time.Duration(i) * time.Millisecond)
		last := i >= n-20 // quiet, so that everything can be attributed
		if !last && chance.Float64() < p.lossOut {
			truth.lostOut++
			continue
		}
		delay := oneWay
		if !last {
			delay = late(p.shuffleOut)
		}
		there = append(there, event{at: at.Add(delay), seq: uint32(i)})
		if !last && chance.Float64() < p.twiceOut {
			truth.twiceOut++
			there = append(there, event{at: at.Add(delay + time.Microsecond), seq: uint32(i)})
		}
	}
	sort.SliceStable(there, func(i, j int) bool { return there[i].at.Before(there[j].at) })
	truth.reorderedOut = inversions(there, func(e event) uint32 { return e.seq })
	r := p.first
	for i, e := range there {
		if p.restart > 0 && i == p.restart {
			r = 0
		}
		e.r, e.t2 = r, e.at
		if p.echo {
			e.r = e.seq
		}
		r++
		last := int(e.seq) >= n-20
		if !last && chance.Float64() < p.lossHome {
			truth.lostHome++
			continue
		}
		delay := oneWay
		if !last {
			delay = late(p.shuffHome)
		}
		e.at = e.at.Add(delay)
		back = append(back, e)
		if !last && chance.Float64() < p.twiceHome {
			truth.twiceHome++
			e.at = e.at.Add(time.Microsecond)
			back = append(back, e)
		}
	}
	sort.SliceStable(back, func(i, j int) bool { return back[i].at.Before(back[j].at) })
	truth.reorderedHome = inversions(back, func(e event) uint32 { return e.r })
	p.play(n, start, back, t)
	return truth
}

// inversions counts events with a lower number than one before, each number once.
func inversions(all []event, number func(event) uint32) (n uint64) {
	seen := map[uint32]bool{}
	var top uint32
	for _, e := range all {
		if seen[number(e)] {
			continue
		}
		seen[number(e)] = true
		if number(e) < top {
			n++
		}
		top = max(top, number(e))
	}
	return n
}

// play tells the tally what was sent and what came, in order.
func (p path) play(n int, start time.Time, back []event, t *tally) {
	i := 0
	for k := range n {
		at := start.Add(time.Duration(k) * time.Millisecond)
		for i < len(back) && back[i].at.Before(at) {
			p.deliver(back[i], t)
			i++
		}
		t.send(at)
		if k%16 == 0 {
			t.settle(at)
		}
	}
	for ; i < len(back); i++ {
		p.deliver(back[i], t)
	}
	t.finish(start.Add(time.Hour))
}

func (p path) deliver(e event, t *tally) {
	t2 := e.t2.Add(p.offset)
	t.reply(wire.Reply{
		Seq: e.r, SenderSeq: e.seq, Received: wire.NTP(t2), Sent: wire.NTP(t2.Add(10 * time.Microsecond)),
		Error: wire.NewErrorEstimate(time.Microsecond, true, false), SenderTTL: 250,
	}, arrival{At: e.at.Add(10 * time.Microsecond), Stamp: User, TTL: 60})
}
