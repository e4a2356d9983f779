// Package metrics turns results into Prometheus's metrics: /metrics of a
// running daemon, /probe in the manner of blackbox_exporter, and the same
// figures to an OpenTelemetry collector.
//
// A figure that was not measured is a gap, never 0. No label has a peer's
// address or a user's name.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sonde-net/sonde/result"
)

// Names of what is counted of all tests.
const (
	nameBytes        = "sonde_bytes_total"
	nameTests        = "sonde_tests_total"
	nameActive       = "sonde_test_active"
	nameRTT          = "sonde_rtt_seconds"
	nameJitter       = "sonde_jitter_seconds"
	nameOneway       = "sonde_oneway_delay_seconds"
	namePackets      = "sonde_packets_total"
	nameLost         = "sonde_packets_lost_total"
	nameAuthFailures = "sonde_auth_failures_total"
	nameBuild        = "sonde_build_info"
)

// mostReasons bounds the values of a label that words of a protocol make.
const mostReasons = 32

// A Build is which sonde this is.
type Build struct{ Version, Revision, Go string }

// Metrics are those of one process. It is a result.Sink for the results of
// servers and probes alike.
type Metrics struct {
	// Registry is a registry of our own: what other packages register with the
	// default one is not ours.
	Registry *prometheus.Registry

	bytes, tests, packets, lost, authFailures *prometheus.CounterVec
	active                                    *prometheus.GaugeVec
	rtt, jitter, oneway                       *prometheus.HistogramVec

	mu      sync.Mutex // guards what follows
	runs    map[result.ID]*tally
	reasons map[string]bool
}

// A tally is what was counted of a run so far.
type tally struct {
	down, up uint64 // bytes
	measured bool   // its intervals had round trips
	sent     uint64 // packets of intervals
	lost     int64  // may go down: what comes late was not lost
	told     int64  // of lost
}

// buckets of times: 10 microseconds to 10 seconds.
var buckets = []float64{
	1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// histogram has classic buckets, and native ones for those who scrape protobuf.
func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// New makes the metrics of a process.
func New(b Build) *Metrics {
	m := newTests(prometheus.NewRegistry())
	build := gauge(nameBuild, "Which sonde this is; always 1.", "version", "revision", "goversion")
	build.WithLabelValues(b.Version, b.Revision, b.Go).Set(1)
	m.Registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func newTests(r *prometheus.Registry) *Metrics {
	m := &Metrics{
		Registry: r, runs: map[result.ID]*tally{}, reasons: map[string]bool{},
		bytes:        counter(nameBytes, "Payload that tests moved, as the client sees the direction, by this end's count.", "protocol", "direction"),
		tests:        counter(nameTests, "Tests that ended, by how: ok, or the word of the error.", "protocol", "role", "result"),
		active:       gauge(nameActive, "Tests that run.", "protocol"),
		packets:      counter(namePackets, "Packets sent that had their time to come, of tests that count them.", "protocol"),
		lost:         counter(nameLost, "Packets of those that were lost.", "protocol"),
		authFailures: counter(nameAuthFailures, "Logins that failed, by reason.", "reason"),
		rtt:          histogram(nameRTT, "Round-trip times: the median of each interval of a test, of a second as a rule.", "protocol"),
		jitter:       histogram(nameJitter, "Interarrival jitter (RFC 3550) at the end of each interval of a test.", "protocol"),
		oneway:       histogram(nameOneway, "One-way delay: the median of each test whose clocks can be trusted.", "protocol", "direction"),
	}
	r.MustRegister(m.bytes, m.tests, m.active, m.packets, m.lost, m.authFailures, m.rtt, m.jitter, m.oneway)
	return m
}

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 8, Timeout: 10 * time.Second})
}

// Put implements result.Sink.
func (m *Metrics) Put(e result.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		if m.runs[e.Run] == nil {
			m.runs[e.Run] = &tally{}
			m.active.WithLabelValues(e.Protocol).Inc()
		}
	case result.Interval:
		if t := m.runs[e.Run]; t != nil && e.Stream == result.AllStreams {
			m.interval(t, e)
		}
	case result.Note:
		if e.Code == result.NoteAuthFailure && e.Login != nil {
			m.authFailures.WithLabelValues(m.reason(e.Login.Reason)).Inc()
		}
	case result.End:
		m.end(e)
	}
}

// reason is a label of a bounded set.
func (m *Metrics) reason(word string) string {
	if !m.reasons[word] {
		if len(m.reasons) >= mostReasons {
			return "other"
		}
		m.reasons[word] = true
	}
	return word
}

func (m *Metrics) interval(t *tally, i result.Interval) {
	if v := i.Local(); v != nil {
		m.moved(t, i.Protocol, i.Direction, v.Bytes)
	}
	if v := i.Received; v != nil && v.Packets != nil && v.Lost != nil {
		m.packet(t, i.Protocol, uint64(max(0, int64(*v.Packets)+*v.Lost)), *v.Lost)
		if v.Jitter != nil {
			m.jitter.WithLabelValues(i.Protocol).Observe(v.Jitter.Seconds())
		}
	}
	if i.RTT != nil && i.RTT.Count > 0 {
		m.rtt.WithLabelValues(i.Protocol).Observe(i.RTT.P50.Seconds())
	}
	if i.RoundTrips != nil {
		t.measured = true
		m.trips(t, i.Protocol, *i.RoundTrips)
	}
}

func (m *Metrics) moved(t *tally, protocol string, d result.Direction, n uint64) {
	m.bytes.WithLabelValues(protocol, d.String()).Add(float64(n))
	if d == result.Down {
		t.down += n
	} else {
		t.up += n
	}
}

func (m *Metrics) packet(t *tally, protocol string, sent uint64, lost int64) {
	t.sent, t.lost = t.sent+sent, t.lost+lost
	m.packets.WithLabelValues(protocol).Add(float64(sent))
	if more := t.lost - t.told; more > 0 {
		t.told = t.lost
		m.lost.WithLabelValues(protocol).Add(float64(more))
	}
}

// trips counts what came back in an interval.
func (m *Metrics) trips(t *tally, protocol string, r result.RoundTrips) {
	m.packet(t, protocol, r.Sent, int64(r.Lost))
	if r.RTT != nil && r.RTT.Delay.Count > 0 {
		m.rtt.WithLabelValues(protocol).Observe(r.RTT.Delay.P50.Seconds())
		if r.RTT.Jitter != nil {
			m.jitter.WithLabelValues(protocol).Observe(r.RTT.Jitter.Seconds())
		}
	}
}

// end counts a test that is over, and what its intervals had not.
func (m *Metrics) end(e result.End) {
	m.tests.WithLabelValues(e.Protocol, string(e.Role), outcome(e.Err)).Inc()
	t := m.runs[e.Run]
	if t == nil { // it never began
		return
	}
	delete(m.runs, e.Run)
	m.active.WithLabelValues(e.Protocol).Dec()
	for d, seen := range map[result.Direction]uint64{result.Down: t.down, result.Up: t.up} {
		if v := e.Local(d); v != nil && v.Bytes > seen {
			m.moved(t, e.Protocol, d, v.Bytes-seen)
		}
	}
	var all uint64
	var lost int64
	for _, r := range e.RoundTrips {
		if !t.measured {
			m.trips(t, e.Protocol, r)
		}
		all, lost = all+r.Sent, lost+int64(r.Lost)
		m.way(e.Protocol, "out", r.Out, r.Clock)
		m.way(e.Protocol, "home", r.Home, r.Clock)
	}
	if all > t.sent || lost > t.lost { // the last packets, waited for after the last interval
		m.packet(t, e.Protocol, all-min(all, t.sent), max(0, lost-t.lost))
	}
}

func (m *Metrics) way(protocol, direction string, p *result.Path, c *result.Clock) {
	if p != nil && c != nil && c.Usable && p.Delay.Count > 0 {
		m.oneway.WithLabelValues(protocol, direction).Observe(p.Delay.P50.Seconds())
	}
}

// outcome is how a test ended, a word.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return result.CodeOf(err)
}
