package report

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A SyslogConfig says where events go and how they look. Only Address has to
// be set.
type SyslogConfig struct {
	// Address is udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT; without
	// a scheme it is UDP, without a port 514, or 6514 with TLS.
	Address  string
	Format   SyslogFormat   // RFC3164 if empty
	Tag      string         // the program's name in each message; "sonde" if empty
	Host     string         // our name in each message; the system's if empty
	Location *time.Location // zone of the time stamps; local if nil
	BtestRS  bool           // count as btest-rs does: bytes with headers, 0 for what was not measured
	Secure   Dialer         // connects with TLS; nil trusts the system's authorities
	Queue    int            // most events that wait for the network; 0 means 1024
	Flush    time.Duration  // longest that Close waits for them; 0 means 2 s
	Logger   *slog.Logger   // told when the receiver goes and comes; nil is nobody
}

// A Dialer makes a connection, as net.Dialer.DialContext does.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// A SyslogSink sends logins, and the starts and ends of tests, to a syslog
// receiver: AUTH_SUCCESS, AUTH_FAILURE, TEST_START and TEST_END, with the
// fields that btest-rs gives them. Put never waits: events queue, and are
// dropped and counted when the queue is full.
type SyslogSink struct {
	paper   stationery
	btestRS bool
	flush   time.Duration
	line    *syslogLine
	stop    context.CancelFunc // ends line.run at once
	done    chan struct{}      // closed when line.run has returned
	dropped atomic.Uint64

	mu     sync.Mutex // guards begins, closed, and the sending side of queue
	begins map[result.ID]result.Begin
	closed bool
	queue  chan string
}

// Syslog starts a SyslogSink; Close ends it. It fails only for a configuration
// that cannot work: a receiver that is not there yet is tried again.
func Syslog(c SyslogConfig) (*SyslogSink, error) {
	line, err := newSyslogLine(c)
	if err != nil {
		return nil, err
	}
	format := cmp.Or(c.Format, RFC3164)
	if format != RFC3164 && format != RFC5424 {
		return nil, usage(fmt.Sprintf("syslog format %q", c.Format), "there are %s and %s", RFC3164, RFC5424)
	}
	host := c.Host
	if host == "" {
		if host, err = os.Hostname(); err != nil {
			return nil, &result.Error{Word: result.CodeLocal, Text: "syslog: name of this host", Err: err}
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &SyslogSink{
		paper:   stationery{format: format, host: host, tag: cmp.Or(c.Tag, "sonde"), location: cmp.Or(c.Location, time.Local)},
		btestRS: c.BtestRS,
		flush:   cmp.Or(c.Flush, 2*time.Second),
		line:    line, stop: stop, done: make(chan struct{}),
		begins: map[result.ID]result.Begin{},
		queue:  make(chan string, cmp.Or(c.Queue, 1024)),
	}
	go func() {
		defer close(s.done)
		line.run(ctx, s.queue, func() { s.dropped.Add(1) })
	}()
	return s, nil
}

func usage(what, format string, args ...any) error {
	return &result.Error{Word: result.CodeUsage, Text: what, Err: fmt.Errorf(format, args...)}
}

// Put implements result.Sink.
func (s *SyslogSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.begins[e.Run] = e
		s.send(startLine(e))
	case result.Note:
		if l, ok := loginLine(e); ok {
			s.send(l)
		}
	case result.End:
		if begin, ok := s.begins[e.Run]; ok {
			delete(s.begins, e.Run)
			s.send(endLine(record{begin: begin, end: e, btestRS: s.btestRS}))
		}
	}
}

// send queues an event, or drops it where there is no room. The caller holds
// mu.
func (s *SyslogSink) send(l eventLine) {
	if s.closed {
		s.dropped.Add(1)
		return
	}
	select {
	case s.queue <- s.paper.message(l):
	default:
		s.dropped.Add(1)
	}
}

// Dropped is how many events were lost because the queue was full or closed.
func (s *SyslogSink) Dropped() uint64 { return s.dropped.Load() }

// Close sends what still waits, for as long as Flush allows, and says how many
// events could not be sent in all.
func (s *SyslogSink) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	timer := time.AfterFunc(s.flush, s.stop)
	<-s.done
	timer.Stop()
	s.stop()
	if n := s.Dropped(); n > 0 {
		return &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("syslog %s: %s could not be sent", s.line.url, formatCount(n, "event"))}
	}
	return nil
}

// newSyslogLine reads the address.
func newSyslogLine(c SyslogConfig) (*syslogLine, error) {
	what := fmt.Sprintf("syslog address %q", c.Address)
	where := c.Address
	if !strings.Contains(where, "://") {
		where = "udp://" + where
	}
	u, err := url.Parse(where)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, usage(what, "not an address; give HOST:PORT, udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT")
	}
	line := &syslogLine{url: u.Scheme + "://" + u.Host, log: c.Logger, connect: (&net.Dialer{}).DialContext}
	if line.log == nil {
		line.log = slog.New(slog.DiscardHandler)
	}
	port := cmp.Or(u.Port(), "514")
	switch u.Scheme {
	case "udp", "tcp":
		line.network = u.Scheme
	case "tls":
		line.network, port = "tcp", cmp.Or(u.Port(), "6514")
		if line.connect = c.Secure; c.Secure == nil {
			line.connect = secure
		}
		if line.connect == nil {
			return nil, usage(what, "this small build is without TLS; give tcp://HOST:PORT")
		}
	default:
		return nil, usage(what, "%s is not known; give udp, tcp or tls", u.Scheme)
	}
	if _, err := net.LookupPort(line.network, port); err != nil {
		return nil, usage(what, "no such port: %s; give 1 to 65535", port)
	}
	line.address = net.JoinHostPort(u.Hostname(), port)
	return line, nil
}
