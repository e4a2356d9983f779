package stream

import (
	"math/rand/v2"
	"testing"

	"github.com/sonde-net/sonde/internal/stat"
)

// feed records packets of several sources: packet i has the number that number
// gives it and comes from source i%sources, in trains, unless lost.
func feed(sources, packets, train int, loss float64, number func(i, source int) uint32) (*numbering, int) {
	u := &numbering{}
	for range sources {
		u.sources = append(u.sources, &source{})
	}
	chance := rand.New(rand.NewPCG(1, 2))
	lost := 0
	for i := range packets {
		s := i / train % sources
		if i > train*sources && i < packets-train*sources && chance.Float64() < loss {
			lost++
			continue
		}
		u.record(u.sources[s], number(i, s), 1)
	}
	return u, lost
}

func TestNumbering(t *testing.T) {
	for _, tt := range []struct {
		name           string
		sources, train int
		loss           float64
		common         bool
	}{
		{"one source", 1, 1, 0, false},
		{"own numbers", 4, 1, 0, false},
		{"own numbers, half lost", 2, 1, 0.5, false},
		{"own numbers in trains", 4, 45, 0, false},
		{"common numbers", 4, 1, 0, true},
		{"common numbers, two sources", 2, 1, 0, true},
		{"common numbers, many sources", 20, 1, 0, true},
		{"common numbers, some lost", 4, 1, 0.2, true},
		{"common numbers in trains", 4, 16, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := make([]uint32, tt.sources)
			u, lost := feed(tt.sources, 20_000, tt.train, tt.loss, func(i, s int) uint32 {
				if tt.common {
					return uint32(i)
				}
				// A lost number still was one: count packets of the source.
				next[s] = uint32(i/(tt.train*tt.sources)*tt.train + i%tt.train)
				return next[s]
			})
			if u.common != tt.common {
				t.Fatalf("common: %v, want %v", u.common, tt.common)
			}
			c := u.counts()
			if int(c.Lost) != lost || c.Unique != uint64(20_000-lost) || c.Duplicate+c.Reordered+c.Late != 0 {
				t.Errorf("counts %+v, want %d lost of 20000", c, lost)
			}
			if u.log != nil {
				t.Error("the log is still kept")
			}
		})
	}
}

// TestNumberingTold: when the protocol says that numbers are common, nothing is
// kept to decide it.
func TestNumberingTold(t *testing.T) {
	u := &numbering{common: true, sources: []*source{{}, {}}}
	for i := range 10 {
		u.record(u.sources[i%2], uint32(i), 1)
	}
	if c := u.counts(); c != (stat.Counts{Unique: 10}) || u.log != nil {
		t.Errorf("counts %+v, log of %d", c, len(u.log))
	}
}
