//go:build !nano

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// natFlags are the flags of sonde nat.
type natFlags struct {
	server    string
	gateway   string
	noMapping bool
	json      bool
	bind      bindFlag
	family    familyFlags
}

func natCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f natFlags
	cmd := &cobra.Command{
		Use:   "nat",
		Short: "how this host is seen from outside, and what its router lets in",
		Long: `Find out how a NAT or firewall treats this host: how it maps ports and what it
lets in (RFC 5780), whether it keeps the port, hairpin, whether the router maps
ports by PCP, NAT-PMP or UPnP and whether somebody outside reaches us there, the
MTU, and whether UDP passes at all, over IPv4 and IPv6.

That takes a server outside to ask: sonde mesh server is one, and so is any STUN
server, though most have one port only and can tell less. Nothing is left behind
at the router.`,
		Example: `  sonde nat --server 192.0.2.1
  sonde nat --server 192.0.2.1 --json
  sonde nat                                 only what the router says`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			s, err := f.survey(cmd.Context(), o)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), o, s)
		},
	}
	f.register(cmd.Flags())
	o.registerLog(cmd.Flags())
	return cmd
}

func (f *natFlags) register(fs *pflag.FlagSet) {
	fs.StringVarP(&f.server, "server", "s", "", "`HOST` or HOST:PORT to ask how we are seen: sonde mesh server (port 23456), or any STUN server")
	fs.StringVar(&f.gateway, "gateway", "", "`ADDR` of the router to ask for port mappings (default that of the default route)")
	fs.BoolVar(&f.noMapping, "no-portmap", false, "do not ask the router for port mappings")
	fs.BoolVar(&f.json, "json", false, "one JSON document")
	f.bind.register(fs)
	f.family.register(fs)
}

// survey is what the flags ask for; names are looked up.
func (f *natFlags) survey(ctx context.Context, o *output) (*nat.Survey, error) {
	s := &nat.Survey{NoMapping: f.noMapping}
	from, err := f.bind.source()
	if err != nil {
		return nil, err
	}
	network, err := f.family.network(from)
	if err != nil {
		return nil, err
	}
	if f.gateway != "" {
		if s.Router, err = netip.ParseAddr(f.gateway); err != nil || !s.Router.Is4() {
			return nil, misuse("", "--gateway %q: not an IPv4 address", f.gateway)
		}
	}
	if err := from.check(); err != nil {
		return nil, err
	}
	if from.control != nil || from.addr.IsValid() {
		s.Source = from.addr
		s.ListenPacket = (&net.ListenConfig{Control: from.control}).ListenPacket
		s.ListenWhole = (&net.ListenConfig{Control: both(from.control, sock.ForbidFragments)}).ListenPacket
		s.Dial = (&net.Dialer{Control: from.control}).DialContext
	}
	if f.server == "" {
		return s, nil
	}
	if err := checkTarget(f.server); err != nil {
		return nil, err
	}
	s.Servers, err = natServers(ctx, f.server, network, from.addr)
	return s, err
}

// both does what two Controls of a socket do; the first may be nil.
func both(first, second func(string, string, syscall.RawConn) error) func(string, string, syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		if first != nil {
			if err := first(network, address, c); err != nil {
				return err
			}
		}
		return second(network, address, c)
	}
}

// natServers finds the server's addresses, one of each family that is wanted.
func natServers(ctx context.Context, target, network string, source netip.Addr) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(target)
	if err != nil {
		host, service = strings.Trim(target, "[]"), fmt.Sprint(mesh.DefaultPort)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, misuse("", "--server %s: no port %q", target, service)
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &result.Error{Word: result.CodeUnreachable, Text: "find server " + host, Hint: "check the name, or give an address", Err: err}
	}
	var found []netip.AddrPort
	var has [2]bool
	for _, a := range all {
		a = a.Unmap()
		six := 0
		if a.Is6() {
			six = 1
		}
		if has[six] || network == "tcp4" && a.Is6() || network == "tcp6" && a.Is4() || source.IsValid() && source.Is4() != a.Is4() {
			continue
		}
		has[six] = true
		found = append(found, netip.AddrPortFrom(a, uint16(number)))
	}
	if len(found) == 0 {
		return nil, &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("server %s has no address of the family asked for", host), Hint: "leave -4, -6 or --bind out"}
	}
	return found, nil
}

// A natDocument is what sonde nat found, as JSON.
type natDocument struct {
	Schema string    `json:"schema"`
	Time   time.Time `json:"time"`
	Server *string   `json:"server"`
	*nat.Findings
	Meaning []string `json:"meaning"` // what it means, in words
	Advice  []string `json:"advice"`  // what would change it
}

func (f *natFlags) run(ctx context.Context, o *output, s *nat.Survey) error {
	found, err := s.Run(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &result.Error{Word: result.CodeLocal, Text: "nat", Err: err}
	}
	doc := natDocument{Schema: "sonde.nat/1", Time: time.Now().UTC(), Findings: found, Meaning: natMeaning(found), Advice: natAdvice(found)}
	if f.server != "" {
		doc.Server = &f.server
	}
	o.env.told = true
	if f.json {
		enc := json.NewEncoder(o.env.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(doc); err != nil {
			return err
		}
	} else {
		doc.print(o.env.out)
	}
	return doc.outcome(s)
}

// outcome is an error if a server was named and told nothing.
func (d *natDocument) outcome(s *nat.Survey) error {
	if len(s.Servers) == 0 {
		return nil
	}
	for _, v := range []*nat.View{d.IPv4, d.IPv6} {
		if v != nil && v.Reflexive != nil {
			return nil
		}
	}
	why := "nothing comes back over UDP, though the host is there"
	for _, v := range []*nat.View{d.IPv4, d.IPv6} {
		if v != nil && (d.UDPBlocked == nil || !*d.UDPBlocked) {
			why = v.Unknown["reflexive"]
		}
	}
	return &result.Error{Word: result.CodeUnreachable, Text: "nat " + *d.Server + ": " + why, Hint: "check that the server runs there, and that UDP to it is let through"}
}
