package report

import (
	"fmt"
	"os"
	"sync"
)

// A Rotated is a file that is put aside when it gets long: NAME becomes NAME.1,
// that NAME.2 and so on. A disk that is full loses what is written meanwhile and
// no more: the next write tries again.
type Rotated struct {
	Name string
	Size int64 // a file that would get longer is put aside; 0 is no limit
	Keep int   // files put aside that are kept
	// Told is called when writing fails, and with nil when it works again; may be
	// nil.
	Told func(error)

	mu     sync.Mutex // guards what follows
	file   *os.File
	length int64
	failed bool
}

// Open opens the file, so that a wrong name is told at once.
func (r *Rotated) Open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open()
}

func (r *Rotated) open() error {
	f, err := os.OpenFile(r.Name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	r.file, r.length = f, info.Size()
	return nil
}

// Write implements io.Writer. It never fails: Told hears of it.
func (r *Rotated) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.write(p)
	if failed := err != nil; failed != r.failed {
		r.failed = failed
		if r.Told != nil {
			r.Told(err)
		}
	}
	return len(p), nil
}

func (r *Rotated) write(p []byte) error {
	if r.file != nil && r.Size > 0 && r.length > 0 && r.length+int64(len(p)) > r.Size {
		if err := r.rotate(); err != nil {
			return err
		}
	}
	if r.file == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	n, err := r.file.Write(p)
	r.length += int64(n)
	if err != nil {
		// Half a line would make the next one unreadable.
		if n > 0 && r.file.Truncate(r.length-int64(n)) == nil {
			r.length -= int64(n)
		}
	}
	return err
}

// rotate puts the file aside.
func (r *Rotated) rotate() error {
	err := r.file.Close()
	r.file = nil
	if err != nil {
		return err
	}
	if r.Keep == 0 {
		return os.Remove(r.Name)
	}
	for n := r.Keep; n > 1; n-- {
		if err := os.Rename(r.aside(n-1), r.aside(n)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.Rename(r.Name, r.aside(1))
}

func (r *Rotated) aside(n int) string { return fmt.Sprintf("%s.%d", r.Name, n) }

// Close closes the file.
func (r *Rotated) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
