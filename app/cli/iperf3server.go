package cli

import (
	"cmp"
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

func iperf3ServerCommand(e *env) *cobra.Command {
	s := &iperf3.Server{}
	o := newOutput(e)
	var f iperf3ServerFlags
	var g guardFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "let iperf3 and sonde clients test against this machine",
		Long: `Serve iperf3's throughput test to many clients at once; --one-at-a-time tells all
but one that the server is busy, as iperf3 does. Open port 5201, TCP and UDP.

With a key and users every client has to log in.`,
		Example: `  sonde iperf3 server
  sonde iperf3 server --max-duration 1m --max-rate 100M --max-tests-per-address 2
  sonde iperf3 server --rsa-private-key-path key.pem --authorized-users-path users.csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.others = iperf3Formats(report.Iperf3Config{Server: true, Pieces: true})
			run, err := f.apply(o, cmd.Flags(), s)
			if err != nil {
				return err
			}
			if run.guard, err = g.open(cmd.Context(), e, o); err != nil {
				return err
			}
			return cmp.Or(runIperf3Server(cmd.Context(), o, run, s, f.oneOff), run.guard.close())
		},
	}
	f.register(cmd.Flags(), s)
	f.registerLimits(cmd.Flags())
	g.register(cmd.Flags())
	o.register(cmd.Flags())
	o.syslog.register(cmd.Flags())
	cmd.Flags().Lookup("format").Usage = "results as `KIND` text, json, jsonl, or iperf3's own: iperf3, iperf3-stream, iperf3-text"
	return cmd
}

// runIperf3Server serves with s, with oneOff until its first test is over.
func runIperf3Server(ctx context.Context, o *output, run service, s *iperf3.Server, oneOff bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	run = iperf3Service(o, run, s)
	if oneOff {
		run.serve = func(sink result.Sink) serveFunc {
			s.Sink, s.Report = untilFirstEnd(sink, stop), iperf3Pieces(o)
			return s.Serve
		}
	}
	return o.runServer(ctx, run)
}

// iperf3Service completes run with s.
func iperf3Service(o *output, run service, s *iperf3.Server) service {
	s.Log, s.JSON = o.logger(), o.machine()
	run.protocol = iperf3.Protocol
	run.validate = func() error { return nil } // the flags were checked
	run.ready = func() {
		if s.Key == nil {
			s.Log.Warn("no users: everybody who reaches this server can test, and make it send; --rsa-private-key-path and --authorized-users-path ask for a login")
		}
	}
	run.serve = func(sink result.Sink) serveFunc { s.Sink = sink; s.Report = iperf3Pieces(o); return s.Serve }
	return run
}

// iperf3Pieces is what is to be told of the tests, if the output is iperf3's own.
func iperf3Pieces(o *output) func(result.ID, string, any) {
	if s, ok := o.other.(*report.Iperf3Sink); ok {
		return s.ServerEvent
	}
	return nil
}

// untilFirstEnd stops when the first test that began is over.
func untilFirstEnd(next result.Sink, stop func()) result.Sink {
	var mu sync.Mutex // guards began
	began := map[result.ID]bool{}
	return result.Func(func(e result.Event) {
		next.Put(e)
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case result.Begin:
			began[e.Run] = true
		case result.End:
			if began[e.Run] {
				stop()
			}
		}
	})
}

// iperf3ServerFlags are the flags of a server that do not map to one field.
type iperf3ServerFlags struct {
	listen                             listenFlag
	bind                               bindFlag
	affinity, key, users               string
	skew                               count
	oneOff                             bool
	rate                               iperf3Rate
	interval, longest                  duration
	tests, perAddress                  count
	connections, connectionsPerAddress count
}

// register registers the flags that iperf3 has, too.
func (f *iperf3ServerFlags) register(fs *pflag.FlagSet, s *iperf3.Server) {
	f.listen.port, f.interval = wire.DefaultPort, duration(time.Second)
	fs.VarP(&f.listen.port, "port", "p", "port to listen on, TCP and UDP")
	fs.VarP(&f.interval, "interval", "i", "time between results; 0 none")
	fs.StringVarP(&f.affinity, "affinity", "A", "", "run on these `CPUS` only, such as 0,2")
	f.bind.register(fs)
	f.registerOwn(fs, s)
}

// registerOwn registers those of them that a client does not have.
func (f *iperf3ServerFlags) registerOwn(fs *pflag.FlagSet, s *iperf3.Server) {
	fs.BoolVarP(&f.oneOff, "one-off", "1", false, "stop after one test")
	fs.BoolVar(&s.OneAtATime, "one-at-a-time", false, "tell further clients that the server is busy, as iperf3 does")
	fs.StringVar(&f.key, "rsa-private-key-path", "", "`FILE` with the private RSA key for logins, in PEM")
	fs.StringVar(&f.users, "authorized-users-path", "", "`FILE` of users, a line NAME,HASH each, the hash SHA-256 of {NAME}PASSWORD")
	fs.Var(&f.skew, "time-skew-threshold", "seconds that a client's clock may be off at a login; 0 is 10")
	fs.Var(&f.rate, "server-bitrate-limit", "highest rate of one test, bit/s")
}

// registerLimits registers the flags that are ours.
func (f *iperf3ServerFlags) registerLimits(fs *pflag.FlagSet) {
	f.tests, f.perAddress, f.connections, f.connectionsPerAddress = 100, 10, 4096, 512
	fs.StringSliceVar(&f.listen.at, "listen", nil, "`ADDR`, ADDR:PORT or :PORT to listen on; may be given again (default every address)")
	fs.Var(&f.rate, "max-rate", "the same as --server-bitrate-limit")
	fs.Var(&f.longest, "max-duration", "longest test; 0 no limit")
	fs.Var(&f.tests, "max-tests", "tests at once; 0 no limit")
	fs.Var(&f.perAddress, "max-tests-per-address", "tests at once from one address; 0 no limit")
	fs.Var(&f.connections, "max-connections", "connections at once; 0 no limit")
	fs.Var(&f.connectionsPerAddress, "max-connections-per-address", "connections at once from one address; 0 no limit")
}

// apply sets the fields of s that the flags mean, and says where it listens.
func (f *iperf3ServerFlags) apply(o *output, fs *pflag.FlagSet, s *iperf3.Server) (service, error) {
	for _, name := range []string{"max-tests", "max-tests-per-address", "max-connections", "max-connections-per-address", "time-skew-threshold"} {
		if flag := fs.Lookup(name); flag != nil {
			if n, ok := flag.Value.(*count); ok && *n < 0 {
				return service{}, misuse("", "--%s %d: want 1 or more, or 0", name, *n)
			}
		}
	}
	if s.Interval = time.Duration(f.interval); s.Interval == 0 {
		s.Interval, o.noProgress = time.Hour, true
	} else if err := checkInterval(f.interval); err != nil {
		return service{}, err
	}
	s.Connections, s.ConnectionsPerAddress = orNone(f.connections), orNone(f.connectionsPerAddress)
	s.Skew = time.Duration(f.skew) * time.Second
	if err := f.logins(s); err != nil {
		return service{}, err
	}
	from, err := f.bind.source()
	if err != nil {
		return service{}, err
	}
	_, listen := from.dialer()
	s.ListenPacket = iperf3.ListenPacketFunc(listen)
	run := service{config: net.ListenConfig{Control: from.control}, admit: func(p admit.Policy) { s.Policy = p }}
	run.limits = quota.Server{
		Tests: int(f.tests), TestsPerAddress: int(f.perAddress), Duration: time.Duration(f.longest), Rate: uint64(f.rate.rate),
	}
	if run.listen, err = f.listen.addresses(from.host()); err != nil {
		return service{}, err
	}
	return run, useCPUs(o.logger(), f.affinity)
}

// logins reads the key and the users.
func (f *iperf3ServerFlags) logins(s *iperf3.Server) error {
	switch {
	case f.key == "" && f.users == "":
		return nil
	case f.key == "":
		return misuse("", "%s: without --rsa-private-key-path everybody could test; give both, or neither", flagValue("authorized-users-path", f.users))
	case f.users == "":
		return misuse("", "%s: without --authorized-users-path everybody could test; give both, or neither", flagValue("rsa-private-key-path", f.key))
	}
	key, err := readPrivate("rsa-private-key-path", f.key)
	if err != nil {
		return err
	}
	if s.Key, err = auth.ParsePrivateKey(key); err != nil {
		return misuse("", "%s: %w", flagValue("rsa-private-key-path", f.key), err)
	}
	users, err := os.ReadFile(f.users)
	if err != nil {
		return fileError(flagValue("authorized-users-path", f.users), "a line NAME,HASH for each user", err)
	}
	if s.Users, err = auth.ParseUsers(string(users)); err != nil {
		return misuse("", "%s: %w", flagValue("authorized-users-path", f.users), err)
	}
	return nil
}

// readPrivate reads a file that others must not read.
func readPrivate(flag, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(flagValue(flag, path), "", err)
	}
	defer file.Close()
	if err := checkPrivate(flag, file); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
