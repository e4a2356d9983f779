package nat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// A datagramAsker asks by PCP (RFC 6887) or NAT-PMP (RFC 6886).
type datagramAsker struct {
	*questions
	local    netip.AddrPort
	version  byte // 2 PCP, 0 NAT-PMP
	nonce    [12]byte
	outside  netip.Addr // of NAT-PMP, which tells it apart
	external uint16
}

func newDatagramAsker(q *questions, local netip.AddrPort) *datagramAsker {
	d := &datagramAsker{questions: q, local: local}
	if q.protocol == PCP {
		d.version = 2
	}
	rand.Read(d.nonce[:]) // never fails: crypto/rand
	return d
}

// find asks for the outside address, which only NAT-PMP has a question for.
func (d *datagramAsker) find(ctx context.Context) error {
	if d.version != 0 {
		return nil
	}
	start := time.Now()
	err := d.ask(ctx, appendPMPAddress(nil), func(b []byte) (bool, error) {
		if len(b) < 2 || b[1] != 0x80 {
			return false, nil
		}
		var err error
		d.outside, err = parsePMPAddress(b)
		return true, err
	})
	d.told(start, "what is your outside address?", d.outside.String(), err)
	return err
}

func (d *datagramAsker) obtain(ctx context.Context) (PortMapping, error) {
	start := time.Now()
	g, err := d.mapPort(ctx, mappingLife)
	if err == nil && d.version == 0 {
		g.external = netip.AddrPortFrom(d.outside, g.external.Port())
	}
	d.told(start, fmt.Sprintf("map UDP port %d to %v for %v", d.wanted(mappingLife), d.local, mappingLife),
		fmt.Sprintf("%v for %v", g.external, g.lifetime), err)
	if err != nil {
		return PortMapping{}, err
	}
	d.external = g.external.Port()
	return PortMapping{Protocol: d.protocol, External: g.external, Lifetime: g.lifetime}, nil
}

// mapPort asks for a mapping.
func (d *datagramAsker) mapPort(ctx context.Context, life time.Duration) (grant, error) {
	request := appendPMP(nil, d.local.Port(), d.wanted(life), life)
	if d.version == 2 {
		request = appendPCP(nil, d.local.Addr(), d.nonce, d.local.Port(), d.wanted(life), life)
	}
	var g grant
	err := d.ask(ctx, request, func(b []byte) (bool, error) {
		got, err := parseGrant(b)
		switch {
		case err != nil:
			return false, nil // of something else
		case got.result != 0:
			return true, refusal(got.version, got.result)
		case got.version != d.version || got.internal != d.local.Port() || got.version == 2 && got.nonce != d.nonce:
			return false, nil // the answer to another question
		case life == 0 && got.lifetime != 0:
			return false, nil // the answer to a renewal that was under way
		}
		g = got
		return true, nil
	})
	return g, err
}

// wanted is the outside port to ask for: that of before, or our own. NAT-PMP
// wants 0 in a removal.
func (d *datagramAsker) wanted(life time.Duration) uint16 {
	switch {
	case life == 0:
		return 0
	case d.external != 0:
		return d.external
	}
	return d.local.Port()
}

// remove takes the mapping away. That it was not confirmed is an error: the
// mapping then stays until its life is over.
func (d *datagramAsker) remove() error {
	d.stop()
	d.conn.SetReadDeadline(time.Time{})
	start := time.Now()
	_, err := d.mapPort(context.Background(), 0)
	d.told(start, "remove the mapping", "removed", err)
	if err != nil {
		return fmt.Errorf("nat: remove the mapping of port %d, it ends by itself within %v: %w", d.external, mappingLife, err)
	}
	return nil
}

// ask sends a request at 0, 250 and 500 ms until take has the answer, 1 s at
// most. Only datagrams from the router count.
func (d *datagramAsker) ask(ctx context.Context, request []byte, take func([]byte) (bool, error)) error {
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.router, routerPort))
	b := make([]byte, 1100) // the longest of PCP: RFC 6887, section 7
	start := time.Now()
	for _, until := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := d.conn.WriteTo(request, to); err != nil {
			return fmt.Errorf("nat: ask the router %v: %w", d.router, err)
		}
		if err := d.readUntil(ctx, start.Add(until)); err != nil {
			return err
		}
		for {
			n, from, err := d.conn.ReadFrom(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("nat: ask the router %v: %w", d.router, err)
			}
			u, ok := from.(*net.UDPAddr)
			if !ok || u.AddrPort().Addr().Unmap() != d.router {
				continue
			}
			if done, err := take(b[:n]); done {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("nat: %w to %s from the router %v", ErrNoAnswer, d.protocol, d.router)
}

// readUntil sets a deadline, and does not undo the one that the end of ctx set.
func (q *questions) readUntil(ctx context.Context, t time.Time) error {
	q.conn.SetReadDeadline(t)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
