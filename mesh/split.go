package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// A split node has two sockets. That for peers registers, so that what servers
// list, and what STUN and the router tell, is true of it. That for servers, the
// control socket, has all else that passes between them: lists, reports, what is
// relayed. A server that has admitted both joins them by the ID of the node.

// splitWait is how long a server that lists as of old may take to show that it
// is ours after all: anybody can send in its name.
const splitWait = 3 * time.Second

// isSplit reports whether we have a control socket.
func (a *agent) isSplit() bool { return a.control != nil }

// can is what we can do.
func (a *agent) can() wire.Capabilities {
	if a.isSplit() {
		return capabilities | wire.IsSplit
	}
	return capabilities
}

// joins reports whether a server joins two sockets to one node.
func (s *home) joins() bool { return s.sonde && s.hello.Can&wire.IsSplit != 0 }

// registerControl tells a server of the control socket; bodies go with that.
func (a *agent) registerControl(now time.Time, s *home, bodies ...wire.Body) {
	token := s.stamps.fresh(now)
	hello := wire.Hello{Part: wire.PartControl, Can: a.can(), Name: a.name}
	local := netip.AddrPortFrom(a.localFor(s).Addr(), a.controlPort)
	s.sent++
	a.sendServer(s, &wire.Packet{Local: local, Stamp: &token, Ext: stream(append([]wire.Body{hello}, bodies...)...)}, true)
}

// receiveControl takes a datagram that came to the control socket.
func (a *agent) receiveControl(now time.Time, from netip.AddrPort, datagram []byte) {
	p, records, ok := parse(datagram, a.drops)
	switch {
	case !ok:
	case p.Role != wire.FromServer:
		a.drops[dropRole]++ // peers know the other socket
	default:
		a.receiveServer(now, from, datagram, p, records, true)
	}
}

// controlWorks notes that a server has admitted the control socket.
func (a *agent) controlWorks(now time.Time, s *home) {
	s.controlled = now
	if !s.control {
		s.control = true
		a.note(result.Info, "split", fmt.Sprintf("server %s talks to the socket for servers, and lists that for peers", s.name), "")
	}
}

// watchControl registers the control socket as soon as a server can join it, and
// goes back to the socket for peers where it gets no answer.
func (a *agent) watchControl(now time.Time, s *home) {
	if s.control && now.Sub(s.controlled) > serverSilence {
		s.control = false
		a.note(result.Warning, "split", fmt.Sprintf("server %s does not answer the socket for servers any more; that for peers serves both", s.name), "")
	}
	if a.isSplit() && s.joins() && s.controlAsked.IsZero() {
		s.controlAsked = now
		a.registerControl(now, s)
	}
}

// cannotSplit reports whether a server cannot join two sockets, so that others
// would take us for two nodes.
func (s *home) cannotSplit(now time.Time) bool {
	return s.sonde && s.hello.Part == wire.PartServer && !s.joins() || !s.sonde && !s.listsOld.IsZero() && now.Sub(s.listsOld) > splitWait
}

// leaveUnsplit leaves the servers that cannot join two sockets. Without another
// one the node ends.
func (a *agent) leaveUnsplit(now time.Time) {
	var last *result.Error
	a.servers = slices.DeleteFunc(a.servers, func(s *home) bool {
		if !s.cannotSplit(now) {
			return false
		}
		last = splitError(s)
		a.sendServer(s, &wire.Packet{Local: a.localFor(s), Shutdown: true}, false)
		a.note(result.Warning, "split_unsupported", last.Text, last.Hint)
		return true
	})
	if last != nil && len(a.servers) == 0 {
		a.fail(last)
	}
}

func splitError(s *home) *result.Error {
	return &result.Error{
		Word: result.CodeUnsupported,
		Text: fmt.Sprintf("mesh: server %s knows no node with two sockets and would list this one twice: it is left", s.name),
		Hint: "leave out --split, or use a sonde mesh server",
	}
}
