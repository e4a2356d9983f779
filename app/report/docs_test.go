package report

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/result"
)

// TestResultsPage holds docs/results.md against what is written: it has to
// name every field, every column and every reason.
func TestResultsPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/results.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, c := range columns {
		if !strings.Contains(page, "`"+c.name+"`") {
			t.Errorf("the page does not name column %s", c.name)
		}
	}
	if b, err = os.ReadFile(schemas + "/result-1.json"); err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	for name := range properties(schema, map[string]bool{}) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("the page does not name field %s", name)
		}
	}
	for _, reason := range []string{result.ReasonDone, result.ReasonInterrupted, result.ReasonClientGone, result.ReasonServerGone,
		result.ReasonPeerSilent, result.ReasonMaxDuration, result.ReasonShutdown, result.ReasonFailed,
		result.ReasonTooManyConnections, result.ReasonBytesExceeded} {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("the page does not name reason %s", reason)
		}
		if reasons[reason] == "" {
			t.Errorf("the summary has no words for reason %s", reason)
		}
	}
}

// properties collects the names of all fields in a schema.
func properties(v any, into map[string]bool) map[string]bool {
	switch v := v.(type) {
	case map[string]any:
		if fields, ok := v["properties"].(map[string]any); ok {
			for name := range fields {
				into[name] = true
			}
		}
		for _, inner := range v {
			properties(inner, into)
		}
	case []any:
		for _, inner := range v {
			properties(inner, into)
		}
	}
	return into
}
