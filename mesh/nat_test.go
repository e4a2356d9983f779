package mesh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// TestNATLooksAgain: what a moment of loss left without an answer is asked again
// soon, whenever it happens, and what was found then is what counts.
func TestNATLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		link := testnet.Link{Delay: 10 * time.Millisecond}
		a := w.node("a", place(0), link, link)
		time.Sleep(95 * time.Millisecond) // it is registered, and has not asked
		for _, pause := range []time.Duration{0, 15 * time.Minute} {
			time.Sleep(pause)
			a.lossy.Store(true)
			for late := time.Now().Add(natEvery + 10*time.Second); a.Status().NAT.Mapping != "UDP blocked"; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(late) {
					t.Fatalf("while nothing comes: %+v", a.Status().NAT)
				}
			}
			a.lossy.Store(false)
			time.Sleep(25 * time.Second)
			if n := a.Status().NAT; n.Mapping != "no NAT" {
				t.Errorf("25 s after a loss, %v from the start: %+v", pause, n)
			}
		}
	})
}
