package btest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// Commands of RouterOS clients, from public captures.
const (
	routerUpload   = "01 01 01 00 00 80 00 00 00 00 00 00 00 00 00 00" // TCP, client transmits
	routerDownload = "01 02 00 00 00 80 00 00 00 00 00 00 00 00 00 00" // TCP, client receives, random data
	routerDefault  = "01 03 01 14 00 80 00 00 00 00 00 00 00 00 00 00" // TCP, both, 20 connections: the default from 6.48
	routerUDP      = "00 03 01 00 dc 05 00 00 00 00 00 00 00 00 00 00" // UDP, both
	routerLarge    = "00 02 01 00 00 fa 00 00 00 00 00 00 00 00 00 00" // UDP, receive, remote-udp-tx-size 64000
	routerSlow     = "00 03 01 00 e8 03 00 00 2c 01 00 00 2c 01 00 00" // UDP, both, size 1000, 300 bit/s each way
	routerFastest  = "01 02 01 00 00 80 00 00 ff ff ff ff 00 00 00 00" // TCP, receive, remote-tx-speed 4294967295
)

// A router is a RouterOS client: it opens connections, joins them by token, and
// sends zeros on all of them whatever the direction.
type router struct {
	t     *testing.T
	b     *bubble
	conns []*hand
	wg    sync.WaitGroup

	mu       sync.Mutex
	data     int64
	statuses [][]wire.Status // of each connection
}

// begin sends a command, logs in if asked, and joins n-1 connections.
func (r *router) begin(command string, n int) {
	first := r.b.greet(r.t)
	first.say(command)
	r.conns = append(r.conns, first)
	reply := first.hear(4)
	if reply[0] == byte(wire.WantSRP5) {
		first.loginSRP5("test", "secret")
		if n := first.hear(1)[0]; n != wire.ConfirmLen {
			r.t.Fatalf("a confirmation of %d bytes", n)
		}
		first.hear(wire.ConfirmLen)
		reply = first.hear(4)
	}
	if reply[0] != 1 || reply[3] != 0 || n == 1 && (reply[1] != 0 || reply[2] != 0) || n > 1 && (reply[1] < 2 || reply[2] == 0) {
		// "test unsupported", as RouterOS says to 01 00 00 00 for several connections.
		r.t.Fatalf("reply % x to a test over %d connections", reply, n)
	}
	for range n - 1 {
		h := r.b.greet(r.t)
		h.say(fmt.Sprintf("%02x %02x 02 00 00 00 00 00 00 00 00 00 00 00 00 00", reply[1], reply[2]))
		h.expect(fmt.Sprintf("01 %02x %02x 00", reply[1], reply[2]))
		r.conns = append(r.conns, h)
	}
}

// run moves data on all TCP connections for some time and closes them.
func (r *router) run(took time.Duration, bytesPerSecond int) {
	r.statuses = make([][]wire.Status, len(r.conns))
	ctx, stop := context.WithTimeout(r.t.Context(), took)
	defer stop()
	for i, h := range r.conns {
		h.SetDeadline(time.Time{})
		r.wg.Go(func() { r.listen(i, h) })
		r.wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := h.Write(make([]byte, bytesPerSecond/100/len(r.conns))); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	<-ctx.Done()
	for _, h := range r.conns {
		h.Close()
	}
	r.wg.Wait()
}

// listen counts data and takes statuses as RouterOS marks them.
func (r *router) listen(i int, h *hand) {
	var s wire.Scanner
	b := make([]byte, 32<<10)
	for {
		n, err := h.Read(b)
		r.mu.Lock()
		r.data += int64(s.Scan(b[:n], func(st wire.Status) { r.statuses[i] = append(r.statuses[i], st) }))
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// TestRouterTCP plays RouterOS's TCP tests to our server.
func TestRouterTCP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, command string
		n             int
		login         bool
	}{
		{"default", routerDefault, 20, false},
		{"default with a login", routerDefault, 20, true},
		{"upload", routerUpload, 1, false},
		{"download", routerDownload, 1, false},
		{"fastest download", routerFastest, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// Below the rate of the path, whose queue has no end.
			s := &Server{Policy: &admit.Limits{Rate: 10e6}}
			if tt.login {
				s.Accounts = users()
			}
			inBubble(t, s, func(t *testing.T, b *bubble) {
				r := &router{t: t, b: b}
				r.begin(tt.command, tt.n)
				r.run(3500*time.Millisecond, 500_000)
				cmd, _ := wire.ParseCommand(unhex(tt.command))
				run := b.events.await(t, 1)
				end := run.check(t)
				if end.Reason != result.ReasonClientGone || end.Err != nil {
					t.Errorf("ended because %q, %v", end.Reason, end.Err)
				}
				checkSeconds(t, run.intervals)
				wants := seenByClient(cmd.Direction)
				if (r.data > 0) != wants.Has(result.Down) {
					t.Errorf("the router received %d bytes in a test %v", r.data, wants)
				}
				// It sends zeros in every direction: they count where they are wanted.
				if (end.Up != nil) != wants.Has(result.Up) {
					t.Errorf("upload %+v in a test %v", end.Up, wants)
				}
				if tt.login && run.begins[0].Login != LoginSRP5 {
					t.Errorf("login %q", run.begins[0].Login)
				}
				r.checkStatuses(wants.Has(result.Up))
			})
		})
	}
}

// checkStatuses: a server that receives tells each second, on each connection,
// what came on that one, with its CPU load.
func (r *router) checkStatuses(due bool) {
	r.t.Helper()
	for i, all := range r.statuses {
		if !due {
			if len(all) > 0 {
				r.t.Errorf("connection %d: statuses in a test that only sends: %+v", i, all)
			}
			continue
		}
		if len(all) < 3 {
			r.t.Errorf("connection %d: %d statuses in 3.5 s", i, len(all))
		}
		for k, s := range all {
			want := 500_000 / len(r.conns)
			if int(s.Seq) != k+1 || s.CPU > 100 || k > 0 && int(s.Received) < want*8/10 || int(s.Received) > want*12/10 {
				r.t.Errorf("connection %d: status %+v, want number %d and about %d bytes", i, s, k+1, want)
			}
		}
	}
}

// TestRouterUDP plays RouterOS's UDP tests to our server: several client ports
// send to the one port that was announced, numbered each for itself or all
// together. What comes is not lost, and what the server sends comes to the
// first port.
func TestRouterUDP(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4, 20} {
		for _, common := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d ports/common=%v", n, common), func(t *testing.T) {
				t.Parallel()
				inBubble(t, &Server{Accounts: users(), Auth: AuthSRP5}, func(t *testing.T, b *bubble) {
					r := &router{t: t, b: b}
					command := unhex(routerUDP)
					if n > 1 {
						command[3] = byte(n)
					}
					copy(command[8:], unhex("40 42 0f 00")) // 1 Mbit/s from the server
					r.begin(fmt.Sprintf("%x", command), 1)
					r.testUDP(n, common)
				})
			})
		}
	}
}

func (r *router) testUDP(n int, common bool) {
	t, h := r.t, r.conns[0]
	port := h.port()
	var sockets []net.PacketConn
	var got []int
	for k := range n {
		c, err := r.b.client.ListenPacket(t.Context(), "udp", fmt.Sprintf("192.0.2.7:%d", int(port)+wire.ClientPort+k))
		if err != nil {
			t.Fatal(err)
		}
		sockets, got = append(sockets, c), append(got, 0)
		r.wg.Go(func() {
			b := make([]byte, 2000)
			for {
				if _, _, err := c.ReadFrom(b); err != nil {
					return
				}
				got[k]++
			}
		})
	}
	to := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: int(port)}
	const perPort = 300
	b := make([]byte, 500)
	for i := range perPort {
		for k, c := range sockets {
			seq := i
			if common {
				seq = i*n + k
			}
			wire.PutSequence(b, uint32(seq))
			c.WriteTo(b, to)
		}
		if i%100 == 99 { // CPU at 100 %, 42 %, 5 %, as RouterOS 6.46.4 was seen to tell
			h.Write(unhex([]string{"07 e4 00 00 01", "07 aa 00 00 02", "07 85 00 00 03"}[i/100] + "00 00 00 50 c3 00 00"))
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.Close()
	for _, c := range sockets {
		c.Close()
	}
	r.wg.Wait()
	run := r.b.events.await(t, 1)
	end := run.check(t)
	up := end.Up.Received
	if *up.Packets != uint64(n*perPort) || *up.Lost != 0 || *up.Duplicate != 0 || *up.Reordered != 0 {
		t.Errorf("%d packets, %d lost, %d duplicates, %d reordered, want %d packets", *up.Packets, *up.Lost, *up.Duplicate, *up.Reordered, n*perPort)
	}
	if got[0] == 0 {
		t.Error("nothing came to the first port")
	}
	for k, n := range got[1:] {
		if n > 0 {
			t.Errorf("%d datagrams to port %d", n, k+1)
		}
	}
	if cpu := end.CPU.Remote; cpu == nil || *cpu < 5 || *cpu > 100 {
		t.Errorf("CPU of the router %v", cpu)
	}
}

// TestRouterUDPCommands plays the other UDP commands.
func TestRouterUDPCommands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		command string
		size    int
	}{{routerLarge, 64000 - 28}, {routerSlow, 1000 - 28}} {
		t.Run(fmt.Sprint(tt.size), func(t *testing.T) {
			t.Parallel()
			server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, 1, 1)})
			h := greet(t, server.addr)
			// Open before the server knows of it: at 300 bit/s the second one comes in half a minute.
			data := h.socket(server.UDPPorts.First + wire.ClientPort)
			h.say(tt.command)
			h.expect("01 00 00 00")
			h.port()
			n, _, err := data.ReadFrom(make([]byte, 1<<16))
			if err != nil || n != tt.size {
				t.Errorf("%d bytes, %v, want %d", n, err, tt.size)
			}
			h.Close()
		})
	}
}
