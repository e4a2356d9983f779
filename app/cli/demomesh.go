//go:build !nano

package cli

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// demoMesh runs a mesh of a server and three nodes on loopback until each has
// measured the others, and says how they reach each other.
func demoMesh(ctx context.Context, o *output) error {
	o.say("\nMesh, a server and three nodes that ping each other:\n")
	ctx, stop := context.WithTimeout(ctx, 15*time.Second)
	defer stop()
	conns, err := openMesh(ctx, []string{"127.0.0.1:0"}, false)
	if err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	server := &mesh.Server{}
	wg.Go(func() { _ = server.Serve(running, conns...) }) // that nobody is heard says it
	var nodes []*mesh.Node
	for _, name := range []string{"anna", "ben", "cleo"} {
		n := &mesh.Node{Servers: []string{loopback(conns[0])}, Name: name, Interval: 50 * time.Millisecond, NoSTUN: true, ListenPacket: onLoopback}
		nodes = append(nodes, n)
		wg.Go(func() { _ = n.Run(running, result.Discard) })
	}
	for !allMeasured(nodes) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			if err := interrupted(ctx); err != nil {
				return err
			}
			return &result.Error{Word: result.CodeUnreachable, Text: "mesh: the nodes on this machine did not find each other", Hint: "does a firewall block UDP on loopback?"}
		}
	}
	var b bytes.Buffer
	v := meshview.OfNode(nodes[0].Status())
	rows := [][]string{}
	for _, n := range v.Nodes[1:] {
		p, _ := v.Pair(v.Nodes[0], n)
		rows = append(rows, []string{v.Nodes[0].Label + " - " + n.Label, meshview.Word(p), meshview.Figures(p)})
	}
	v = meshview.OfNode(nodes[1].Status())
	for _, n := range v.Nodes[1:] {
		if p, ok := v.Pair(v.Nodes[0], n); ok && n.Label == "cleo" {
			rows = append(rows, []string{v.Nodes[0].Label + " - " + n.Label, meshview.Word(p), meshview.Figures(p)})
		}
	}
	meshview.WriteColumns(&b, rows)
	o.say("%s", b.String())
	return nil
}

// enoughPings are those of each pair that the demo waits for.
const enoughPings = 20

func allMeasured(nodes []*mesh.Node) bool {
	for _, n := range nodes {
		peers := n.Status().Peers
		if len(peers) != len(nodes)-1 {
			return false
		}
		for _, p := range peers {
			if p.Path == mesh.PathNone || p.Figures.Replies < enoughPings {
				return false
			}
		}
	}
	return true
}

// onLoopback opens sockets that nothing leaves the machine by.
func onLoopback(ctx context.Context, _, _ string) (net.PacketConn, error) {
	return (&net.ListenConfig{}).ListenPacket(ctx, "udp", "127.0.0.1:0")
}
