package web

import (
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

// A visitor is who asks.
type visitor struct {
	addr    netip.Addr // invalid when a proxy did not tell
	probes  bool       // they may see what probes found
	private bool       // nobody on the way can read along: TLS, or this very host
	secure  bool       // the browser speaks TLS
	login   *store.Login
	session *session // nil for nobody, and for a token
}

// Is an administrator; for templates.
func (v *visitor) admin() bool { return v.login != nil && v.login.Role == account.Admin }

// visitor finds out who asks.
func (s *Site) visitor(r *http.Request) (*visitor, error) {
	v := &visitor{}
	v.addr, v.secure = s.origin(r)
	v.private = v.secure || v.addr.IsLoopback()
	err := error(nil)
	if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		err = s.token(r, v, text)
	} else {
		err = s.resume(r, v)
	}
	// Who sits at this host sees what it measures. A request through a proxy that we
	// do not know is from there as well, but says so.
	here := v.addr.IsLoopback() && namesUs(r.Host) && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
	v.probes = v.login != nil || s.Public || here
	return v, err
}

// namesUs reports whether a browser at this host asked for this host: by its name
// or an address, not by a name of somebody else's that was pointed at it.
func namesUs(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// origin is the address of who asks, and whether they speak TLS. Of what proxies
// say, the part counts that ours have added: from the right, up to the first one
// that is none of ours.
func (s *Site) origin(r *http.Request) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, secure := at.Addr().Unmap().WithZone(""), r.TLS != nil
	if !s.proxy(addr) {
		return addr, secure
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	secure = secure || r.Header.Get("X-Forwarded-Proto") == "https"
	for _, hop := range slices.Backward(hops) {
		hop = strings.TrimSpace(hop)
		if hop == "" {
			break
		}
		next, err := netip.ParseAddr(hop)
		if err != nil {
			return netip.Addr{}, secure
		}
		if addr = next.Unmap().WithZone(""); !s.proxy(addr) {
			break
		}
	}
	return addr, secure
}

func (s *Site) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// token signs v in for this one request.
func (s *Site) token(r *http.Request, v *visitor, text string) error {
	if s.Store == nil {
		return errLogin
	}
	login, err := s.Store.CheckToken(r.Context(), s.now(), text)
	if errors.Is(err, store.ErrLogin) {
		return &fault{status: http.StatusUnauthorized, text: "the token is none of this server, or has expired"}
	}
	if err != nil {
		return err
	}
	v.login = &login
	return nil
}

// sees reports whether v may see what was tested from an address.
func (s *Site) sees(v *visitor, a netip.Addr) bool {
	return v.login != nil || s.Public || v.addr.IsValid() && v.addr == a
}

// meant makes sure that a form was sent by the page that we gave to this very
// session: a browser that does not say where a request comes from is asked for
// the session's own word.
func (v *visitor) meant(r *http.Request) error {
	if v.session == nil {
		return nil
	}
	word := r.Header.Get("Sonde-CSRF")
	if word == "" {
		if err := r.ParseForm(); err != nil {
			return badRequest("the form cannot be read")
		}
		word = r.PostForm.Get("csrf")
	}
	if subtle.ConstantTimeCompare([]byte(word), []byte(v.session.csrf)) != 1 {
		return &fault{status: http.StatusForbidden, text: "the form is too old or not ours; go back, load the page again and repeat"}
	}
	return nil
}

// addressOf reads the address of a path.
func addressOf(r *http.Request) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(r.PathValue("ip")))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, badRequest("not an IP address; give such as 192.0.2.1 or 2001:db8::1")
	}
	return a.Unmap(), nil
}

// asked is the address of a path, if v may see it.
func (s *Site) asked(r *http.Request, v *visitor) (netip.Addr, error) {
	a, err := addressOf(r)
	if err == nil && !s.sees(v, a) {
		err = errLogin
	}
	return a, err
}

// subject is whose quota counts for an address.
func subject(a netip.Addr) account.Subject { return account.Subject{Address: admit.Site(a)} }

// local is a path on this site to go on to, "/" for anything else.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") || u.Host != "" || u.Scheme != "" {
		return "/"
	}
	return next
}

func queryEscape(s string) string { return url.QueryEscape(s) }
