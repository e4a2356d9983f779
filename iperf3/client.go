package iperf3

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A Client runs one test against a server. Only Target is needed.
type Client struct {
	Target    string           // host or host:port; the port is 5201 if not given
	UDP       bool             // datagrams instead of TCP
	Direction result.Direction // 0 means Up, as iperf3 has it
	Duration  time.Duration    // of counted data, whole seconds; 0 means 10s, unless Bytes or Blocks end the test
	Bytes     uint64           // ends the test when so many were sent or received
	Blocks    uint64           // the same in writes or datagrams
	Omit      time.Duration    // whole seconds before Duration that are not counted
	Streams   int              // per direction; 0 means 1, at most 128
	Rate      uint64           // bit/s of payload of each stream; 0 is no limit
	Length    int              // bytes per write (TCP) or datagram (UDP); 0 is 131072 or what fits one packet

	NoDelay    bool
	Window     int    // bytes of the sockets' buffers; 0 is the system's
	MSS        int    // 0 is the system's
	TOS        int    // IPv4 TOS or IPv6 traffic class
	Congestion string // empty is the system's
	Repeating  bool   // payload of digits instead of random bytes
	Unbroken   bool   // datagrams are never fragmented

	Title        string // for the server's report
	ExtraData    string
	ServerOutput bool // ask for what the server prints

	Account  string // to log in with; empty does not
	Password string
	Key      *rsa.PublicKey // of the server
	Padding  auth.Padding   // PKCS1 for servers up to 3.16, OAEP from 3.17 on

	Interval     time.Duration    // between results; 0 means 1s
	EachStream   bool             // an Interval for each of several streams, too
	Latency      bool             // probe round trips beside the test, by ICMP echoes
	ConnectTime  time.Duration    // for the control connection; 0 means 3s
	Network      string           // "tcp", "tcp4" or "tcp6"; empty means "tcp"
	Dial         DialFunc         // nil means the system's network
	ListenPacket ListenPacketFunc // nil means the system's network
	// Report gets iperf3's own document piece by piece: the event's name and its
	// data, as wire.AppendEvent writes them. It may be nil.
	Report   func(event string, data any)
	Counters *admit.Counters // live, may be shared; may be nil
	Budget   *admit.Budget   // bytes of payload that the test may move; nil never ends
	Log      *slog.Logger    // nil means none
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
		bad("direction %d: want upload, download or both", c.Direction)
	}
	for what, d := range map[string]time.Duration{"duration": c.Duration, "omit": c.Omit} {
		most := wire.MaxTime * time.Second
		if what == "omit" {
			most = wire.MaxOmit * time.Second
		}
		if d < 0 || d > most || d%time.Second != 0 {
			bad("%s %v: iperf3 carries whole seconds, 0 to %v", what, d, most)
		}
	}
	if ends := count(c.Duration > 0, c.Bytes > 0, c.Blocks > 0); ends > 1 {
		bad("duration, bytes and blocks: only one can end the test")
	}
	if c.Streams < 0 || c.Streams > wire.MaxParallel {
		bad("%d streams: iperf3 carries 1 to %d", c.Streams, wire.MaxParallel)
	}
	least, most := 1, wire.MaxTCPLength
	if c.UDP {
		least, most = wire.MinUDPLength, wire.MaxUDPLength
	}
	if c.Length != 0 && (c.Length < least || c.Length > most) {
		bad("length %d: want %d to %d bytes", c.Length, least, most)
	}
	if c.TOS < 0 || c.TOS > 255 {
		bad("TOS %d: want 0 to 255", c.TOS)
	}
	if c.MSS < 0 || c.MSS > 65535 {
		bad("MSS %d: want 0 to 65535", c.MSS)
	}
	if c.Window < 0 || int64(c.Window) > 1<<31-1 {
		bad("window of %d bytes: want 0 to 2147483647", c.Window)
	}
	if (c.Account != "") != (c.Key != nil) {
		bad("a login needs a user and the server's public key: give both, or neither")
	}
	if c.Interval < 0 || c.Interval > 0 && c.Interval < 100*time.Millisecond {
		bad("interval %v: want 100ms or more", c.Interval)
	}
	return errors.Join(errs...)
}

func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

// withDefaults is c with every default filled in but the length, which depends
// on the path.
func (c Client) withDefaults() Client {
	if c.Direction == 0 {
		c.Direction = result.Up
	}
	if c.Streams == 0 {
		c.Streams = 1
	}
	if c.Duration == 0 && c.Bytes == 0 && c.Blocks == 0 {
		c.Duration = 10 * time.Second
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.ConnectTime == 0 {
		c.ConnectTime = connectTime
	}
	if c.Network == "" {
		c.Network = "tcp"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// parameters are the order for the test.
func (c *Client) parameters(peer netip.Addr, now time.Time) (wire.Parameters, error) {
	p := wire.Parameters{
		UDP: c.UDP, Omit: int(c.Omit / time.Second), Time: int(c.Duration / time.Second), Bytes: c.Bytes, Blocks: c.Blocks,
		Parallel: c.Streams, Reverse: c.Direction == result.Down, Bidirectional: c.Direction == result.Both,
		Length: c.Length, Bandwidth: c.Rate, PacingTimer: 1000,
		MSS: c.MSS, NoDelay: c.NoDelay, Window: c.Window, TOS: c.TOS, Congestion: c.Congestion,
		GetServerOutput: c.ServerOutput, Counters64: c.UDP, RepeatingPayload: c.Repeating, DontFragment: c.Unbroken,
		Title: c.Title, ExtraData: c.ExtraData, ClientVersion: wire.Version,
	}
	switch {
	case p.Length > 0:
	case !c.UDP:
		p.Length = wire.DefaultTCPLength
	case peer.Is4():
		p.Length = 1448 // fits Ethernet, as TCP's segments with time stamps do
	default:
		p.Length = 1428
	}
	if c.Account == "" {
		return p, nil
	}
	var err error
	p.AuthToken, err = auth.NewToken(c.Key, c.Padding, auth.Claim{User: c.Account, Password: c.Password, At: now})
	if err != nil {
		return p, &result.Error{Word: result.CodeUsage, Err: err}
	}
	return p, nil
}
