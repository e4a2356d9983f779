package iperf3

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
)

// serveReal runs s on loopback until the function it returns is called.
func serveReal(t *testing.T, s *Server) (target string, sink *testserve.Record, stop func()) {
	t.Helper()
	sink = &testserve.Record{}
	s.Sink = sink
	target, stop = testserve.Loopback(t, s.Serve)
	return target, sink, stop
}

// TestBudgetOnSockets: in every mode no more moves than the budget and one batch
// of each stream, what moved is booked once, and the End says why it ended.
func TestBudgetOnSockets(t *testing.T) {
	const all, batch = 50_000_000, 64 << 10
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			for _, n := range []int{1, 8} {
				t.Run(fmt.Sprintf("udp=%v %v %d", udp, d, n), func(t *testing.T) {
					books := &testserve.Ledger{Grant: admit.Grant{Budget: admit.NewBudget(all, "user_daily_quota_exceeded", "daily bytes of user ann")}}
					target, sink, stop := serveReal(t, &Server{Policy: books})
					c := Client{Target: target, UDP: udp, Direction: d, Streams: n, Duration: time.Minute}
					if udp || d == result.Both { // one way could have spent it before the other begins
						c.Rate = 2e9 / uint64(n)
					}
					if err := c.Run(t.Context(), result.Discard); err == nil {
						t.Error("the client was not told")
					}
					stop()
					e := sink.End(t)
					if x, ok := errors.AsType[*admit.ExceededError](e.Err); !ok || e.Reason != x.Word {
						t.Errorf("End: %s, %v", e.Reason, e.Err)
					}
					moved := books.Sent + books.Received
					streams := n * len(d.Each())
					if most := uint64(all + streams*batch); books.Settled != 1 || moved > most || moved < all-uint64(streams*all/256) {
						t.Errorf("booked %d times: %d bytes of %d", books.Settled, moved, all)
					}
					if (books.Sent > 0) != d.Has(result.Down) || (books.Received > 0) != d.Has(result.Up) {
						t.Errorf("%d bytes sent and %d received are booked", books.Sent, books.Received)
					}
					if left, _ := books.Grant.Budget.Left(); all-left != min(moved, all) {
						t.Errorf("%d bytes are booked, %d were spent", moved, all-left)
					}
				})
			}
		}
	}
}

// TestRateOfGrant: what a client sends is held to the rate of the grant, over
// UDP too and with all streams together. A client that does not say how fast it
// will send is served, and a note tells.
func TestRateOfGrant(t *testing.T) {
	const rate = 8_000_000
	for _, n := range []int{1, 4} {
		best := 0.0
		for try := 0; try < 3 && best < 0.5; try++ { // while the machine stands still nothing comes
			if try > 0 {
				t.Logf("once more: %.0f %% of the rate came", 100*best)
			}
			target, sink, stop := serveReal(t, &Server{Policy: &admit.Limits{Rate: rate}})
			r := &testserve.Record{}
			c := Client{Target: target, UDP: true, Duration: time.Second, Streams: n, Length: 500}
			if err := c.Run(t.Context(), r); err != nil {
				t.Errorf("client: %v", err)
			}
			stop()
			end := sink.End(t)
			best = max(best, checkHeld(t, end.Up, rate))
			if !sink.HasNote(result.NotePoliced) || end.Up.Received.Lost == nil || *end.Up.Received.Lost == 0 {
				t.Errorf("%d streams: not told: %+v", n, end.Up)
			}
			if up := r.End(t).Up; up == nil || up.Received == nil || up.Received.Bytes != end.Up.Received.Bytes {
				t.Errorf("%d streams: client: %+v", n, up)
			}
		}
		if best < 0.5 {
			t.Errorf("%d streams: %.0f %% of the rate at best", n, 100*best)
		}
	}
}

// TestVolumeWithinBudget: a test by volume sends just that, also where there is
// a budget; a budget that is smaller ends it.
func TestVolumeWithinBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for budget, spent := range map[uint64]bool{1 << 30: false, 50_000: true} {
			books := &testserve.Ledger{Grant: admit.Grant{Budget: admit.NewBudget(budget, "quota", "quota")}}
			p := newPair(t, slow, &Server{Policy: books})
			_, err := p.run(t.Context(), Client{Direction: result.Down, Bytes: 100_000, Length: 1000})
			p.stop()
			if (err != nil) != spent || books.Settled != 1 || books.Sent != min(100_000, budget) {
				t.Errorf("budget of %d: %v, %d bytes booked", budget, err, books.Sent)
			}
		}
	})
}

// TestOmittedIsBooked: what a client leaves out of its figures has moved all the
// same.
func TestOmittedIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		books := &testserve.Ledger{}
		p := newPair(t, slow, &Server{Policy: books})
		r, err := p.run(t.Context(), Client{Direction: result.Down, Omit: 2 * time.Second, Duration: time.Second, Rate: 1e6})
		p.stop()
		if err != nil {
			t.Fatal(err)
		}
		if n := r.End(t).Down.Received.Bytes; books.Sent < 2*n {
			t.Errorf("%d bytes are booked, %d of them counted", books.Sent, n)
		}
	})
}

// checkHeld: no more came than the rate and one burst allow. It returns which share
// of the rate did.
func checkHeld(t *testing.T, total *result.Total, rate uint64) float64 {
	t.Helper()
	if total == nil || total.Received == nil {
		t.Fatalf("total %+v", total)
	}
	v, seconds := total.Received, total.Elapsed.Seconds()
	n := float64(v.Bytes)
	if v.WireBytes != nil {
		n = float64(*v.WireBytes)
	}
	all := float64(rate) / 8 * seconds
	if n > all+float64(rate)/8/5+3000 {
		t.Errorf("%.0f bytes in %.1f s, want about %.0f", n, seconds, all)
	}
	return n / all
}
