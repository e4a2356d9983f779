package twamp

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// passedOn passes one connection on to addr. The far end's side of it stays open
// when hangUp is called; the client's is closed.
func passedOn(t *testing.T, addr string) (at string, hangUp func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	came := make(chan net.Conn, 1)
	go func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { server.Close() })
		go io.Copy(server, client)
		go io.Copy(client, server)
		came <- client
	}()
	return l.Addr().String(), func() { (<-came).Close() }
}

// once calls f at the first interval that has replies.
type once struct {
	f    func()
	ends []result.End
}

func (o *once) Put(e result.Event) {
	switch e := e.(type) {
	case result.Interval:
		if o.f != nil && e.RoundTrips.Replies > 0 {
			o.f()
			o.f = nil
		}
	case result.End:
		o.ends = append(o.ends, e)
	}
}

// A server that goes ends the test soon, with what was measured, instead of
// counting what nobody answers as loss for the rest of it.
func TestServerGoes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&Server{}).Serve(ctx, l) }()
	o := &once{f: func() { cancel(); <-done }}
	c := &Client{Addr: l.Addr().String(), Probe: Probe{Count: 1_000_000, Interval: 10 * time.Millisecond, Wait: 100 * time.Millisecond, Every: 50 * time.Millisecond}}
	err = c.Run(t.Context(), o)
	if result.CodeOf(err) != result.CodePeerLost {
		t.Errorf("Run: %v", err)
	}
	if len(o.ends) != 1 || o.ends[0].Reason != result.ReasonServerGone || o.ends[0].RoundTrips[0].Replies == 0 {
		t.Errorf("%+v", o.ends)
	}
}

// A reflector that answers on although the connection is closed is measured on.
func TestReflectorStays(t *testing.T) {
	at, hangUp := passedOn(t, serve(t, &Server{}, "127.0.0.1"))
	o := &once{f: hangUp}
	c := &Client{Addr: at, Probe: Probe{Count: 300, Interval: 10 * time.Millisecond, Wait: 20 * time.Second, Every: 50 * time.Millisecond}}
	if err := c.Run(t.Context(), o); err != nil {
		t.Errorf("Run: %v", err)
	}
	if len(o.ends) != 1 || o.ends[0].RoundTrips[0].Sent != 300 || o.ends[0].RoundTrips[0].Replies != 300 {
		t.Errorf("%+v", o.ends)
	}
}
