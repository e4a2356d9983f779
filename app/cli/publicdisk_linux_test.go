//go:build !nano

package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// aDisk is a small one of its own.
func aDisk(t *testing.T) string {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// TestDiskIsFull: a disk that is full in the middle of a test ends it with what was in
// hand, refuses the next one, and serves again when there is room; what was moved
// meanwhile is booked.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := aDisk(t)
	p := openPublic(t, filepath.Join(disk, "sonde.db"), quota.Rules{})
	p.add("ann", dailyBytes(account.Both, 200*megabyte))
	done := make(chan error, 1)
	go func() {
		done <- p.test("ann", btest.Client{Direction: result.Down, DownRate: 80e6, Duration: 60 * time.Second})
	}()
	p.underWay(1)
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 4096); err == nil; {
		_, err = ballast.Write(b)
	}
	ballast.Close()
	if err := <-done; err == nil {
		t.Error("the test ran its full time")
	}
	e := p.end()
	// A slice in hand, what went before, and one more where a page was still free.
	if e.Reason != account.WordStore || e.Moved.Sent > 60*megabyte {
		t.Errorf("%d bytes moved, then %q: %v", e.Moved.Sent, e.Reason, e.Err)
	}
	if err := p.test("ann", btest.Client{Direction: result.Down, Duration: time.Second}); err == nil || len(p.ends) > 0 {
		t.Errorf("the next test: %v", err)
	}
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	if u := p.use("ann"); u.Out != e.Moved.Sent {
		t.Errorf("booked %+v, moved %d", u, e.Moved.Sent)
	}
	if err := p.test("ann", btest.Client{Direction: result.Down, DownRate: 8e6, Duration: 200 * time.Millisecond}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestDiskIsReadOnly: a server does not start on one.
func TestDiskIsReadOnly(t *testing.T) {
	t.Parallel()
	disk := aDisk(t)
	s := openPublic(t, filepath.Join(disk, "sonde.db"), quota.Rules{})
	s.stop()
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sonde", "btest", "server", "--listen", "127.0.0.1:0", "--store", filepath.Join(disk, "sonde.db")).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 6 || !strings.Contains(string(out), "writable by the user") {
		t.Errorf("%v\n%s", err, out)
	}
}
