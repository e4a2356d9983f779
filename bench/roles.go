package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"time"
)

// A role is one end of one program in a process of its own: "as-stream
// tcp-recv …". The arguments are those of the C program, bench/c/ref.c.
type role struct {
	at         netip.AddrPort
	n          int    // streams (TCP) or payload bytes (UDP)
	rate       uint64 // bit/s; 0 is no limit
	warm, time time.Duration
}

// A figure is what a receiver measured.
type figure struct {
	Bytes     uint64  `json:"bytes"`
	Packets   uint64  `json:"packets"`
	Lost      int64   `json:"lost"`
	Dropped   uint64  `json:"dropped"`
	Seconds   float64 `json:"seconds"`
	AllBytes  uint64  `json:"all_bytes"`
	Technique string  `json:"technique"`
	Mallocs   uint64  `json:"mallocs"` // while measuring
	GapP50    float64 `json:"gap_p50_us"`
	GapP99    float64 `json:"gap_p99_us"`
}

// players are the roles of this program.
var players = map[string]map[string]func(context.Context, role) error{
	"as-stream": {"tcp-send": streamTCPSend, "tcp-recv": streamTCPReceive, "udp-send": streamUDPSend, "udp-recv": streamUDPReceive},
	"as-both":   {"tcp-send": bothTCPDial, "tcp-recv": bothTCPAccept, "udp-send": bothUDPFirst, "udp-recv": bothUDPSecond},
	"as-plain":  {"tcp-send": plainTCPSend, "tcp-recv": plainTCPReceive, "udp-send": plainUDPSend, "udp-recv": plainUDPReceive},
	"as-gaps":   {"udp-recv": gapReceive},
}

// play acts one end: PROGRAM WHAT HOST PORT N WARM_MS TIME_MS RATE.
func play(ctx context.Context, program string, args []string) error {
	if len(args) != 7 {
		return fmt.Errorf("%s: %d arguments, want 7", program, len(args))
	}
	f := players[program][args[0]]
	if f == nil {
		return fmt.Errorf("%s %s: no such role", program, args[0])
	}
	at, err := netip.ParseAddrPort(args[1] + ":" + args[2])
	if err != nil {
		return err
	}
	var v [4]uint64
	for i, a := range args[3:] {
		if v[i], err = strconv.ParseUint(a, 10, 64); err != nil {
			return err
		}
	}
	return f(ctx, role{
		at: at, n: int(v[0]), rate: v[3],
		warm: time.Duration(v[1]) * time.Millisecond, time: time.Duration(v[2]) * time.Millisecond,
	})
}

// A count is a snapshot of what a receiver has counted.
type count struct {
	bytes, packets, dropped uint64
	lost                    int64
}

// report waits for the first byte, warms up, measures and prints the figure.
func report(r role, technique func() string, snapshot func() count) error {
	for snapshot().bytes == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(r.warm)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	first, start := snapshot(), time.Now()
	time.Sleep(r.time)
	last, took := snapshot(), time.Since(start)
	runtime.ReadMemStats(&after)
	f := figure{
		Bytes: last.bytes - first.bytes, Packets: last.packets - first.packets,
		Lost: last.lost - first.lost, Dropped: last.dropped - first.dropped,
		Seconds: took.Seconds(), AllBytes: last.bytes, Technique: technique(),
		Mallocs: after.Mallocs - before.Mallocs,
	}
	return encode(f)
}

func encode(f figure) error { return json.NewEncoder(os.Stdout).Encode(f) }
