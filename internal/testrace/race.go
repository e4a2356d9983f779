//go:build race

package testrace

// Enabled tells whether the race detector is there.
const Enabled = true
