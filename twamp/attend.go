package twamp

import (
	"context"
	"errors"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// A server that is gone reflects no more, and says so by closing the control
// connection: whoever sends on to the asked end would count what nobody can
// answer as loss of the path. Some reflectors answer on although the connection
// is closed, so the packets that come back decide.

// attended measures while it listens on the control connection.
func (x *exchange) attended(ctx context.Context, r *run, begin result.Begin) error {
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := x.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if x.hungUp() {
			x.outlive(within, stop)
		}
	}()
	err := r.measure(within, begin, x.senders...)
	stop(nil)
	x.conn.SetReadDeadline(longAgo) // wakes hungUp; the connection is closed soon
	<-watched
	if cause := context.Cause(within); err == nil && errors.Is(cause, errServerGone) {
		return x.fail(result.CodePeerLost, errServerGone.Error(), "what was measured until then is kept", nil)
	}
	return err
}

var errServerGone = errors.New("the server closed the control connection, and answers no more")

// hungUp waits until the server closes the connection. It is false when the
// server says something instead, which is kept for whoever reads next, or when
// nobody wants to know any more.
func (x *exchange) hungUp() bool {
	n, err := x.conn.Read(x.in[x.have : x.have+1])
	x.have += n
	return n == 0 && sock.IsGone(err)
}

// outlive stops a test whose server has hung up as soon as for the time of one
// reply none has come.
func (x *exchange) outlive(ctx context.Context, stop context.CancelCauseFunc) {
	x.log.Warn("the server closed the control connection; the test goes on while replies come", "server", x.addr)
	for came := x.replies(); ; {
		timer := time.NewTimer(max(time.Second, x.client.wait()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		now := x.replies()
		if now == came {
			stop(errServerGone)
			return
		}
		came = now
	}
}

// replies are those that came in all sessions.
func (x *exchange) replies() uint64 {
	var n uint64
	for _, s := range x.senders {
		s.mu.Lock()
		n += s.tally.replies
		s.mu.Unlock()
	}
	return n
}
