package config

import "github.com/sonde-net/sonde/app/unit"

// A Module is a test without a target: what /probe runs against the target that
// it is asked for.
type Module struct {
	Protocol string            `config:"protocol" help:"btest, rperf, iperf3, twamp or stamp"`
	Options  map[string]string `config:"options" help:"further flags of that protocol's client, such as {udp: true, rate: 10M}"`
}

// A Probe is a test on a schedule.
type Probe struct {
	Name     string            `config:"name" help:"its name in metrics, results and messages; letters, digits, - and _"`
	Protocol string            `config:"protocol" help:"btest, rperf, iperf3, twamp or stamp"`
	Target   string            `config:"target" help:"HOST or HOST:PORT"`
	Every    unit.Duration     `config:"every" default:"1m0s" help:"from one test to the next, 1s or more; the first one is at a multiple of it by the clock (UTC)"`
	Jitter   unit.Duration     `config:"jitter" default:"0s" help:"each test begins up to so much later, by chance"`
	Deadline unit.Duration     `config:"deadline" default:"0s" help:"a test is stopped after so long; 0 is the time between two"`
	Packets  unit.Count        `config:"packets" default:"0" help:"packets of a twamp or stamp test; 0 is 100"`
	Duration unit.Duration     `config:"duration" default:"0s" help:"length of a throughput test; 0 is 10s"`
	Bytes    unit.Size         `config:"bytes" default:"0" help:"a throughput test is stopped after so many bytes, both ways added; 0 no limit"`
	PerDay   unit.Size         `config:"max_bytes_per_day" default:"0" help:"bytes that this probe may move in a day of UTC, for lines that cost money; 0 no limit"`
	FailIf   []string          `config:"fail_if" help:"thresholds, such as loss>1% or rtt.p99>30ms"`
	FailRuns string            `config:"fail_runs" default:"1/1" help:"M/N: the state is failed once M of the last N tests crossed a threshold or could not be made"`
	Alone    bool              `config:"alone" default:"true" help:"a throughput test waits until no other one of sonde serve runs, and is missed if that takes too long"`
	Options  map[string]string `config:"options" help:"further flags of that protocol's client, such as {udp: true, rate: 10M, dscp: EF}"`
}
