package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	btest "github.com/sonde-net/sonde/btest/wire"
	iperf3 "github.com/sonde-net/sonde/iperf3/wire"
	rperf "github.com/sonde-net/sonde/rperf/wire"
	twamp "github.com/sonde-net/sonde/twamp/wire"

	"github.com/sonde-net/sonde/result"
)

// A speaker is a protocol that a host may speak on a port: a row of speakers.
type speaker struct {
	protocol string
	port     port
	server   string // what starts it, for a person
	// answers finds out whether the protocol is spoken at an address; nil means
	// that it is, or why not.
	answers func(ctx context.Context, dial dialFunc, network, address string) error
	test    func(t *trial, target string) phase
}

// dialFunc opens a connection; net.Dialer has one.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// speakers are the protocols that sonde test knows, the best first: iperf3's
// streams pass every NAT, btest may ask for a login.
var speakers = []speaker{
	{"iperf3", iperf3.DefaultPort, "iperf3 -s, or sonde iperf3 server", listensThere, iperf3Phase},
	{"rperf", rperf.DefaultPort, "rperf -s, or sonde rperf server", listensThere, rperfPhase},
	{"btest", btest.DefaultPort, "/tool/bandwidth-server set enabled=yes on RouterOS, or sonde btest server", greetsAsBtest, btestPhase},
}

// lookTime is how long a host has to answer, and greetTime a server to greet.
const (
	lookTime  = 2 * time.Second
	greetTime = time.Second
	quietTime = 100 * time.Millisecond
)

// A finding is what became of the attempt to reach a speaker.
type finding struct {
	speaker
	err error // nil: it answers
}

// survey tries all speakers of a host at once.
func survey(ctx context.Context, dial dialFunc, network, host string) []finding {
	found := make([]finding, len(speakers))
	ctx, cancel := context.WithTimeout(ctx, lookTime+greetTime)
	defer cancel()
	var wg sync.WaitGroup
	for n, s := range speakers {
		wg.Go(func() {
			found[n] = finding{s, s.answers(ctx, dial, network, net.JoinHostPort(host, strconv.Itoa(int(s.port))))}
		})
	}
	wg.Wait()
	return found
}

// errSilentPort says that no answer came from a port.
var errSilentPort = errors.New("no answer within " + lookTime.String())

// dialWithin connects to an address, or says in short why not.
func dialWithin(ctx context.Context, dial dialFunc, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	conn, err := dial(ctx, network, address)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, syscall.ECONNREFUSED
	case timeout != nil && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return nil, errSilentPort
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return nil, name
	}
	return nil, cause(err)
}

// listensThere is for protocols in which the client speaks first: a server
// listens, and says nothing.
func listensThere(ctx context.Context, dial dialFunc, network, address string) error {
	greeting, err := greetingOf(ctx, dial, network, address, quietTime)
	if err == nil && len(greeting) > 0 {
		return fmt.Errorf("another service: it begins with %s", greetingText(greeting))
	}
	return err
}

// greetsAsBtest looks for the greeting of a btest server.
func greetsAsBtest(ctx context.Context, dial dialFunc, network, address string) error {
	greeting, err := greetingOf(ctx, dial, network, address, greetTime)
	switch {
	case err != nil:
		return err
	case len(greeting) == 0:
		return errors.New("it listens, but does not greet as a btest server does")
	case !bytes.HasPrefix(greeting, btest.Hello[:]):
		return fmt.Errorf("another service: it begins with %s", greetingText(greeting))
	}
	return nil
}

// greetingOf is what a server says first within the time, which may be nothing.
func greetingOf(ctx context.Context, dial dialFunc, network, address string, within time.Duration) ([]byte, error) {
	conn, err := dialWithin(ctx, dial, network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	b := make([]byte, 64)
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	n, err := conn.Read(b)
	if timeout, ok := errors.AsType[net.Error](err); n == 0 && err != nil && (!ok || !timeout.Timeout()) {
		return nil, errors.New("it closes the connection at once")
	}
	return b[:n], nil
}

// greetingText shows the first bytes of a greeting.
func greetingText(b []byte) string { return strconv.Quote(string(b[:min(len(b), 16)])) }

// spoken are the findings that answer, in the order of speakers.
func spoken(found []finding) (all []finding) {
	for _, f := range found {
		if f.err == nil {
			all = append(all, f)
		}
	}
	return all
}

// portsText says of each port what was found there.
func portsText(found []finding) string {
	var parts []string
	for _, f := range found {
		part := fmt.Sprintf("%s (port %d): ", f.protocol, f.port)
		if f.err == nil {
			part += "answers"
		} else {
			part += f.err.Error()
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// nobody is the error of a host where nothing answers.
func nobody(host string, found []finding) error {
	for _, f := range found {
		if name, ok := errors.AsType[*net.DNSError](f.err); ok {
			return &result.Error{Word: result.CodeUnreachable, Text: host + ": " + name.Err, Hint: "check the name, or give an address"}
		}
	}
	e := &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("%s: no test server answers: %s, twamp and stamp (port %d): no reply", host, portsText(found), twamp.Port)}
	silent := func(f finding) bool { return errors.Is(f.err, errSilentPort) }
	if slices.ContainsFunc(found, func(f finding) bool { return !silent(f) }) {
		e.Word = result.CodeRefused
	}
	var starts []string
	for _, f := range slices.SortedFunc(slices.Values(found), func(a, b finding) int { return cmp.Compare(a.port, b.port) }) {
		starts = append(starts, f.server)
	}
	start := "start a server there: " + strings.Join(starts, "; or ") + "; or, for delay and loss, sonde twamp server"
	switch {
	case e.Word == result.CodeUnreachable:
		e.Hint = "is the host up, and does a firewall let one of these ports in? Then " + start
	case slices.ContainsFunc(found, silent):
		e.Hint = "the host is up; a port without an answer may be closed by a firewall. Otherwise " + start
	default:
		e.Hint = "the host is up; " + start
	}
	return e
}
