package diagnose_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/app/diagnose"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// These tests make a cause happen to a real client and server and see it named:
// here in a network in memory, where time is not real.

const near, far = "192.0.2.1", "192.0.2.2"

// hostCPU shows every reader of this machine's load a made-up one: user and idle
// time in hundredths of a second for each second that passes. It ends with ctx.
func hostCPU(ctx context.Context, t *testing.T, dir string, busy, idle int) {
	next := filepath.Join(dir, "next")
	write := func(n int) {
		line := fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\n", n*busy, n*idle)
		if err := os.WriteFile(next, []byte(line), 0o644); err != nil {
			t.Error(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "stat")); err != nil { // nobody reads half of it
			t.Error(err)
		}
	}
	write(1)
	go func() {
		tick := time.NewTicker(time.Second / 10)
		defer tick.Stop()
		for n := 2; ; n++ {
			select {
			case <-tick.C:
				write(n)
			case <-ctx.Done():
				return
			}
		}
	}()
}

// A setting is a path between two machines.
type setting struct {
	up, down testnet.Link // of the client
	far      testnet.Link // what the server sends passes this before
	busy     int          // percent of the CPUs
}

func symmetric(l testnet.Link) setting { return setting{up: l, down: l, busy: 20} }

// run runs c against a server and returns the End.
func (s setting) run(t *testing.T, c btest.Client) result.End {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("shows a made-up /proc/stat, which only Linux has")
	}
	dir := t.TempDir()
	t.Setenv("HOST_PROC", dir)
	var end result.End
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		hostCPU(ctx, t, dir, s.busy, 100-s.busy)
		var network testnet.Network
		client, server := network.Host(s.up, s.down, near), network.Host(s.far, testnet.Link{}, far)
		l, err := server.Listen(ctx, "tcp", far+":2000")
		if err != nil {
			t.Fatal(err)
		}
		b := &btest.Server{ListenPacket: server.ListenPacket}
		served := make(chan error, 1)
		go func() { served <- b.Serve(ctx, l) }()

		c.Target, c.Dial, c.ListenPacket = far+":2000", client.DialContext, client.ListenPacket
		if c.Duration == 0 {
			c.Duration = 10 * time.Second
		}
		err = c.Run(ctx, diagnose.Sink(result.Func(func(e result.Event) {
			if e, ok := e.(result.End); ok {
				end = e
			}
		})))
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		stop()
		<-served
	})
	return end
}

func TestMadeOwnRateLimit(t *testing.T) {
	for _, d := range []result.Direction{result.Down, result.Up} {
		for _, udp := range []bool{false, true} {
			path := testnet.Link{Rate: 50e6, Delay: 5 * time.Millisecond}
			end := symmetric(path).run(t, btest.Client{UDP: udp, Direction: d, DownRate: 4e6, UpRate: 4e6})
			check(t, end, diagnose.OwnRateLimit)
		}
	}
}

func TestMadePathFull(t *testing.T) {
	path := testnet.Link{Rate: 10e6, Queue: 32 << 10, Delay: 5 * time.Millisecond}
	for _, d := range []result.Direction{result.Down, result.Up} {
		t.Run("UDP "+d.String(), func(t *testing.T) {
			check(t, symmetric(path).run(t, btest.Client{UDP: true, Direction: d}), diagnose.PathFull)
		})
		t.Run("TCP with probes "+d.String(), func(t *testing.T) {
			check(t, symmetric(path).run(t, btest.Client{Direction: d, Latency: true}), diagnose.PathFull)
		})
	}
}

func TestMadePathLoss(t *testing.T) {
	path := testnet.Link{Rate: 50e6, Queue: 1 << 20, Delay: 5 * time.Millisecond, Loss: testnet.Share(0.1)}
	for _, d := range []result.Direction{result.Down, result.Up} {
		end := symmetric(path).run(t, btest.Client{UDP: true, Direction: d, DownRate: 4e6, UpRate: 4e6})
		check(t, end, diagnose.PathLoss)
	}
}

func TestMadeCPU(t *testing.T) {
	s := symmetric(testnet.Link{Rate: 10e6, Queue: 32 << 10, Delay: 5 * time.Millisecond})
	s.busy = 98
	check(t, s.run(t, btest.Client{UDP: true, Direction: result.Down}), diagnose.CPULocal)
}

// TestMadePeerSlow: the far end's own interface makes it wait, so that it sends
// no more than comes, and nothing waits behind it.
func TestMadePeerSlow(t *testing.T) {
	s := symmetric(testnet.Link{Delay: 5 * time.Millisecond})
	s.far = testnet.Link{Rate: 25e6, Queue: 1600, Wait: true}
	check(t, s.run(t, btest.Client{UDP: true, Direction: result.Down, Latency: true}), diagnose.PeerSlow)
}

func TestMadeNothing(t *testing.T) {
	path := testnet.Link{Rate: 10e6, Queue: 8 << 10, Delay: 20 * time.Millisecond}
	check(t, symmetric(path).run(t, btest.Client{Direction: result.Down}), diagnose.Unknown)
}

// TestMadeBufferbloat is the same link with a deep and with a shallow queue.
func TestMadeBufferbloat(t *testing.T) {
	for _, tt := range []struct {
		queue int
		want  string
	}{
		{8 << 10, "A"},    // 6.5 ms at 10 Mbit/s
		{640 << 10, "F"},  // 524 ms
		{160 << 10, "CD"}, // 131 ms
	} {
		path := testnet.Link{Rate: 10e6, Queue: tt.queue, Delay: 10 * time.Millisecond}
		end := symmetric(path).run(t, btest.Client{UDP: true, Direction: result.Down, Latency: true})
		if l := end.Latency; l == nil || l.Grade == "" || !strings.Contains(tt.want, l.Grade) {
			t.Errorf("queue of %d bytes: %+v, want grade %s", tt.queue, l, tt.want)
		} else {
			t.Logf("queue of %d bytes: grade %s, %.0f RPM, loaded %v", tt.queue, l.Grade, *l.RPM, l.Loaded.P50)
		}
	}
}
