package selfcheck

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

func TestRun(t *testing.T) {
	var rows []Row
	cases := []Case{{result.TCP, 1, 32768}, {result.TCP, 2, 32768}, {result.UDP, 1, 1450}}
	if err := Run(t.Context(), cases, 100*time.Millisecond, func(r Row) { rows = append(rows, r) }); err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(cases) {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		if r.BitsPerSecond == 0 || r.Sending == "" || r.CPUPerGbit == nil {
			t.Errorf("%s: %+v", r.Name(), r)
		}
		if (r.PacketsPerSecond != nil) != (r.Transport == result.UDP) {
			t.Errorf("%s: packets %v", r.Name(), r.PacketsPerSecond)
		}
	}
}

func TestRunStops(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	stop(enough)
	if err := Run(ctx, Cases, time.Minute, func(Row) {}); !errors.Is(err, enough) {
		t.Errorf("Run = %v", err)
	}
}

func TestKept(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	if _, ok, err := Kept(); ok || err != nil {
		t.Fatalf("figures before the first selfcheck: %v, %v", ok, err)
	}
	f := Figures{Host: "elsewhere", Rows: []Row{{Case: Cases[0], BitsPerSecond: 1}}}
	if _, err := Keep(f); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Kept(); ok || err != nil {
		t.Errorf("another host's figures were taken: %v, %v", ok, err)
	}
}

func TestCeiling(t *testing.T) {
	f := Figures{Rows: []Row{
		{Case: Case{result.TCP, 1, 32768}, BitsPerSecond: 100},
		{Case: Case{result.TCP, 4, 32768}, BitsPerSecond: 160},
		{Case: Case{result.UDP, 1, 64}, BitsPerSecond: 20},
		{Case: Case{result.UDP, 1, 1450}, BitsPerSecond: 110},
	}}
	for _, tt := range []struct {
		transport     result.Transport
		streams, size int
		want          uint64
	}{
		{result.TCP, 1, 32768, 100}, {result.TCP, 20, 32768, 160},
		{result.UDP, 1, 1472, 110}, {result.UDP, 1, 1000, 20}, {result.UDP, 1, 28, 0},
	} {
		if got, ok := f.Ceiling(tt.transport, tt.streams, tt.size); got != tt.want || ok != (tt.want > 0) {
			t.Errorf("%s, %d streams, size %d: %d, %v, want %d", tt.transport, tt.streams, tt.size, got, ok, tt.want)
		}
	}
}
