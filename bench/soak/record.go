package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/plot"
)

// A sample is what the server has in use at a moment.
type sample struct {
	at                                     time.Duration
	memory, descriptors, goroutines, tests float64
}

// A record is all samples.
type record struct {
	began           time.Time
	samples         []sample
	loaded          int // those while the clients were there
	clients, probes int
}

// watch looks at the server until ctx ends.
func (r *record) watch(ctx context.Context, s *server, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		one, err := s.look()
		if err != nil {
			log.Print(err)
			continue
		}
		one.at = time.Since(r.began)
		r.samples = append(r.samples, one)
	}
}

// look asks the system and the server.
func (s *server) look() (sample, error) {
	var one sample
	proc := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return one, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			one.memory = kib * 1024
		}
	}
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		return one, err
	}
	one.descriptors = float64(len(files))
	answer, err := http.Get("http://" + s.web + "/metrics")
	if err != nil {
		return one, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch {
		case name == "go_goroutines":
			one.goroutines = n
		case strings.HasPrefix(name, "sonde_test_active"):
			one.tests += n
		}
	}
	return one, nil
}

// figures are what is watched.
var figures = []struct {
	name string
	unit plot.Unit
	of   func(sample) float64
}{
	{"memory", plot.Bytes, func(s sample) float64 { return s.memory }},
	{"descriptors", plot.Number, func(s sample) float64 { return s.descriptors }},
	{"goroutines", plot.Number, func(s sample) float64 { return s.goroutines }},
	{"tests", plot.Number, func(s sample) float64 { return s.tests }},
}

// write leaves a chart of each figure and prints a table of them.
func (r *record) write(folder string, t *tally) error {
	fmt.Printf("%d clients, %d probes, %v: %d tests done, %d left in the middle, %d failed\n\n", r.clients, r.probes,
		time.Since(r.began).Round(time.Second), t.done.Load(), t.vanished.Load(), t.failed.Load())
	fmt.Printf("| | second quarter | last quarter | change | at the end, without clients |\n|---|---|---|---|---|\n")
	loaded := r.samples[:r.loaded]
	quarter := len(loaded) / 4
	for _, f := range figures {
		line := plot.Line{Name: f.name}
		for _, s := range r.samples {
			line.Points = append(line.Points, plot.Point{X: s.at.Seconds(), Y: f.of(s)})
		}
		c := plot.Chart{Title: "soak: " + f.name, X: plot.Axis{Unit: plot.Elapsed}, Y: plot.Axis{Unit: f.unit}, Lines: []plot.Line{line}}
		if err := os.WriteFile(filepath.Join(folder, "soak-"+f.name+".svg"), c.File(), 0o644); err != nil {
			return err
		}
		if quarter == 0 || len(r.samples) == r.loaded {
			continue // too short to tell
		}
		before, after := mean(loaded[quarter:2*quarter], f.of), mean(loaded[3*quarter:], f.of)
		fmt.Printf("| %s | %s | %s | %+.1f %% | %s |\n", f.name, f.unit.Format(before), f.unit.Format(after), 100*(after/before-1), f.unit.Format(f.of(r.samples[len(r.samples)-1])))
	}
	return nil
}

func mean(samples []sample, of func(sample) float64) float64 {
	var sum float64
	for _, s := range samples {
		sum += of(s)
	}
	return sum / float64(len(samples))
}
