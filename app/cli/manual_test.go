package cli

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the man pages and completions in docs")

// TestManual holds docs/man against the commands.
func TestManual(t *testing.T) {
	pages := map[string][]byte{}
	quiet := func(string) string { return "" }
	addPages(pages, Root(&env{program: "sonde", getenv: quiet}))
	for name, make := range borrowed {
		cmd := make(&env{program: name, getenv: quiet})
		withVersion(cmd)
		addPages(pages, cmd)
	}
	compareFile(t, filepath.Join("..", "..", "docs", "man"), pages)
}

// addPages adds a page for cmd and each command below it.
func addPages(pages map[string][]byte, cmd *cobra.Command) {
	for _, sub := range pagesBelow(cmd) {
		addPages(pages, sub)
	}
	pages[pageName(cmd)+".1"] = manual(cmd)
}

func TestCompletions(t *testing.T) {
	root := Root(&env{program: "sonde", getenv: func(string) string { return "" }})
	scripts := map[string][]byte{}
	for name, write := range map[string]func(io.Writer) error{
		"sonde.bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"_sonde":     root.GenZshCompletion,
		"sonde.fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
		"sonde.ps1":  root.GenPowerShellCompletionWithDesc,
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		scripts[name] = b.Bytes()
	}
	compareFile(t, filepath.Join("..", "..", "docs", "completion"), scripts)
}

// compareFile holds the files of a folder, which has no others, against those made.
func compareFile(t *testing.T, folder string, made map[string][]byte) {
	t.Helper()
	const way = "go test ./app/cli -run 'Manual|Completions' -update rewrites it"
	if *update {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		file := filepath.Join(folder, name)
		if *update {
			if err := os.WriteFile(file, made[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, made[name]) {
			t.Errorf("%s is not what the commands say (%v); %s", file, err, way)
		}
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if made[f.Name()] != nil {
			continue
		}
		if !*update {
			t.Errorf("%s belongs to no command; %s", filepath.Join(folder, f.Name()), way)
		} else if err := os.Remove(filepath.Join(folder, f.Name())); err != nil {
			t.Error(err)
		}
	}
}
