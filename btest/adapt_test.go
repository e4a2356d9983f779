package btest

import (
	"math"
	"testing"
	"time"
)

// play lets an adapter send over a link for some seconds and returns the rate
// that arrived in each of them.
func play(a *adapter, link uint64, seconds int, loss float64) []uint64 {
	now := time.Unix(0, 0)
	rate := a.begin(now)
	var came []uint64
	for range seconds {
		now = now.Add(time.Second)
		sent := rate / 8
		got := uint64(float64(min(sent, link/8)) * (1 - loss))
		came = append(came, got*8)
		rate = a.report(uint32(min(got, math.MaxUint32)), sent, now)
	}
	return came
}

func TestAdapterReachesTheLink(t *testing.T) {
	for _, link := range []uint64{5e6, 100e6, 1e9, 10e9, 100e9} {
		came := play(new(adapter), link, 60, 0)
		for s, rate := range came[6:] {
			if rate < link*9/10 {
				t.Errorf("link of %d bit/s: %d in second %d", link, rate, s+7)
			}
		}
	}
}

func TestAdapterKeepsAboveLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.05, 0.15} {
		came := play(new(adapter), 1e9, 60, loss)
		if last := came[59]; last < 800e6 {
			t.Errorf("%.0f %% loss on 1 Gbit/s: down to %d bit/s", loss*100, last)
		}
	}
}

func TestAdapterNeverStops(t *testing.T) {
	var a adapter
	now := time.Unix(0, 0)
	rate := a.begin(now)
	for range 60 {
		now = now.Add(time.Second)
		rate = a.report(0, rate/8, now)
		if rate < lowestRate {
			t.Fatalf("rate %d after reports of nothing", rate)
		}
	}
	if rate != lowestRate {
		t.Errorf("rate %d after a minute of nothing, want %d", rate, lowestRate)
	}
}

func TestAdapterSaturated(t *testing.T) {
	var a adapter
	now := time.Unix(0, 0)
	a.begin(now)
	sent := uint64(10 << 30) // 86 Gbit/s went out, the report can only say "at least 34"
	if rate := a.report(math.MaxUint32, sent, now.Add(time.Second)); rate < sent*8 {
		t.Errorf("a saturated report slowed us down to %d bit/s", rate)
	}
}
