package meshweb

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/meshbook"
	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/mesh"
)

var templates = template.Must(template.ParseFS(assets, "assets/*.html"))

// A scene is what the page shows at a moment.
type scene struct {
	Name, Time, Live string
	Status           []string
	Nodes            []row
	Heads            []string
	Matrix           []cells
	Chosen           *chosen
	Gone             []gone
	LeftOut          int // nodes that the matrix has no place for
}

type row struct {
	Label, Kind, NAT, Address, RTT, Lost, Sent, Came, Heard string
}

type cells struct {
	Label string
	Cells []cell
}

type cell struct {
	Word, Class, Figures, Link, Title string
	Here                              bool
}

// A chosen pair is shown with its history.
type chosen struct {
	A, B      string
	Ways      []way
	Why, Hint string
}

type way struct {
	Title, Word, Class, Figures string
	Charts                      []template.HTML // made by package plot, which escapes
}

type gone struct{ Name, Last string }

// maxMatrix is how many nodes the matrix of the page has.
const maxMatrix = 64

func (s *Site) scene(r *http.Request) scene {
	st := s.status()
	v := meshview.OfServer(st)
	now := time.Now()
	c := scene{Name: report.Clean(cmp.Or(st.Name, "mesh")), Time: now.UTC().Format("2006-01-02 15:04:05 UTC"), Status: statusLines(st)}
	here := map[string]bool{}
	for _, n := range v.Nodes {
		here[s.Book.Name(st, n.ID)] = true
		one := row{Label: n.Label, Kind: n.Kind, NAT: cmp.Or(n.NAT, "-"), Address: cmp.Or(n.Address, "not shown"), RTT: meshview.Delay(n.RTT),
			Lost: "-", Sent: fmt.Sprint(n.Sent), Came: fmt.Sprint(n.Came), Heard: ago(now, n.Heard)}
		if n.Lost != nil {
			one.Lost = fmt.Sprint(*n.Lost)
		}
		c.Nodes = append(c.Nodes, one)
	}
	from, to := r.FormValue("from"), r.FormValue("to")
	c.matrix(s.Book, st, v, from, to)
	if from != "" && to != "" {
		c.Chosen = s.choose(st, v, from, to)
		c.Live = "?" + url.Values{"from": {from}, "to": {to}}.Encode()
	}
	for _, p := range s.Book.People() {
		if !here[p.Name] && len(c.Gone) < 50 {
			c.Gone = append(c.Gone, gone{report.Clean(p.Name), ago(now, p.Last)})
		}
	}
	return c
}

func statusLines(st mesh.ServerStatus) []string {
	var dropped uint64
	for _, n := range st.Dropped {
		dropped += n
	}
	lines := []string{fmt.Sprintf("%d clients", len(st.Clients)), fmt.Sprintf("%d packets sent", st.Packets), fmt.Sprintf("%d dropped", dropped)}
	if st.Relays {
		lines = append(lines, fmt.Sprintf("%d packets relayed, %d refused", st.Relayed.Packets, st.Relayed.Refused))
	}
	if st.Full {
		lines = append(lines, "full: nobody more is admitted")
	}
	return lines
}

// matrix is who reaches whom. A cell leads to the history of its pair.
func (c *scene) matrix(book *meshbook.Book, st mesh.ServerStatus, v meshview.View, from, to string) {
	nodes := v.Nodes
	if len(nodes) > maxMatrix {
		nodes, c.LeftOut = nodes[:maxMatrix], len(nodes)-maxMatrix
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = book.Name(st, n.ID)
		c.Heads = append(c.Heads, n.Label)
	}
	for i, a := range nodes {
		line := cells{Label: a.Label}
		for j, b := range nodes {
			one := cell{Word: "?", Class: "unknown", Here: names[i] == from && names[j] == to}
			p, ok := v.Pair(a, b)
			switch {
			case i == j:
				one = cell{Word: "·", Class: "self"}
			case ok:
				one.Word, one.Figures = meshview.Word(p), short(p)
				one.Class, one.Title = one.Word, a.Label+" to "+b.Label+": "+meshview.Figures(p)
				one.Link = "?" + url.Values{"from": {names[i]}, "to": {names[j]}}.Encode() + "#pair"
			}
			line.Cells = append(line.Cells, one)
		}
		c.Matrix = append(c.Matrix, line)
	}
}

// short is what has room in a cell.
func short(p mesh.PairStatus) string {
	if p.RTT == nil {
		return ""
	}
	text := meshview.Delay(p.RTT)
	if p.Ratio != nil && *p.Ratio > 0 {
		text += ", " + report.FormatPercent(*p.Ratio) + " lost"
	}
	return text
}

// choose is a pair with its history both ways.
func (s *Site) choose(st mesh.ServerStatus, v meshview.View, from, to string) *chosen {
	c := &chosen{A: report.Clean(from), B: report.Clean(to)}
	for _, pair := range [][2]string{{from, to}, {to, from}} {
		w := way{Title: report.Clean(pair[0]) + " to " + report.Clean(pair[1]), Word: "unknown", Class: "unknown", Figures: "nothing reported now"}
		if p, ok := now(s.Book, st, v, pair); ok {
			w.Word, w.Figures = meshview.Word(p), meshview.Figures(p)
			w.Class = w.Word
			if c.Why == "" {
				c.Why, c.Hint = p.Reason, p.Hint
			}
		}
		w.Charts = charts(w.Title, s.Book.History(pair[0], pair[1]))
		c.Ways = append(c.Ways, w)
	}
	return c
}

// now is what the pair of names reports at present.
func now(book *meshbook.Book, st mesh.ServerStatus, v meshview.View, pair [2]string) (mesh.PairStatus, bool) {
	var a, b *meshview.Node
	for i := range v.Nodes {
		switch book.Name(st, v.Nodes[i].ID) {
		case pair[0]:
			a = &v.Nodes[i]
		case pair[1]:
			b = &v.Nodes[i]
		}
	}
	if a == nil || b == nil {
		return mesh.PairStatus{}, false
	}
	return v.Pair(*a, *b)
}

// charts are the history of one way: round-trip time and loss.
func charts(title string, minutes []meshbook.Minute) []template.HTML {
	var rtt, loss []plot.Point
	var before time.Time
	for _, m := range minutes {
		x := plot.At(m.Time)
		if !before.IsZero() && m.Time.Sub(before) > time.Minute { // nobody reported
			gap := plot.Point{X: plot.At(before.Add(time.Minute)), Y: plot.Gap}
			rtt, loss = append(rtt, gap), append(loss, gap)
		}
		before = m.Time
		rtt = append(rtt, plot.Point{X: x, Y: plot.Value(m.RTT)})
		lost := plot.Gap
		if m.Sent > 0 {
			lost = float64(m.Lost) / float64(m.Sent)
		}
		loss = append(loss, plot.Point{X: x, Y: min(lost, 1)})
	}
	var all []template.HTML
	for _, c := range []plot.Chart{
		{Title: title + ": round-trip time", Y: plot.Axis{Name: "RTT", Unit: plot.Nanos}, Lines: []plot.Line{{Name: "RTT", Points: rtt}}},
		{Title: title + ": loss", Y: plot.Axis{Name: "loss", Unit: plot.Ratio}, Lines: []plot.Line{{Name: "loss", Points: loss}}},
	} {
		c.X, c.Width, c.Height = plot.Axis{Unit: plot.Clock}, 560, 180
		all = append(all, template.HTML(c.SVG()))
	}
	return all
}

func ago(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return report.FormatElapsed(max(0, now.Sub(at).Truncate(time.Second))) + " ago"
}

func (s *Site) page(w http.ResponseWriter, r *http.Request) { s.render(w, "page.html", s.scene(r)) }

func (s *Site) render(w http.ResponseWriter, name string, c scene) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, c); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	b.WriteTo(w)
}

// live sends the part of the page that changes, now and whenever it has changed.
func (s *Site) live(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // it is open for as long as somebody reads
	each := time.NewTicker(cmp.Or(s.Every, 2*time.Second))
	defer each.Stop()
	for {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, "scene.html", s.scene(r)); err != nil {
			return
		}
		event := "event: scene\n"
		for line := range strings.SplitSeq(strings.TrimSpace(b.String()), "\n") {
			event += "data: " + strings.TrimRight(line, "\r") + "\n"
		}
		out.SetWriteDeadline(time.Now().Add(10 * time.Second)) // who does not read is let go
		if _, err := w.Write([]byte(event + "\n")); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-each.C:
		case <-r.Context().Done():
			return
		}
	}
}
