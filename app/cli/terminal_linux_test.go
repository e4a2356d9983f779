package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/btest"
)

// A screen is a terminal (pty(7)) with a program at it.
type screen struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu    sync.Mutex
	shown strings.Builder
}

// atTerminal starts a program with a terminal as its standard streams; those
// given are taken instead.
func atTerminal(t *testing.T, environment []string, errs *os.File, program string, args ...string) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo-terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, master: master, cmd: exec.Command(path, args...)}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	if errs != nil {
		s.cmd.Stderr = errs
	}
	s.cmd.Env = append(os.Environ(), append([]string{"TERM=xterm", "NO_COLOR=", "CLICOLOR_FORCE=", "HOME=/no-home"}, environment...)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read()
	t.Cleanup(func() { s.cmd.Process.Kill(); master.Close() })
	return s
}

func (s *screen) read() {
	b := make([]byte, 4096)
	for {
		n, err := s.master.Read(b)
		s.mu.Lock()
		s.shown.Write(b[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// until waits until the screen shows text.
func (s *screen) until(text string) {
	s.t.Helper()
	for late := time.Now().Add(patience); !strings.Contains(s.text(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			s.t.Fatalf("the screen never showed %q:\n%s", text, s.text())
		}
	}
}

// ended waits for the end and returns the status.
func (s *screen) ended() int {
	s.cmd.Wait() // the status says more than its error
	return s.cmd.ProcessState.ExitCode()
}

// echoes reports whether the terminal shows what is typed.
func (s *screen) echoes() bool {
	s.t.Helper()
	state, err := unix.IoctlGetTermios(int(s.master.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// Colours are for a terminal that can show them, unless NO_COLOR says otherwise.
func TestColourAtTerminal(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go new(btest.Server).Serve(t.Context(), l)
	for _, tt := range []struct {
		environment []string
		flag        string
		want        bool
	}{
		{nil, "--color=auto", true},
		{[]string{"NO_COLOR=1"}, "--color=auto", false},
		{[]string{"TERM=dumb"}, "--color=auto", false},
		{[]string{"NO_COLOR=1", "CLICOLOR_FORCE=1"}, "--color=auto", true},
		{[]string{"CLICOLOR_FORCE=1"}, "--color=never", false},
		{[]string{"NO_COLOR=1"}, "--color=always", true},
	} {
		s := atTerminal(t, tt.environment, nil, "sonde", "btest", "client", l.Addr().String(), "--no-latency", "-d", "100ms", tt.flag)
		s.until("why")
		if status := s.ended(); status != 0 {
			t.Errorf("%v %s: exit status %d", tt.environment, tt.flag, status)
		}
		if got := strings.Contains(s.text(), "\x1b[1m--- btest"); got != tt.want {
			t.Errorf("%v %s: coloured %v, want %v", tt.environment, tt.flag, got, tt.want)
		}
	}
}

// A password that is asked for is not shown, and Ctrl-C at the question ends the
// program with the terminal as it was.
func TestPasswordAtTerminal(t *testing.T) {
	t.Parallel()
	s := atTerminal(t, nil, nil, "sonde", "btest", "client", "127.0.0.1:1", "--user", "ann")
	s.until("Password of ann: ")
	for late := time.Now().Add(patience); s.echoes(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the terminal still shows what is typed")
		}
	}
	s.master.WriteString("hidden\n")
	s.until("connection refused")
	if status := s.ended(); status != 1 || strings.Contains(s.text(), "hidden") {
		t.Errorf("exit status %d; the screen shows\n%s", status, s.text())
	}

	s = atTerminal(t, nil, nil, "sonde", "btest", "client", "127.0.0.1:1", "--user", "ann")
	s.until("Password of ann: ")
	for s.echoes() {
		time.Sleep(time.Millisecond)
	}
	s.master.WriteString("\x03") // Ctrl-C
	if status := s.ended(); status != 130 {
		t.Errorf("exit status %d after Ctrl-C, want 130; the screen shows\n%s", status, s.text())
	}
	if !s.echoes() {
		t.Error("the terminal was left without echo")
	}
}

// The screens of the mesh come up, show who is there, and leave the terminal as
// it was; after that a table of what was found stays.
func TestMeshAtTerminal(t *testing.T) {
	t.Parallel()
	const at = "127.0.0.1:13457" // no port that the system gives to others
	hub := atTerminal(t, []string{"LC_ALL=C"}, nil, "sonde", "mesh", "server", "--listen", at, "--tui")
	hub.until("Log output")
	a := atTerminal(t, []string{"NO_COLOR=1"}, nil, "sonde", "mesh", "node", "--server", at, "--name", "alpha", "--tui")
	a.until("answers")
	b := atTerminal(t, nil, nil, "sonde", "mesh", "node", "--server", at, "--name", "beta", "--tui")
	a.until("beta")
	hub.until("beta")
	b.until("direct")
	for _, s := range []*screen{a, b, hub} {
		s.master.WriteString("\t")
		s.until("from")
	}
	if strings.Contains(a.text(), "\x1b[38;5;") {
		t.Error("colours in spite of NO_COLOR")
	}
	b.master.WriteString("q")
	status := b.ended()
	b.until("\x1b[?1049l") // what it wrote last may not have been read yet
	if status != 0 || !b.echoes() {
		t.Errorf("exit status %d after q; the screen shows\n%q", status, b.text())
	}
	b.until("RTT")
	a.master.WriteString("\x03")
	if status := a.ended(); status != 130 {
		t.Errorf("exit status %d after Ctrl-C", status)
	}
	hub.cmd.Process.Signal(syscall.SIGTERM)
	if status := hub.ended(); status != 0 {
		t.Errorf("the server's exit status is %d after SIGTERM", status)
	}
}
