package web

import (
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/result"
)

type landingPage struct {
	Host    string
	Offers  []Offer
	Quotas  []Quota // of the visitor's address, those with a limit
	Running int
}

// Offer is the one of a protocol, or nil; for the template.
func (p landingPage) Offer(protocol string) *Offer {
	for i := range p.Offers {
		if p.Offers[i].Protocol == protocol {
			return &p.Offers[i]
		}
	}
	return nil
}

func (s *Site) landing(w http.ResponseWriter, r *http.Request, v *visitor) error {
	p := landingPage{Host: s.host(r), Offers: byName(s.Offers), Running: s.State.Hub.running()}
	if s.Quotas != nil && v.addr.IsValid() {
		all, err := s.quotasOf(r, subject(v.addr))
		if err != nil { // the rest of the page does not need them
			s.log().Warn("web: quotas", "err", err)
		}
		for _, q := range all {
			if q.Limit > 0 {
				p.Quotas = append(p.Quotas, q)
			}
		}
	}
	s.render(w, http.StatusOK, v, "landing.html", p)
	return nil
}

// host is the name under which clients reach this server.
func (s *Site) host(r *http.Request) string {
	if s.Name != "" {
		return s.Name
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	return host
}

// search goes to the page of an address.
func (s *Site) search(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	a, err := netip.ParseAddr(strings.TrimSpace(r.URL.Query().Get("ip")))
	if err != nil || a.Zone() != "" {
		return badRequest("not an IP address; give such as 192.0.2.1 or 2001:db8::1")
	}
	http.Redirect(w, r, "/dashboard/"+a.Unmap().String(), http.StatusSeeOther)
	return nil
}

type dashboardPage struct {
	Address string
	Totals  store.Totals
	Stats   statsOut
	Quotas  []template.HTML // bars, wide and narrow
	Again   []Quota         // those that are used up
	Runs    []store.Run
	Chosen  *store.Run
	Charts  []template.HTML // throughput, wide and narrow
	Names   bool            // user names are shown
	Before  int64           // of the next page; 0 if there is none
}

// dashboard shows what was tested from an address.
func (s *Site) dashboard(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := s.asked(r, v)
	if err != nil {
		return err
	}
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	f = store.Filter{Address: a.String(), Before: f.Before, Limit: perPage + 1}
	p := dashboardPage{Address: a.String(), Names: v.login != nil}
	if p.Runs, err = s.Store.Runs(r.Context(), f); err != nil {
		return err
	}
	if len(p.Runs) > perPage {
		p.Runs = p.Runs[:perPage]
		p.Before = p.Runs[perPage-1].Num
	}
	if p.Totals, err = s.Store.Totals(r.Context(), f); err != nil {
		return err
	}
	p.Stats = statsOf(p.Totals)
	all, err := s.quotasOf(r, subject(a))
	if err != nil {
		return err
	}
	p.Quotas, p.Again = quotaBars(all), usedUp(all)
	if err := s.choose(r, v, &p); err != nil {
		return err
	}
	s.render(w, http.StatusOK, v, "dashboard.html", p)
	return nil
}

// perPage is how many rows a table has.
const perPage = 50

// choose draws the test that ?run= asks for, or else the newest one that has
// something to show.
func (s *Site) choose(r *http.Request, v *visitor, p *dashboardPage) error {
	if id := r.URL.Query().Get("run"); id != "" {
		run, err := s.run(r, v, id)
		if err != nil {
			return err
		}
		if run.Address != p.Address {
			return notFound("no test from that address has that id")
		}
		return s.draw(r, p, run)
	}
	for _, run := range p.Runs[:min(len(p.Runs), 5)] {
		if err := s.draw(r, p, run); err != nil || len(p.Charts) > 0 {
			return err
		}
	}
	return nil
}

func (s *Site) draw(r *http.Request, p *dashboardPage, run store.Run) error {
	all, err := s.Store.Intervals(r.Context(), run.Num)
	if err != nil || len(all) == 0 {
		return err
	}
	p.Chosen = &run
	p.Charts = charts(throughput(run, all))
	return nil
}

// throughput is a chart of one run: each way as far as it was tested.
func throughput(run store.Run, all []store.Interval) plot.Chart {
	c := plot.Chart{Title: "Throughput", X: plot.Axis{Unit: plot.Elapsed}, Y: plot.Axis{Unit: plot.Rate}}
	for _, d := range run.Direction.Each() {
		line := plot.Line{Name: d.String()}
		for _, i := range all {
			if i.Direction != d {
				continue
			}
			rate := plot.Gap
			if i.Bytes != nil {
				rate = plot.Value(result.Rate(*i.Bytes, i.Length))
			}
			line.Points = append(line.Points, plot.Point{X: (i.Start + i.Length).Seconds(), Y: rate})
		}
		if len(line.Points) > 0 {
			c.Lines = append(c.Lines, line)
		}
	}
	return c
}

// Widths of drawings: a page shows the one that fits.
const (
	wide   = 860
	narrow = 350
)

func charts(c plot.Chart) []template.HTML {
	c.Width, c.Height = wide, 260
	large := picture(c.SVG())
	c.Width, c.Height = narrow, 220
	return []template.HTML{large, picture(c.SVG())}
}

// quotaBars are the quotas with a limit; without one, what was used.
func quotaBars(all []Quota) []template.HTML {
	b := plot.Bars{Title: "Quotas", Unit: plot.Bytes}
	for _, q := range all {
		if q.Limit > 0 || q.Flow == account.Both {
			b.Bars = append(b.Bars, plot.Bar{Name: quotaName(q.Window), Value: float64(q.Used), Of: float64(q.Limit)})
		}
	}
	b.Width = wide
	large := picture(b.SVG())
	b.Width = narrow
	return []template.HTML{large, picture(b.SVG())}
}

func quotaName(w account.Window) string {
	if w.Flow == account.Both {
		return w.Period.String()
	}
	return w.Period.String() + ", " + w.Flow.String()
}

func usedUp(all []Quota) []Quota {
	var up []Quota
	for _, q := range all {
		if q.Limit > 0 && q.Used >= q.Limit {
			up = append(up, q)
		}
	}
	return up
}

// Title of a quota, for templates.
func (q Quota) Title() string { return quotaName(q.Window) }

// Share is how much of it is used, 0 to 1 and beyond.
func (q Quota) Share() float64 {
	if q.Limit == 0 {
		return 0
	}
	return float64(q.Used) / float64(q.Limit)
}

// Percent is Share for a person.
func (q Quota) Percent() string {
	if q.Limit == 0 {
		return ""
	}
	return plot.Number.Format(float64(int(q.Share()*100))) + " %"
}

// UsedText and LimitText are the figures for a person.
func (q Quota) UsedText() string { return plot.Bytes.Format(float64(q.Used)) }

// LimitText is "no limit" for 0.
func (q Quota) LimitText() string {
	if q.Limit == 0 {
		return "no limit"
	}
	return plot.Bytes.Format(float64(q.Limit))
}

type livePage struct {
	Address string // shown alone; empty is all that may be seen
	Every   bool   // all addresses may be seen
}

func (s *Site) live(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := s.wanted(r, v)
	if err != nil {
		return err
	}
	p := livePage{Every: v.login != nil || s.Public}
	if a.IsValid() {
		p.Address = a.String()
	}
	s.render(w, http.StatusOK, v, "live.html", p)
	return nil
}

type testsPage struct {
	Filter store.Filter
	Runs   []store.Run
	Before int64
	Query  string // of the filter, for links
}

// tests lists what was tested, from every address.
func (s *Site) tests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	p := testsPage{Filter: f, Query: filterQuery(f)}
	f.Limit = perPage + 1
	if p.Runs, err = s.Store.Runs(r.Context(), f); err != nil {
		return err
	}
	if len(p.Runs) > perPage {
		p.Runs = p.Runs[:perPage]
		p.Before = p.Runs[perPage-1].Num
	}
	s.render(w, http.StatusOK, v, "tests.html", p)
	return nil
}

// filterQuery is f as a query, without the page.
func filterQuery(f store.Filter) string {
	var b strings.Builder
	for _, one := range []struct{ key, value string }{{"user", f.Account}, {"ip", f.Address}, {"protocol", f.Protocol}} {
		if one.value != "" {
			b.WriteString("&" + one.key + "=" + queryEscape(one.value))
		}
	}
	return b.String()
}

type refusalsPage struct {
	Filter   store.Filter
	Refusals []store.Refusal
	Before   int64
	Query    string
}

func (s *Site) refusals(w http.ResponseWriter, r *http.Request, v *visitor) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	p := refusalsPage{Filter: f, Query: filterQuery(f)}
	f.Limit = perPage + 1
	if p.Refusals, err = s.Store.Refusals(r.Context(), f); err != nil {
		return err
	}
	if len(p.Refusals) > perPage {
		p.Refusals = p.Refusals[:perPage]
		p.Before = p.Refusals[perPage-1].Num
	}
	s.render(w, http.StatusOK, v, "refusals.html", p)
	return nil
}
