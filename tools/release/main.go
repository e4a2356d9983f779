// Release makes the files of a release from the tree that it runs in: archives,
// packages, checksums, lists of parts. Two runs on the same commit make the same
// bytes; -twice runs twice and compares.
//
//	cd tools && go run ./release -o ../dist
package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A release is what all its files have in common.
type release struct {
	root    string    // of the tree
	out     string    // folder of the files
	version string    // without the v
	commit  string    // short
	date    time.Time // of the commit: the time of every file in the release
}

func main() {
	out := flag.String("o", "dist", "`FOLDER` for the files, made if missing")
	version := flag.String("version", "", "`VERSION` of the release; the tag of this commit if empty")
	only := flag.String("only", "", "`TARGETS`, such as linux/amd64,nano/linux/arm64; all of them if empty")
	twice := flag.Bool("twice", false, "make everything twice and compare the bytes")
	flag.Parse()
	if err := run(*out, *version, *only, *twice); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(out, version, only string, twice bool) error {
	r, err := newRelease(out, version)
	if err != nil {
		return err
	}
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	sums, err := r.make(chosen)
	if err != nil || !twice {
		return err
	}
	again := *r
	if again.out, err = os.MkdirTemp("", "release"); err != nil {
		return err
	}
	defer os.RemoveAll(again.out)
	second, err := again.make(chosen)
	if err != nil {
		return err
	}
	if !slices.Equal(sums, second) {
		return fmt.Errorf("two runs differ:\n%s\n%s", strings.Join(sums, "\n"), strings.Join(second, "\n"))
	}
	fmt.Printf("%d files, the same bytes twice\n", len(sums))
	return nil
}

// newRelease reads version, commit and date from git.
func newRelease(out, version string) (*release, error) {
	root, err := git("rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	r := &release{root: root, out: out}
	if r.commit, err = git("rev-parse", "--short=7", "HEAD"); err != nil {
		return nil, err
	}
	seconds, err := git("show", "-s", "--format=%ct", "HEAD")
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, err
	}
	r.date = time.Unix(n, 0).UTC()
	if version == "" {
		if version, err = git("describe", "--tags", "--exact-match"); err != nil {
			version = "0.0.0-dev." + r.commit // no tag: no release, but all else is the same
		}
	}
	r.version = strings.TrimPrefix(version, "v")
	return r, os.MkdirAll(out, 0o755)
}

func git(args ...string) (string, error) {
	b, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(b)), nil
}

// make makes the files of all targets, and returns the lines of SHA256SUMS.
func (r *release) make(targets []target) ([]string, error) {
	var sizes []string
	for _, t := range targets {
		size, err := r.makeTarget(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
		sizes = append(sizes, fmt.Sprintf("| %s | %.1f MiB |", t, float64(size)/(1<<20)))
		fmt.Printf("%-24s %5.1f MiB\n", t, float64(size)/(1<<20))
	}
	table := "| target | size of the program |\n|---|---|\n" + strings.Join(sizes, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(r.out, "SIZES.md"), []byte(table), 0o644); err != nil {
		return nil, err
	}
	sums, err := r.sums()
	if err != nil {
		return nil, err
	}
	return sums, os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(strings.Join(sums, "\n")+"\n"), 0o644)
}

// makeTarget builds one target and packs it; it returns the program's size.
func (r *release) makeTarget(t target) (int64, error) {
	work, err := os.MkdirTemp("", "release")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	program := filepath.Join(work, t.program())
	if err := r.build(t, program); err != nil {
		return 0, err
	}
	info, err := os.Stat(program)
	if err != nil {
		return 0, err
	}
	parts, err := r.parts(program)
	if err != nil {
		return 0, err
	}
	files, err := r.files(t, program)
	if err != nil {
		return 0, err
	}
	name := filepath.Join(r.out, r.name(t))
	errs := []error{
		os.WriteFile(name+".cdx.json", parts, 0o644),
		archive(name, t, files, r.date),
	}
	for _, format := range t.packages {
		errs = append(errs, r.pack(t, format, files))
	}
	return info.Size(), errors.Join(errs...)
}

// name is what the files of a target are called, without an ending.
func (r *release) name(t target) string {
	return strings.Join(append([]string{t.product(), r.version}, strings.Split(t.platform(), "/")...), "_")
}

// sums are the lines of SHA256SUMS: sorted, as sha256sum -c reads them.
func (r *release) sums() ([]string, error) {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, e := range entries {
		if e.Name() == "SHA256SUMS" || e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%x  %s", sha256.Sum256(b), e.Name()))
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Compare(a[66:], b[66:]) })
	return lines, nil
}
