//go:build !nano

package cli

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// A pmpRouter grants what it is asked for by NAT-PMP (RFC 6886).
type pmpRouter struct {
	mu      sync.Mutex // guards what follows
	mapped  map[uint16]bool
	granted int
}

func (r *pmpRouter) serve(c net.PacketConn) {
	b := make([]byte, 100)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		answer := []byte{0, 0x81, 0, 1, 0, 0, 0, 0} // no PCP here
		switch {
		case b[0] == 0 && b[1] == 0:
			answer = []byte{0, 0x80, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7}
		case b[0] == 0 && n >= 12:
			r.set(binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint32(b[8:]) > 0)
			answer = append([]byte{0, 0x81, 0, 0, 0, 0, 0, 9}, b[4:6]...)
			answer = append(append(answer, b[4:6]...), b[8:12]...)
		}
		c.WriteTo(answer, from)
	}
}

func (r *pmpRouter) set(port uint16, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.mapped[port] = true
		r.granted++
	} else {
		delete(r.mapped, port)
	}
}

func (r *pmpRouter) counts() (granted, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.granted, len(r.mapped)
}

// TestPortMappingsAreRemoved: the programs leave no mapping at the router, when
// they end by themselves and when they are told to by a signal.
func TestPortMappingsAreRemoved(t *testing.T) {
	t.Parallel()
	testnet.NeedNamespaces(t)
	for _, tt := range []struct {
		line   string
		signal syscall.Signal // 0: it ends by itself
		status int
	}{
		{"sonde mesh node --server 198.51.100.1 --name a", syscall.SIGTERM, 143},
		{"sonde mesh node --server 198.51.100.1 --name a", syscall.SIGINT, 130},
		{"sonde nat", 0, 0},
	} {
		t.Run(tt.line+" "+tt.signal.String(), func(t *testing.T) {
			t.Parallel()
			here, router := testnet.NewNamespace(t), testnet.NewNamespace(t)
			testnet.Wire(t, testnet.Cable{}, testnet.End{In: router, Name: "lan", Addresses: []string{"192.168.1.1/24"}},
				testnet.End{In: here, Name: "eth0", Addresses: []string{"192.168.1.2/24"}})
			here.Route(t, "default", netip.MustParseAddr("192.168.1.1").String())
			c, err := router.ListenPacket(t.Context(), "udp", "192.168.1.1:5351")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r := &pmpRouter{mapped: map[uint16]bool{}}
			go r.serve(c)
			p := &running{t: t, line: tt.line, cmd: exec.Command("bash", "-c", "exec "+tt.line)}
			p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
			here.Start(t, p.cmd)
			for late := time.Now().Add(patience); tt.signal != 0; time.Sleep(20 * time.Millisecond) {
				if granted, _ := r.counts(); granted > 0 {
					break
				}
				if time.Now().After(late) {
					t.Fatalf("no mapping was asked for; it said\n%s%s", p.out.String(), p.err.String())
				}
			}
			if tt.signal != 0 {
				if err := p.cmd.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			p.cmd.Wait() // the status says more than its error
			granted, left := r.counts()
			if got := p.cmd.ProcessState.ExitCode(); got != tt.status || granted == 0 || left != 0 {
				t.Errorf("exit status %d, %d grants, %d mappings left; it said\n%s%s", got, granted, left, p.out.String(), p.err.String())
			}
		})
	}
}
