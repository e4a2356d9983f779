package auth_test

import (
	"crypto/rand"
	"fmt"

	"github.com/sonde-net/sonde/btest/auth"
)

// A login by EC-SRP5, both sides; what is sent is marked.
func Example() {
	var salt [16]byte
	rand.Read(salt[:])
	record := auth.NewRecord("ann", "secret", salt) // kept by the server

	client, err := auth.NewClient("ann", "secret", rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := auth.NewServer(record, true, rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	serverKey, err := server.Key(client.Key()) // → client key
	if err != nil {
		fmt.Println(err)
		return
	}
	confirm, err := client.Confirm(serverKey) // ← server key
	if err != nil {
		fmt.Println(err)
		return
	}
	serverConfirm, ok := server.Check(confirm) // → client's confirmation
	fmt.Println("the server lets ann in:", ok)
	err = client.Verify(serverConfirm) // ← server's confirmation
	fmt.Println("the client trusts the server:", err == nil)
	// Output:
	// the server lets ann in: true
	// the client trusts the server: true
}
