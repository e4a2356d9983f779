package diagnose

import "math"

// A load is the CPU readings of one end. One high reading says nothing; a limit
// takes the median and three quarters of all.
type load struct {
	counts [101]int // by percent
	n      int
	row    int // readings above cpuWarn in a row
	latest float64
	warned bool // NoteCPUBusy was put
}

// add takes a reading; unknown ones and those out of range are left out.
func (l *load) add(percent *float64) {
	if percent == nil || !(*percent >= 0 && *percent <= 100) {
		return
	}
	l.counts[int(math.Round(*percent))]++
	l.n++
	l.latest = *percent
	l.row++
	if *percent <= cpuWarn {
		l.row = 0
	}
}

// median is the lower one of an even number; false when there was no reading.
func (l *load) median() (float64, bool) {
	seen := 0
	for percent, n := range l.counts {
		if seen += n; seen > 0 && 2*seen >= l.n {
			return float64(percent), true
		}
	}
	return 0, false
}

// above is how many readings are at least percent.
func (l *load) above(percent float64) int {
	var n int
	for _, c := range l.counts[int(percent):] {
		n += c
	}
	return n
}

// full reports whether the processors of this end were the limit all along.
func (l *load) full() bool {
	m, ok := l.median()
	return ok && l.n >= 3 && m >= cpuFull && float64(l.above(cpuHigh)) >= mostly*float64(l.n)
}

// calm reports whether the processors are known to have had time to spare.
func (l *load) calm() bool {
	return l.n >= 3 && float64(l.above(cpuCalm)) <= (1-mostly)*float64(l.n)
}
