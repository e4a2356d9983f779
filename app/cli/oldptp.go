//go:build !nano

package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/mesh/wire"
)

// oldPTP are the programs ptpserver and ptpclient of ptptest 0.2 as their users
// know them: their flags, their defaults, their screen. Without a terminal they
// print lines.
type oldPTP struct {
	env      *env
	server   string
	port     port
	noSTUN   bool
	debug    bool
	hexDump  bool
	curses   bool
	logLines count
	output   output
}

func (p *oldPTP) register(fs *pflag.FlagSet, server, what string) {
	p.port, p.logLines = mesh.DefaultPort, 10
	fs.StringVarP(&p.server, "server", "s", server, what)
	fs.VarP(&p.port, "port", "p", "UDP port of the server")
	fs.BoolVar(&p.noSTUN, "nostun", false, "do not find out how the NAT behaves")
	fs.BoolVarP(&p.debug, "debug", "d", false, "packets, decoded, in the log")
	fs.BoolVar(&p.hexDump, "hexdump", false, "with -d: the bytes of each packet sent, too")
	fs.BoolVar(&p.curses, "curses", false, "taken and ignored")
	fs.Var(&p.logLines, "loglines", "height of the log")
	p.output = output{env: p.env, format: "text", color: "auto", logFormat: "text"}
}

func (p *oldPTP) check() error {
	if p.logLines < 1 || p.logLines > 1000 {
		return misuse("", "--loglines %d: want 1 to 1000", p.logLines)
	}
	if p.debug {
		p.output.verbose = 1
	}
	return nil
}

func ptpServerCommand(e *env) *cobra.Command {
	p := &oldPTP{env: e}
	cmd := &cobra.Command{
		Use:     e.program + " [flags]",
		Short:   "introduce ptptest's clients to each other",
		Long:    `The server of ptptest: introduce clients to each other, with its screen.`,
		Example: `  ` + e.program + ` -s 192.0.2.1`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.check(); err != nil {
				return err
			}
			at, err := listenAddress(p.server, p.port)
			if err != nil {
				return misuse("", "%s: not an address of this host; give one, such as 0.0.0.0 or 192.0.2.1", flagValue("server", p.server))
			}
			return p.serve(cmd.Context(), at)
		},
	}
	p.register(cmd.Flags(), "0.0.0.0", "`ADDR` to bind")
	return cmd
}

// serve runs as the server, on the one socket that it had.
func (p *oldPTP) serve(ctx context.Context, at string) error {
	f := meshServerFlags{clients: 4096, clientsASite: 64, tui: p.env.terminal, title: ptpTitle("Server"), logLines: int(p.logLines)}
	f.listen.at = []string{at, at} // no port behind it
	if p.debug {
		f.trace = func(c net.PacketConn) net.PacketConn { return p.traced(c) }
	}
	return f.run(ctx, &p.output, []string{at})
}

func ptpClientCommand(e *env) *cobra.Command {
	p := &oldPTP{env: e}
	cmd := &cobra.Command{
		Use:     e.program + " [flags]",
		Short:   "ping all clients that a server of ptptest lists",
		Long:    `The client of ptptest: ping all clients that the server lists, with its screen.`,
		Example: `  ` + e.program + ` -s 192.0.2.1`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.check(); err != nil {
				return err
			}
			target, err := withPort(p.server, p.port, true)
			if err != nil {
				return err
			}
			if err := checkTarget(target); err != nil {
				return misuse("", "--server %w", err)
			}
			return p.join(cmd.Context(), target)
		},
	}
	p.register(cmd.Flags(), "127.0.0.1", "`HOST` of the server")
	return cmd
}

// join runs as a client.
func (p *oldPTP) join(ctx context.Context, target string) error {
	f := meshNodeFlags{title: ptpTitle("Client"), logLines: int(p.logLines), report: tableEvery}
	f.servers.at = []string{target}
	n := &mesh.Node{Servers: f.servers.at, NoSTUN: p.noSTUN}
	if p.debug {
		n.ListenPacket = func(ctx context.Context, network, address string) (net.PacketConn, error) {
			c, err := (&net.ListenConfig{}).ListenPacket(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return p.traced(c), nil
		}
	}
	if p.env.terminal {
		return f.onScreen(ctx, &p.output, n)
	}
	n.Log = p.output.logger()
	return f.run(ctx, &p.output, n)
}

// ptpTitle is the title of the original's screen.
func ptpTitle(role string) string {
	return "PTP " + role + " version sonde " + readBuild().Version + " (protocol version 2)"
}

// ptptestCommand is sonde mesh by the name of the project that it stands in for.
func ptptestCommand(e *env) *cobra.Command {
	cmd := meshCommand(e)
	cmd.Use = e.program
	wantSubcommands(cmd)
	return cmd
}

// A traced socket writes the packets of the mesh to the log.
type traced struct {
	*net.UDPConn
	log  *slog.Logger
	dump bool // the bytes of what is sent, too
}

// ReadFrom implements net.PacketConn.
func (t *traced) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := t.UDPConn.ReadFrom(b)
	if err == nil {
		t.received(from.String(), b[:n])
	}
	return n, from, err
}

// ReadMsgUDPAddrPort is ReadFrom with control messages.
func (t *traced) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error) {
	n, oobn, flags, from, err = t.UDPConn.ReadMsgUDPAddrPort(b, oob)
	if err == nil {
		t.received(net.UDPAddrFromAddrPort(from).String(), b[:n])
	}
	return n, oobn, flags, from, err
}

// WriteTo implements net.PacketConn.
func (t *traced) WriteTo(b []byte, to net.Addr) (int, error) {
	t.sends(to.String(), b)
	return t.UDPConn.WriteTo(b, to)
}

// WriteMsgUDPAddrPort is WriteTo with control messages.
func (t *traced) WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error) {
	t.sends(to.String(), b)
	return t.UDPConn.WriteMsgUDPAddrPort(b, oob, to)
}

func (t *traced) received(from string, b []byte) {
	t.log.Debug("received", "from", from, "packet", decoded(b))
}

func (t *traced) sends(to string, b []byte) {
	t.log.Debug("sent", "to", to, "packet", decoded(b))
	if t.dump {
		for line := range strings.SplitSeq(strings.TrimSpace(hex.Dump(b)), "\n") {
			t.log.Debug(line)
		}
	}
}

func (p *oldPTP) traced(c net.PacketConn) *traced {
	return &traced{UDPConn: c.(*net.UDPConn), log: p.output.logger(), dump: p.hexDump}
}

// decoded is a datagram's fields in words.
func decoded(datagram []byte) string {
	_, fields, err := wire.Split(datagram)
	if err != nil {
		return fmt.Sprintf("%d bytes, none of the mesh: %v", len(datagram), err)
	}
	var words []string
	for _, f := range fields {
		words = append(words, field(f))
	}
	return fmt.Sprintf("%d bytes: %s", len(datagram), strings.Join(words, " "))
}

func field(f wire.Field) string {
	kind, _ := f.Type.Kind()
	switch kind {
	case wire.KindUint:
		if v, err := wire.ParseUint(f.Value); err == nil {
			return fmt.Sprintf("%v=%d", f.Type, v)
		}
	case wire.KindAddress:
		if a, err := wire.ParseAddress(f.Value); err == nil {
			return fmt.Sprintf("%v=%v", f.Type, a)
		}
	case wire.KindJSON:
		return fmt.Sprintf("%v=%q", f.Type, f.Value)
	}
	return fmt.Sprintf("%v=%x", f.Type, f.Value)
}
