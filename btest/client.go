package btest

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// MaxConnections is the most connections, or UDP ports, of one test: the
// command has one byte for them.
const MaxConnections = 255

// A Client runs one test against a server. Only Target is needed.
type Client struct {
	Target      string           // host or host:port; the port is 2000 if not given
	UDP         bool             // datagrams instead of TCP
	Direction   result.Direction // 0 means Down, as RouterOS has it
	Duration    time.Duration    // of data; 0 means until ctx ends
	Connections int              // TCP connections or UDP client ports, 0 means 1, at most MaxConnections
	DownRate    uint64           // bit/s the server may send, with headers for UDP; 0 is no limit
	UpRate      uint64           // bit/s we send, likewise
	DownSize    int              // bytes per packet (UDP, with headers) or write (TCP) of the server; 0 is 1500 or 32768
	UpSize      int              // the same of ours
	Random      bool             // random payload instead of zeros
	Account     string           // to log in with, if the server asks
	Password    string
	Interval    time.Duration // between results; 0 means 1s
	EachStream  bool          // an Interval for each of several streams, too
	Latency     bool          // probe round trips beside the test: echoes, or connections to the server's port

	ConnectTime  time.Duration    // for the TCP connection; 0 means 3s
	Network      string           // "tcp", "tcp4" or "tcp6"; empty means "tcp"
	Dial         DialFunc         // nil means the system's network
	ListenPacket ListenPacketFunc // nil means the system's network
	Counters     *admit.Counters  // live, may be shared; may be nil
	Budget       *admit.Budget    // bytes of payload that the test may move; nil never ends
	Log          *slog.Logger     // nil means none
	Trace        Trace            // sees the messages of the TCP connections; may be nil
}

// Validate checks the settings, before anything is sent. The error names the
// value and the way out.
func (c *Client) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := sock.SplitTarget(c.Target, wire.DefaultPort); err != nil {
		errs = append(errs, err)
	}
	if c.Direction > result.Both {
		bad("direction %d: want download, upload or both", c.Direction)
	}
	if c.Duration < 0 {
		bad("duration %v: want 0 (until stopped) or more", c.Duration)
	}
	if c.Connections < 0 || c.Connections > MaxConnections {
		bad("%d connections: btest carries 1 to %d", c.Connections, MaxConnections)
	}
	if c.Interval < 0 || c.Interval > 0 && c.Interval < 100*time.Millisecond {
		bad("interval %v: want 100ms or more", c.Interval)
	}
	low, high := wire.MinTCPSize, 65535
	if c.UDP {
		low, high = wire.MinUDPSize, wire.MaxUDPSize
	}
	for _, s := range []int{c.DownSize, c.UpSize} {
		if s != 0 && (s < low || s > high) {
			bad("size %d: btest allows %d to %d bytes", s, low, high)
		}
	}
	return errors.Join(errs...)
}
