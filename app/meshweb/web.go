// Package meshweb is the web page of a mesh server and the same as JSON: who is
// there, who reaches whom, how and why not, and the history of each pair. It
// changes nothing and needs no script; with one the page is live.
//
// Names come from peers: html/template escapes them, and the policy of the pages
// allows no script but ours.
package meshweb

import (
	"embed"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/meshbook"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/mesh"
)

// A Site serves the page. Status and Book are needed.
type Site struct {
	Status    func() mesh.ServerStatus
	Book      *meshbook.Book
	Addresses bool          // show where clients are
	Every     time.Duration // between two looks; 0 means 2 s
	Loopback  bool          // it listens on loopback: answer to no other name
}

// maxStreams is how many pages are live at once.
const maxStreams = 64

//go:embed assets
var assets embed.FS

// Handler is the site.
func (s *Site) Handler() http.Handler {
	streams := make(chan struct{}, maxStreams)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		select {
		case streams <- struct{}{}:
			defer func() { <-streams }()
			s.live(w, r)
		default:
			http.Error(w, "too many live pages", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /api/mesh.json", s.meshJSON)
	mux.HandleFunc("GET /api/history.json", s.historyJSON)
	mux.HandleFunc("GET /assets/{name}", asset)
	return s.guarded(mux)
}

// policy lets the page load what is ours, and nothing be done with it elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guarded sets the headers that all answers have. On loopback it refuses other
// names: a page elsewhere could have its own name lead here.
func (s *Site) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if s.Loopback && !isLocal(r.Host) {
			http.Error(w, "this page is for this host only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLocal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if name == "plot.css" {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write([]byte(plot.CSS))
		return
	}
	http.ServeFileFS(w, r, assets, "assets/"+name)
}

// status is what the server knows, without addresses unless they are wanted.
func (s *Site) status() mesh.ServerStatus {
	st := s.Status()
	if s.Addresses {
		return st
	}
	for i := range st.Clients {
		st.Clients[i].Addresses, st.Clients[i].Local = []netip.AddrPort{}, netip.AddrPort{}
	}
	return st
}

func (s *Site) meshJSON(w http.ResponseWriter, _ *http.Request) {
	people := s.Book.People()
	if !s.Addresses {
		for i := range people {
			people[i].Address = ""
		}
	}
	writeJSON(w, http.StatusOK, struct {
		Schema string            `json:"schema"`
		Time   time.Time         `json:"time"`
		Server mesh.ServerStatus `json:"server"`
		Seen   []meshbook.Person `json:"seen"`
		Pairs  [][2]string       `json:"pairs_with_history"`
	}{"sonde.mesh/1", time.Now(), s.status(), people, s.Book.Pairs()})
}

func (s *Site) historyJSON(w http.ResponseWriter, r *http.Request) {
	from, to := r.FormValue("from"), r.FormValue("to")
	h := s.Book.History(from, to)
	code := http.StatusOK
	if len(h) == 0 {
		code = http.StatusNotFound
	}
	writeJSON(w, code, struct {
		Schema  string            `json:"schema"`
		From    string            `json:"from"`
		To      string            `json:"to"`
		Minutes []meshbook.Minute `json:"minutes"`
	}{"sonde.mesh-history/1", from, to, append([]meshbook.Minute{}, h...)})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) // who has gone does not miss it
}
