package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// A lab is the programs that are compared.
type lab struct {
	dir  string // temporary, for the C program
	self string
	ref  string // the C program; empty without a compiler
	perf string // iperf3; empty if not installed

	sonde, asPerf string // whole programs, see programs.go
}

func newLab() (*lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, self: self}
	l.perf, _ = exec.LookPath("iperf3") // absent is fine
	if cc, err := exec.LookPath("cc"); err == nil {
		ref := filepath.Join(dir, "ref")
		if out, err := exec.Command(cc, "-O2", "-pthread", "-o", ref, "bench/c/ref.c").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: no C program to compare with: %v\n%s", err, out)
		} else {
			l.ref = ref
		}
	}
	return l, nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// A bout is one thing to measure.
type bout struct {
	name string // such as "tcp 1 stream"
	kind string // "tcp" or "udp"
	n    int    // streams or payload bytes
	rate uint64
}

// A contender is a program that can take part.
type contender struct {
	name  string
	ends  func(b bout, at netip.AddrPort, o options) (receiver, sender []string)
	parse func(out []byte, o options) (figure, error)
	last  bool // the receiver reports only after the sender has ended
	tells bool // the sender reports too, before it ends
	stays bool // the receiver goes on, and reports nothing
}

// contenders are the programs present, with the one we measure first.
func (l *lab) contenders() []contender {
	all := []contender{l.player("sonde", l.self, "as-stream"), l.player("plain Go", l.self, "as-plain")}
	if l.ref != "" {
		all = append(all, l.player("C", l.ref))
	}
	if l.perf != "" {
		all = append(all, contender{name: "iperf3", ends: l.iperf3, parse: parseIperf3, last: true})
	}
	return all
}

// player is a program that understands the arguments of roles.go.
func (l *lab) player(name string, command ...string) contender {
	return contender{
		name: name,
		ends: func(b bout, at netip.AddrPort, o options) (receiver, sender []string) {
			args := func(end string) []string {
				return append(append([]string{}, command...), b.kind+"-"+end, at.Addr().String(), strconv.Itoa(int(at.Port())),
					strconv.Itoa(b.n), strconv.Itoa(int(o.warm.Milliseconds())), strconv.Itoa(int(o.time.Milliseconds())),
					strconv.FormatUint(b.rate, 10))
			}
			return args("recv"), args("send")
		},
		parse: func(out []byte, _ options) (f figure, err error) { return f, json.Unmarshal(out, &f) },
	}
}

// An outcome is a figure and what it cost.
type outcome struct {
	figure
	cpu     time.Duration // of both processes, from start to end
	foreign float64       // share of the machine that others took
}

func (o outcome) bits() float64 { return float64(o.Bytes) * 8 / o.Seconds }
func (o outcome) pps() float64  { return float64(o.Packets) / o.Seconds }
func (o outcome) cpuPerGbit() float64 {
	return o.cpu.Seconds() / (float64(o.AllBytes) * 8 / 1e9)
}

// try runs one contender once, and again when others took more than 8 % of the
// machine meanwhile.
func (l *lab) try(ctx context.Context, n *network, c contender, b bout, o options) (outcome, error) {
	for again := 0; ; again++ {
		if o.calm {
			awaitCalm(ctx)
		}
		before := readCPU()
		out, err := l.once(ctx, n, c, b, o)
		if err != nil {
			return out, fmt.Errorf("%s %s: %s: %w", n.name, b.name, c.name, err)
		}
		out.foreign = readCPU().foreignSince(before, out.cpu)
		if !o.calm || again == 2 || out.foreign < 0.08 {
			return out, nil
		}
	}
}

// once runs one pair of processes.
func (l *lab) once(ctx context.Context, n *network, c contender, b bout, o options) (out outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.warm+o.time+15*time.Second)
	defer cancel()
	port, err := freePort()
	if err != nil {
		return out, err
	}
	to, from := c.ends(b, netip.AddrPortFrom(n.addr, port), o)
	var said, told, complaint bytes.Buffer
	receiver := exec.CommandContext(ctx, to[0], to[1:]...)
	receiver.Stdout, receiver.Stderr = &said, &complaint
	if err := n.start(receiver, n.receiver); err != nil {
		return out, err
	}
	defer receiver.Process.Kill() // gone already unless we failed
	time.Sleep(150 * time.Millisecond)
	sender := exec.CommandContext(ctx, from[0], from[1:]...)
	sender.Stderr = &complaint
	if c.tells {
		sender.Stdout = &told
	}
	if err := n.start(sender, n.sender); err != nil {
		return out, err
	}
	if c.last || c.tells {
		_ = sender.Wait() // its receiver tells whether it worked
	}
	if c.stays {
		_ = receiver.Process.Signal(os.Interrupt)
	}
	werr := receiver.Wait()
	if c.stays {
		werr = nil // it was interrupted
	}
	if !c.last && !c.tells {
		_ = sender.Process.Kill()
		_ = sender.Wait() // killed
	}
	if werr != nil {
		return out, fmt.Errorf("%w: %s%s", werr, complaint.Bytes(), said.Bytes())
	}
	if out.figure, err = c.parse(append(said.Bytes(), told.Bytes()...), o); err != nil {
		return out, fmt.Errorf("%w in %q", err, said.Bytes())
	}
	for _, p := range []*os.ProcessState{receiver.ProcessState, sender.ProcessState} {
		out.cpu += p.UserTime() + p.SystemTime()
	}
	return out, nil
}

// freePort finds a port that is free for both TCP and UDP at the moment.
func freePort() (uint16, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port), nil
}
