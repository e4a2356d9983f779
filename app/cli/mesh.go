//go:build !nano

package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/mesh/wire"
)

func meshCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mesh",
		Short: "who can reach whom over UDP, how, and why not",
		Long: `A server introduces nodes to each other; each node pings all others and says how
it reaches them: directly, punched through NATs, at a port that a router maps,
relayed by the server, or not at all, and why. Start the server on a public host
and a node at each place, and ask about two of them with sonde mesh check.

Servers and nodes speak with ptptest's, too. Nothing is encrypted.`,
		Example: `  sonde mesh server --relay                        on a host with a public address
  sonde mesh node --server HOST --name a           at one place
  sonde mesh node --server HOST --name b           at another
  sonde mesh check --server HOST a b               can they talk, how, and if not, why`,
	}
	cmd.AddCommand(meshServerCommand(e), meshNodeCommand(e), meshCheckCommand(e), meshPeersCommand(e), meshSayCommand(e), meshKeyCommand(e), meshGetCommand(e), meshPutCommand(e))
	return cmd
}

// serversFlag are the servers of a node, and by which keys it knows them.
type serversFlag struct {
	at     []string
	key    meshKeyFlag
	signer string
	verify *mesh.VerifyKey
}

func (f *serversFlag) register(fs *pflag.FlagSet) {
	fs.StringSliceVarP(&f.at, "server", "s", nil, "`HOST` or HOST:PORT of a server, UDP port 23456 unless given; may be given again, all are used")
	f.key.register(fs)
	fs.StringVar(&f.signer, "server-key", "", "public `KEY` of the servers, 64 hexadecimal digits: what they tell of others counts only if it is signed with its other half")
}

func (f *serversFlag) check() error {
	if len(f.at) == 0 {
		return misuse("", "--server is missing; give the host that sonde mesh server runs on, such as --server 192.0.2.1")
	}
	for _, s := range f.at {
		if err := checkTarget(s); err != nil {
			return misuse("", "--server %w", err)
		}
	}
	if f.signer != "" {
		var err error
		if f.verify, err = mesh.ParseVerifyKey(f.signer); err != nil {
			return misuse("", "--server-key: %v; it is what sonde mesh key --signing prints", err)
		}
	}
	return f.key.read()
}

// apply tells the node.
func (f *serversFlag) apply(n *mesh.Node) { n.Servers, n.Key, n.Verify = f.at, f.key.key, f.verify }

// names are the servers in a sentence.
func (f *serversFlag) names() string { return strings.Join(f.at, ", ") }

// checkMeshName refuses names that cannot be sent.
func checkMeshName(name string) error {
	if len(name) > wire.MaxName {
		return misuse("", "%s: %d bytes; give at most %d", flagValue("name", name), len(name), wire.MaxName)
	}
	return nil
}
