package mesh

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// ask tells a node what two others reported of each other.
func (h *hub) ask(now time.Time, c *client, a *address, q wire.Ask) {
	t := wire.Tolds{Ask: q}
	for _, pair := range [][2]wire.ID{{q.A, q.B}, {q.B, q.A}} {
		from := h.clients[pair[0]]
		if from == nil {
			continue
		}
		if f, ok := from.findings[pair[1]]; ok {
			age := min(now.Sub(f.reported)/time.Second, 1<<32-1)
			t.All = append(t.All, wire.Told{From: pair[0], Age: uint32(age), Finding: f.Finding})
		}
	}
	h.send(a, &wire.Packet{ID: c.id, Ext: stream(t)})
}

// An Answer is what two nodes reported of each other. What is not there was not
// reported: by an original client, or not yet.
type Answer struct {
	There, Back *PairStatus   // of A about B, of B about A
	Age         time.Duration // of the older of the two
}

// Ask asks the servers what the nodes with the IDs a and b reported of each
// other. The first answer counts.
func (n *Node) Ask(ctx context.Context, a, b string) (Answer, error) {
	var q wire.Ask
	for _, one := range []struct {
		text string
		id   *wire.ID
	}{{a, &q.A}, {b, &q.B}} {
		id, err := uuid.Parse(one.text)
		if err != nil {
			return Answer{}, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("mesh: %q is no UUID", one.text), Err: err}
		}
		*one.id = wire.ID(id)
	}
	said := make(chan wire.Tolds, 1)
	if err := n.running(func(g *agent) { g.asks[q] = said }); err != nil {
		return Answer{}, err
	}
	defer n.with(func(g *agent) { delete(g.asks, q) })
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		n.with(func(g *agent) { g.sendAsk(q) })
		select {
		case t := <-said:
			return answerOf(t), nil
		case <-again.C:
		case <-ctx.Done():
			return Answer{}, &result.Error{Word: result.CodeUnreachable, Text: "mesh: no server says what the two reported", Hint: "the server has to be one of sonde", Err: context.Cause(ctx)}
		}
	}
}

// running calls f with the agent, if there is one.
func (n *Node) running(f func(*agent)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent == nil || n.agent.left {
		return &result.Error{Word: result.CodeUsage, Text: "mesh: the node does not run"}
	}
	f(n.agent)
	return nil
}

func (a *agent) sendAsk(q wire.Ask) {
	for _, s := range a.servers {
		if s.up && s.sonde {
			a.toServer(s, &wire.Packet{Ext: stream(q)})
		}
	}
}

// told takes the answer of a server.
func (a *agent) told(t wire.Tolds) {
	if said, ok := a.asks[t.Ask]; ok {
		select {
		case said <- t:
		default: // it is answered already
		}
	}
}

func answerOf(t wire.Tolds) Answer {
	var a Answer
	found := map[wire.ID]wire.Finding{}
	for _, one := range t.All {
		found[one.From] = one.Finding
		a.Age = max(a.Age, time.Duration(one.Age)*time.Second)
	}
	about := func(from, of wire.ID) *PairStatus {
		f, ok := found[from]
		if !ok || f.Peer != of {
			return nil
		}
		var mine wire.CandidateKind // as the other says
		if back, ok := found[of]; ok && back.Peer == from {
			mine = back.Theirs
		}
		st := pairStatus(of, f, mine)
		return &st
	}
	a.There, a.Back = about(t.A, t.B), about(t.B, t.A)
	return a
}
