// Package web is a server as a browser and a program see it: pages and a JSON
// API of what was tested, what is left of quotas and what runs just now, and
// pages to administer it.
//
// A visitor without a login sees what was tested from their own address and
// nothing else. All that a page needs comes from the same origin, and a strict
// content security policy says so; names and texts from outside are escaped
// wherever they go. docs/web.md is for users, openapi.json for programs.
//
// It reads from a store, shows what a Hub (a result.Sink) sees, and ends tests
// through Stops (an admit.Policy). Protocols are not in it.
package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

// A Site is what is served. Only State is needed.
type Site struct {
	State  *State
	Store  *store.Store // nil: nothing is kept, and there are no logins
	Logins Logins       // nil: those of Store
	Quotas Quotas       // nil: no quota is shown
	Name   string       // of the host as clients reach it; empty is the one that the browser asked for
	Offers []Offer      // what can be tested against
	Public bool         // whoever comes sees every address, but no user names
	// Proxies are the reverse proxies in front: what they say of who asks holds.
	// What anybody else says does not.
	Proxies []netip.Prefix
	Log     *slog.Logger // nil discards
	Now     func() time.Time
}

// Logins are those of the dashboard.
type Logins interface {
	// CheckLogin returns the login of name if that is its password. It costs the
	// same whatever is wrong.
	CheckLogin(ctx context.Context, name, password string) (store.Login, error)
	// Login returns what is kept of somebody who has signed in before.
	Login(ctx context.Context, name string) (store.Login, error)
}

// Quotas tells what is used of what is allowed.
type Quotas interface {
	Quotas(ctx context.Context, s account.Subject) ([]Quota, error)
}

// A Quota is the state of one limit.
type Quota struct {
	account.Window
	Used  uint64
	Limit uint64    // 0 is no limit
	Until time.Time // of one that is used up: when it may work again; zero when not known
}

// An Offer is a server that runs.
type Offer struct {
	Protocol string // such as "btest"
	Port     int
	UDPPorts string // that it answers on besides, such as "2001-2100"; may be empty
	Login    bool   // it wants one
	Limits   string // for a person; may be empty
}

// State is what outlives a reload of the configuration: who is signed in, whose
// logins fail, what runs.
type State struct {
	Hub   *Hub
	Stops *Stops

	sessions sessions
	backoff  backoff
	views    admit.Gate // live views of one address
}

// NewState makes a State.
func NewState() *State {
	return &State{Hub: NewHub(), Stops: &Stops{}, views: admit.Gate{PerAddress: watchersPerAddress}}
}

func (s *Site) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Site) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Site) logins() Logins {
	if s.Logins == nil && s.Store != nil {
		return s.Store
	}
	return s.Logins
}

// needs is who may ask for something.
type needs uint8

const (
	anyone needs = iota
	prober       // who may see probes
	viewer       // who has signed in
	admin
)

// A route is one thing that can be asked for.
type route struct {
	pattern string
	needs   needs
	store   bool // it is not there without a store
	serve   func(*Site, http.ResponseWriter, *http.Request, *visitor) error
}

var routes = []route{
	{"GET /{$}", anyone, false, (*Site).landing},
	{"GET /dashboard", anyone, false, (*Site).search},
	{"GET /dashboard/{ip}", anyone, true, (*Site).dashboard},
	{"GET /live", anyone, false, (*Site).live},
	{"GET /login", anyone, true, (*Site).loginForm},
	{"POST /login", anyone, true, (*Site).signIn},
	{"POST /logout", anyone, true, (*Site).signOut},

	{"GET /api/ip/{ip}/sessions", anyone, true, (*Site).apiSessions},
	{"GET /api/ip/{ip}/stats", anyone, true, (*Site).apiStats},
	{"GET /api/ip/{ip}/quota", anyone, true, (*Site).apiQuota},
	{"GET /api/ip/{ip}/export", anyone, true, (*Site).apiExport},
	{"GET /api/session/{id}/intervals", anyone, true, (*Site).apiIntervals},
	{"GET /api/tests", anyone, false, (*Site).apiTests},
	{"GET /api/tests/events", anyone, false, (*Site).apiEvents},
	{"POST /api/tests/{id}/stop", admin, false, (*Site).apiStop},
	{"GET /api/users", viewer, true, (*Site).apiUsers},
	{"GET /api/refusals", viewer, true, (*Site).apiRefusals},
	{"GET /api/openapi.json", anyone, false, (*Site).apiDocument},

	{"GET /probes", prober, true, (*Site).probes},
	{"GET /probes/{name}", prober, true, (*Site).probe},
	{"GET /probes/{name}/runs/{num}", prober, true, (*Site).probeRun},
	{"GET /tests", viewer, true, (*Site).tests},
	{"GET /tests.csv", viewer, true, (*Site).testsCSV},
	{"GET /admin/users", viewer, true, (*Site).users},
	{"GET /admin/user", viewer, true, (*Site).user},
	{"POST /admin/users", admin, true, (*Site).createUser},
	{"POST /admin/user/limits", admin, true, (*Site).setUser},
	{"POST /admin/user/password", admin, true, (*Site).setPassword},
	{"POST /admin/user/delete", admin, true, (*Site).deleteUser},
	{"GET /admin/quotas", viewer, true, (*Site).quotas},
	{"GET /admin/refusals", viewer, true, (*Site).refusals},
	{"GET /admin/refusals.csv", viewer, true, (*Site).refusalsCSV},
}

// Handler serves the site.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", serveAsset)
	mux.HandleFunc("GET /favicon.ico", serveIcon)
	for _, one := range routes {
		mux.Handle(one.pattern, s.route(one))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, nil, &fault{status: http.StatusNotFound, text: "there is no such page"})
	})
	// A browser says where a request comes from; one from another origin changes
	// nothing here, whatever cookies it brings.
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, nil, &fault{status: http.StatusForbidden, text: "the request comes from another site"})
	}))
	return s.guard(cross.Handler(mux))
}

// longestBody bounds what is read of a request.
const longestBody = 64 << 10

// guard bounds every request and says what a browser may do with the answer.
func (s *Site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, longestBody)
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Site) route(one route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := s.visitor(r)
		if err == nil {
			err = s.allowed(one, v)
		}
		if err == nil && r.Method == http.MethodPost {
			err = v.meant(r)
		}
		if err == nil {
			err = one.serve(s, w, r, v)
		}
		if err != nil {
			s.fail(w, r, v, err)
		}
	})
}

// allowed says why v may not ask for a route.
func (s *Site) allowed(one route, v *visitor) error {
	switch {
	case one.store && s.Store == nil:
		return &fault{status: http.StatusNotFound, text: "this server has no store: it keeps no results and no users"}
	case one.needs == prober && !v.probes, one.needs > prober && v.login == nil:
		return errLogin
	case one.needs == admin && v.login.Role != account.Admin:
		return &fault{status: http.StatusForbidden, text: "that needs the role admin"}
	}
	return nil
}
