package nat

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
	"github.com/sonde-net/sonde/internal/sock"
)

// The least that a path carries whole: RFC 791 asks hosts for 576, RFC 8200
// links for 1280. The usual most is that of Ethernet with jumbo frames.
const (
	leastMTU4 = 576
	leastMTU6 = 1280
	usualMost = 9000
	mostMTU   = 65535
)

// headers are those in front of the STUN message: IP and UDP, then STUN's own
// and that of PADDING.
func headers(a netip.Addr) int {
	if a.Is4() {
		return 20 + 8 + 20 + 4
	}
	return 40 + 8 + 20 + 4
}

// MTU finds the largest IP packet that reaches a server and is answered, from a
// socket that sends no fragments. known is what the system believes the path
// carries, false if it does not tell: before anything is sent that is the MTU of
// our own interface. Lengths of STUN messages are multiples of 4, so what is
// found may be 3 bytes less than the path carries, unless a router on it has said
// the size. It takes at most 6 s.
func MTU(ctx context.Context, socket *Exchange, server netip.AddrPort, known func() (int, bool)) (int, error) {
	least := leastMTU4
	if server.Addr().Is6() {
		least = leastMTU6
	}
	most, ok := known()
	if most = min(most, mostMTU); !ok || most < least {
		most = usualMost
	}
	wait := 300 * time.Millisecond
	passes := func(size int) (bool, error) { return socket.passes(ctx, server, size, wait) }
	start := time.Now()
	if ok, err := passes(least); err != nil || !ok {
		return 0, firstOf(err, fmt.Errorf("nat: packets of %d bytes to %v: %w", least, server, ErrNoAnswer))
	}
	wait = min(max(wait, 3*time.Since(start)), time.Second)
	low, high := least, most+4 // low passes, high does not
	for _, size := range []int{most, 1500, 1492} {
		if size <= low || size >= high {
			continue
		}
		ok, err := passes(size)
		if err != nil {
			return 0, err
		}
		if ok {
			low = size
			break
		}
		high = size
		if told, ok := known(); ok && told > low && told < high {
			// A router has said so, in answer to what was too big.
			if ok, err = passes(told); err != nil || ok {
				return told, err
			}
		}
	}
	if low == most {
		return most, nil
	}
	for high-low > 4 {
		middle := (low + high) / 2 &^ 3
		ok, err := passes(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	if told, ok := known(); ok && told > low && told < low+4 {
		return told, nil
	}
	return low, nil
}

// passes reports whether a request that makes an IP packet of a size, rounded
// down to what STUN can make, is answered.
func (e *Exchange) passes(ctx context.Context, server netip.AddrPort, size int, wait time.Duration) (bool, error) {
	var id [stun.TransactionIDSize]byte
	rand.Read(id[:]) // never fails: crypto/rand
	m, err := stun.Build(stun.NewTransactionIDSetter(id), stun.BindingRequest)
	if err != nil {
		return false, fmt.Errorf("nat: make a request: %w", err)
	}
	m.Add(stun.AttrPadding, make([]byte, max(0, size-headers(server.Addr()))&^3))
	m.Encode()
	came, done := e.expect(id)
	defer done()
	for range 2 {
		if err := e.Send(server, m.Raw); err != nil {
			if sock.IsTooBig(err) {
				return false, nil
			}
			if !sock.IsLoss(err) {
				return false, fmt.Errorf("nat: send a request: %w", err)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-came:
			timer.Stop()
			return true, nil
		case <-ctx.Done():
			timer.Stop()
			return false, context.Cause(ctx)
		case <-timer.C:
			if _, ok := there(came); ok {
				return true, nil
			}
		}
	}
	return false, nil
}
