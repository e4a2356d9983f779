package meshbook

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/sonde-net/sonde/result"
)

// maxFile is how large the file may become before what is older than a day is
// left out of it, and, if that is not enough, the older half.
var maxFile int64 = 64 << 20

// maxLine is the longest line that is read.
const maxLine = 64 << 10

// A line of the file is a minute of a pair or a person.
type line struct {
	Pair   *Minute `json:"pair,omitempty"`
	Person *Person `json:"client,omitempty"`
}

func (l line) time() time.Time {
	if l.Pair != nil {
		return l.Pair.Time
	}
	return l.Person.Last
}

// A file has lines of JSON, to which others are added.
type file struct {
	name string
	f    *os.File
	size int64
}

// openFile opens a file, which is made if there is none, and hands on its lines
// from the time on. A line that is torn or of something else is left out: a
// machine that lost its power has one.
func openFile(name string, from time.Time, take func(line)) (*file, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, &result.Error{Word: result.CodeLocal, Text: "open the store " + name, Hint: "choose a file that can be written", Err: errors.Unwrap(err)}
	}
	i, err := f.Stat()
	if err == nil && !i.Mode().IsRegular() {
		err = &result.Error{Word: result.CodeUsage, Text: "the store " + name + " is no file", Hint: "choose a file"}
	}
	if err == nil {
		err = read(f, func(_ []byte, l line) {
			if !l.time().Before(from) {
				take(l)
			}
		})
	}
	if err == nil {
		err = endLine(f, i.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{name: name, f: f, size: i.Size()}, nil
}

// endLine ends the last line, if it is torn.
func endLine(f *os.File, size int64) error {
	last := make([]byte, 1)
	if size == 0 {
		return nil
	}
	if _, err := f.ReadAt(last, size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err := f.WriteString("\n")
	return err
}

// read hands on the lines that can be read.
func read(f *os.File, take func(text []byte, l line)) error {
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, maxLine)
	for {
		text, err := r.ReadSlice('\n')
		var l line
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue // far too long, and what follows of it is no JSON
		case len(text) > 0 && json.Unmarshal(text, &l) == nil && (l.Pair != nil || l.Person != nil):
			take(text, l)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// write adds lines. When the file has become too large those from before a time
// are left out.
func (f *file) write(lines []line, from time.Time) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	n, err := f.f.Write(b.Bytes())
	f.size += int64(n)
	if err != nil || f.size <= maxFile {
		return err
	}
	return f.shorten(from)
}

// shorten writes the file anew with the lines from a time on, and of those the
// latest that take half of the room at most.
func (f *file) shorten(from time.Time) error {
	var kept [][]byte
	var size int64
	err := read(f.f, func(text []byte, l line) {
		if l.time().Before(from) {
			return
		}
		kept = append(kept, bytes.Clone(text))
		size += int64(len(text))
		for size > maxFile/2 {
			size -= int64(len(kept[0]))
			kept = kept[1:]
		}
	})
	if err != nil {
		return err
	}
	next, err := os.OpenFile(f.name+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(bytes.Join(kept, nil))
	if err = cmp.Or(err, next.Sync()); err == nil {
		err = os.Rename(f.name+".new", f.name)
	}
	if err != nil {
		next.Close()
		os.Remove(f.name + ".new")
		return err
	}
	f.f.Close()
	f.f, f.size = next, size
	return nil
}

func (f *file) close() error { return cmp.Or(f.f.Sync(), f.f.Close()) }
