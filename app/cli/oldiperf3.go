package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/result"
)

// oldIperf3 is the program iperf3 as its users know it: one command with the
// flags of 3.12 and the --json-stream of 3.17, its lines and documents. Its
// server serves many clients at once unless told otherwise.
type oldIperf3 struct {
	env *env

	isServer, document, stream, verbose, debug, daemon bool
	host, unit, logfile, device                        string
	client                                             iperf3.Client
	server                                             iperf3.Server
	test                                               iperf3ClientFlags
	serve                                              iperf3ServerFlags
	output                                             output
}

func oldIperf3Command(e *env) *cobra.Command {
	i := &oldIperf3{env: e}
	cmd := &cobra.Command{
		Use:   e.program + " {-s | -c HOST} [flags]",
		Short: "throughput test",
		Example: `  iperf3 -s
  iperf3 -c 192.0.2.1 -R -P 4
  iperf3 -c 192.0.2.1 -u -b 100M -J`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return i.run(cmd.Context(), cmd.Flags()) },
	}
	i.register(cmd.Flags())
	return cmd
}

func (i *oldIperf3) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&i.isServer, "server", "s", false, "serve")
	fs.StringVarP(&i.host, "client", "c", "", "test against `HOST`")
	i.test.register(fs, &i.client)
	i.serve.registerOwn(fs, &i.server)
	i.serve.registerLimits(fs)
	fs.StringVarP(&i.unit, "format", "f", "", "rates in `UNIT` k, m, g, t (bits) or K, M, G, T (bytes)")
	fs.BoolVarP(&i.document, "json", "J", false, "one JSON document")
	fs.BoolVar(&i.stream, "json-stream", false, "one JSON object on a line for each event")
	fs.StringVar(&i.logfile, "logfile", "", "`FILE` for the output")
	fs.BoolVarP(&i.verbose, "verbose", "V", false, "say more on standard error")
	fs.BoolVarP(&i.debug, "debug", "d", false, "the same as --verbose")
	fs.BoolVarP(&i.daemon, "daemon", "D", false, "not done: run it under a service manager")
	fs.StringVarP(&i.test.bind.at, "bind-host", "B", "", "the same as --bind")
	fs.StringVar(&i.device, "bind-dev", "", "network `INTERFACE` of everything sent")
	for _, name := range []string{"daemon", "bind-host", "debug"} {
		_ = fs.MarkHidden(name)
	}
	for _, name := range []string{"listen", "max-rate", "max-duration", "max-tests", "max-tests-per-address", "max-connections", "max-connections-per-address"} {
		_ = fs.MarkHidden(name)
	}
	i.output = output{env: i.env, color: "never", logFormat: "text"}
}

func (i *oldIperf3) run(ctx context.Context, fs *pflag.FlagSet) error {
	if err := i.prepare(); err != nil {
		return err
	}
	switch {
	case i.isServer && i.host != "":
		return misuse("", "-s and -c %s exclude each other; choose one", i.host)
	case i.daemon:
		return misuse("", "--daemon: not done here; run it under a service manager, or with nohup and &")
	case i.isServer:
		return i.serveTests(ctx, fs)
	case i.host != "":
		return i.runTest(ctx, fs)
	}
	return misuse("", "one of -s and -c HOST is needed; -s serves, -c HOST tests against HOST")
}

// prepare sets where the report goes and in which form.
func (i *oldIperf3) prepare() error {
	c := report.Iperf3Config{Title: i.client.Title, Server: i.isServer, Pieces: i.isServer}
	switch {
	case i.unit != "" && (len(i.unit) != 1 || !strings.Contains("kmgtKMGT", i.unit)):
		return misuse("", "%s: not one of the choices; give k, m, g, t, K, M, G or T", flagValue("format", i.unit))
	case i.unit != "":
		c.Unit = i.unit[0]
	}
	o := &i.output
	o.others, o.format, o.file = iperf3Formats(c), "iperf3-text", i.logfile
	switch {
	case i.stream:
		o.format = "iperf3-stream"
	case i.document:
		o.format = "iperf3"
	}
	if i.verbose || i.debug {
		o.verbose = 1
	} else {
		o.logLevel = "warn" // iperf3 keeps no log
	}
	if i.device != "" {
		i.test.bind.at += "%" + i.device
	}
	return nil
}

// runTest runs as the client.
func (i *oldIperf3) runTest(ctx context.Context, fs *pflag.FlagSet) error {
	c, o := &i.client, &i.output
	c.Target = i.host
	if host, device, ok := strings.Cut(i.host, "%"); ok && !strings.HasPrefix(strings.ToLower(host), "fe80:") {
		c.Target, i.test.bind.at = host, i.test.bind.at+"%"+device
	}
	if err := i.test.apply(ctx, i.env, o, fs, c); err != nil {
		return err
	}
	return o.runClient(ctx, c.Validate, func(ctx context.Context, sink result.Sink) error {
		c.Log = o.logger()
		if s, ok := o.other.(*report.Iperf3Sink); ok {
			c.Report = s.Event
		}
		return c.Run(ctx, result.Tee(sink, warnings(c.Log)))
	})
}

// serveTests runs as the server.
func (i *oldIperf3) serveTests(ctx context.Context, fs *pflag.FlagSet) error {
	o := &i.output
	o.logLevel = "" // says where it listens
	i.serve.listen.port, i.serve.interval = i.test.port, i.test.interval
	i.serve.affinity, i.serve.bind = i.test.affinity, i.test.bind
	run, err := i.serve.apply(o, fs, &i.server)
	if err != nil {
		return err
	}
	if o.format == "iperf3-text" && i.logfile == "" {
		const rule = "-----------------------------------------------------------\n"
		fmt.Fprintf(i.env.out, "%sServer listening on %d (test #1)\n%s", rule, i.test.port, rule)
	}
	return runIperf3Server(ctx, o, run, &i.server, i.serve.oneOff)
}
