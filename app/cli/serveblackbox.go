package cli

import (
	"context"
	"fmt"
	"maps"
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
		newClientTest(e, m.Protocol, m.Options).validate("192.0.2.1", func(option, text string) {
			faults = append(faults, optionFault(l, "modules."+name, option, text))
		})
	}
	return config.Join(faults...)
}

// checkProbes finds what is wrong with the options of probes.
func checkProbes(e *env, l *config.Loaded) error {
	var faults []error
	if len(l.Probes) > 0 || l.Outputs.Change != nil {
		faults = append(faults, l.Fault("probes", "this version runs none yet; leave probes and outputs.on_change out"))
	}
	for i, p := range l.Probes {
		if clientKinds[p.Protocol].command == nil || p.Target == "" {
			continue // told already
		}
		t, at := ofProbe(e, p), fmt.Sprintf("probes[%d]", i)
		before := len(faults)
		t.validate(p.Target, func(option, text string) { faults = append(faults, optionFault(l, at, option, text)) })
		limit := time.Duration(p.Deadline)
		if limit == 0 {
			limit = time.Duration(p.Every)
		}
		if took := t.length(); len(faults) == before && took > limit && limit >= time.Second {
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
				return t.run(ctx, target, result.Tee(sink, d.sink))
			},
		}
	}
	return b, fmt.Sprintf("%v", l.Modules)
}
