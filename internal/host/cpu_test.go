package host

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// procStat writes the first line of proc_stat(5) where gopsutil looks for it.
func procStat(t *testing.T, dir, times string) {
	t.Helper()
	line := fmt.Sprintf("cpu  %s\nintr 1\n", times)
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBusy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads a made-up /proc/stat, which only Linux has")
	}
	dir := t.TempDir()
	t.Setenv("HOST_PROC", dir)
	c := NewCPU()
	steps := []struct {
		name  string
		times string // user nice system idle iowait irq softirq steal guest guest_nice, in 1/100 s
		want  float64
		ok    bool
	}{
		{"first look", "100 0 100 800 0 0 0 0 0 0", 0, false},
		{"half busy", "125 0 125 850 0 0 0 0 0 0", 50, true},
		{"waiting for a disk is idle", "135 0 125 850 90 0 0 0 0 0", 10, true},
		{"all kinds of busy", "145 10 135 860 90 10 10 10 0 0", 100 * 60.0 / 70, true},
		{"guest time is counted once", "195 10 135 910 90 10 10 10 50 0", 50, true},
		{"no time passed", "195 10 135 910 90 10 10 10 50 0", 0, false},
		{"iowait ran backwards", "205 10 135 910 85 10 10 10 50 0", 100, true},
		{"counters started again", "1 0 1 8 0 0 0 0 0 0", 0, false},
		{"and went on", "1 0 1 108 0 0 0 0 0 0", 0, true},
	}
	for _, s := range steps {
		procStat(t, dir, s.times)
		got, ok := c.Busy()
		if ok != s.ok || got-s.want > 0.01 || s.want-got > 0.01 {
			t.Errorf("%s: %.2f, %v, want %.2f, %v", s.name, got, ok, s.want, s.ok)
		}
	}
	if err := os.Remove(filepath.Join(dir, "stat")); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Busy(); ok {
		t.Errorf("without /proc/stat: %v, want unknown", got)
	}
}

func TestBusyHere(t *testing.T) {
	c := NewCPU()
	if got, ok := c.Busy(); ok {
		t.Errorf("first call: %v, want unknown", got)
	}
	for range 3 {
		if got, ok := c.Busy(); ok && (got < 0 || got > 100) {
			t.Errorf("%v %% busy", got)
		}
	}
}
