package nat

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// The part of a Survey about port mappings.

// ports asks the router in every protocol, at once, each for a port of its own.
func (t *surveyor) ports(ctx context.Context) error {
	f := t.findings
	why := ""
	router := t.Router
	if !router.IsValid() {
		a, err := Gateway()
		if err != nil {
			why = err.Error()
		}
		router = a
	}
	if router.IsValid() {
		f.Gateway = &router
	} else {
		f.Unknown["gateway"] = strings.TrimPrefix(why, "nat: ")
	}
	if t.NoMapping {
		why = "it was not to be tried"
	}
	if why != "" {
		f.Unknown["port_mappings"], f.Unknown["port_mapping_works"] = why, why
		t.double()
		return nil
	}
	own, err := t.source(ctx, netip.AddrPortFrom(router, routerPort))
	if err != nil {
		f.Unknown["port_mappings"], f.Unknown["port_mapping_works"] = err.Error(), err.Error()
		t.double()
		return nil
	}
	protocols := PortProtocols()
	f.PortMappings = make([]PortFinding, len(protocols))
	faults := make([]error, len(protocols))
	var wg sync.WaitGroup
	for i, p := range protocols {
		wg.Go(func() { f.PortMappings[i], faults[i] = t.port(ctx, router, own, p) })
	}
	wg.Wait()
	works, known := false, false
	for _, p := range f.PortMappings {
		works = works || p.Reachable != nil && *p.Reachable
		known = known || p.Reachable != nil || p.Granted != nil && !*p.Granted
	}
	if works || known && !slices.ContainsFunc(f.PortMappings, func(p PortFinding) bool { return p.Granted != nil && *p.Granted && p.Reachable == nil }) {
		f.MappedPortsOK = &works
	} else {
		f.Unknown["port_mapping_works"] = "a mapping was granted, but nobody outside could try it"
	}
	t.double()
	return errors.Join(faults...)
}

// port asks the router in one protocol, and takes the mapping away again.
func (t *surveyor) port(ctx context.Context, router, own netip.Addr, protocol string) (PortFinding, error) {
	p := PortFinding{Protocol: protocol, Dialogue: []Exchanged{}, Unknown: map[string]string{}}
	mapped, closeMapped, err := t.open(ctx, own, false)
	if err != nil {
		return p, err
	}
	defer closeMapped()
	ask, closeAsk, err := t.open(ctx, own, false)
	if err != nil {
		return p, err
	}
	defer closeAsk()
	var mu sync.Mutex // guards p.Dialogue
	m := &Mapper{Router: router, Local: mapped.Local, Protocols: []string{protocol}, ListenPacket: t.ListenPacket, Dial: t.Dial}
	m.Trace = func(s Step) {
		mu.Lock()
		defer mu.Unlock()
		p.Dialogue = append(p.Dialogue, Exchanged{s.Asked, s.Answer, s.Took})
	}
	m.Prove = func(ctx context.Context, pm PortMapping) (*bool, string) {
		v := t.findings.IPv4
		if v == nil || v.Reflexive == nil {
			return nil, "no server answers, so nobody outside could try"
		}
		return Prove(ctx, mapped, ask, Server{At: v.Server, OtherPort: v.Report.Other.Port()}, pm, v.Report.Filtering)
	}
	var got *PortMapping
	holding, stop := context.WithCancel(ctx)
	defer stop()
	err = m.Run(holding, func(pm PortMapping) { got = &pm; stop() })
	if dead, ok := errors.AsType[*UnreachableError](err); ok {
		got, err = &dead.Mapping, dead.Rest
	}
	if ctx.Err() != nil {
		return p, context.Cause(ctx)
	}
	p.take(got, err, t.reflexive4())
	return p, nil
}

func (t *surveyor) reflexive4() netip.Addr {
	if v := t.findings.IPv4; v != nil && v.Reflexive != nil {
		return v.Reflexive.Addr()
	}
	return netip.Addr{}
}

// take takes what became of a mapping: got is nil if none was granted.
func (p *PortFinding) take(got *PortMapping, err error, reflexive netip.Addr) {
	yes, no := true, false
	if err != nil {
		p.Fault = strings.ReplaceAll(strings.ReplaceAll(err.Error(), "nat: ", ""), "\n", "; ")
	}
	answers := !errors.Is(err, ErrNoAnswer)
	p.Answers = &answers
	if got == nil {
		p.Granted = &no
		why := "no mapping was granted"
		for _, figure := range []string{"external", "lifetime_seconds", "took_ns", "reachable", "removed"} {
			p.Unknown[figure] = why
		}
		return
	}
	life := got.Lifetime.Seconds()
	removed := err == nil
	p.Answers, p.Granted, p.External, p.Lifetime, p.Took, p.Reachable, p.Removed = &yes, &yes, &got.External, &life, &got.Took, got.Reachable, &removed
	if p.Doubt = got.Doubt(reflexive); p.Doubt == "" && got.Reachable != nil && !*got.Reachable {
		p.Doubt = got.Why
	}
	if got.Reachable == nil {
		p.Unknown["reachable"] = got.Why
	}
}

// double judges whether another NAT is behind the router: what it takes for its
// outside address is not where we are seen.
func (t *surveyor) double() {
	f := t.findings
	seen := t.reflexive4()
	for _, p := range f.PortMappings {
		if p.External == nil {
			continue
		}
		a := p.External.Addr()
		switch {
		case a.IsPrivate() || carrier.Contains(a):
			yes := true
			f.DoubleNAT = &yes
			return
		case seen.IsValid() && a.Is4() == seen.Is4():
			differs := a != seen
			f.DoubleNAT = &differs
			return
		}
	}
	if v := f.IPv4; v != nil && v.Report.Mapping == NoNAT {
		no := false
		f.DoubleNAT = &no
		return
	}
	f.Unknown["double_nat"] = "the router does not tell its outside address"
}
