package mesh

import (
	"fmt"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// What other nodes offer, and what of it is taken.

// offered takes an Offer: the answer to a request of ours, or a push.
func (b *bulk) offered(n note, o wire.Offer) []wire.Body {
	if b.toFetch(n) == nil {
		return nil
	}
	if !o.Push {
		return b.refuse(n, wire.CancelExpired, "")
	}
	b.mu.Lock()
	for _, f := range b.finished {
		if f.exchange == n.exchange {
			b.mu.Unlock()
			return []wire.Body{wire.Done{Request: n.request, Status: f.status}}
		}
	}
	b.mu.Unlock()
	if reason, why := b.objection(n, o); why != "" {
		return b.refuse(n, reason, why)
	}
	f := newFetch(b, nil)
	f.folder, f.push, f.max = b.node.Accept, true, b.acceptMax()
	s := newSource(n.peer, b.labelOf(n.peer), n.request, n.at)
	s.pushed = true
	f.sources = []*source{s}
	b.addFetch(f, s)
	f.inbox <- n
	b.wg.Go(func() {
		err := f.run(b.ctx)
		b.mu.Lock()
		delete(b.coming, o.Object)
		b.neighbours[n.peer].fetches--
		if err != nil {
			b.accepted -= b.cost(o)
		}
		b.mu.Unlock()
		b.tell(f.transfer(time.Now()), err)
	})
	return nil
}

func (b *bulk) acceptMax() uint64 {
	if b.node.AcceptMax > 0 {
		return b.node.AcceptMax
	}
	return defaultAcceptMax
}

// cost is what a pushed file counts: small ones as more than they have, for a
// folder should not fill with them either.
func (b *bulk) cost(o wire.Offer) uint64 { return max(o.Size, b.acceptMax()/256) }

// objection is why a push is not taken; if there is none its place is booked.
func (b *bulk) objection(n note, o wire.Offer) (wire.CancelReason, string) {
	most := b.acceptMax()
	b.mu.Lock()
	defer b.mu.Unlock()
	nb := b.neighbour(n.peer)
	switch {
	case b.node.Accept == "":
		return wire.CancelRefused, "takes no files"
	case o.Size > most:
		return wire.CancelRefused, fmt.Sprintf("takes at most %d bytes", most)
	case checkLabel(o.Name) != nil:
		return wire.CancelRefused, "the name is not one of a file"
	case b.coming[o.Object]:
		return wire.CancelBusy, "this file is coming already"
	case nb.fetches >= maxFetches || len(b.coming) >= maxTransfers:
		return wire.CancelBusy, "too many transfers"
	case b.accepted+b.cost(o) > acceptedFor*most:
		return wire.CancelRefused, "has taken enough for now"
	}
	nb.fetches++
	b.accepted += b.cost(o)
	b.coming[o.Object] = true
	return 0, ""
}

// neighbour is that of a peer, made if there is none. Those who have nothing
// under way make room.
func (b *bulk) neighbour(id wire.ID) *neighbour {
	nb := b.neighbours[id]
	if nb != nil {
		return nb
	}
	if len(b.neighbours) >= maxPeers {
		for other, idle := range b.neighbours {
			if idle.gives == 0 && idle.fetches == 0 {
				delete(b.neighbours, other)
			}
		}
	}
	nb = &neighbour{}
	b.neighbours[id] = nb
	return nb
}

// refuse is a Cancel, or nothing if the peer had too many of them. It is never
// longer than what it answers.
func (b *bulk) refuse(n note, reason wire.CancelReason, text string) []wire.Body {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.neighbour(n.peer).refusals.take(1, maxRefusals, maxRefusals, n.at) {
		return nil
	}
	return []wire.Body{wire.Cancel{Request: n.request, Reason: reason, Text: text}}
}
