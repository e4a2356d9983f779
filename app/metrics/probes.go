package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sonde-net/sonde/result"
)

// Names of what is said of each probe, and of the latest of its tests.
const (
	nameRate       = "sonde_rate_bits_per_second"
	nameLossRatio  = "sonde_loss_ratio"
	nameQuantile   = "sonde_rtt_quantile_seconds"
	nameLoaded     = "sonde_rtt_loaded_quantile_seconds"
	nameSuccess    = "sonde_probe_success"
	nameState      = "sonde_probe_failed"
	nameTook       = "sonde_probe_duration_seconds"
	nameWhen       = "sonde_probe_last_run_timestamp_seconds"
	nameRuns       = "sonde_probe_runs_total"
	nameMissed     = "sonde_probe_missed_total"
	nameProbeBytes = "sonde_probe_bytes_total"
)

// figures are those of the latest test of a probe.
type figures struct {
	rate, loss, quantile, loaded *prometheus.GaugeVec
}

func newFigures(r *prometheus.Registry) *figures {
	f := &figures{
		rate:     gauge(nameRate, "Rate of the latest test, bit/s of payload, by the receiver's count where it is known.", "probe", "direction"),
		loss:     gauge(nameLossRatio, "Share of packets that were lost in the latest test, 0 to 1.", "probe", "direction"),
		quantile: gauge(nameQuantile, "Round-trip time of the latest test: on an idle line, or of its packets; q is 0 for the least, 0.5 for the median, 1 for the greatest.", "probe", "q"),
		loaded:   gauge(nameLoaded, "Round-trip time while the latest test filled the line.", "probe", "q"),
	}
	r.MustRegister(f.rate, f.loss, f.quantile, f.loaded)
	return f
}

// forget leaves gaps where the figures of the test before were.
func (f *figures) forget(probe string) {
	of := prometheus.Labels{"probe": probe}
	for _, v := range []*prometheus.GaugeVec{f.rate, f.loss, f.quantile, f.loaded} {
		v.DeletePartialMatch(of)
	}
}

// set puts the figures of a test in the place of those before.
func (f *figures) set(probe string, e result.End) {
	f.forget(probe)
	for _, d := range (result.Both).Each() {
		t := e.Total(d)
		if t == nil {
			continue
		}
		if v := first(t.Received, t.Sent); v != nil {
			took := t.Elapsed
			if took == 0 {
				took = e.Elapsed
			}
			if r := result.Rate(v.Bytes, took); r != nil {
				f.rate.WithLabelValues(probe, d.String()).Set(float64(*r))
			}
		}
		if v := t.Received; v != nil && v.Packets != nil && v.Lost != nil && int64(*v.Packets)+*v.Lost > 0 {
			f.loss.WithLabelValues(probe, d.String()).Set(max(0, float64(*v.Lost)/float64(int64(*v.Packets)+*v.Lost)))
		}
	}
	var sent, lost uint64
	for _, r := range e.RoundTrips {
		sent, lost = sent+r.Sent, lost+r.Lost
		if r.RTT != nil && r.RTT.Delay.Count > 0 {
			d := r.RTT.Delay
			quantiles(f.quantile, probe, d.Min, d.P50, d.P90, d.P99, d.Max)
		}
	}
	if sent > 0 {
		f.loss.WithLabelValues(probe, "round_trip").Set(float64(lost) / float64(sent))
	}
	if l := e.Latency; l != nil {
		if d := l.Idle; d != nil && d.Count > 0 {
			quantiles(f.quantile, probe, d.Min, d.P50, d.P90, d.P99, d.Max)
		}
		if d := l.Loaded; d != nil && d.Count > 0 {
			quantiles(f.loaded, probe, d.Min, d.P50, d.P90, d.P99, d.Max)
		}
	}
}

func first(views ...*result.View) *result.View {
	for _, v := range views {
		if v != nil {
			return v
		}
	}
	return nil
}

func quantiles(g *prometheus.GaugeVec, probe string, least, p50, p90, p99, most time.Duration) {
	for q, d := range map[string]time.Duration{"0": least, "0.5": p50, "0.9": p90, "0.99": p99, "1": most} {
		g.WithLabelValues(probe, q).Set(d.Seconds())
	}
}

// Probes are the metrics of scheduled probes.
type Probes struct {
	*figures
	success, failed, took, when *prometheus.GaugeVec
	runs, missed, bytes         *prometheus.CounterVec
}

// NewProbes makes those of a process.
func (m *Metrics) NewProbes() *Probes {
	p := &Probes{
		figures: newFigures(m.Registry),
		success: gauge(nameSuccess, "Whether the latest test could be made and crossed no threshold.", "probe"),
		failed:  gauge(nameState, "Whether the probe's state is failed: M of its last N tests were without success.", "probe"),
		took:    gauge(nameTook, "How long the latest test took.", "probe"),
		when:    gauge(nameWhen, "When the latest test began.", "probe"),
		runs:    counter(nameRuns, "Tests that were made, by how: ok, or the word of the error.", "probe", "result"),
		missed:  counter(nameMissed, "Tests that were due and not made, by reason.", "probe", "reason"),
		bytes:   counter(nameProbeBytes, "Bytes that tests of the probe moved, both ways.", "probe"),
	}
	m.Registry.MustRegister(p.success, p.failed, p.took, p.when, p.runs, p.missed, p.bytes)
	return p
}

// A Run is a test that a probe made.
type Run struct {
	Probe   string
	Began   time.Time
	Took    time.Duration
	Bytes   uint64
	End     *result.End // nil: it put none
	Err     error
	Success bool
	Failed  bool // the probe's state after it
}

// Ran tells of a test.
func (p *Probes) Ran(r Run) {
	p.success.WithLabelValues(r.Probe).Set(number(r.Success))
	p.failed.WithLabelValues(r.Probe).Set(number(r.Failed))
	p.took.WithLabelValues(r.Probe).Set(r.Took.Seconds())
	p.when.WithLabelValues(r.Probe).Set(float64(r.Began.UnixNano()) / 1e9)
	p.runs.WithLabelValues(r.Probe, outcome(r.Err)).Inc()
	p.bytes.WithLabelValues(r.Probe).Add(float64(r.Bytes))
	if r.End == nil || r.End.Err != nil {
		p.forget(r.Probe)
		return
	}
	p.set(r.Probe, *r.End)
}

// Missed tells of tests that were due and not made.
func (p *Probes) Missed(probe, reason string, tests int) {
	p.missed.WithLabelValues(probe, reason).Add(float64(tests))
}

// Drop forgets a probe that is no more.
func (p *Probes) Drop(probe string) {
	of := prometheus.Labels{"probe": probe}
	p.forget(probe)
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{p.success, p.failed, p.took, p.when, p.runs, p.missed, p.bytes} {
		v.DeletePartialMatch(of)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Names are the metrics of ours, for whoever checks queries against them.
func Names() []string {
	return []string{
		nameBytes, nameTests, nameActive, nameRTT, nameJitter, nameOneway, namePackets, nameLost, nameAuthFailures, nameBuild,
		nameRate, nameLossRatio, nameQuantile, nameLoaded, nameSuccess, nameState, nameTook, nameWhen, nameRuns, nameMissed, nameProbeBytes,
		nameProbeSuccess, nameProbeDuration,
	}
}
