package cli

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
	"github.com/sonde-net/sonde/twamp/wire"
)

func twampServerCommand(e *env) *cobra.Command {
	s := &twamp.Server{}
	o := newOutput(e)
	var f twampServerFlags
	var g guardFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "reflect the packets of TWAMP, TWAMP Light and STAMP senders",
		Long: `Serve TWAMP: answer control connections on TCP port 862 and reflect the packets
of the sessions they ask for. On UDP port 862 packets of TWAMP Light and STAMP
are reflected, too, never with more octets than came, unless their sender is in
--trust; --no-light leaves that out.

Ports below 1024 need a privilege: run it as root or with CAP_NET_BIND_SERVICE,
or choose another port with --listen. Open the ports of --test-ports as well.`,
		Example: `  sonde twamp server
  sonde twamp server --listen 192.0.2.7:8620 --modes encrypted --key-file keys
  sonde twamp server --allow 192.0.2.0/24 --max-sessions 100 --max-pps 1000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run, err := f.service(e, o, s, cmd.Flags())
			if err != nil {
				return err
			}
			return o.runGuarded(cmd.Context(), e, &g, run)
		},
	}
	f.register(cmd.Flags(), s)
	g.register(cmd.Flags())
	o.register(cmd.Flags())
	o.syslog.register(cmd.Flags())
	return cmd
}

// twampServerFlags are the flags of sonde twamp server.
type twampServerFlags struct {
	listen                   listenFlag
	bind                     bindFlag
	keys                     keyFlags
	modes                    string
	rounds                   count
	ports                    testPorts
	open                     reflectorFlags
	noLight                  bool
	controlDSCP              dscp
	limits                   map[string]*count
	setUp, servWait, refWait duration
	mostTimeout, longest     duration
}

// twampNumbers are the limits of a server: the flag, its default, what it limits.
var twampNumbers = []struct {
	flag  string
	usual count
	what  string
}{
	{"max-connections", 4096, "control connections at once; 0 no limit"},
	{"max-connections-per-address", 512, "control connections at once from one address; 0 no limit"},
	{"max-sessions", 16384, "sessions at once; 0 no limit"},
	{"max-sessions-per-connection", 256, "sessions at once of one connection; 0 no limit"},
	{"max-pps", 0, "packets per second of one session; 0 no limit"},
	{"max-logins", 32, "set-ups with a key in progress at once; 0 no limit"},
}

func (f *twampServerFlags) register(fs *pflag.FlagSet, s *twamp.Server) {
	f.listen.port = wire.Port
	f.setUp, f.servWait, f.refWait, f.mostTimeout = duration(10*time.Second), duration(900*time.Second), duration(900*time.Second), duration(time.Minute)
	fs.StringSliceVar(&f.listen.at, "listen", nil, "`ADDR`, ADDR:PORT or :PORT to listen on; may be given again (default every address)")
	fs.VarP(&f.listen.port, "port", "p", "port to listen on, where --listen gives none")
	f.bind.register(fs)
	fs.StringVar(&f.modes, "modes", "", "`MODES` to offer: unauthenticated, authenticated, encrypted, mixed, with commas (default unauthenticated, with keys all); features offered are all, or those named here")
	f.keys.registerFile(fs)
	fs.Var(&f.rounds, "rounds", "rounds of PBKDF2 that a login costs, a power of two from 1024 on; 0 is 2048")
	fs.Var(&f.ports, "test-ports", "UDP ports of sessions, FIRST-LAST, where the one that a client proposes is not free")
	fs.Var(&f.controlDSCP, "control-dscp", "mark control connections with this DSCP, 0 to 63 or a name")
	fs.BoolVar(&s.Duplicates, "reflect-duplicates", false, "reflect packets that come twice in sessions with keys, too; they may be replays")
	fs.BoolVar(&f.noLight, "no-light", false, "reflect nothing but sessions of control connections")
	f.open.register(fs)
	f.limits = map[string]*count{}
	for _, n := range twampNumbers {
		value := n.usual
		f.limits[n.flag] = &value
		fs.Var(&value, n.flag, n.what)
	}
	fs.Var(&f.longest, "max-duration", "longest session; 0 no limit")
	fs.Var(&f.setUp, "setup-timeout", "a client has so long to set the connection up")
	fs.Var(&f.servWait, "servwait", "a connection without commands ends after this (RFC 5357, SERVWAIT)")
	fs.Var(&f.refWait, "refwait", "a session without packets ends after this (RFC 5357, REFWAIT)")
	fs.Var(&f.mostTimeout, "max-timeout", "a client may ask for so much reflecting after its stop")
}

// service is s as the flags mean it.
func (f *twampServerFlags) service(e *env, o *output, s *twamp.Server, fs *pflag.FlagSet) (service, error) {
	run, err := f.apply(e, s, fs)
	s.Log = o.logger()
	run.ready = func() { remarkOpen(s) }
	run.ended = func() {
		if s.Open != nil {
			s.Log.Info("packets without a session", countsOf(s.Open)...)
		}
	}
	return run, err
}

// apply sets the fields of s that the flags mean, and says where it listens.
func (f *twampServerFlags) apply(e *env, s *twamp.Server, fs *pflag.FlagSet) (service, error) {
	if f.noLight {
		for _, name := range []string{"trust", "stateless", "ptp", "stamp-each", "max-pps-per-address", "max-sources"} {
			if fs.Changed(name) {
				return service{}, misuse("", "--%s: with --no-light only sessions are answered, which it does not concern; leave one of them out", name)
			}
		}
	}
	for _, n := range twampNumbers {
		if v := *f.limits[n.flag]; v < 0 {
			return service{}, misuse("", "--%s %d: want 1 or more, or 0 for no limit", n.flag, v)
		}
	}
	if f.setUp == 0 || f.servWait == 0 || f.refWait == 0 || f.mostTimeout == 0 {
		return service{}, misuse("", "--setup-timeout, --servwait, --refwait and --max-timeout: want more than 0")
	}
	if f.rounds < 0 {
		return service{}, misuse("", "--rounds %d: want a power of two from 1024 on, or 0", f.rounds)
	}
	s.Count, s.Ports = uint32(f.rounds), twamp.PortRange(f.ports)
	s.Connections, s.ConnectionsPerAddress = f.limit("max-connections"), f.limit("max-connections-per-address")
	s.Sessions, s.SessionsPerConnection = f.limit("max-sessions"), f.limit("max-sessions-per-connection")
	s.PacketsPerSecond, s.Logins = f.limit("max-pps"), f.limit("max-logins")
	s.SetUpTime, s.ServWait, s.RefWait, s.MaxGrace = time.Duration(f.setUp), time.Duration(f.servWait), time.Duration(f.refWait), time.Duration(f.mostTimeout)
	if err := f.security(e, s); err != nil {
		return service{}, err
	}
	open, err := f.open.reflector()
	if err != nil {
		return service{}, err
	}
	s.Only, s.Correct, s.DSCP = open.Only, open.Correct, uint8(f.controlDSCP)
	if !f.noLight && (s.Modes == 0 || s.Modes.Has(wire.Unauthenticated)) {
		s.Open = open
	}
	from, err := f.bind.source()
	if err != nil {
		return service{}, err
	}
	_, listen := from.dialer()
	s.ListenPacket = twamp.ListenPacketFunc(listen)
	run := service{protocol: twamp.Protocol, config: net.ListenConfig{Control: from.control}, validate: s.Validate,
		limits: quota.Server{Duration: time.Duration(f.longest)}, admit: func(p admit.Policy) { s.Policy = p }}
	run.serve = func(sink result.Sink) serveFunc { s.Sink = sink; return s.Serve }
	run.listen, err = f.listen.addresses(from.host())
	return run, err
}

// security sets the modes and the keys.
func (f *twampServerFlags) security(e *env, s *twamp.Server) error {
	var err error
	if f.modes != "" {
		if s.Modes, err = parseModes("modes", f.modes); err != nil {
			return err
		}
		if s.Modes.Security() == 0 {
			return misuse("", "%s: only features; name one or more of unauthenticated, authenticated, encrypted, mixed, too", flagValue("modes", f.modes))
		}
		if s.Modes.Features() == 0 {
			s.Modes |= wire.AllFeatures
		}
	}
	switch {
	case f.keys.file != "" && s.Modes != 0 && !s.Modes.ControlKeyed() && s.Modes&wire.AnySecurity == wire.Unauthenticated:
		return misuse("", "%s: --modes unauthenticated needs no key; leave one of them out", flagValue("key-file", f.keys.file))
	case f.keys.file == "" && s.Modes.ControlKeyed():
		return misuse("", "%s: it needs keys; give --key-file", flagValue("modes", f.modes))
	case f.keys.file == "":
		return nil
	}
	s.Keys, err = readKeys(f.keys.file, e.getenv)
	return err
}

// limit is a number as package twamp takes it, where 0 is the default.
func (f *twampServerFlags) limit(flag string) int { return orNone(*f.limits[flag]) }

// remarkOpen says who can use the server.
func remarkOpen(s *twamp.Server) {
	if s.Keys.Len() == 0 {
		s.Log.Warn("no keys: everybody who reaches this server can have packets reflected; --key-file, --allow and the limits bound that")
	}
}

// reflectorFlags say whom to answer without a control connection, and how.
type reflectorFlags struct {
	allow, trust   []string
	echo, ptp      bool
	correct, apart bool
	workers        count
	pps, sources   count
}

func (f *reflectorFlags) register(fs *pflag.FlagSet) {
	f.pps, f.sources, f.workers = 20000, 65536, 1
	fs.StringSliceVar(&f.allow, "allow", nil, "answer only these `ADDRESSES`, such as 192.0.2.0/24 (default everybody)")
	fs.StringSliceVar(&f.trust, "trust", nil, "`ADDRESSES` that may get more octets than they sent; others could be forged")
	fs.BoolVar(&f.echo, "stateless", false, "keep no count: replies carry the number of the request, and loss has no direction")
	fs.BoolVar(&f.ptp, "ptp", false, "timestamps in the PTP format")
	fs.BoolVar(&f.correct, "correct-send-time", false, "write into replies when they will leave, as learnt from earlier ones, not when they are written; exact while idle, a guess under load")
	fs.BoolVar(&f.apart, "stamp-each", false, "a receive timestamp of its own for each packet of a train; normally one serves all, which is many times as fast")
	fs.Var(&f.pps, "max-pps-per-address", "packets per second answered to one address without a session; 0 no limit")
	fs.Var(&f.sources, "max-sources", "senders without a session to remember")
}

func (f *reflectorFlags) reflector() (*twamp.Reflector, error) {
	switch {
	case f.pps < 0:
		return nil, misuse("", "--max-pps-per-address %d: want 1 or more, or 0 for no limit", f.pps)
	case f.workers < 1 || f.workers > mostReflectorWorkers:
		return nil, misuse("", "--workers %d: want 1 to %d", f.workers, mostReflectorWorkers)
	case f.sources < 1:
		return nil, misuse("", "--max-sources %d: want 1 or more", f.sources)
	}
	r := &twamp.Reflector{Echo: f.echo, PTP: f.ptp, Correct: f.correct, Apart: f.apart, Workers: int(f.workers), Rate: orNone(f.pps), Sources: int(f.sources)}
	var err error
	if r.Only, err = prefixes("allow", f.allow); err != nil {
		return nil, err
	}
	r.Trusted, err = prefixes("trust", f.trust)
	return r, err
}

// mostReflectorWorkers is more than any machine has CPUs for.
const mostReflectorWorkers = 64

// prefixes reads addresses and networks.
func prefixes(flag string, texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if a, err2 := netip.ParseAddr(text); err2 == nil && a.Zone() == "" {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, misuse("", "%s: not an address or network; give such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", flagValue(flag, text))
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// A testPorts is a flag value: FIRST-LAST, or one port.
type testPorts twamp.PortRange

// String is the range as Set takes it.
func (p *testPorts) String() string {
	if *p == (testPorts{}) {
		return "19000-19999"
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// Type names the kind of value in help texts.
func (p *testPorts) Type() string { return "ports" }

// Set parses text.
func (p *testPorts) Set(text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || b < a {
		return fmt.Errorf("not a range of ports; give FIRST-LAST of 1 to 65535, such as 19000-19999")
	}
	*p = testPorts{First: uint16(a), Last: uint16(b)}
	return nil
}
