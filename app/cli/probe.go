package cli

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/schedule"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
)

// Bounds of what a sender is asked for. The least interval is the engine's.
const (
	mostWait       = time.Hour
	mostReportStep = time.Hour
)

// probeFlags say what a sender of packets that come back sends: the flags that
// sonde twamp ping and sonde stamp ping share.
type probeFlags struct {
	count              count
	interval, wait     duration
	pps                float64
	schedule           string
	padding            size
	zeros              bool
	dscp               dscp
	ttl                count
	sourcePorts        sourcePorts
	reportEvery        duration
	records            string
	every, everyJitter duration
	runs               count
	bind               bindFlag
	family             familyFlags
	recorder           *recorder
}

func (f *probeFlags) register(fs *pflag.FlagSet, o *output) {
	f.count, f.interval, f.wait, f.reportEvery = 100, duration(100*time.Millisecond), duration(2*time.Second), duration(time.Second)
	f.schedule, f.ttl = "periodic", 255
	fs.VarP(&f.count, "count", "c", "packets to send; 0 until stopped")
	fs.VarP(&f.interval, "interval", "i", "mean time between packets, such as 10ms or 100us")
	fs.Float64Var(&f.pps, "pps", 0, "packets per second, instead of --interval")
	fs.StringVar(&f.schedule, "schedule", f.schedule, "packets at `TIMES` periodic, or poisson, which also sees what is periodic itself (RFC 3432)")
	fs.Var(&f.padding, "padding", "octets behind the fixed part of a packet; 0 none (default as many as make both ways equal)")
	fs.BoolVar(&f.zeros, "zeros", false, "pad with zeros, not with random octets")
	fs.Var(&f.dscp, "dscp", "mark packets with this DSCP, 0 to 63 or a name such as EF, AF41, CS5")
	fs.Var(&f.ttl, "ttl", "send packets with this TTL or hop limit, 1 to 255; the RFCs want 255, and some reflectors drop others")
	fs.Var(&f.wait, "timeout", "a reply that takes longer is lost")
	fs.Var(&f.sourcePorts, "source-port", "UDP `PORT` to send from, further sessions from the next ones; or FIRST-LAST, the first that is free (default any)")
	fs.Var(&f.reportEvery, "report-interval", "time between results")
	fs.StringVar(&f.records, "records", "", "write a CSV row for each packet, answered or lost, to this `FILE`")
	fs.Var(&f.every, "every", "repeat the test so often, on a schedule that does not drift; one JSON line for each, unless --format says otherwise")
	fs.Var(&f.everyJitter, "every-jitter", "with --every: begin each test up to so much later, by chance")
	fs.Var(&f.runs, "runs", "with --every: so many tests; 0 until stopped")
	f.bind.register(fs)
	f.family.register(fs)
	o.register(fs)
	o.screen.register(fs)
	o.syslog.register(fs)
	o.fail.register(fs)
	o.fail.registerRuns(fs)
	o.others = map[string]otherFormat{"twping": {make: func(w otherWriter) errSink { return report.Twping(w) }}}
	fs.Lookup("format").Usage = "results as `KIND` text, json, jsonl, or twping for a summary in its form"
	fs.Lookup("padding").DefValue = "0"
}

// probe is what the flags mean.
func (f *probeFlags) probe(fs *pflag.FlagSet, from source) (twamp.Probe, error) {
	if err := f.check(fs); err != nil {
		return twamp.Probe{}, err
	}
	p := twamp.Probe{
		Count: int(f.count), Interval: time.Duration(f.interval), Poisson: f.schedule == "poisson", Padding: int(f.padding),
		Zeros: f.zeros, DSCP: uint8(f.dscp), TTL: uint8(f.ttl), Wait: time.Duration(f.wait), Every: time.Duration(f.reportEvery),
	}
	if f.count == 0 {
		p.Count = -1
	}
	if f.pps > 0 {
		p.Interval = time.Duration(float64(time.Second) / f.pps)
	}
	if fs.Changed("padding") && f.padding == 0 {
		p.Padding = -1
	}
	first, last := f.sourcePorts.First, f.sourcePorts.Last
	if first < last {
		p.Ports, first = twamp.PortRange(f.sourcePorts), 0
	}
	if from.addr.IsValid() || first != 0 {
		p.Source = netip.AddrPortFrom(from.addr, first)
	}
	if f.records != "" {
		f.recorder = &recorder{}
		p.Record = f.recorder.record
	}
	if err := p.Validate(); err != nil {
		return p, misuse("", "--%w", err)
	}
	return p, nil
}

// check finds values that nobody can mean, and flags that would do nothing.
func (f *probeFlags) check(fs *pflag.FlagSet) error {
	for _, one := range []struct {
		bad  bool
		flag string
		want string
	}{
		{f.count < 0, "count", "want 1 or more, or 0 for no end"},
		{f.interval == 0, "interval", "want more than 0, such as 10ms"},
		{fs.Changed("pps") && !(f.pps >= 0.001 && f.pps <= 1e6), "pps", "want 0.001 to 1000000 packets per second"},
		{f.schedule != "periodic" && f.schedule != "poisson", "schedule", "not one of the choices; give periodic, poisson"},
		{f.wait == 0 || time.Duration(f.wait) > mostWait, "timeout", "want more than 0, at most 1h"},
		{time.Duration(f.reportEvery) < 100*time.Millisecond || time.Duration(f.reportEvery) > mostReportStep, "report-interval", "want 100ms to 1h"},
		{f.runs < 0, "runs", "want 1 or more, or 0 until stopped"},
		{f.ttl < 1 || f.ttl > 255, "ttl", "want 1 to 255"},
	} {
		if one.bad {
			return misuse("", "%s: %s", flagValue(one.flag, fs.Lookup(one.flag).Value.String()), one.want)
		}
	}
	if fs.Changed("pps") && fs.Changed("interval") {
		return misuse("", "--pps and --interval exclude each other: one is the other's reciprocal; choose one")
	}
	for _, name := range []string{"every-jitter", "runs"} {
		if fs.Changed(name) && !fs.Changed("every") {
			return misuse("", "--%s %v: there is no schedule without --every; add it, such as --every 10m", name, fs.Lookup(name).Value)
		}
	}
	if fs.Changed("every") && f.count == 0 {
		return misuse("", "--count 0: a test that is repeated has an end; give 1 or more, or leave --every out")
	}
	return nil
}

// plan is the schedule, nil for a single test.
func (f *probeFlags) plan(fs *pflag.FlagSet) (*schedule.Plan, error) {
	if !fs.Changed("every") {
		return nil, nil
	}
	p := &schedule.Plan{Every: time.Duration(f.every), Jitter: time.Duration(f.everyJitter), Count: int(f.runs)}
	if p.Every < time.Second {
		return nil, misuse("", "--every %v: want 1s or more", p.Every)
	}
	if err := p.Validate(); err != nil {
		return nil, misuse("", "--%w", err)
	}
	return p, nil
}

// run makes the test, or one after the other, and keeps the records.
func (f *probeFlags) run(ctx context.Context, o *output, fs *pflag.FlagSet, one func(context.Context, result.Sink) error) error {
	plan, err := f.plan(fs)
	if err != nil {
		return err
	}
	if err := o.validate(); err != nil { // before a file is made
		return err
	}
	if f.recorder != nil {
		if err := f.recorder.open(f.records); err != nil {
			return err
		}
	}
	if f.count > 0 {
		interval := time.Duration(f.interval)
		if f.pps > 0 {
			interval = time.Duration(float64(time.Second) / f.pps)
		}
		o.length = time.Duration(f.count) * interval
	}
	err = o.runClients(ctx, plan, fs, func() error { return nil }, func(ctx context.Context, sink result.Sink) error {
		return interruptedTest(ctx, sink, one)
	})
	if f.recorder != nil {
		if failed := f.recorder.close(); err == nil {
			err = failed
		}
	}
	return err
}

// interruptedTest runs a test that the end of ctx stops without an error, and
// makes that the interruption it is: in its End and in what is returned.
func interruptedTest(ctx context.Context, sink result.Sink, one func(context.Context, result.Sink) error) error {
	err := one(ctx, result.Func(func(e result.Event) {
		if end, ok := e.(result.End); ok && ctx.Err() != nil {
			end.Reason, end.Err = result.ReasonInterrupted, context.Cause(ctx)
			e = end
		}
		sink.Put(e)
	}))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A sourcePorts is a flag value: FIRST-LAST, or one port; the zero sourcePorts is
// any.
type sourcePorts twamp.PortRange

// String is the range as Set takes it.
func (p *sourcePorts) String() string {
	if *p == (sourcePorts{}) {
		return ""
	}
	return (*testPorts)(p).String()
}

// Type names the kind of value in help texts.
func (p *sourcePorts) Type() string { return "ports" }

// Set parses text.
func (p *sourcePorts) Set(text string) error { return (*testPorts)(p).Set(text) }

// A dscp is a flag value: the number of a differentiated services codepoint, or
// its name.
type dscp uint8

// String is the value in figures.
func (d *dscp) String() string { return strconv.Itoa(int(*d)) }

// Type names the kind of value in help texts.
func (d *dscp) Type() string { return "dscp" }

// Set parses text.
func (d *dscp) Set(text string) error {
	if n, ok := codePoints[strings.ToLower(text)]; ok {
		*d = dscp(n)
		return nil
	}
	n, err := strconv.ParseUint(text, 0, 6)
	if err != nil {
		return errors.New("not a DSCP; give 0 to 63, or a name such as EF, AF41, CS5")
	}
	*d = dscp(n)
	return nil
}
