package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
)

// Both ways at once: each process sends and receives on the same sockets.

// goOn is how long an end goes on after its own figure: the other may not be
// ready.
const goOn = 300 * time.Millisecond

func bothTCPDial(ctx context.Context, r role) error {
	conns, err := dial(ctx, r.at, r.n)
	if err != nil {
		return err
	}
	return bothTCP(ctx, r, conns)
}

func bothTCPAccept(ctx context.Context, r role) error {
	conns, err := accept(ctx, r.at, r.n)
	if err != nil {
		return err
	}
	return bothTCP(ctx, r, conns)
}

func bothTCP(ctx context.Context, r role, conns []net.Conn) error {
	var receivers []*stream.TCPReceiver
	for _, c := range conns {
		b, err := sock.Bulk(c)
		if err != nil {
			return err
		}
		in, out := &stream.TCPReceiver{Conn: b}, &stream.TCPSender{Conn: b, Block: make([]byte, 32768)}
		receivers = append(receivers, in)
		go in.Run(ctx)
		go out.Run(ctx)
	}
	defer time.Sleep(goOn)
	return report(r, receivers[0].Conn.Technique, func() (c count) {
		for _, in := range receivers {
			c.bytes += in.View().Bytes
		}
		return c
	})
}

// bothUDPFirst speaks first, from any port.
func bothUDPFirst(ctx context.Context, r role) error {
	return bothUDP(ctx, r, netip.AddrPortFrom(netip.IPv4Unspecified(), 0), r.at)
}

// bothUDPSecond answers to where the first datagram came from.
func bothUDPSecond(ctx context.Context, r role) error {
	return bothUDP(ctx, r, r.at, netip.AddrPort{})
}

func bothUDP(ctx context.Context, r role, at, to netip.AddrPort) error {
	c, err := sock.ListenPackets(ctx, at, sock.PacketOptions{})
	if err != nil {
		return err
	}
	peer := make(chan netip.AddrPort, 1)
	in := &stream.Receiver{Conn: c, Parse: parseSeq, Header: 4, Source: func(from netip.AddrPort) { peer <- from }, Sources: 1}
	go in.Run(ctx)
	if !to.IsValid() {
		select {
		case to = <-peer:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	out := &stream.Sender{Conn: c, To: func() netip.AddrPort { return to }, Size: r.n, Stamp: stampSeq}
	go out.Run(ctx)
	defer time.Sleep(goOn)
	return report(r, c.Technique, func() count {
		v := in.View()
		return count{bytes: v.Bytes, packets: *v.Packets, lost: *v.Lost}
	})
}

// both measures the two directions of a pair that loads both, and how far the
// slower one is below the faster.
func (l *lab) both(ctx context.Context, n *network, o options) error {
	begun := false
	for _, b := range []bout{{name: "both tcp 1", kind: "tcp", n: 1}, {name: "both tcp 4", kind: "tcp", n: 4}, {name: "both udp 1450", kind: "udp", n: 1450}} {
		if !o.only.MatchString(n.name + " " + b.name) {
			continue
		}
		if !begun {
			fmt.Print("\n| both ways | Gbit/s one way | other way | slower of faster % |\n|---|---|---|---|\n")
			begun = true
		}
		var one, other, share []float64
		for range o.rounds {
			if o.calm {
				awaitCalm(ctx)
			}
			var fs [2]figure
			c := contender{name: "sonde", ends: l.player("", l.self, "as-both").ends, tells: true,
				parse: func(out []byte, _ options) (figure, error) {
					// Each end prints a line.
					lines := strings.SplitN(strings.TrimSpace(string(out)), "\n", 2)
					if len(lines) != 2 {
						return figure{}, errors.New("one end said nothing")
					}
					return fs[0], errors.Join(json.Unmarshal([]byte(lines[0]), &fs[0]), json.Unmarshal([]byte(lines[1]), &fs[1]))
				}}
			if _, err := l.once(ctx, n, c, b, o); err != nil {
				return fmt.Errorf("%s %s: %w", n.name, b.name, err)
			}
			x, y := outcome{figure: fs[0]}.bits(), outcome{figure: fs[1]}.bits()
			one, other, share = append(one, x), append(other, y), append(share, 100*min(x, y)/max(x, y))
		}
		fmt.Printf("| %s | %.2f | %.2f | %.0f |\n", strings.TrimPrefix(b.name, "both "), median(one)/1e9, median(other)/1e9, median(share))
	}
	return nil
}
