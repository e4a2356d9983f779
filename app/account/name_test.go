package account

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"ann", `"><script>`, "=1+1", "Žanna Ω", "a b", strings.Repeat("x", LongestName), "100%_", "' OR 1=1 --", `\`} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ann", "ann ", "ann\n", "a\x00", "\xff", "a\u202eb", "a\u00a0b", "a\u200bb", "\x1b[31m", "�", "*", strings.Repeat("x", LongestName+1)} {
		if CheckName(bad) == nil {
			t.Errorf("%q is a name", bad)
		}
	}
}

func TestParseWindow(t *testing.T) {
	for p := range Periods {
		for f := range Flows {
			w := Window{p, f}
			if got, err := ParseWindow(p.String(), f.String()); err != nil || got != w {
				t.Errorf("%v %v: %v, %v", p, f, got, err)
			}
		}
	}
	if _, err := ParseWindow("hourly", "combined"); err == nil {
		t.Error("hourly is a period")
	}
}
