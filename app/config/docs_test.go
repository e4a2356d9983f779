package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/config.md")

const docsHead = `# Configuration

` + "`sonde serve`" + ` reads one YAML file. ` + "`sonde config init`" + ` writes one to begin with,
` + "`sonde config check`" + ` says all that is wrong with one, with file, line and key, and
` + "`sonde config show --origin`" + ` what holds and where each value comes from.

**Where**: ` + "`--config`" + `, else ` + "`$SONDE_CONFIG`" + `, else the first that is there of
` + "`sonde/sonde.yaml`" + ` in ` + "`$XDG_CONFIG_HOME`" + ` (or ` + "`~/.config`" + `) and ` + "`/etc/sonde/sonde.yaml`" + `; on
Windows ` + "`%ProgramData%\\sonde\\sonde.yaml`" + `.

**Order**: ` + "`--set KEY=VALUE`" + ` over the environment over the file over the defaults. Keys
that stand in no list have a variable: ` + "`web.listen`" + ` is ` + "`SONDE_WEB_LISTEN`" + `; lists have
commas there.

**Values** are those of flags: [units.md](units.md). A list may be a single value.
Unknown keys, keys that stand twice and aliases are faults. With any fault nothing
starts, and a reload changes nothing.

**A section starts its server**, be it empty (` + "`rperf:`" + `); one that is not there is off.
The keys of a server are the flags of its command (` + "`max_tests`" + ` is ` + "`--max-tests`" + ` of
` + "`sonde btest server`" + `), and mean the same.

**Reload** (` + "`sonde reload`" + `, SIGHUP): what has not changed goes on. A server that has
takes new clients with its new settings at once, while running tests finish with
the old ones; iperf3 and twamp, whose tests share the UDP port of the server, take
their new settings when the running tests are over, and clients wait until then.
Files that a section names are read again, too. Probes that have not changed keep
their turn.

**Stop** (SIGTERM): no new tests; running ones may go on for ` + "`server.drain`" + `, then they
are ended, each with its result.

This page is made of the code: ` + "`go test ./app/config -update`" + `.

`

// TestDocs holds docs/config.md against the keys.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(docsHead)
	table := false
	for _, k := range Keys() {
		if strings.Contains(k.Kind, "section") {
			fmt.Fprintf(&b, "\n## `%s`\n\n%s\n", k.Path, upper(k.Help)+".")
			table = false
			continue
		}
		if !table {
			b.WriteString("\n| key | kind | default | |\n|---|---|---|---|\n")
			table = true
		}
		value := ""
		if k.Default != "" {
			value = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, k.Kind, value, strings.ReplaceAll(k.Help, "|", `\|`))
	}
	file := filepath.Join("..", "..", "docs", "config.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the keys say (%v); go test ./app/config -update rewrites it", file, err)
	}
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
