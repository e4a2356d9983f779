//go:build !nano

package cli

import "github.com/sonde-net/sonde/mesh"

// daemonCommands are what runs from a configuration file and keeps results, and
// the mesh; the small build for routers (build tag nano) is without them.
var daemonCommands = []command{
	meshCommand,
	natCommand,
	serveCommand,
	configCommand,
	topCommand,
	reloadCommand,
	healthCommand,
	usersCommand,
	reportCommand,
	resultsCommand,
}

// daemonBorrowed are the names of programs that only this build stands in for.
var daemonBorrowed = map[string]command{
	"ptpserver": ptpServerCommand,
	"ptpclient": ptpClientCommand,
	"ptptest":   ptptestCommand,

	"btest-server-pro": oldProCommand,
}

// daemonProtocols are those that only this build speaks.
var daemonProtocols = []string{mesh.Protocol}
