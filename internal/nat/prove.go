package nat

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"

	"github.com/pion/stun/v3"
)

// Prove has a server send to a mapping, from a socket that mapped has not sent
// to, and reports whether that arrived at mapped. ask is another socket of this
// host, from which the server is asked. The result is nil, with the reason, if
// nobody could try. It takes at most 3 s.
//
// With one address only, the server has been sent to: a filter that goes by
// address lets it in without any mapping. What arrives then proves something
// only if filtering is known to go by port.
func Prove(ctx context.Context, mapped, ask *Exchange, server Server, m PortMapping, filtering Behaviour) (reachable *bool, why string) {
	first, _, err := ask.ask(ctx, server.At, 0)
	if err != nil {
		return nil, "the server does not answer, so nobody outside could try"
	}
	other, _ := otherOf(first.message)
	change := byte(changePort)
	switch {
	case other.IsValid() && other.Addr() != server.At.Addr():
		change |= changeAddress
	case !other.IsValid() && server.OtherPort == 0:
		return nil, "the server has one port only, so nobody outside could try"
	}
	if seen, ok := reflexiveOf(first.message); ok && m.External.Addr().IsValid() && seen.Addr() != m.External.Addr() {
		// Nothing that is sent to where we are seen can come by this mapping.
		no := false
		return &no, m.Doubt(seen.Addr())
	}
	var id [stun.TransactionIDSize]byte
	rand.Read(id[:]) // never fails: crypto/rand
	datagram, err := dialback(id, change, m.External.Port())
	if err != nil {
		return nil, fmt.Sprintf("cannot make a request: %v", err)
	}
	came, done := mapped.expect(id)
	defer done()
	refused, done := ask.expect(id)
	defer done()
	a, _, err := ask.repeat(ctx, came, func() error { return ask.Send(server.At, datagram) })
	yes, no := true, false
	switch {
	case err == nil && a.message.Type == stun.BindingSuccess:
		if change&changeAddress == 0 && filtering != AddressPortDependent {
			return nil, "the server has one address only, which the filter may let in without the mapping"
		}
		return &yes, ""
	case ctx.Err() != nil:
		return nil, "interrupted"
	}
	select {
	case <-refused:
		return nil, "the server cannot send to a mapped port (RESPONSE-PORT of RFC 5780)"
	default:
	}
	return &no, "what the server sent to it did not arrive"
}

// otherPortOf is a server's other port if that is the next one, as servers of
// ours have it, and OTHER-ADDRESS does not tell: then it hears at every address.
func otherPortOf(ctx context.Context, e *Exchange, server netip.AddrPort) (uint16, bool) {
	if server.Port() == 65535 {
		return 0, false
	}
	next := netip.AddrPortFrom(server.Addr(), server.Port()+1)
	_, _, err := e.ask(ctx, next, 0)
	return next.Port(), err == nil
}
