//go:build !nano

package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"

	"time"

	"github.com/sonde-net/sonde/app/meshbook"
	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/app/meshweb"
	"github.com/sonde-net/sonde/app/web"
	"github.com/sonde-net/sonde/mesh"
)

// A meshWatch looks at a mesh server once a second: keeps what it sees, says what
// changes, and serves the page.
type meshWatch struct {
	server *mesh.Server
	book   *meshbook.Book
	log    *slog.Logger
	lines  io.Writer     // nil: says nothing
	web    net.Listener  // nil: serves no page
	site   *meshweb.Site // that page
}

// watch opens what the flags ask for besides the sockets.
func (f *meshServerFlags) watch(o *output, s *mesh.Server) (*meshWatch, error) {
	book, err := meshbook.Open(f.store)
	if err != nil {
		return nil, err
	}
	w := &meshWatch{server: s, book: book, log: o.logger()}
	if f.web == "" {
		return w, nil
	}
	at, err := webAddress(f.web)
	if err != nil {
		return nil, err
	}
	if w.web, err = net.Listen(network(at), at); err != nil {
		return nil, cannotListen(at, err)
	}
	local := w.web.Addr().(*net.TCPAddr).IP.IsLoopback()
	if !local {
		o.logger().Warn("the web page is open to everybody who reaches this host: it has the names of nodes and how they fare")
	}
	o.logger().Info("web page", "url", "http://"+w.web.Addr().String()+"/")
	w.site = &meshweb.Site{Status: s.Status, Book: book, Addresses: f.showAddresses, Loopback: local}
	return w, nil
}

// webAddress reads where a page is to be: on loopback where no address is given.
func webAddress(text string) (string, error) {
	host, number, err := net.SplitHostPort(text)
	if err == nil && (host == "" || host == "localhost") {
		text = net.JoinHostPort("127.0.0.1", number)
	}
	at, err := listenAddress(text, 8080)
	if err != nil {
		return "", misuse("", "%s: not an address to listen on; give ADDR:PORT or :PORT, such as 127.0.0.1:8080", flagValue("web", text))
	}
	return at, nil
}

// run looks until ctx ends or the page cannot be served.
func (w *meshWatch) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if w.web != nil {
		pages := &web.Server{Handler: w.site.Handler(), Log: w.log}
		go func() { stop(pages.Serve(ctx, w.web)) }()
	}
	var f meshview.Follower
	var told error
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := w.book.Close(time.Now()); err != nil {
				w.log.Error("what was seen could not be written", "err", err)
			}
			return context.Cause(ctx)
		case now := <-each.C:
			st := w.server.Status()
			w.book.Observe(now, st)
			if err := w.book.Err(); err != nil && told == nil {
				w.log.Warn("cannot write what was seen", "err", err)
				told = err
			}
			if w.lines == nil {
				continue
			}
			for _, line := range f.Changes(meshview.OfServer(st)) {
				fmt.Fprintf(w.lines, "%s  %s\n", now.Format(time.TimeOnly), line)
			}
		}
	}
}
