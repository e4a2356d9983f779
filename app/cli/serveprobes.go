//go:build !nano

package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/metrics"
	"github.com/sonde-net/sonde/app/probe"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/verdict"
)

// probes are the scheduled probes of a daemon.
type probes struct {
	set   probe.Set
	keep  *store.Sink // nil without a store
	tells tells
}

// storeWait is how long the store is asked for what a probe did before.
const storeWait = 5 * time.Second

// newProbes makes them; none runs yet.
func (d *daemon) newProbes() *probes {
	p := &probes{tells: tells{daemon: d}}
	known := d.metrics.NewProbes()
	h := &probe.Host{
		Log: d.log, Sink: d.sink, Line: d.line.take, Asleep: probe.Asleep,
		Watchers: []probe.Watcher{measured{known}, &p.tells, d.board},
	}
	if s := d.guard.store; s != nil {
		p.keep = s.NewSink()
		h.Watchers = append(h.Watchers, stored{p.keep})
		h.Known = func(ctx context.Context, name string, since time.Time) (probe.State, uint64, error) {
			return knownProbe(ctx, s, name, since)
		}
	}
	p.set = probe.Set{Host: h, Gone: known.Drop}
	return p
}

// knownProbe is what a store knows of a probe.
func knownProbe(ctx context.Context, s *store.Store, name string, since time.Time) (probe.State, uint64, error) {
	ctx, stop := context.WithTimeout(ctx, storeWait)
	defer stop()
	one, err := s.ProbeByName(ctx, name)
	if store.IsNotFound(err) {
		return probe.Unknown, 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	moved, err := s.ProbeBytes(ctx, name, since)
	return probe.State(one.State), moved, err
}

// becomeProbes makes the probes those of the configuration.
func (d *daemon) becomeProbes(l *config.Loaded) {
	if d.probes == nil {
		if len(l.Probes) == 0 {
			return
		}
		d.probes = d.newProbes()
	}
	d.probes.tells.become(l.Outputs.Change)
	var plans []probe.Planned
	for _, c := range l.Probes {
		plans = append(plans, planned(d.env, c))
	}
	d.probes.set.Become(d.began, plans)
}

// stopProbes ends the tests of probes, and then what they write and tell.
func (d *daemon) stopProbes() (wait func()) {
	p := d.probes
	if p == nil {
		return func() {}
	}
	var all sync.WaitGroup
	all.Go(func() {
		p.set.Stop()
		var ends sync.WaitGroup
		ends.Go(p.tells.close)
		if p.keep != nil {
			ends.Go(p.keep.Close)
		}
		ends.Wait()
	})
	return all.Wait
}

// planned is a probe of the configuration, which was checked.
func planned(e *env, c config.Probe) probe.Planned {
	t := ofProbe(e, c)
	p := probe.Planned{Settings: probeText(c), Probe: probe.Probe{
		Name: c.Name, Protocol: c.Protocol, Target: c.Target, Every: time.Duration(c.Every), Jitter: time.Duration(c.Jitter),
		Deadline: time.Duration(c.Deadline), Length: t.length(), Alone: c.Alone && !config.Trips(c.Protocol),
		Bytes: uint64(c.Bytes), PerDay: uint64(c.PerDay), Test: t.test(c.Target),
	}}
	p.M, p.N, _ = c.Series()
	for _, text := range c.FailIf {
		rules, _ := verdict.Parse(text)
		p.Rules = append(p.Rules, rules...)
	}
	return p
}

// probeText tells the settings of a probe from others, with what is in files that
// it names.
func probeText(c config.Probe) string {
	text := fmt.Sprintf("%+v", c)
	for _, key := range slices.Sorted(maps.Keys(c.Options)) {
		if !strings.Contains(key, "file") {
			continue
		}
		if b, err := os.ReadFile(c.Options[key]); err == nil {
			text += fmt.Sprintf("\n%x", sha256.Sum256(b))
		}
	}
	return text
}

// measured makes metrics of what probes do.
type measured struct{ m *metrics.Probes }

// Ran implements probe.Watcher. A test that we stopped is none of the path's.
func (w measured) Ran(r probe.Run) {
	if r.Stopped {
		return
	}
	w.m.Ran(metrics.Run{
		Probe: r.Probe.Name, Began: r.Began, Took: r.Took, Bytes: r.Bytes, End: r.End, Err: r.Err, Success: r.Success, Failed: r.State == probe.Failed,
	})
}

// Missed implements probe.Watcher.
func (w measured) Missed(m probe.Missed) { w.m.Missed(m.Probe.Name, m.Reason, m.Runs) }

// Changed implements probe.Watcher: the state is in Ran.
func (measured) Changed(probe.Change) {}

// tells are the webhook and the command of on_change, which a reload may change.
type tells struct {
	daemon *daemon

	mu       sync.Mutex // guards what follows
	settings string
	all      []*probe.Teller
	closing  sync.WaitGroup
}

// tellTime is how long what is left is told at the end, at most.
const tellTime = 5 * time.Second

// become has them tell what the configuration says; nil is nobody.
func (t *tells) become(c *config.Change) {
	settings := ""
	if c != nil {
		settings = fmt.Sprintf("%+v", *c)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if settings == t.settings {
		return
	}
	for _, old := range t.all {
		t.closing.Go(func() { old.Close(tellTime) })
	}
	t.settings, t.all = settings, nil
	if c == nil {
		return
	}
	timeout := time.Duration(c.Timeout)
	if c.Webhook != "" {
		t.add(&probe.Teller{What: "outputs.on_change.webhook", Tell: probe.Webhook(c.Webhook, timeout, "sonde/"+cmp.Or(readBuild().Version, "unknown"))})
	}
	if len(c.Command) > 0 {
		t.add(&probe.Teller{What: c.Command[0], Tell: probe.Command(c.Command, timeout)})
	}
}

func (t *tells) add(one *probe.Teller) {
	one.Log = t.daemon.log
	one.Start()
	t.all = append(t.all, one)
}

// Ran and Missed implement probe.Watcher; they tell nothing.
func (t *tells) Ran(probe.Run)       {}
func (t *tells) Missed(probe.Missed) {}

// Changed implements probe.Watcher.
func (t *tells) Changed(c probe.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.all {
		one.Changed(c)
	}
}

func (t *tells) close() {
	t.become(nil)
	t.closing.Wait()
}
