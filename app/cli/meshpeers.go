//go:build !nano

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

func meshPeersCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var (
		servers serversFlag
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "peers --server HOST",
		Short: "list who is there, with UUID and NAT",
		Long: `List the nodes and clients that the servers list now: name, UUID and how their NAT
behaves. Nobody is told of it.`,
		Example: `  sonde mesh peers --server 192.0.2.1`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(servers.check(), o.validate()); err != nil {
				return err
			}
			return servers.observe(cmd.Context(), o, answerTime+listTime, func(ctx context.Context, n *mesh.Node) error {
				peers, err := listed(ctx, n)
				if err != nil {
					return err
				}
				return printPeers(o, peers, asJSON)
			})
		},
	}
	fs := cmd.Flags()
	servers.register(fs)
	fs.BoolVar(&asJSON, "json", false, "one JSON document")
	o.registerLog(fs)
	return cmd
}

// listed waits for the first list: until somebody is in it, or a list would have
// come.
func listed(ctx context.Context, n *mesh.Node) ([]mesh.PeerStatus, error) {
	for late := time.Now().Add(2 * time.Second); ; {
		peers := n.Status().Peers
		if len(peers) > 0 || time.Now().After(late) {
			return peers, interrupted(ctx)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func printPeers(o *output, peers []mesh.PeerStatus, asJSON bool) error {
	o.env.told = true
	if asJSON {
		b, err := json.Marshal(struct {
			Schema string            `json:"schema"`
			Time   time.Time         `json:"time"`
			Peers  []mesh.PeerStatus `json:"peers"`
		}{"sonde.mesh-peers/1", time.Now(), peers})
		if err == nil {
			_, err = fmt.Fprintf(o.env.out, "%s\n", b)
		}
		return err
	}
	if len(peers) == 0 {
		_, err := fmt.Fprintln(o.env.out, "nobody is listed")
		return err
	}
	var rows [][]string
	for _, p := range peers {
		kind := "sonde"
		if p.Original {
			kind = "original client"
		}
		rows = append(rows, []string{label(p), cmp.Or(p.ID, "-"), kind, "NAT " + cmp.Or(meshview.NAT(p.Mapping, p.Filtering), "-")})
	}
	meshview.WriteColumns(o.env.out, rows)
	return nil
}

func meshSayCommand(e *env) *cobra.Command {
	o := newOutput(e)
	var f struct {
		servers serversFlag
		name    string
		wait    duration
	}
	f.wait = duration(20 * time.Second)
	cmd := &cobra.Command{
		Use:   "say --server HOST PEER TEXT",
		Short: "send a line of text to a node",
		Long: `Join, send a line of text to the node with a name or UUID, and leave when that node
has it. It is shown there as "NAME says: TEXT". Nothing is encrypted.`,
		Example: `  sonde mesh say --server 192.0.2.1 b 'restart the router, please'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return misuse("", "%s: %d arguments; give PEER and TEXT, the text in quotes", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(f.servers.check(), checkMeshName(f.name), o.validate()); err != nil {
				return err
			}
			if len(args[1]) > wire.MaxText {
				return misuse("", "the text has %d bytes; give at most %d", len(args[1]), wire.MaxText)
			}
			n := &mesh.Node{Servers: f.servers.at, Name: cmp.Or(f.name, hostName()), Log: o.briefLog()}
			err := f.servers.join(cmd.Context(), n, time.Duration(f.wait), func(ctx context.Context, n *mesh.Node) error {
				p, err := waitFor(ctx, n, args[0])
				if err != nil {
					return err
				}
				return n.Say(ctx, cmp.Or(p.ID, args[0]), args[1])
			})
			if err == context.DeadlineExceeded {
				return &result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("mesh: %s did not acknowledge the text in %v", args[0], time.Duration(f.wait)), Hint: "see with sonde mesh check whether there is a path to it"}
			}
			return err
		},
	}
	fs := cmd.Flags()
	f.servers.register(fs)
	fs.StringVar(&f.name, "name", "", "`NAME` of the sender (default this host's)")
	fs.VarP(&f.wait, "wait", "w", "wait so long for the node and a way to it")
	o.registerLog(fs)
	return cmd
}
