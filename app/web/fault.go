package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sonde-net/sonde/app/secret"
	"github.com/sonde-net/sonde/app/store"
)

// A fault is an answer that is none of what was asked for.
type fault struct {
	status int
	text   string // for whoever asked
	err    error  // for the log; may be nil
}

func (f *fault) Error() string {
	if f.err != nil {
		return f.text + ": " + f.err.Error()
	}
	return f.text
}

func (f *fault) Unwrap() error { return f.err }

var errLogin = &fault{status: http.StatusUnauthorized, text: "that needs a login: without one you see only the tests of your own address"}

func badRequest(text string) error { return &fault{status: http.StatusBadRequest, text: text} }

func notFound(text string) error { return &fault{status: http.StatusNotFound, text: text} }

// faultOf makes a fault of any error. What is wrong inside of the server is for
// its log.
func faultOf(err error) *fault {
	f, ok := errors.AsType[*fault](err)
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case ok:
		return f
	case large:
		return &fault{status: http.StatusRequestEntityTooLarge, text: "the request is too large"}
	case store.IsNotFound(err):
		return &fault{status: http.StatusNotFound, text: "there is no such thing"}
	case errors.Is(err, secret.ErrBusy):
		return &fault{status: http.StatusServiceUnavailable, text: secret.ErrBusy.Error()}
	case errors.Is(err, context.Canceled):
		return &fault{status: http.StatusServiceUnavailable, text: "given up", err: err}
	}
	return &fault{status: http.StatusInternalServerError, text: "the server could not find that out; its log says why", err: err}
}

// fail answers with a fault: as a page, or as RFC 9457 has it for the API.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, v *visitor, err error) {
	f := faultOf(err)
	if f.err != nil && r.Context().Err() == nil {
		s.log().Error("web", "path", r.URL.Path, "err", f.err)
	}
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Del("Content-Disposition")
	if strings.HasPrefix(r.URL.Path, "/api/") {
		if f.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sonde"`)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		writeJSON(w, f.status, problem{Type: "about:blank", Title: http.StatusText(f.status), Status: f.status, Detail: f.text})
		return
	}
	if f.status == http.StatusUnauthorized && r.Method == http.MethodGet && s.Store != nil {
		http.Redirect(w, r, "/login?next="+queryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	if v == nil {
		v = &visitor{}
	}
	s.render(w, f.status, v, "fault.html", faultPage{Title: http.StatusText(f.status), Text: f.text})
}

type faultPage struct{ Title, Text string }
