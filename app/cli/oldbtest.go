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
	port                                     port
	duration                                 duration
	login                                    loginFlags
	output                                   output
}

func oldBtestCommand(e *env) *cobra.Command { cmd, _ := oldBtestProgram(e); return cmd }

func oldBtestProgram(e *env) (*cobra.Command, *oldBtest) {
	b := &oldBtest{env: e}
	cmd := &cobra.Command{
		Use:   e.program + " {-s | -c HOST} [flags]",
		Short: "MikroTik bandwidth test server and client",
		Example: `  btest -s
  btest -s -a admin -p password
  btest -c 192.168.88.1 -r
  btest -c 192.168.88.1 -t -r -u -b 100M`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context(), cmd.Flags()) },
	}
	b.register(cmd.Flags())
	return cmd, b
}

// oldBtestServerCommand is the small build that only serves.
func oldBtestServerCommand(e *env) *cobra.Command {
	cmd, b := oldBtestProgram(e)
	cmd.Use, cmd.Example, b.server = e.program+" [flags]", "  btest-server -a admin -p password", true
	for _, name := range []string{"server", "client", "transmit", "receive", "udp", "bandwidth", "nat", "duration"} {
		_ = cmd.Flags().MarkHidden(name)
	}
	return cmd
}

// oldBtestClientCommand is the small build that only tests.
func oldBtestClientCommand(e *env) *cobra.Command {
	cmd := oldBtestCommand(e)
	cmd.Use, cmd.Example = e.program+" -c HOST [flags]", "  btest-client -c 192.168.88.1 -r"
	for _, name := range []string{"server", "listen", "listen6", "ecsrp5"} {
		_ = cmd.Flags().MarkHidden(name)
	}
	return cmd
}

func (b *oldBtest) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&b.server, "server", "s", false, "serve")
	fs.StringVarP(&b.client, "client", "c", "", "test against `HOST`")
	fs.BoolVarP(&b.transmit, "transmit", "t", false, "client sends")
	fs.BoolVarP(&b.receive, "receive", "r", false, "client receives")
	fs.BoolVarP(&b.udp, "udp", "u", false, "UDP data instead of TCP")
	fs.VarP(&b.bandwidth, "bandwidth", "b", "target rate, bit/s, with K, M or G")
	b.port = wire.DefaultPort
	fs.VarP(&b.port, "port", "P", "TCP port to listen on or connect to")
	fs.StringVar(&b.listen, "listen", "", "IPv4 `ADDR` to listen on; none: no IPv4 (default every address)")
	fs.StringVar(&b.listen6, "listen6", "", "IPv6 `ADDR` to listen on, :: if none is given; none: no IPv6 (default every address)")
	fs.Lookup("listen6").NoOptDefVal = "::"
	b.login.registerOld(fs)
	fs.BoolVar(&b.srp, "ecsrp5", false, "server: offer EC-SRP5 instead of MD5")
	fs.BoolVarP(&b.nat, "nat", "n", false, "open the way through a NAT first (always done)")
	fs.VarP(&b.duration, "duration", "d", "seconds to run; 0 until stopped")
	b.registerOutput(fs)
}

// registerOutput registers where results go, as all programs of the family have it.
func (b *oldBtest) registerOutput(fs *pflag.FlagSet) {
	b.output = output{env: b.env, format: "text", color: "never", logFormat: "text"}
	fs.StringVar(&b.output.csv, "csv", "", "append one row for each test to this `FILE`")
	fs.BoolVarP(&b.output.quiet, "quiet", "q", false, "no interval lines")
	fs.StringVar(&b.output.syslog.at, "syslog", "", "send events to `HOST:PORT` by UDP")
	b.output.syslog.format, b.output.syslog.utc, b.output.syslog.tag = string(report.RFC3164), true, "btest-rs"
	fs.CountVarP(&b.output.verbose, "verbose", "v", "say more: -v, -vv, -vvv")
}

func (b *oldBtest) run(ctx context.Context, fs *pflag.FlagSet) error {
	at, err := b.addresses() // a client has no use for them, but they are to be right
	switch {
	case err != nil:
		return err
	case b.server && b.client != "":
		return misuse("", "-s and -c %s exclude each other; choose one", b.client)
	case b.server:
		return b.serve(ctx, at)
	case b.client != "":
		return b.test(ctx, fs.Changed("port"))
	}
	return misuse("", "one of -s and -c HOST is needed; -s serves, -c HOST tests against HOST")
}

// test runs as the client.
func (b *oldBtest) test(ctx context.Context, portGiven bool) error {
	if !b.transmit && !b.receive {
		return misuse("", "-c %s: nothing to do without -t or -r; give -r to receive, -t to transmit, or both", b.client)
	}
	if b.bandwidth > wire.MaxRate {
		return misuse("use 0 for unlimited, or sonde btest client, which holds higher rates on its own side",
			"--bandwidth %d: btest carries at most 4.294967295 Gbit/s", uint64(b.bandwidth))
	}
	if err := checkHost("client", b.client); err != nil {
		return err
	}
	target, err := withPort(b.client, b.port, portGiven)
	if err != nil {
		return err
	}
	c := &btest.Client{Target: target, UDP: b.udp, Direction: direction(b.transmit, b.receive), Duration: time.Duration(b.duration)}
	if b.receive {
		c.DownRate = uint64(b.bandwidth)
	}
	if b.transmit {
		c.UpRate = uint64(b.bandwidth)
	}
	if c.Account, c.Password, err = b.login.read(ctx, b.env); err != nil {
		return err
	}
	return b.lines().runClient(ctx, c.Validate, func(ctx context.Context, sink result.Sink) error {
		c.Log, c.Trace = b.output.logger(), b.output.btestTrace(result.Client)
		return c.Run(ctx, b.oldSink(sink))
	})
}

// serve runs as the server, on these addresses.
func (b *oldBtest) serve(ctx context.Context, at []string) error {
	s := &btest.Server{Policy: &admit.Limits{Tests: 100}}
	accounts, err := b.accounts(ctx)
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
	s.Log, s.Trace = b.output.logger(), b.output.btestTrace(result.Server)
	return b.lines().runServer(ctx, service{
		protocol: btest.Protocol, validate: s.Validate, listen: at, ready: func() { remarkAuth(s) },
		serve: func(sink result.Sink) serveFunc { s.Sink = b.oldSink(sink); return s.Serve },
	})
}

// accounts is the one user, or with a password alone any name.
func (b *oldBtest) accounts(ctx context.Context) (btest.Accounts, error) {
	given := b.login.passwordGiven(b.env)
	switch name := b.login.name; {
	case name != "" && !given:
		return nil, misuse("", "-a %s: a password is missing, and without one everybody could test; give -p PASSWORD or --password-file FILE", name)
	case b.srp && !given:
		return nil, misuse("", "--ecsrp5: a login needs a user and a password, and without them everybody could test; give -a NAME and -p PASSWORD")
	case !given:
		return nil, nil
	}
	name, password, err := b.login.read(ctx, b.env)
	switch {
	case err != nil:
		return nil, err
	case password == "":
		return nil, misuse("", "-a %s: the password is empty, so everybody could test; give one, or leave -a and -p out to let everybody in", name)
	case name == "":
		name = btest.AnyName
	}
	return btest.NewList(btest.List{name: {Password: password}}), nil
}

// addresses is where to listen: both families unless one is switched off, or
// only one is given.
func (b *oldBtest) addresses() ([]string, error) {
	four, six := b.listen, b.listen6
	switch {
	case four == "" && six == "":
		return []string{joinPort("", b.port)}, nil
	case four != "" && four != "none" && !isAddress(four, netip.Addr.Is4):
		return nil, misuse("", "%s: not an IPv4 address; give one, such as 0.0.0.0, or none", flagValue("listen", four))
	case six != "" && six != "none" && !isAddress(six, netip.Addr.Is6):
		return nil, misuse("", "%s: not an IPv6 address; give one, such as ::, or none", flagValue("listen6", six))
	}
	var at []string
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
		return nil, misuse("", "--listen none: nothing to listen on without --listen6; leave one of them out")
	}
	return at, nil
}

func isAddress(s string, of func(netip.Addr) bool) bool {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil && of(a)
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
	b.output.flushes = append(b.output.flushes, lines.Err)
	return result.Tee(lines, next, notes)
}

func hinted(hint string) []any {
	if hint == "" {
		return nil
	}
	return []any{"hint", hint}
}
