package web

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/store"
)

// backoff makes an address whose logins fail wait, and a name that is guessed
// from many.
type backoff struct {
	addresses admit.Backoff
	names     admit.AccountBackoff
}

// check says until when a login has to wait.
func (b *backoff) check(a netip.Addr, name string, now time.Time) error {
	err := b.addresses.Check(a, now)
	if err == nil {
		err = b.names.Check(name, a, now)
	}
	refused, ok := errors.AsType[*admit.RefusedError](err)
	if !ok {
		return err
	}
	wait := refused.Until.Sub(now).Round(time.Second)
	return &fault{status: http.StatusTooManyRequests, text: "too many failed logins; try again in " + max(wait, time.Second).String()}
}

func (b *backoff) failed(a netip.Addr, name string, now time.Time) {
	b.addresses.Failed(a, now)
	b.names.Failed(name, now)
}

func (b *backoff) succeeded(a netip.Addr, name string, now time.Time) {
	b.addresses.Succeeded(a)
	b.names.Succeeded(name, a, now)
}

type loginPage struct {
	Next, User, Fault string
	Closed            bool // the connection can be read by others
}

func (s *Site) loginForm(w http.ResponseWriter, r *http.Request, v *visitor) error {
	s.render(w, http.StatusOK, v, "login.html", loginPage{Next: local(r.URL.Query().Get("next")), Closed: !v.private})
	return nil
}

// signIn takes a name and a password. Whatever is wrong with them, the answer is
// the same.
func (s *Site) signIn(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	p := loginPage{Next: local(r.PostForm.Get("next")), User: r.PostForm.Get("user"), Closed: !v.private}
	if p.Closed {
		s.render(w, http.StatusForbidden, v, "login.html", p)
		return nil
	}
	now := s.now()
	if err := s.State.backoff.check(v.addr, p.User, now); err != nil {
		return s.refuseLogin(w, v, p, err)
	}
	login, err := s.logins().CheckLogin(r.Context(), p.User, r.PostForm.Get("password"))
	// Of many at the same time those that were over the limit learn nothing.
	if late := s.State.backoff.check(v.addr, p.User, now); late != nil {
		return s.refuseLogin(w, v, p, late)
	}
	if errors.Is(err, store.ErrLogin) {
		s.State.backoff.failed(v.addr, p.User, now)
		s.log().Warn("a login to the pages failed", "address", v.addr.String(), "user", p.User)
		return s.refuseLogin(w, v, p, &fault{status: http.StatusUnauthorized, text: "wrong name or password"})
	}
	if err != nil {
		return err
	}
	s.State.backoff.succeeded(v.addr, p.User, now)
	s.log().Info("login to the pages", "address", v.addr.String(), "user", login.Name, "role", string(login.Role))
	http.SetCookie(w, cookie(s.State.sessions.open(login.Name, now), v.secure))
	http.Redirect(w, r, p.Next, http.StatusSeeOther)
	return nil
}

func (s *Site) refuseLogin(w http.ResponseWriter, v *visitor, p loginPage, err error) error {
	f := faultOf(err)
	p.Fault = f.text
	s.render(w, f.status, v, "login.html", p)
	return nil
}

func (s *Site) signOut(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if c, err := r.Cookie(cookieName(v.secure)); err == nil {
		s.State.sessions.close(c.Value)
	}
	http.SetCookie(w, cookie("", v.secure))
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
