// Package admit is the model of who may run how much: a Policy admits a test
// and hands out a Grant; the engines spend the Grant's Budget as they move
// bytes and end the test when it is gone.
//
// Bring your own Policy to embed a server in another program, or use Limits.
// Gate and Backoff protect what comes before a test: connections and logins.
package admit

import (
	"context"
	"net/netip"
	"time"
)

// A Request says who wants to run what. A server asks once for each test,
// after the login and before any test traffic.
type Request struct {
	Protocol string     // such as "btest"
	Run      string     // the ID that the events of the test will carry; empty if it has none
	Account  string     // who logged in; empty without a login
	Peer     netip.Addr // never a v4-mapped address
	Transmit bool       // the server is to send
	Receive  bool       // the server is to receive
	Streams  int        // flows per direction
	// Queued, if not nil, is told at once and then each second while the test
	// waits for a place: which one it is in the queue, from 1, and the expected
	// wait, 0 if that is not known. Its error ends the wait.
	Queued func(position int, wait time.Duration) error
}

// A Grant is what one test may do. The zero Grant limits nothing.
type Grant struct {
	Budget *Budget       // bytes that may still be moved; nil never ends
	Time   time.Duration // longest test; 0 is no limit
	Rate   uint64        // bit/s each way; 0 is no limit
	// Settle, if not nil, is called once when the test is over with the bytes
	// of payload that the server sent and received.
	Settle func(sent, received uint64)
	// Ended, if not nil, is done when the policy ends the test before its time,
	// with the reason as its cause: see OnEnd.
	Ended context.Context
}

// OnEnd arranges that stop is called, with the reason, when the policy ends the
// test. The function it returns undoes that.
func (g *Grant) OnEnd(stop context.CancelCauseFunc) (undo func()) {
	if g == nil || g.Ended == nil {
		return func() {}
	}
	off := context.AfterFunc(g.Ended, func() { stop(context.Cause(g.Ended)) })
	return func() { off() }
}

// A Policy decides whether a test may run. Admit may wait for a place until
// ctx ends. A refusal is a *RefusedError or an *ExceededError. It must be safe
// for concurrent use.
type Policy interface {
	Admit(ctx context.Context, r Request) (*Grant, error)
}

// A RefusedError says that a test, a connection or a login was not admitted.
type RefusedError struct {
	Word  string    // fixed word for logs and programs, such as "too_many_connections"
	Text  string    // why, for a person
	Until time.Time // when it may work again; zero when not known
}

func (e *RefusedError) Error() string {
	if e.Until.IsZero() {
		return e.Text
	}
	return e.Text + ", try again after " + e.Until.UTC().Format(time.RFC3339)
}

// Code returns the fixed word.
func (e *RefusedError) Code() string { return e.Word }

// ExitCode returns 5: refused by quota or limit.
func (e *RefusedError) ExitCode() int { return 5 }

// The words of refusals.
const (
	TooManyConnections = "too_many_connections"
	TooManyLogins      = "too_many_logins"
)
