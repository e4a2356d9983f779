package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

func TestCheckLabel(t *testing.T) {
	for _, name := range []string{"a", "object.bin", "a b", "données.txt", "..a"[2:], "console", "com", "com10", "lpt", "nul0"} {
		if err := checkLabel(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", ".a", "a.", "a ", " a", "a/b", "/a", `a\b`, "a:b", "a\x00", "a\x7f", "a\x1b[2J", "a\u200b", "a\u202e", "a\xff", "a\ufffd",
		"NUL", "nul.txt", "con", "Com1", "lpt9.tar.gz", "COM¹", "conin$", "aux .x", "a?", "a*", `a"`, "a<b", "a|b", strings.Repeat("a", maxLabel+1),
	} {
		if checkLabel(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// What another transfer left is taken up only if it fits, and by one at a time.
func TestLandingResumes(t *testing.T) {
	data := content(10_000, 1)
	o := object{sha256.Sum256(data), 10_000, 1024}
	fill := func(l *landing, blocks ...uint32) {
		t.Helper()
		for _, b := range blocks {
			if err := l.put(b, data[int(b)*1024:][:l.length(b)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder := t.TempDir()
	open := func() (*landing, []wire.Run) {
		t.Helper()
		l, missing, err := newLanding(folder, "object.bin", o)
		if err != nil {
			t.Fatal(err)
		}
		return l, missing
	}
	l, missing := open()
	if want := []wire.Run{{First: 0, Count: 10}}; !slices.Equal(missing, want) {
		t.Fatalf("missing %v, want %v", missing, want)
	}
	fill(l, 0, 1, 9)
	if err := l.keep([]wire.Run{{First: 2, Count: 7}}); err != nil {
		t.Fatal(err)
	}
	first, missing := open()
	if want := []wire.Run{{First: 2, Count: 7}}; !slices.Equal(missing, want) {
		t.Fatalf("missing %v, want %v", missing, want)
	}
	second, missing := open()
	if len(missing) != 1 || missing[0].Count != 10 {
		t.Errorf("a second one takes up the same: %v", missing)
	}
	if err := second.discard(); err != nil {
		t.Error(err)
	}
	fill(first, 2, 3, 4, 5, 6, 7, 8)
	if whole, err := first.advance(10); !whole || err != nil || !first.isWhole() {
		t.Errorf("%v, %v", whole, err)
	}
	path, err := first.finish()
	if err != nil {
		t.Fatal(err)
	}
	holds(t, path, data)
	if _, _, err := newLanding(folder, "object.bin", o); err == nil {
		t.Error("the name is taken, and lands")
	}

	for _, list := range []string{
		"", "{", `{"size":10000,"block_size":1024,"missing":[[9,2]]}`, `{"size":10000,"block_size":1024,"missing":[[4,1],[4,1]]}`,
		`{"size":10000,"block_size":1024,"missing":[[0,0]]}`, `{"size":9999,"block_size":1024,"missing":[]}`, `{"size":10000,"block_size":512,"missing":[]}`,
	} {
		folder = t.TempDir()
		base := filepath.Join(folder, hiddenPrefix+hex.EncodeToString(o.id[:]))
		for name, text := range map[string]string{base + ".part": "old", base + ".missing": list} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, missing := open()
		if len(missing) != 1 || missing[0].Count != 10 {
			t.Errorf("%s: missing %v", list, missing)
		}
		if err := l.discard(); err != nil {
			t.Error(err)
		}
		if list != "" && len(entries(t, folder)) != 0 {
			t.Errorf("%s: in the folder: %v", list, entries(t, folder))
		}
	}
}

// What nobody took up is swept away: all that is old, and more than a few.
func TestLandingSweeps(t *testing.T) {
	folder := t.TempDir()
	old := time.Now().Add(-keepPartial - time.Hour)
	for i := range 12 {
		base := filepath.Join(folder, fmt.Sprintf("%s%064x", hiddenPrefix, i))
		for _, name := range []string{base + ".part", base + ".missing"} {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(time.Duration(i-100) * time.Minute)
			if i == 0 {
				at = old
			}
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"mine", hiddenPrefix + "mine"} {
		if err := os.Chtimes(writeFile(t, folder, name, nil), old, old); err != nil {
			t.Fatal(err)
		}
	}
	l, _, err := newLanding(folder, "x", object{wire.Hash{1}, 5, 1024})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.discard(); err != nil {
		t.Fatal(err)
	}
	if names := entries(t, folder); len(names) != 2*maxPartials+2 {
		t.Errorf("%d in the folder: %v", len(names), names)
	}
}

func TestAsks(t *testing.T) {
	a := newAsks([]wire.Run{{First: 2, Count: 3}, {First: 9, Count: 1}})
	var got []uint32
	for b, ok := a.next(); ok; b, ok = a.next() {
		got = append(got, b)
		a.sent(b)
	}
	if !slices.Equal(got, []uint32{2, 3, 4, 9}) || !a.isSpent() || a.left != 4 || a.first(10) != 2 {
		t.Fatalf("%v, %+v", got, a)
	}
	a.sent(3) // a second source
	a.gone(3)
	a.gone(4)
	if !a.came(2) || a.came(2) || a.came(7) {
		t.Error("what came is not known")
	}
	if b, ok := a.next(); !ok || b != 4 {
		t.Errorf("%d, %v: 4 is lost, 3 is on its way from another", b, ok)
	}
	if want := []wire.Run{{First: 3, Count: 2}, {First: 9, Count: 1}}; !slices.Equal(a.missing(), want) {
		t.Errorf("missing %v, want %v", a.missing(), want)
	}
	for n := 2; ; n++ { // sent for the second time, and so on
		if ok := a.sent(4); ok != (n <= maxAsks) {
			t.Fatalf("%d times: %v", n, ok)
		} else if !ok {
			break
		}
	}
}
