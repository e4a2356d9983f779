package mesh

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/internal/testrace"
)

// mover starts a node that gives and takes files as n says.
func (w *world) mover(n *Node, at string, link testnet.Link) *resident {
	r := &resident{Node: n, host: w.net.Host(link, testnet.Link{}, at)}
	n.Servers, n.Listen, n.ListenPacket = []string{serverAddress}, netip.AddrPortFrom(netip.MustParseAddr(at), 5000), r.listen
	n.NoSTUN = true
	w.run(r)
	return r
}

// content is n bytes that do not repeat.
func content(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(b)
	return b
}

func writeFile(t *testing.T, folder, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func holds(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v; %d bytes, SHA-256 %x, want %d bytes, %x", path, err, len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
}

// entries are the names in a folder, hidden ones too.
func entries(t *testing.T, folder string) []string {
	t.Helper()
	all, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

const farDelay = 50 * time.Millisecond

func lossy(p float64) testnet.Link {
	l := testnet.Link{Delay: farDelay, Seed: 3}
	if p > 0 {
		l.Loss = testnet.Share(p)
	}
	return l
}

// Files of every awkward size arrive whole, both ways, whatever is lost, and at
// least eight times as fast as one block at a time would be.
func TestBulk(t *testing.T) {
	large := 50_000_000
	if testrace.Enabled {
		large = 3_000_000 // the detector makes each packet ten times as dear
	}
	for _, loss := range []float64{0, 0.05, 0.3} {
		for _, size := range []int{0, 1, 1023, 1024, 1025, large} {
			t.Run(fmt.Sprintf("%d bytes at %v loss", size, loss), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { moveBothWays(t, size, loss) })
			})
		}
	}
}

func moveBothWays(t *testing.T, size int, loss float64) {
	w := newWorld(t, &Server{})
	defer w.end()
	there, here, out := t.TempDir(), t.TempDir(), t.TempDir()
	a := w.mover(&Node{Name: "a"}, place(0), lossy(loss))
	w.mover(&Node{Name: "b", Serve: there, Accept: here}, place(1), lossy(loss))
	want := content(size, 1)
	writeFile(t, there, "object.bin", want)
	file := writeFile(t, out, "pushed.bin", want)
	synctest.Wait() // both run
	begun := time.Now()
	stages := map[Stage]int{}
	told := func(m Transfer) { stages[m.Stage]++ }
	got, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, told)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	holds(t, filepath.Join(out, "object.bin"), want)
	report(t, "pull", got, time.Since(begun))
	begun = time.Now()
	put, err := a.Put(t.Context(), file, "b", told)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	holds(t, filepath.Join(here, "pushed.bin"), want)
	report(t, "push", put, time.Since(begun))
	if stages[Finding] == 0 || size > 1_000_000 && stages[Moving] == 0 || got.Stage != Ended || put.Stage != Ended {
		t.Errorf("told: %v; in the end %s, %s", stages, got.Stage, put.Stage)
	}
}

// report compares with stop-and-wait that loses nothing: a round trip for each
// block.
func report(t *testing.T, what string, m Transfer, took time.Duration) {
	t.Helper()
	single := time.Duration(float64(m.Size) / float64(m.BlockSize) * float64(2*farDelay))
	t.Logf("%s: %d bytes in %v (%v), %d blocks, %d again, %d twice: %.0f times stop-and-wait, %+v", what, m.Size, m.Elapsed, took, m.Blocks, m.Again, m.Twice, float64(single)/float64(m.Elapsed), m.Sources)
	if m.Size >= 1_000_000 && 8*m.Elapsed > single {
		t.Errorf("%s: %v, stop-and-wait takes %v", what, m.Elapsed, single)
	}
}
