package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by release builds; otherwise the module's own is used.
var version = ""

// A buildInfo is what a build says of itself.
type buildInfo struct {
	Version   string            `json:"version"`
	Commit    string            `json:"commit"`
	Date      string            `json:"date"` // of the commit
	Go        string            `json:"go"`
	Platform  string            `json:"platform"`
	Protocols []string          `json:"protocols"`
	Tags      string            `json:"build_tags"`
	Modules   map[string]string `json:"modules"`
}

func readBuild() buildInfo {
	b := buildInfo{
		Version: version, Commit: "unknown", Date: "unknown", Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Protocols: []string{"btest"}, Modules: map[string]string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value[:min(7, len(s.Value))]
		case "vcs.time":
			b.Date = s.Value[:min(10, len(s.Value))]
		case "-tags":
			b.Tags = s.Value
		}
	}
	for _, m := range info.Deps {
		b.Modules[m.Path] = m.Version
	}
	return b
}

func versionText() string {
	b := readBuild()
	v := b.Version
	if v == "" || v == "(devel)" {
		v = "development"
	}
	return fmt.Sprintf("sonde %s (commit %s, %s, %s, %s)", v, b.Commit, b.Date, b.Go, b.Platform)
}

func versionCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "say which build this is",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				_, err := fmt.Fprintln(e.out, versionText())
				return err
			}
			enc := json.NewEncoder(e.out)
			enc.SetIndent("", "  ")
			return enc.Encode(readBuild())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "with protocols, build tags and module versions")
	return cmd
}
