//go:build !nano

// Package page makes one page of HTML of saved results: a table of the tests,
// charts of all over time and of each, and each in words. The page needs
// nothing but itself: no script, no font, no request.
package page

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"time"

	"github.com/sonde-net/sonde/app/chart"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// A Page is what is on it.
type Page struct {
	Title string
	Made  time.Time
	Zone  *time.Location // of the times on it; nil is UTC
	// Most bounds the tests that are shown one by one, the latest; the table and
	// the charts over time have all. 0 means 100.
	Most int

	tests []*report.Run
}

// Add puts a test on the page.
func (p *Page) Add(r *report.Run) { p.tests = append(p.tests, r) }

// Len is the number of tests on the page.
func (p *Page) Len() int { return len(p.tests) }

//go:embed page.html
var source string

//go:embed page.css
var style string

var page = template.Must(template.New("page").Parse(source))

// A row is a test in the table.
type row struct {
	Number                                                  int
	Time, Protocol, Target, Down, Up, Loss, RTT, Grade, Why string
	Failed                                                  bool
	Detail                                                  *detail
}

// A picture is a chart with its name.
type picture struct {
	Title string
	SVG   template.HTML
}

// A detail is a test by itself.
type detail struct {
	Charts []picture
	Words  string
}

// WriteTo writes the page.
func (p *Page) WriteTo(w io.Writer) (int64, error) {
	zone := p.Zone
	if zone == nil {
		zone = time.UTC
	}
	most := p.Most
	if most == 0 {
		most = 100
	}
	var ends []result.End
	var rows []row
	for i, r := range p.tests {
		one := newRow(i+1, r, zone)
		if i >= len(p.tests)-most {
			one.Detail = details(r)
		}
		rows = append(rows, one)
		if r.End != nil {
			ends = append(ends, *r.End)
		}
	}
	var over []picture
	if len(ends) > 1 {
		over = drawn(chart.History(ends, zone))
	}
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Title": p.Title, "Made": p.Made.In(zone).Format("2006-01-02 15:04:05 MST"), "Style": template.CSS(plot.CSS + style),
		"Over": over, "Rows": rows,
	})
	if err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// drawn are the charts as SVG, whose text plot has escaped.
func drawn(charts []plot.Chart) []picture {
	var all []picture
	for _, c := range charts {
		all = append(all, picture{c.Title, template.HTML(c.SVG())})
	}
	return all
}

func details(r *report.Run) *detail {
	var words bytes.Buffer
	text := report.Text(&words, report.TextConfig{Verbose: true})
	r.Replay(text)
	d := &detail{Charts: drawn(chart.All(chart.Test{Intervals: r.Intervals, End: r.End})), Words: words.String()}
	switch {
	case r.End == nil:
		d.Words += "the file ends before this test did\n"
	case r.End.Err != nil:
		d.Words += "it ended with an error: " + r.End.Err.Error() + "\n"
	}
	return d
}

func newRow(number int, r *report.Run, zone *time.Location) row {
	h := r.Head()
	one := row{Number: number, Time: h.Time.In(zone).Format("2006-01-02 15:04:05"), Protocol: h.Protocol,
		Down: "-", Up: "-", Loss: "-", RTT: "-", Grade: "-", Failed: r.End == nil || r.End.Err != nil}
	if b := r.Begin; b != nil {
		one.Target = b.Target
		if b.Target == "" {
			one.Target = b.Peer.Addr().String()
		}
	}
	if r.End == nil {
		one.Why = "did not end"
		return one
	}
	figures(&one, *r.End)
	return one
}

// figures puts those of the end of a test into its row.
func figures(one *row, e result.End) {
	h := chart.HeadlineOf(e)
	one.Down, one.Up = plot.Rate.Format(h.Down), plot.Rate.Format(h.Up)
	one.Loss, one.RTT = plot.Ratio.Format(h.Loss), plot.Nanos.Format(h.RTT)
	if e.Latency != nil && e.Latency.Grade != "" {
		one.Grade = e.Latency.Grade
	}
	switch {
	case e.Err != nil:
		one.Why = e.Err.Error()
	case e.Why != nil:
		one.Why = e.Why.Text
	}
}
