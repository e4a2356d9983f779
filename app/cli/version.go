package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/rperf"
	"github.com/sonde-net/sonde/twamp"
)

// What release builds set; otherwise what the go command knows is used.
var version, commit, date string

// protocols are those that this program speaks.
var protocols = append([]string{btest.Protocol, rperf.Protocol, iperf3.Protocol, twamp.Protocol, twamp.StampProtocol}, daemonProtocols...)

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
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Protocols: protocols, Modules: map[string]string{},
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
	b.Commit, b.Date = cmp.Or(commit, b.Commit), cmp.Or(date, b.Date)
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
