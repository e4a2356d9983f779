package sock

import (
	"context"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A door is a listener that answers with errs in turn, then with connections
// until it is closed.
type door struct {
	errs   []error
	closed chan struct{}
}

func (d *door) Accept() (net.Conn, error) {
	if len(d.errs) > 0 {
		err := d.errs[0]
		d.errs = d.errs[1:]
		return nil, err
	}
	select {
	case <-d.closed:
		return nil, net.ErrClosed
	case <-time.After(time.Second):
		near, _ := net.Pipe()
		return near, nil
	}
}

func (d *door) Close() error   { close(d.closed); return nil }
func (d *door) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2000} }

func TestAccept(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	t.Run("what may pass is waited out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			d := &door{errs: []error{syscall.EMFILE, syscall.EMFILE, syscall.EMFILE}, closed: make(chan struct{})}
			start, came := time.Now(), 0
			err := Accept(ctx, d, "test", log, func(c net.Conn) {
				c.Close()
				if came++; came == 2 {
					stop()
				}
			})
			if err != nil || came != 2 {
				t.Errorf("%d connections, %v", came, err)
			}
			if took := time.Since(start); took < 2*time.Second+35*time.Millisecond || took > 4*time.Second {
				t.Errorf("took %v: want 5, 10 and 20 ms of waiting and 2 s of connections", took)
			}
		})
	})
	t.Run("closed by another", func(t *testing.T) {
		d := &door{errs: []error{net.ErrClosed}, closed: make(chan struct{})}
		err := Accept(t.Context(), d, "test", log, func(net.Conn) {})
		if result.CodeOf(err) != result.CodeLocal {
			t.Errorf("error %v", err)
		}
	})
}
