package mesh

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A shelf is a folder whose files are given to peers: the regular files that lie
// directly in it and whose names any system takes. What is asked for again need
// not be read again for its checksum.
type shelf struct {
	root *os.Root

	mu      sync.Mutex // guards known
	known   map[string]digest
	reading chan struct{} // one file at a time is read for its checksum
}

// A digest is the checksum of a file as it was.
type digest struct {
	size    int64
	changed time.Time
	sum     wire.Hash
}

// maxDigests is how many checksums are remembered.
const maxDigests = 1024

func newShelf(folder string) (*shelf, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &shelf{root: root, known: map[string]digest{}, reading: make(chan struct{}, 1)}, nil
}

// take opens a file and finds its checksum, which may take long: nil says that
// another one is being read.
func (s *shelf) take(ctx context.Context, name string) (*os.File, object, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, object{}, err
	}
	o, err := s.identify(ctx, name, f)
	if err != nil {
		f.Close()
		return nil, object{}, err
	}
	return f, o, nil
}

var errBusy = errors.New("another file is being read, ask again")

// open opens a file of the shelf. A device or a pipe is not even opened: that
// may do things, or wait.
func (s *shelf) open(name string) (*os.File, error) {
	if err := checkLabel(name); err != nil {
		return nil, fs.ErrNotExist
	}
	info, err := s.root.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return s.root.Open(name)
}

func (s *shelf) identify(ctx context.Context, name string, f *os.File) (object, error) {
	info, err := f.Stat()
	if err != nil {
		return object{}, err
	}
	s.mu.Lock()
	d, ok := s.known[name]
	s.mu.Unlock()
	if ok && d.size == info.Size() && d.changed.Equal(info.ModTime()) {
		return object{d.sum, d.size, wire.DefaultBlock}, nil
	}
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	default:
		return object{}, errBusy
	}
	o, err := identify(ctx, f, nil)
	if err != nil {
		return object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxDigests {
		clear(s.known)
	}
	s.known[name] = digest{o.size, info.ModTime(), o.id}
	return o, nil
}

// find is the name of a file with a checksum, as far as checksums are known.
func (s *shelf) find(id wire.Hash) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.known {
		if d.sum == id {
			return name, true
		}
	}
	return "", false
}

func (s *shelf) close() { s.root.Close() }

// identify reads a file for its checksum; tell, if there is one, hears the time
// now and then.
func identify(ctx context.Context, f *os.File, tell func(time.Time)) (object, error) {
	info, err := f.Stat()
	if err != nil {
		return object{}, err
	}
	if !info.Mode().IsRegular() {
		return object{}, fmt.Errorf("%s is not a regular file", f.Name())
	}
	if info.Size() > wire.DefaultBlock*(1<<32-1) {
		return object{}, fmt.Errorf("%s has %d bytes, at most %d can be sent", f.Name(), info.Size(), int64(wire.DefaultBlock*(1<<32-1)))
	}
	h := sha256.New()
	n, err := io.Copy(h, &patient{ctx, io.NewSectionReader(f, 0, info.Size()), tell})
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s changes while it is read", f.Name())
	}
	return object{wire.Hash(h.Sum(nil)), n, wire.DefaultBlock}, err
}

// A patient reader reads until ctx ends, and tells that it is at it.
type patient struct {
	ctx  context.Context
	r    io.Reader
	tell func(time.Time)
}

func (p *patient) Read(b []byte) (int, error) {
	if err := context.Cause(p.ctx); err != nil {
		return 0, err
	}
	if p.tell != nil {
		p.tell(time.Now())
	}
	return p.r.Read(b)
}
