package cli

import (
	"context"

	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
	"github.com/sonde-net/sonde/twamp/wire"
)

func stampCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stamp",
		Short: "delay, loss and order by STAMP, as sender and reflector",
		Long: `The simple two-way active measurement protocol (RFC 8762, 8972): as TWAMP, but
without a control connection. Packets go to UDP port 862 of a reflector and come
back.`,
	}
	cmd.AddCommand(stampPingCommand(e), stampReflectCommand(e))
	return cmd
}

func stampPingCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f stampPingFlags
	cmd := &cobra.Command{
		Use:   "ping HOST[:PORT]",
		Short: "measure the path to a STAMP reflector",
		Long: `Measure the path to a STAMP reflector: loss on each way, round-trip time, its
variation and, where both clocks are known to be right, the delay of each way.`,
		Example: `  sonde stamp ping 192.0.2.7
  sonde stamp ping 192.0.2.7 --count 1000 --interval 10ms --dscp EF
  sonde stamp ping 192.0.2.7 --extensions all --json
  sonde stamp ping 192.0.2.7 --every 1m --runs 60 --fail-if 'rtt.p99>30ms' --fail-runs 3/5`,
		Args: oneArg("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := f.apply(e, cmd.Flags(), args[0])
			if err != nil {
				return err
			}
			return f.probeFlags.run(cmd.Context(), o, cmd.Flags(), func(ctx context.Context, sink result.Sink) error {
				g.Log = o.logger()
				return g.Run(ctx, sink)
			})
		},
	}
	f.register(cmd.Flags(), o)
	return cmd
}

// stampPingFlags are the flags of sonde stamp ping.
type stampPingFlags struct {
	probeFlags
	keys       keyFlags
	ssid       count
	extensions string
	access     string
	ptp        bool
}

func (f *stampPingFlags) register(fs *pflag.FlagSet, o *output) {
	fs.Var(&f.ssid, "ssid", "identifier of the session, 1 to 65535; 0 sends none (RFC 8972)")
	fs.StringVar(&f.extensions, "extensions", "none", "`LIST` of what to ask the reflector for: "+strings.Join(extensionNames(), ", ")+", all or none")
	fs.StringVar(&f.access, "access", "", "tell the reflector the `STATE` of an access network of ours (RFC 8972, access report): 3gpp or other, =available or =unavailable, such as 3gpp=unavailable")
	fs.BoolVar(&f.ptp, "ptp", false, "timestamps in the PTP format")
	f.keys.register(fs)
	f.probeFlags.register(fs, o)
}

func (f *stampPingFlags) apply(e *env, fs *pflag.FlagSet, target string) (*twamp.Pinger, error) {
	if err := checkTarget(target); err != nil {
		return nil, err
	}
	from, err := f.bind.source()
	if err != nil {
		return nil, err
	}
	g := &twamp.Pinger{Addr: target, SSID: uint16(f.ssid)}
	if g.Probe, err = f.probe(fs, from); err != nil {
		return nil, err
	}
	if f.ssid < 0 || f.ssid > 0xffff {
		return nil, misuse("", "--ssid %d: want 0 to 65535", f.ssid)
	}
	if g.Extensions, err = parseExtensions(f.extensions); err != nil {
		return nil, err
	}
	if g.Extensions.Access, err = parseAccess(f.access); err != nil {
		return nil, err
	}
	g.PTP = f.ptp
	network, err := f.family.network(from)
	if err != nil {
		return nil, err
	}
	g.Network = udpOf(network)
	_, listen := from.dialer()
	g.ListenPacket = twamp.ListenPacketFunc(listen)
	if g.Key, err = f.keys.secret(e.getenv); err != nil {
		return nil, err
	}
	return g, from.check()
}

// extensionFields are the names of extensions, and what they set.
var extensionFields = []struct {
	name string
	set  func(*twamp.Extensions)
}{
	{"class", func(x *twamp.Extensions) { x.Class = true }},
	{"clock", func(x *twamp.Extensions) { x.Clock = true }},
	{"location", func(x *twamp.Extensions) { x.Location = true }},
	{"follow-up", func(x *twamp.Extensions) { x.FollowUp = true }},
	{"direct", func(x *twamp.Extensions) { x.Direct = true }},
}

func extensionNames() []string {
	var names []string
	for _, one := range extensionFields {
		names = append(names, one.name)
	}
	return names
}

func parseExtensions(text string) (twamp.Extensions, error) {
	var x twamp.Extensions
	wanted := strings.Split(text, ",")
	switch text {
	case "none":
		return x, nil
	case "all":
		wanted = extensionNames()
	}
	for _, name := range wanted {
		n := slices.Index(extensionNames(), strings.TrimSpace(name))
		if n < 0 {
			return x, misuse("", "%s: no such extension; give %s, all or none", flagValue("extensions", text), strings.Join(extensionNames(), ", "))
		}
		extensionFields[n].set(&x)
	}
	return x, nil
}

// parseAccess reads an access report; nil if there is none.
func parseAccess(text string) (*wire.AccessReport, error) {
	if text == "" {
		return nil, nil
	}
	network, state, _ := strings.Cut(text, "=")
	id := slices.Index([]string{"3gpp", "other"}, network)
	code := slices.Index([]string{"available", "unavailable"}, state)
	if id < 0 || code < 0 {
		return nil, misuse("", "%s: no access report; give 3gpp or other, =available or =unavailable, such as 3gpp=unavailable", flagValue("access", text))
	}
	return &wire.AccessReport{ID: uint8(id + 1), Code: uint8(code + 1)}, nil // both count from 1
}

func stampReflectCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var (
		listen listenFlag
		bind   bindFlag
		open   reflectorFlags
		keys   keyFlags
	)
	listen.port = wire.Port
	cmd := &cobra.Command{
		Use:   "reflect",
		Short: "reflect the packets of STAMP and TWAMP Light senders",
		Long: `Reflect packets of STAMP and TWAMP Light senders on UDP port 862, never with more
octets than came, unless their sender is in --trust. With a key only
authenticated STAMP is answered.

Ports below 1024 need a privilege: run it as root or with CAP_NET_BIND_SERVICE,
or choose another port with --listen.`,
		Example: `  sonde stamp reflect
  sonde stamp reflect --listen 192.0.2.7:8620 --allow 192.0.2.0/24`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := open.reflector()
			if err != nil {
				return err
			}
			if r.Key, err = keys.secret(e.getenv); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			from, err := bind.source()
			if err != nil {
				return err
			}
			addresses, err := listen.addresses(from.host())
			if err != nil {
				return err
			}
			return o.runReflector(cmd.Context(), r, net.ListenConfig{Control: from.control}, addresses)
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&listen.at, "listen", nil, "`ADDR`, ADDR:PORT or :PORT to listen on; may be given again (default every address)")
	fs.VarP(&listen.port, "port", "p", "UDP port to listen on, where --listen gives none")
	bind.register(fs)
	open.register(fs)
	fs.Var(&open.workers, "workers", "CPUs that answer, on Linux; each sender, and what limits it, is one worker's")
	keys.register(fs)
	o.registerLog(fs)
	return cmd
}

// runReflector reflects on all addresses until ctx ends, and says what became
// of the packets.
func (o *output) runReflector(ctx context.Context, r *twamp.Reflector, config net.ListenConfig, addresses []string) error {
	var sockets []net.PacketConn
	for _, a := range addresses {
		c, err := config.ListenPacket(ctx, udpOf(network(a)), a)
		if err != nil {
			for _, c := range sockets {
				c.Close()
			}
			return cannotListen(a+" (UDP)", err)
		}
		sockets = append(sockets, c)
	}
	for _, c := range sockets {
		o.logger().Info("listening", "address", c.LocalAddr().String())
	}
	if len(r.Only) == 0 && r.Key.IsZero() {
		o.logger().Warn("no list of senders: everybody who reaches this reflector is answered; --allow bounds that")
	}
	err := reflectAll(ctx, r, sockets)
	o.logger().Info("stopped", countsOf(r)...)
	return err
}

// countsOf are what became of the packets of a reflector, as fields of a log
// line.
func countsOf(r *twamp.Reflector) []any {
	counts := r.Counts()
	var fields []any
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] > 0 {
			fields = append(fields, name, counts[name])
		}
	}
	return fields
}

// reflectAll serves all sockets until ctx ends or one of them fails.
func reflectAll(ctx context.Context, r *twamp.Reflector, sockets []net.PacketConn) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, c := range sockets {
		wg.Go(func() {
			if err := r.Serve(ctx, c); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return stopped(ctx)
}
