package compare

import "math"

// tail is the chance that Student's t with so many degrees of freedom is as far
// from zero as t, on either side: the regularised incomplete beta function
// (Abramowitz and Stegun, 26.7.1 and 26.5.27).
func tail(t, free float64) float64 {
	return beta(free/(free+t*t), free/2, 0.5)
}

// quantile is the t that Student's t stays below with chance p, above 1/2.
func quantile(p, free float64) float64 {
	low, high := 0.0, 1e6
	for range 100 {
		mid := (low + high) / 2
		if 1-tail(mid, free)/2 < p {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// beta is the regularised incomplete beta function I_x(a, b), by its continued
// fraction (Abramowitz and Stegun, 26.5.8) with Lentz's method.
func beta(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - beta(1-x, b, a)
	}
	ab, _ := math.Lgamma(a + b)
	ga, _ := math.Lgamma(a)
	gb, _ := math.Lgamma(b)
	front := math.Exp(ab-ga-gb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	c, d, f := 1.0, 0.0, 1.0
	for n := range 300 {
		m := float64(n / 2)
		var term float64
		switch {
		case n == 0:
			term = 1
		case n%2 == 0:
			term = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + term*d; math.Abs(d) < tiny {
			d = tiny
		}
		if c = 1 + term/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		if math.Abs(1-c*d) < 1e-12 {
			break
		}
	}
	return front * (f - 1)
}
