package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// An archiver takes files one by one.
type archiver interface {
	add(name string, mode os.FileMode, content []byte) error
	io.Closer
}

// archive packs what belongs into an archive: a zip for Windows, else a tar.gz.
func archive(name string, t target, files []file, date time.Time) (err error) {
	files = slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.archive == "" })
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.archive, b.archive) })
	ending := ".tar.gz"
	if t.os == "windows" {
		ending = ".zip"
	}
	out, err := os.Create(name + ending)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var a archiver
	if t.os == "windows" {
		a = &zipped{zip.NewWriter(out), date}
	} else {
		packed := gzip.NewWriter(out)
		a = &tarred{tar.NewWriter(packed), packed, date}
	}
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		if err := a.add(path.Join(filepath.Base(name), f.archive), f.mode, content); err != nil {
			return err
		}
	}
	return a.Close()
}

type zipped struct {
	*zip.Writer
	date time.Time
}

func (z *zipped) add(name string, mode os.FileMode, content []byte) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: z.date}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

type tarred struct {
	*tar.Writer
	packed *gzip.Writer
	date   time.Time
}

func (t *tarred) add(name string, mode os.FileMode, content []byte) error {
	h := &tar.Header{Name: name, Mode: int64(mode), Size: int64(len(content)), ModTime: t.date, Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := t.Write(content)
	return err
}

func (t *tarred) Close() error { return errors.Join(t.Writer.Close(), t.packed.Close()) }
