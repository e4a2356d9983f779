package cli

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A password on the command line is blanked as soon as it is read: the list of
// processes, which every user may see, does not show it.
func TestPasswordIsBlanked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const secret = "tr0ub4dor"
	for _, tt := range []struct {
		program string
		args    []string
		want    string
	}{
		{"btest", []string{"-c", l.Addr().String(), "-r", "-a", "ann", "-p", secret}, "-p *********"},
		{"btest", []string{"-c", l.Addr().String(), "-r", "-a", "ann", "-p" + secret}, "-p*********"},
		{"btest", []string{"-c", l.Addr().String(), "-r", "-a", "ann", "-tp", secret}, "-tp *********"},
		{"sonde", []string{"btest", "client", l.Addr().String(), "--user", "ann", "--password=" + secret}, "--password=*********"},
		{"sonde", []string{"btest", "client", l.Addr().String(), "--user", secret, "--authpass", secret}, "--user " + secret + " --authpass *********"},
	} {
		path, err := exec.LookPath(tt.program)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, tt.args...)
		var errs locked
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		shown := ""
		for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			shown = string(bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte{' '}))
			if strings.HasSuffix(shown, tt.want) {
				break
			}
		}
		cmd.Process.Kill()
		cmd.Wait() // says that it was killed
		if !strings.HasSuffix(shown, tt.want) {
			t.Errorf("%s %v: shown as %q, want %q at its end", tt.program, tt.args, shown, tt.want)
		}
		if n := strings.Count(errs.String(), "warning: other users of this machine can read"); n != 1 {
			t.Errorf("%s %v: warned %d times: %q", tt.program, tt.args, n, errs.String())
		}
	}
}
