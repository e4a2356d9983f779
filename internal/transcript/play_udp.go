package transcript

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// A portLane is one of our UDP ports in a replay.
type portLane struct {
	*replay
	port uint16
	conn net.PacketConn
	todo chan *Event   // what is yet to be sent
	said chan struct{} // closed once all of it was
}

// udp plays one event of UDP: ours are queued at their port, those of the far
// end make sure that our port is open.
func (r *replay) udp(e *Event) error {
	port := e.Dst.Port()
	if e.From == r.Side {
		port = e.Src.Port()
	}
	p := r.ports[port]
	if p == nil {
		conn, err := r.Packets(r.ctx, port)
		if err != nil {
			return fmt.Errorf("transcript: UDP port %d: %w", port, err)
		}
		most := r.ours(func(e *Event) bool { return e.Kind.UDP() && e.Src.Port() == port })
		p = &portLane{replay: r, port: port, conn: conn, todo: make(chan *Event, most), said: make(chan struct{})}
		r.ports[port] = p
		r.wg.Go(p.listen)
		r.wg.Go(p.talk)
	}
	if e.From == r.Side {
		p.todo <- e
	}
	return nil
}

// listen reads datagrams until the socket is closed.
func (p *portLane) listen() {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := p.conn.ReadFrom(b)
		if err != nil {
			if p.ctx.Err() != nil || !lostOnly(err) {
				return
			}
			continue
		}
		p.mu.Lock()
		p.played.PacketsIn[p.port]++
		p.mu.Unlock()
		if p.WatchPacket != nil {
			p.WatchPacket(p.port, b[:n], from)
		}
	}
}

// talk sends our datagrams at the times of the recording.
func (p *portLane) talk() {
	defer close(p.said)
	for {
		select {
		case e, ok := <-p.todo:
			if !ok || !p.send(e) {
				return
			}
		case <-p.ctx.Done():
			return
		}
	}
}

// send sends a datagram, or a run of them spread over the time that it took
// and over the sequence numbers that it has. It is false when the replay is over.
func (p *portLane) send(e *Event) bool {
	to := p.Address(e.Dst.Port())
	n := max(1, e.Count)
	b := make([]byte, e.Len)
	copy(b, e.Data)
	for i := range n {
		share := 0.0
		if n > 1 {
			share = float64(i) / float64(n-1)
		}
		if e.Numbered && len(b) >= 4 {
			binary.BigEndian.PutUint32(b, e.First+uint32(share*float64(e.Final-e.First)+0.5))
		}
		if p.sleep(p.ctx, e.At+time.Duration(share*float64(e.End()-e.At))) != nil {
			return false
		}
		if _, err := p.conn.WriteTo(b, to); err != nil && !lostOnly(err) {
			return false
		}
		p.mu.Lock()
		p.played.PacketsOut[p.port]++
		p.mu.Unlock()
	}
	return true
}
