package sock

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// once fails the first n calls of a kind with e.
func once(kind Call, n int32, e syscall.Errno) (f func(Call) syscall.Errno, left *atomic.Int32) {
	left = &atomic.Int32{}
	left.Store(n)
	return func(c Call) syscall.Errno {
		if c == kind && left.Add(-1) >= 0 {
			return e
		}
		return 0
	}, left
}

// TestGSORefused: whatever a kernel says when it does not want trains, all
// datagrams leave and the technique tells how.
func TestGSORefused(t *testing.T) {
	for _, tt := range []struct {
		refusals int32
		errno    syscall.Errno
		want     string
	}{
		{1, unix.EINVAL, "gso64"}, // no more than 64 segments
		{2, unix.EINVAL, "sendmmsg"},
		{1, unix.EIO, "sendmmsg"},
		{1, unix.ENOPROTOOPT, "sendmmsg"},
		{1, unix.EOPNOTSUPP, "sendmmsg"},
	} {
		a, b := listenOn(t, "127.0.0.1:0", PacketOptions{}), listenOn(t, "127.0.0.1:0", PacketOptions{})
		buf := make([]byte, 300*28)
		write := func() {
			if n, err := a.WriteTrain(buf, 28, b.LocalAddrPort()); n != 300 || err != nil {
				t.Fatalf("%v: WriteTrain = %d, %v", tt.errno, n, err)
			}
			receive(t, b, 300)
		}
		write()
		f, _ := once(CallSend, tt.refusals, tt.errno)
		Inject(a, f)
		write()
		write()
		if got := a.(*packetSocket).train.technique(); got != tt.want {
			t.Errorf("%v: technique %q, want %q", tt.errno, got, tt.want)
		}
	}
}

// TestSendErrors: what a queue or the path says reaches the caller, with how
// many datagrams had left before.
func TestSendErrors(t *testing.T) {
	for _, e := range []syscall.Errno{unix.ENOBUFS, unix.EMSGSIZE, unix.ECONNREFUSED, unix.EPERM} {
		a, b := listenOn(t, "127.0.0.1:0", PacketOptions{}), listenOn(t, "127.0.0.1:0", PacketOptions{})
		calls := 0
		Inject(a, func(c Call) syscall.Errno {
			if calls++; calls == 2 {
				return e
			}
			return 0
		})
		// One call takes 64 pieces of 128.
		n, err := a.WriteTrain(make([]byte, 9000*28), 28, b.LocalAddrPort())
		if n != 64*128 || !errors.Is(err, e) || IsTooBig(err) != (e == unix.EMSGSIZE) || IsLoss(err) == IsTooBig(err) {
			t.Errorf("WriteTrain = %d, %v; want %d, %v", n, err, 64*128, e)
		}
	}
}

// TestSendQueueFull: a full send buffer is waited for once; then the caller is told.
func TestSendQueueFull(t *testing.T) {
	a, b := listenOn(t, "127.0.0.1:0", PacketOptions{}), listenOn(t, "127.0.0.1:0", PacketOptions{})
	f, left := once(CallSend, 3, unix.EAGAIN)
	Inject(a, f)
	if n, err := a.WriteTrain(make([]byte, 14500), 1450, b.LocalAddrPort()); n != 0 || !IsLoss(err) {
		t.Errorf("WriteTrain = %d, %v; want 0 and EAGAIN", n, err)
	}
	if n, err := a.WriteTrain(make([]byte, 14500), 1450, b.LocalAddrPort()); n != 10 || err != nil {
		t.Errorf("WriteTrain = %d, %v; want 10", n, err)
	}
	if left.Load() > 0 {
		t.Errorf("%d refusals left", left.Load())
	}
	if d, ok := Waited(a); !ok || d == 0 {
		t.Errorf("waited %v, %v", d, ok)
	}
}

// TestReceiveErrors: EINTR and EAGAIN are nobody's business.
func TestReceiveErrors(t *testing.T) {
	for _, e := range []syscall.Errno{unix.EAGAIN, unix.EINTR} {
		a, b := listenOn(t, "127.0.0.1:0", PacketOptions{}), listenOn(t, "127.0.0.1:0", PacketOptions{})
		f, _ := once(CallReceive, 50, e)
		Inject(b, f)
		if _, err := a.WriteTrain(make([]byte, 14500), 1450, b.LocalAddrPort()); err != nil {
			t.Fatal(err)
		}
		receive(t, b, 10)
	}
}

// TestOptionsRefused: without any of the options the socket works, only slower.
func TestOptionsRefused(t *testing.T) {
	deny := func(level, option int) error {
		if option == unix.IP_MTU_DISCOVER && level == unix.IPPROTO_IP {
			return nil // the one promise
		}
		return unix.EPERM
	}
	refuse.Store(&deny)
	defer refuse.Store(nil)
	a, b := listenOn(t, "127.0.0.1:0", PacketOptions{Stamp: true}), listenOn(t, "127.0.0.1:0", PacketOptions{})
	if got, want := b.Technique(), "gso128+recvmmsg"; got != want {
		t.Errorf("technique %q, want %q", got, want)
	}
	if _, err := a.WriteTrain(make([]byte, 14500), 1450, b.LocalAddrPort()); err != nil {
		t.Fatal(err)
	}
	receive(t, b, 10)
}

// TestFragmentsForbidden: a system that would fragment is not used silently.
func TestFragmentsForbidden(t *testing.T) {
	deny := func(int, int) error { return unix.EPERM }
	refuse.Store(&deny)
	defer refuse.Store(nil)
	if c, err := ListenPackets(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), PacketOptions{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("ListenPackets = %v, %v; want EPERM", c, err)
	}
}

// TestDropped: what our own buffer has no room for is counted.
func TestDropped(t *testing.T) {
	a := listenOn(t, "127.0.0.1:0", PacketOptions{})
	b := listenOn(t, "127.0.0.1:0", PacketOptions{ReceiveBuffer: 4096})
	if n, ok := b.Dropped(); n != 0 || !ok {
		t.Fatalf("Dropped = %d, %v before anything came", n, ok)
	}
	for range 100 {
		if _, err := a.WriteTrain(make([]byte, 1000), 1000, b.LocalAddrPort()); err != nil {
			t.Fatal(err)
		}
	}
	came := 0
	b.SetReadDeadline(time.Now().Add(time.Second)) // all is there, but this machine may be busy elsewhere
	for ms := messages(8, 2000); ; {
		got, err := b.ReadBatch(ms)
		if err != nil {
			break
		}
		came += got
	}
	n, _ := b.Dropped()
	if n == 0 || int(n)+came != 100 {
		t.Errorf("%d dropped and %d came of 100", n, came)
	}
}

// TestStamp: the kernel's receive stamp is there when asked for.
func TestStamp(t *testing.T) {
	for _, want := range []bool{false, true} {
		a, b := listenOn(t, "127.0.0.1:0", PacketOptions{}), listenOn(t, "127.0.0.1:0", PacketOptions{Stamp: want})
		before := time.Now()
		if _, err := a.WriteTrain([]byte("x"), 1, b.LocalAddrPort()); err != nil {
			t.Fatal(err)
		}
		ms := messages(1, 100)
		if _, err := b.ReadBatch(ms); err != nil {
			t.Fatal(err)
		}
		if got := !ms[0].At.IsZero(); got != want {
			t.Errorf("stamped: %v, want %v", got, want)
		}
		if late := ms[0].At.Sub(before); want && (late < -time.Second || late > 5*time.Second) {
			t.Errorf("stamped %v after it was sent", late)
		}
	}
}

// TestTooBig: what exceeds the path MTU is refused, not cut in fragments,
// unless that was asked for.
func TestTooBig(t *testing.T) {
	out := narrowNetwork(t)
	for _, fragment := range []bool{false, true} {
		a := out(PacketOptions{Fragment: fragment})
		for _, n := range []int{1, 20} {
			_, err := a.WriteTrain(make([]byte, n*2000), 2000, narrowPeer)
			if IsTooBig(err) == fragment {
				t.Errorf("%d datagrams of 2000 bytes over MTU 1500, fragments %v: %v", n, fragment, err)
			}
		}
	}
}

// TestBulkBeyond: when enough connections are out of the poller, more of them
// work the plain way, and a closed one makes room.
func TestBulkBeyond(t *testing.T) {
	var open []BulkConn
	for range mostDetached + 1 {
		x, y := tcpPair(t)
		defer y.Close()
		b, err := Bulk(x)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		open = append(open, b)
	}
	if got := open[0].Technique(); got == "plain" {
		t.Errorf("the first connection is %s", got)
	}
	if got := open[len(open)-1].Technique(); got != "plain" {
		t.Errorf("the last connection is %s", got)
	}
	open[0].Close()
	x, y := tcpPair(t)
	defer y.Close()
	b, err := Bulk(x)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := b.Technique(); got == "plain" {
		t.Errorf("a connection in the place of a closed one is %s", got)
	}
}

// TestInfo: the kernel's figures are there, for both forms.
func TestInfo(t *testing.T) {
	for _, form := range []func(net.Conn) (BulkConn, error){Bulk, func(c net.Conn) (BulkConn, error) { return newPlainBulk(c), nil }} {
		x, y := tcpPair(t)
		a, err := form(x)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		defer y.Close()
		go func() {
			for buf := make([]byte, 1<<16); ; {
				if _, err := y.Read(buf); err != nil {
					return
				}
			}
		}()
		if err := errors.Join(a.SetNotSentLowat(1<<17), a.SetPacingRate(1e9), a.SetUserTimeout(8*time.Second)); err != nil {
			t.Error(err)
		}
		for range 100 {
			if _, err := a.WriteBlocks(make([]byte, 1<<16), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		info, ok := a.Info()
		if !ok || info.RTT == 0 || info.Cwnd == 0 || info.MSS == 0 || info.Congestion == "" || info.Busy == 0 {
			t.Errorf("%s: Info = %+v, %v", a.Technique(), info, ok)
		}
		if err := a.SetUserTimeout(-time.Second); err == nil {
			t.Error("a negative timeout was set")
		}
		a.Close()
		if _, ok := a.Info(); ok {
			t.Error("Info after Close")
		}
		if err := a.SetReadDeadline(longAgo); err == nil {
			t.Error("a deadline after Close")
		}
	}
}

// TestWriteErrors: interruptions and full buffers are waited out, others end it.
func TestWriteErrors(t *testing.T) {
	x, y := tcpPair(t)
	a, err := Bulk(x)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer y.Close()
	var n int32
	Inject(a, func(c Call) syscall.Errno {
		switch n++; {
		case n < 20:
			return unix.EAGAIN
		case n < 40:
			return unix.EINTR
		case n == 41:
			return unix.EPIPE
		}
		return 0
	})
	if n, err := a.WriteBlocks([]byte("abc"), 9); n != 9 || err != nil {
		t.Errorf("WriteBlocks = %d, %v", n, err)
	}
	if _, err := a.WriteBlocks([]byte("abc"), 9); !errors.Is(err, unix.EPIPE) {
		t.Errorf("WriteBlocks = %v, want EPIPE", err)
	}
	a.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	Inject(a, func(Call) syscall.Errno { return unix.EAGAIN })
	if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write in an endless storm of EAGAIN = %v", err)
	}
}

// TestTrafficClass: the octet is set for the families that the socket carries.
func TestTrafficClass(t *testing.T) {
	const class = 0xb8 // expedited forwarding
	c, err := ListenPackets(t.Context(), netip.AddrPort{}, PacketOptions{TrafficClass: class})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.(*packetSocket)
	options := [][2]int{{unix.IPPROTO_IP, unix.IP_TOS}}
	if p.v6 {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_TCLASS})
	}
	for _, o := range options {
		if got, err := unix.GetsockoptInt(p.fd, o[0], o[1]); got != class || err != nil {
			t.Errorf("option %v is %#x, %v", o, got, err)
		}
	}
}

func TestUnknownInterface(t *testing.T) {
	_, err := ListenPackets(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), PacketOptions{Interface: "nosuch0"})
	if err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("ListenPackets = %v, want an error that names the interface", err)
	}
}

// FuzzControl: whatever lies in the control buffer, a message stays sound.
func FuzzControl(f *testing.F) {
	b := make([]byte, gatherOOB)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_GRO
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(b[unix.CmsgLen(0):], 1450)
	f.Add(b, 60_000)
	f.Add(b[:unix.CmsgLen(4)], 60_000)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		m := Message{Len: n}
		m.control(b)
		if m.Segment != 0 && (m.Segment < 0 || m.Segment >= n) {
			t.Errorf("a segment of %d in %d bytes", m.Segment, n)
		}
	})
}
