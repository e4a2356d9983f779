package btest

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
)

// TestReadPort: the server's UDP port is found behind a doubled "go", also where the
// second one comes late; and one that really is 256 is taken for what it is, with the
// status after it whole.
func TestReadPort(t *testing.T) {
	second := []byte{0, 0, 8, 1}
	for _, tt := range []struct {
		name  string
		first []byte
		late  time.Duration
		rest  []byte
		want  uint16
	}{
		{"alone", []byte{8, 1}, 0, nil, 2049},
		{"doubled", []byte{1, 0}, 0, second, 2049},
		{"doubled, late", []byte{1, 0}, doubleTime * 8 / 10, second, 2049},
		{"256", []byte{1, 0}, time.Second, make([]byte, wire.StatusLen), 256},
		{"256, and nothing more", []byte{1, 0}, time.Minute, nil, 256},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				said := make(chan struct{})
				defer func() { near.Close(); <-said }()
				go func() {
					defer close(said)
					far.Write(tt.first)
					time.Sleep(tt.late)
					far.Write(tt.rest)
				}()
				ctrl, release := newControl(t.Context(), near)
				defer release()
				if got, err := readPort(ctrl); err != nil || got != tt.want {
					t.Errorf("port %d, %v, want %d", got, err, tt.want)
				}
				if tt.want == 256 && tt.rest != nil {
					if _, err := ctrl.read("status", wire.StatusLen); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
