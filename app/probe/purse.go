package probe

import "time"

const day = 24 * time.Hour

// dayOf is the day of UTC.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(day) }

// mostDays is how many days are remembered: a clock that is set back must not
// make the bytes of a day free again.
const mostDays = 8

// A purse is the bytes that a probe may move in a day.
type purse struct {
	most  uint64 // 0 is no limit
	moved map[time.Time]uint64
	order []time.Time
	last  uint64 // of the latest test that was not cut short
}

// left is what may still be moved on a day; nil without a limit. It is false if
// that is less than a test takes.
func (p *purse) left(today time.Time) (*uint64, bool) {
	if p.most == 0 {
		return nil, true
	}
	moved := p.moved[today]
	if moved >= p.most || p.most-moved < p.last {
		return nil, false
	}
	return new(p.most - moved), true
}

// spend books bytes of a day.
func (p *purse) spend(today time.Time, n uint64) {
	if p.moved == nil {
		p.moved = map[time.Time]uint64{}
	}
	if _, known := p.moved[today]; !known {
		p.order = append(p.order, today)
		if len(p.order) > mostDays {
			delete(p.moved, p.order[0])
			p.order = p.order[1:]
		}
	}
	p.moved[today] += n
}

// ran books a test.
func (p *purse) ran(today time.Time, r Run) {
	p.spend(today, r.Bytes)
	if r.Err == nil && r.Bytes < p.most {
		p.last = r.Bytes
	}
}
