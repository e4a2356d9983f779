package cli

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// oldBtest is the program btest as its users know it: one command with the
// flags of btest-rs, its lines on standard output, its exit statuses. Where it
// had traps (a user without a password served everybody) it refuses instead.
type oldBtest struct {
	env *env

	server, transmit, receive, udp, nat, srp bool
	client, listen, listen6                  string
	bandwidth                                rate
	port                                     uint16
	duration                                 duration
	login                                    loginFlags
	output                                   output
}

func oldBtestCommand(e *env) *cobra.Command {
	b := &oldBtest{env: e}
	cmd := &cobra.Command{
		Use:   e.program + " {-s | -c HOST} [flags]",
		Short: "MikroTik bandwidth test server and client",
		Example: `  btest -s
  btest -s -a admin -p password
  btest -c 192.168.88.1 -r
  btest -c 192.168.88.1 -t -r -u -b 100M`,
		Args:    b.args,
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context(), cmd.Flags()) },
		Version: versionText(),
	}
	cmd.SetVersionTemplate("{{.Version}}\n")
	b.register(cmd.Flags())
	return cmd
}

// oldBtestServerCommand is the small build that only serves.
func oldBtestServerCommand(e *env) *cobra.Command {
	cmd := oldBtestCommand(e)
	_ = cmd.Flags().Set("server", "true")
	cmd.Use = e.program + " [flags]"
	return cmd
}

func (b *oldBtest) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&b.server, "server", "s", false, "serve")
	fs.StringVarP(&b.client, "client", "c", "", "test against HOST")
	fs.BoolVarP(&b.transmit, "transmit", "t", false, "client sends")
	fs.BoolVarP(&b.receive, "receive", "r", false, "client receives")
	fs.BoolVarP(&b.udp, "udp", "u", false, "UDP data instead of TCP")
	fs.VarP(&b.bandwidth, "bandwidth", "b", "target rate, bit/s, with K, M or G")
	fs.Uint16VarP(&b.port, "port", "P", wire.DefaultPort, "listen or connect port")
	fs.StringVar(&b.listen, "listen", "", "IPv4 listen address, none disables (default every address)")
	fs.StringVar(&b.listen6, "listen6", "", "IPv6 listen address, none disables (default every address)")
	fs.Lookup("listen6").NoOptDefVal = "::"
	b.login = loginFlags{set: fs}
	fs.StringVarP(&b.login.name, "authuser", "a", "", "user name")
	fs.StringVarP(&b.login.password, "authpass", "p", "", "password; other users of this machine may see it, prefer a file")
	fs.StringVar(&b.login.file, "password-file", "", "file whose first line is the password; - for standard input")
	fs.BoolVar(&b.srp, "ecsrp5", false, "server: offer EC-SRP5 instead of MD5")
	fs.BoolVarP(&b.nat, "nat", "n", false, "open the way through a NAT first (always done)")
	fs.VarP(&b.duration, "duration", "d", "seconds to run; 0 until stopped")
	b.output = output{env: b.env, format: "text", color: "never", logFormat: "text"}
	fs.StringVar(&b.output.csv, "csv", "", "append one row for each test to this file")
	fs.BoolVarP(&b.output.quiet, "quiet", "q", false, "no interval lines")
	fs.StringVar(&b.output.syslog.at, "syslog", "", "send events to HOST:PORT by UDP")
	b.output.syslog.format, b.output.syslog.utc, b.output.syslog.tag = "rfc3164", true, "btest-rs"
	fs.CountVarP(&b.output.verbose, "verbose", "v", "say more: -v, -vv, -vvv")
}

// args takes no words, but for the address that may follow --listen6.
func (b *oldBtest) args(_ *cobra.Command, args []string) error {
	if len(args) > 0 && b.listen6 == "::" && (args[0] == "none" || isAddress(args[0])) {
		b.listen6, args = args[0], args[1:]
	}
	if len(args) > 0 {
		return misuse("see "+b.env.program+" --help", "unexpected argument %q", args[0])
	}
	return nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

func (b *oldBtest) run(ctx context.Context, fs *pflag.FlagSet) error {
	switch {
	case b.server && b.client != "":
		return misuse("choose one", "-s and -c %s exclude each other", b.client)
	case b.server:
		return b.serve(ctx)
	case b.client != "":
		return b.test(ctx)
	}
	return misuse("-s serves, -c HOST tests against HOST", "one of -s and -c HOST is needed")
}

// test runs as the client.
func (b *oldBtest) test(ctx context.Context) error {
	if !b.transmit && !b.receive {
		return misuse("-r to receive, -t to transmit, or both", "-c %s: nothing to do without -t or -r", b.client)
	}
	if b.bandwidth > wire.MaxRate {
		return misuse("use 0 for unlimited, or sonde btest client, which holds higher rates on its own side",
			"-b %d: btest carries at most 4.294967295 Gbit/s", uint64(b.bandwidth))
	}
	if b.port == 0 {
		return misuse("the MikroTik bandwidth test listens on 2000", "-P 0: want 1 to 65535")
	}
	c := &btest.Client{Target: b.client, UDP: b.udp, Direction: direction(b.transmit, b.receive), Duration: time.Duration(b.duration)}
	if b.port != wire.DefaultPort || strings.Count(b.client, ":") != 1 {
		c.Target = joinPort(b.client, b.port)
	}
	if b.receive {
		c.DownRate = uint64(b.bandwidth)
	}
	if b.transmit {
		c.UpRate = uint64(b.bandwidth)
	}
	var err error
	if c.Account, c.Password, err = b.login.read(b.env); err != nil {
		return err
	}
	return b.lines().runClient(ctx, c.Validate, func(ctx context.Context, sink result.Sink) error {
		c.Log, c.Trace = b.output.logger(), b.output.btestTrace(result.Client)
		return c.Run(ctx, b.oldSink(sink))
	})
}

// serve runs as the server.
func (b *oldBtest) serve(ctx context.Context) error {
	s := &btest.Server{Policy: &admit.Limits{Tests: 100}}
	accounts, err := b.accounts()
	if err != nil {
		return err
	}
	s.Accounts = accounts
	switch {
	case accounts != nil && b.srp:
		s.Auth = btest.AuthSRP5
	case accounts != nil:
		s.Auth = btest.AuthMD5
	}
	at, err := b.addresses()
	if err != nil {
		return err
	}
	s.Log, s.Trace = b.output.logger(), b.output.btestTrace(result.Server)
	return b.lines().runServer(ctx, s.Validate, at, func(ctx context.Context, l listener, sink result.Sink) error {
		s.Sink = b.oldSink(sink)
		return s.Serve(ctx, l)
	}, func() {
		switch s.Auth {
		case btest.AuthMD5:
			s.Log.Warn("an MD5 login shows a hash that can be guessed at; EC-SRP5 does not: --ecsrp5")
		case "", btest.AuthNone:
			s.Log.Warn("no user: everybody who reaches this server can test, and make it send; see -a")
		}
	})
}

// accounts is the one user, or with a password alone any name.
func (b *oldBtest) accounts() (btest.Accounts, error) {
	name, password, err := b.login.read(b.env)
	given := b.login.passwordGiven(b.env)
	switch {
	case err != nil:
		return nil, err
	case name != "" && !given:
		return nil, misuse("give -p PASSWORD or --password-file", "-a %s: a password is missing, and without one everybody could test", name)
	case b.srp && !given:
		return nil, misuse("give -a NAME and -p PASSWORD", "--ecsrp5: a login needs a user and a password, and without them everybody could test")
	case !given:
		return nil, nil
	case name == "":
		name = btest.AnyName
	}
	return btest.NewList(btest.List{name: {Password: password}}), nil
}

// addresses is where to listen: both families unless one is switched off.
func (b *oldBtest) addresses() ([]string, error) {
	four, six := b.listen, b.listen6
	var at []string
	switch {
	case four == "" && six == "":
		return []string{joinPort("", b.port)}, nil
	case four != "" && four != "none" && !isAddress(four):
		return nil, misuse("give an IPv4 address or none", "--listen %s: not an address", four)
	case six != "" && six != "none" && !isAddress(six):
		return nil, misuse("give an IPv6 address or none", "--listen6 %s: not an address", six)
	}
	if four == "" {
		four = "0.0.0.0"
	}
	if four != "none" {
		at = append(at, joinPort(four, b.port))
	}
	if six != "" && six != "none" {
		at = append(at, joinPort(six, b.port))
	}
	if len(at) == 0 {
		return nil, misuse("leave one of them out", "--listen none --listen6 none: nothing to listen on")
	}
	return at, nil
}

// lines is the output without the text that sonde prints: oldSink's lines
// stand in its place.
func (b *oldBtest) lines() *output {
	b.output.borrowed = true
	return &b.output
}

// oldSink prints the lines of btest-rs; its log goes to standard error.
func (b *oldBtest) oldSink(next result.Sink) result.Sink {
	log := b.output.logger()
	notes := result.Func(func(e result.Event) {
		if n, ok := e.(result.Note); ok && n.Level == result.Warning && n.Login == nil {
			log.Warn(n.Text, hinted(n.Hint)...)
		}
	})
	lines := report.BtestRS(b.env.out, report.BtestRSConfig{Log: b.env.err, Quiet: b.output.quiet || b.output.csv == "-"})
	return result.Tee(lines, next, notes)
}

func hinted(hint string) []any {
	if hint == "" {
		return nil
	}
	return []any{"hint", hint}
}
