package mesh

import "time"

// A Stage is what a transfer does.
type Stage string

// The stages.
const (
	Finding  Stage = "finding"  // the peers, and paths to them
	Reading  Stage = "reading"  // the file for its checksum
	Offering Stage = "offering" // waiting for the offer, or for its answer
	Moving   Stage = "moving"   // blocks
	Checking Stage = "checking" // what is here for its checksum
	Ended    Stage = "ended"
)

// A progress tells of one transfer once a second.
type progress struct {
	to    func(Transfer) // nil tells nobody
	told  time.Time
	stage Stage
}

// tick tells how it stands if it is time for that.
func (p *progress) tick(now time.Time, transfer func(time.Time) Transfer) {
	if p.to == nil || now.Sub(p.told) < time.Second {
		return
	}
	p.told = now
	p.to(transfer(now))
}
