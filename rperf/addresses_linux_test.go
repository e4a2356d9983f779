package rperf

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
)

// guarded lets in only what comes from an address, as a NAT does after that was
// sent to.
type guarded struct {
	net.PacketConn
	from string
}

func (g guarded) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := g.PacketConn.ReadFrom(b)
		if err != nil || from.(*net.UDPAddr).IP.String() == g.from {
			return n, from, err
		}
	}
}

// A server for all addresses of its host sends from the one that was asked.
func TestServerOfSeveralAddresses(t *testing.T) {
	l, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := (&Server{}).Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
		for _, classic := range []bool{false, true} {
			for _, d := range []result.Direction{result.Down, result.Up} {
				r := &testserve.Record{}
				c := Client{Target: fmt.Sprintf("%s:%d", host, l.Addr().(*net.TCPAddr).Port), UDP: true, Direction: d, Rate: 1_000_000, Duration: time.Second, Classic: classic}
				c.ListenPacket = func(ctx context.Context, network, address string) (net.PacketConn, error) {
					one, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
					return guarded{one, host}, err
				}
				if err := c.Run(ctx, r); err != nil {
					t.Errorf("%s, %v, classic %v: %v", host, d, classic, err)
					continue
				}
				end := r.End(t)
				total := end.Up
				if d == result.Down {
					total = end.Down
				}
				if total == nil || total.Received == nil || total.Received.Bytes == 0 {
					t.Errorf("%s, %v, classic %v: nothing came: %+v", host, d, classic, total)
				}
			}
		}
	}
}
