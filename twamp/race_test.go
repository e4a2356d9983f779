//go:build race

package twamp

// raceDetector says that the tests run with it: it needs memory and time of its
// own.
const raceDetector = true
