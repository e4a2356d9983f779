package btest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// openTime is how long a server gives the client to open its port, unless a
// datagram from there comes first: clients do so only once they know ours.
const openTime = 100 * time.Millisecond

// moreSources is how many ports beyond the client's own are followed one by one:
// NATs may change their mind. Of more only the bytes count.
const moreSources = 4

// accept takes datagrams from the control connection's peer only.
func (p *udpPhase) accept(from netip.AddrPort) bool {
	return from.Addr().Unmap().WithZone("") == p.peer.WithZone("")
}

// learn turns our sending towards the port that the client's datagrams really
// come from: a NAT may have changed it. The first one decides; another, such as
// that of a late datagram of the test that had our port before, is only
// remembered. A client's extra ports are left alone.
func (p *udpPhase) learn(f *flow, from netip.AddrPort) {
	if p.head.Role != result.Server {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to := netip.AddrPortFrom(p.peer, from.Port())
	p.sources = append(p.sources, to)
	if len(p.sources) > 1 {
		return
	}
	announced := f.to.Load().Port()
	if from.Port() >= announced && int(from.Port()) < int(announced)+p.ports {
		return
	}
	f.to.Store(&to)
	p.log.Info("the client's UDP port is not the announced one (a NAT changed it), sending there", "port", from.Port(), "announced", announced)
}

// turnAround looks for the client where its datagrams came from, one port after
// the other, while it says that nothing reaches it: a NAT may have changed its
// mind. In a test over several ports it is not known where a server should send:
// to all of them in turn then. The caller holds mu.
func (p *udpPhase) turnAround(second int) {
	if p.head.Role != result.Server || !p.transmits() {
		return
	}
	if p.ports > 1 {
		p.spread = p.spread || second >= 3 && p.reports.nothing()
		return
	}
	if len(p.sources) < 2 || !p.reports.starved() {
		return
	}
	f := p.flows[0]
	p.turn++
	to := p.sources[p.turn%len(p.sources)]
	f.to.Store(&to)
	p.log.Info("the client says that nothing reaches it, sending to another of its UDP ports", "port", to.Port())
}

// to is where the next train of f goes, the zero AddrPort while it has to wait.
func (p *udpPhase) to(f *flow) netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := time.Since(p.began)
	if p.head.Role == result.Server && len(p.sources) == 0 && since < openTime || since < f.wait {
		return netip.AddrPort{}
	}
	if p.spread && len(p.sources) > 0 {
		p.turn++
		return p.sources[p.turn%len(p.sources)]
	}
	return *f.to.Load()
}

// missDatagrams says what to open when the server answers but none of its
// datagrams comes, and ends a test that could only have measured those.
func (p *udpPhase) missDatagrams() {
	port := p.flows[0].conn.LocalAddrPort().Port()
	for n := range pace.Ticks(p.ctx, noDatagramTime) {
		if n == 0 {
			continue
		}
		if !p.lastDatagram().IsZero() {
			return
		}
		hint := fmt.Sprintf("let UDP port %d in, from port %d of the server: a NAT or firewall on the way drops it", port, p.flows[0].to.Load().Port())
		if n == 1 {
			p.sink.Put(result.Note{Head: p.now(), Level: result.Warning, Code: "no_datagrams", Text: fmt.Sprintf("no UDP datagram came from the server in %v", noDatagramTime), Hint: hint})
		}
		if silent := time.Duration(n) * noDatagramTime; silent >= silenceTime && !p.transmits() {
			p.stop(&result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("no UDP datagram came in %v, although the server answers on TCP", silent), Hint: hint})
		}
	}
}

// probe opens the way for the server's datagrams through a NAT: three empty
// ones, 100 ms apart, and three more when nothing came in the first second.
func (p *udpPhase) probe() {
	for n := range pace.Ticks(p.ctx, 100*time.Millisecond) {
		if n >= 3 && n < 10 {
			continue
		}
		if n == 10 && !p.lastDatagram().IsZero() || n > 12 {
			return
		}
		for _, f := range p.flows {
			if _, err := f.conn.WriteTrain(nil, 0, *f.to.Load()); err != nil && !sock.IsLoss(err) {
				p.log.Debug("NAT probe", "err", err)
			}
		}
	}
}
