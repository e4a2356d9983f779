package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
)

// packets opens two UDP sockets on loopback.
func packets(t testing.TB, o sock.PacketOptions) (a, b sock.PacketConn) {
	t.Helper()
	open := func() sock.PacketConn {
		c, err := sock.ListenPackets(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return open(), open()
}

func stamp(b []byte, seq uint64, _ time.Time) { binary.BigEndian.PutUint32(b, uint32(seq)) }

func parse(b []byte) (Mark, bool) {
	if len(b) < 4 {
		return Mark{}, false
	}
	return Mark{Seq: binary.BigEndian.Uint32(b)}, true
}

// toward is the address of c, for a Sender.
func toward(c sock.PacketConn) func() netip.AddrPort {
	return func() netip.AddrPort { return c.LocalAddrPort() }
}

// both runs every test of UDP over plain calls and over the best that the
// system offers.
func both(t *testing.T, f func(t *testing.T, o sock.PacketOptions)) {
	t.Run("plain", func(t *testing.T) { f(t, sock.PacketOptions{Plain: true}) })
	t.Run("best", func(t *testing.T) { f(t, sock.PacketOptions{}) })
}

// TestUDPCounts: at a rate that any machine moves nothing is lost, and both ends
// count the same.
func TestUDPCounts(t *testing.T) {
	both(t, func(t *testing.T, o sock.PacketOptions) {
		for _, size := range []int{4, 64, 1450, 8192, 40_000, sock.MaxDatagram} {
			a, b := packets(t, o)
			s := &Sender{Conn: a, To: toward(b), Size: size, Stamp: stamp, Overhead: 28, Rate: pace.NewRate(uint64(2000 * 8 * (size + 28)))}
			r := &Receiver{Conn: b, Parse: parse, Header: 4, Overhead: 28}
			ctx, stop := context.WithCancel(t.Context())
			rctx, rstop := context.WithCancel(t.Context())
			sent, received := start(s.Run, ctx), start(r.Run, rctx)
			time.Sleep(100 * time.Millisecond)
			for end := time.Now().Add(10 * time.Second); *s.View().Packets < 20 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			stop()
			if err := <-sent; err != nil {
				t.Errorf("size %d: send: %v", size, err)
			}
			in := s.View()
			for end := time.Now().Add(5 * time.Second); r.View().Bytes < in.Bytes && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			rstop()
			if err := <-received; err != nil {
				t.Errorf("size %d: receive: %v", size, err)
			}
			out := r.View()
			if in.Bytes == 0 || in.Bytes != out.Bytes || *in.Packets != *out.Packets || *in.WireBytes != *out.WireBytes {
				t.Errorf("size %d: sent %d bytes, %d packets, %d on the wire; received %d, %d, %d", size,
					in.Bytes, *in.Packets, *in.WireBytes, out.Bytes, *out.Packets, *out.WireBytes)
			}
			if *out.Lost != 0 || *out.Duplicate != 0 || *out.Reordered != 0 {
				t.Errorf("size %d: lost %d, duplicate %d, reordered %d", size, *out.Lost, *out.Duplicate, *out.Reordered)
			}
		}
	})
}

// TestUDPBudget: the sender stops at the last whole datagram, the receiver soon
// after its end.
func TestUDPBudget(t *testing.T) {
	both(t, func(t *testing.T, o sock.PacketOptions) {
		const size, all = 1000, 500_500
		a, b := packets(t, o)
		s := &Sender{Conn: a, To: toward(b), Size: size, Stamp: stamp, Budget: admit.NewBudget(all, "w", "t"), Rate: pace.NewRate(100e6)}
		r := &Receiver{Conn: b, Parse: parse, Header: 4, Budget: admit.NewBudget(all/2, "w", "t")}
		sent, received := start(s.Run, t.Context()), start(r.Run, t.Context())
		for name, err := range map[string]error{"send": <-sent, "receive": <-received} {
			if _, ok := errors.AsType[*admit.ExceededError](err); !ok {
				t.Errorf("%s = %v, want an ExceededError", name, err)
			}
		}
		if n := s.View().Bytes; n != 500_000 {
			t.Errorf("sent %d bytes of a budget of %d", n, all)
		}
		if n := r.View().Bytes; n < all/2 || n > all/2+smallBatch {
			t.Errorf("received %d bytes of a budget of %d", n, all/2)
		}
	})
}

// TestUDPEnd: a Receiver that hears nothing, and a Sender that has no address
// yet, end within milliseconds of the context.
func TestUDPEnd(t *testing.T) {
	both(t, func(t *testing.T, o sock.PacketOptions) {
		a, b := packets(t, o)
		s := &Sender{Conn: a, To: func() netip.AddrPort { return netip.AddrPort{} }, Size: 100}
		r := &Receiver{Conn: b, Parse: parse, Header: 4}
		ctx, stop := context.WithCancel(t.Context())
		sent, received := start(s.Run, ctx), start(r.Run, ctx)
		time.Sleep(30 * time.Millisecond)
		began := time.Now()
		stop()
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if err := <-received; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("ended after %v", took)
		}
		if n := s.View().Bytes; n != 0 {
			t.Errorf("sent %d bytes to nobody", n)
		}
	})
}

// TestUDPAccept: strangers are not counted, each accepted source is told once.
func TestUDPAccept(t *testing.T) {
	both(t, func(t *testing.T, o sock.PacketOptions) {
		friend, b := packets(t, o)
		stranger, _ := packets(t, o)
		told := 0
		r := &Receiver{
			Conn: b, Parse: parse, Header: 4,
			Accept: func(from netip.AddrPort, _ []byte) bool { return from == friend.LocalAddrPort() },
			Source: func(netip.AddrPort) { told++ },
		}
		ctx, stop := context.WithCancel(t.Context())
		received := start(r.Run, ctx)
		for seq := range 10 {
			p := binary.BigEndian.AppendUint32(nil, uint32(seq))
			for _, c := range []sock.PacketConn{stranger, friend} {
				if _, err := c.WriteTrain(p, 4, b.LocalAddrPort()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for end := time.Now().Add(5 * time.Second); *r.View().Packets < 10 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		stop()
		<-received
		if v := r.View(); *v.Packets != 10 || told != 1 {
			t.Errorf("%d packets counted, source told %d times; want 10 and 1", *v.Packets, told)
		}
	})
}
