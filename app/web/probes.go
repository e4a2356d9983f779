package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/sonde-net/sonde/app/compare"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/result"
)

// The spans of time that a probe's page offers.
var probeSpans = []struct {
	Key, Name string
	span      time.Duration
}{
	{"6h", "6 hours", 6 * time.Hour},
	{"1d", "day", 24 * time.Hour},
	{"7d", "week", 7 * 24 * time.Hour},
	{"30d", "30 days", 30 * 24 * time.Hour},
	{"365d", "year", 365 * 24 * time.Hour},
}

// levels of the bands of a smoke graph.
var levels = []float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 1}

// probePoints is how many spans of time a graph has at most.
const probePoints = 300

type probesPage struct{ Probes []store.Probe }

func (s *Site) probes(w http.ResponseWriter, r *http.Request, v *visitor) error {
	all, err := s.Store.Probes(r.Context())
	if err != nil {
		return err
	}
	s.render(w, http.StatusOK, v, "probes.html", probesPage{all})
	return nil
}

type probePage struct {
	store.Probe
	Spans   any
	Span    string
	RTT     []template.HTML // smoke, wide and narrow
	Rates   []template.HTML
	Loss    []template.HTML
	Runs    []store.ProbeRun
	Changes []store.ProbeChange
	Before  int64
	A, B    period
	Said    []said
}

// A period is one side of a comparison.
type period struct {
	Key      string // of its fields in the form
	From, To time.Time
	Runs     int
}

// A said is what can be said of one figure of two periods.
type said struct {
	Figure, A, B, Text string
	Certain            bool
}

func (s *Site) probe(w http.ResponseWriter, r *http.Request, v *visitor) error {
	found, err := s.Store.ProbeByName(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	p := probePage{Probe: found, Spans: probeSpans, Span: "1d"}
	span := 24 * time.Hour
	for _, one := range probeSpans {
		if one.Key == r.URL.Query().Get("span") {
			p.Span, span = one.Key, one.span
		}
	}
	now := s.now()
	from := now.Add(-span)
	points, err := s.Store.ProbeHistory(r.Context(), found.Name, from, now, probePoints)
	if err != nil {
		return err
	}
	p.draw(points, from, now)
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	filter := store.ProbeFilter{Probe: found.Name, Before: f.Before, Limit: perPage + 1}
	if p.Runs, err = s.Store.ProbeRuns(r.Context(), filter); err != nil {
		return err
	}
	if len(p.Runs) > perPage {
		p.Runs = p.Runs[:perPage]
		p.Before = p.Runs[perPage-1].Num
	}
	if p.Changes, err = s.Store.ProbeChanges(r.Context(), store.ProbeFilter{Probe: found.Name, Limit: 20}); err != nil {
		return err
	}
	p.A, p.B = period{Key: "a", From: from.Add(-span), To: from}, period{Key: "b", From: from, To: now}
	if err := s.compare(r, &p); err != nil {
		return err
	}
	s.render(w, http.StatusOK, v, "probe.html", p)
	return nil
}

// draw makes the graphs of a probe: those of which something was measured.
func (p *probePage) draw(points []store.ProbePoint, from, to time.Time) {
	x := plot.Axis{Unit: plot.Clock, From: plot.At(from), To: plot.At(to)}
	rtt := plot.Chart{Title: "Round trips", X: x, Y: plot.Axis{Unit: plot.Nanos}}
	rates := plot.Chart{Title: "Throughput", X: x, Y: plot.Axis{Unit: plot.Rate}}
	loss := plot.Chart{Title: "Loss", X: x, Y: plot.Axis{Unit: plot.Ratio}, Lines: []plot.Line{{Name: "lost"}}}
	idle, loaded := plot.Smoke{Name: "RTT", Levels: levels}, plot.Smoke{Name: "RTT under load", Levels: levels}
	down, up := plot.Smoke{Name: "download", Levels: levels}, plot.Smoke{Name: "upload", Levels: levels}
	any := map[string]bool{}
	var before time.Time // end of the span before
	for _, one := range points {
		at := plot.At(one.Start.Add(one.Width / 2))
		// Spans without anything are left out: there is a gap. A probe is due each
		// Every, so narrower ones are empty now and then.
		if gap := max(one.Width, 2*p.Every); !before.IsZero() && one.Start.Sub(before) > gap {
			hole := plot.At(before.Add(one.Width / 2))
			for _, sm := range []*plot.Smoke{&idle, &loaded, &down, &up} {
				sm.Spread = append(sm.Spread, plot.Spread{X: hole})
			}
			loss.Lines[0].Points = append(loss.Lines[0].Points, plot.Point{X: hole, Y: plot.Gap})
		}
		before = one.Start.Add(one.Width)
		for _, sm := range []struct {
			into *plot.Smoke
			from *store.Sketch
			kind string
		}{{&idle, &one.RTT, "rtt"}, {&loaded, &one.Loaded, "loaded"}, {&down, &one.Down, "down"}, {&up, &one.Up, "up"}} {
			values := sm.from.At(levels...)
			any[sm.kind] = any[sm.kind] || values != nil
			sm.into.Spread = append(sm.into.Spread, plot.Spread{X: at, Values: values})
		}
		lost := plot.Gap
		if one.Sent != nil && one.Lost != nil && *one.Sent > 0 {
			lost = float64(*one.Lost) / float64(*one.Sent)
			any["loss"] = true
		}
		loss.Lines[0].Points = append(loss.Lines[0].Points, plot.Point{X: at, Y: lost})
		if bad := one.Runs - one.Good; bad > 0 || one.Missed > 0 {
			m := plot.Mark{X: at, Text: fmt.Sprintf("%d of %d tests failed, %d not made", bad, one.Runs, one.Missed)}
			rtt.Marks, rates.Marks = append(rtt.Marks, m), append(rates.Marks, m)
		}
	}
	for _, one := range []struct {
		chart *plot.Chart
		smoke plot.Smoke
		kind  string
	}{{&rtt, idle, "rtt"}, {&rtt, loaded, "loaded"}, {&rates, down, "down"}, {&rates, up, "up"}} {
		if any[one.kind] {
			one.chart.Smoke = append(one.chart.Smoke, one.smoke)
		}
	}
	if any["rtt"] || any["loaded"] || !any["down"] && !any["up"] {
		p.RTT = charts(rtt)
	}
	if any["down"] || any["up"] {
		p.Rates = charts(rates)
	}
	if any["loss"] {
		p.Loss = charts(loss)
	}
}

// mostCompared bounds the tests of one side.
const mostCompared = 5000

// compare holds two periods against each other: those of the form, or the one
// shown and the one before.
func (s *Site) compare(r *http.Request, p *probePage) error {
	sets := make([]compare.Set, 2)
	for i, side := range []*period{&p.A, &p.B} {
		for _, end := range []struct {
			key string
			at  *time.Time
		}{{"_from", &side.From}, {"_to", &side.To}} {
			text := r.URL.Query().Get(side.Key + end.key)
			if text == "" {
				continue
			}
			t, err := time.Parse("2006-01-02T15:04", text)
			if err != nil {
				return badRequest(side.Key + end.key + ": not a time; give such as 2026-11-28T15:04")
			}
			*end.at = t
		}
		runs, err := s.Store.ProbeRuns(r.Context(), store.ProbeFilter{Probe: p.Name, From: side.From, To: side.To, Limit: mostCompared})
		if err != nil {
			return err
		}
		side.Runs = len(runs)
		for _, one := range runs {
			sets[i].Runs = append(sets[i].Runs, compare.Run{End: endOf(one)})
		}
	}
	for _, d := range compare.Compare(sets[0], sets[1]) {
		p.Said = append(p.Said, say(d))
	}
	return nil
}

// endOf is what is compared of a run.
func endOf(r store.ProbeRun) *result.End {
	e := &result.End{}
	if r.Down != nil {
		e.Down = &result.Total{Steady: &result.Steady{Rate: *r.Down}}
	}
	if r.Up != nil {
		e.Up = &result.Total{Steady: &result.Steady{Rate: *r.Up}}
	}
	if r.Loaded != nil {
		e.Latency = &result.Latency{Loaded: &result.Delay{P50: r.Loaded.P50}}
	}
	if r.Down == nil && r.Up == nil && r.Sent != nil && r.Lost != nil {
		trips := result.RoundTrips{Sent: *r.Sent, Lost: *r.Lost}
		if r.RTT != nil {
			trips.RTT = &result.Path{}
			trips.RTT.Delay.P50 = r.RTT.P50
		}
		e.RoundTrips = []result.RoundTrips{trips}
	}
	return e
}

// say puts a difference into words.
func say(d compare.Difference) said {
	units := map[compare.Figure]plot.Unit{compare.Download: plot.Rate, compare.Upload: plot.Rate, compare.RTT: plot.Nanos, compare.Loss: plot.Ratio}
	u := units[d.Figure]
	o := said{Figure: string(d.Figure), A: u.Format(d.A.Mean), B: u.Format(d.B.Mean), Certain: d.Certain, Text: "no difference can be shown"}
	switch {
	case d.TooFew:
		o.Text = "too few tests to tell"
	case d.Certain:
		rose := d.B.Mean > d.A.Mean
		o.Text = "B is worse, certain"
		if rose == d.Figure.MoreIsBetter() {
			o.Text = "B is better, certain"
		}
		if d.Change != nil && !math.IsInf(*d.Change, 0) {
			o.Text = fmt.Sprintf("B is %+.1f %%, certain", 100**d.Change)
		}
	}
	return o
}

type probeRunPage struct {
	store.ProbeRun
	Text string // the document
}

// probeRun shows one test of a probe.
func (s *Site) probeRun(w http.ResponseWriter, r *http.Request, v *visitor) error {
	num, err := strconv.ParseInt(r.PathValue("num"), 10, 64)
	if err != nil {
		return notFound("no test has that number")
	}
	run, err := s.Store.ProbeRun(r.Context(), num)
	if err != nil {
		return err
	}
	if run.Probe.Name != r.PathValue("name") {
		return notFound("no test of that probe has that number")
	}
	p := probeRunPage{ProbeRun: run}
	var b bytes.Buffer
	if json.Indent(&b, run.Document, "", "  ") == nil {
		p.Text = b.String()
	}
	s.render(w, http.StatusOK, v, "proberun.html", p)
	return nil
}
