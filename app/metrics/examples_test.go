package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The example rules and the dashboard ask for metrics that there are.
func TestExamples(t *testing.T) {
	rules, err := os.ReadFile("../../packaging/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	queries := regexp.MustCompile(`(?m)^ +(?:expr: .*|  *- on .*|sonde_.*)$`).FindAllString(string(rules), -1)
	board, err := os.ReadFile("../../packaging/grafana/sonde.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Query any } }
	}
	if err := json.Unmarshal(board, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			queries = append(queries, q.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			queries = append(queries, q["query"].(string))
		}
	}
	metric := regexp.MustCompile(`\b(?:sonde|probe)_[a-z_]+\b`)
	seen := 0
	for _, q := range queries {
		for _, name := range metric.FindAllString(q, -1) {
			seen++
			if !known(name) {
				t.Errorf("%s: no metric has the name %s", strings.TrimSpace(q), name)
			}
		}
	}
	if seen < 15 {
		t.Errorf("%d names in all queries: are they found?", seen)
	}
	if known("sonde_rate_bytes_per_second") {
		t.Error("a name that is none passes")
	}
}

// known tells whether name is that of a metric, or of a part of a histogram.
func known(name string) bool {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && slices.Contains(Names(), base) {
			return true
		}
	}
	return false
}
