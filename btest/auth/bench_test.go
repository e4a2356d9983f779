package auth

import "testing"

// BenchmarkClient is one login from NewClient to Verify.
func BenchmarkClient(b *testing.B) {
	server := newServer(b, true)
	first, err := NewClient("ann", "secret", newRandom(6001))
	if err != nil {
		b.Fatal(err)
	}
	key, err := server.Key(first.Key())
	if err != nil {
		b.Fatal(err)
	}
	confirm, err := first.Confirm(key)
	if err != nil {
		b.Fatal(err)
	}
	serverConfirm, ok := server.Check(confirm)
	if !ok {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	for b.Loop() {
		client, err := NewClient("ann", "secret", newRandom(6001))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := client.Confirm(key); err != nil {
			b.Fatal(err)
		}
		if err := client.Verify(serverConfirm); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkServer is one login from NewServer to Check.
func BenchmarkServer(b *testing.B) {
	client, confirm := converse(b, newServer(b, true), "ann", "secret")
	record := NewRecord("ann", "secret", [16]byte{1})
	b.ReportAllocs()
	for b.Loop() {
		server, err := NewServer(record, true, newRandom(6000))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := server.Key(client.Key()); err != nil {
			b.Fatal(err)
		}
		if _, ok := server.Check(confirm); !ok {
			b.Fatal("refused")
		}
	}
}

// BenchmarkServerKey is what a stranger's first message costs.
func BenchmarkServerKey(b *testing.B) {
	server := newServer(b, true)
	client, _ := converse(b, server, "ann", "secret")
	for b.Loop() {
		if _, err := server.Key(client.Key()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecoy(b *testing.B) {
	for b.Loop() {
		Decoy([32]byte{1}, "ann")
	}
}

func BenchmarkMultiply(b *testing.B) {
	n, p := draw32(newRandom(1)), blind([32]byte{}, 0)
	for b.Loop() {
		multiply(n, p)
	}
}

func BenchmarkBlind(b *testing.B) {
	for b.Loop() {
		blind([32]byte{}, 0)
	}
}
