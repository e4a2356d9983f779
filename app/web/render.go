package web

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/store"
)

//go:embed templates
var templateFiles embed.FS

// A picture is an SVG of package plot, which escapes what is in it.
func picture(svg []byte) template.HTML { return template.HTML(svg) }

var functions = template.FuncMap{
	"asset": assetPath,
	"bytes": func(n *uint64) string { return plot.Bytes.Format(plot.Value(n)) },
	"mbps": func(n *uint64, d *time.Duration) string {
		if d == nil {
			return "-"
		}
		f := mbps(n, *d)
		if f == nil {
			return "-"
		}
		return plot.Rate.Format(*f * 1e6)
	},
	"figure": func(f *float64) string {
		if f == nil {
			return "-"
		}
		return plot.Rate.Format(*f * 1e6)
	},
	"duration": func(d *time.Duration) string {
		if d == nil {
			return "-"
		}
		return (*d).Round(100 * time.Millisecond).String()
	},
	"when": func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format("2006-01-02 15:04:05")
	},
	"stamp": stamp,
	"ptr":   func(n uint64) *uint64 { return &n },
	"rate": func(n *uint64) string {
		if n == nil {
			return "-"
		}
		if *n == 0 {
			return "no limit"
		}
		return plot.Rate.Format(float64(*n))
	},
	"speed": func(n *uint64) string { return plot.Rate.Format(plot.Value(n)) },
	"median": func(s *store.Spread) string {
		if s == nil {
			return "-"
		}
		return plot.Nanos.Format(float64(s.P50))
	},
	"share": func(n, of *uint64) string {
		if n == nil || of == nil || *of == 0 {
			return "-"
		}
		return plot.Ratio.Format(float64(*n) / float64(*of))
	},
	"periods": func(all ...period) []period { return all },
	"live":    func(address, csrf string) liveBox { return liveBox{address, csrf} },
	// query is for what filterQuery made, which is escaped.
	"query": func(s string) template.URL { return template.URL(s) },
	"or0":   func(s, otherwise string) string { return cmp.Or(s, otherwise) },
	"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
}

// A liveBox is the place of a live view in a page.
type liveBox struct{ Address, CSRF string }

// templates by the name of their page, each with the frame around it.
var templates = loadTemplates()

func loadTemplates() map[string]*template.Template {
	all := map[string]*template.Template{}
	frame := template.Must(template.New("frame.html").Funcs(functions).ParseFS(templateFiles, "templates/frame.html", "templates/parts.html"))
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, f := range files {
		if f.Name() != "frame.html" && f.Name() != "parts.html" {
			all[f.Name()] = template.Must(template.Must(frame.Clone()).ParseFS(templateFiles, "templates/"+f.Name()))
		}
	}
	return all
}

// A frame is what is around each page.
type frame struct {
	User   string // who has signed in; empty for nobody
	Role   string
	CSRF   string // what forms carry
	Own    string // the visitor's address; empty if it is not known
	Store  bool   // there is one
	Probes bool   // they may be seen
	Page   any
}

// Admin reports whether forms that change something are shown.
func (f frame) Admin() bool { return f.Role == "admin" }

// render answers with a page.
func (s *Site) render(w http.ResponseWriter, status int, v *visitor, name string, page any) {
	f := frame{Store: s.Store != nil, Probes: s.Store != nil && v.probes, Page: page}
	if v.login != nil {
		f.User, f.Role = v.login.Name, string(v.login.Role)
	}
	if v.session != nil {
		f.CSRF = v.session.csrf
	}
	if v.addr.IsValid() {
		f.Own = v.addr.String()
	}
	var b bytes.Buffer
	if err := templates[name].ExecuteTemplate(&b, "frame.html", f); err != nil {
		s.log().Error("web", "page", name, "err", err)
		http.Error(w, "the page could not be made; the server's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a reader that has gone
}
