package twamp

import (
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

func TestTallyKnowsWhatThePathDid(t *testing.T) {
	for _, tt := range []struct {
		name string
		path path
	}{
		{"clean", path{}},
		{"3 % out, 5 % home", path{lossOut: 0.03, lossHome: 0.05}},
		{"only out", path{lossOut: 0.03}},
		{"only home", path{lossHome: 0.05}},
		{"doubled out", path{twiceOut: 0.04}},
		{"doubled home", path{twiceHome: 0.04}},
		{"doubled both ways", path{twiceOut: 0.02, twiceHome: 0.02}},
		{"doubled out and lost", path{twiceOut: 0.04, lossOut: 0.03, lossHome: 0.05}},
		{"doubled home and lost", path{twiceHome: 0.04, lossOut: 0.03, lossHome: 0.05}},
		{"shuffled out", path{shuffleOut: 0.02}},
		{"shuffled home", path{shuffHome: 0.02}},
		{"shuffled both ways", path{shuffleOut: 0.02, shuffHome: 0.02}},
		{"shuffled and lost", path{shuffleOut: 0.02, shuffHome: 0.02, lossOut: 0.03, lossHome: 0.05}},
		{"counts from 1", path{first: 1, lossOut: 0.03, lossHome: 0.05}},
		{"counts from 1000000", path{first: 1000000, lossOut: 0.03, lossHome: 0.05}},
		{"counts over the end", path{first: 1<<32 - 500, lossHome: 0.05, lossOut: 0.01}},
		{"starts again", path{restart: 2500, lossOut: 0.03, lossHome: 0.05}},
		{"an hour off", path{offset: time.Hour, lossOut: 0.03}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			book := tally{wait: 50 * time.Millisecond, counts: true}
			want := tt.path.run(5000, &book)
			r := book.report(wire.NewErrorEstimate(time.Microsecond, true, false))
			if r.LostOut == nil || r.LostHome == nil || r.DuplicateOut == nil || r.ReorderedOut == nil {
				t.Fatalf("not told: %+v", r)
			}
			got := truth{*r.LostOut, *r.LostHome, *r.DuplicateOut, *r.DuplicateHome, r.ReorderedOut.Reordered, r.ReorderedHome.Reordered}
			if tt.path.restart > 0 || tt.path.first > 1<<31 {
				got.reorderedHome, want.reorderedHome = 0, 0 // inversions knows nothing of it
			}
			// A doubled packet of which one reply is lost looks like a packet and a
			// lost reply: no record of the doubling comes back.
			if want.twiceOut > 0 && want.lostHome > 0 {
				if got.twiceOut > want.twiceOut {
					t.Errorf("%d doubled out, there were %d", got.twiceOut, want.twiceOut)
				}
				got.twiceOut = want.twiceOut
				// If that happens right beside a loss on the way out, the one hides the other.
				if got.lostOut > want.lostOut || want.lostOut-got.lostOut > want.lostOut/20 {
					t.Errorf("%d lost out, there were %d", got.lostOut, want.lostOut)
				}
				got.lostOut = want.lostOut
			}
			if tt.path.twiceHome > 0 && want.lostHome > 0 {
				got.twiceHome = want.twiceHome
			}
			if (want.reorderedOut > 0 || want.reorderedHome > 0) && want.lostHome > 0 {
				// What is lost on the way home cannot be seen to be out of order.
				got.reorderedOut, want.reorderedOut = 0, 0
			}
			if got != want {
				t.Errorf("told  %+v\ntruth %+v\nlost %d of %d", got, want, r.Lost, r.Sent)
			}
			if r.Sent != 5000 || r.Replies+r.Lost != 5000 || r.Pending != 0 {
				t.Errorf("sent %d, %d replies, %d lost", r.Sent, r.Replies, r.Lost)
			}
			if r.HopsOut == nil || *r.HopsOut != (result.Hops{Min: 5, Max: 5}) || *r.HopsHome != (result.Hops{Min: 4, Max: 4}) {
				t.Errorf("hops %+v, %+v", r.HopsOut, r.HopsHome)
			}
		})
	}
}

func TestTallyOfStatelessReflector(t *testing.T) {
	book := tally{wait: 50 * time.Millisecond}
	path{echo: true, lossOut: 0.03, lossHome: 0.05, twiceHome: 0.01}.run(5000, &book)
	r := book.report(wire.UnknownError)
	if r.LostOut != nil || r.LostHome != nil || r.LostEither != nil || r.DuplicateOut != nil {
		t.Errorf("directions are told: %+v", r)
	}
	if !hasRemark(r, "reflector_stateless") {
		t.Errorf("remarks: %v", r.remarks)
	}
	clean := tally{wait: 50 * time.Millisecond}
	path{echo: true}.run(100, &clean)
	if r := clean.report(wire.UnknownError); r.LostOut == nil || *r.LostOut != 0 || *r.LostHome != 0 {
		t.Errorf("without loss: %v, %v", r.LostOut, r.LostHome)
	}
}

func hasRemark(r *report, code string) bool {
	for _, one := range r.remarks {
		if one.code == code {
			return true
		}
	}
	return false
}

// A clock that is off, or is set, does not touch the RTT and makes one-way
// delays unusable.
func TestTallyClocks(t *testing.T) {
	good := wire.NewErrorEstimate(time.Microsecond, true, false)
	for _, tt := range []struct {
		name   string
		offset func(i int) time.Duration
		own    wire.ErrorEstimate
		why    string
	}{
		{"right", func(int) time.Duration { return 0 }, good, ""},
		{"an hour ahead", func(int) time.Duration { return time.Hour }, good, "a delay is negative by more than the clocks admit"},
		{"an hour behind", func(int) time.Duration { return -time.Hour }, good, "a delay is negative by more than the clocks admit"},
		{"set in between", func(i int) time.Duration { return time.Duration(i/500) * time.Hour }, good, "a clock was set during the test"},
		{"set by 20 ms", func(i int) time.Duration { return time.Duration(i/500) * 20 * time.Millisecond }, good, "a clock was set during the test"},
		{"ours unknown", func(int) time.Duration { return 0 }, wire.UnknownError, "our own clock is not synchronised"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			book := tally{wait: time.Second, counts: true}
			start := time.Unix(1_800_000_000, 0)
			for i := range 1000 {
				at := start.Add(time.Duration(i) * 10 * time.Millisecond)
				seq := book.send(at)
				path{offset: tt.offset(i)}.deliver(event{at: at.Add(4 * time.Millisecond), seq: seq, r: seq, t2: at.Add(2 * time.Millisecond)}, &book)
			}
			book.finish(start.Add(time.Minute))
			r := book.report(tt.own)
			if d := r.RTT.Delay; d.Min != d.Max || (d.Min-4*time.Millisecond).Abs() > time.Nanosecond {
				t.Errorf("RTT %+v", d)
			}
			if r.Clock.Why != tt.why || r.Clock.Usable != (tt.why == "") {
				t.Errorf("clock %+v, want %q", *r.Clock, tt.why)
			}
		})
	}
}

func TestTallyLateAndBogus(t *testing.T) {
	book := tally{wait: 100 * time.Millisecond, counts: true}
	start := time.Unix(1_800_000_000, 0)
	for i := range 4 {
		book.send(start.Add(time.Duration(i) * time.Millisecond))
	}
	reply := func(seq uint32, after time.Duration) {
		path{}.deliver(event{at: start.Add(after), seq: seq, r: seq, t2: start.Add(after / 2)}, &book)
	}
	reply(0, 10*time.Millisecond)
	reply(9, 10*time.Millisecond) // never sent
	reply(1<<32-1, 10*time.Millisecond)
	reply(3, 20*time.Millisecond)
	book.settle(start.Add(150 * time.Millisecond))
	reply(1, 160*time.Millisecond) // late
	book.settle(start.Add(10 * time.Second))
	reply(2, 10*time.Second) // later than remembered
	book.finish(start.Add(20 * time.Second))
	r := book.report(wire.UnknownError)
	if r.Sent != 4 || r.Replies != 2 || r.Lost != 2 || r.Late != 2 || r.Dropped["bogus"] != 2 || r.LossRuns.Count != 1 || r.LossRuns.Longest != 2 {
		t.Errorf("%+v", r)
	}
}

// A test that is cut short does not count as lost what had no time to come back.
func TestTallyPending(t *testing.T) {
	book := tally{wait: time.Second, counts: true}
	start := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		book.send(start.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	if pending := book.finish(start.Add(9950 * time.Millisecond)); pending != 10 {
		t.Errorf("%d pending", pending)
	}
	if r := book.report(wire.UnknownError); r.Sent != 90 || r.Lost != 90 {
		t.Errorf("sent %d, lost %d", r.Sent, r.Lost)
	}
}

// The book's memory does not grow with the length of a test, answered or not.
func TestTallyIsBounded(t *testing.T) {
	for _, answered := range []bool{true, false} {
		book := tally{wait: 100 * time.Millisecond, counts: true}
		start := time.Unix(1_800_000_000, 0)
		for i := range 200_000 {
			at := start.Add(time.Duration(i) * time.Millisecond)
			seq := book.send(at)
			if answered {
				path{}.deliver(event{at: at, seq: seq, r: seq, t2: at}, &book)
			}
			if i%64 == 0 {
				book.settle(at)
			}
		}
		if len(book.ring) > 512 || cap(book.losses.replies) > 512 {
			t.Errorf("answered %t: %d places, %d replies", answered, len(book.ring), cap(book.losses.replies))
		}
	}
}

// A follow-up sets T3 of the reply before right, and with it the RTT.
func TestTallyFollowUp(t *testing.T) {
	book := tally{wait: time.Second, counts: true, follows: true}
	start := time.Unix(1_800_000_000, 0)
	const sendLag = 50 * time.Microsecond // between T3 in the reply and the wire
	left := start
	for i := range 100 {
		at := start.Add(time.Duration(i) * 10 * time.Millisecond)
		seq := book.send(at)
		t2 := at.Add(time.Millisecond)
		t3 := t2.Add(10 * time.Microsecond)
		if i > 0 && i != 50 { // one is missing
			book.follow(wire.FollowUp{Seq: seq - 1, Sent: wire.NTP(left), Method: wire.SoftwareLocal}, false)
		}
		left = t3.Add(sendLag)
		book.reply(wire.Reply{Seq: seq, SenderSeq: seq, Received: wire.NTP(t2), Sent: wire.NTP(t3)}, arrival{At: left.Add(time.Millisecond)})
	}
	book.finish(start.Add(time.Minute))
	r := book.report(wire.UnknownError)
	if r.followUps != 98 || r.RTT.Delay.Count != 100 {
		t.Errorf("%d follow-ups, %d delays", r.followUps, r.RTT.Delay.Count)
	}
	if d := r.RTT.Delay; (d.P95-2*time.Millisecond).Abs() > time.Microsecond || (d.Max-2*time.Millisecond-sendLag).Abs() > time.Microsecond {
		t.Errorf("RTT %+v, want 2ms, and 50µs more for the two without", d)
	}
	if r.RTT.IPDV.Count != 99 {
		t.Errorf("IPDV %+v", r.RTT.IPDV)
	}
}
