// Package host tells what the machine that we run on is doing.
package host

import "github.com/shirou/gopsutil/v4/cpu"

// A CPU tells how busy all processors of this machine were together, whoever
// kept them busy. It sees the whole machine also from inside a container. It is
// not safe for concurrent use: each run has its own.
type CPU struct {
	seen bool
	busy float64 // seconds, over all processors, since the machine started
	all  float64
}

// NewCPU returns a CPU that has not looked yet.
func NewCPU() *CPU { return &CPU{} }

// Busy returns the share of time, 0 to 100 percent, that the processors were not
// idle since the last call. Waiting for a disk is idle; time taken by the
// hypervisor is busy, as we cannot have it. It is false at the first call, when
// no time has passed since the last, and where the system does not tell.
func (c *CPU) Busy() (percent float64, ok bool) {
	times, err := cpu.Times(false)
	if err != nil || len(times) == 0 {
		return 0, false // an unknown figure, not a failure of the run
	}
	t := times[0]
	// On Linux guest time is part of user and nice already; see proc_stat(5).
	busy := t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal
	all := busy + t.Idle + t.Iowait
	was := *c
	*c = CPU{seen: true, busy: busy, all: all}
	if !was.seen || all <= was.all {
		return 0, false
	}
	share := (busy - was.busy) / (all - was.all)
	return 100 * min(max(share, 0), 1), true // idle and iowait may run backwards a little
}
