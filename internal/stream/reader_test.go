package stream

import (
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// drops is a PacketConn that has dropped so many.
type drops struct {
	sock.PacketConn
	n uint64
}

func (d *drops) Dropped() (uint64, bool) { return d.n, true }

// TestLoad: a backlog or a drop has only fronts read for a second, then for two; a
// few full batches do not.
func TestLoad(t *testing.T) {
	var l load
	conn := &drops{}
	start := time.Now()
	at := func(d time.Duration, full, high, changed bool) {
		t.Helper()
		if got := l.look(full, conn, start.Add(d)); got != changed || l.high != high {
			t.Errorf("after %v: high %v, changed %v", d, l.high, got)
		}
	}
	for range 3 {
		for range backlog - 1 {
			at(0, true, false, false)
		}
		at(0, false, false, false)
	}
	for range backlog - 1 {
		at(0, true, false, false)
	}
	at(0, true, true, true)
	at(time.Second-1, true, true, false)
	at(time.Second, false, false, true)
	conn.n++
	for n := 0; !l.high; n++ {
		if n > lookAtDrops {
			t.Fatal("the drop was not seen")
		}
		l.look(false, conn, start.Add(time.Second))
	}
	at(3*time.Second-1, false, true, false)
	at(3*time.Second, false, false, true)
	for range 10 {
		for range backlog {
			l.look(true, conn, start.Add(3*time.Second))
		}
		l.look(false, conn, start.Add(time.Hour))
	}
	if l.high || l.hold != longestHold {
		t.Errorf("high %v, hold %v", l.high, l.hold)
	}
}
