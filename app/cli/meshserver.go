//go:build !nano

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/tui"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// meshServerFlags are the flags of sonde mesh server.
type meshServerFlags struct {
	listen                listenFlag
	name                  string
	relay                 bool
	relayRate             rate
	relayBytes            size
	clients, clientsASite count
	join                  string
	key                   meshKeyFlag
	signFile              string
	sign                  *mesh.SigningKey
	tui                   bool
	web, store            string
	showAddresses         bool
	title                 string // of the screen
	logLines              int
	trace                 func(net.PacketConn) net.PacketConn // nil: packets are not told
}

func meshServerCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f meshServerFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "introduce nodes to each other and say how they reach each other",
		Long: `Introduce nodes and ptptest's clients to each other on UDP port 23456, and print a
line whenever the way between two of them changes. The port behind it is used as
well, where it is free, so that nodes can tell how their router maps ports.

An address is listed, and sent more than it sent, only after its owner has proven
to hear there.`,
		Example: `  sonde mesh server
  sonde mesh server --listen 192.0.2.1:23456 --relay`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return err
			}
			addresses, err := f.listen.addresses("")
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), o, addresses)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no line for what changes")
	o.registerLog(cmd.Flags())
	return cmd
}

func (f *meshServerFlags) register(fs *pflag.FlagSet) {
	f.listen.port, f.relayRate, f.clients, f.clientsASite = mesh.DefaultPort, 10_000_000, 4096, 64
	fs.StringSliceVar(&f.listen.at, "listen", nil, "`ADDR`, ADDR:PORT or :PORT to listen on; may be given again, and then no other port is used (default every address)")
	fs.VarP(&f.listen.port, "port", "p", "UDP port to listen on, where --listen gives none")
	fs.StringVar(&f.name, "name", "", "`NAME` shown to nodes, at most 63 bytes")
	fs.BoolVar(&f.relay, "relay", false, "carry small packets between nodes that cannot reach each other")
	fs.Var(&f.relayRate, "relay-rate", "bit/s that are relayed in all")
	fs.Var(&f.relayBytes, "relay-bytes", "bytes that are relayed in all until the server stops; 0 no limit")
	fs.Var(&f.clients, "max-clients", "clients at once")
	fs.Var(&f.clientsASite, "max-clients-per-address", "clients at once from one address")
	fs.StringVar(&f.web, "web", "", "serve the web page and JSON at this `ADDR`, such as 127.0.0.1:8080 or :8080, which is loopback, too")
	fs.StringVar(&f.store, "store", "", "`FILE` for what was seen: history of pairs, and who was there; lines of JSON, of a day")
	fs.BoolVar(&f.showAddresses, "show-addresses", false, "show on the web page from where clients come")
	fs.BoolVar(&f.tui, "tui", false, "a screen of who is there and who reaches whom, instead of lines")
	f.key.register(fs)
	fs.StringVar(&f.signFile, "signing-key-file", "", "`FILE` with the key that signs what nodes are told of each other, as sonde mesh key --signing makes it")
	fs.StringVar(&f.join, "join", "", "be a node, too, of this `NAME`, so that others see how they reach this host")
}

func (f *meshServerFlags) check() error {
	for _, name := range []string{f.name, f.join} {
		if err := checkMeshName(name); err != nil {
			return err
		}
	}
	if f.clients < 1 || f.clientsASite < 1 {
		return misuse("", "--max-clients %d, --max-clients-per-address %d: want 1 or more", f.clients, f.clientsASite)
	}
	text, err := readMeshSecret("signing-key-file", f.signFile)
	if err != nil {
		return err
	}
	if text != "" {
		if f.sign, err = mesh.ParseSigningKey(text); err != nil {
			return misuse("", "%s: %v; make one with sonde mesh key --signing", f.signFile, err)
		}
	}
	return f.key.read()
}

func (f *meshServerFlags) server(o *output) *mesh.Server {
	s := &mesh.Server{Name: f.name, Key: f.key.key, Sign: f.sign, Log: o.logger(), Limits: mesh.Limits{Clients: int(f.clients), PerSite: int(f.clientsASite)}}
	if f.relay {
		s.Relay = &mesh.Relaying{Rate: uint64(f.relayRate), Bytes: uint64(f.relayBytes)}
	}
	return s
}

// run serves until ctx ends.
func (f *meshServerFlags) run(ctx context.Context, o *output, addresses []string) error {
	screen := o.wantsScreen(f.tui)
	foot := &tui.Log{}
	if screen {
		o.logTo(foot)
	}
	conns, err := openMesh(ctx, addresses, len(f.listen.at) < 2)
	if err != nil {
		return err
	}
	for i, c := range conns {
		o.logger().Info("listening", "address", c.LocalAddr().String())
		if f.trace != nil {
			conns[i] = f.trace(c)
		}
	}
	s := f.server(o)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch, err := f.watch(o, s)
	if err != nil {
		closeConns(conns)
		return err
	}
	if !screen && !o.quiet {
		watch.lines = o.env.out
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { stop(watch.run(ctx)) })
	if f.join != "" {
		node := &mesh.Node{Servers: []string{loopback(conns[0])}, Name: f.join, Key: f.key.key, Log: o.logger()}
		wg.Go(func() {
			if err := node.Run(ctx, result.Discard); err != nil {
				stop(err)
			}
		})
	}
	if screen {
		wg.Go(func() {
			stop(o.show(ctx, tui.Mesh{Title: cmp.Or(f.title, "sonde mesh server"), LogLines: f.logLines, Log: foot, Look: func() tui.MeshScene { return serverScene(s) }}))
		})
	}
	err = s.Serve(ctx, conns...)
	stop(err)
	if err != nil {
		return err
	}
	return stopped(ctx)
}

// openMesh opens the sockets of a server: with second, the port behind a given
// one as well, where it is free.
func openMesh(ctx context.Context, addresses []string, second bool) ([]net.PacketConn, error) {
	var conns []net.PacketConn
	for _, a := range addresses {
		c, err := (&net.ListenConfig{}).ListenPacket(ctx, udpOf(network(a)), a)
		if err != nil {
			closeConns(conns)
			return nil, cannotListen(a+" (UDP)", err)
		}
		conns = append(conns, c)
	}
	if at, ok := conns[0].LocalAddr().(*net.UDPAddr); ok && second && at.Port < 0xffff {
		host, _, err := net.SplitHostPort(addresses[0])
		if err != nil {
			return conns, nil
		}
		behind := joinPort(host, port(at.Port+1))
		if c, err := (&net.ListenConfig{}).ListenPacket(ctx, udpOf(network(behind)), behind); err == nil {
			conns = append(conns, c)
		}
	}
	return conns, nil
}

func closeConns(conns []net.PacketConn) {
	for _, c := range conns {
		c.Close()
	}
}

// loopback is where a node on this host reaches the server of the socket.
func loopback(c net.PacketConn) string {
	at := c.LocalAddr().(*net.UDPAddr).AddrPort()
	if a := at.Addr().Unmap(); !a.IsUnspecified() {
		return netip.AddrPortFrom(a, at.Port()).String()
	}
	return fmt.Sprintf("127.0.0.1:%d", at.Port())
}

// interrupted is how a client ends that runs until it is stopped: by a signal it
// is the signal's error, else none.
func interrupted(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}
