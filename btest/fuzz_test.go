package btest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
	"github.com/sonde-net/sonde/result"
)

// mostSaid is how much of a recording is a seed.
const mostSaid = 4096

// saidBy is what one side says on the first connection of a recording.
func saidBy(rec *transcript.Recording, side transcript.Side) []byte {
	var all []byte
	for _, e := range rec.Events {
		if e.Kind.TCP() && e.Conn == 1 && e.From == side {
			all = append(all, e.Data...)
			all = append(all, make([]byte, min(max(0, e.Len-int64(len(e.Data))), 100))...)
		}
	}
	return all[:min(len(all), mostSaid)]
}

// sendPieces writes b in pieces whose lengths come from how, then waits a
// little, throws away what comes, and closes. It returns how much came.
func sendPieces(c net.Conn, b []byte, how byte) (came int64) {
	var wg sync.WaitGroup
	wg.Go(func() { came, _ = io.Copy(io.Discard, c) })
	for piece := 1 + int(how); len(b) > 0; b = b[min(piece, len(b)):] {
		if _, err := c.Write(b[:min(piece, len(b))]); err != nil {
			break
		}
		time.Sleep(time.Duration(how%7) * time.Millisecond)
	}
	time.Sleep(3 * time.Second)
	c.Close()
	wg.Wait()
	return came
}

// FuzzServer: whatever a client says, the server goes on, has nothing left of
// it afterwards, and says no more than a login to whoever has not logged in.
func FuzzServer(f *testing.F) {
	for _, name := range goldenNames(f) {
		for auth := range byte(4) {
			f.Add(auth, byte(20), saidBy(golden(f, name), transcript.Client))
		}
	}
	f.Add(byte(0), byte(0), unhex("00 03 01 ff 00 00 ff ff ff ff ff ff ff ff ff ff"))
	f.Add(byte(0), byte(15), unhex("01 03 00 ff ff ff ff ff 01 00 00 00 01 00 00 00 07 80 00 00"))
	f.Add(byte(0), byte(15), unhex("ff ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00"))
	accounts := users()
	f.Fuzz(func(t *testing.T, auth, how byte, said []byte) {
		if len(said) > mostSaid {
			return
		}
		s := &Server{Auth: []Auth{AuthNone, AuthMD5, AuthSRP5, AuthAuto}[auth%4], Policy: &admit.Limits{Rate: 64e3, Duration: 2 * time.Second}}
		if s.Auth != AuthNone {
			s.Accounts = accounts
		}
		inBubble(t, s, func(t *testing.T, b *bubble) {
			c, err := b.client.DialContext(t.Context(), "tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			came := sendPieces(c, said, how)
			b.awaitIdle(t, 15*time.Second)
			if most := int64(wire.HelloLen + wire.ReplyLen + 50 + wire.ReplyLen); s.Auth != AuthNone && came > most {
				t.Errorf("the server said %d bytes to a client that has not logged in", came)
			}
			for _, run := range b.events.of() {
				run.check(t)
			}
		})
	})
}

// FuzzClient: whatever a server says, the client ends, with one End.
func FuzzClient(f *testing.F) {
	for _, name := range goldenNames(f) {
		cmd := scriptOf(golden(f, name), transcript.Client).command
		f.Add(cmd.Transport == wire.UDP, byte(cmd.Direction), byte(cmd.Count()), byte(20), saidBy(golden(f, name), transcript.Server))
	}
	f.Add(true, byte(1), byte(1), byte(0), unhex("01 00 00 00 01 00 00 00 01 00 01 00 00 00 07 fa"))
	f.Add(false, byte(3), byte(9), byte(3), unhex("01 00 00 00 01 ef 77 00 07 80 00 00 01 00 00 00 ff ff ff ff"))
	f.Fuzz(func(t *testing.T, udp bool, direction, n, how byte, said []byte) {
		if len(said) > mostSaid {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			client, _, l, at := duet(t, false)
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() { sendPieces(c, said, how) })
				}
			})
			var got events
			c := &Client{Target: at, UDP: udp, Direction: result.Direction(direction % 4), Connections: int(n % 4), Duration: 2 * time.Second, UpRate: 64e3,
				Account: "test", Password: "secret", Dial: client.DialContext, ListenPacket: client.ListenPacket}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			err := c.Run(ctx, &got)
			l.Close()
			wg.Wait()
			if took := time.Since(start); took > 50*time.Second {
				t.Errorf("took %v", took)
			}
			runs := got.of()
			if len(runs) != 1 || len(runs[0].ends) != 1 || runs[0].late > 0 || len(runs[0].begins) > 1 || runs[0].ends[0].Err != err {
				t.Fatalf("runs %+v, %v", runs, err)
			}
			if len(runs[0].begins) == 1 && len(runs[0].intervals) > 0 {
				runs[0].check(t)
			}
		})
	})
}
