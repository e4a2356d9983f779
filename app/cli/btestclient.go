package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

func btestClientCommand(e *env) *cobra.Command {
	c := &btest.Client{}
	o := newOutput(e)
	var f btestClientFlags
	var every everyFlags
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
			plan, err := every.plan(cmd.Flags())
			if err != nil {
				return err
			}
			if err := f.apply(cmd.Context(), e, cmd.Flags(), c); err != nil {
				return err
			}
			return o.runClients(cmd.Context(), plan, cmd.Flags(), c.Validate, func(ctx context.Context, sink result.Sink) error {
				c.Log, c.Trace, c.Budget = o.logger(), o.btestTrace(result.Client), e.budget
				c.EachStream = o.screen.shown()
				return c.Run(ctx, sink)
			})
		},
	}
	f.register(cmd.Flags(), c)
	every.register(cmd.Flags())
	o.register(cmd.Flags())
	o.screen.register(cmd.Flags())
	o.syslog.register(cmd.Flags())
	o.fail.register(cmd.Flags())
	o.fail.registerRuns(cmd.Flags())
	return cmd
}

// btestClientFlags are the flags of a client that do not map to one field.
type btestClientFlags struct {
	transmit, receive  bool
	rate, up, down     rate
	upSize, downSize   size
	connections        count
	duration, interval duration
	port               port
	nat, noLatency     bool
	login              loginFlags
	bind               bindFlag
	family             familyFlags
}

func (f *btestClientFlags) register(fs *pflag.FlagSet, c *btest.Client) {
	f.duration, f.interval = duration(10*time.Second), duration(time.Second)
	f.connections, f.port = 1, wire.DefaultPort
	fs.BoolVarP(&f.transmit, "transmit", "t", false, "upload: we send; with --receive both ways at once")
	fs.BoolVarP(&f.receive, "receive", "r", false, "download: the server sends (this is what happens without -t and -r)")
	fs.BoolVarP(&c.UDP, "udp", "u", false, "UDP datagrams instead of TCP")
	fs.VarP(&f.duration, "duration", "d", "time of data; 0 until stopped")
	fs.Var(&f.connections, "connections", "TCP connections, or UDP client ports, at once, 1 to 255 (RouterOS's default is 20)")
	fs.VarP(&f.rate, "rate", "b", "target rate each way, bit/s")
	fs.Var(&f.rate, "bandwidth", "the same as --rate")
	fs.Var(&f.up, "local-rate", "target rate of what we send, over --rate")
	fs.Var(&f.down, "remote-rate", "target rate of what the server sends, over --rate")
	fs.Var(&f.upSize, "tx-size", "bytes per packet (UDP, with headers) or write (TCP) of what we send; 0 is 1500 or 32768")
	fs.Var(&f.downSize, "rx-size", "the same of what the server sends")
	fs.BoolVar(&c.Random, "random", false, "random payload instead of zeros, for links that compress")
	fs.Var(&f.interval, "interval", "time between results")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not probe round trips before and during the test")
	fs.VarP(&f.port, "port", "P", "TCP port of the server")
	fs.BoolVarP(&f.nat, "nat", "n", false, "open the way through a NAT first (sonde always does)")
	f.login.register(fs)
	f.bind.register(fs)
	f.family.register(fs)
	_ = fs.MarkHidden("bandwidth")
}

// apply sets the fields of c that the flags mean.
func (f *btestClientFlags) apply(ctx context.Context, e *env, fs *pflag.FlagSet, c *btest.Client) error {
	if err := cmp.Or(checkHost("", c.Target), f.check(fs, c.UDP)); err != nil {
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
	if c.Network, err = f.family.network(from); err != nil {
		return err
	}
	c.Dial, c.ListenPacket = from.dialer()
	c.Direction = direction(f.transmit, f.receive)
	c.Connections = int(f.connections)
	c.Latency = !f.noLatency
	c.Duration, c.Interval = time.Duration(f.duration), time.Duration(f.interval)
	c.UpSize, c.DownSize = int(f.upSize), int(f.downSize)
	if c.Direction.Has(result.Up) {
		c.UpRate = either(fs, "local-rate", f.up, f.rate)
	}
	if c.Direction.Has(result.Down) {
		c.DownRate = either(fs, "remote-rate", f.down, f.rate)
	}
	if err := c.Validate(); err != nil { // before the password is asked for
		return misuse("", "%w", err)
	}
	if err := from.check(); err != nil {
		return err
	}
	c.Account, c.Password, err = f.login.read(ctx, e)
	return err
}

// either is the value of the flag, if it was given, else another.
func either(fs *pflag.FlagSet, flag string, value, otherwise rate) uint64 {
	if fs.Changed(flag) {
		return uint64(value)
	}
	return uint64(otherwise)
}

// check finds values that the protocol cannot carry, and flags that would do
// nothing.
func (f *btestClientFlags) check(fs *pflag.FlagSet, udp bool) error {
	if f.connections < 1 || f.connections > btest.MaxConnections {
		return misuse("", "--connections %d: want 1 to %d", f.connections, btest.MaxConnections)
	}
	if err := checkInterval(f.interval); err != nil {
		return err
	}
	least, most, kind := size(wire.MinTCPSize), size(65535), "writes over TCP"
	if udp {
		least, most, kind = wire.MinUDPSize, wire.MaxUDPSize, "packets over UDP"
	}
	for _, s := range []struct {
		flag  string
		value size
	}{{"tx-size", f.upSize}, {"rx-size", f.downSize}} {
		if s.value != 0 && (s.value < least || s.value > most) {
			return misuse("", "--%s %d: btest has %s of %d to %d bytes", s.flag, s.value, kind, least, most)
		}
	}
	d := direction(f.transmit, f.receive)
	for _, one := range []struct {
		flag      string
		direction result.Direction
		add       string
	}{
		{"local-rate", result.Up, "transmit"}, {"tx-size", result.Up, "transmit"},
		{"remote-rate", result.Down, "receive"}, {"rx-size", result.Down, "receive"},
	} {
		if fs.Changed(one.flag) && !d.Has(one.direction) {
			return misuse("", "--%s %v: nothing is sent that way in a test of %v only; add --%s, or leave it out",
				one.flag, fs.Lookup(one.flag).Value, d, one.add)
		}
	}
	return nil
}

// checkInterval bounds the time between results.
func checkInterval(d duration) error {
	if at := time.Duration(d); at < 100*time.Millisecond || at > time.Hour {
		return misuse("", "--interval %v: want 100ms to 1h", at)
	}
	return nil
}
