package selfcheck

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Figures are the rows of one selfcheck, as they are kept for later results.
type Figures struct {
	Time time.Time `json:"time"`
	Host string    `json:"host"`
	Rows []Row     `json:"rows"`
}

// path is where the figures of this host are kept.
func path() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "sonde", "selfcheck.json"), nil
}

// Keep stores the figures and returns the file's name.
func Keep(f Figures) (string, error) {
	name, err := path()
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", err
	}
	return name, os.WriteFile(name, append(b, '\n'), 0o644)
}

// Kept returns the figures of the last selfcheck on this host; false when there
// was none, or they belong to another host.
func Kept() (Figures, bool, error) {
	name, err := path()
	if err != nil {
		return Figures{}, false, nil // no place to keep anything
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Figures{}, false, nil
	}
	if err != nil {
		return Figures{}, false, err
	}
	var f Figures
	if err := json.Unmarshal(b, &f); err != nil {
		return Figures{}, false, err
	}
	host, err := os.Hostname()
	return f, err == nil && host == f.Host, nil
}

// Ceiling is the rate, bit/s of payload, that this host reached for traffic like
// that of a test: the same transport, at least as many streams where there are
// several, and the next smaller size of datagrams. False when there is none.
func (f Figures) Ceiling(transport result.Transport, streams, size int) (uint64, bool) {
	var best *Row
	for i, r := range f.Rows {
		fits := r.Transport == transport
		if transport == result.UDP {
			fits = fits && r.Size <= size
		} else {
			fits = fits && (r.Streams == 1) == (streams == 1)
		}
		if fits && (best == nil || r.Size > best.Size) {
			best = &f.Rows[i]
		}
	}
	if best == nil || best.BitsPerSecond == 0 {
		return 0, false
	}
	return best.BitsPerSecond, true
}
