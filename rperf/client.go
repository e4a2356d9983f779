package rperf

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A Client runs one test against a server. Only Target is needed.
type Client struct {
	Target        string           // host or host:port; the port is 5199 if not given
	UDP           bool             // datagrams instead of TCP
	Direction     result.Direction // Up, which is rperf's forward, or Down, its reverse; 0 means Up
	Duration      time.Duration    // of data; 0 means 10s
	Streams       int              // 0 means 1, at most 255
	Rate          uint64           // bit/s of each stream, for UDP with 8 bytes more for each datagram; 0 is no limit
	Length        int              // bytes per write (TCP) or datagram (UDP); 0 is 32768 or 1024
	SendInterval  time.Duration    // between the bursts of a real server in Down; 0 is 50ms. We send evenly
	SendBuffer    int              // of the sender's sockets, bytes; 0 is the system's
	ReceiveBuffer int              // of the receiver's
	NoDelay       bool             // TCP_NODELAY on the streams
	Ports         Ports            // where we receive in Down
	CPUs          []int            // processors that the streams run on, in turn; none: any
	Interval      time.Duration    // between results; 0 means 1s
	EachStream    bool             // an Interval for each of several streams, too
	Latency       bool             // probe round trips beside the test: echoes, or connections to the server's port
	// Classic says nothing of sonde to the server: no exact figures, and in Down
	// the server opens the streams, as rperf does.
	Classic bool

	ConnectTime  time.Duration // for the control connection; 0 means 3s
	Network      string        // "tcp", "tcp4" or "tcp6"; empty means "tcp"
	Dial         DialFunc      // nil means the system's network
	Listen       ListenFunc
	ListenPacket ListenPacketFunc
	// Records gets what rperf would report of each stream: about each second an
	// interval, and that it is over, from both ends. It may be nil; it is called
	// by several goroutines.
	Records  func(Record)
	Counters *admit.Counters // live, may be shared; may be nil
	Budget   *admit.Budget   // bytes of payload that the test may move; nil never ends
	Log      *slog.Logger    // nil means none
}

// A Record is one line of rperf's own report.
type Record struct {
	Server bool // the server's
	Over   bool // the stream has ended at that end; of the Interval only Stream is set
	Failed bool // and not as it should
	wire.Interval
}

// Validate checks the settings, before anything is sent. The error names the
// value and the way out.
func (c *Client) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := sock.SplitTarget(c.Target, wire.DefaultPort); err != nil {
		errs = append(errs, err)
	}
	if c.Direction != 0 && c.Direction != result.Up && c.Direction != result.Down {
		bad("direction %v: rperf runs one way at a time: upload or download", c.Direction)
	}
	if c.Duration < 0 || c.Duration.Seconds() > wire.MaxDuration {
		bad("duration %v: want more than 0, at most %gs", c.Duration, wire.MaxDuration)
	}
	if c.Streams < 0 || c.Streams > wire.MaxStreams {
		bad("%d streams: rperf carries 1 to %d", c.Streams, wire.MaxStreams)
	}
	least, most := wire.MinTCPLength, wire.MaxLength
	if c.UDP {
		least, most = wire.MinUDPLength, sock.MaxDatagram
	}
	if c.Length != 0 && (c.Length < least || c.Length > most) {
		bad("length %d: want %d to %d bytes", c.Length, least, most)
	}
	if c.SendInterval < 0 || c.SendInterval > time.Second {
		bad("send interval %v: want more than 0, at most 1s", c.SendInterval)
	}
	for _, n := range []int{c.SendBuffer, c.ReceiveBuffer} {
		if n < 0 || int64(n) > 1<<31-1 {
			bad("buffer of %d bytes: want 0 to 2147483647", n)
		}
	}
	if c.Interval < 0 || c.Interval > 0 && c.Interval < 100*time.Millisecond {
		bad("interval %v: want 100ms or more", c.Interval)
	}
	return errors.Join(errs...)
}

// withDefaults is c with every default filled in.
func (c Client) withDefaults() Client {
	or := func(n *int, usual int) {
		if *n == 0 {
			*n = usual
		}
	}
	orTime := func(d *time.Duration, usual time.Duration) {
		if *d == 0 {
			*d = usual
		}
	}
	if c.Direction == 0 {
		c.Direction = result.Up
	}
	or(&c.Streams, 1)
	if c.UDP {
		or(&c.Length, wire.DefaultUDPLength)
	}
	or(&c.Length, wire.DefaultTCPLength)
	orTime(&c.Duration, 10*time.Second)
	orTime(&c.SendInterval, wire.DefaultSendInterval)
	orTime(&c.Interval, time.Second)
	orTime(&c.ConnectTime, connectTime)
	if c.Network == "" {
		c.Network = "tcp"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
