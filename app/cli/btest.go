package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

func btestCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "btest",
		Short: "the MikroTik bandwidth test, as client and server",
	}
	cmd.AddCommand(btestClientCommand(e), btestServerCommand(e), btestDecodeCommand(e))
	return cmd
}

func btestClientCommand(e *env) *cobra.Command {
	c := &btest.Client{}
	o := newOutput(e)
	var f btestClientFlags
	cmd := &cobra.Command{
		Use:   "client HOST[:PORT]",
		Short: "test against RouterOS or another btest server",
		Long: `Test the path to a MikroTik router, or to any other btest server: how much gets
through, each way, what is lost, and what was the limit. It downloads unless
told otherwise. The router needs /tool/bandwidth-server enabled.`,
		Example: `  sonde btest client 192.168.88.1 --user admin --password-file secret
  sonde btest client 192.168.88.1 --udp --transmit --receive --rate 100M
  sonde btest client 192.168.88.1 --connections 20 --duration 30s --json`,
		Args: oneArg("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Target = args[0]
			if err := f.apply(e, cmd.Flags(), c); err != nil {
				return err
			}
			return o.runClient(cmd.Context(), c.Validate, func(ctx context.Context, sink result.Sink) error {
				c.Log, c.Trace = o.logger(), o.btestTrace(result.Client)
				return c.Run(ctx, sink)
			})
		},
	}
	f.register(cmd.Flags(), c)
	o.register(cmd.Flags())
	return cmd
}

// btestClientFlags are the flags of a client that do not map to one field.
type btestClientFlags struct {
	transmit, receive  bool
	rate, up, down     rate
	duration, interval duration
	port               uint16
	nat, noLatency     bool
	login              loginFlags
	bind               bindFlag
	family             familyFlags
}

func (f *btestClientFlags) register(fs *pflag.FlagSet, c *btest.Client) {
	f.duration, f.interval = duration(10*time.Second), duration(time.Second)
	fs.BoolVarP(&f.transmit, "transmit", "t", false, "upload: we send; with --receive both ways at once")
	fs.BoolVarP(&f.receive, "receive", "r", false, "download: the server sends (this is what happens without -t and -r)")
	fs.BoolVarP(&c.UDP, "udp", "u", false, "UDP datagrams instead of TCP")
	fs.VarP(&f.duration, "duration", "d", "time of data; 0 until stopped")
	fs.IntVarP(&c.Connections, "connections", "N", 1, "TCP connections, or UDP client ports, at once (RouterOS's default is 20)")
	fs.VarP(&f.rate, "rate", "b", "target rate each way, bit/s")
	fs.Var(&f.rate, "bandwidth", "the same as --rate")
	fs.Var(&f.up, "local-rate", "target rate of what we send, over --rate")
	fs.Var(&f.down, "remote-rate", "target rate of what the server sends, over --rate")
	fs.IntVar(&c.UpSize, "tx-size", 0, "bytes per packet (UDP, with headers) or write (TCP) of what we send; 0 is 1500 or 32768")
	fs.IntVar(&c.DownSize, "rx-size", 0, "the same of what the server sends")
	fs.BoolVar(&c.Random, "random", false, "random payload instead of zeros, for links that compress")
	fs.Var(&f.interval, "interval", "time between results")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not probe round trips before and during the test")
	fs.Uint16VarP(&f.port, "port", "P", wire.DefaultPort, "TCP port of the server")
	fs.BoolVarP(&f.nat, "nat", "n", false, "open the way through a NAT first (sonde always does)")
	f.login.register(fs)
	f.bind.register(fs)
	f.family.register(fs)
}

// apply sets the fields of c that the flags mean.
func (f *btestClientFlags) apply(e *env, fs *pflag.FlagSet, c *btest.Client) error {
	if fs.Changed("port") {
		if f.port == 0 {
			return misuse("the MikroTik bandwidth test listens on 2000", "--port 0: want 1 to 65535")
		}
		if strings.Contains(strings.TrimPrefix(c.Target, "["), "]:") || strings.Count(c.Target, ":") == 1 {
			return misuse("give one of them", "--port %d: %s has a port already", f.port, c.Target)
		}
		c.Target = joinPort(c.Target, f.port)
	}
	if c.Connections < 1 {
		return misuse(fmt.Sprintf("give 1 to %d", btest.MaxConnections), "--connections %d: not a number of connections", c.Connections)
	}
	c.Direction = direction(f.transmit, f.receive)
	c.Latency = !f.noLatency
	c.Duration, c.Interval = time.Duration(f.duration), time.Duration(f.interval)
	c.UpRate, c.DownRate = uint64(f.rate), uint64(f.rate)
	if fs.Changed("local-rate") {
		c.UpRate = uint64(f.up)
	}
	if fs.Changed("remote-rate") {
		c.DownRate = uint64(f.down)
	}
	if !c.Direction.Has(result.Up) {
		c.UpRate = 0
	}
	if !c.Direction.Has(result.Down) {
		c.DownRate = 0
	}
	var err error
	if c.Account, c.Password, err = f.login.read(e); err != nil {
		return err
	}
	c.Network = f.family.network()
	if c.Dial, c.ListenPacket, err = f.bind.dialer(); err != nil {
		return err
	}
	return nil
}

// direction is what -t and -r ask for; neither means to receive, as RouterOS
// has it.
func direction(transmit, receive bool) result.Direction {
	switch {
	case transmit && receive:
		return result.Both
	case transmit:
		return result.Up
	}
	return result.Down
}

func btestServerCommand(e *env) *cobra.Command {
	s := &btest.Server{}
	o := newOutput(e)
	var f btestServerFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "let RouterOS and other btest clients test against this machine",
		Long: `Serve the MikroTik bandwidth test. On the router:

  /tool/bandwidth-test address=THIS-MACHINE user=NAME password=SECRET

With users every client has to log in: EC-SRP5 (RouterOS 6.43 and later) is
offered first, MD5 to those that do not know it. Open TCP port 2000 and the UDP
ports 2001-2100; a test through a NAT needs nothing else.`,
		Example: `  sonde btest server
  sonde btest server --user test --password-file secret
  sonde btest server --users users.txt --max-duration 5m --max-tests-per-address 2`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.apply(e, cmd.Flags(), s); err != nil {
				return err
			}
			s.Log, s.Trace = o.logger(), o.btestTrace(result.Server)
			return o.runServer(cmd.Context(), s.Validate, f.listen.addresses(), func(ctx context.Context, l listener, sink result.Sink) error {
				s.Sink = sink
				return s.Serve(ctx, l)
			}, func() {
				if s.Accounts == nil {
					s.Log.Warn("no users: everybody who reaches this server can test, and make it send; see --user")
				}
			})
		},
	}
	f.register(cmd.Flags(), s)
	o.register(cmd.Flags())
	return cmd
}

// btestServerFlags are the flags of a server that do not map to one field.
type btestServerFlags struct {
	listen   listenFlag
	login    loginFlags
	users    string
	auth     string
	ports    portRangeFlag
	limits   admit.Limits
	duration duration
	rate     rate
	interval duration
}

func (f *btestServerFlags) register(fs *pflag.FlagSet, s *btest.Server) {
	f.listen.port = wire.DefaultPort
	f.interval = duration(time.Second)
	f.listen.register(fs)
	f.login.register(fs)
	fs.StringVar(&f.users, "users", "", "file of users, a line NAME:PASSWORD each")
	fs.StringVar(&f.auth, "auth", "", "login: none, md5, ecsrp5 or auto (auto with users, none without)")
	fs.Var(&f.ports, "udp-ports", "UDP ports to announce, FIRST-LAST")
	fs.IntVar(&f.limits.Tests, "max-tests", 100, "tests at once; 0 no limit")
	fs.IntVar(&f.limits.TestsPerAddress, "max-tests-per-address", 10, "tests at once from one address; 0 no limit")
	fs.Var(&f.duration, "max-duration", "longest test; 0 no limit")
	fs.Var(&f.rate, "max-rate", "highest rate each way of one test, bit/s")
	fs.IntVar(&s.Connections, "max-connections", 4096, "connections at once; -1 no limit")
	fs.IntVar(&s.ConnectionsPerAddress, "max-connections-per-address", 512, "connections at once from one address; -1 no limit")
	fs.IntVar(&s.Logins, "max-logins", 64, "logins in progress at once; -1 no limit")
	fs.IntVar(&s.LoginsPerAddress, "max-logins-per-address", 8, "logins in progress at once from one address; -1 no limit")
	fs.Var(&f.interval, "interval", "time between results")
}

func (f *btestServerFlags) apply(e *env, fs *pflag.FlagSet, s *btest.Server) error {
	for name, n := range map[string]int{"max-tests": f.limits.Tests, "max-tests-per-address": f.limits.TestsPerAddress} {
		if n < 0 {
			return misuse("give 0 for no limit", "--%s %d: not a number of tests", name, n)
		}
	}
	for name, n := range map[string]int{"max-connections": s.Connections, "max-connections-per-address": s.ConnectionsPerAddress,
		"max-logins": s.Logins, "max-logins-per-address": s.LoginsPerAddress} {
		if n < -1 || n == 0 {
			return misuse("give -1 for no limit", "--%s %d: want 1 or more", name, n)
		}
	}
	f.limits.Duration, f.limits.Rate = time.Duration(f.duration), uint64(f.rate)
	s.Policy = &f.limits
	s.UDPPorts = btest.PortRange(f.ports)
	s.Interval = time.Duration(f.interval)
	s.Auth = btest.Auth(strings.ToLower(f.auth))
	accounts, err := f.accounts(e, fs)
	if err != nil {
		return err
	}
	s.Accounts = accounts
	return nil
}

// accounts are those of the flags and the file, nil when there are none.
func (f *btestServerFlags) accounts(e *env, fs *pflag.FlagSet) (btest.Accounts, error) {
	list := btest.List{}
	if f.users != "" {
		var err error
		if list, err = readUsers(f.users); err != nil {
			return nil, err
		}
	}
	name, password, err := f.login.read(e)
	if err != nil {
		return nil, err
	}
	given := f.login.passwordGiven(e)
	switch {
	case name != "" && !given:
		return nil, misuse("give --password-file, or an empty file for a user without a password", "--user %s: a password is missing, and without one everybody could test", name)
	case given && name == "":
		name = btest.AnyName
	}
	if given {
		list[name] = btest.Secret{Password: password}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return btest.NewList(list), nil
}
