package web

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/unit"
)

type usersPage struct {
	Search string
	Users  []store.Entry
	All    int
	After  string // name of the last one here, for the next page; empty if there is none
	Fault  string
	Name   string // that a fault is about
}

// page cuts out the entries of one page: those after a name that contain text.
func page(entries []store.Entry, text, after string) (some []store.Entry, all int, next string) {
	for _, e := range entries {
		if !strings.Contains(strings.ToLower(e.Name), strings.ToLower(text)) {
			continue
		}
		all++
		if e.Name <= after {
			continue
		}
		if len(some) == perPage {
			next = some[perPage-1].Name
			continue
		}
		some = append(some, e)
	}
	return some, all, next
}

func (s *Site) usersPage(r *http.Request) (usersPage, error) {
	q := r.URL.Query()
	p := usersPage{Search: q.Get("q")}
	entries, err := s.Store.Entries(r.Context())
	p.Users, p.All, p.After = page(entries, p.Search, q.Get("after"))
	return p, err
}

func (s *Site) users(w http.ResponseWriter, r *http.Request, v *visitor) error {
	p, err := s.usersPage(r)
	if err != nil {
		return err
	}
	s.render(w, http.StatusOK, v, "users.html", p)
	return nil
}

// createUser makes an account with a password. Its limits are set afterwards.
func (s *Site) createUser(w http.ResponseWriter, r *http.Request, v *visitor) error {
	name, password := r.PostFormValue("name"), r.PostFormValue("password")
	err := cmp.Or(account.CheckName(name), checkPassword(password))
	if err == nil {
		err = s.Store.CreateAccount(r.Context(), s.now(), account.Account{Name: name}, store.NewSecrets(name, password, r.PostFormValue("md5") != ""))
		if err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	if err != nil {
		p, bad := s.usersPage(r)
		if bad != nil {
			return bad
		}
		p.Fault, p.Name = err.Error(), name
		s.render(w, http.StatusUnprocessableEntity, v, "users.html", p)
		return nil
	}
	s.log().Info("a user was created", "user", name, "by", v.login.Name)
	http.Redirect(w, r, userPath(name), http.StatusSeeOther)
	return nil
}

func checkPassword(text string) error {
	if text == "" {
		return errors.New("the password is empty")
	}
	return nil
}

func userPath(name string) string { return "/admin/user?name=" + queryEscape(name) }

type userPage struct {
	store.Entry
	Caps     []capField
	Duration string
	Tests    string
	Rate     string
	Quotas   []template.HTML
	Again    []Quota
	Runs     []store.Run
	Refusals []store.Refusal
	Fault    string
}

// A capField is the limit of one window in the form.
type capField struct{ Key, Title, Value string }

func capKey(w account.Window) string { return w.Period.String() + "_" + w.Flow.String() }

func (s *Site) user(w http.ResponseWriter, r *http.Request, v *visitor) error {
	return s.showUser(w, r, v, r.URL.Query().Get("name"), nil)
}

// showUser shows a user, with what was wrong with a form about them.
func (s *Site) showUser(w http.ResponseWriter, r *http.Request, v *visitor, name string, wrong error) error {
	if name == "" {
		return notFound("no user has an empty name")
	}
	e, err := s.Store.Entry(r.Context(), name)
	if err != nil {
		return err
	}
	p := userPage{Entry: e}
	for _, win := range account.Windows() {
		f := capField{Key: capKey(win), Title: quotaName(win)}
		if n, ok := e.Limits.Bytes[win]; ok {
			f.Value = strconv.FormatUint(n, 10)
		}
		p.Caps = append(p.Caps, f)
	}
	if d := e.Limits.Duration; d != nil {
		p.Duration = d.String()
	}
	if n := e.Limits.Tests; n != nil {
		p.Tests = strconv.Itoa(*n)
	}
	if n := e.Limits.Rate; n != nil {
		p.Rate = strconv.FormatUint(*n, 10)
	}
	all, err := s.quotasOf(r, account.Subject{Account: name})
	if err != nil {
		return err
	}
	p.Quotas, p.Again = quotaBars(all), usedUp(all)
	f := store.Filter{Account: name, Limit: 10}
	if p.Runs, err = s.Store.Runs(r.Context(), f); err != nil {
		return err
	}
	if p.Refusals, err = s.Store.Refusals(r.Context(), f); err != nil {
		return err
	}
	status := http.StatusOK
	if wrong != nil {
		p.Fault, status = wrong.Error(), http.StatusUnprocessableEntity
	}
	s.render(w, status, v, "user.html", p)
	return nil
}

// limitsOf reads the form of limits. An empty field leaves it to the server.
func limitsOf(r *http.Request) (account.Limits, error) {
	l := account.Limits{Bytes: map[account.Window]uint64{}}
	var faults []error
	field := func(key string, read func(text string) error) {
		if text := strings.TrimSpace(r.PostFormValue(key)); text != "" {
			if err := read(text); err != nil {
				faults = append(faults, fmt.Errorf("%s %q: %w", strings.ReplaceAll(key, "_", " "), text, err))
			}
		}
	}
	for _, win := range account.Windows() {
		field(capKey(win), func(text string) error {
			n, err := unit.ParseSize(text)
			l.Bytes[win] = n
			return err
		})
	}
	field("duration", func(text string) error {
		d, err := unit.ParseDuration(text)
		l.Duration = &d
		return err
	})
	field("tests", func(text string) error {
		n, err := unit.ParseCount(text)
		if err == nil && n < 0 {
			err = unit.ErrCount
		}
		l.Tests = &n
		return err
	})
	field("rate", func(text string) error {
		n, err := unit.ParseRate(text)
		l.Rate = &n
		return err
	})
	return l, errors.Join(faults...)
}

func (s *Site) setUser(w http.ResponseWriter, r *http.Request, v *visitor) error {
	name := r.PostFormValue("name")
	limits, err := limitsOf(r)
	if err != nil {
		return s.showUser(w, r, v, name, err)
	}
	disabled := r.PostFormValue("disabled") != ""
	err = s.Store.ChangeAccount(r.Context(), s.now(), name, func(e *store.Entry) error {
		e.Limits, e.Disabled = limits, disabled
		return nil
	}, nil)
	if err != nil {
		return err
	}
	s.log().Info("a user was changed", "user", name, "disabled", disabled, "by", v.login.Name)
	http.Redirect(w, r, userPath(name), http.StatusSeeOther)
	return nil
}

func (s *Site) setPassword(w http.ResponseWriter, r *http.Request, v *visitor) error {
	name, password := r.PostFormValue("name"), r.PostFormValue("password")
	if err := checkPassword(password); err != nil {
		return s.showUser(w, r, v, name, err)
	}
	secrets := store.NewSecrets(name, password, r.PostFormValue("md5") != "")
	if err := s.Store.ChangeAccount(r.Context(), s.now(), name, func(*store.Entry) error { return nil }, &secrets); err != nil {
		return err
	}
	s.log().Info("a user has another password", "user", name, "by", v.login.Name)
	http.Redirect(w, r, userPath(name), http.StatusSeeOther)
	return nil
}

func (s *Site) deleteUser(w http.ResponseWriter, r *http.Request, v *visitor) error {
	name := r.PostFormValue("name")
	if r.PostFormValue("sure") != "yes" {
		return s.showUser(w, r, v, name, errors.New("tick the box to delete the user"))
	}
	if err := s.Store.DeleteAccount(r.Context(), name); err != nil {
		return err
	}
	s.log().Info("a user was deleted", "user", name, "by", v.login.Name)
	http.Redirect(w, r, "/admin/users", http.StatusSeeOther)
	return nil
}

type quotasPage struct {
	Search string
	Rows   []quotasRow
	All    int
	After  string
}

// A quotasRow is what one user has used.
type quotasRow struct {
	Name   string
	Quotas []Quota // combined, daily, weekly and monthly
	Others []Quota // one way only, those with a limit
}

func (s *Site) quotas(w http.ResponseWriter, r *http.Request, v *visitor) error {
	users, err := s.usersPage(r)
	if err != nil {
		return err
	}
	p := quotasPage{Search: users.Search, All: users.All, After: users.After}
	for _, e := range users.Users {
		all, err := s.quotasOf(r, account.Subject{Account: e.Name})
		if err != nil {
			return err
		}
		row := quotasRow{Name: e.Name}
		for _, q := range all {
			switch {
			case q.Flow == account.Both:
				row.Quotas = append(row.Quotas, q)
			case q.Limit > 0:
				row.Others = append(row.Others, q)
			}
		}
		p.Rows = append(p.Rows, row)
	}
	s.render(w, http.StatusOK, v, "quotas.html", p)
	return nil
}
