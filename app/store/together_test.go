package store

import (
	"path/filepath"
	"sync"
	"testing"
)

// TestMadeTogether: several programs make one store at the same moment, as a
// server and sonde users do.
func TestMadeTogether(t *testing.T) {
	for range 2 {
		file := filepath.Join(t.TempDir(), "sonde.db")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := Open(t.Context(), Config{DSN: file})
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
		}
		wg.Wait()
	}
}
