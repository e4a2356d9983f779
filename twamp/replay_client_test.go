package twamp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// TestClientReplay plays each recorded server to our client, which is dealt the
// recorded client's keys, and compares what it says.
func TestClientReplay(t *testing.T) {
	for _, name := range controlled {
		t.Run(name, func(t *testing.T) { replayClient(t, readRecording(t, name)) })
	}
}

func replayClient(t *testing.T, r recording) {
	setUp := must[wire.SetUpResponse](t)(wire.ParseSetUpResponse(r.message(t, "set-up-response")))
	c := &Client{
		Addr: "192.0.2.1", Mode: setUp.Mode, KeyID: setUp.KeyID, ListenPacket: nil,
		Secret: auth.NewSecret("correct horse battery staple"), Probe: Probe{Count: 1, Wait: 10 * time.Millisecond, Interval: time.Millisecond},
	}
	var opener *auth.Opener
	if r.Derived.AES != "" && setUp.Mode.ControlKeyed() {
		c.random = dealing(t, unhex(t, r.Derived.AES), unhex(t, r.Derived.HMAC), setUp.ClientIV[:])
		opener = auth.NewOpener(r.keys(t), setUp.ClientIV)
	}
	at := netip.MustParseAddrPort("127.0.0.1:40000")
	if b := r.message(t, "request-tw-session"); b != nil {
		q := must[wire.RequestSession](t)(wire.ParseRequestSession(b))
		if q.IPv6 {
			at = netip.MustParseAddrPort("[::1]:40000")
		}
		c.Explicit = q.SenderAddr.IsValid()
		c.DSCP, _ = q.TypeP.DSCP()
		c.Padding = int(q.Padding)
		if q.Padding == 0 {
			c.Padding = -1
		}
		c.Grace = q.Timeout.Duration()
	}
	here, there := net.Pipe()
	c.Dial = func(_ context.Context, _, _ string) (net.Conn, error) { return ended{here, at, at}, nil }
	done := make(chan error, 1)
	go func() { done <- c.measure(t.Context(), newRun(Protocol, nil, 0)) }()
	for i, m := range r.Control {
		there.SetDeadline(time.Now().Add(10 * time.Second))
		if m.Dir == "server>client" {
			if _, err := there.Write(unhex(t, m.Hex)); err != nil {
				t.Fatalf("message %d, %s: %v", i, m.Name, err)
			}
			continue
		}
		hearClient(t, there, m, opener, c.random == nil && setUp.Mode.ControlKeyed())
	}
	there.Close()
	err := <-done
	start := must[wire.ServerStart](t)(wire.ParseServerStart(r.message(t, "server-start")))
	if (err != nil) != (start.Accept != wire.OK) {
		t.Errorf("Run: %v", err)
	}
}

// hearClient reads what our client says and compares it with the recorded one,
// but for ports and the start time.
func hearClient(t *testing.T, conn net.Conn, m recordedMessage, opener *auth.Opener, otherKeys bool) {
	t.Helper()
	want := unhex(t, m.Hex)
	if m.PlainHex != "" {
		want = unhex(t, m.PlainHex)
	}
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		k, err := conn.Read(got[n:])
		if n += k; err != nil {
			t.Fatalf("hear %s: %v", m.Name, err)
		}
	}
	switch m.Name {
	case "set-up-response":
		if otherKeys { // none are recorded
			copy(got[84:], want[84:])
		}
	default:
		if err := opener.Check(got); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
	}
	switch m.Name {
	case "request-tw-session":
		copy(got[12:16], want[12:16])
		copy(got[68:76], want[68:76])
		copy(got[96:], want[96:]) // the HMAC covers both
	case "stop-sessions":
		copy(got[4:8], want[4:8]) // twampy says 0
	}
	if !bytes.Equal(got, want) {
		t.Errorf("our %s is % x\nrecorded was % x", m.Name, got, want)
	}
}

// TestLightReplay plays twampy's light sender to our reflector, and its light
// reflector, which answers with 38 octets, to our sender's book.
func TestLightReplay(t *testing.T) {
	for _, name := range []string{"twampy-light", "twampy-light-pad100"} {
		t.Run(name, func(t *testing.T) {
			r := readRecording(t, name)
			rules := (&Reflector{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).rules(862)
			s := &sender{}
			s.tally = tally{wait: time.Second}
			est := wire.UnknownError
			start := time.Now()
			for i, p := range r.Test {
				b := unhex(t, p.Hex)
				from := netip.MustParseAddrPort(p.Src)
				if p.Dir == "sender>reflector" {
					s.to = netip.MustParseAddrPort(p.Dst)
					q := must[wire.Request](t)(wire.ParseRequest(b, wire.Layout{}))
					if got := s.tally.send(start); got != q.Seq {
						t.Fatalf("packet %d has number %d, not %d", i, q.Seq, got)
					}
					out, of, o := rules.respond(nil, b, arrival{From: from, At: start, TTL: p.TTL, Class: p.TOS}, clock{}, &est)
					reply := must[wire.Reply](t)(wire.ParseReply(out, wire.Layout{}))
					if o != reflected || len(out) != max(len(b), 41) || of.class != p.TOS&^3 || reply.SenderTTL != p.TTL || reply.SenderSent != q.Sent || reply.Seq != q.Seq {
						t.Errorf("packet %d: %v, %d octets, class %#x, %+v", i, o, len(out), of.class, reply)
					}
					continue
				}
				s.take(b, arrival{From: from, At: start.Add(time.Millisecond), TTL: p.TTL})
			}
			report := s.report()
			if report.Lost != 0 || report.Replies != uint64(len(r.Test)/2) || report.HopsOut != nil {
				t.Errorf("%+v", report)
			}
			if !hasRemark(report, "reflector_one_stamp") {
				t.Errorf("remarks %v", report.remarks)
			}
		})
	}
}

// TestOWAMP reads of the two recordings of OWAMP what TWAMP shares: the set-up,
// the acceptance and the start.
func TestOWAMP(t *testing.T) {
	for name, mode := range map[string]wire.Mode{
		"owping-owampd-unauthenticated-raw": wire.Unauthenticated, "owping-owampd-authenticated-raw": wire.Authenticated,
	} {
		t.Run(name, func(t *testing.T) {
			r := readRecording(t, name)
			streams := map[string][]byte{}
			for _, m := range r.Segments {
				streams[m.Dir] = append(streams[m.Dir], unhex(t, m.Hex)...)
			}
			said, heard := streams["client>server"], streams["server>client"]
			take := func(b *[]byte, n int) []byte { out := (*b)[:n]; *b = (*b)[n:]; return out }
			g := must[wire.ServerGreeting](t)(wire.ParseServerGreeting(take(&heard, wire.ServerGreetingLen)))
			if g.Modes != wire.Unauthenticated|wire.Authenticated|wire.Encrypted || auth.CheckCount(g.Count, 0) != nil {
				t.Errorf("greeting %+v", g)
			}
			su := must[wire.SetUpResponse](t)(wire.ParseSetUpResponse(take(&said, wire.SetUpResponseLen)))
			if su.Mode != mode {
				t.Errorf("mode %v", su.Mode)
			}
			rawStart := bytes.Clone(take(&heard, wire.ServerStartLen))
			st := must[wire.ServerStart](t)(wire.ParseServerStart(rawStart))
			if st.Accept != wire.OK {
				t.Errorf("server-start %+v", st)
			}
			var fromClient, fromServer *auth.Opener
			if mode.ControlKeyed() {
				k, ok := testKeys(t).Admit(su.KeyID, g.Salt, g.Challenge, g.Count, su.Token)
				if !ok {
					t.Fatal("the token does not open")
				}
				fromClient, fromServer = auth.NewOpener(k, su.ClientIV), auth.NewOpener(k, st.ServerIV)
				fromServer.Open(rawStart[wire.ServerStartClear:])
			}
			for _, n := range []int{112, 32, 32} { // OWAMP's request, its schedule slot; then Start-Sessions, the same as TWAMP's
				if err := fromClient.Check(take(&said, n)); err != nil {
					t.Fatalf("message of %d octets from the client: %v", n, err)
				}
			}
			last := streams["client>server"][wire.SetUpResponseLen+144:]
			must[wire.StartSessions](t)(wire.ParseStartSessions(last))
			accept, ack := take(&heard, wire.AcceptSessionLen), take(&heard, wire.StartAckLen)
			for _, b := range [][]byte{accept, ack} {
				if err := fromServer.Check(b); err != nil {
					t.Fatalf("message of %d octets from the server: %v", len(b), err)
				}
			}
			a := must[wire.AcceptSession](t)(wire.ParseAcceptSession(accept))
			if a.Accept != wire.OK || a.Port == 0 || a.SID == (wire.SID{}) {
				t.Errorf("accept-session %+v", a)
			}
			if k := must[wire.StartAck](t)(wire.ParseStartAck(ack)); k.Accept != wire.OK {
				t.Errorf("start-ack %+v", k)
			}
		})
	}
}
