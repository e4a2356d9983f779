package cli

import (
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	for _, shown := range []bool{true, false} {
		var b strings.Builder
		p := progress{to: &b, shown: shown, of: 2}
		p.at(1)
		p.end()
		if want := map[bool]string{true: "\r1 of 2 done \r\x1b[K"}[shown]; b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}
