package btest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// granting is a Policy that gives every test the same grant and notes what was
// asked for and settled.
type granting struct {
	grant  admit.Grant
	refuse error

	mu             sync.Mutex
	asked          []admit.Request
	settled        int
	sent, received uint64
}

func (g *granting) Admit(_ context.Context, r admit.Request) (*admit.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, r)
	if g.refuse != nil {
		return nil, g.refuse
	}
	grant := g.grant
	grant.Settle = func(sent, received uint64) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.settled++
		g.sent, g.received = sent, received
	}
	return &grant, nil
}

// TestBudget: a test ends when its budget is gone. A server never sends a byte
// beyond it, and what is settled is what was spent.
func TestBudget(t *testing.T) {
	t.Parallel()
	const all = 3_000_000
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			for _, n := range []int{1, 4} {
				t.Run(fmt.Sprintf("udp=%v/%v/%d", udp, d, n), func(t *testing.T) {
					t.Parallel()
					budget := admit.NewBudget(all, "daily_quota_exceeded", "daily bytes of user test")
					policy := &granting{grant: admit.Grant{Budget: budget}}
					s := &Server{Policy: policy}
					if udp {
						s.UDPPorts = udpPorts(t, 1, n)
					}
					server := serve(t, "127.0.0.1", s)
					// Received trains are spent as they come: up to one for each flow.
					near, far, err := server.test(t, &Client{UDP: udp, Direction: d, Connections: n, Duration: 20 * time.Second, UpRate: 20e6, DownRate: 20e6})
					exitCode(t, err, 7)
					if reason := near.check(t).Reason; reason != result.ReasonServerGone {
						t.Errorf("the client ended because %q", reason)
					}
					end := far.check(t)
					exceeded, ok := errors.AsType[*admit.ExceededError](end.Err)
					if !ok || exceeded.Limit != all || end.Reason != "daily_quota_exceeded" {
						t.Errorf("the server ended because %q, %v", end.Reason, end.Err)
					}
					exitCode(t, end.Err, 5)
					checkBudget(t, policy, budget, all, d, n)
				})
			}
		}
	}
}

func checkBudget(t *testing.T, policy *granting, budget *admit.Budget, all uint64, d result.Direction, n int) {
	t.Helper()
	policy.mu.Lock()
	defer policy.mu.Unlock()
	left, _ := budget.Left()
	moved := policy.sent + policy.received
	if policy.settled != 1 {
		t.Errorf("settled %d times", policy.settled)
	}
	if policy.sent > all {
		t.Errorf("the server sent %d bytes of a budget of %d", policy.sent, all)
	}
	over := uint64(0)
	if d.Has(result.Up) { // what came cannot be sent back: a read for each flow
		over = uint64(n) * 64 << 10
	}
	if moved+left < all || moved+left > all+over {
		t.Errorf("%d sent, %d received, %d left of %d", policy.sent, policy.received, left, all)
	}
	if left > 64<<10 {
		t.Errorf("%d bytes left", left)
	}
}

// TestBudgetShared: a budget that is gone already ends a test at once, and one
// that two tests share ends both.
func TestBudgetShared(t *testing.T) {
	t.Parallel()
	budget := admit.NewBudget(4_000_000, "quota", "bytes")
	server := serve(t, "127.0.0.1", &Server{Policy: &granting{grant: admit.Grant{Budget: budget}}})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c := &Client{Target: server.addr, DownRate: 20e6, Duration: 20 * time.Second}
			exitCode(t, c.Run(t.Context(), result.Discard), 7)
		})
	}
	wg.Wait()
	start := time.Now()
	exitCode(t, (&Client{Target: server.addr, Duration: 20 * time.Second}).Run(t.Context(), result.Discard), 7)
	if took := time.Since(start); took > 6*time.Second { // before even silence would have ended it
		t.Errorf("a test without a budget took %v", took)
	}
	for n := range 3 {
		run := server.events.await(t, n+1)
		if end := run.check(t); result.CodeOf(end.Err) != "quota" {
			t.Errorf("test %d: %v", n, end.Err)
		}
	}
}

// TestPolicy: a policy is asked once, after the login, and its refusal reaches
// the client as one.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, login := range []string{LoginNone, LoginMD5, LoginSRP5} {
		t.Run(login, func(t *testing.T) {
			t.Parallel()
			policy := &granting{refuse: &admit.RefusedError{Word: admit.TooManyConnections, Text: "enough for today"}}
			s := &Server{Policy: policy}
			c := &Client{Direction: result.Up, Connections: 7, Duration: time.Second}
			want := admit.Request{Protocol: Protocol, Peer: netip.MustParseAddr("127.0.0.1"), Receive: true, Streams: 7}
			if login != LoginNone {
				s.Accounts, s.Auth = users(), Auth(login)
				c.Account, c.Password, want.Account = "test", "secret", "test"
			}
			server := serve(t, "127.0.0.1", s)
			c.Target = server.addr
			err := c.Run(t.Context(), result.Discard)
			// After MD5 a refusal and a wrong password look the same.
			code := result.CodeRefused
			if login == LoginMD5 {
				code = result.CodeAuth
			}
			if result.CodeOf(err) != code {
				t.Errorf("refused: %v, code %q, want %q", err, result.CodeOf(err), code)
			}
			if len(policy.asked) == 1 {
				want.Run = policy.asked[0].Run // fresh for each
			}
			if len(policy.asked) != 1 || want.Run == "" || !reflect.DeepEqual(policy.asked[0], want) {
				t.Errorf("asked %+v, want %+v", policy.asked, want)
			}
			if runs := server.events.of(); len(runs) > 0 {
				t.Errorf("a test that was refused has a run: %+v", runs[0])
			}
			policy.refuse = nil
			if err := c.Run(t.Context(), result.Discard); err != nil {
				t.Errorf("after the refusal: %v", err)
			}
			server.awaitIdle(t, 5*time.Second)
			if id := server.events.of()[0].id; string(id) != policy.asked[1].Run {
				t.Errorf("run %s, asked for %+v", id, policy.asked)
			}
			if policy.settled != 1 || policy.received == 0 {
				t.Errorf("settled %d times, %d bytes", policy.settled, policy.received)
			}
		})
	}
}

// TestEnds: what ends a test from outside of it, and what each end makes of it.
func TestEnds(t *testing.T) {
	t.Parallel()
	operator := errors.New("the operator says so")
	for _, tt := range []struct {
		name       string
		grant      admit.Grant
		end        func(v *live)
		reason     string
		err        error // is in the error
		code       string
		stopClient error // cancels the client's context
	}{
		{name: "longest test", grant: admit.Grant{Time: 2 * time.Second}, reason: result.ReasonMaxDuration, code: result.ReasonMaxDuration},
		{name: "Server.End", end: func(v *live) { v.Server.End(v.Sessions()[0].Run, operator) }, reason: result.ReasonFailed, err: operator, code: "error"},
		{name: "Server.End with a code", end: func(v *live) {
			v.Server.End(v.Sessions()[0].Run, &admit.RefusedError{Word: "user_disabled", Text: "account closed"})
		}, reason: "user_disabled", code: "user_disabled"},
		{name: "Server.End without a cause", end: func(v *live) { v.Server.End(v.Sessions()[0].Run, nil) }, reason: result.ReasonInterrupted, code: result.CodeInterrupted},
		{name: "server stops", end: func(v *live) { v.stop(nil) }, reason: result.ReasonShutdown},
		{name: "server interrupted", end: func(v *live) { v.stop(&result.Error{Word: result.CodeTerminated, Text: "terminated"}) }, reason: result.ReasonShutdown},
		{name: "server stops for a cause", end: func(v *live) { v.stop(operator) }, reason: result.ReasonShutdown, err: operator, code: "error"},
		{name: "client stops", stopClient: context.Canceled, reason: result.ReasonClientGone},
		{name: "client stops for a cause", stopClient: operator, reason: result.ReasonClientGone},
	} {
		for _, udp := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/udp=%v", tt.name, udp), func(t *testing.T) {
				t.Parallel()
				policy := &granting{grant: tt.grant}
				server := serve(t, "127.0.0.1", &Server{Policy: policy, UDPPorts: udpPorts(t, 1, 1)})
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				var near events
				c := &Client{Target: server.addr, UDP: udp, Direction: result.Both, UpRate: 5e6, DownRate: 5e6, Duration: 30 * time.Second}
				ended := make(chan error, 1)
				go func() { ended <- c.Run(ctx, &near) }()
				if tt.end != nil || tt.stopClient != nil {
					awaitIntervals(t, &near, 1)
					awaitIntervals(t, server.events, 1)
				}
				if tt.end != nil {
					tt.end(server)
				}
				if tt.stopClient != nil {
					stop(tt.stopClient)
				}
				err := <-ended
				mine, far := near.of()[0], server.events.await(t, 1)
				end := far.check(t)
				if end.Reason != tt.reason || result.CodeOf(end.Err) != tt.code || tt.err != nil && !errors.Is(end.Err, tt.err) {
					t.Errorf("the server ended because %q, %v (%s), want %q, %v (%s)", end.Reason, end.Err, result.CodeOf(end.Err), tt.reason, tt.err, tt.code)
				}
				own := mine.check(t)
				if own.Down.Received.Bytes == 0 || own.Up.Sent.Bytes == 0 {
					t.Errorf("the client's summary %+v %+v", own.Down, own.Up)
				}
				if tt.stopClient != nil {
					exitCode(t, err, 130)
					if own.Reason != result.ReasonInterrupted || tt.stopClient == operator && !errors.Is(err, operator) {
						t.Errorf("the client ended because %q, %v", own.Reason, err)
					}
				} else {
					exitCode(t, err, 7)
				}
				if policy.settled != 1 {
					t.Errorf("settled %d times", policy.settled)
				}
			})
		}
	}
}

// TestClientTimeout: a deadline of the caller is not a silent server.
func TestClientTimeout(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.0.1", &Server{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var near events
	err := (&Client{Target: server.addr, DownRate: 1e6}).Run(ctx, &near)
	run := near.of()[0]
	if end := run.check(t); end.Reason != result.ReasonInterrupted || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended because %q, %v", end.Reason, err)
	}
}

// TestSessions: the list of running tests has live figures, which may be asked
// for at any time, and counters agree with them in the end.
func TestSessions(t *testing.T) {
	t.Parallel()
	for _, udp := range []bool{false, true} {
		t.Run(fmt.Sprintf("udp=%v", udp), func(t *testing.T) {
			t.Parallel()
			var begun []int
			s := &Server{Accounts: users(), Auth: AuthMD5, UDPPorts: udpPorts(t, 1, 1), Counters: &admit.Counters{}}
			s.Sink = result.Func(func(e result.Event) {
				if _, ok := e.(result.Begin); ok { // whoever sees the Begin finds the session
					begun = append(begun, len(s.Sessions()))
				}
			})
			server := serve(t, "127.0.0.1", s)
			c := &Client{Target: server.addr, UDP: udp, Direction: result.Both, UpRate: 8e6, DownRate: 4e6, Duration: 1500 * time.Millisecond, Account: "test", Password: "secret"}
			done := make(chan error, 1)
			go func() { done <- c.Run(t.Context(), result.Discard) }()
			var last Session
			for running := true; running; {
				select {
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
					running = false
				case <-time.After(10 * time.Millisecond):
				}
				for _, one := range s.Sessions() {
					if one.Sent < last.Sent || one.Received < last.Received {
						t.Errorf("figures fell from %+v to %+v", last, one)
					}
					last = one
				}
			}
			run := server.events.await(t, 1)
			end := run.check(t)
			want := result.TCP
			if udp {
				want = result.UDP
			}
			if last.Account != "test" || last.Transport != want || last.Direction != result.Both || last.Run != end.Run || last.Since.IsZero() || !last.Peer.IsValid() {
				t.Errorf("session %+v", last)
			}
			if last.Sent == 0 || last.Received == 0 || last.Sent > end.Down.Sent.Bytes || last.Received > end.Up.Received.Bytes+100_000 {
				t.Errorf("session %+v, in the end %d and %d bytes", last, end.Down.Sent.Bytes, end.Up.Received.Bytes)
			}
			sent, received := s.Counters.Bytes()
			if sent != end.Down.Sent.Bytes || received != end.Up.Received.Bytes {
				t.Errorf("counters %d, %d, want %d, %d", sent, received, end.Down.Sent.Bytes, end.Up.Received.Bytes)
			}
			if all, running := s.Counters.Tests(); all != 1 || running != 0 {
				t.Errorf("%d tests, %d running", all, running)
			}
			if len(begun) != 1 || begun[0] != 1 {
				t.Errorf("sessions at the Begin: %v", begun)
			}
		})
	}
}
