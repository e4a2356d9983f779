//go:build !nano

package cli

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/app/tui"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// meshNodeFlags are the flags of sonde mesh node.
type meshNodeFlags struct {
	servers  serversFlag
	name     string
	listen   string
	interval duration
	report   duration
	duration duration
	split    bool
	noRelay  bool
	noSTUN   bool
	noMap    bool
	tui      bool
	title    string // of the screen
	logLines int
	files    meshFilesFlags
}

func meshNodeCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f meshNodeFlags
	cmd := &cobra.Command{
		Use:     "node --server HOST",
		Aliases: []string{"client"},
		Short:   "be a node: ping all others and say how they are reached",
		Long: `Register with servers, ping everybody whom they list, and print how each is
reached, what changes, and from time to time round-trip time, jitter and loss.
Nothing is listened to but what the latest list names.

With several servers all are used at once; when one falls silent the others go
on, and if none is left that is said and the last list stays.

--split has two sockets: that of --listen for peers, which servers list and STUN
asks from, and one on a port of its own for what passes between node and servers.
A network that treats the two differently is then seen as peers see it. Servers of
the original ptptest would list such a node twice; they are left.`,
		Example: `  sonde mesh node --server 192.0.2.1 --name a
  sonde mesh node --server hub1.example --server hub2.example --json-stream
  sonde mesh node --server 192.0.2.1 --split --listen :5060
  sonde mesh node --server 192.0.2.1 --serve /srv/files --accept /var/spool/files`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.tui && o.machine() {
				return misuse("", "--tui and JSON exclude each other; choose one")
			}
			n, err := f.node(o, cmd.Flags())
			if err != nil {
				return err
			}
			if o.wantsScreen(f.tui) {
				return f.onScreen(cmd.Context(), o, n)
			}
			return f.run(cmd.Context(), o, n)
		},
	}
	f.register(cmd.Flags())
	o.register(cmd.Flags())
	return cmd
}

func (f *meshNodeFlags) register(fs *pflag.FlagSet) {
	f.interval, f.report = duration(500*time.Millisecond), tableEvery
	f.servers.register(fs)
	fs.StringVar(&f.name, "name", "", "`NAME` shown to others, at most 63 bytes (default this host's)")
	fs.StringVar(&f.listen, "listen", "", "`ADDR`, ADDR:PORT or :PORT to send from and hear at (default any)")
	fs.VarP(&f.interval, "interval", "i", "time between two pings to each peer, 20ms or more")
	fs.Var(&f.report, "report-interval", "time between two tables; 0 none")
	fs.BoolVar(&f.tui, "tui", false, "a screen instead of lines: who is there, how each is reached, and why")
	fs.VarP(&f.duration, "duration", "d", "stop after this; 0 never")
	fs.BoolVar(&f.split, "split", false, "talk to servers from a socket of its own, beside that for peers")
	fs.BoolVar(&f.noRelay, "no-relay", false, "never let a server relay")
	fs.BoolVar(&f.noMap, "no-portmap", false, "do not have the router map our port (PCP, NAT-PMP, UPnP)")
	fs.BoolVar(&f.noSTUN, "nostun", false, "do not find out how the NAT behaves")
	f.files.register(fs)
}

// meshFilesFlags are the files that a node gives and takes.
type meshFilesFlags struct {
	serve, accept string
	max           size
	rate          rate
	relayed       bool
}

func (f *meshFilesFlags) register(fs *pflag.FlagSet) {
	f.max = 1 << 30
	fs.StringVar(&f.serve, "serve", "", "give peers the files that lie in `DIR` (sonde mesh get); links, hidden ones and folders in it are not given")
	fs.StringVar(&f.accept, "accept", "", "take files that peers send (sonde mesh put) into `DIR`; none is overwritten")
	fs.Var(&f.max, "accept-max", "bytes of the largest file that is taken")
	fs.Var(&f.rate, "files-rate", "bit/s of files at most, each way; 0 no limit but what the paths carry")
	fs.BoolVar(&f.relayed, "files-relayed", false, "files may go by way of the server, at 48 kbit/s")
}

// check looks at the folders.
func (f *meshFilesFlags) check() error {
	for flag, dir := range map[string]string{"serve": f.serve, "accept": f.accept} {
		if dir == "" {
			continue
		}
		if info, err := os.Stat(dir); err != nil {
			return misuse("", "%s: %v; give a folder that is there", flagValue(flag, dir), cause(err))
		} else if !info.IsDir() {
			return misuse("", "%s: not a folder; give one", flagValue(flag, dir))
		}
	}
	if f.max == 0 {
		return misuse("", "--accept-max 0: give a size, or leave out --accept to take nothing")
	}
	return nil
}

// apply tells the node.
func (f *meshFilesFlags) apply(n *mesh.Node) {
	n.Serve, n.Accept, n.AcceptMax, n.BulkRate, n.BulkRelayed = f.serve, f.accept, uint64(f.max), uint64(f.rate), f.relayed
}

// areLocal reports whether all servers are on this host, so that no router is
// needed.
func (f *serversFlag) areLocal() bool {
	for _, s := range f.at {
		host, _, err := net.SplitHostPort(s)
		if err != nil {
			host = s
		}
		if a, err := netip.ParseAddr(host); (err != nil || !a.IsLoopback()) && host != "localhost" {
			return false
		}
	}
	return true
}

// tableEvery is the usual time between two tables.
const tableEvery = duration(10 * time.Second)

// hostName is the first part of this machine's name.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	name, _, _ = strings.Cut(name, ".")
	return name[:min(len(name), wire.MaxName)]
}

// node is the node that the flags ask for.
func (f *meshNodeFlags) node(o *output, fs *pflag.FlagSet) (*mesh.Node, error) {
	if err := cmp.Or(f.servers.check(), checkMeshName(f.name), f.files.check()); err != nil {
		return nil, err
	}
	if !fs.Changed("name") {
		f.name = hostName()
	}
	n := &mesh.Node{Servers: f.servers.at, Name: f.name, Interval: time.Duration(f.interval), Split: f.split, NoRelay: f.noRelay, NoSTUN: f.noSTUN, Log: o.logger()}
	f.files.apply(n)
	f.servers.apply(n)
	n.MapPort = !f.noMap && !f.servers.areLocal()
	if f.interval < duration(mesh.MinInterval) || f.interval > duration(time.Minute) {
		return nil, misuse("", "--interval %v: want %v to 1m", time.Duration(f.interval), mesh.MinInterval)
	}
	if f.listen != "" {
		at, err := listenAddress(f.listen, 0)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(at, ":") {
			at = "[::]" + at
		}
		if n.Listen, err = netip.ParseAddrPort(at); err != nil {
			return nil, misuse("", "%s: not an address to listen on; give ADDR, ADDR:PORT or :PORT", flagValue("listen", f.listen))
		}
	}
	return n, nil
}

// run is a node until ctx ends or the time is over.
func (f *meshNodeFlags) run(ctx context.Context, o *output, n *mesh.Node) error {
	sink, text, err := o.openMesh()
	if err != nil {
		return err
	}
	if f.duration > 0 {
		var stop func()
		ctx, stop = context.WithTimeout(ctx, time.Duration(f.duration))
		defer stop()
	}
	var wg sync.WaitGroup
	tabling, stop := context.WithCancel(ctx)
	if text != nil && f.report > 0 && !o.noProgress {
		wg.Go(func() { tables(tabling, time.Duration(f.report), text, n) })
	}
	heard := false
	err = n.Run(ctx, result.Func(func(e result.Event) {
		if note, ok := e.(result.Note); ok && note.Code == "server_up" {
			heard = true
		}
		if end, ok := e.(result.End); ok && interrupted(ctx) != nil && end.Reason == result.ReasonDone {
			end.Reason, end.Err = result.ReasonInterrupted, interrupted(ctx)
			e = end
		}
		sink.Put(e)
	}))
	stop()
	wg.Wait()
	if err == nil && !heard && interrupted(ctx) == nil {
		err = noServer(f.servers)
	}
	return cmp.Or(err, interrupted(ctx), o.close())
}

// onScreen is a node with a screen until the person leaves, ctx ends or the time
// is over; then a table of what was found stays.
func (f *meshNodeFlags) onScreen(ctx context.Context, o *output, n *mesh.Node) error {
	if f.duration > 0 {
		var stop func()
		ctx, stop = context.WithTimeout(ctx, time.Duration(f.duration))
		defer stop()
	}
	foot := &tui.Log{}
	o.logTo(foot)
	n.Log = o.log
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 1)
	go func() {
		err := n.Run(ctx, meshview.NewText(foot))
		stop(err)
		ended <- err
	}()
	err := o.show(ctx, tui.Mesh{Title: cmp.Or(f.title, "sonde mesh node "+f.name), LogLines: f.logLines, Log: foot, Look: func() tui.MeshScene { return nodeScene(n) }})
	status := n.Status()
	stop(err)
	err = cmp.Or(<-ended, err, interrupted(ctx))
	meshview.Table(o.env.out, status)
	return err
}

// tables prints a table from time to time until ctx ends.
func tables(ctx context.Context, every time.Duration, text *meshview.Text, n *mesh.Node) {
	each := time.NewTicker(every)
	defer each.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-each.C:
			text.Table(now, n.Status())
		}
	}
}

// openMesh makes the sink that the flags ask for; text is not nil if that is
// lines for a person.
func (o *output) openMesh() (sink result.Sink, text *meshview.Text, err error) {
	if o.format == "text" && !o.json && !o.lines {
		o.others = map[string]otherFormat{"text": {make: func(w otherWriter) errSink {
			text = meshview.NewText(w)
			return text
		}}}
		if o.quiet {
			o.others = nil
		}
	}
	sink, err = o.open(true)
	return sink, text, err
}

func noServer(f serversFlag) error {
	return &result.Error{Word: result.CodeUnreachable, Text: "mesh: no answer from " + f.names(), Hint: "is sonde mesh server running there, and is its UDP port open?"}
}
