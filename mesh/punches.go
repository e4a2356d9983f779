package mesh

import (
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// punches are those that came before the list that names their peer: the latest
// few, for a short while. The zero punches is ready to use.
type punches struct {
	places [64]struct {
		wire.Punch
		at time.Time
	}
	next int
}

// punchWait is how long the list may take.
const punchWait = 10 * time.Second

func (p *punches) put(u wire.Punch, now time.Time) {
	e := &p.places[p.next%len(p.places)]
	p.next++
	e.Punch, e.at = u, now
}

// take returns the Punch for a peer, once.
func (p *punches) take(peer wire.ID, now time.Time) (wire.Punch, bool) {
	for i := range p.places {
		e := &p.places[i]
		if e.Peer == peer && !e.at.IsZero() && now.Sub(e.at) < punchWait {
			e.at = time.Time{}
			return e.Punch, true
		}
	}
	return wire.Punch{}, false
}
