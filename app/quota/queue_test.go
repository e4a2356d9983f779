package quota

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
)

// TestQueueIsFair: a place that comes free goes to whose subject has the fewest, not
// to whoever asked most often.
func TestQueueIsFair(t *testing.T) {
	p := &Policy{}
	inBubble(t, p, Rules{Tests: 3, Wait: time.Hour}, func(t *testing.T) {
		server := p.At(Server{})
		var turns []string
		type turn struct {
			name  string
			grant *admit.Grant
		}
		grants := make(chan turn, 100)
		ask := func(name string) {
			go func() {
				g, err := server.Admit(t.Context(), upload(name))
				if err != nil {
					t.Error(err)
					return
				}
				grants <- turn{name, g}
			}()
			time.Sleep(time.Millisecond)
		}
		for range 6 {
			ask("ann")
		}
		ask("bob")
		ask("eve")
		ask("bob")
		for range 9 {
			next := <-grants
			turns = append(turns, next.name)
			next.grant.Settle(0, 0)
			time.Sleep(time.Millisecond)
		}
		if want := strings.Fields("ann ann ann bob eve ann bob ann ann"); !slices.Equal(turns, want) {
			t.Errorf("turns %v, want %v", turns, want)
		}
	})
}

// TestQueueIsBounded: who waits is told the place, for a bounded time, and no
// address fills the queue.
func TestQueueIsBounded(t *testing.T) {
	p := &Policy{}
	inBubble(t, p, Rules{}, func(t *testing.T) {
		server := p.At(Server{Tests: 1})
		first := mustAdmit(t, server, upload(""))
		var told []int
		r := upload("")
		r.Queued = func(position int, _ time.Duration) error { told = append(told, position); return nil }
		began := time.Now()
		_, err := server.Admit(t.Context(), r)
		refused(t, err, admit.TooManyConnections)
		if took := time.Since(began); took != usualWait || len(told) < 8 || told[0] != 1 {
			t.Errorf("refused after %v, told %v: %v", took, told, err)
		}
		for range mostOfOne {
			go server.Admit(t.Context(), upload(""))
		}
		time.Sleep(time.Second)
		began = time.Now()
		_, err = server.Admit(t.Context(), upload(""))
		refused(t, err, admit.TooManyConnections)
		if time.Since(began) != 0 {
			t.Error("one more of the same address waited")
		}
		other := upload("")
		other.Peer = netip.MustParseAddr("192.0.2.8")
		got := make(chan *admit.Grant)
		go func() { g, _ := server.Admit(t.Context(), other); got <- g }()
		time.Sleep(time.Second)
		first.Settle(0, 0)
		// The address that had the place has none now: the longest wait counts.
		time.Sleep(time.Minute)
		if g := <-got; g != nil {
			t.Error("was admitted out of turn")
		}
		none := &Policy{}
		none.init()
		none.SetRules(Rules{Wait: -1, Tests: 1})
		mustAdmit(t, none.At(Server{}), upload(""))
		if _, err := none.At(Server{}).Admit(t.Context(), upload("")); err == nil {
			t.Error("admitted beyond the places")
		}
	})
}

// TestQueueIsNotFilled: whoever fills the queue makes room for others, one for each.
func TestQueueIsNotFilled(t *testing.T) {
	p := &Policy{}
	inBubble(t, p, Rules{Wait: time.Minute}, func(t *testing.T) {
		server := p.At(Server{Tests: 1})
		first := mustAdmit(t, server, upload(""))
		refusals := make(chan error, mostWaiting+2)
		for n := range mostWaiting {
			r := upload("")
			r.Peer = netip.AddrFrom4([4]byte{10, 0, 0, byte(n / mostOfOne)})
			go func() { _, err := server.Admit(t.Context(), r); refusals <- err }()
		}
		time.Sleep(time.Second)
		if len(refusals) > 0 {
			t.Fatal(<-refusals)
		}
		go func() {
			r := upload("")
			r.Peer = netip.MustParseAddr("192.0.2.99")
			_, _ = server.Admit(t.Context(), r) // waits with the others
		}()
		time.Sleep(time.Second)
		if len(refusals) != 1 {
			t.Errorf("%d had to leave the queue, want one", len(refusals))
		}
		refused(t, <-refusals, admit.TooManyConnections)
		first.Settle(0, 0)
		time.Sleep(2 * time.Minute)
		p.queue.mu.Lock()
		waiting := len(p.queue.waiting)
		p.queue.mu.Unlock()
		if waiting != 0 {
			t.Errorf("%d wait for longer than they may", waiting)
		}
	})
}

// TestQueueEndsWithContext: a client that left gives up its turn.
func TestQueueEndsWithContext(t *testing.T) {
	p := &Policy{}
	inBubble(t, p, Rules{Tests: 1}, func(t *testing.T) {
		server := p.At(Server{})
		g := mustAdmit(t, server, upload(""))
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := server.Admit(ctx, upload("")); left <- err }()
		time.Sleep(time.Second)
		leave()
		if err := <-left; err == nil {
			t.Error("who left was admitted")
		}
		g.Settle(0, 0)
		mustAdmit(t, server, upload("")).Settle(0, 0)
		p.queue.mu.Lock()
		places := len(p.queue.running) + len(p.queue.waiting)
		p.queue.mu.Unlock()
		if open := openBooks(p); places != 0 || open != 0 {
			t.Errorf("%d places and %d books are left", places, open)
		}
	})
}

// A limit of tests at once keeps out the next one and ends none that run, whether
// there are as many or more.
func TestFault3TestsAtTheLimitGoOn(t *testing.T) {
	p := &Policy{Ledger: newLedger()}
	two := account.Limits{Tests: new(2)}
	inBubble(t, p, Rules{Addresses: two, Wait: -1, Check: time.Second}, func(t *testing.T) {
		server := p.At(Server{})
		grants := []*admit.Grant{mustAdmit(t, server, upload("")), mustAdmit(t, server, upload(""))}
		_, err := server.Admit(t.Context(), upload(""))
		if e := refused(t, err, "too_many_connections"); !strings.Contains(e.Text, "2 tests of 192.0.2.7 run, of 2 at once") {
			t.Error(e.Text)
		}
		p.SetRules(Rules{Addresses: account.Limits{Tests: new(1)}, Wait: -1, Check: time.Second})
		time.Sleep(time.Minute)
		for n, g := range grants {
			if g.Ended.Err() != nil {
				t.Errorf("test %d was ended: %v", n, context.Cause(g.Ended))
			}
			g.Settle(0, 0)
		}
	})
}

// However many connections a test has, it takes one place and gives it back.
func TestFault4ConnectionsGiveTheirPlaceBack(t *testing.T) {
	p := &Policy{Ledger: newLedger()}
	inBubble(t, p, Rules{Addresses: account.Limits{Tests: new(1)}, Wait: -1}, func(t *testing.T) {
		for n := range 20 {
			r := upload("")
			r.Streams = 20
			g, err := p.At(Server{TestsPerAddress: 1}).Admit(t.Context(), r)
			if err != nil {
				t.Fatal(fmt.Errorf("test %d: %w", n, err))
			}
			g.Settle(0, 0)
			g.Settle(0, 0)
		}
	})
}
