//go:build !nano

package cli

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"time"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/metrics"
	"github.com/sonde-net/sonde/result"
)

// A line is what throughput tests of this host share: one at a time.
type line chan struct{}

func newLine() line { return make(line, 1) }

// take waits for the line until ctx ends.
func (l line) take(ctx context.Context) (release func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	default:
	}
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// checkModules finds what is wrong with the modules.
func checkModules(e *env, l *config.Loaded) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(l.Modules)) {
		m := l.Modules[name]
		if clientKinds[m.Protocol].command == nil {
			continue // told already
		}
		t, before := newClientTest(e, m.Protocol, m.Options), len(faults)
		t.validate("192.0.2.1", func(option, text string) {
			faults = append(faults, optionFault(l, "modules."+name, option, text))
		})
		if len(faults) == before && t.endless() {
			faults = append(faults, l.Fault("modules."+name, "its test has no end; give a duration, or a count of packets"))
		}
	}
	return config.Join(faults...)
}

// checkProbes finds what is wrong with the options of probes.
func checkProbes(e *env, l *config.Loaded) error {
	var faults []error
	if c := l.Outputs.Change; c != nil && len(c.Command) > 0 {
		if _, err := exec.LookPath(c.Command[0]); err != nil {
			faults = append(faults, l.Fault("outputs.on_change.command", "%s: %v; give a program that can be run, with its path", c.Command[0], cause(err)))
		}
	}
	for i, p := range l.Probes {
		if clientKinds[p.Protocol].command == nil || p.Target == "" {
			continue // told already
		}
		t, at := ofProbe(e, p), fmt.Sprintf("probes[%d]", i)
		before := len(faults)
		t.validate(p.Target, func(option, text string) { faults = append(faults, optionFault(l, at, option, text)) })
		if len(faults) == before && p.Bytes == 0 && t.endless() {
			faults = append(faults, l.Fault(at, "its test has no end; give duration, packets or bytes"))
		}
		limit := time.Duration(p.Deadline)
		if limit == 0 {
			limit = time.Duration(p.Every)
		}
		if took := t.length(); len(faults) == before && took > limit && time.Duration(p.Every) >= time.Second {
			faults = append(faults, l.Fault(at, "a test takes %v, and there are %v for it; make it shorter, or every or deadline longer", took, limit))
		}
	}
	return config.Join(faults...)
}

func optionFault(l *config.Loaded, section, option, text string) error {
	if option != "" {
		section += ".options." + option
	}
	return l.Fault(section, "%s", text)
}

// blackbox is what serves /probe, and a text that tells its settings.
func (d *daemon) blackbox(l *config.Loaded) (*metrics.Blackbox, string) {
	b := &metrics.Blackbox{
		Modules: map[string]metrics.Module{}, Targets: l.Web.ProbeTargets, Deadline: time.Duration(l.Web.ProbeDeadline),
		Most: int(l.Web.MaxProbes), Line: d.line.take,
	}
	for name, m := range l.Modules {
		t := newClientTest(d.env, m.Protocol, m.Options)
		b.Modules[name] = metrics.Module{
			Length: t.length(), Throughput: !config.Trips(m.Protocol),
			Run: func(ctx context.Context, target string, sink result.Sink) error {
				return t.run(ctx, target, nil, result.Tee(sink, d.sink))
			},
		}
	}
	return b, fmt.Sprintf("%v", l.Modules)
}
