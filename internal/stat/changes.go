package stat

import "math"

// What is asked of a change of level.
const (
	changeT      = 6.0  // of the two-sample t statistic
	changeShare  = 0.10 // difference of the two means over the greater
	changePoints = 3    // values in a row: one bad sample is not a change
	changeDepth  = 6    // times that a part is looked at again; each looks at all pairs
)

// changes finds where the level of x changed: the indices at which a new level
// begins, in order.
//
// The method is circular binary segmentation (Olshen and others, Biostatistics
// 5, 2004): of all stretches of x the one is taken whose mean is farthest, by
// Student's t, from that of all the rest; if t is at least 6 and the means
// differ by 10 %, x is cut at its ends and each part is looked at again. The
// rates of neighbouring intervals resemble each other, so the variance is
// corrected for the correlation of neighbours, by (1+r)/(1-r) as for a
// first-order autoregressive process. The tests measure how often noise alone
// is cut. It takes time by the square of len(x).
func changes(x []float64) []int { return changesIn(x, changeDepth) }

func changesIn(x []float64, depth int) []int {
	from, to, ok := stretch(x)
	if !ok || depth == 0 {
		return nil
	}
	var found []int
	for _, part := range [][2]int{{0, from}, {from, to}, {to, len(x)}} {
		if part[0] > 0 && part[0] < len(x) {
			found = append(found, part[0])
		}
		for _, i := range changesIn(x[part[0]:part[1]], depth-1) {
			found = append(found, part[0]+i)
		}
	}
	return found
}

// stretch finds the part of x, x[from:to], that differs most from the rest, and
// whether the difference is a change of level.
func stretch(x []float64) (from, to int, ok bool) {
	n := len(x)
	if n < 2*changePoints || mean(x) <= 0 {
		return 0, 0, false
	}
	sums := make([]float64, n+1) // of the first i values
	for i, v := range x {
		sums[i+1] = sums[i] + v
	}
	// The greatest sum of squares between the two groups has the greatest t.
	var most float64
	for i := 0; i < n; i = next(i) {
		for j := i + changePoints; j <= n; j++ {
			if short := n - j; short > 0 && short < changePoints || n-(j-i) < changePoints {
				continue
			}
			inside, outside := float64(j-i), float64(n-(j-i))
			step := (sums[j]-sums[i])/inside - (sums[n]-sums[j]+sums[i])/outside
			if between := inside * outside / float64(n) * step * step; between > most {
				most, from, to = between, i, j
			}
		}
	}
	if most == 0 {
		return 0, 0, false
	}
	in := mean(x[from:to])
	out := (sums[n] - sums[to] + sums[from]) / float64(n-(to-from))
	if math.Abs(in-out) < changeShare*max(in, out) {
		return 0, 0, false
	}
	return from, to, most >= changeT*changeT*noise(x, from, to, in, out)
}

// next is the start after i that leaves either nothing or enough before it.
func next(i int) int {
	if i == 0 {
		return changePoints
	}
	return i + 1
}

// noise is the variance of x about the mean of its group, x[from:to] or the
// rest, corrected for the correlation of neighbours.
func noise(x []float64, from, to int, in, out float64) float64 {
	var squares, products, last float64
	for i, v := range x {
		away := v - out
		if from <= i && i < to {
			away = v - in
		}
		squares += away * away
		products += away * last
		last = away
	}
	if squares == 0 {
		return 0
	}
	r := min(max(products/squares, 0), 0.9)
	return squares / float64(len(x)-2) * (1 + r) / (1 - r)
}
