package mesh

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
)

// Files go through NATs of the kernel, over the path that the two sides have:
// directly, through holes that both punch, or by way of the server.
func TestBulkThroughNATs(t *testing.T) {
	testnet.NeedNamespaces(t)
	var wg sync.WaitGroup
	for _, tt := range []struct {
		kinds [2]string
		size  int
		path  []string
	}{
		{[2]string{noNAT, firewalled}, 2_000_000, []string{"host", "reflexive", "peer-reflexive"}},
		{[2]string{portRestricted, portRestricted}, 2_000_000, []string{"reflexive", "peer-reflexive"}},
		{[2]string{symmetric, restricted}, 2_000_000, []string{"reflexive", "peer-reflexive", "predicted"}},
		{[2]string{symmetric, symmetric}, 12_000, []string{wire.CandidateRelay.String()}},
	} {
		l := newLab(t, tt.kinds[:]...)
		folders := [2]string{t.TempDir(), t.TempDir()}
		want := content(tt.size, 1)
		writeFile(t, folders[0], "object.bin", want)
		for _, r := range l.seen {
			for _, err := r.bulkEngine(); err != nil; _, err = r.bulkEngine() {
				time.Sleep(time.Millisecond)
			}
			r.with(func(*agent) {
				r.BulkRelayed = true
				var err error
				if r.bulk.shelf, err = newShelf(folders[0]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			got, err := l.seen[1].Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"side0"}, Into: folders[1]}, nil)
			for _, stop := range slices.Backward(l.stop) {
				stop()
			}
			if err != nil {
				t.Errorf("%v: %v: %+v", tt.kinds, err, got)
				return
			}
			holds(t, filepath.Join(folders[1], "object.bin"), want)
			t.Logf("%v: %d bytes in %v by %s, %d of %d blocks again", tt.kinds, got.Size, got.Elapsed, got.Sources[0].Path, got.Again, got.Blocks)
			if !slices.Contains(tt.path, got.Sources[0].Path) {
				t.Errorf("%v: by %s, want one of %v", tt.kinds, got.Sources[0].Path, tt.path)
			}
		})
	}
	wg.Wait()
}
