package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/rperf/wire"
)

func rperfClientCommand(e *env) *cobra.Command {
	c := &rperf.Client{}
	o := newOutput(e)
	var f rperfClientFlags
	cmd := &cobra.Command{
		Use:   "client HOST[:PORT]",
		Short: "test against rperf or another sonde",
		Long: `Test the path to an rperf server, or to another sonde. It uploads unless told
otherwise, at 1 Mbit/s for each stream unless told otherwise.

-b counts BYTES per second and --rate BITS per second: -b 125000, -b 1m and
--rate 1M are all 1 Mbit/s. --rate 0 is as fast as the path allows.

In a download a real rperf server opens connections to this machine, which a NAT
or a firewall may stop; another sonde does not need that.`,
		Example: `  sonde rperf client 192.0.2.1 --rate 100M
  sonde rperf client 192.0.2.1 -u -R -b 10m -t 30
  sonde rperf client 192.0.2.1 --every 10m --jitter 1m`,
		Args: oneArg("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Target = args[0]
			plan, err := f.every.plan(cmd.Flags())
			if err != nil {
				return err
			}
			if err := f.apply(o, cmd.Flags(), c); err != nil {
				return err
			}
			return o.runClients(cmd.Context(), plan, cmd.Flags(), c.Validate, func(ctx context.Context, sink result.Sink) error {
				c.Log, c.Budget = o.logger(), e.budget
				c.EachStream = o.screen.shown()
				if s, ok := o.other.(*report.RperfSink); ok {
					c.Records = func(r rperf.Record) { s.Record(rperfRecord(r)) }
				}
				sink = result.Tee(sink, queueing(c.Log))
				if f.noLatency {
					return c.Run(ctx, sink)
				}
				return beside{network: c.Network, from: f.from.addr, log: c.Log}.run(ctx, c.Target, sink, c.Run)
			})
		},
	}
	f.register(cmd.Flags(), c)
	o.register(cmd.Flags())
	o.screen.register(cmd.Flags())
	o.syslog.register(cmd.Flags())
	o.fail.register(cmd.Flags())
	o.fail.registerRuns(cmd.Flags())
	cmd.Flags().Lookup("format").Usage = "results as `KIND` text, json, jsonl, or rperf for rperf's own JSON document"
	return cmd
}

// queueing says what place a busy server gives us, to whoever waits.
func queueing(log *slog.Logger) result.Sink {
	return result.Func(func(e result.Event) {
		if n, ok := e.(result.Note); ok && n.Code == "queued" {
			log.Info(n.Text)
		}
	})
}

// rperfRecord is a record as the report takes it.
func rperfRecord(r rperf.Record) report.RperfRecord {
	return report.RperfRecord{Server: r.Server, Over: r.Over, Failed: r.Failed, Interval: r.Interval}
}

// rperfClientFlags are the flags of a client that do not map to one field. The
// short ones are rperf's.
type rperfClientFlags struct {
	reverse                bool
	rate                   rate
	length                 size
	sendBuffer, recvBuffer size
	streams, omit          count
	time, burst, interval  duration
	port                   port
	affinity               string
	bind                   bindFlag
	family                 familyFlags
	every                  everyFlags
	from                   source
	noLatency              bool
}

func (f *rperfClientFlags) register(fs *pflag.FlagSet, c *rperf.Client) {
	f.time, f.interval, f.burst = duration(10*time.Second), duration(time.Second), duration(wire.DefaultSendInterval)
	f.streams, f.port, f.rate = 1, wire.DefaultPort, 8*wire.DefaultRate
	fs.BoolVarP(&f.reverse, "reverse", "R", false, "download: the server sends")
	fs.BoolVarP(&c.UDP, "udp", "u", false, "UDP datagrams instead of TCP")
	fs.VarP(byteRate{&f.rate}, "bandwidth", "b", "target rate of each stream, in BYTES/s; k, m, g are bits/s, K, M, G bytes/s")
	fs.Var(&f.rate, "rate", "target rate of each stream, in BITS/s, as everywhere in sonde; 0 no limit")
	fs.VarP(&f.time, "time", "t", "time of data")
	fs.Var(&f.time, "duration", "the same as --time")
	fs.VarP(&f.streams, "parallel", "P", "streams at once, 1 to 255")
	fs.VarP(&f.length, "length", "l", "bytes of a write (TCP) or datagram (UDP); 0 is 32768 or 1024")
	fs.Var(&f.sendBuffer, "send-buffer", "bytes of the sender's socket buffers; 0 is the system's")
	fs.Var(&f.recvBuffer, "receive-buffer", "bytes of the receiver's socket buffers; 0 is the system's")
	fs.Var(&f.burst, "send-interval", "time between the bursts of a real rperf server that sends; we send evenly")
	fs.BoolVarP(&c.NoDelay, "no-delay", "N", false, "TCP_NODELAY on the streams")
	fs.VarP(&f.omit, "omit", "O", "with --format rperf: leave so many results at the start of each stream out of its sums")
	fs.StringVarP(&f.affinity, "affinity", "A", "", "run streams on these `CPUS` in turn, such as 0,2")
	fs.Var(&f.interval, "interval", "time between results")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not probe round trips before and during the test")
	fs.BoolVar(&c.Classic, "classic", false, "do as a real rperf does, also with another sonde")
	fs.VarP(&f.port, "port", "p", "TCP port of the server")
	registerRperfPorts(fs, &c.Ports)
	f.bind.register(fs)
	f.family.register(fs)
	f.every.register(fs)
	_ = fs.MarkHidden("duration")
}

// apply sets the fields of c that the flags mean.
func (f *rperfClientFlags) apply(o *output, fs *pflag.FlagSet, c *rperf.Client) error {
	if err := f.check(o, fs); err != nil {
		return err
	}
	var err error
	if c.Target, err = withPort(c.Target, f.port, fs.Changed("port")); err != nil {
		return err
	}
	from, err := f.bind.source()
	if err != nil {
		return err
	}
	f.from = from
	if c.Network, err = f.family.network(from); err != nil {
		return err
	}
	if err := from.check(); err != nil {
		return err
	}
	dial, listen := from.dialer()
	c.Dial, c.ListenPacket = rperf.DialFunc(dial), rperf.ListenPacketFunc(listen)
	if from.control != nil {
		c.Listen = (&net.ListenConfig{Control: from.control}).Listen
	}
	c.Direction = result.Up
	if f.reverse {
		c.Direction = result.Down
	}
	c.Rate, c.Streams, c.Length = uint64(f.rate), int(f.streams), int(f.length)
	c.SendBuffer, c.ReceiveBuffer = int(f.sendBuffer), int(f.recvBuffer)
	c.Duration, c.Interval, c.SendInterval = time.Duration(f.time), time.Duration(f.interval), time.Duration(f.burst)
	o.others = map[string]otherFormat{"rperf": {make: f.document(c), machine: true}}
	c.CPUs, err = processors(f.affinity)
	return err
}

// document makes rperf's own document of the test of c.
func (f *rperfClientFlags) document(c *rperf.Client) func(otherWriter) errSink {
	return func(w otherWriter) errSink {
		config := rperfConfig(c)
		config.Kind, config.Indent, config.Omit = report.RperfJSON, w.indent, int(f.omit)
		return report.Rperf(w, config)
	}
}

// rperfConfig is what rperf's report tells of a test.
func rperfConfig(c *rperf.Client) report.RperfConfig {
	length := c.Length
	switch {
	case length > 0:
	case c.UDP:
		length = wire.DefaultUDPLength
	default:
		length = wire.DefaultTCPLength
	}
	return report.RperfConfig{
		UDP: c.UDP, Reverse: c.Direction == result.Down, NoDelay: c.NoDelay, Length: length, Streams: c.Streams,
		Bandwidth: c.Rate / 8, Duration: c.Duration, SendInterval: c.SendInterval, SendBuffer: c.SendBuffer, ReceiveBuffer: c.ReceiveBuffer,
	}
}

// check finds values that the protocol cannot carry, and flags that would do
// nothing.
func (f *rperfClientFlags) check(o *output, fs *pflag.FlagSet) error {
	for _, one := range []struct {
		bad  bool
		flag string
		want string
	}{
		{f.streams < 1 || f.streams > wire.MaxStreams, "parallel", fmt.Sprintf("rperf carries 1 to %d streams", wire.MaxStreams)},
		{f.time <= 0, "time", "want more than 0"},
		{f.burst <= 0 || time.Duration(f.burst) > time.Second, "send-interval", "want more than 0, at most 1s"},
		{f.omit < 0, "omit", "want 0 or more"},
	} {
		if one.bad {
			return misuse("", "--%s %v: %s", one.flag, fs.Lookup(one.flag).Value, one.want)
		}
	}
	switch {
	case fs.Changed("rate") && fs.Changed("bandwidth"):
		return misuse("", "--bandwidth and --rate exclude each other: -b is in bytes/s, --rate in bits/s; choose one")
	case fs.Changed("omit") && o.format != "rperf":
		return misuse("", "--omit %d: it belongs to rperf's report; add --format rperf, or leave it out: sonde's own says the steady rate without the start", f.omit)
	}
	return checkInterval(f.interval)
}
