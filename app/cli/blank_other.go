//go:build !linux

package cli

// blankPassword does nothing here: this system does not let a program change
// what others see of its command line.
func blankPassword(secret string) string { return secret }
