package main

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strconv"
)

// iperf3 runs Debian's iperf3 at its defaults, without a rate limit.
func (l *lab) iperf3(b bout, at netip.AddrPort, o options) (receiver, sender []string) {
	port := strconv.Itoa(int(at.Port()))
	seconds := strconv.Itoa(int(math.Ceil((o.warm + o.time).Seconds())))
	receiver = []string{l.perf, "-s", "-1", "-J", "-i", "0.1", "-p", port}
	sender = []string{l.perf, "-c", at.Addr().String(), "-p", port, "-t", seconds}
	if b.kind == "udp" {
		return receiver, append(sender, "-u", "-b", "0", "-l", strconv.Itoa(b.n))
	}
	return receiver, append(sender, "-C", "cubic", "-P", strconv.Itoa(b.n))
}

// parseIperf3 sums the server's intervals after the warm-up.
func parseIperf3(out []byte, o options) (f figure, err error) {
	var doc struct {
		Error     string
		Intervals []struct {
			Sum struct {
				Start, Seconds float64
				Bytes          uint64
				Packets        uint64
				Lost           int64 `json:"lost_packets"`
			}
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return f, err
	}
	if doc.Error != "" {
		return f, errors.New(doc.Error)
	}
	f.Technique = "default"
	for _, i := range doc.Intervals {
		f.AllBytes += i.Sum.Bytes
		if i.Sum.Start < o.warm.Seconds()-0.001 {
			continue
		}
		f.Bytes += i.Sum.Bytes
		f.Packets += i.Sum.Packets - uint64(max(0, i.Sum.Lost)) // iperf3 counts what was sent
		f.Lost += i.Sum.Lost
		f.Seconds += i.Sum.Seconds
	}
	if f.Seconds == 0 {
		return f, errors.New("no intervals")
	}
	return f, nil
}
