package iperf3

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// TestHostile: whatever a client says or leaves unsaid, it is closed in time
// and a good client is served right after.
func TestHostile(t *testing.T) {
	cookie := strings.Repeat("a", 36) + "\x00"
	block := func(text string) string { return string(wire.AppendBlock(nil, []byte(text))) }
	good := block(`{"tcp":true,"time":1,"parallel":1}`)
	for name, said := range map[string]string{
		"nothing":         "",
		"half a cookie":   "abc",
		"no zero":         strings.Repeat("a", 37),
		"HTTP":            "GET / HTTP/1.1\r\nHost: example\r\nUser-Agent: somebody\r\n\r\n",
		"only a cookie":   cookie,
		"huge block":      cookie + "\xff\xff\xff\xff",
		"empty block":     cookie + "\x00\x00\x00\x00",
		"half a block":    cookie + "\x00\x00\x00\x10{",
		"not JSON":        cookie + block("{{{"),
		"deep":            cookie + block(`{"tcp":`+strings.Repeat("[", 8000)),
		"wrong type":      cookie + block(`{"tcp":5,"parallel":"x"}`),
		"129 streams":     cookie + block(`{"tcp":true,"parallel":129}`),
		"no streams come": cookie + good,
		"no UDP comes":    cookie + block(`{"udp":true,"time":1,"parallel":128,"len":16}`),
		"ends at once":    cookie + good + "\x04",
		"gives up":        cookie + good + "\x10",
		"wrong state":     cookie + good + "\x09",
		"unknown state":   cookie + good + "\x63",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, slow, &Server{})
				conn, err := p.client.DialContext(t.Context(), "tcp", serverAddr+":5201")
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if _, err := io.WriteString(conn, said); err != nil {
					t.Error(err)
				}
				conn.SetReadDeadline(start.Add(time.Minute))
				if _, err := io.Copy(io.Discard, conn); err != nil && !sock.IsGone(err) {
					t.Errorf("not closed after %v: %v", time.Since(start), err)
				}
				if took := time.Since(start); took > 2*answerTime+time.Second {
					t.Errorf("closed after %v", took)
				}
				if _, err := p.run(t.Context(), Client{UDP: true, Duration: time.Second, Rate: 1e5}); err != nil {
					t.Errorf("a good client: %v", err)
				}
				conn.Close()
				p.stop()
			})
		})
	}
}

// TestVanish: a client that is gone without a word frees everything, and the
// next test works at once.
func TestVanish(t *testing.T) {
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			t.Run(fmt.Sprintf("udp=%v %v", udp, d), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPair(t, slow, &Server{})
					var wg sync.WaitGroup
					wg.Go(func() {
						r, err := p.run(t.Context(), Client{UDP: udp, Direction: d, Duration: 12 * time.Second, Rate: 1e6})
						e := r.End(t)
						if code := result.CodeOf(err); code != result.CodePeerLost {
							t.Errorf("client: %v (%s)", err, code)
						}
						for _, way := range d.Each() {
							if e.Local(way) == nil || e.Local(way).Bytes < 200_000 {
								t.Errorf("the client lost its report: %+v", e)
							}
						}
					})
					time.Sleep(3 * time.Second)
					p.client.Unplug()
					time.Sleep(10 * time.Second)
					if d != result.Down && p.sink.Ends() != 1 {
						t.Error("the server has not ended the test 10 s after its client vanished")
					}
					wg.Wait()
					time.Sleep(15 * time.Second)
					p.client.Plug()
					if _, err := p.run(t.Context(), Client{UDP: udp, Direction: d, Duration: time.Second, Rate: 1e6}); err != nil {
						t.Errorf("the next test: %v", err)
					}
					p.stop()
				})
			})
		}
	}
}

// TestManyClients: a hundred at once, of all kinds, and none is counted for
// another.
func TestManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, testnet.Link{Rate: 1_000_000_000, Wait: true, Delay: time.Millisecond}, &Server{})
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				c := Client{UDP: n%2 == 0, Direction: []result.Direction{result.Up, result.Down, result.Both}[n%3],
					Streams: 1 + n%2, Duration: 2 * time.Second, Rate: uint64(100_000 + 1000*n), Length: 1000}
				r, err := p.run(t.Context(), c)
				if err != nil {
					t.Errorf("client %d: %v", n, err)
					return
				}
				for _, d := range c.Direction.Each() {
					if total := r.End(t).Total(d); total.Sent.Bytes != total.Received.Bytes {
						t.Errorf("client %d, %v: sent %d, received %d: %v, %v", n, d, total.Sent.Bytes, total.Received.Bytes, show(total.Sent), show(total.Received))
					}
				}
			})
		}
		wg.Wait()
		p.stop()
		if n := p.sink.Ends(); n != 100 {
			t.Errorf("%d tests ended at the server", n)
		}
	})
}

// TestBudget: a test is cut when its budget is gone, not a batch later, and
// what it moved is booked.
func TestBudget(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			const all = 300_000
			books := &testserve.Ledger{Grant: admit.Grant{Budget: admit.NewBudget(all, "user_daily_quota_exceeded", "daily bytes")}}
			p := newPair(t, slow, &Server{Policy: books})
			r, err := p.run(t.Context(), Client{Direction: d, Duration: 10 * time.Second, Rate: 1e6})
			if err == nil || r.End(t).Total(d) == nil {
				t.Errorf("client: %v", err)
			}
			p.stop()
			e := p.sink.End(t)
			if e.Reason != "user_daily_quota_exceeded" || result.ExitCode(e.Err) != 5 {
				t.Errorf("server: %s, %v", e.Reason, e.Err)
			}
			if n := books.Sent + books.Received; n < all*9/10 || n > all+65536 {
				t.Errorf("%v: %d bytes booked of %d", d, n, all)
			}
		})
	}
}

// TestLimitsHold: a client that does not say how fast or how long it will test
// is held to the server's limits; one that says too much is refused.
func TestLimitsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{Policy: limits(800_000, 3*time.Second)})
		r, err := p.run(t.Context(), Client{Direction: result.Down, Duration: 2 * time.Second, Streams: 2})
		if err != nil {
			t.Fatal(err)
		}
		if n := r.End(t).Down.Received.Bytes; n > 210_000 {
			t.Errorf("%d bytes in 2s at 800 kbit/s", n)
		}
		for _, c := range []Client{{Duration: 4 * time.Second}, {Duration: time.Second, Rate: 1e6}, {Duration: time.Second, Rate: 500_000, Streams: 2}} {
			if _, err := p.run(t.Context(), c); result.ExitCode(err) != 5 {
				t.Errorf("%v, %d bit/s: %v", c.Duration, c.Rate, err)
			}
		}
		start := time.Now()
		_, err = p.run(t.Context(), Client{Bytes: 1 << 40, Rate: 100_000})
		if took := time.Since(start); err == nil || took > 6*time.Second {
			t.Errorf("an endless test: %v after %v", err, took)
		}
		p.stop()
	})
}

// TestOurLogin: our client and our server, with both paddings; refusals look
// the same and make the address wait in the end.
func TestOurLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := testKey()
		p := newPair(t, slow, &Server{Key: key, Users: auth.Users{"alice": auth.Hash("alice", "secret")}})
		for _, padding := range []auth.Padding{auth.PKCS1, auth.OAEP} {
			r, err := p.run(t.Context(), Client{Duration: time.Second, Rate: 1e5, Account: "alice", Password: "secret", Key: &key.PublicKey, Padding: padding})
			if err != nil || r.End(t).Up == nil {
				t.Errorf("%v: %v", padding, err)
			}
		}
		for n, c := range []Client{{Account: "alice", Password: "x"}, {Account: "bob", Password: "secret"}, {}} {
			c.Duration = time.Second
			if c.Account != "" {
				c.Key = &key.PublicKey
			}
			if _, err := p.run(t.Context(), c); result.CodeOf(err) != result.CodeAuth || result.ExitCode(err) != 4 {
				t.Errorf("%d: %v", n, err)
			}
		}
		p.stop()
		reasons := 0
		for _, e := range p.sink.All() {
			if n, ok := e.(result.Note); ok && n.Code == result.NoteAuthFailure && n.Login.Reason != "" {
				reasons++
			}
		}
		if reasons != 3 {
			t.Errorf("%d failures in the server's log, want 3", reasons)
		}
	})
}

// TestGuessedAccount: one account's password cannot be guessed from many addresses
// at their speed, and its user is let in again where they were.
func TestGuessedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := testKey()
		server := &Server{Key: key, Users: auth.Users{"alice": auth.Hash("alice", "secret")}}
		p := newPair(t, slow, server)
		try := func(password string) error {
			_, err := p.run(t.Context(), Client{Duration: time.Second, Rate: 1e5, Account: "alice", Password: password, Key: &key.PublicKey})
			for _, e := range p.sink.All() { // as if from another address each time
				if n, ok := e.(result.Note); ok && n.Login != nil {
					server.backoff.Succeeded(n.Login.Peer.Addr())
				}
			}
			return err
		}
		for range 25 {
			try("wrong")
		}
		if err := try("secret"); result.CodeOf(err) != result.CodeAuth {
			t.Errorf("after 25 wrong ones: %v", err)
		}
		time.Sleep(time.Minute)
		if err := try("secret"); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		for range 25 {
			try("wrong")
		}
		if err := try("secret"); err != nil {
			t.Errorf("from where the user has been: %v", err)
		}
		p.stop()
	})
}

// TestInterrupted: what was measured is kept, and the server is told.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2500*time.Millisecond, &result.Error{Word: result.CodeInterrupted, Text: "interrupted"})
		defer cancel()
		r, err := p.run(ctx, Client{Direction: result.Both, Duration: time.Minute, Rate: 1e6})
		if e := r.End(t); result.CodeOf(err) != result.CodeInterrupted || e.Reason != result.ReasonInterrupted || e.Up == nil || e.Down == nil {
			t.Errorf("client: %v, %+v", err, e)
		}
		time.Sleep(time.Second)
		if e := p.sink.End(t); e.Reason != result.ReasonClientGone || e.Up == nil {
			t.Errorf("server: %+v", e)
		}
		p.stop()
	})
}

// TestShutdown: a server that stops ends its tests at once, and says so.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		var wg sync.WaitGroup
		wg.Go(func() {
			r, err := p.run(t.Context(), Client{Duration: time.Minute, Rate: 1e6})
			if e := r.End(t); result.CodeOf(err) != result.CodePeerLost || e.Up == nil || e.Reason != result.ReasonServerGone {
				t.Errorf("client: %v", err)
			}
		})
		time.Sleep(2 * time.Second)
		start := time.Now()
		p.stop()
		if took := time.Since(start); took > time.Second {
			t.Errorf("stopped after %v", took)
		}
		if e := p.sink.End(t); e.Reason != result.ReasonShutdown || e.Up == nil {
			t.Errorf("server: %+v", e)
		}
		wg.Wait()
	})
}

// TestLossCounts: what the network loses, reorders and doubles is told by both
// ends as it was.
func TestLossCounts(t *testing.T) {
	link := testnet.Link{Rate: 20_000_000, Wait: true, Delay: 5 * time.Millisecond, Duplicate: testnet.Every(50), Reorder: testnet.Every(30), Loss: testnet.Every(100)}
	synctest.Test(t, func(t *testing.T) {
		n := &testnet.Network{}
		p := newPairOn(t, n.Host(link, testnet.Link{}, clientAddr), n.Host(testnet.Link{Delay: 5 * time.Millisecond}, testnet.Link{}, serverAddr), &Server{})
		var r *testserve.Record
		var err error
		for range 20 { // the link also loses what opens a test
			if r, err = p.run(t.Context(), Client{UDP: true, Duration: 10 * time.Second, Rate: 1e6, Length: 1000}); err == nil {
				break
			}
		}
		p.stop()
		if err != nil {
			t.Fatal(err)
		}
		total := r.End(t).Up
		sent, v := *total.Sent.Packets, total.Received
		if lost := *v.Lost; lost < int64(sent)/120 || lost > int64(sent)/80 {
			t.Errorf("lost %d of %d packets, every 100th should be", lost, sent)
		}
		if got := p.sink.End(t).Up.Received; *got.Duplicate < sent/110 || *got.Reordered < sent/40 {
			t.Errorf("duplicate %d, reordered %d of %d", *got.Duplicate, *got.Reordered, sent)
		}
	})
}

// TestJSONStream: every line of --json-stream is read by our own parser, and
// the same events make the document of -J, also when there is no server.
func TestJSONStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{JSON: true})
		for _, target := range []string{serverAddr, serverAddr + ":1"} {
			var doc wire.Report
			var lines bytes.Buffer
			c := Client{Target: target, UDP: true, Direction: result.Both, Duration: 2 * time.Second, Rate: 1e6, ServerOutput: true, Report: document(&doc, &lines)}
			_, err := p.run(t.Context(), c)
			out, jerr := wire.AppendReport(nil, &doc)
			if jerr != nil || !json.Valid(out) {
				t.Errorf("document: %v\n%s", jerr, out)
			}
			events := map[string]int{}
			for line := range strings.Lines(lines.String()) {
				e, err := wire.ParseEvent([]byte(line))
				if err != nil || !json.Valid(e.Data) {
					t.Errorf("%s: %v", line, err)
				}
				events[e.Name]++
			}
			if err != nil {
				if events[wire.EventError] != 1 || doc.Error == "" {
					t.Errorf("no server: %v, document says %q", events, doc.Error)
				}
				continue
			}
			if events[wire.EventStart] != 1 || events[wire.EventInterval] < 2 || events[wire.EventEnd] != 1 || events[wire.EventServerDocument] != 1 {
				t.Errorf("events %v", events)
			}
			if doc.End.SumReceivedReverse == nil || doc.End.SumReceivedReverse.Bytes < 240_000 || len(doc.End.Streams) != 2 || !json.Valid(doc.ServerDocument) {
				t.Errorf("document\n%s", out)
			}
		}
		p.stop()
	})
}

// show is a view for a message.
func show(v *result.View) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
