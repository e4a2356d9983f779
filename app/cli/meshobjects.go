//go:build !nano

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// meshMoveFlags are the flags of sonde mesh get and put.
type meshMoveFlags struct {
	servers    serversFlag
	name       string
	rate       rate
	timeout    duration
	relayed    bool
	json       bool
	quiet      bool
	noProgress bool
}

func (f *meshMoveFlags) register(fs *pflag.FlagSet) {
	f.servers.register(fs)
	fs.StringVar(&f.name, "name", "", "`NAME` of this node to others (default this host's)")
	fs.Var(&f.rate, "rate", "bit/s at most; 0 no limit but what the path carries")
	fs.VarP(&f.timeout, "timeout", "t", "give up after this, with the search for the peer; 0 never")
	fs.BoolVar(&f.relayed, "relayed", false, "by way of the server, too, if the other side allows it; 48 kbit/s")
	fs.BoolVar(&f.json, "json", false, "one JSON document, at the end")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "nothing but errors; the exit status speaks")
	fs.BoolVar(&f.noProgress, "no-progress", false, "no line that says how far it is")
}

func (f *meshMoveFlags) check(o *output) error {
	if f.timeout < 0 {
		return misuse("", "--timeout %v: give a time of 0 or more", time.Duration(f.timeout))
	}
	return cmp.Or(f.servers.check(), checkMeshName(f.name), o.validate())
}

func meshGetCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var (
		f    meshMoveFlags
		file string
		also []string
		most size
	)
	cmd := &cobra.Command{
		Use:   "get --server HOST PEER NAME",
		Short: "fetch a file that a node serves",
		Long: `Join, fetch a file that the node PEER, by name or UUID, serves (sonde mesh node
--serve DIR), and leave. With --also several nodes give at once; one may die.

The file appears when its SHA-256 is that of the offer, under its own name in the
present folder, or as --output says. No file is overwritten. What was interrupted is
taken up again by the next get of the same content into the same folder. How fast
the path may be filled is found out by the delay, so that other traffic stays
quick; random loss does not slow it down.

Nothing is encrypted: encrypt first what nobody may read.`,
		Example: `  sonde mesh get --server 192.0.2.1 b image.iso
  sonde mesh get --server 192.0.2.1 b image.iso --also c --output /var/tmp/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return misuse("", "%s: %d arguments; give PEER and NAME", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(o); err != nil {
				return err
			}
			g := mesh.Fetch{Peers: append([]string{args[0]}, also...), Name: args[1], Max: uint64(most)}
			g.Into, g.As = landingPlace(file)
			return f.run(cmd.Context(), o, func(ctx context.Context, n *mesh.Node, told func(mesh.Transfer)) (mesh.Transfer, error) {
				return n.Get(ctx, g, told)
			})
		},
	}
	fs := cmd.Flags()
	f.register(fs)
	fs.StringVarP(&file, "output", "o", "", "`FILE` to write, or a folder (default its own name, here)")
	fs.StringSliceVar(&also, "also", nil, "`PEER` that serves the same file; may be given again, seven at most")
	fs.Var(&most, "max", "bytes of the largest file that is taken; 0 no limit")
	o.registerLog(fs)
	return cmd
}

// landingPlace is the folder, and the name there, that a user means: empty is
// here and its own name.
func landingPlace(file string) (folder, name string) {
	if file == "" {
		return ".", ""
	}
	if info, err := os.Stat(file); strings.HasSuffix(file, string(filepath.Separator)) || err == nil && info.IsDir() {
		return file, ""
	}
	return filepath.Dir(file), filepath.Base(file)
}

func meshPutCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f meshMoveFlags
	cmd := &cobra.Command{
		Use:   "put --server HOST FILE PEER",
		Short: "send a file to a node that takes files",
		Long: `Join, send a file to the node PEER, by name or UUID, that takes files (sonde mesh
node --accept DIR), and leave when it has it, with the same SHA-256. The name of the
file goes with it, not its folder; a file that is there is not overwritten.

Nothing is encrypted: encrypt first what nobody may read.`,
		Example: `  sonde mesh put --server 192.0.2.1 capture.pcap b`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return misuse("", "%s: %d arguments; give FILE and PEER", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(o); err != nil {
				return err
			}
			if _, err := os.Stat(args[0]); err != nil {
				return &result.Error{Word: result.CodeLocal, Text: "mesh: put " + args[0], Hint: "name a regular file that you may read", Err: cause(err)}
			}
			return f.run(cmd.Context(), o, func(ctx context.Context, n *mesh.Node, told func(mesh.Transfer)) (mesh.Transfer, error) {
				return n.Put(ctx, args[0], args[1], told)
			})
		},
	}
	fs := cmd.Flags()
	f.register(fs)
	o.registerLog(fs)
	return cmd
}

// run joins, moves the file and says what became of it.
func (f *meshMoveFlags) run(ctx context.Context, o *output, move func(context.Context, *mesh.Node, func(mesh.Transfer)) (mesh.Transfer, error)) error {
	n := &mesh.Node{Servers: f.servers.at, Name: cmp.Or(f.name, hostName()), BulkRate: uint64(f.rate), BulkRelayed: f.relayed, Log: o.briefLog()}
	limit := time.Duration(f.timeout)
	if limit == 0 {
		limit = 1 << 62 // none
	}
	var t mesh.Transfer
	p := &fileProgress{start: time.Now(), w: o.env.err, line: o.env.errTerminal, off: f.quiet || f.noProgress || f.json && !o.env.errTerminal}
	err := f.servers.join(ctx, n, limit, func(ctx context.Context, n *mesh.Node) (err error) {
		t, err = move(ctx, n, p.tell)
		return err
	})
	p.end()
	if errors.Is(err, context.DeadlineExceeded) {
		err = &result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("mesh: not done in %v", limit), Hint: resumes + "; or give a longer --timeout"}
	}
	if stopped := interrupted(ctx); stopped != nil {
		err = stopped
		if t.Moved > 0 {
			err = &result.Error{Word: result.CodeOf(stopped), Text: stopped.Error(), Hint: resumes}
		}
	}
	if f.json {
		o.env.told = true
		return cmp.Or(f.document(o.env.out, t, err), err)
	}
	if err == nil && !f.quiet {
		o.env.told = true
		_, err = io.WriteString(o.env.out, moved(t))
	}
	return err
}

// resumes holds both ways: what has come of a file is kept at the end where it
// comes.
const resumes = "what has come is kept, the same command goes on from there"

// A moveError is an error in the document of a transfer.
type moveError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	Exit    int    `json:"exit"`
}

// document writes the JSON document of a transfer.
func (f *meshMoveFlags) document(w io.Writer, t mesh.Transfer, failed error) error {
	d := struct {
		Schema string `json:"schema"`
		mesh.Transfer
		Rate  *uint64    `json:"bits_per_second"` // of what was moved; null if nothing was
		OK    bool       `json:"ok"`
		Error *moveError `json:"error"`
	}{Schema: "sonde.mesh-transfer/1", Transfer: t, Rate: moveRate(t), OK: failed == nil}
	if failed != nil {
		d.Error = &moveError{result.CodeOf(failed), failed.Error(), result.HintOf(failed), result.ExitCode(failed)}
	}
	b, err := json.Marshal(d)
	if err == nil {
		_, err = fmt.Fprintf(w, "%s\n", b)
	}
	return err
}

func moveRate(t mesh.Transfer) *uint64 {
	if t.Moved == 0 {
		return nil
	}
	return result.Rate(t.Moved, t.Elapsed)
}

// moved says what became of a file.
func moved(t mesh.Transfer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s in %s", report.Clean(cmp.Or(t.File, t.Name)), report.FormatSize(t.Size), report.FormatElapsed(t.Elapsed))
	if r := moveRate(t); r != nil {
		fmt.Fprintf(&b, ", %s", report.FormatRate(*r))
	}
	if t.Resumed > 0 {
		fmt.Fprintf(&b, "; %s were here", report.FormatSize(t.Resumed))
	}
	fmt.Fprintf(&b, "\n  SHA-256 %s\n", t.Object)
	for _, s := range t.Sources {
		fmt.Fprintf(&b, "  %s: %s%s", report.Clean(s.Peer), report.FormatSize(s.Bytes), byAddress(s.Path))
		if s.Path == mesh.PathRelayed || s.Path == "relay" {
			fmt.Fprint(&b, ", by way of the server")
		}
		if s.RTT != nil && s.Least != nil {
			fmt.Fprintf(&b, ", RTT %s under load, at least %s", report.FormatDelay(*s.RTT), report.FormatDelay(*s.Least))
		}
		if s.Dropped != "" {
			fmt.Fprintf(&b, ": %s", report.Clean(s.Dropped))
		}
		fmt.Fprintln(&b)
	}
	if t.Again > 0 {
		fmt.Fprintf(&b, "  %d of %d blocks were sent again", t.Again, t.Blocks)
		if t.Twice > 0 {
			fmt.Fprintf(&b, ", %d came twice", t.Twice)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// A fileProgress says how far a file is, once that has taken two seconds: on a
// terminal in one line, elsewhere in a line each ten seconds.
type fileProgress struct {
	w     io.Writer
	line  bool // w is a terminal
	off   bool
	shown bool
	start time.Time
	last  time.Time // of the latest line
}

func (p *fileProgress) tell(t mesh.Transfer) {
	now := time.Now()
	if p.off || now.Sub(p.start) < 2*time.Second || !p.line && now.Sub(p.last) < 10*time.Second {
		return
	}
	p.last = now
	text := report.Clean(t.Name) + ": " + howFar(t)
	if p.line {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.shown = true
		return
	}
	fmt.Fprintln(p.w, text)
}

// howFar is how far a transfer is.
func howFar(t mesh.Transfer) string {
	switch t.Stage {
	case mesh.Finding:
		return "waiting for a path to the other side"
	case mesh.Reading:
		return "reading it for its checksum"
	case mesh.Offering:
		return "waiting for the other side"
	case mesh.Checking:
		return "all is here, checking it"
	}
	here := t.Moved + t.Resumed
	text := fmt.Sprintf("%s of %s", report.FormatSize(here), report.FormatSize(t.Size))
	if t.Size > 0 {
		text += fmt.Sprintf(", %d %%", 100*here/t.Size)
	}
	if r := moveRate(t); r != nil && *r > 0 {
		text += ", " + report.FormatRate(*r)
		if t.Size > here {
			left := time.Duration(float64(8*(t.Size-here)) / float64(*r) * float64(time.Second))
			text += fmt.Sprintf(", %s left", report.FormatElapsed(left.Round(time.Second)))
		}
	}
	return text
}

// end clears the line.
func (p *fileProgress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
