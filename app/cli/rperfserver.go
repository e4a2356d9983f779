package cli

import (
	"net"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/rperf/wire"
)

func rperfServerCommand(e *env) *cobra.Command {
	s := &rperf.Server{}
	o := newOutput(e)
	var f rperfServerFlags
	var g guardFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "let rperf and sonde clients test against this machine",
		Long: `Serve rperf's throughput test to many clients at once. rperf has no login:
everybody who reaches this server can test.

Clients beyond --max-tests wait in a queue, and a sonde client is told its place;
with --client-limit they are closed at once, as rperf does. Open TCP port 5199,
and for uploads of real rperf clients ports of --tcp-port-pool and
--udp-port-pool.`,
		Example: `  sonde rperf server
  sonde rperf server --tcp-port-pool 5200-5263 --udp-port-pool 5200-5263
  sonde rperf server --max-tests 2 --max-duration 1m --max-rate 100M`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run, err := f.apply(cmd.Flags(), s)
			if err != nil {
				return err
			}
			return o.runGuarded(cmd.Context(), e, &g, rperfService(o, run, s))
		},
	}
	f.register(cmd.Flags(), s)
	g.register(cmd.Flags())
	o.register(cmd.Flags())
	o.syslog.register(cmd.Flags())
	return cmd
}

// rperfService completes run with s.
func rperfService(o *output, run service, s *rperf.Server) service {
	s.Log = o.logger()
	run.protocol = rperf.Protocol
	run.validate = func() error { return nil } // the flags were checked
	run.ready = func() {
		s.Log.Warn("rperf has no login: everybody who reaches this server can test, and make it send; --max-tests, --max-duration and --max-rate bound that")
	}
	run.serve = func(sink result.Sink) serveFunc { s.Sink = sink; return s.Serve }
	return run
}

// rperfServerFlags are the flags of a server that do not map to one field.
type rperfServerFlags struct {
	listen                             listenFlag
	bind                               bindFlag
	affinity                           string
	duration, interval                 duration
	rate                               rate
	tests, perAddress, limit           count
	connections, connectionsPerAddress count
}

func (f *rperfServerFlags) register(fs *pflag.FlagSet, s *rperf.Server) {
	f.listen.port, f.interval = wire.DefaultPort, duration(time.Second)
	f.tests, f.perAddress, f.connections, f.connectionsPerAddress = 100, 10, 4096, 512
	fs.StringSliceVar(&f.listen.at, "listen", nil, "`ADDR`, ADDR:PORT or :PORT to listen on; may be given again (default every address)")
	fs.VarP(&f.listen.port, "port", "p", "TCP port to listen on, where --listen gives none")
	f.bind.register(fs)
	registerRperfPorts(fs, &s.Ports)
	fs.Var(&f.tests, "max-tests", "tests at once, the others wait in a queue; 0 no limit")
	fs.Var(&f.perAddress, "max-tests-per-address", "tests at once from one address; 0 no limit")
	fs.Var(&f.limit, "client-limit", "tests at once, the others are closed, as rperf does; 0 for the queue of --max-tests")
	fs.Var(&f.connections, "max-connections", "connections at once; 0 no limit")
	fs.Var(&f.connectionsPerAddress, "max-connections-per-address", "connections at once from one address; 0 no limit")
	fs.Var(&f.duration, "max-duration", "longest test; 0 no limit")
	fs.Var(&f.rate, "max-rate", "highest rate of one test, bit/s")
	fs.Var(&f.interval, "interval", "time between results")
	fs.StringVarP(&f.affinity, "affinity", "A", "", "run streams on these `CPUS` in turn, such as 0,2")
}

// apply sets the fields of s that the flags mean, and says where it listens.
func (f *rperfServerFlags) apply(fs *pflag.FlagSet, s *rperf.Server) (service, error) {
	for _, name := range []string{"max-tests", "max-tests-per-address", "client-limit", "max-connections", "max-connections-per-address"} {
		if n, ok := fs.Lookup(name).Value.(*count); ok && *n < 0 {
			return service{}, misuse("", "--%s %d: want 1 or more, or 0 for no limit", name, *n)
		}
	}
	if fs.Changed("client-limit") && fs.Changed("max-tests") {
		return service{}, misuse("", "--client-limit and --max-tests exclude each other: one closes clients beyond it, the other lets them wait; choose one")
	}
	if err := checkInterval(f.interval); err != nil {
		return service{}, err
	}
	s.Tests = int(f.tests)
	if f.limit > 0 {
		s.Tests, s.Refuse = int(f.limit), true
	}
	s.Connections, s.ConnectionsPerAddress = orNone(f.connections), orNone(f.connectionsPerAddress)
	s.Interval = time.Duration(f.interval)
	from, err := f.bind.source()
	if err != nil {
		return service{}, err
	}
	dial, listen := from.dialer()
	s.Dial, s.ListenPacket = rperf.DialFunc(dial), rperf.ListenPacketFunc(listen)
	run := service{config: net.ListenConfig{Control: from.control}, admit: func(p admit.Policy) { s.Policy = p }}
	run.limits = quota.Server{TestsPerAddress: int(f.perAddress), Duration: time.Duration(f.duration), Rate: uint64(f.rate)}
	if from.control != nil {
		s.Listen = run.config.Listen
	}
	if run.listen, err = f.listen.addresses(from.host()); err != nil {
		return service{}, err
	}
	s.CPUs, err = processors(f.affinity)
	return run, err
}

// orNone is a limit as the engines take it, where 0 is the default and -1 none.
func orNone(n count) int {
	if n == 0 {
		return -1
	}
	return int(n)
}
