// Package mesh finds out who can reach whom over UDP: a Server introduces Nodes
// to each other, and each Node pings all others and tells how they fare.
//
// It speaks the protocol of ptptest 0.2 with original servers and clients, and
// more with its own kind: docs/protocols/mesh.md. Packets are in mesh/wire.
//
// A Server lists nobody and sends nothing large to an address whose owner has
// not proven to hear it. A Node answers only whom a server lists. Neither ever
// changes its state for a packet that is malformed: such packets are counted by
// reason.
package mesh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/mesh/wire"
)

// DefaultPort is the UDP port of a server, as of old.
const DefaultPort = 23456

// Protocol is the name in results.
const Protocol = "mesh"

// The times of the original.
const (
	registerEvery = 7 * time.Second  // a node, at each server
	listEvery     = 13 * time.Second // a server, to each client
	expiry        = 30 * time.Second // of a client that is not heard
	serverSilence = 3 * registerEvery
	pingEvery     = 500 * time.Millisecond
)

// tick is how often servers and nodes look what is due.
const tick = 10 * time.Millisecond

// Why datagrams are dropped; the keys of counters.
const (
	dropSize     = "size"      // longer or shorter than a packet can be
	dropChecksum = "checksum"  // changed on the way, or not ours
	dropField    = "malformed" // unknown field, or a value that is none
	dropOrder    = "order"     // fields missing or out of order
	dropSource   = "source"    // from an address that we have nothing to do with
	dropRole     = "role"      // from a server where a client was expected, or the reverse
	dropLimit    = "limit"     // over a limit on unproven addresses
	dropRecord   = "record"    // malformed records in CC; the rest of the packet counts
	dropStray    = "stray"     // an echo of nothing that we sent
	dropRelay    = "relay"     // not to be relayed, see Relaying
	dropKey      = "key"       // not made with the key of the mesh
	dropReplay   = "replay"    // made with it, but sent again, or by a clock that is far off
	dropBulk     = "bulk"      // of a transfer that is none, or not from where the peer has answered
)

// dropReason is the counter for an error of wire.ParsePacket.
func dropReason(err error) string {
	switch {
	case errors.Is(err, wire.ErrTooLong), errors.Is(err, wire.ErrTooShort):
		return dropSize
	case errors.Is(err, wire.ErrChecksum):
		return dropChecksum
	case errors.Is(err, wire.ErrOrder):
		return dropOrder
	}
	return dropField
}

// A door is where a datagram came in, and where its answer goes out: one of our
// sockets, and one of our addresses if the socket is for several and the system
// tells.
type door struct {
	socket int
	own    netip.Addr
}

// received reads datagrams until the socket is closed or fails, and hands each
// to take with our address that it was sent to, if that is known. What only tells
// of a lost packet is no failure.
func received(conn *sock.AnswerConn, take func(own netip.Addr, from netip.AddrPort, datagram []byte)) error {
	b := make([]byte, 1<<16) // what is too long is seen, and STUN that finds the MTU is answered
	for {
		n, from, own, err := conn.ReadFromTo(b)
		if err != nil {
			if sock.IsLoss(err) || sock.IsTooBig(err) {
				continue
			}
			return err
		}
		if from.IsValid() {
			take(own, unmap(from), b[:n])
		}
	}
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return unmap(u.AddrPort()), true
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// run reads from the sockets and calls tick in between, until ctx ends or a
// socket fails. It closes the sockets.
func run(ctx context.Context, conns []*sock.AnswerConn, take func(via door, from netip.AddrPort, datagram []byte), due func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{}, len(conns))
	for i, c := range conns {
		go func() {
			err := received(c, func(own netip.Addr, from netip.AddrPort, b []byte) { take(door{i, own}, from, b) })
			if !errors.Is(err, net.ErrClosed) {
				stop(err)
			}
			ended <- struct{}{}
		}()
	}
	defer func() {
		for _, c := range conns {
			c.Close()
		}
		for range conns {
			<-ended
		}
	}()
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			due()
		}
	}
}

// sendTo writes one datagram, from our address own if there is one; what only
// tells of a lost packet is no failure.
func sendTo(c *sock.AnswerConn, own netip.Addr, to netip.AddrPort, b []byte) error {
	err := c.WriteToFrom(b, to, own)
	if err != nil && (sock.IsLoss(err) || sock.IsTooBig(err) || errors.Is(err, net.ErrClosed)) {
		return nil
	}
	return err
}

// parse reads a packet and its records. A stream of records that is malformed
// is counted in drops and left out.
func parse(datagram []byte, drops map[string]uint64) (*wire.Packet, []wire.Record, bool) {
	p, err := wire.ParsePacket(datagram)
	if err != nil {
		drops[dropReason(err)]++
		return nil, nil, false
	}
	records, err := wire.ParseRecords(p.Ext)
	if err != nil {
		drops[dropRecord]++
		return p, nil, true
	}
	return p, records, true
}

// stream makes the records of a packet. It panics on a body that cannot be
// written: we make them within their limits.
func stream(bodies ...wire.Body) []byte {
	var b []byte
	for _, body := range bodies {
		var err error
		if b, err = wire.AppendRecord(b, body); err != nil {
			panic("mesh: " + err.Error())
		}
	}
	return b
}
