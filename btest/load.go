package btest

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/pace"
)

// load samples this host's CPU once a second, for all tests of a server.
type load struct {
	percent atomic.Uint64 // bits of a float64, plus one; 0 is not known
}

// run samples until ctx ends.
func (l *load) run(ctx context.Context) {
	cpu := host.NewCPU()
	cpu.Busy() // the first sample only sets the start
	for range pace.Ticks(ctx, time.Second) {
		if p, ok := cpu.Busy(); ok {
			l.percent.Store(math.Float64bits(p) + 1)
		}
	}
}

// busy is the load over the last second, nil when not known.
func (l *load) busy() *float64 {
	b := l.percent.Load()
	if b == 0 {
		return nil
	}
	p := math.Float64frombits(b - 1)
	return &p
}

// status is the load as a status carries it; a load that is not known is told
// as 0 %, as the protocol has it.
func (l *load) status() uint8 {
	p := l.busy()
	if p == nil {
		return 0
	}
	return uint8(min(max(math.Round(*p), 0), 100))
}

// told is the load that a status carries.
func told(s wire.Status) *float64 {
	if s.CPU == wire.NoCPU {
		return nil
	}
	p := float64(s.CPU)
	return &p
}
