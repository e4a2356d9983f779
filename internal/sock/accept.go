package sock

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Accept gives the connections that come to l to handle, one after the other,
// until ctx ends; then it closes l and returns nil. An error that may pass, such
// as too many open files, is logged and waited out; protocol stands before the
// other ones, which are *result.Error with result.CodeLocal.
func Accept(ctx context.Context, l net.Listener, protocol string, log *slog.Logger, handle func(net.Conn)) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return &result.Error{Word: result.CodeLocal, Text: protocol + ": listener " + l.Addr().String(), Err: err}
		case err != nil:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			log.Warn("accept", "err", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		default:
			pause = 0
			handle(conn)
		}
	}
}
