// Package stat turns packets and intervals into figures: loss, order and
// duplication (Window), jitter (Jitter), distributions of delay (Histogram) and
// how steady a rate was (Series).
//
// It is pure: no I/O, no clock, no goroutine, no lock. Times are passed in. What
// is called once per packet allocates nothing.
package stat
