package verdict

import "github.com/sonde-net/sonde/result"

// A Series makes one outcome of repeated runs, because one bad run is not an
// alarm: it is crossed when at least M of the last N runs were. The zero Series
// judges each run by itself.
type Series struct {
	M, N int // 1 <= M <= N; 0 means 1
	last []result.Outcome
}

// Add takes the outcome of the latest run and returns that of the series. Runs
// that could not be told count where they could make the difference.
func (s *Series) Add(o result.Outcome) result.Outcome {
	m, n := max(1, s.M), max(1, s.N)
	s.last = append(s.last, o)
	s.last = s.last[max(0, len(s.last)-n):]
	counts := map[result.Outcome]int{}
	for _, one := range s.last {
		counts[one]++
	}
	switch {
	case counts[result.Crossed] >= m:
		return result.Crossed
	case counts[result.Crossed]+counts[result.Unknown] >= m:
		return result.Unknown
	}
	return result.Passed
}
