package stat

import "github.com/sonde-net/sonde/result"

// A Mean is the mean of figures some of which may be unknown. The zero Mean is
// ready to use.
type Mean struct {
	sum float64
	n   int
}

// Add takes a figure, nil if it is unknown.
func (m *Mean) Add(v *float64) {
	if v != nil {
		m.sum += *v
		m.n++
	}
}

// Value is the mean of the known figures, nil if there were none.
func (m *Mean) Value() *float64 {
	if m.n == 0 {
		return nil
	}
	return result.Some(m.sum / float64(m.n))
}
