//go:build !nano

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/app/tui"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// wantsScreen reports whether there is a terminal for a screen, and says so if
// there is none.
func (o *output) wantsScreen(asked bool) bool {
	if !asked {
		return false
	}
	why := o.env.noScreen()
	if why != "" {
		fmt.Fprintf(o.env.err, "%s: %s for --tui: lines instead\n", o.env.program, why)
	}
	return why == ""
}

// noScreen is why there can be no screen, or empty.
func (e *env) noScreen() string {
	switch {
	case !e.terminal:
		return "no terminal"
	case e.getenv("TERM") == "dumb":
		return "this terminal (TERM=dumb) has no screen"
	}
	return ""
}

// logTo makes the log lines of a screen.
func (o *output) logTo(w io.Writer) {
	level := slog.LevelInfo
	if o.verbose > 0 {
		level = slog.LevelDebug
	}
	o.log = slog.New(&lineHandler{w: w, level: level})
}

// show shows a screen until the person leaves, which is no error, or ctx ends.
func (o *output) show(ctx context.Context, m tui.Mesh) error {
	err := m.Run(ctx, tui.Config{
		In: o.env.in, Out: o.env.out, Color: o.coloured(o.env.terminal), ASCII: tui.IsASCII(o.env.getenv),
	})
	if errors.Is(err, tui.ErrLeft) {
		return &result.Error{Word: result.CodeInterrupted, Text: "interrupted"}
	}
	return err
}

// serverScene is the mesh as a server knows it.
func serverScene(s *mesh.Server) tui.MeshScene {
	st := s.Status()
	scene := tui.MeshScene{View: meshview.OfServer(st)}
	for _, at := range st.Listen {
		scene.Status = append(scene.Status, "Address: "+at.String())
	}
	relay := "off"
	if st.Relays {
		relay = fmt.Sprintf("%d packets, %d refused", st.Relayed.Packets, st.Relayed.Refused)
	}
	scene.Status = append(scene.Status, fmt.Sprintf("Clients: %d", len(st.Clients)), "Relay: "+relay, fmt.Sprintf("Sent: %d packets", st.Packets))
	if st.Full {
		scene.Status = append(scene.Status, "FULL: nobody more is admitted")
	}
	var dropped uint64
	for _, n := range st.Dropped {
		dropped += n
	}
	scene.Status = append(scene.Status, fmt.Sprintf("Dropped: %d packets", dropped))
	return scene
}

// nodeScene is the mesh as a node knows it.
func nodeScene(n *mesh.Node) tui.MeshScene {
	st := n.Status()
	scene := tui.MeshScene{View: meshview.OfNode(st), Homes: meshview.Homes(st)}
	seen, anyUp := "Unknown", false
	for _, h := range st.Servers {
		anyUp = anyUp || h.Up
		if h.Seen.IsValid() && seen == "Unknown" {
			seen = h.Seen.String()
		}
	}
	kind, outside := "Unknown", "Unknown"
	if st.NAT.Known {
		kind = meshview.NAT(st.NAT.Mapping, st.NAT.Filtering)
		if st.NAT.Old != "" {
			kind += " (" + st.NAT.Old + ")"
		}
		if st.NAT.Reflexive.IsValid() {
			outside = st.NAT.Reflexive.String()
		}
	}
	scene.Status = []string{"Address: " + seen, "NAT type: " + kind, "NAT address: " + outside}
	if m := st.NAT.Mapped; m != nil {
		scene.Status = append(scene.Status, fmt.Sprintf("Mapped: %v (%s)", m.External, m.Protocol))
	}
	if !anyUp {
		scene.Status = append(scene.Status, "NO SERVER ANSWERS")
	}
	return scene
}

// A lineHandler writes the log as short lines, for the foot of a screen: time,
// message, and the attributes behind it.
type lineHandler struct {
	w     io.Writer
	level slog.Level
	attrs string
}

// Enabled implements slog.Handler.
func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Time.Format("15:04:05 "))
	if r.Level >= slog.LevelWarn {
		b.WriteString(r.Level.String() + " ")
	}
	b.WriteString(r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(attr(a))
		return true
	})
	_, err := fmt.Fprintln(h.w, plain(b.String()))
	return err
}

func attr(a slog.Attr) string { return fmt.Sprintf(" %s=%v", a.Key, a.Value) }

// WithAttrs implements slog.Handler.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		with.attrs += attr(a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *lineHandler) WithGroup(string) slog.Handler { return h }
