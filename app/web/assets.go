package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/plot"
)

//go:embed assets
var assetFiles embed.FS

// An asset is a file that pages refer to by a name with its hash in it, so that
// browsers keep it for ever.
type asset struct {
	body, kind, tag string
}

// assets by the names that pages use, and hashed the names of those by what they
// are called in the sources.
var assets, hashed = loadAssets()

// kinds by extension: the system's own table may say something else.
var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func loadAssets() (map[string]asset, map[string]string) {
	all, names := map[string]asset{}, map[string]string{}
	files, err := fs.Glob(assetFiles, "assets/*")
	if err != nil {
		panic(err) // the pattern is bad
	}
	for _, file := range files {
		body, err := assetFiles.ReadFile(file)
		if err != nil {
			panic(err) // it is in the program
		}
		name, ext := path.Base(file), path.Ext(file)
		if name == "style.css" {
			body = append([]byte(plot.CSS), body...)
		}
		sum := sha256.Sum256(body)
		tag := hex.EncodeToString(sum[:8])
		names[name] = strings.TrimSuffix(name, ext) + "-" + tag + ext
		all[names[name]] = asset{body: string(body), kind: kinds[ext], tag: `"` + tag + `"`}
	}
	return all, names
}

// assetPath is where an asset is to be had.
func assetPath(name string) string { return "/assets/" + hashed[name] }

func serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	a.serve(w, r)
}

func serveIcon(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=86400")
	assets[hashed["icon.svg"]].serve(w, r)
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("ETag", a.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader([]byte(a.body)))
}
