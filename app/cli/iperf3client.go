package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

func iperf3ClientCommand(e *env) *cobra.Command {
	c := &iperf3.Client{}
	o := newOutput(e)
	var f iperf3ClientFlags
	var every everyFlags
	var document, noLatency bool
	cmd := &cobra.Command{
		Use:   "client HOST[:PORT]",
		Short: "test against an iperf3 server or another sonde",
		Long: `Test the path to an iperf3 server: how much gets through, what is lost, and what
was the limit. It uploads unless told otherwise, over TCP as fast as it can, over
UDP at 1 Mbit/s. All streams are opened from here, so a NAT is not in the way.`,
		Example: `  sonde iperf3 client 192.0.2.1
  sonde iperf3 client 192.0.2.1 -R -P 4 -t 30
  sonde iperf3 client 192.0.2.1 -u -b 100M --bidir --json`,
		Args: oneArg("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			fs := cmd.Flags()
			c.Target = args[0]
			plan, err := every.plan(fs)
			if err != nil {
				return err
			}
			o.others = iperf3Formats(report.Iperf3Config{Title: c.Title})
			if document {
				o.format = "iperf3"
			}
			if err := f.apply(cmd.Context(), e, o, fs, c); err != nil {
				return err
			}
			return o.runClients(cmd.Context(), plan, fs, c.Validate, func(ctx context.Context, sink result.Sink) error {
				c.Log, c.Budget = o.logger(), e.budget
				c.EachStream = o.screen.shown()
				if s, ok := o.other.(*report.Iperf3Sink); ok {
					c.Report = s.Event
				}
				if noLatency {
					return c.Run(ctx, sink)
				}
				return beside{network: c.Network, from: f.from.addr, log: c.Log}.run(ctx, c.Target, sink, c.Run)
			})
		},
	}
	fs := cmd.Flags()
	f.register(fs, c)
	fs.BoolVarP(&document, "iperf3-json", "J", false, "the same as --format iperf3: iperf3's own document")
	fs.BoolVar(&noLatency, "no-latency", false, "do not probe round trips before and during the test")
	every.register(fs)
	o.register(fs)
	o.screen.register(fs)
	o.syslog.register(fs)
	o.fail.register(fs)
	o.fail.registerRuns(fs)
	fs.Lookup("format").Usage = "results as `KIND` text, json, jsonl, or iperf3's own: iperf3, iperf3-stream, iperf3-text"
	return cmd
}

// iperf3ClientFlags are the flags of a client that iperf3 has, too.
type iperf3ClientFlags struct {
	reverse, both         bool
	rate                  iperf3Rate
	bytes, length, window size
	blocks                size
	streams, mss          count
	tos, dscp             string
	time, omit, interval  duration
	connectTime           count
	port                  port
	affinity              string
	bind                  bindFlag
	family                familyFlags
	login                 iperf3Login
	needless              [4]bool // flags for what always holds
	pacing                string
	from                  source
}

func (f *iperf3ClientFlags) register(fs *pflag.FlagSet, c *iperf3.Client) {
	f.time, f.interval, f.streams, f.port = duration(10*time.Second), duration(time.Second), 1, wire.DefaultPort
	fs.BoolVarP(&c.UDP, "udp", "u", false, "UDP datagrams instead of TCP")
	fs.BoolVarP(&f.reverse, "reverse", "R", false, "download: the server sends")
	fs.BoolVar(&f.both, "bidir", false, "both ways at once")
	fs.VarP(&f.rate, "bitrate", "b", "target rate of each stream, bit/s; 0 no limit (default 1M for UDP, no limit for TCP)")
	fs.Var(&f.rate, "rate", "the same as --bitrate")
	fs.Var(&f.rate, "bandwidth", "the same as --bitrate")
	fs.VarP(&f.time, "time", "t", "time of data, whole seconds")
	fs.Var(&f.time, "duration", "the same as --time")
	fs.VarP(&f.bytes, "bytes", "n", "bytes to move, instead of --time")
	fs.VarP(&f.blocks, "blockcount", "k", "writes or datagrams to move, instead of --time")
	fs.VarP(&f.length, "length", "l", "bytes of a write (TCP, default 128K) or datagram (UDP, default what fits one packet)")
	fs.VarP(&f.streams, "parallel", "P", "streams each way, 1 to 128")
	fs.VarP(&f.omit, "omit", "O", "seconds before --time that do not count")
	fs.VarP(&f.interval, "interval", "i", "time between results; 0 none")
	fs.VarP(&f.window, "window", "w", "bytes of the sockets' buffers; 0 is the system's")
	fs.StringVarP(&c.Congestion, "congestion", "C", "", "congestion control `ALGORITHM`")
	fs.VarP(&f.mss, "set-mss", "M", "TCP's largest segment, bytes")
	fs.BoolVarP(&c.NoDelay, "no-delay", "N", false, "TCP_NODELAY on the streams")
	fs.StringVarP(&f.tos, "tos", "S", "", "`NUMBER` in the TOS or traffic class field, 0 to 255, also 0x34 and 064")
	fs.StringVar(&f.dscp, "dscp", "", "`NUMBER` 0 to 63 or name, such as ef or af41, instead of --tos")
	fs.StringVarP(&c.Title, "title", "T", "", "`TEXT` before every line, and in the document")
	fs.StringVar(&c.ExtraData, "extra-data", "", "`TEXT` in the document")
	fs.BoolVar(&c.ServerOutput, "get-server-output", false, "show what the server printed, in iperf3's own reports")
	fs.BoolVar(&c.Repeating, "repeating-payload", false, "payload of digits instead of random bytes")
	fs.BoolVar(&c.Unbroken, "dont-fragment", false, "never fragment datagrams")
	fs.Var(&f.connectTime, "connect-timeout", "milliseconds for the connection; 0 is 3000")
	fs.VarP(&f.port, "port", "p", "port of the server, TCP and UDP")
	fs.StringVarP(&f.affinity, "affinity", "A", "", "run on these `CPUS` only, such as 0,2")
	f.login.register(fs)
	f.bind.register(fs)
	f.family.register(fs)
	// What iperf3 has to be told, and we do anyway.
	for n, name := range []string{"udp-counters-64bit", "forceflush", "version4", "version6"} {
		fs.BoolVar(&f.needless[n], name, false, "")
	}
	var zerocopy bool
	fs.BoolVarP(&zerocopy, "zerocopy", "Z", false, "")
	fs.StringVar(&f.pacing, "pacing-timer", "", "")
	for _, name := range []string{"rate", "bandwidth", "duration", "udp-counters-64bit", "forceflush", "version4", "version6", "zerocopy", "pacing-timer"} {
		_ = fs.MarkHidden(name)
	}
}

// apply sets the fields of c that the flags mean.
func (f *iperf3ClientFlags) apply(ctx context.Context, e *env, o *output, fs *pflag.FlagSet, c *iperf3.Client) error {
	if err := f.check(fs); err != nil {
		return err
	}
	var err error
	if c.Target, err = withPort(c.Target, f.port, fs.Changed("port")); err != nil {
		return err
	}
	if c.TOS, err = trafficClass(f.tos, f.dscp); err != nil {
		return err
	}
	f.family.four, f.family.six = f.family.four || f.needless[2], f.family.six || f.needless[3]
	from, err := f.bind.source()
	if err != nil {
		return err
	}
	f.from = from
	if c.Network, err = f.family.network(from); err != nil {
		return err
	}
	dial, listen := from.dialer()
	c.Dial, c.ListenPacket = iperf3.DialFunc(dial), iperf3.ListenPacketFunc(listen)
	f.numbers(fs, o, c)
	if err := c.Validate(); err != nil { // before the password is asked for
		return misuse("", "%w", err)
	}
	if err := from.check(); err != nil {
		return err
	}
	if err := useCPUs(o.logger(), f.affinity); err != nil {
		return err
	}
	return f.login.read(ctx, e, func(name, password string, key []byte, p auth.Padding) error {
		public, err := auth.ParsePublicKey(key)
		if err != nil {
			return misuse("", "%s: %w; give the server's public key in PEM", flagValue("rsa-public-key-path", f.login.key), err)
		}
		c.Account, c.Password, c.Key, c.Padding = name, password, public, p
		return nil
	})
}

// numbers sets what the flags say in numbers.
func (f *iperf3ClientFlags) numbers(fs *pflag.FlagSet, o *output, c *iperf3.Client) {
	c.Direction = result.Up
	switch {
	case f.both:
		c.Direction = result.Both
	case f.reverse:
		c.Direction = result.Down
	}
	c.Rate = uint64(f.rate.rate)
	if c.UDP && !fs.Changed("bitrate") && !fs.Changed("rate") && !fs.Changed("bandwidth") {
		c.Rate = wire.DefaultUDPRate
	}
	c.Streams, c.MSS, c.Length, c.Window = int(f.streams), int(f.mss), int(f.length), int(f.window)
	c.Bytes, c.Blocks, c.Omit = uint64(f.bytes), uint64(f.blocks), time.Duration(f.omit)
	if c.Bytes == 0 && c.Blocks == 0 {
		c.Duration = time.Duration(f.time)
	}
	c.ConnectTime = time.Duration(f.connectTime) * time.Millisecond
	if c.Interval = time.Duration(f.interval); c.Interval == 0 {
		c.Interval, o.noProgress = time.Hour, true
	}
}

// check finds flags that exclude each other, and values that iperf3 cannot
// carry.
func (f *iperf3ClientFlags) check(fs *pflag.FlagSet) error {
	timed := fs.Changed("time") || fs.Changed("duration")
	switch {
	case f.reverse && f.both:
		return misuse("", "--reverse and --bidir exclude each other; choose one")
	case f.streams < 1 || f.streams > wire.MaxParallel:
		return misuse("", "--parallel %d: iperf3 carries 1 to %d streams", f.streams, wire.MaxParallel)
	case timed && f.time == 0:
		return misuse("", "--time 0: a test has an end; give whole seconds, or --bytes or --blockcount")
	case (timed || f.blocks > 0) && f.bytes > 0 || timed && f.blocks > 0:
		return misuse("", "--time, --bytes and --blockcount exclude each other; choose what ends the test")
	case time.Duration(f.time)%time.Second != 0 || time.Duration(f.time) > wire.MaxTime*time.Second:
		return misuse("", "--time %v: iperf3 carries whole seconds, up to %d", time.Duration(f.time), wire.MaxTime)
	case time.Duration(f.omit)%time.Second != 0 || time.Duration(f.omit) > wire.MaxOmit*time.Second:
		return misuse("", "--omit %v: iperf3 carries whole seconds, up to %d", time.Duration(f.omit), wire.MaxOmit)
	case f.connectTime < 0:
		return misuse("", "--connect-timeout %d: want 0 or more milliseconds", f.connectTime)
	case f.interval == 0:
		return nil
	}
	for name, n := range map[string]size{"length": f.length, "window": f.window} {
		if n > 1<<31-1 {
			return misuse("", "--%s %d: want at most %d bytes", name, n, 1<<31-1)
		}
	}
	return checkInterval(f.interval)
}
