package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
	"github.com/sonde-net/sonde/twamp/wire"
)

func twampCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "twamp",
		Short: "delay, loss and order by TWAMP, as sender and reflector",
		Long: `Two-way active measurement (RFC 5357): packets go to a reflector and come back,
and tell the delay of the path, what is lost on which way, and what is late,
reordered or marked anew. Routers of most vendors have a reflector.

TWAMP asks for each session over a control connection, TCP port 862. For
reflectors without one there are sonde twamp ping --light and sonde stamp ping.`,
	}
	cmd.AddCommand(twampPingCommand(e), twampServerCommand(e), twampDoctorCommand(e))
	return cmd
}

func twampPingCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f twampPingFlags
	cmd := &cobra.Command{
		Use:   "ping HOST[:PORT]",
		Short: "measure the path to a TWAMP reflector",
		Long: `Ask a TWAMP server for a session and measure the path to its reflector: loss on
each way, round-trip time, its variation and, where both clocks are known to be
right, the delay of each way.`,
		Example: `  sonde twamp ping 192.0.2.1
  sonde twamp ping 192.0.2.1 --count 1000 --interval 10ms --dscp EF
  sonde twamp ping 192.0.2.1 --mode encrypted --key-id ann --key-file keys
  sonde twamp ping 192.0.2.1 --fail-if 'rtt.p99>30ms,loss>0.1%' --json
  sonde twamp ping 192.0.2.1 --light            without a control connection`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.responderAddr != "" && len(args) == 0 {
				return nil
			}
			return oneArg("HOST")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := f.target(args)
			if err != nil {
				return err
			}
			one, err := f.apply(e, o, cmd.Flags(), target)
			if err != nil {
				return err
			}
			return f.probeFlags.run(cmd.Context(), o, cmd.Flags(), one)
		},
	}
	f.register(cmd.Flags(), o)
	return cmd
}

// twampPingFlags are the flags of sonde twamp ping.
type twampPingFlags struct {
	probeFlags
	keys           keyFlags
	mode           string
	light          bool
	sessions       count
	receiverPort   port
	explicit       bool
	startTime      string
	connect, reply duration
	controlDSCP    dscp

	responderAddr, controllerAddr string
	responderPort                 port
}

func (f *twampPingFlags) register(fs *pflag.FlagSet, o *output) {
	f.sessions, f.connect, f.reply = 1, duration(3*time.Second), duration(10*time.Second)
	fs.StringVar(&f.mode, "mode", "", "`MODE` unauthenticated, authenticated, encrypted or mixed (default the strongest offered that the key allows); with commas also reflect-octets, symmetrical, traffic-class, individual, ptp")
	f.keys.register(fs)
	fs.BoolVar(&f.light, "light", false, "TWAMP Light: no control connection, UDP port 862 unless HOST has one")
	fs.Var(&f.sessions, "sessions", "sessions at once, each from a port of its own")
	fs.Var(&f.receiverPort, "receiver-port", "UDP port to propose to the reflector; further sessions the next ones (default the sender's own)")
	fs.BoolVar(&f.explicit, "explicit-addresses", false, "name both addresses in the request, not zero, for servers that want that")
	fs.StringVar(&f.startTime, "start-time", "", "`TIME` of the first packet, less than 15 minutes ahead, such as 2026-11-20T14:00:00Z (default at once)")
	fs.Var(&f.connect, "connect-timeout", "for the control connection")
	fs.Var(&f.reply, "reply-timeout", "for each answer of the server")
	fs.Var(&f.controlDSCP, "control-dscp", "mark the control connection with this DSCP, 0 to 63 or a name")
	f.probeFlags.register(fs, o)
	fs.Lookup("receiver-port").DefValue = "0"
	// The names of twamp-rs.
	fs.StringVar(&f.responderAddr, "responder-addr", "", "the same as HOST")
	fs.Var(&f.responderPort, "responder-port", "the same as PORT of HOST:PORT")
	fs.StringVar(&f.controllerAddr, "controller-addr", "", "the same as --bind")
	fs.Var(&f.receiverPort, "responder-reflect-port", "the same as --receiver-port")
	fs.Var(&f.count, "number-of-test-packets", "the same as --count")
	for _, old := range []string{"responder-addr", "responder-port", "controller-addr", "responder-reflect-port", "number-of-test-packets"} {
		_ = fs.MarkHidden(old)
	}
}

// target is whom to test: HOST[:PORT], or what the flags of twamp-rs say.
func (f *twampPingFlags) target(args []string) (string, error) {
	target := f.responderAddr
	if len(args) > 0 {
		if target != "" {
			return "", misuse("", "--responder-addr %s: %s is given already; leave one of them out", target, args[0])
		}
		target = args[0]
	}
	if f.controllerAddr != "" && f.controllerAddr != "0.0.0.0" && f.bind.at == "" {
		f.bind.at = f.controllerAddr
	}
	if err := checkTarget(target); err != nil {
		return "", err
	}
	return withPort(target, f.responderPort, f.responderPort != 0)
}

// apply makes the test that the flags mean.
func (f *twampPingFlags) apply(e *env, o *output, fs *pflag.FlagSet, target string) (func(context.Context, result.Sink) error, error) {
	from, err := f.bind.source()
	if err != nil {
		return nil, err
	}
	p, err := f.probe(fs, from)
	if err != nil {
		return nil, err
	}
	network, err := f.family.network(from)
	if err != nil {
		return nil, err
	}
	c, err := f.client(e, fs, p)
	if err != nil {
		return nil, err
	}
	dial, listen := from.dialer()
	c.Addr, c.Network = target, network
	c.Dial, c.ListenPacket = twamp.DialFunc(dial), twamp.ListenPacketFunc(listen)
	if err := from.check(); err != nil {
		return nil, err
	}
	if !f.light {
		return func(ctx context.Context, sink result.Sink) error { c.Log = o.logger(); return c.Run(ctx, sink) }, nil
	}
	g := &twamp.Pinger{Addr: target, Light: true, Probe: p, Network: udpOf(network), ListenPacket: c.ListenPacket}
	return func(ctx context.Context, sink result.Sink) error { g.Log = o.logger(); return g.Run(ctx, sink) }, nil
}

// client is the client that the flags of the control connection mean.
func (f *twampPingFlags) client(e *env, fs *pflag.FlagSet, p twamp.Probe) (*twamp.Client, error) {
	c := &twamp.Client{
		Probe: p, KeyID: f.keys.id, Sessions: int(f.sessions), ReceiverPort: uint16(f.receiverPort), Explicit: f.explicit,
		ConnectTime: time.Duration(f.connect), ReplyTime: time.Duration(f.reply),
		ControlDSCP: uint8(f.controlDSCP),
	}
	if f.light {
		for _, name := range []string{"mode", "key-file", "key-id", "sessions", "receiver-port", "responder-reflect-port", "explicit-addresses", "start-time", "control-dscp", "connect-timeout", "reply-timeout"} {
			if fs.Changed(name) {
				return nil, misuse("", "--%s: TWAMP Light has no control connection that could agree on it; leave it or --light out", name)
			}
		}
		return c, nil
	}
	switch {
	case f.sessions < 1 || f.sessions > mostSessions:
		return nil, misuse("", "--sessions %d: want 1 to %d", f.sessions, mostSessions)
	case f.connect == 0 || f.reply == 0:
		return nil, misuse("", "--connect-timeout and --reply-timeout: want more than 0")
	}
	if f.startTime != "" {
		at, err := time.Parse(time.RFC3339, f.startTime)
		if err != nil {
			return nil, misuse("", "%s: not a time; give one such as 2026-11-20T14:00:00Z", flagValue("start-time", f.startTime))
		}
		c.StartTime = at
	}
	if f.mode != "" {
		mode, err := parseModes("mode", f.mode)
		if err != nil {
			return nil, err
		}
		c.Mode, c.Features = mode.Security(), mode.Features()
		if mode.Security() != 0 && !mode.Chosen(mode) {
			return nil, misuse("", "%s: a session has one of unauthenticated, authenticated, encrypted, mixed; choose one", flagValue("mode", f.mode))
		}
	}
	var err error
	if c.Secret, err = f.keys.secret(e.getenv); err != nil {
		return nil, err
	}
	if c.Mode.ControlKeyed() && c.Secret.IsZero() {
		return nil, misuse("", "%s: it needs a key; give --key-id and --key-file", flagValue("mode", f.mode))
	}
	return c, nil
}

// mostSessions bounds the sessions of one test.
const mostSessions = 1000

// parseModes reads a list of modes and features.
func parseModes(flag, text string) (wire.Mode, error) {
	mode, err := wire.ParseMode(text)
	if err != nil || mode&^(wire.AnySecurity|wire.AllFeatures) != 0 || mode == 0 {
		return 0, misuse("", "%s: no such mode; give unauthenticated, authenticated, encrypted, mixed, and with commas %v", flagValue(flag, text), wire.AllFeatures)
	}
	return mode, nil
}

// udpOf is the network of datagrams for one of connections.
func udpOf(network string) string {
	switch network {
	case "tcp4":
		return "udp4"
	case "tcp6":
		return "udp6"
	}
	return "udp"
}
