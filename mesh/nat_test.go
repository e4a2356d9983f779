package mesh

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// TestNATLooksAgain: what a moment of loss left without an answer is asked again
// soon, and what was found then is what counts.
func TestNATLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		var isLost atomic.Bool
		link := testnet.Link{Delay: 10 * time.Millisecond}
		lossy := link
		lossy.Loss = func(uint64, *rand.Rand) bool { return isLost.Load() }
		a := w.node("a", place(0), link, lossy)
		time.Sleep(95 * time.Millisecond) // it is registered, and has not asked
		isLost.Store(true)
		time.Sleep(3 * time.Second)
		isLost.Store(false)
		if n := a.Status().NAT; n.Mapping != "UDP blocked" {
			t.Fatalf("while nothing comes: %+v", n)
		}
		time.Sleep(natSoon + 5*time.Second)
		if n := a.Status().NAT; n.Mapping != "no NAT" {
			t.Errorf("after %v: %+v", natSoon, n)
		}
	})
}
