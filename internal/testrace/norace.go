//go:build !race

package testrace

// Enabled is true with the race detector, which needs memory and time of its own.
const Enabled = false
