//go:build !nano

package cli

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest"
)

// A pane is a terminal that obeys what is written to it, as a person's does: one
// of tmux, with a server of its own.
type pane struct {
	t      *testing.T
	socket string
}

// inPane runs a shell command line in a terminal of a size.
func inPane(t *testing.T, columns, rows int, line string) *pane {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skipf("needs tmux: %v", err)
	}
	folder, err := os.MkdirTemp("", "pane") // short: a socket's path is bounded
	if err != nil {
		t.Fatal(err)
	}
	p := &pane{t, filepath.Join(folder, "s")}
	t.Cleanup(func() {
		p.tmux("kill-server")
		os.RemoveAll(folder)
	})
	out, err := p.tmux("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows), line)
	if err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	return p
}

func (p *pane) tmux(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-u", "-S", p.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "TERM=xterm-256color", "NO_COLOR=", "CLICOLOR_FORCE=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// text is what the terminal shows.
func (p *pane) text() string {
	p.t.Helper()
	out, err := p.tmux("capture-pane", "-p")
	if err != nil {
		p.t.Fatalf("tmux: %v: %s", err, out)
	}
	return out
}

func (p *pane) keys(keys ...string) {
	p.t.Helper()
	if out, err := p.tmux(append([]string{"send-keys"}, keys...)...); err != nil {
		p.t.Fatalf("tmux: %v: %s", err, out)
	}
}

func (p *pane) resize(columns, rows int) {
	p.t.Helper()
	if out, err := p.tmux("resize-window", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows)); err != nil {
		p.t.Fatalf("tmux: %v: %s", err, out)
	}
}

// until waits until what is shown matches.
func (p *pane) until(pattern string) string {
	p.t.Helper()
	want := regexp.MustCompile(pattern)
	for late := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		text := p.text()
		if want.MatchString(text) {
			return text
		}
		if time.Now().After(late) {
			p.t.Fatalf("the terminal never showed %q:\n%s", pattern, text)
		}
	}
}

// shell is a command line that says how it ended and then waits for its end.
func shell(environment string, args ...string) string {
	return "env " + environment + " " + strings.Join(args, " ") + `; echo "status $?"; cat`
}

// The screen of a client at a real terminal: figures, keys, another size, the end,
// and the summary that stays; q stops a test as Ctrl-C does.
func TestClientScreen(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go new(btest.Server).Serve(t.Context(), l)
	program, err := exec.LookPath("sonde")
	if err != nil {
		t.Fatal(err)
	}
	client := func(environment string, args ...string) string {
		return shell(environment, append([]string{program, "btest", "client", l.Addr().String(), "--rate", "1M", "--interval", "200ms", "--tui"}, args...)...)
	}
	p := inPane(t, 80, 24, client("LC_ALL=C.UTF-8", "--no-latency", "--connections", "2", "-d", "0"))
	p.until(`(?s)btest client: download over TCP.*until stopped.*download +- +1\.\d\d Mbit/s.*CPU .*[⠀-⣿]`)
	p.keys("u")
	p.until(`download +- +1\d\d\.\d\d kB/s`)
	p.keys("s")
	p.until("Streams now, 0 to 1")
	p.keys("p")
	p.until("PAUSED")
	p.keys("p")
	p.resize(200, 50)
	p.until(`\A(?:[^\n]*\n){49} q stop`) // the keys stand in the last line
	p.keys("q")
	p.until(`(?s)--- btest download over TCP.*ended +stopped by the user.*status 130`)

	p = inPane(t, 80, 24, client("LC_ALL=C NO_COLOR=1", "-d", "1s"))
	text := p.until(`(?s)over after [1-9]\.\d s.*why .*q leave`)
	if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }) {
		t.Errorf("a locale without UTF-8 shows\n%s", text)
	}
	p.keys("q")
	text = p.until(`(?s)--- btest download over TCP.*why .*status 0`)
	if strings.Contains(text, "q leave") {
		t.Errorf("the screen has not gone:\n%s", text)
	}
}

// Without a terminal, and on one that cannot move its cursor, there are lines; JSON
// and silence exclude a screen.
func TestNoScreen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go new(btest.Server).Serve(t.Context(), l)
	for _, tt := range []struct {
		args   []string
		status int
		said   string
	}{
		{nil, 0, "no terminal for --tui: lines instead"},
		{[]string{"--json"}, 2, "give --output FILE"},
		{[]string{"--quiet"}, 2, "--tui and --quiet exclude each other"},
		{[]string{"--csv", "-"}, 2, "standard output is where the screen is"},
		{[]string{"--every", "10m"}, 2, "--tui and --every exclude each other"},
	} {
		var out, errs strings.Builder
		args := append([]string{"sonde", "btest", "client", l.Addr().String(), "--no-latency", "--rate", "1M", "-d", "200ms", "--tui"}, tt.args...)
		status := Main(args, strings.NewReader(""), &out, &errs)
		if status != tt.status || strings.Count(errs.String(), tt.said) != 1 {
			t.Errorf("%v: status %d, says %s", tt.args, status, errs.String())
		}
		if tt.status == 0 && (!strings.Contains(out.String(), "why") || strings.Contains(out.String(), "\x1b")) {
			t.Errorf("%v: prints\n%s", tt.args, out.String())
		}
	}
	s := atTerminal(t, []string{"TERM=dumb"}, nil, "sonde", "btest", "client", l.Addr().String(), "--no-latency", "--rate", "1M", "-d", "200ms", "--tui")
	s.until("why")
	if status := s.ended(); status != 0 || !strings.Contains(s.text(), "lines instead") || strings.Contains(s.text(), "\x1b[?1049h") {
		t.Errorf("status %d; a dumb terminal shows\n%q", status, s.text())
	}
}

// What is printed while a screen has the terminal comes after it, in its order, and
// is bounded.
func TestHeld(t *testing.T) {
	var b strings.Builder
	h := &held{}
	one, two := h.writer(&b), h.writer(&b)
	fmt.Fprint(one, "1 ")
	fmt.Fprint(two, "2 ")
	fmt.Fprint(one, "3 ")
	if b.Len() > 0 {
		t.Errorf("%q came through", b.String())
	}
	io.WriteString(two, strings.Repeat("x", mostHeld))
	h.release()
	fmt.Fprint(two, "4")
	if want := fmt.Sprintf("1 2 3 %d bytes more were left out while the screen was shown\n4", mostHeld); b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// The screen of a daemon shows who tests just now, and what it has counted; plain
// tables and JSON say the same.
func TestTopScreen(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "log: {level: info}\nserver:\n  btest: {listen: 127.0.0.1:0}\ncontrol: {socket: FOLDER/s}\n")
	at := d.await("err", `listening.*address=(\S+)`)[1]
	program, err := exec.LookPath("sonde")
	if err != nil {
		t.Fatal(err)
	}
	socket := d.file("s")
	p := inPane(t, 80, 24, shell("LC_ALL=C.UTF-8", program, "top", "--control", socket))
	p.until(`(?s)0 running, 0 ended.*none refused.*no test runs.* q leave`)
	var out strings.Builder
	client := exec.Command(program, "btest", "client", at, "--no-latency", "--rate", "1M", "-d", "0")
	client.Stdout, client.Stderr = &out, &out
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer client.Process.Kill()
	p.until(`(?s)1 running.*btest +127\.0\.0\.1 +- +1\.\d\d Mbit/s +- +\d+s`)
	for _, flag := range []string{"--once", "--json"} {
		status, out, errs := topOf(t, "--control", socket, flag)
		if status != 0 || !strings.Contains(out, "127.0.0.1:") || strings.Contains(out, "\x1b") {
			t.Errorf("%s: status %d, %s\n%s", flag, status, errs, out)
		}
	}
	client.Process.Signal(os.Interrupt)
	client.Wait()
	p.until(`(?s)0 running, 1 ended, 0 of them failed.*no test runs`)
	p.resize(200, 50)
	p.until(`\A(?:[^\n]*\n){49} q leave`)
	p.until(`Streams`) // a column of wide screens
	d.cmd.Process.Signal(os.Interrupt)
	<-d.done
	p.until(`as it was at \d\d:\d\d:\d\d`)
	p.keys("q")
	p.until(`status 0`)
}
