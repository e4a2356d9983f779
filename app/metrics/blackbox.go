package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sonde-net/sonde/result"
)

// Names of blackbox_exporter, which dashboards and rules for it know.
const (
	nameProbeSuccess  = "probe_success"
	nameProbeDuration = "probe_duration_seconds"
)

// margin is what is left of the time that a scrape waits for the answer's way.
const margin = 500 * time.Millisecond

// mostProbeBody bounds words of a request that are shown.
const mostProbeBody = 253

// A Module is a test that /probe can make.
type Module struct {
	Length     time.Duration // it needs so long; nothing shorter is enough
	Throughput bool          // it fills the line: only one at a time
	Run        func(ctx context.Context, target string, sink result.Sink) error
}

// A Blackbox serves /probe?target=HOST&module=NAME in the manner of
// blackbox_exporter: 200 for every test that was made, whatever came out, with
// the figures in a registry of its own. A test that needs longer than the scrape
// waits is refused, not cut.
type Blackbox struct {
	Modules  map[string]Module
	Targets  []string      // hosts, addresses and networks that may be tested
	Deadline time.Duration // where the scrape does not say how long it waits
	Most     int           // tests at once
	// Line takes the line for a throughput test, and returns what gives it back.
	Line func(ctx context.Context) (release func(), err error)

	once   sync.Once
	places chan struct{}
}

// ServeHTTP implements http.Handler.
func (b *Blackbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.once.Do(func() { b.places = make(chan struct{}, max(1, b.Most)) })
	target, name := r.URL.Query().Get("target"), r.URL.Query().Get("module")
	m, ok := b.Modules[name]
	switch {
	case target == "" || len(target) > mostProbeBody:
		refuse(w, http.StatusBadRequest, "target: give HOST or HOST:PORT, as in /probe?target=192.0.2.1&module=stamp")
		return
	case !ok:
		refuse(w, http.StatusBadRequest, "module: no such module; the configuration has them under modules")
		return
	case !b.allowed(target):
		refuse(w, http.StatusForbidden, "target: not one that may be tested; the configuration has those under web.probe_targets")
		return
	}
	limit, err := b.limit(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if m.Length > limit {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("module: its test lasts %v, and there are %v for it; raise scrape_timeout, or shorten the module", m.Length, limit))
		return
	}
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	default:
		refuse(w, http.StatusServiceUnavailable, "too many probes at once; web.max_probes")
		return
	}
	ctx, stop := context.WithTimeout(r.Context(), limit)
	defer stop()
	if m.Throughput {
		// The line must be free early enough for a whole test.
		wait, enough := context.WithTimeout(ctx, limit-m.Length)
		release, err := b.Line(wait)
		enough()
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, "another throughput test has the line")
			return
		}
		defer release()
	}
	registry := b.probe(ctx, m, name, target)
	if r.Context().Err() != nil { // we stop, or nobody waits: a gap, since it says nothing of the target
		refuse(w, http.StatusServiceUnavailable, "the test was stopped")
		return
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// probe makes the test.
func (b *Blackbox) probe(ctx context.Context, m Module, name, target string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	all, f := newTests(registry), newFigures(registry)
	var end *result.End
	var mu sync.Mutex // guards end
	begin := time.Now()
	err := m.Run(ctx, target, result.Func(func(e result.Event) {
		all.Put(e)
		if one, ok := e.(result.End); ok {
			mu.Lock()
			end = &one
			mu.Unlock()
		}
	}))
	took := prometheus.NewGauge(prometheus.GaugeOpts{Name: nameProbeDuration, Help: "How long the probe took, in seconds."})
	success := prometheus.NewGauge(prometheus.GaugeOpts{Name: nameProbeSuccess, Help: "Whether the test could be made and crossed no threshold."})
	took.Set(time.Since(begin).Seconds())
	mu.Lock()
	defer mu.Unlock()
	ok := err == nil && ctx.Err() == nil && end != nil && end.Err == nil
	success.Set(number(ok))
	if ok {
		f.set(name, *end)
	}
	registry.MustRegister(took, success)
	return registry
}

// limit is how long a test may take.
func (b *Blackbox) limit(header string) (time.Duration, error) {
	if header == "" {
		return b.Deadline, nil
	}
	s, err := strconv.ParseFloat(header, 64)
	if err != nil || !(s > 0 && s < 86400) {
		return 0, errors.New("X-Prometheus-Scrape-Timeout-Seconds: not a number of seconds")
	}
	limit := time.Duration(s*float64(time.Second)) - margin
	if limit <= 0 {
		return 0, fmt.Errorf("X-Prometheus-Scrape-Timeout-Seconds: too short for a test; give more than %v", margin)
	}
	return limit, nil
}

// allowed reports whether the target is on the list. Names are compared as they
// are written, networks with addresses only: what a name leads to may change
// between the check and the test.
func (b *Blackbox) allowed(target string) bool {
	host := strings.Trim(target, "[]")
	if h, _, err := net.SplitHostPort(target); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	for _, one := range b.Targets {
		if strings.EqualFold(one, host) || strings.EqualFold(one, target) {
			return true
		}
		if p, err := netip.ParsePrefix(one); err == nil && isAddr && p.Contains(addr.Unmap().WithZone("")) {
			return true
		}
		if a, err := netip.ParseAddr(one); err == nil && isAddr && a == addr {
			return true
		}
	}
	return false
}

func refuse(w http.ResponseWriter, status int, text string) { http.Error(w, text, status) }
