package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/rperf/wire"
)

// oldRperf is the program rperf 0.1.8 as its users know it: one command with
// its flags, defaults, units and reports. A failed test is told by the exit
// status too, where rperf's is 0.
type oldRperf struct {
	env *env

	server, six, reverse, udp, noDelay, debug bool
	client, format, bandwidth, affinity       string
	port                                      port
	limit, length, omit, streams              count
	sendBuffer, recvBuffer                    count
	time, burst                               seconds
	ports                                     rperf.Ports
	output                                    output
}

func oldRperfCommand(e *env) *cobra.Command {
	r := &oldRperf{env: e}
	cmd := &cobra.Command{
		Use:   e.program + " {-s | -c HOST} [flags]",
		Short: "throughput test for lossy and intermittent links",
		Long: `rperf's throughput test. -b counts BYTES per second of each stream, over TCP too:
-b 125000 is 1 Mbit/s. With a small letter it counts bits (-b 1m is 1 Mbit/s),
with a capital one bytes (-b 1M is 8 Mbit/s).`,
		Example: `  rperf -s
  rperf -c 192.0.2.1 -u -b 10m -t 30
  rperf -c 192.0.2.1 -R -f json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context(), cmd.Flags()) },
	}
	r.register(cmd.Flags())
	return cmd
}

func (r *oldRperf) register(fs *pflag.FlagSet) {
	r.port, r.streams, r.time, r.burst = wire.DefaultPort, 1, 10, seconds(wire.DefaultSendInterval.Seconds())
	fs.BoolVarP(&r.server, "server", "s", false, "serve")
	fs.StringVarP(&r.client, "client", "c", "", "test against `HOST`")
	fs.VarP(&r.port, "port", "p", "TCP port of the control connection")
	fs.StringVarP(&r.affinity, "affinity", "A", "", "run streams on these `CPUS` in turn, such as 0,2")
	fs.BoolVarP(&r.debug, "debug", "d", false, "say more on standard error")
	fs.BoolVarP(&r.six, "version6", "6", false, "server: listen on both families instead of IPv4")
	fs.Var(&r.limit, "client-limit", "server: tests at once, others are closed; 0 no limit")
	fs.BoolVarP(&r.reverse, "reverse", "R", false, "the server sends")
	fs.StringVarP(&r.format, "format", "f", string(report.RperfMegabit), "report as `KIND` json, megabit or megabyte")
	fs.BoolVarP(&r.udp, "udp", "u", false, "UDP instead of TCP")
	fs.StringVarP(&r.bandwidth, "bandwidth", "b", fmt.Sprint(wire.DefaultRate), "`RATE` of each stream, BYTES/s; k, m, g are bits/s, K, M, G bytes/s")
	fs.VarP(&r.time, "time", "t", "seconds of data")
	fs.Var(&r.burst, "send-interval", "seconds between the bursts of a sending server")
	fs.VarP(&r.length, "length", "l", "bytes of a write or datagram; 0 is 32768 (TCP) or 1024 (UDP)")
	fs.Var(&r.sendBuffer, "send-buffer", "bytes of the sender's socket buffers; 0 is the system's")
	fs.Var(&r.recvBuffer, "receive-buffer", "bytes of the receiver's socket buffers; 0 is the system's")
	fs.VarP(&r.streams, "parallel", "P", "streams at once, 1 to 255")
	fs.VarP(&r.omit, "omit", "O", "results at the start of each stream that the sums leave out")
	fs.BoolVarP(&r.noDelay, "no-delay", "N", false, "TCP_NODELAY on the streams")
	registerRperfPorts(fs, &r.ports)
	r.output = output{env: r.env, format: "text", color: "never", logFormat: "text", borrowed: true}
}

func (r *oldRperf) run(ctx context.Context, fs *pflag.FlagSet) error {
	if r.debug {
		r.output.verbose = 1
	}
	switch {
	case r.server: // -s wins over -c, as in the original
		return r.serve(ctx)
	case r.client != "":
		return r.test(ctx, fs.Changed("port"))
	}
	return misuse("", "one of -s and -c HOST is needed; -s serves, -c HOST tests against HOST")
}

// serve runs as the server.
func (r *oldRperf) serve(ctx context.Context) error {
	cpus, err := processors(r.affinity)
	if err != nil {
		return err
	}
	s := &rperf.Server{Policy: &admit.Limits{}, Ports: r.ports, CPUs: cpus, Tests: max(0, int(r.limit)), Refuse: r.limit > 0}
	at := joinPort("0.0.0.0", r.port)
	if r.six {
		at = joinPort("", r.port)
	}
	return r.output.runServer(ctx, rperfService(&r.output, service{listen: []string{at}}, s))
}

// test runs as the client.
func (r *oldRperf) test(ctx context.Context, portGiven bool) error {
	c, err := r.asked(portGiven)
	if err != nil {
		return err
	}
	config := rperfConfig(c)
	config.Kind, config.Indent, config.Omit = report.RperfKind(r.format), true, max(0, int(r.omit))
	switch config.Kind {
	case report.RperfJSON, report.RperfMegabit, report.RperfMegabyte:
	default:
		return misuse("", "%s: not one of the choices; give json, megabit or megabyte", flagValue("format", r.format))
	}
	o := &r.output
	return o.runClient(ctx, c.Validate, func(ctx context.Context, sink result.Sink) error {
		lines := report.Rperf(r.env.out, config)
		o.flushes = append(o.flushes, lines.Err)
		c.Log = o.logger()
		c.Records = func(one rperf.Record) { lines.Record(rperfRecord(one)) }
		return c.Run(ctx, result.Tee(lines, sink, warnings(c.Log)))
	})
}

// asked is the test that the flags ask for. What rperf mends it mends, too, and
// says so.
func (r *oldRperf) asked(portGiven bool) (*rperf.Client, error) {
	log := r.output.logger()
	target, err := withPort(r.client, r.port, portGiven)
	if err != nil {
		return nil, err
	}
	perSecond, err := wire.ParseRate(r.bandwidth)
	if err != nil {
		log.Warn("not a rate: the default is taken", "bandwidth", r.bandwidth, "bytes_per_second", wire.DefaultRate)
		perSecond = wire.DefaultRate
	}
	if r.burst <= 0 || r.burst > 1 {
		log.Warn("not a send interval: the default is taken", "send_interval", r.burst.String(), "seconds", wire.DefaultSendInterval.Seconds())
		r.burst = seconds(wire.DefaultSendInterval.Seconds())
	}
	if r.streams < 0 || r.streams > wire.MaxStreams {
		return nil, misuse("", "--parallel %d: rperf carries 1 to %d streams", r.streams, wire.MaxStreams)
	}
	cpus, err := processors(r.affinity)
	if err != nil {
		return nil, err
	}
	c := &rperf.Client{
		CPUs: cpus, Target: target, UDP: r.udp, NoDelay: r.noDelay, Ports: r.ports, Streams: max(1, int(r.streams)),
		Rate: 8 * perSecond, Duration: max(time.Millisecond, r.time.duration()), SendInterval: r.burst.duration(),
		Direction: result.Up, Length: int(r.length),
	}
	if r.reverse {
		c.Direction = result.Down
	}
	least := wire.MinTCPLength
	if r.udp {
		least = wire.MinUDPLength
	}
	if c.Length > 0 {
		c.Length = max(c.Length, least)
	}
	c.SendBuffer, c.ReceiveBuffer = bufferFor(r.sendBuffer, c.Length), bufferFor(r.recvBuffer, c.Length)
	return c, nil
}

// bufferFor is twice the length where a buffer could not hold one.
func bufferFor(n count, length int) int {
	if n > 0 && int(n) < length {
		return 2 * length
	}
	return int(n)
}

// warnings puts the warnings of a run into the log.
func warnings(log *slog.Logger) result.Sink {
	return result.Func(func(e result.Event) {
		if n, ok := e.(result.Note); ok && n.Level == result.Warning && n.Login == nil {
			log.Warn(n.Text, hinted(n.Hint)...)
		}
	})
}
