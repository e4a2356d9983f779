package main

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"time"
)

// tick is one unit of /proc/stat, proc_stat(5): USER_HZ is 100 everywhere.
const tick = 10 * time.Millisecond

// cpuTimes is the time of all CPUs together since boot.
type cpuTimes struct{ busy, all time.Duration }

func readCPU() (t cpuTimes) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	for i, f := range bytes.Fields(line)[1:] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil || i > 7 { // guest times are part of user time
			break
		}
		t.all += time.Duration(n) * tick
		if i != 3 && i != 4 { // idle, iowait
			t.busy += time.Duration(n) * tick
		}
	}
	return t
}

// foreignSince is the share of the machine that was busy but not with own.
func (t cpuTimes) foreignSince(before cpuTimes, own time.Duration) float64 {
	all := t.all - before.all
	if all <= 0 {
		return 0
	}
	return max(0, float64(t.busy-before.busy-own)/float64(all))
}

// awaitCalm waits, for at most 6 s, until the machine is less than 10 % busy.
func awaitCalm(ctx context.Context) {
	for range 30 {
		before := readCPU()
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
		if readCPU().foreignSince(before, 0) < 0.10 {
			return
		}
	}
}
