package mesh_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// A server and two nodes on this host: they meet, and a says how.
func Example() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := conn.LocalAddr().String()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 3)
	go func() { ended <- (&mesh.Server{}).Serve(ctx, conn) }()
	go func() { ended <- (&mesh.Node{Servers: []string{server}, Name: "b"}).Run(ctx, result.Discard) }()
	tell := result.Func(func(e result.Event) {
		if n, ok := e.(result.Note); ok && n.Code == "path_direct" {
			fmt.Println(n.Text[:len("b: direct to")])
			cancel()
		}
	})
	go func() { ended <- (&mesh.Node{Servers: []string{server}, Name: "a"}).Run(ctx, tell) }()
	for range 3 {
		if err := <-ended; err != nil {
			fmt.Println(err)
		}
	}
	// Output: b: direct to
}
