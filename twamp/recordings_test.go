package twamp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A recording is a conversation of two other implementations.
type recording struct {
	Client       string
	SharedSecret *struct{ Passphrase string } `json:"shared_secret"`
	Derived      struct {
		AES  string `json:"aes_session_key"`
		HMAC string `json:"hmac_session_key"`
	}
	Control  []recordedMessage
	Segments []recordedMessage `json:"control_segments"`
	Test     []recordedPacket
}

type recordedMessage struct {
	Dir, Name, Hex string
	PlainHex       string `json:"plain_hex"`
}

type recordedPacket struct {
	Dir, Src, Dst, Hex string
	TTL                uint8  `json:"ip_ttl"`
	TOS                uint8  `json:"ip_tos"`
	PlainHex           string `json:"plain_hex"`
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func readRecording(tb testing.TB, name string) recording {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(b, &r); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return r
}

// message is the first message of that name, in plaintext; nil if there is none.
func (r recording) message(tb testing.TB, name string) []byte {
	for _, m := range r.Control {
		if m.Name == name {
			if m.PlainHex != "" {
				return unhex(tb, m.PlainHex)
			}
			return unhex(tb, m.Hex)
		}
	}
	return nil
}

// must takes the value of a parser that cannot fail here.
func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func (r recording) keys(tb testing.TB) auth.SessionKeys {
	return auth.SessionKeys{AES: auth.Key(unhex(tb, r.Derived.AES)), HMAC: [32]byte(unhex(tb, r.Derived.HMAC))}
}

// dealing hands out octets as if they were random.
func dealing(tb testing.TB, octets ...[]byte) func([]byte) {
	all := bytes.Join(octets, nil)
	return func(b []byte) {
		if len(all) < len(b) {
			tb.Fatalf("%d random octets too few", len(b)-len(all))
		}
		copy(b, all)
		all = all[len(b):]
	}
}

// An ended is a connection with addresses of the test's choice.
type ended struct {
	net.Conn
	local, remote netip.AddrPort
}

func (e ended) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(e.local) }

func (e ended) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(e.remote) }

// controlled are the recordings with a control connection of TWAMP.
var controlled = []string{
	"twping-twampd-unauthenticated", "twping-twampd-unauthenticated-ipv6", "twping-twampd-unauthenticated-dscp-ef-pad200",
	"twping-twampd-unauthenticated-zero-addresses-pad0", "twping-twampd-authenticated", "twping-twampd-encrypted",
	"twping-twampd-mixed", "twping-twampd-authenticated-unknown-keyid", "twampy-controller-vs-twampd-port-ignored",
}

// TestServerReplay says to our server what each recorded client said, gives it
// the recorded server's random numbers and wants the recorded answers, but for
// the time and the port. Then it reflects the recorded packets.
func TestServerReplay(t *testing.T) {
	for _, name := range controlled {
		t.Run(name, func(t *testing.T) { replayServer(t, readRecording(t, name)) })
	}
}

func replayServer(t *testing.T, r recording) {
	greeting := must[wire.ServerGreeting](t)(wire.ParseServerGreeting(r.message(t, "server-greeting")))
	start := must[wire.ServerStart](t)(wire.ParseServerStart(r.message(t, "server-start")))
	octets := [][]byte{greeting.Challenge[:], greeting.Salt[:]}
	setUp := must[wire.SetUpResponse](t)(wire.ParseSetUpResponse(r.message(t, "set-up-response")))
	keyed := setUp.Mode.ControlKeyed() && start.Accept == wire.OK
	if keyed {
		octets = append(octets, start.ServerIV[:])
	}
	if b := r.message(t, "accept-session"); b != nil {
		sid := must[wire.AcceptSession](t)(wire.ParseAcceptSession(b)).SID
		octets = append(octets, sid[4:])
	}
	addr := netip.MustParseAddr("127.0.0.1")
	if b := r.message(t, "request-tw-session"); b != nil && must[wire.RequestSession](t)(wire.ParseRequestSession(b)).IPv6 {
		addr = netip.MustParseAddr("::1")
	}
	s := &Server{Modes: wire.AnySecurity, Keys: testKeys(t), random: dealing(t, octets...)}
	s.prepare()
	here, there := net.Pipe()
	defer here.Close()
	c := serverConnOf(s, there, t)
	c.peer, c.local = netip.AddrPortFrom(addr, 40000), netip.AddrPortFrom(addr, 862)
	done := make(chan error, 1)
	go func() { done <- c.run(t.Context()) }()
	var opener *auth.Opener
	if keyed {
		opener = auth.NewOpener(r.keys(t), start.ServerIV)
	}
	client := &player{t: t, conn: here, opener: opener, refused: start.Accept != wire.OK}
	for i, m := range r.Control {
		switch {
		case m.Dir == "server>client":
			client.hear(m)
		case m.Name == "stop-sessions":
			// The session is needed for the packets, which it would not reflect after the stop.
			reflectRecorded(t, s, r, setUp.Mode)
			client.say(m)
		default:
			client.say(m)
		}
		if t.Failed() {
			t.Fatalf("at message %d, %s", i, m.Name)
		}
	}
	here.Close()
	err := <-done
	switch {
	case r.message(t, "stop-sessions") == nil, strings.Contains(r.Client, "twampy"):
		if err == nil { // a wrong key, or a wrong number of sessions
			t.Error("the server did not mind")
		}
	case err != nil:
		t.Errorf("the server ended with %v", err)
	}
	if len(c.sessions) != 0 {
		t.Errorf("%d sessions left", len(c.sessions))
	}
	closePorts(s)
	c.wg.Wait()
}

// A player plays the recorded client.
type player struct {
	t       *testing.T
	conn    net.Conn
	opener  *auth.Opener
	refused bool
}

func (p *player) say(m recordedMessage) {
	p.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := p.conn.Write(unhex(p.t, m.Hex)); err != nil {
		p.t.Errorf("say %s: %v", m.Name, err)
	}
}

// hear reads an answer and compares it with the recorded one.
func (p *player) hear(m recordedMessage) {
	p.conn.SetDeadline(time.Now().Add(10 * time.Second))
	want := unhex(p.t, m.Hex)
	if m.PlainHex != "" {
		want = unhex(p.t, m.PlainHex)
	}
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		k, err := p.conn.Read(got[n:])
		if n += k; err != nil {
			p.t.Errorf("hear %s: %v", m.Name, err)
			return
		}
	}
	switch m.Name {
	case "server-start":
		p.opener.Open(got[wire.ServerStartClear:])
		if !p.refused {
			copy(got[32:40], want[32:40]) // when the server was started
			if p.opener == nil {
				copy(got[16:32], want[16:32]) // an IV that nobody uses
			}
		}
	case "accept-session":
		if err := p.opener.Check(got); err != nil {
			p.t.Error(err)
		}
		copy(got[2:4], want[2:4]) // the port
		if p.opener != nil {
			copy(got[32:], want[32:]) // the HMAC covers both
		}
	case "start-ack":
		if err := p.opener.Check(got); err != nil {
			p.t.Error(err)
		}
	}
	if !bytes.Equal(got, want) {
		p.t.Errorf("heard %s % x\nwant % x", m.Name, got, want)
	}
}

// reflectRecorded hands the recorded requests to the one session of s and
// compares its replies with the recorded ones.
func reflectRecorded(t *testing.T, s *Server, r recording, mode wire.Mode) {
	t.Helper()
	var session *session
	for _, one := range s.ports.at {
		for _, s := range one.sessions {
			session = s
		}
	}
	if session == nil {
		t.Fatal("no session")
	}
	var opener *auth.Packets
	if mode.TestKeyed() {
		opener = auth.NewPackets(r.keys(t).TestKeys(session.sid), mode.Has(wire.Encrypted))
	}
	open := func(b []byte) wire.Reply {
		if opener != nil {
			if err := opener.OpenReply(b); err != nil {
				t.Fatal(err)
			}
		}
		return must[wire.Reply](t)(wire.ParseReply(b, session.layout))
	}
	var mine [][]byte
	replies := 0
	for i, p := range r.Test {
		b := unhex(t, p.Hex)
		if p.Dir == "sender>reflector" {
			session.home.mu.Lock()
			out, o := session.respond(nil, b, arrival{From: session.sender, At: time.Now(), TTL: p.TTL}, clock{})
			session.home.mu.Unlock()
			if o != reflected {
				t.Fatalf("packet %d: %v", i, o)
			}
			mine = append(mine, out)
			continue
		}
		if replies == len(mine) {
			t.Fatalf("packet %d is a reply to nothing", i)
		}
		if len(mine[replies]) != len(b) {
			t.Errorf("packet %d: we reply with %d octets, recorded were %d", i, len(mine[replies]), len(b))
		}
		got, want := open(mine[replies]), open(b)
		want.Sent, want.Received, want.Error = got.Sent, got.Received, got.Error
		if mode.TestKeyed() {
			want.HMAC = got.HMAC // covers the times in mode 4
		}
		if got != want {
			t.Errorf("packet %d: we reply %+v\nrecorded %+v", i, got, want)
		}
		if p.TOS != session.mark {
			t.Errorf("packet %d: we mark %#x, recorded %#x", i, session.mark, p.TOS)
		}
		replies++
	}
}
