package stream

import (
	"context"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// TestPause: a receiver that yields pauses before the first datagram and after
// the last, its Poller tells when it has to go on, and nothing is missed.
func TestPause(t *testing.T) {
	both(t, func(t *testing.T, o sock.PacketOptions) {
		ctx, stop := context.WithCancel(t.Context())
		a, b := packets(t, o)
		p, err := sock.NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		polled := start(func(context.Context) error { p.Run(); return nil }, t.Context())
		r := &Receiver{Conn: b, Parse: parse, Header: 4, Yields: true}
		ready := make(chan struct{}, 1)
		wait := func() {
			if pause := Paused(r.Run(t.Context())); pause == nil || pause.Conn != any(b) || pause.Write {
				t.Fatalf("Run = %+v, want a pause until there is something to read", pause)
			}
			if err := p.Enter(b, false, func() { ready <- struct{}{} }); err != nil {
				t.Fatal(err)
			}
		}
		tended := start(func(ctx context.Context) error {
			for ctx.Err() == nil {
				r.Rest(time.Now())
				time.Sleep(lull / 10)
			}
			return nil
		}, ctx)
		defer func() { stop(); <-tended }()
		wait()
		for n := range 3 {
			select {
			case <-ready:
				t.Fatal("ready, but nothing came")
			case <-time.After(20 * time.Millisecond):
			}
			var data [4]byte
			stamp(data[:], uint64(n), time.Time{})
			if _, err := a.WriteTrain(data[:], len(data), b.LocalAddrPort()); err != nil {
				t.Fatal(err)
			}
			<-ready
			wait()
		}
		if v := r.View(); *v.Packets != 3 || *v.Lost != 0 || *v.Duplicate != 0 {
			t.Errorf("%d packets, %d lost, %d twice; want 3 and no more", *v.Packets, *v.Lost, *v.Duplicate)
		}
		p.Leave(b)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		<-polled
	})
}
