package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A landing is a file that arrives. Until its checksum holds it is a hidden file
// in its folder; then it gets its name, unless there is a file of that name. What
// came of a transfer that was given up stays hidden, with a list of what is
// missing, for a later one of the same object:
//
//	.sonde-<object>-<random>.part  arrives now
//	.sonde-<object>.part           was given up
//	.sonde-<object>.missing        goes with it: JSON
type landing struct {
	root *os.Root
	name string
	temp string
	file *os.File
	object
	sum    hash.Hash
	summed int64 // bytes from the start that are in sum
}

// An object is what the content of a file is to a transfer.
type object struct {
	id        wire.Hash
	size      int64
	blockSize int
}

func objectOf(o wire.Offer) object { return object{o.Object, int64(o.Size), int(o.BlockSize)} }

// blocks is how many blocks the object has.
func (o object) blocks() uint32 {
	return wire.Offer{Size: uint64(o.size), BlockSize: uint16(o.blockSize)}.Blocks()
}

// length is how many bytes a block has.
func (o object) length(block uint32) int {
	return int(min(int64(o.blockSize), o.size-int64(block)*int64(o.blockSize)))
}

// Hidden files begin so. They are removed when they are older than keepPartial,
// and all but the latest maxPartials.
const (
	hiddenPrefix = ".sonde-"
	keepPartial  = 24 * time.Hour
	maxPartials  = 8
	maxMissing   = 1 << 20 // bytes of a list of what is missing
)

var errExists = errors.New("a file of this name is there")

// newLanding prepares for a file in a folder, and says which blocks are missing.
func newLanding(folder, name string, o object) (*landing, []wire.Run, error) {
	if err := checkLabel(name); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, nil, err
	}
	l := &landing{root: root, name: name, object: o, sum: sha256.New()}
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		root.Close()
		if err == nil {
			err = fmt.Errorf("%s: %w", name, errExists)
		}
		return nil, nil, err
	}
	sweep(root)
	l.temp = fmt.Sprintf("%s%x-%016x.part", hiddenPrefix, o.id, random())
	missing, ok := l.resume()
	if !ok {
		if n := o.blocks(); n > 0 {
			missing = []wire.Run{{First: 0, Count: n}}
		}
		if l.file, err = root.OpenFile(l.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
			root.Close()
			return nil, nil, err
		}
	}
	return l, missing, nil
}

func (l *landing) kept() (data, list string) {
	base := hiddenPrefix + hex.EncodeToString(l.id[:])
	return base + ".part", base + ".missing"
}

// A keptList is what is missing in a partial file.
type keptList struct {
	Size      int64       `json:"size"`
	BlockSize int         `json:"block_size"`
	Missing   [][2]uint32 `json:"missing"` // first block and how many, in rising order
}

// resume takes over what an earlier transfer left. Only one can: the rename
// decides.
func (l *landing) resume() ([]wire.Run, bool) {
	data, list := l.kept()
	text, err := l.root.Open(list)
	if err != nil {
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(text, maxMissing))
	text.Close()
	if err != nil || l.root.Rename(data, l.temp) != nil {
		return nil, false
	}
	l.root.Remove(list)
	missing, ok := l.missingOf(b)
	if info, err := l.root.Lstat(l.temp); ok && err == nil && info.Mode().IsRegular() && info.Size() <= l.size {
		if l.file, err = l.root.OpenFile(l.temp, os.O_RDWR, 0); err == nil {
			return missing, true
		}
	}
	l.root.Remove(l.temp)
	return nil, false
}

// missingOf reads a list, which must be of this object.
func (l *landing) missingOf(text []byte) ([]wire.Run, bool) {
	var k keptList
	if err := json.Unmarshal(text, &k); err != nil || k.Size != l.size || k.BlockSize != l.blockSize {
		return nil, false
	}
	var missing []wire.Run
	next := uint64(0)
	for _, m := range k.Missing {
		if uint64(m[0]) < next || m[1] == 0 || uint64(m[0])+uint64(m[1]) > uint64(l.blocks()) {
			return nil, false
		}
		missing = append(missing, wire.Run{First: m[0], Count: m[1]})
		next = uint64(m[0]) + uint64(m[1])
	}
	return missing, true
}

// put writes a block, which must have its length.
func (l *landing) put(block uint32, data []byte) error {
	_, err := l.file.WriteAt(data, int64(block)*int64(l.blockSize))
	return err
}

// advance adds what is whole from the start, up to block first, to the checksum;
// at most a few MiB, so that the transfer goes on meanwhile. It is true when
// nothing is left to do.
func (l *landing) advance(first uint32) (bool, error) {
	const most = 4 << 20
	whole := min(int64(first)*int64(l.blockSize), l.size)
	n := min(whole-l.summed, most)
	if n > 0 {
		copied, err := io.Copy(l.sum, io.NewSectionReader(l.file, l.summed, n))
		l.summed += copied
		if err == nil && copied < n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", l.temp, err)
		}
	}
	return l.summed == whole, nil
}

// finish gives the file its name. The checksum must be over the whole.
func (l *landing) finish() (path string, err error) {
	defer l.root.Close()
	defer func() {
		if err != nil {
			l.root.Remove(l.temp)
		}
	}()
	if err := errors.Join(l.file.Sync(), l.file.Close()); err != nil {
		return "", err
	}
	// The name is taken first: a rename alone would replace another file.
	f, err := l.root.OpenFile(l.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s: %w", l.name, errExists)
	}
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Close(), l.root.Rename(l.temp, l.name)); err != nil {
		l.root.Remove(l.name)
		return "", err
	}
	return filepath.Join(l.root.Name(), l.name), nil
}

// isWhole reports whether the checksum is that of the object.
func (l *landing) isWhole() bool { return wire.Hash(l.sum.Sum(nil)) == l.id }

// discard keeps nothing.
func (l *landing) discard() error {
	defer l.root.Close()
	return errors.Join(l.file.Close(), l.root.Remove(l.temp))
}

// keep leaves what came for a later transfer, if it is worth it.
func (l *landing) keep(missing []wire.Run) error {
	k := keptList{Size: l.size, BlockSize: l.blockSize, Missing: [][2]uint32{}}
	left := uint64(0)
	for _, r := range missing {
		k.Missing = append(k.Missing, [2]uint32{r.First, r.Count})
		left += uint64(r.Count)
	}
	text, err := json.Marshal(k)
	if err != nil || left == uint64(l.blocks()) || len(text) >= maxMissing {
		return errors.Join(err, l.discard())
	}
	defer l.root.Close()
	data, list := l.kept()
	return errors.Join(l.file.Close(), l.root.Rename(l.temp, data), l.root.WriteFile(list, text, 0o666))
}

// sweep removes what transfers left in a folder that nobody took up again.
func sweep(root *os.Root) {
	const idLength = 2 * len(wire.Hash{}) // in hexadecimal
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return
	}
	type old struct {
		name string
		at   time.Time
	}
	var kept []old
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), hiddenPrefix)
		if !ok || len(id) < idLength || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		switch {
		case err != nil:
		case time.Since(info.ModTime()) > keepPartial:
			root.Remove(e.Name())
		case id[idLength:] == ".part":
			kept = append(kept, old{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(kept, func(a, b old) int { return b.at.Compare(a.at) })
	for _, k := range kept[min(len(kept), maxPartials):] {
		root.Remove(k.name)
		root.Remove(strings.TrimSuffix(k.name, ".part") + ".missing")
	}
}
