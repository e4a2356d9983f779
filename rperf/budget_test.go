package rperf

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/testnet"
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
		for _, d := range []result.Direction{result.Up, result.Down} {
			for _, n := range []int{1, 8} {
				t.Run(fmt.Sprintf("udp=%v %v %d", udp, d, n), func(t *testing.T) {
					books := &testserve.Ledger{Grant: admit.Grant{Budget: admit.NewBudget(all, "user_daily_quota_exceeded", "daily bytes of user ann")}}
					target, sink, stop := serveReal(t, &Server{Policy: books})
					c := Client{Target: target, UDP: udp, Direction: d, Streams: n, Duration: time.Minute}
					if udp {
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
					moved, other := books.Sent, books.Received
					if d == result.Up {
						moved, other = other, moved
					}
					if most := uint64(all + n*batch); books.Settled != 1 || other != 0 || moved > most || moved < all-uint64(n*all/256) {
						t.Errorf("booked %d times: %d bytes, and %d the other way, of %d", books.Settled, moved, other, all)
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
// UDP too and with all streams together; the Begin and a note tell of it.
func TestRateOfGrant(t *testing.T) {
	const rate = 800_000
	for _, n := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, slow, &Server{Policy: &admit.Limits{Rate: rate}})
			r, err := p.run(t.Context(), Client{UDP: true, Duration: 5 * time.Second, Streams: n, Rate: 4_000_000 / uint64(n), Length: 500})
			if err != nil {
				t.Errorf("client: %v", err)
			}
			p.stop()
			end := p.sink.End(t)
			checkHeld(t, end.Up, rate)
			if !p.sink.HasNote(result.NotePoliced) || end.Up.Received.Lost == nil || *end.Up.Received.Lost == 0 {
				t.Errorf("%d streams: not told: %+v", n, end.Up)
			}
			// The client learns what was lost.
			if up := r.End(t).Up; up == nil || up.Received == nil || up.Received.Bytes != end.Up.Received.Bytes {
				t.Errorf("%d streams: client: %+v", n, up)
			}
		})
	}
}

// checkHeld: no more came than the rate and one burst allow, and not much less.
func checkHeld(t *testing.T, total *result.Total, rate uint64) {
	t.Helper()
	if total == nil || total.Received == nil {
		t.Fatalf("total %+v", total)
	}
	v, seconds := total.Received, total.Elapsed.Seconds()
	n := float64(v.Bytes)
	if v.WireBytes != nil {
		n = float64(*v.WireBytes)
	}
	if all := float64(rate) / 8 * seconds; n > all+float64(rate)/8/5+3000 || n < all/2 {
		t.Errorf("%.0f bytes in %.1f s, want about %.0f", n, seconds, all)
	}
}

// TestStrangersDoNotPay: who does not know the test's id neither takes places,
// nor rate, nor budget, whatever he sends to its port, also from the client's
// own address.
func TestStrangersDoNotPay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		books := &testserve.Ledger{Grant: admit.Grant{Rate: 1_000_000, Budget: admit.NewBudget(1<<40, "quota", "quota")}}
		p := newPair(t, testnet.Link{Rate: 100_000_000, Wait: true, Delay: time.Millisecond}, &Server{Policy: books, Ports: Ports{UDP: []uint16{7001}}})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				c, err := p.client.DialContext(ctx, "udp", serverAddr+":7001")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				for ctx.Err() == nil {
					_, _ = c.Write(make([]byte, 1000)) // nobody listens before the test
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		r, err := p.run(t.Context(), Client{UDP: true, Duration: 2 * time.Second, Rate: 400_000, Length: 500})
		stop()
		wg.Wait()
		p.stop()
		if err != nil {
			t.Fatal(err)
		}
		up := r.End(t).Up
		if up.Received.Bytes != up.Sent.Bytes || p.sink.HasNote(result.NotePoliced) {
			t.Errorf("%d bytes of %d came", up.Received.Bytes, up.Sent.Bytes)
		}
		if left, _ := books.Grant.Budget.Left(); 1<<40-left > up.Sent.Bytes+1000 || books.Received != up.Sent.Bytes {
			t.Errorf("%d bytes were paid, %d booked, %d sent", 1<<40-left, books.Received, up.Sent.Bytes)
		}
	})
}
