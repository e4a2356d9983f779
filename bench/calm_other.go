//go:build !linux

package main

import (
	"context"
	"time"
)

// cpuTimes is not known here.
type cpuTimes struct{}

func readCPU() cpuTimes { return cpuTimes{} }

func (cpuTimes) foreignSince(cpuTimes, time.Duration) float64 { return 0 }

func awaitCalm(context.Context) { time.Sleep(time.Second) }
