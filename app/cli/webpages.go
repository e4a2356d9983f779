//go:build !nano

package cli

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/directory"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/web"
	"github.com/sonde-net/sonde/result"
)

// pages are what a browser sees of the servers of a process.
type pages struct {
	state *web.State
	at    string // where a server without a configuration has them; empty is nowhere
}

func newPages() pages { return pages{state: web.NewState()} }

// live is what they see of running tests.
func (p pages) live() result.Sink { return p.state.Hub }

// stoppable is next, but what it admits can be stopped from a page.
func (p pages) stoppable(next admit.Policy) admit.Policy { return p.state.Stops.Policy(next) }

// site is what is served of g.
func (g *guard) site(log *slog.Logger, offers []web.Offer) *web.Site {
	s := &web.Site{State: g.state, Store: g.store, Offers: offers, Log: log}
	if g.store != nil {
		s.Quotas = standings{g.policy, g.store}
		if g.directory != nil {
			s.Logins = directory.Logins{Store: g.store, Directory: g.directory}
		}
	}
	return s
}

// standings are the quotas as pages show them.
type standings struct {
	policy *quota.Policy
	store  *store.Store
}

// Quotas implements web.Quotas.
func (s standings) Quotas(ctx context.Context, who account.Subject) ([]web.Quota, error) {
	var all []web.Quota
	found, err := s.policy.Standings(ctx, s.store, who)
	for _, one := range found {
		all = append(all, web.Quota(one))
	}
	return all, err
}

// offerOf is a server as the landing page tells of it.
func offerOf(s service) web.Offer {
	o := web.Offer{Protocol: s.protocol, Login: s.asks, UDPPorts: s.udpPorts}
	if len(s.listen) > 0 {
		if _, port, err := net.SplitHostPort(s.listen[0]); err == nil {
			o.Port, _ = strconv.Atoi(port) // listeners have checked it
		}
	}
	return o
}

// A webFlags is where a server of one protocol has its pages.
type webFlags struct{ at string }

func (f *webFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.at, "web", "", "pages at `ADDR:PORT`, or at that PORT of this host alone; more is in the configuration of sonde serve")
}

func (f *webFlags) validate() error {
	if f.at == "" {
		return nil
	}
	if n, err := strconv.ParseUint(f.at, 10, 16); err == nil {
		f.at = net.JoinHostPort("127.0.0.1", strconv.FormatUint(n, 10))
	}
	host, number, err := net.SplitHostPort(f.at)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		_, err = strconv.ParseUint(number, 10, 16)
	}
	if err != nil {
		return misuse("", "%s: not an address to listen on; give PORT, ADDR:PORT or :PORT, such as 8080 or 192.0.2.1:8080", flagValue("web", f.at))
	}
	return nil
}

// browse serves the pages of one server that has them, until ctx ends or the
// function it returns is called.
func (g *guard) browse(ctx context.Context, log *slog.Logger, s service) (end func(), err error) {
	if g.at == "" {
		return func() {}, nil
	}
	all, err := open(ctx, net.ListenConfig{}, []string{g.at})
	if err != nil {
		return nil, err
	}
	log.Info("pages", "url", "http://"+all[0].Addr().String()+"/")
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := &web.Server{Handler: g.site(log, []web.Offer{offerOf(s)}).Handler(), Log: log}
		if err := server.Serve(ctx, all[0]); err != nil && ctx.Err() == nil {
			log.Error("no pages any more", "err", err)
		}
	}()
	return func() { stop(); <-done }, nil
}

// webServer is how the daemon serves HTTP.
func (d *daemon) webServer(l *config.Loaded, mux *http.ServeMux, parts []part) (func(context.Context, net.Listener) error, error) {
	c := l.Web
	var proxies []netip.Prefix
	for _, text := range c.TrustedProxies {
		p, _ := config.ParseNetwork(text) // was checked
		proxies = append(proxies, p)
	}
	if c.Pages {
		var offers []web.Offer
		for _, p := range parts {
			offers = append(offers, offerOf(p.service))
		}
		site := d.guard.site(d.log, offers)
		site.Name, site.Public, site.Proxies = c.Name, c.PublicDashboard, proxies
		mux.Handle("/", site.Handler())
	}
	certificates, err := webTLS(l)
	if err != nil {
		return nil, err
	}
	if host, _, _ := net.SplitHostPort(c.Listen); certificates == nil && c.Pages && d.guard.store != nil && len(proxies) == 0 && !isLoopback(host) {
		d.log.Warn("web: without TLS nobody can sign in from elsewhere; give web.tls_cert, web.acme_domains or web.trusted_proxies", "listen", c.Listen)
	}
	server := &web.Server{Handler: mux, TLS: certificates, Connections: int(c.MaxConnections), Proxies: proxies, Log: d.log}
	return server.Serve, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// webTLS is how the pages are encrypted; nil if they are not.
func webTLS(l *config.Loaded) (*tls.Config, error) {
	c := l.Web
	switch {
	case c.TLSCert != "":
		t, err := web.FileTLS(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, l.Fault("web.tls_cert", "%v", err)
		}
		return t, nil
	case len(c.ACMEDomains) > 0:
		t, err := web.ACME{Domains: c.ACMEDomains, Folder: c.ACMEFolder, Email: c.ACMEEmail, Directory: c.ACMEDirectory}.TLS()
		if err != nil {
			return nil, l.Fault("web.acme_folder", "%s: %v", c.ACMEFolder, cause(err))
		}
		return t, nil
	}
	return nil, nil
}

// patient lets a request take as long as it does: a probe, for one.
func patient(h http.Handler) http.Handler { return web.Unbounded(h) }

// open has pages where the flags say.
func (p *pages) open(f webFlags) { p.at = f.at }
