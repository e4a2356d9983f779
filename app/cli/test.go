package cli

import (
	"cmp"
	"context"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
)

func testCommand(e *env) *cobra.Command {
	t := &trial{env: e, output: newOutput(e), each: duration(6 * time.Second)}
	cmd := &cobra.Command{
		Use:   "test HOST",
		Short: "find out what a host can be tested with, and test the path to it",
		Long: `Find out which protocols of tests a host answers, choose one, and run a download
and an upload with it: how much gets through each way, how much longer round
trips take meanwhile, and what was the limit. A host that has only a reflector of
TWAMP or STAMP is tested for delay and loss. It takes less than 20 seconds and
needs no flags.`,
		Example: `  sonde test 192.168.88.1
  sonde test test.example.net --json`,
		Args: oneArg("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.host = args[0]
			return t.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.Var(&t.each, "time", "time of data each way, whole seconds")
	fs.Var(&t.each, "duration", "the same as --time")
	_ = fs.MarkHidden("duration")
	t.login.register(fs)
	t.bind.register(fs)
	t.family.register(fs)
	t.output.register(fs)
	t.output.screen.register(fs)
	t.output.syslog.register(fs)
	t.output.fail.register(fs)
	return cmd
}

// A trial is one run of sonde test.
type trial struct {
	env    *env
	output *output
	host   string
	each   duration
	login  loginFlags
	bind   bindFlag
	family familyFlags

	from           source
	network        string
	name, password string
}

// A phase runs one direction of a test.
type phase func(ctx context.Context, d result.Direction, sink result.Sink) error

// dial is how to connect.
func (t *trial) dial() dialFunc {
	if dial, _ := t.from.dialer(); dial != nil {
		return dialFunc(dial)
	}
	return (&net.Dialer{}).DialContext
}

// check reads the flags.
func (t *trial) check(ctx context.Context) (err error) {
	if at := time.Duration(t.each); at < time.Second || at > time.Hour || at%time.Second != 0 {
		return misuse("", "--time %v: want whole seconds, 1s to 1h", at)
	}
	if _, _, err := net.SplitHostPort(t.host); err == nil {
		return misuse("", "%s: sonde test tries the port of each protocol; give the host alone, or test with one: sonde iperf3 client %s", t.host, t.host)
	}
	t.host = strings.Trim(t.host, "[]")
	if t.from, err = t.bind.source(); err != nil {
		return err
	}
	if t.network, err = t.family.network(t.from); err != nil {
		return err
	}
	if err := t.from.check(); err != nil {
		return err
	}
	t.name, t.password, err = t.login.read(ctx, t.env)
	return err
}

// run finds out what the host answers, and tests with the first protocol that
// lets us.
func (t *trial) run(ctx context.Context) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	o := t.output
	sink, err := o.open(false)
	if err != nil {
		return err
	}
	sink = o.fail.sink(sinkOf(sink))
	return o.screen.watch(ctx, o, func(ctx context.Context) error { return t.find(ctx, sink) })
}

// find does so, with results to sink.
func (t *trial) find(ctx context.Context, sink result.Sink) error {
	o := t.output
	fail := func(err error) error {
		sink.Put(failure("", result.Client, err))
		return cmp.Or(err, o.close())
	}
	reflecting := make(chan reflection, 1)
	go func() { reflecting <- t.reflection(ctx) }()
	found, reflects := survey(ctx, t.dial(), t.network, t.host), <-reflecting
	if ctx.Err() != nil {
		return fail(context.Cause(ctx))
	}
	able := spoken(found)
	switch {
	case len(able) == 0 && reflects.protocol == "":
		return fail(nobody(t.host, found))
	case len(able) == 0:
		return cmp.Or(t.roundTrips(ctx, reflects, sinkOf(sink)), o.fail.err(), o.close())
	}
	o.say("%s: %s%s\n", t.host, portsText(found), reflects.text())
	var last error
	for n, f := range able {
		o.say("testing by %s: download, then upload, %v each\n", f.protocol, time.Duration(t.each))
		end, tried := t.both(ctx, f, sink, n+1 == len(able))
		if tried {
			return cmp.Or(end, o.fail.err(), o.close())
		}
		o.logger().Warn("no test by "+f.protocol, "err", end)
		last = end
	}
	return cmp.Or(last, o.close())
}

// sinkOf is sink, or one that keeps nothing.
func sinkOf(sink result.Sink) result.Sink {
	if sink == nil {
		return result.Discard
	}
	return sink
}

// both runs a download and an upload as one run. It is not tried when nothing
// was measured and something else is left to try.
func (t *trial) both(ctx context.Context, f finding, sink result.Sink, last bool) (err error, tried bool) {
	j := newJoined(sink)
	run := f.test(t, joinPort(t.host, f.port))
	for _, d := range result.Both.Each() {
		if err = run(ctx, d, judged(j)); err != nil {
			break
		}
	}
	if j.begin == nil && !last && ctx.Err() == nil {
		return err, false
	}
	j.close()
	return err, true
}

// beside is what probes round trips where the protocol does not.
func (t *trial) beside() beside {
	return beside{network: t.network, from: t.from.addr, log: t.output.logger()}
}

func iperf3Phase(t *trial, target string) phase {
	return func(ctx context.Context, d result.Direction, sink result.Sink) error {
		dial, listen := t.from.dialer()
		c := &iperf3.Client{
			Target: target, Direction: d, Duration: time.Duration(t.each), Network: t.network,
			Dial: iperf3.DialFunc(dial), ListenPacket: iperf3.ListenPacketFunc(listen), Log: t.output.logger(),
		}
		return t.beside().run(ctx, c.Target, sink, c.Run)
	}
}

func rperfPhase(t *trial, target string) phase {
	return func(ctx context.Context, d result.Direction, sink result.Sink) error {
		dial, listen := t.from.dialer()
		c := &rperf.Client{
			Target: target, Direction: d, Duration: time.Duration(t.each), Network: t.network,
			Dial: rperf.DialFunc(dial), ListenPacket: rperf.ListenPacketFunc(listen), Log: t.output.logger(),
		}
		return t.beside().run(ctx, c.Target, sink, c.Run)
	}
}

func btestPhase(t *trial, target string) phase {
	return func(ctx context.Context, d result.Direction, sink result.Sink) error {
		dial, listen := t.from.dialer()
		c := &btest.Client{
			Target: target, Direction: d, Duration: time.Duration(t.each), Network: t.network, Latency: true,
			Dial: dial, ListenPacket: listen, Log: t.output.logger(), Account: t.name, Password: t.password,
		}
		return c.Run(ctx, sink)
	}
}
