// Package testrace tells tests whether they run with the race detector, which needs
// memory and time of its own.
package testrace
