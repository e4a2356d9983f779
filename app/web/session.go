package web

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/store"
)

// Bounds of sessions.
const (
	idleFor      = 8 * time.Hour
	longestLogin = 7 * 24 * time.Hour
	mostSessions = 1000
)

// A session is somebody who has signed in.
type session struct {
	name  string
	csrf  string // what its forms carry
	began time.Time
	seen  time.Time
}

// sessions are kept by a hash of what the cookie holds, in memory: a restart
// signs everybody out.
type sessions struct {
	mu  sync.Mutex // guards all, and seen of each
	all map[[32]byte]*session
}

// open makes a session and returns what its cookie holds.
func (s *sessions) open(name string, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[[32]byte]*session{}
	}
	s.tidy(now)
	text := rand.Text()
	s.all[sha256.Sum256([]byte(text))] = &session{name: name, csrf: rand.Text(), began: now, seen: now}
	return text
}

// tidy makes room for one more.
func (s *sessions) tidy(now time.Time) {
	for k, one := range s.all {
		if one.over(now) {
			delete(s.all, k)
		}
	}
	for len(s.all) >= mostSessions {
		var oldest [32]byte
		var since time.Time
		for k, one := range s.all {
			if since.IsZero() || one.seen.Before(since) {
				oldest, since = k, one.seen
			}
		}
		delete(s.all, oldest)
	}
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.seen) > idleFor || now.Sub(s.began) > longestLogin
}

func (s *sessions) find(text string, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[sha256.Sum256([]byte(text))]
	if one == nil || one.over(now) {
		return nil
	}
	one.seen = now
	return one
}

func (s *sessions) close(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(text)))
}

// The names of the cookie. With __Host- a browser takes it only over TLS, from
// this very host.
const (
	secureCookie = "__Host-sonde"
	plainCookie  = "sonde"
)

func cookieName(secure bool) string {
	if secure {
		return secureCookie
	}
	return plainCookie
}

// cookie holds a session; an empty text takes it away.
func cookie(text string, secure bool) *http.Cookie {
	c := &http.Cookie{Name: cookieName(secure), Value: text, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
	if text == "" {
		c.MaxAge = -1
	}
	return c
}

// resume finds the session of a request. Whoever was deleted, or has another role
// by now, notices at once.
func (s *Site) resume(r *http.Request, v *visitor) error {
	c, err := r.Cookie(cookieName(v.secure))
	if err != nil || s.Store == nil {
		return nil // no cookie
	}
	one := s.State.sessions.find(c.Value, s.now())
	if one == nil {
		return nil
	}
	login, err := s.logins().Login(r.Context(), one.name)
	switch {
	case store.IsNotFound(err):
		s.State.sessions.close(c.Value)
		return nil
	case err != nil:
		return err
	case login.Created.After(one.began): // another password since, or another login of that name
		s.State.sessions.close(c.Value)
		return nil
	}
	v.login, v.session = &login, one
	return nil
}

// byName sorts offers for a page.
func byName(offers []Offer) []Offer {
	all := slices.Clone(offers)
	slices.SortStableFunc(all, func(a, b Offer) int { return cmp.Compare(order(a.Protocol), order(b.Protocol)) })
	return all
}

func order(protocol string) int {
	at := slices.Index([]string{"btest", "iperf3", "rperf", "twamp", "mesh"}, protocol)
	if at < 0 {
		return 99
	}
	return at
}
