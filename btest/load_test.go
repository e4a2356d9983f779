package btest

import (
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testrace"
	"github.com/sonde-net/sonde/result"
)

// memory is what the process has: the heap, and all that is resident, bytes.
func memory() (heap, resident uint64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m.HeapInuse, 0
	}
	if kb := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b); kb != nil {
		n, _ := strconv.ParseUint(string(kb[1]), 10, 64)
		resident = n << 10
	}
	return m.HeapInuse, resident
}

// TestManyClients runs 300 clients at once against one server, at 1 Mbit/s each,
// half TCP and half UDP: all get their rate, and the server has nothing left of
// them soon after. With the race detector, which makes each packet ten times as
// dear, they are 60.
func TestManyClients(t *testing.T) {
	const rate = 1e6
	n := 300
	if testrace.Enabled {
		n = 60
	}
	before := runtime.NumGoroutine()
	heap0, resident0 := memory()
	tooBusy := watchCPU()
	server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, n/2, 0), Connections: -1, ConnectionsPerAddress: -1})
	ends := make([]result.End, n)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c := &Client{Target: server.addr, UDP: i%2 == 1, Direction: result.Down, DownRate: rate, Duration: 3 * time.Second, ConnectTime: 10 * time.Second}
			if i%4 >= 2 {
				c.Direction, c.UpRate = result.Up, rate
			}
			err := c.Run(t.Context(), result.Func(func(e result.Event) {
				if end, ok := e.(result.End); ok {
					ends[i] = end
				}
			}))
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	time.Sleep(2 * time.Second)
	sessions, routines := len(server.Sessions()), runtime.NumGoroutine()
	heap, resident := memory()
	wg.Wait()
	took := time.Since(start)
	idle := server.awaitIdle(t, 10*time.Second)
	t.Logf("%d tests at once, %d goroutines of both ends; heap %d MB more, resident %d MB more; all done after %v, idle %v later",
		sessions, routines, (heap-heap0)>>20, (resident-resident0)>>20, took.Round(time.Millisecond), idle.Round(time.Millisecond))
	checkMany(t, server, ends, rate, tooBusy())
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+10; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// checkMany: each client and each session moved what its time is worth, unless
// the machine was too busy to tell.
func checkMany(t *testing.T, server *live, ends []result.End, rate uint64, busy bool) {
	t.Helper()
	runs := server.events.of()
	if len(runs) != len(ends) {
		t.Errorf("the server saw %d tests, want %d", len(runs), len(ends))
	}
	for i := range runs {
		ends = append(ends, runs[i].check(t))
	}
	var shares []float64
	slow := 0
	for i, e := range ends {
		v := e.Local(result.Down)
		if e.Down == nil {
			v = e.Local(result.Up)
		}
		if v == nil || v.Bytes == 0 {
			if !busy {
				t.Errorf("%s %d: nothing moved", e.Role, i)
			}
			continue
		}
		n := v.Bytes
		if v.WireBytes != nil {
			n = *v.WireBytes
		}
		share := float64(n) / (float64(rate) / 8 * e.Elapsed.Seconds())
		shares = append(shares, share)
		if !busy && (share > 1.1 || share < 0.9) {
			slow++
		}
	}
	slices.Sort(shares)
	t.Logf("from %.0f %% to %.0f %% of their rate, half of them above %.0f %%", 100*shares[0], 100*shares[len(shares)-1], 100*shares[len(shares)/2])
	if slow > 0 {
		t.Errorf("%d of %d ends are more than 10 %% off their rate", slow, len(ends))
	}
	if busy {
		t.Log("the CPU was full: their rates may be low")
	}
}
