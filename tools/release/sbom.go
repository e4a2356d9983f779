package main

import (
	"debug/buildinfo"
	"encoding/json"
	"strings"
	"time"
)

// The parts of CycloneDX 1.6 that say what a program is made of.
type bom struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"` // package URL, github.com/package-url/purl-spec
}

// parts is the list of modules that a built program says it is made of.
func (r *release) parts(program string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	b := bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{
		Timestamp: r.date.Format(time.RFC3339),
		Component: part("application", info.Main.Path, "v"+r.version),
	}}
	b.Components = append(b.Components, part("library", "std", strings.TrimPrefix(info.GoVersion, "go")))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, part("library", m.Path, m.Version))
	}
	return json.MarshalIndent(b, "", " ")
}

func part(kind, path, version string) component {
	return component{Type: kind, Name: path, Version: version, PURL: "pkg:golang/" + path + "@" + version}
}
