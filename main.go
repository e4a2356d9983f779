// Sonde measures networks by speaking the protocols already out there.
package main

import (
	"os"

	"github.com/sonde-net/sonde/app/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
