package testnet_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// Eight datagrams over a link that loses each fourth. In a test this would stand
// inside synctest.Test, where the delay costs no time.
func Example() {
	var n testnet.Network
	server := n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1", "2001:db8::1")
	client := n.Host(
		testnet.Link{Delay: 5 * time.Millisecond, Loss: testnet.Every(4)}, // what it sends
		testnet.Link{Delay: 5 * time.Millisecond, Rate: 10_000_000},       // what it is sent
		"192.0.2.2")

	ctx := context.Background()
	in, err := server.ListenPacket(ctx, "udp", ":2000")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer in.Close()
	out, err := client.DialContext(ctx, "udp", "192.0.2.1:2000")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer out.Close()
	for i := range byte(8) {
		if _, err := out.Write([]byte{i}); err != nil {
			fmt.Println(err)
		}
	}

	came := 0
	in.SetReadDeadline(time.Now().Add(time.Second))
	for {
		if _, _, err := in.ReadFrom(make([]byte, 1)); err != nil {
			fmt.Println(err.(net.Error).Timeout())
			break
		}
		came++
	}
	did := client.Up.Counts()
	fmt.Printf("%d came, the link passed %d and lost %d of %d\n", came, did.Passed, did.Lost, did.Offered)
	// Output:
	// true
	// 6 came, the link passed 6 and lost 2 of 8
}
