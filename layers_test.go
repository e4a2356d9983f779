package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sonde-net/sonde"

// protocols are the folders that "P" stands for in floors.
var protocols = []string{"btest", "rperf", "iperf3", "twamp", "mesh"}

// floors, lowest first: a package imports only from floors below its own.
// docs/architecture.md says why.
var floors = [][]string{
	{"result", "admit", "internal/testrace"},
	{"internal/host", "internal/pace", "internal/peerjson", "internal/stat", "internal/transcript", "internal/testnet", "internal/testpg", "internal/testbrowser", "internal/testmemory", "internal/testserve"},
	{"P/wire"},
	{"P/auth"},
	{"internal/rtt", "internal/sock"},
	{"internal/nat", "internal/stream"},
	{"P"},
	{"app/account", "app/secret", "app/number", "app/unit"},
	{"app/compare", "app/diagnose", "app/verdict", "app/plot", "app/store"},
	{"app/chart"},
	{"app/quota", "app/report", "app/schedule", "app/selfcheck", "app/web", "app/directory", "app/metrics", "app/config"},
	{"app/page", "app/probe", "app/meshview", "app/meshbook"},
	{"app/live"},
	{"app/tui", "app/meshweb"},
	{"app/cli"},
	{".", "bench"},
}

// pure packages do no I/O: bytes and numbers in, values out.
var pure = []string{"P/wire", "P/auth", "internal/stat", "internal/peerjson", "result", "app/compare", "app/diagnose", "app/verdict", "app/plot", "app/chart", "app/account"}

// impure are the imports that a pure package does without.
var impure = []string{"net", "os", "sync", "context", "log"}

// outside are folders with programs of their own: examples are modules, tools
// and generators are not part of the product.
var outside = []string{"examples", "tools"}

// protocolOf returns the protocol that owns dir, or "".
func protocolOf(dir string) string {
	top, _, _ := strings.Cut(dir, "/")
	if slices.Contains(protocols, top) {
		return top
	}
	return ""
}

// general is dir with its protocol's name replaced by P.
func general(dir string) string {
	if p := protocolOf(dir); p != "" {
		return "P" + strings.TrimPrefix(dir, p)
	}
	return dir
}

func floorOf(dir string) int {
	dir = general(dir)
	return slices.IndexFunc(floors, func(f []string) bool {
		return slices.ContainsFunc(f, func(p string) bool {
			return dir == p || p == "bench" && strings.HasPrefix(dir, "bench/")
		})
	})
}

// TestLayers compares every import of the product, tests apart, with floors.
func TestLayers(t *testing.T) {
	for dir, imports := range productImports(t) {
		floor := floorOf(dir)
		if floor < 0 {
			t.Errorf("%s stands on no floor: give it a place in floors and in docs/architecture.md", dir)
			continue
		}
		for _, imp := range imports {
			checkImport(t, dir, floor, imp)
		}
	}
}

func checkImport(t *testing.T, dir string, floor int, imp string) {
	if slices.Contains(pure, general(dir)) && imp != "net/netip" {
		top, _, _ := strings.Cut(imp, "/")
		if slices.Contains(impure, top) {
			t.Errorf("%s is to be pure, but imports %s", dir, imp)
		}
	}
	target, ok := strings.CutPrefix(imp, module+"/")
	if !ok {
		return
	}
	if below := floorOf(target); below >= floor {
		t.Errorf("%s imports %s, which does not lie below it", dir, target)
	}
	if forTests := "internal/test"; strings.HasPrefix(target, forTests) && !strings.HasPrefix(dir, forTests) && !strings.HasPrefix(dir, "bench") {
		t.Errorf("%s imports %s, which is for tests", dir, target)
	}
	if p := protocolOf(target); p != "" {
		if own := protocolOf(dir); own != "" && own != p {
			t.Errorf("%s imports %s: a protocol imports no other", dir, target)
		}
		if strings.HasPrefix(dir, "internal/") {
			t.Errorf("%s imports %s: the engine room knows no protocol", dir, target)
		}
	}
}

// productImports maps each folder to what its files import, tests apart.
func productImports(t *testing.T) map[string][]string {
	all := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || slices.Contains(outside, filepath.ToSlash(name))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(name))
		all[dir] = append(all[dir], "")
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			all[dir] = append(all[dir], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLayersRejects makes sure that the rules above can fail.
func TestLayersRejects(t *testing.T) {
	for _, bad := range []struct{ dir, imp string }{
		{"result", module + "/admit"},
		{"internal/sock", module + "/internal/stream"},
		{"btest", module + "/rperf"},
		{"btest/wire", "os"},
		{"app/diagnose", "net/http"},
		{"internal/stream", module + "/btest/wire"},
		{"btest", module + "/internal/testnet"},
	} {
		probe := &testing.T{}
		checkImport(probe, bad.dir, floorOf(bad.dir), bad.imp)
		if !probe.Failed() {
			t.Errorf("%s may import %s", bad.dir, bad.imp)
		}
	}
}
