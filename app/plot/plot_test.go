package plot_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/app/plot"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// second returns points one second apart.
func second(values ...float64) []plot.Point {
	points := make([]plot.Point, len(values))
	for i, v := range values {
		points[i] = plot.Point{X: float64(i + 1), Y: v}
	}
	return points
}

const nasty = `"><script>alert('&')</script>`

var throughput = plot.Chart{
	Title: "Throughput",
	X:     plot.Axis{Unit: plot.Elapsed},
	Y:     plot.Axis{Unit: plot.Rate, Name: "payload"},
	Lines: []plot.Line{
		{Name: "download", Points: second(91e6, 93.4e6, 94.2e6, plot.Gap, plot.Gap, 12e6, plot.Gap, 94e6, 93.9e6, 94.1e6)},
		{Name: "upload", Points: second(40e6, 41e6, 41.2e6, 41.1e6, 38e6, 20e6, 0, 41e6, 41.1e6, 41e6)},
	},
}

// smoke is a day of round trips, a quarter of an hour apart, with a pause.
func smoke() plot.Chart {
	s := plot.Smoke{Name: "RTT", Levels: []float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 1}}
	from := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for i := range 96 {
		d := plot.Spread{X: plot.At(from.Add(time.Duration(i) * 15 * time.Minute))}
		if i < 30 || i > 37 {
			middle := 12e6 + 4e6*math.Sin(float64(i)/9)
			for j := range s.Levels {
				d.Values = append(d.Values, middle+float64((j-3)*j*j)*1e5)
			}
		}
		s.Spread = append(s.Spread, d)
	}
	return plot.Chart{
		Title: "Round trips to office", X: plot.Axis{Unit: plot.Clock}, Y: plot.Axis{Unit: plot.Nanos, Name: "RTT"}, Smoke: []plot.Smoke{s},
		Marks: []plot.Mark{{X: plot.At(from.Add(8 * time.Hour)), Text: "no answer"}},
	}
}

var quotas = plot.Bars{Title: "Quotas", Unit: plot.Bytes, Bars: []plot.Bar{
	{Name: "daily", Value: 0.8 * (1 << 30), Of: 2 << 30},
	{Name: "weekly", Value: 5.6 * (1 << 30), Of: 8 << 30},
	{Name: "monthly", Value: 22.8 * (1 << 30), Of: 24 << 30},
	{Name: "over", Value: 3 << 30, Of: 2 << 30},
	{Name: "no limit", Value: 1 << 30},
	{Name: "unknown", Value: plot.Gap, Of: 1 << 30},
}}

var spread = plot.Histogram{Title: "Round trips", X: plot.Axis{Unit: plot.Nanos}, Bins: []plot.Bin{
	{From: 1e6, To: 2e6, Count: 3}, {From: 2e6, To: 3e6, Count: 40}, {From: 3e6, To: 4e6, Count: 17}, {From: 4e6, To: 5e6}, {From: 5e6, To: 9e6, Count: 2},
}}

func TestGolden(t *testing.T) {
	day := smoke()
	for name, got := range map[string][]byte{
		"throughput.svg":       throughput.SVG(),
		"throughput-file.svg":  throughput.File(),
		"throughput.txt":       []byte(throughput.Text(78, 12, plot.Braille)),
		"throughput-ascii.txt": []byte(throughput.Text(60, 10, plot.ASCII)),
		"smoke-file.svg":       day.File(),
		"smoke.txt":            []byte(day.Text(60, 8, plot.Braille)),
		"bars-file.svg":        quotas.File(),
		"bars.txt":             []byte(quotas.Text(80, plot.Braille) + quotas.Text(60, plot.ASCII)),
		"histogram-file.svg":   spread.File(),
		"empty.svg":            plot.Chart{Title: "Empty", Lines: []plot.Line{{Name: "none"}}}.SVG(),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, d)
			}
			if strings.HasSuffix(name, ".svg") {
				wellFormed(t, got)
			}
		})
	}
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			if e.Name.Local == "script" {
				t.Errorf("a script in\n%s", svg)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("attribute %s=%q in\n%s", a.Name.Local, a.Value, svg)
				}
			}
		}
	}
}

func TestEscaped(t *testing.T) {
	points := second(1, 2)
	for _, svg := range [][]byte{
		plot.Chart{Title: nasty, X: plot.Axis{Name: nasty}, Y: plot.Axis{Name: nasty}, Lines: []plot.Line{{Name: nasty, Points: points}, {Name: nasty + "\x00", Points: points}},
			Marks: []plot.Mark{{X: 1, Text: nasty}}}.File(),
		plot.Bars{Title: nasty, Bars: []plot.Bar{{Name: nasty, Value: 1, Of: 2}}}.File(),
		plot.Histogram{Title: nasty, X: plot.Axis{Name: nasty}, Bins: []plot.Bin{{From: 0, To: 1, Count: 1}}}.File(),
	} {
		wellFormed(t, svg)
		if bytes.Contains(svg, []byte("<script")) {
			t.Errorf("not escaped:\n%s", svg)
		}
	}
}

// TestOdd draws what should not occur: it has to be well-formed still.
func TestOdd(t *testing.T) {
	inf := math.Inf(1)
	for name, points := range map[string][]plot.Point{
		"one":      second(5),
		"same X":   {{1, 1}, {1, 2}, {1, 3}},
		"infinite": second(1, inf, -inf, 2),
		"all gaps": second(plot.Gap, plot.Gap),
		"negative": second(-1e6, 2e6, -3e6),
		"huge":     second(1e300, -1e300),
		"tiny":     second(1e-300, 1e-299),
		"X of NaN": {{plot.Gap, 1}, {1, 2}},
		"X far":    {{-1e17, 1}, {1e17, 2}},
	} {
		for _, x := range []plot.Unit{plot.Number, plot.Elapsed, plot.Clock} {
			for _, y := range []plot.Unit{plot.Number, plot.Rate, plot.Bytes, plot.Nanos, plot.Ratio} {
				t.Run(name, func(t *testing.T) {
					c := plot.Chart{X: plot.Axis{Unit: x}, Y: plot.Axis{Unit: y}, Lines: []plot.Line{{Name: name, Points: points}}}
					wellFormed(t, c.SVG())
					c.Text(80, 10, plot.Braille)
					c.Text(1, 1, plot.ASCII)
				})
			}
		}
	}
}

// TestThin draws a million points with one peak and one gap.
func TestThin(t *testing.T) {
	points := make([]plot.Point, 1_000_000)
	for i := range points {
		points[i] = plot.Point{X: float64(i), Y: float64(i % 7)}
	}
	points[333_333].Y = 1e6
	for i := range 20_000 {
		points[700_000+i].Y = plot.Gap
	}
	svg := string(plot.Chart{X: plot.Axis{Unit: plot.Elapsed}, Lines: []plot.Line{{Name: "rate", Points: points}}}.SVG())
	if len(svg) > 100_000 {
		t.Errorf("%d bytes", len(svg))
	}
	for _, want := range []string{"0 to 1000000", "not measured"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	line := svg[strings.Index(svg, `class="line s0"`):]
	line = line[:strings.Index(line, "/>")]
	if n := strings.Count(line, "M"); n != 2 {
		t.Errorf("the line has %d parts, want 2", n)
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		unit plot.Unit
		v    float64
		want string
	}{
		{plot.Rate, 943.21e6, "943.21 Mbit/s"},
		{plot.Rate, 0, "0 bit/s"},
		{plot.Rate, 999, "999 bit/s"},
		{plot.Bytes, 1.1 * (1 << 30), "1.10 GiB"},
		{plot.Nanos, 1.25e6, "1.25 ms"},
		{plot.Nanos, 90e9, "90.00 s"},
		{plot.Ratio, 0.003, "0.3 %"},
		{plot.Number, -0.001, "-0.001"},
		{plot.Number, plot.Gap, "-"},
		{plot.Elapsed, 12.5, "12.5 s"},
		{plot.Clock, 0, "1970-01-01 00:00:00"},
	} {
		if got := tt.unit.Format(tt.v); got != tt.want {
			t.Errorf("unit %d, %v: %q, want %q", tt.unit, tt.v, got, tt.want)
		}
	}
}

func TestValue(t *testing.T) {
	if v := plot.Value(new(uint64(7))); v != 7 {
		t.Errorf("%v, want 7", v)
	}
	if v := plot.Value[uint64](nil); !math.IsNaN(v) {
		t.Errorf("%v, want a gap", v)
	}
}

func TestSpark(t *testing.T) {
	for _, tt := range []struct {
		values  []float64
		columns int
		letters plot.Letters
		want    string
	}{
		{[]float64{0, 1, 2, 3, 4, 5, 6, 8}, 8, plot.Braille, "▁▂▃▄▅▆▇█"},
		{[]float64{0, 8, plot.Gap, 4}, 4, plot.ASCII, "_@ +"},
		{[]float64{1, 9, 2, 3}, 2, plot.Braille, "█▃"},
		{[]float64{0, 0}, 5, plot.Braille, "▁▁"},
		{nil, 5, plot.Braille, ""},
		{[]float64{1}, -1, plot.Braille, ""},
	} {
		if got := plot.Spark(tt.values, tt.columns, tt.letters); got != tt.want {
			t.Errorf("Spark(%v, %d) = %q, want %q", tt.values, tt.columns, got, tt.want)
		}
	}
}
