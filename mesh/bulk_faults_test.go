package mesh

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// Of three sources two are killed in the middle: the other gives the rest.
func TestBulkSourceDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		there, out := t.TempDir(), t.TempDir()
		want := content(4_000_000, 2)
		writeFile(t, there, "object.bin", want)
		a := w.mover(&Node{Name: "a"}, place(0), lossy(0.05))
		b := w.mover(&Node{Name: "b", Serve: there}, place(1), lossy(0))
		w.mover(&Node{Name: "c", Serve: there}, place(2), lossy(0))
		d := w.mover(&Node{Name: "d", Serve: there}, place(3), lossy(0))
		time.Sleep(5 * time.Second)
		time.AfterFunc(1200*time.Millisecond, func() { b.host.Unplug(); d.host.Unplug() })
		got, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b", "c", "d", "nobody"}, Into: out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, filepath.Join(out, "object.bin"), want)
		t.Logf("%+v", got)
		if got.Sources[0].Bytes == 0 || got.Sources[1].Bytes < got.Sources[0].Bytes {
			t.Errorf("%d bytes of the one that died, %d of the other", got.Sources[0].Bytes, got.Sources[1].Bytes)
		}
		if names := entries(t, out); !slices.Equal(names, []string{"object.bin"}) {
			t.Errorf("in the folder: %v", names)
		}
	})
}

// Nothing comes any more: the transfer is given up at both ends, nothing of it is
// under way afterwards, and a later one goes on where it ended.
func TestBulkGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		there, out, here := t.TempDir(), t.TempDir(), t.TempDir()
		want := content(3_000_000, 3)
		file := writeFile(t, there, "object.bin", want)
		a := w.mover(&Node{Name: "a"}, place(0), lossy(0))
		b := w.mover(&Node{Name: "b", Serve: there, Accept: here}, place(1), lossy(0))
		time.Sleep(5 * time.Second)
		time.AfterFunc(1200*time.Millisecond, func() { b.host.Up.Set(lossy(1)) })
		_, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, nil)
		if result.CodeOf(err) != result.CodePeerLost {
			t.Fatalf("get: %v", err)
		}
		if names := entries(t, out); len(names) != 2 || !strings.HasPrefix(names[0], hiddenPrefix) {
			t.Errorf("in the folder: %v", names)
		}
		time.Sleep(90 * time.Second)
		idle(t, a)
		idle(t, b)
		b.host.Up.Set(lossy(0))
		time.Sleep(20 * time.Second)
		got, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, filepath.Join(out, "object.bin"), want)
		if got.Resumed == 0 || got.Moved+got.Resumed != got.Size {
			t.Errorf("resumed: %+v", got)
		}
		if names := entries(t, out); !slices.Equal(names, []string{"object.bin"}) {
			t.Errorf("in the folder: %v", names)
		}
		// The same with nothing at all, both ways.
		a.host.Up.Set(lossy(1))
		none := t.TempDir()
		_, err = a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: none}, nil)
		if names := entries(t, none); result.CodeOf(err) != result.CodeUnreachable || len(names) != 0 {
			t.Errorf("get: %v, in the folder: %v", err, names)
		}
		a.host.Up.Set(lossy(0))
		time.Sleep(20 * time.Second)
		a.host.Up.Set(lossy(1))
		_, err = a.Put(t.Context(), file, "b", nil)
		if result.CodeOf(err) != result.CodeUnreachable {
			t.Errorf("put: %v", err)
		}
		time.Sleep(90 * time.Second)
		idle(t, a)
		idle(t, b)
		if names := entries(t, here); len(names) != 0 {
			t.Errorf("in the folder: %v", names)
		}
	})
}

// idle fails the test if anything of bulk transfer is left in a node.
func idle(t *testing.T, r *resident) {
	t.Helper()
	b := r.bulk
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.neighbours {
		if n.gives != 0 || n.fetches != 0 {
			t.Errorf("%s: a peer still has %+v", r.Name, n)
		}
	}
	if len(b.fetches)+len(b.gives)+len(b.coming) != 0 {
		t.Errorf("%s: %d fetches, %d gives, %d pushes", r.Name, len(b.fetches), len(b.gives), len(b.coming))
	}
}

// What cannot be had, or put, is refused in words.
func TestBulkRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		there, out, here := t.TempDir(), t.TempDir(), t.TempDir()
		writeFile(t, there, "object.bin", content(5000, 4))
		writeFile(t, there, ".hidden", content(50, 4))
		if err := os.Mkdir(filepath.Join(there, "folder"), 0o700); err != nil {
			t.Fatal(err)
		}
		secret := writeFile(t, t.TempDir(), "secret", content(50, 5))
		if err := os.Symlink(secret, filepath.Join(there, "link")); err != nil {
			t.Skip("cannot make symbolic links here: ", err)
		}
		a := w.mover(&Node{Name: "a"}, place(0), testnet.Link{Delay: time.Millisecond})
		w.mover(&Node{Name: "b", Serve: there, Accept: here, AcceptMax: 4000}, place(1), testnet.Link{Delay: time.Millisecond})
		w.mover(&Node{Name: "plain"}, place(2), testnet.Link{Delay: time.Millisecond})
		time.Sleep(3 * time.Second)
		get := func(name, peer string) error {
			_, err := a.Get(t.Context(), Fetch{Name: name, Peers: []string{peer}, Into: out}, nil)
			return err
		}
		for _, name := range []string{"nothing", "../object.bin", ".hidden", "folder", "link", "/etc/passwd", `..\..\x`, "", "a\x00b", secret} {
			if err := get(name, "b"); result.CodeOf(err) != result.CodeRefused {
				t.Errorf("get %q: %v", name, err)
			}
		}
		if err := get("object.bin", "plain"); result.CodeOf(err) != result.CodeRefused {
			t.Errorf("get of a node that serves nothing: %v", err)
		}
		if err := get("object.bin", "nobody"); result.CodeOf(err) != result.CodeUnreachable || !strings.Contains(result.HintOf(err), "plain") {
			t.Errorf("get of nobody: %v, %s", err, result.HintOf(err))
		}
		if _, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out, Max: 4999}, nil); result.CodeOf(err) != result.CodeLimit {
			t.Errorf("get of more than is taken: %v", err)
		}
		writeFile(t, out, "object.bin", []byte("mine"))
		if err := get("object.bin", "b"); !errors.Is(err, errExists) {
			t.Errorf("get over a file that is there: %v", err)
		}
		holds(t, filepath.Join(out, "object.bin"), []byte("mine"))
		if names := entries(t, out); len(names) != 1 {
			t.Errorf("in the folder: %v", names)
		}

		put := func(file, peer string) error {
			_, err := a.Put(t.Context(), file, peer, nil)
			return err
		}
		if err := put(filepath.Join(there, "object.bin"), "b"); result.CodeOf(err) != result.CodeRefused || !strings.Contains(err.Error(), "4000") {
			t.Errorf("put of more than is taken: %v", err)
		}
		if err := put(secret, "plain"); result.CodeOf(err) != result.CodeRefused {
			t.Errorf("put to a node that takes nothing: %v", err)
		}
		if err := put(there, "b"); result.CodeOf(err) != result.CodeLocal {
			t.Errorf("put of a folder: %v", err)
		}
		if err := put(secret, "b"); err != nil {
			t.Errorf("put: %v", err)
		}
		if err := put(secret, "b"); result.CodeOf(err) != result.CodeRefused && result.CodeOf(err) != result.CodePeerLost {
			t.Errorf("put over a file that is there: %v", err)
		}
		time.Sleep(5 * time.Second)
		if names := entries(t, here); !slices.Equal(names, []string{"secret"}) {
			t.Errorf("in the folder: %v", names)
		}
	})
}

// Ending a transfer from outside ends it at once, at both ends.
func TestBulkCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		there, out, here := t.TempDir(), t.TempDir(), t.TempDir()
		file := writeFile(t, there, "object.bin", content(3_000_000, 6))
		a := w.mover(&Node{Name: "a"}, place(0), lossy(0))
		b := w.mover(&Node{Name: "b", Serve: there, Accept: here}, place(1), lossy(0))
		time.Sleep(5 * time.Second)
		for _, move := range []func(context.Context) error{
			func(ctx context.Context) error {
				_, err := a.Get(ctx, Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, nil)
				return err
			},
			func(ctx context.Context) error { _, err := a.Put(ctx, file, "b", nil); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
			begun := time.Now()
			if err := move(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			cancel()
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("ended after %v", took)
			}
			time.Sleep(5 * time.Second)
			idle(t, a)
			idle(t, b)
		}
	})
}

// A full queue or a narrow link: the window finds the rate and keeps the queue
// short, so that pings stay quick.
func TestBulkBottleneck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		queue int
		loss  float64
		later uint64 // bit/s after two seconds
	}{
		{"long queue", 1 << 20, 0, 20_000_000}, {"short queue", 30_000, 0, 20_000_000}, {"long queue and loss", 1 << 20, 0.05, 20_000_000},
		{"long queue, then slower", 1 << 20, 0, 5_000_000}, {"short queue, then slower", 30_000, 0, 5_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Server{})
				defer w.end()
				there, out := t.TempDir(), t.TempDir()
				want := content(8_000_000, 7)
				writeFile(t, there, "object.bin", want)
				link := lossy(tt.loss)
				link.Delay, link.Rate, link.Queue = 20*time.Millisecond, 20_000_000, tt.queue
				a := w.mover(&Node{Name: "a"}, place(0), testnet.Link{Delay: 20 * time.Millisecond})
				b := w.mover(&Node{Name: "b", Serve: there}, place(1), link)
				time.Sleep(5 * time.Second)
				link.Rate = tt.later
				time.AfterFunc(2*time.Second, func() { b.host.Up.Set(link) })
				got, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, nil)
				if err != nil {
					t.Fatal(err)
				}
				rate := float64(8*got.Size) / got.Elapsed.Seconds()
				c := b.host.Up.Counts()
				t.Logf("%.1f Mbit/s of 20, RTT %v, window %d, %d again, %d twice, dropped %d of %d", rate/1e6, got.Sources[0].RTT, got.Sources[0].Window, got.Again, got.Twice, c.TailDropped, c.Offered)
				if rate < float64(tt.later)/2 {
					t.Errorf("%.1f Mbit/s of %d", rate/1e6, tt.later)
				}
				if p := a.peer(t, "b").Pings.RTT; p.Delay.P90 > 200*time.Millisecond {
					t.Errorf("pings take %v", p.Delay.P90)
				}
				if c.TailDropped > c.Offered/3 {
					t.Errorf("%d of %d packets found the queue full", c.TailDropped, c.Offered)
				}
			})
		})
	}
}
