//go:build !nano

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/result"
)

// webPart is the HTTP server: a part like those of the protocols, so that a
// reload keeps its door.
func (d *daemon) webPart(l *config.Loaded, parts []part) (part, error) {
	c := l.Web
	box, modules := d.blackbox(l)
	p := part{name: "web", settings: sectionText(l, "web") + modules}
	for _, one := range parts { // the pages say what can be tested against
		p.settings += fmt.Sprintf("%s %v %v %s\n", one.name, one.listen, one.asks, one.udpPorts)
	}
	p.listen = []string{c.Listen}
	p.validate = func() error { return nil }
	p.ready = func() {}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	if c.Metrics {
		mux.Handle("GET /metrics", d.metrics.Handler())
		mux.Handle("GET /probe", patient(box))
	}
	serve, err := d.webServer(l, mux, parts)
	p.serve = func(result.Sink) serveFunc { return serve }
	return p, err
}

// serveHTTP serves until ctx ends; requests have a second to finish.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan struct{})
	off := context.AfterFunc(ctx, func() {
		defer close(done)
		short, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		if s.Shutdown(short) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if !off() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// healthz says that we live.
func (d *daemon) healthz(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") }

// readyz says whether what the configuration has is there.
func (d *daemon) readyz(w http.ResponseWriter, _ *http.Request) {
	if why := d.unready(); why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// unready says what of the configuration is not there; empty if all is.
func (d *daemon) unready() string {
	if d.began.Err() != nil || d.stopping.Load() {
		return "stopping"
	}
	ctx, stop := context.WithTimeout(d.began, readyTime)
	defer stop()
	if err := d.guard.ping(ctx); err != nil {
		return err.Error()
	}
	return ""
}

// readyTime is how long the store is waited for.
const readyTime = 2 * time.Second
