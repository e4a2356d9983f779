package main

import (
	"context"
	"log"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/twamp"
)

// A tally is how the tests of all clients ended.
type tally struct{ done, vanished, failed atomic.Uint64 }

// comeAndGo makes tests of all kinds, one after the other, until ctx ends. One of
// five is left in the middle without a word.
func comeAndGo(ctx context.Context, s *server, t *tally, n int) {
	pause(ctx, time.Duration(n)*20*time.Millisecond)
	for ctx.Err() == nil {
		length := time.Duration(2+rand.IntN(19)) * time.Second
		within, stop := ctx, context.CancelFunc(func() {})
		leaves := rand.IntN(5) == 0
		if leaves {
			within, stop = context.WithTimeout(ctx, length/2)
		}
		err := test(within, s, length)
		stop()
		switch {
		case ctx.Err() != nil:
		case leaves:
			t.vanished.Add(1)
		case err != nil:
			t.failed.Add(1)
			log.Print(err)
		default:
			t.done.Add(1)
		}
		pause(ctx, time.Duration(rand.IntN(1000))*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// test makes one of a kind by chance, at a rate that 200 of them can share.
func test(ctx context.Context, s *server, length time.Duration) error {
	const rate = 100_000 // bit/s
	d := []result.Direction{result.Down, result.Up}[rand.IntN(2)]
	udp := rand.IntN(2) == 0
	switch rand.IntN(5) {
	case 0:
		return (&btest.Client{Target: s.btest, UDP: udp, Direction: d, Duration: length, DownRate: rate, UpRate: rate, Connections: 1 + rand.IntN(4)}).Run(ctx, result.Discard)
	case 1:
		return (&rperf.Client{Target: s.rperf, UDP: udp, Direction: d, Duration: length, Rate: rate, Streams: 1 + rand.IntN(2)}).Run(ctx, result.Discard)
	case 2:
		return (&iperf3.Client{Target: s.iperf3, UDP: udp, Direction: d, Duration: length, Rate: rate, Streams: 1 + rand.IntN(2)}).Run(ctx, result.Discard)
	case 3:
		return (&twamp.Client{Addr: s.twamp, Probe: twamp.Probe{Count: int(length / (100 * time.Millisecond)), Interval: 100 * time.Millisecond}}).Run(ctx, result.Discard)
	}
	return (&twamp.Pinger{Addr: s.twamp, Probe: twamp.Probe{Count: int(length / (100 * time.Millisecond)), Interval: 100 * time.Millisecond}}).Run(ctx, result.Discard)
}
