package btest

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
	"github.com/sonde-net/sonde/result"
)

// TestReplayServer plays the client of every recording that has a data phase
// to our Server and checks what both ends see, second by second, and that no
// defect of a recorded program is imitated.
func TestReplayServer(t *testing.T) {
	t.Parallel()
	for _, name := range dataNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := golden(t, name)
			synctest.Test(t, func(t *testing.T) {
				client, server, l, at := duet(t, strings.Contains(name, "ipv6"))
				var far events
				// Below the 20 Mbit/s of the path: its queue has no end, and what is
				// sent by TCP waits behind the datagrams.
				s := &Server{ListenPacket: server.ListenPacket, Sink: &far, Policy: &admit.Limits{Rate: 10e6}}
				switch {
				case strings.Contains(name, "md5"):
					s.Auth, s.Accounts = AuthMD5, users()
				case strings.Contains(name, "ecsrp5"):
					s.Auth, s.Accounts = AuthSRP5, users()
				}
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := s.Serve(ctx, l); err != nil {
						t.Errorf("Serve = %v", err)
					}
				})
				c := clientPeer(rec, client, at)
				sizes := &packetSizes{}
				c.listen = sizes.watch(c.listen)
				got, err := c.run(ctx)
				if err != nil {
					t.Fatalf("client: %v", err)
				}
				time.Sleep(time.Second)
				stop()
				wg.Wait()
				runs := far.of()
				if len(runs) != 1 {
					t.Fatalf("%d runs, want 1", len(runs))
				}
				checkServed(t, c, &runs[0])
				checkStatuses(t, got.Statuses, c.command, result.Server)
				sizes.check(t, c.command.WriteSize()-wire.Overhead(c.remote.Addr()))
			})
		})
	}
}

// checkServed checks the run that our server saw of a client.
func checkServed(t *testing.T, c *peer, run *seen) {
	t.Helper()
	end := run.check(t)
	if end.Reason != result.ReasonClientGone || end.Err != nil {
		t.Errorf("ended because %q, %v", end.Reason, end.Err)
	}
	wants := seenByClient(c.command.Direction)
	for _, d := range result.Both.Each() {
		if total := end.Local(d); (total != nil) != wants.Has(d) {
			t.Errorf("%v = %v, wanted is %v", d, total, wants)
		}
	}
	if wants.Has(result.Up) {
		up := end.Local(result.Up)
		if up.Bytes != c.tally.Sent {
			t.Errorf("received %d bytes, the client sent %d", up.Bytes, c.tally.Sent)
		}
		if up.Lost != nil && (*up.Lost != 0 || *up.Duplicate != 0 || *up.Reordered != 0) {
			t.Errorf("%d lost, %d duplicates, %d reordered on a path without faults", *up.Lost, *up.Duplicate, *up.Reordered)
		}
	}
	if c.command.ServerRate == 300 { // one packet in 40 s
		return
	}
	checkSeconds(t, run.intervals)
}

// checkSeconds: something moved in each whole second after the first.
func checkSeconds(t *testing.T, all []result.Interval) {
	t.Helper()
	for _, i := range all {
		if i.Seq > 1 && i.End-i.Start == time.Second && i.Local().Bytes == 0 {
			t.Errorf("%v: nothing moved from %v to %v", i.Direction, i.Start, i.End)
		}
	}
	if len(all) < 2 {
		t.Errorf("%d intervals", len(all))
	}
}

// checkStatuses checks what our end told: its statuses are numbered 1, 2, 3 on
// each connection; what they tell is what was received, so nothing in a test
// in which our end only sends. (btest-rs tells what it sent.)
func checkStatuses(t *testing.T, all []wire.Status, cmd wire.Command, role result.Role) {
	t.Helper()
	receives := cmd.Direction&wire.Receive != 0
	if role == result.Client {
		receives = cmd.Direction&wire.Transmit != 0
	}
	conns := 1
	if cmd.Transport == wire.TCP {
		conns = cmd.Count()
		if role == result.Client || !receives {
			if len(all) > 0 {
				t.Errorf("%d statuses, want none", len(all))
			}
			return
		}
	}
	if len(all) < 2*conns {
		t.Errorf("%d statuses in three seconds on %d connections", len(all), conns)
	}
	count := map[uint32]int{}
	var sum uint64
	for _, s := range all {
		count[s.Seq]++
		sum += uint64(s.Received)
		if s.CPU > 100 {
			t.Errorf("status %d tells no CPU load", s.Seq)
		}
	}
	for seq, n := range count {
		if n != conns || seq < 1 || int(seq) > len(count) {
			t.Errorf("status number %d came %d times on %d connections", seq, n, conns)
		}
	}
	if (sum > 0) != receives {
		t.Errorf("the statuses tell of %d bytes", sum)
	}
}

// packetSizes notes the payload sizes and the first number of datagrams.
type packetSizes struct {
	mu    sync.Mutex
	sizes map[int]int
	first uint32
	began bool
}

func (p *packetSizes) watch(listen ListenPacketFunc) ListenPacketFunc {
	return func(ctx context.Context, network, address string) (net.PacketConn, error) {
		c, err := listen(ctx, network, address)
		return watchedPackets{c, p}, err
	}
}

type watchedPackets struct {
	net.PacketConn
	sizes *packetSizes
}

func (w watchedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := w.PacketConn.ReadFrom(b)
	if err == nil {
		w.sizes.note(b[:n])
	}
	return n, from, err
}

func (p *packetSizes) note(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sizes == nil {
		p.sizes = map[int]int{}
	}
	p.sizes[len(b)]++
	if seq, err := wire.ParseSequence(b); err == nil && !p.began {
		p.first, p.began = seq, true
	}
}

// check: all datagrams but the empty ones, which are probes, have the payload
// that makes packets of the asked size. (btest-rs makes larger ones, which
// fragment.) They are numbered from 1.
func (p *packetSizes) check(t *testing.T, payload int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for size, n := range p.sizes {
		if size != 0 && size != payload {
			t.Errorf("%d datagrams of %d bytes, want %d", n, size, payload)
		}
	}
	if p.began && p.first != 1 {
		t.Errorf("the first datagram has number %d", p.first)
	}
}

// TestReplayClient runs our Client against the server of every recording that
// has a data phase, likewise.
func TestReplayClient(t *testing.T) {
	t.Parallel()
	for _, name := range dataNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := golden(t, name)
			asked := scriptOf(rec, transcript.Client).command
			synctest.Test(t, func(t *testing.T) {
				client, server, l, at := duet(t, strings.Contains(name, "ipv6"))
				defer l.Close()
				s := serverPeer(rec, server, l)
				sizes := &packetSizes{}
				s.listen = sizes.watch(s.listen)
				var wg sync.WaitGroup
				var got *tally
				wg.Go(func() {
					var err error
					if got, err = s.run(t.Context()); err != nil {
						t.Errorf("server: %v", err)
					}
				})
				c := &Client{Target: at, UDP: asked.Transport == wire.UDP, Direction: seenByClient(asked.Direction),
					Duration: 3 * time.Second, Connections: asked.Count(), UpRate: 3e6, DownRate: 4e6,
					Account: "test", Password: "secret", Dial: client.DialContext, ListenPacket: client.ListenPacket}
				var near events
				if err := c.Run(t.Context(), &near); err != nil {
					t.Errorf("client: %v", err)
				}
				wg.Wait()
				if got == nil {
					return
				}
				checkCommand(t, c, s)
				run := near.of()[0]
				end := run.check(t)
				if end.Reason != result.ReasonDone {
					t.Errorf("ended because %q", end.Reason)
				}
				if !c.Direction.Has(result.Down) || s.sends() && name != "c-server-tcp-both" {
					checkSeconds(t, run.intervals)
				}
				checkDownload(t, end, s, got)
				checkStatuses(t, got.Statuses, s.command, result.Client)
				sizes.check(t, wire.PayloadLen(wire.DefaultUDPSize, s.remote.Addr()))
			})
		})
	}
}

// checkCommand: the command is as RouterOS says it, whatever the recorded client
// said: zeros are announced as such, and each rate is in its own field.
func checkCommand(t *testing.T, c *Client, s *peer) {
	t.Helper()
	want := wire.Command{Transport: wire.TCP, Direction: seenByServer(c.Direction), Zeros: true, Size: wire.DefaultTCPSize,
		ServerRate: uint32(c.DownRate), ClientRate: uint32(c.UpRate)}
	if c.UDP {
		want.Transport, want.Size = wire.UDP, wire.DefaultUDPSize
	}
	if c.Connections > 1 {
		want.Streams = uint8(c.Connections)
	}
	bytesWant, _ := want.AppendBinary(nil)
	if got := s.heard[place{1, transcript.Client, 0}]; !bytes.Equal(got, bytesWant) {
		t.Errorf("command % x\nwant    % x", got, bytesWant)
	}
}

// checkDownload compares what our client counted with what the server sent and
// told.
func checkDownload(t *testing.T, end result.End, s *peer, got *tally) {
	t.Helper()
	if down := end.Local(result.Down); down != nil && down.Lost != nil && *down.Lost != 0 {
		t.Errorf("%d datagrams lost on a path without faults", *down.Lost)
	}
	far := end.Remote(result.Up)
	switch {
	case end.Up == nil:
	case !s.script.statuses || s.script.mark != nil:
		if far != nil {
			t.Errorf("figures of a server that tells nothing: %+v", far)
		}
	case far == nil:
		t.Error("no figures of the server")
	case far.Bytes > got.Received:
		t.Errorf("the server received %d bytes, we were told of %d", got.Received, far.Bytes)
	}
}
