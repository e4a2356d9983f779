package nat

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// A router answers requests for mappings as the RFCs say.
type router struct {
	pcp, pmp bool
	refuse   byte
	outside  netip.Addr

	mu    sync.Mutex // guards what follows
	ports map[uint16]bool
	asked int
}

func (r *router) serve(c net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if a := r.answer(b[:n]); a != nil {
			c.WriteTo(a, from)
		}
	}
}

func (r *router) answer(b []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	switch {
	case b[0] == 2 && r.pcp:
		out := append([]byte{2, 0x81, 0, r.refuse}, b[4:8]...)
		out = append(out, make([]byte, 16)...)
		out = append(out, b[24:44]...)
		addr := r.outside.As16()
		r.set(binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint32(b[4:]))
		return append(out, addr[:]...)
	case b[0] == 2 && r.pmp:
		return []byte{0, 0x81, 0, 1, 0, 0, 0, 0}
	case b[0] == 0 && r.pmp && b[1] == 0:
		return append([]byte{0, 0x80, 0, 0, 0, 0, 0, 9}, r.outside.AsSlice()...)
	case b[0] == 0 && r.pmp:
		out := append([]byte{0, 0x81, 0, r.refuse, 0, 0, 0, 9}, b[4:6]...)
		r.set(binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint32(b[8:]))
		return append(append(out, b[6:8]...), b[8:12]...)
	}
	return nil
}

func (r *router) set(port uint16, life uint32) {
	if r.refuse == 0 && life > 0 {
		r.ports[port] = true
	} else {
		delete(r.ports, port)
	}
}

func (r *router) has() (ports, asked int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ports), r.asked
}

func TestMapper(t *testing.T) {
	public, double := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("100.64.3.2")
	for _, tt := range []struct {
		name     string
		router   *router
		protocol string // "" when no mapping is granted
		fault    string
		doubt    bool
	}{
		{"PCP", &router{pcp: true, outside: public}, "PCP", "", false},
		{"NAT-PMP after the version error", &router{pmp: true, outside: public}, "NAT-PMP", "", false},
		{"behind a carrier", &router{pcp: true, outside: double}, "PCP", "", true},
		{"refused", &router{pcp: true, refuse: 2, outside: public}, "", "not authorised", false},
		{"silent", &router{}, "", "no answer", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.router.ports = map[uint16]bool{}
				var network testnet.Network
				gateway := network.Host(testnet.Link{Loss: testnet.At(0)}, testnet.Link{}, "192.168.1.1")
				host := network.Host(testnet.Link{}, testnet.Link{}, "192.168.1.2")
				c, err := gateway.ListenPacket(t.Context(), "udp", ":5351")
				if err != nil {
					t.Fatal(err)
				}
				go tt.router.serve(c)
				defer c.Close()
				m := &Mapper{Router: netip.MustParseAddr("192.168.1.1"), Local: netip.MustParseAddrPort("192.168.1.2:5000"), ListenPacket: host.ListenPacket}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				granted := make(chan PortMapping, 9)
				done := make(chan error, 1)
				start := time.Now()
				go func() { done <- m.Run(ctx, func(p PortMapping) { granted <- p }) }()
				if tt.protocol == "" {
					if err := <-done; err == nil || !strings.Contains(err.Error(), tt.fault) || time.Since(start) > 3*time.Second {
						t.Errorf("after %v: %v", time.Since(start), err)
					}
					return
				}
				p := <-granted
				if p.Protocol != tt.protocol || p.External != netip.AddrPortFrom(tt.router.outside, 5000) || p.Lifetime != mappingLife {
					t.Errorf("%+v", p)
				}
				if doubt := p.Doubt(public); (doubt != "") != tt.doubt {
					t.Errorf("doubt: %q", doubt)
				}
				_, before := tt.router.has()
				time.Sleep(10 * time.Minute)
				if ports, asked := tt.router.has(); ports != 1 || asked < before+9 {
					t.Errorf("after 10 minutes: %d mappings, asked %d times more", ports, asked-before)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if ports, _ := tt.router.has(); ports != 0 {
					t.Error("the mapping is left at the router")
				}
			})
		})
	}
}

// Answers of less than they should have, byte by byte.
func TestPortMessages(t *testing.T) {
	pcp := append([]byte{2, 0x81, 0, 0, 0, 0, 0, 120}, make([]byte, 52)...)
	pcp[36] = udpNumber
	pmp := []byte{0, 0x81, 0, 0, 0, 0, 0, 1, 0x13, 0x88, 0x13, 0x89, 0, 0, 0, 120}
	for _, b := range [][]byte{pcp, pmp} {
		if _, err := parseGrant(b); err != nil {
			t.Errorf("% x: %v", b, err)
		}
		for n := range b {
			if _, err := parseGrant(b[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("first %d bytes of % x: %v", n, b, err)
			}
		}
	}
	if g, _ := parseGrant(pmp); g.internal != 5000 || g.external.Port() != 5001 || g.lifetime != 2*time.Minute {
		t.Errorf("%+v", g)
	}
	if b := appendPCP(nil, netip.MustParseAddr("192.168.1.2"), [12]byte{1}, 5000, 5000, time.Minute); len(b) != 60 {
		t.Errorf("PCP request of %d bytes", len(b))
	}
}

func FuzzPortMessages(f *testing.F) {
	f.Add([]byte{0, 0x81, 0, 0, 0, 0, 0, 1, 0x13, 0x88, 0x13, 0x89, 0, 0, 0, 120})
	f.Add(append([]byte{2, 0x81, 0, 0}, make([]byte, 56)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := parseGrant(b); err == nil && g.lifetime < 0 {
			t.Fatalf("%+v", g)
		}
		parsePMPAddress(b)
	})
}
