package btest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// TestElapsed: a test lasts as long as it was asked to, at both ends.
func TestElapsed(t *testing.T) {
	const want = 3 * time.Second
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			t.Run(fmt.Sprintf("udp=%v %v", udp, d), func(t *testing.T) {
				inBubble(t, &Server{}, func(t *testing.T, b *bubble) {
					near, far, err := b.test(t, &Client{UDP: udp, Direction: d, Duration: want, UpRate: 1e6, DownRate: 1e6,
						Dial: b.client.DialContext, ListenPacket: b.client.ListenPacket})
					if err != nil {
						t.Fatal(err)
					}
					for _, s := range []seen{near, far} {
						if end := s.check(t); end.Elapsed < want || end.Elapsed > want+300*time.Millisecond {
							t.Errorf("%s: %v", end.Role, end.Elapsed)
						}
					}
				})
			})
		}
	}
}
