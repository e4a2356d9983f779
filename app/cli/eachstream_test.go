package cli

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
)

// With EachStream there is an interval for each stream, too, and together they are
// that of all.
func TestEachStream(t *testing.T) {
	type serve func(context.Context, net.Listener) error
	for name, tt := range map[string]struct {
		serve serve
		run   func(ctx context.Context, at string, sink result.Sink) error
	}{
		"btest": {new(btest.Server).Serve, func(ctx context.Context, at string, sink result.Sink) error {
			return (&btest.Client{Target: at, Direction: result.Down, Connections: 3, Duration: time.Second, DownRate: 3e6, EachStream: true}).Run(ctx, sink)
		}},
		"rperf": {new(rperf.Server).Serve, func(ctx context.Context, at string, sink result.Sink) error {
			return (&rperf.Client{Target: at, Direction: result.Up, Streams: 3, Duration: time.Second, EachStream: true}).Run(ctx, sink)
		}},
		"iperf3": {new(iperf3.Server).Serve, func(ctx context.Context, at string, sink result.Sink) error {
			return (&iperf3.Client{Target: at, Direction: result.Down, Streams: 3, Duration: time.Second, EachStream: true}).Run(ctx, sink)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go tt.serve(t.Context(), l)
			var mu sync.Mutex
			all, parts, streams := uint64(0), uint64(0), map[int]bool{}
			err = tt.run(t.Context(), l.Addr().String(), result.Func(func(e result.Event) {
				mu.Lock()
				defer mu.Unlock()
				i, ok := e.(result.Interval)
				switch {
				case !ok:
				case i.Stream == result.AllStreams:
					all += i.Local().Bytes
				default:
					parts, streams[i.Stream] = parts+i.Local().Bytes, true
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			if len(streams) != 3 || all == 0 || all != parts {
				t.Errorf("%d streams, %d bytes of %d", len(streams), parts, all)
			}
		})
	}
}
