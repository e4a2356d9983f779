package rperf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/sonde-net/sonde/result"
)

// Ports are where streams are received: the server's in a forward test, the
// client's in a reverse one. An empty list leaves the port to the system.
type Ports struct {
	TCP, TCP6, UDP, UDP6 []uint16
}

// ParsePorts reads a list such as "1-10,19,21". The ports come back sorted,
// each once.
func ParsePorts(list string) ([]uint16, error) {
	var ports []uint16
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	for _, item := range strings.Split(list, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(item), "-")
		first, err := strconv.ParseUint(low, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(high, 10, 16)
		}
		if err != nil || first == 0 || first > last {
			return nil, fmt.Errorf("ports %q: %q is no port or range of ports, want such as 1-10,19,21", list, item)
		}
		for p := first; p <= last; p++ {
			ports = append(ports, uint16(p))
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// A pool gives out ports in turn, beginning after the one given last; the very
// first is the second of the list, as in the original, whose users have written
// firewall rules by it. It is safe for concurrent use.
type pool struct {
	ports []uint16

	mu   sync.Mutex // guards last; not held while a port is tried
	last int        // place in ports of the port given last
}

// open has try bind ports until one is free. Without a list it tries port 0.
func (p *pool) open(ctx context.Context, try func(port uint16) error) error {
	if len(p.ports) == 0 {
		return try(0)
	}
	for range p.ports {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := try(p.next())
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("all %d ports of the pool are in use", len(p.ports)),
		Hint: "give more ports, or run fewer tests at once"}
}

func (p *pool) next() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = (p.last + 1) % len(p.ports)
	return p.ports[p.last]
}

// pools are the four pools of an end.
type pools struct{ tcp, tcp6, udp, udp6 pool }

func newPools(p Ports) *pools {
	return &pools{tcp: pool{ports: p.TCP}, tcp6: pool{ports: p.TCP6}, udp: pool{ports: p.UDP}, udp6: pool{ports: p.UDP6}}
}

// of is the pool for a peer. An IPv4 client is one also where it came to a
// dual-stack socket; a real server takes its IPv6 pool then.
func (p *pools) of(udp bool, peer netip.Addr) *pool {
	switch four := peer.Unmap().Is4(); {
	case udp && four:
		return &p.udp
	case udp:
		return &p.udp6
	case four:
		return &p.tcp
	}
	return &p.tcp6
}
