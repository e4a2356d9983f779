package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Whole programs, as a user runs them: sonde under the name iperf3 and Debian's
// iperf3, each way round, and sonde's rperf. Server and client take the same
// arguments whichever of the two programs they are.

// build makes sonde, with its name iperf3 beside it.
func (l *lab) build() error {
	sonde := filepath.Join(l.dir, "sonde")
	if out, err := exec.Command("go", "build", "-o", sonde, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	l.sonde, l.asPerf = sonde, filepath.Join(l.dir, "iperf3")
	return os.Symlink(sonde, l.asPerf)
}

// programs are the pairs of programs, with Debian's iperf3 to itself as the one
// to compare with.
func (l *lab) programs() []contender {
	all := []contender{l.perfPair("sonde iperf3", l.asPerf, l.asPerf)}
	if l.perf != "" {
		all = append(all, l.perfPair("sonde → iperf3", l.asPerf, l.perf), l.perfPair("iperf3 → sonde", l.perf, l.asPerf), l.perfPair("iperf3", l.perf, l.perf))
	}
	return append(all, contender{name: "sonde rperf", ends: l.rperf, parse: parseRperf, tells: true, stays: true})
}

// perfPair is a client and a server that take iperf3's arguments.
func (l *lab) perfPair(name, client, server string) contender {
	return contender{name: name, last: true, parse: parseIperf3, ends: func(b bout, at netip.AddrPort, o options) (receiver, sender []string) {
		receiver, sender = l.iperf3(b, at, o)
		receiver[0], sender[0] = server, client
		return receiver, sender
	}}
}

// rperf is sonde's own, whose client reports what the server received.
func (l *lab) rperf(b bout, at netip.AddrPort, o options) (receiver, sender []string) {
	receiver = []string{l.sonde, "rperf", "server", "--listen", at.String(), "-q"}
	sender = []string{l.sonde, "rperf", "client", at.String(), "--rate", "0", "--json", "--no-latency", "-t", fmt.Sprint((o.warm + o.time).Seconds())}
	if b.kind == "udp" {
		return receiver, append(sender, "--udp", "-l", strconv.Itoa(b.n))
	}
	return receiver, append(sender, "-P", strconv.Itoa(b.n))
}

// parseRperf reads the client's document. It has no warm-up to leave out.
func parseRperf(out []byte, _ options) (f figure, err error) {
	var doc struct {
		Upload *struct {
			Receiver *struct {
				Bytes   uint64
				Packets *uint64
				Lost    *int64
			}
			Seconds float64 `json:"duration_seconds"`
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return f, err
	}
	if doc.Upload == nil || doc.Upload.Receiver == nil || doc.Upload.Seconds == 0 {
		return f, errors.New("no figures")
	}
	r := doc.Upload.Receiver
	f = figure{Bytes: r.Bytes, AllBytes: r.Bytes, Seconds: doc.Upload.Seconds, Technique: "default"}
	if r.Packets != nil {
		f.Packets = *r.Packets
	}
	if r.Lost != nil {
		f.Lost = *r.Lost
	}
	return f, nil
}
