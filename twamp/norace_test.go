//go:build !race

package twamp

const raceDetector = false
