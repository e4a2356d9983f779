package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the programs themselves, by the name that it
// is called by, so that scripts and tests run them as processes.
func TestMain(m *testing.M) {
	programs := map[string]func(){}
	for _, name := range []string{"sonde", "btest", "btest-client", "btest-server", "btest-server-pro", "rperf", "iperf3", "ptpserver", "ptpclient", "ptptest"} {
		programs[name] = func() { os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
	}
	testscript.Main(atOnce{m}, programs)
}

// atOnce runs more tests in parallel than the default, unless told otherwise.
type atOnce struct{ m *testing.M }

// Run implements testscript.TestingM.
func (a atOnce) Run() int {
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		flag.Set("test.parallel", strconv.Itoa(2+runtime.GOMAXPROCS(0)))
	}
	return a.m.Run()
}

// TestScripts runs the scripts in testdata. Beside the commands of testscript
// they have:
//
//	status N PROGRAM ARGS...   run it; its exit status must be N
//	start NAME PROGRAM ARGS... run it in the background, with its output in
//	                           NAME.out and NAME.err; if it is a server or a
//	                           recorder, wait until it listens, on $NAME
//	until FILE PATTERN         wait until the file has a match
//	signal NAME INT|TERM|KILL  send a signal
//	ended NAME N               wait for the end; its exit status must be N
//	peer NAME silent|HEX       listen on $NAME, greet with these bytes or not at
//	                           all; $NAME must be quoted in patterns
//	visited NAME               wait until the peer has seen a connection
//	untouched NAME             the peer must have seen none
//	schema json|jsonl|documents|any FILE
//	                           the file, or stdout, must hold one document, or
//	                           objects ending in one, or one document on each
//	                           line, that the schema allows; or any one JSON value
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			s := &stage{vars: e.Vars, jobs: map[string]*job{}, peers: map[string]*peer{}}
			e.Values["stage"] = s
			e.Defer(s.clear)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "ipv6" {
				return false, errors.New("unknown condition " + cond)
			}
			l, err := net.Listen("tcp6", "[::1]:0")
			if err != nil {
				return false, nil
			}
			return true, l.Close()
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": cmdStatus, "start": cmdStart, "until": cmdUntil, "signal": cmdSignal, "ended": cmdEnded,
			"peer": cmdPeer, "visited": cmdVisited, "untouched": cmdUntouched, "schema": cmdSchema,
		},
	})
}

// A stage is what a script has set up.
type stage struct {
	vars  []string
	jobs  map[string]*job
	peers map[string]*peer
}

// A job is a program in the background.
type job struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// A peer is a listener that is no server.
type peer struct {
	l        net.Listener
	accepted atomic.Int32
}

// patience is how long a script waits for anything; far longer than it takes.
const patience = 60 * time.Second

func stageOf(ts *testscript.TestScript) *stage { return ts.Value("stage").(*stage) }

// clear ends what still runs.
func (s *stage) clear() {
	for _, j := range s.jobs {
		j.cmd.Process.Kill()
		<-j.done
	}
	for _, p := range s.peers {
		p.l.Close()
	}
}

// statusOf is the exit status that err of a process tells.
func statusOf(ts *testscript.TestScript, err error) int {
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		ts.Fatalf("%v", err)
	}
	return exit.ExitCode()
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	if got := statusOf(ts, ts.Exec(args[1], args[2:]...)); got != number(ts, args[0]) {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// listening are the command lines of servers and recorders.
var listening = regexp.MustCompile(` server( |$)| record |^(btest|rperf|iperf3) (.* )?-s( |$)|^btest-server|^ptpserver`)

func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGS...")
	}
	s, name := stageOf(ts), args[0]
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), s.vars
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer out.Close()
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	ts.Check(cmd.Start())
	j := &job{cmd: cmd, done: make(chan struct{})}
	s.jobs[name] = j
	go func() { cmd.Wait(); close(j.done) }()
	if listening.MatchString(strings.Join(args[1:], " ")) {
		at := j.await(ts, ts.MkAbs(name+".err"), listens)
		ts.Setenv(name, at[1])
	}
}

// listens matches the line of the log, as text or JSON, that tells an address.
var listens = regexp.MustCompile(`msg"?[=:]"?(?:listening|recording)"?[ ,]"?address"?[=:]"?([^\s"]+)`)

// await waits until the file matches, and fails when the program ends before.
func (j *job) await(ts *testscript.TestScript, file string, pattern *regexp.Regexp) []string {
	for late := time.After(patience); ; {
		over := false
		select {
		case <-late:
			ts.Fatalf("%s: no match for %s in %v:\n%s", file, pattern, patience, readAll(file))
		case <-j.done:
			over = true
		case <-time.After(10 * time.Millisecond):
		}
		text := readAll(file)
		if m := pattern.FindStringSubmatch(text); m != nil {
			return m
		}
		if over {
			ts.Fatalf("%s: the program ended without a match for %s:\n%s", file, pattern, text)
		}
	}
}

func readAll(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}

func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	name, _, _ := strings.Cut(args[0], ".")
	j := stageOf(ts).jobs[name]
	if len(args) != 2 || j == nil {
		ts.Fatalf("usage: until NAME.out|NAME.err PATTERN")
	}
	j.await(ts, ts.MkAbs(args[0]), regexp.MustCompile("(?m)"+args[1]))
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}
	ts.Check(stageOf(ts).jobs[args[0]].cmd.Process.Signal(signals[args[1]]))
}

func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	j := stageOf(ts).jobs[args[0]]
	select {
	case <-j.done:
	case <-time.After(patience):
		ts.Fatalf("%s has not ended in %v", args[0], patience)
	}
	for _, end := range []string{".out", ".err"} {
		ts.Logf("[%s%s]\n%s", args[0], end, readAll(ts.MkAbs(args[0]+end)))
	}
	if got := j.cmd.ProcessState.ExitCode(); got != number(ts, args[1]) {
		ts.Fatalf("%s: exit status %d, want %s", args[0], got, args[1])
	}
}

func cmdPeer(ts *testscript.TestScript, _ bool, args []string) {
	var greeting []byte
	if args[1] != "silent" {
		var err error
		greeting, err = hex.DecodeString(args[1])
		ts.Check(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	p := &peer{l: l}
	stageOf(ts).peers[args[0]] = p
	ts.Setenv(args[0], l.Addr().String())
	go p.serve(greeting)
}

// serve greets whoever comes and reads until they go.
func (p *peer) serve(greeting []byte) {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		go func() {
			defer c.Close()
			if _, err := c.Write(greeting); err == nil {
				io.Copy(io.Discard, c)
			}
		}()
	}
}

func cmdVisited(ts *testscript.TestScript, _ bool, args []string) {
	for late := time.After(patience); stageOf(ts).peers[args[0]].accepted.Load() == 0; {
		select {
		case <-late:
			ts.Fatalf("nobody came to %s in %v", args[0], patience)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func cmdUntouched(ts *testscript.TestScript, _ bool, args []string) {
	if n := stageOf(ts).peers[args[0]].accepted.Load(); n != 0 {
		ts.Fatalf("%s saw %d connections, want none", args[0], n)
	}
}

func cmdSchema(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[1])
	var err error
	switch args[0] {
	case "json":
		err = checkDocument([]byte(text))
	case "jsonl":
		err = checkLines(text)
	case "documents":
		for line := range strings.Lines(text) {
			if err == nil {
				err = checkDocument([]byte(line))
			}
		}
	case "any":
		if !json.Valid([]byte(text)) {
			err = errors.New("not one JSON value")
		}
	default:
		ts.Fatalf("usage: schema json|jsonl|documents|any FILE")
	}
	ts.Check(err)
}

// checkLines holds each line against the schema; the last one must be an end.
func checkLines(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines {
		if err := checkObject([]byte(line), "result-1.json"); err != nil {
			return err
		}
	}
	return checkDocument([]byte(lines[len(lines)-1]))
}

// checkDocument holds b against the schema of a document.
func checkDocument(b []byte) error {
	if n := bytes.Count(bytes.TrimSpace(b), []byte("\n")); n > 0 {
		return errors.New("more than one line where one document is due")
	}
	return checkObject(b, "result-1-end.json")
}

// schemaFiles are where the schemas lie.
var schemaFiles = filepath.Join("..", "..", "docs", "schema")
