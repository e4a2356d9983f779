package cli

import (
	"context"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A street is a network of one host: what is behind each port. Ports that are
// not there give no answer.
type street map[string]func(net.Conn)

func (s street) dial(ctx context.Context, _, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	serve, ok := s[port]
	switch {
	case !ok:
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	case serve == nil:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	go serve(far)
	return near, nil
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) { c.Write([]byte(text)) }
}

func quiet(net.Conn) {}

func hangsUp(c net.Conn) { c.Close() }

// TestSurvey: who answers, and what is said of those who do not.
func TestSurvey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		host   street
		answer string // the protocols that answer
		code   string // of the error if none does
		text   string // in it
		hint   string
	}{
		{"all", street{"5201": quiet, "5199": quiet, "2000": says("\x01\x00\x00\x00")}, "iperf3 rperf btest", "", "", ""},
		{"a router", street{"5201": nil, "5199": nil, "2000": says("\x01\x00\x00\x00")}, "btest", "", "", ""},
		{"refused", street{"5201": nil, "5199": nil, "2000": nil}, "", result.CodeRefused, "iperf3 (port 5201): connection refused", "the host is up; start"},
		{"nothing", street{}, "", result.CodeUnreachable, "btest (port 2000): no answer within 2s", "is the host up"},
		{"a firewall", street{"5201": nil, "2000": nil}, "", result.CodeRefused, "rperf (port 5199): no answer within 2s", "closed by a firewall"},
		{"others", street{"5201": says("SSH-2.0-x\r\n"), "5199": hangsUp, "2000": says("HTTP/1.1 400")}, "", result.CodeRefused,
			`iperf3 (port 5201): another service: it begins with "SSH-2.0-x\r\n", rperf (port 5199): it closes the connection at once, btest (port 2000): another service: it begins with "HTTP/1.1 400"`, ""},
		{"a mute btest", street{"5201": nil, "5199": nil, "2000": quiet}, "", result.CodeRefused, "does not greet as a btest server does", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				found := survey(t.Context(), tt.host.dial, "tcp", "192.0.2.1")
				if took := time.Since(start); took > lookTime+greetTime {
					t.Errorf("it took %v", took)
				}
				var names []string
				for _, f := range spoken(found) {
					names = append(names, f.protocol)
				}
				if got := strings.Join(names, " "); got != tt.answer {
					t.Errorf("%q answer, want %q", got, tt.answer)
				}
				if tt.answer != "" {
					return
				}
				err := nobody("192.0.2.1", found)
				if result.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) || !strings.Contains(result.HintOf(err), tt.hint) {
					t.Errorf("%s: %v\n%s", result.CodeOf(err), err, result.HintOf(err))
				}
				if !strings.Contains(result.HintOf(err), "sonde btest server; or rperf -s") {
					t.Errorf("the hint does not say how to start one: %s", result.HintOf(err))
				}
			})
		})
	}
}

// TestSurveyNoName: a wrong name is said once, not for each port.
func TestSurveyNoName(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nowhere"}}
	}
	err := nobody("nowhere", survey(t.Context(), dial, "tcp", "nowhere"))
	if err.Error() != "nowhere: no such host" || result.HintOf(err) == "" {
		t.Errorf("%v, hint %q", err, result.HintOf(err))
	}
}

// TestSpeakers: each row is whole.
func TestSpeakers(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range speakers {
		key := strconv.Itoa(int(s.port))
		if s.protocol == "" || s.port == 0 || s.server == "" || s.answers == nil || s.test == nil || seen[key] {
			t.Errorf("%s: %+v", s.protocol, s)
		}
		seen[key] = true
	}
}
