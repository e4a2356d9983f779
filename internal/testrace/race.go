//go:build race

// Package testrace tells tests whether they run with the race detector.
package testrace

// Enabled is true with the race detector, which needs memory and time of its own.
const Enabled = true
