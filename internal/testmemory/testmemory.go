// Package testmemory measures, for tests, what a client costs a server.
package testmemory

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testrace"
)

// PerClient is what one of so many clients costs a server, in bytes of heap and
// stacks. come is what the n-th does on a fresh connection; it returns what it
// has opened besides. Both ends are in this process, so the figure is too high
// rather than too low. As many came before and stay, with the numbers below: threads
// and rooms that the process makes once are there, and no room that those leave makes
// it smaller. Measure what costs little first, for the same reason.
func PerClient(t *testing.T, serve func(context.Context, net.Listener) error, clients int, come func(n int, ctrl net.Conn) []io.Closer) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	number := 0
	all := func() (leave func()) {
		var open []io.Closer
		for range clients {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			open = append(append(open, conn), come(number, conn)...)
			number++
		}
		time.Sleep(time.Second) // what they said is read, and whoever is silent rests
		settle()
		return func() {
			for _, one := range open {
				one.Close()
			}
		}
	}
	measure := func() int {
		defer all()()
		before := InUse()
		defer all()()
		return int(InUse()-before) / clients
	}
	for range tries {
		if each := measure(); each >= least {
			return each
		}
		t.Log("once more: nothing was measured")
		settle()
	}
	t.Errorf("less than %d bytes for each in %d tries: nothing was measured", least, tries)
	return 0
}

// tries is how often it is measured until something is: where the machine is so slow
// that the server has given up on the first clients when the last have come, what
// those leave hides what these cost.
const tries = 4

// Streams is how many of the most streams a client opens that is measured: half of
// them with the race detector, which makes every stack larger.
func Streams(most int) int {
	if testrace.Enabled {
		return most / 2
	}
	return most
}

// least is what any connection costs a server, in bytes.
const least = 1000

// settle waits until nobody ends any more, and nothing more is freed.
func settle() {
	goroutines, held := runtime.NumGoroutine(), InUse()
	for {
		time.Sleep(150 * time.Millisecond)
		n, now := runtime.NumGoroutine(), InUse()
		if n == goroutines && now+noise > held {
			return
		}
		goroutines, held = n, now
	}
}

// noise is what the process frees now and then, in bytes.
const noise = 64 << 10

// InUse is what the process holds after the collector has run: heap and stacks.
func InUse() uint64 {
	runtime.GC()
	runtime.GC()
	runtime.GC() // a pool lets go of what it holds in the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
