package iperf3

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
)

// awaitHello waits for the server's answer to our hello. In a reverse test
// data may overtake it: datagrams of another size are passed over, and lost to
// the count, as in the original.
func awaitHello(ctx context.Context, conn sock.PacketConn, server netip.AddrPort, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(longAgo) })()
	ms := []sock.Message{{Data: make([]byte, 64)}}
	for {
		_, err := conn.ReadBatch(ms)
		m := &ms[0]
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !sock.IsLoss(err), err != nil && time.Now().After(deadline):
			return fmt.Errorf("hello: %w", err)
		case err == nil && m.From == server && wire.IsHelloReply(m.Data[:min(m.Len, len(m.Data))]):
			return nil
		}
	}
}
