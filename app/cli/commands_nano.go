//go:build nano

package cli

// The small build is without these.
var (
	daemonCommands  []command
	daemonBorrowed  map[string]command
	daemonProtocols []string
)
