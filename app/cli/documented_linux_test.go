package cli

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/internal/testnet"
)

// The documents for people have command lines of two kinds. In blocks, behind a
// prompt that ends in "$", are lines that run as they are: "$" here, to the end
// and with status 0; "laptop$" here and "server$" at the far end, until the next
// section. Lines of other systems have other prompts, such as "[router]", or
// none. In code spans are forms with placeholders: their commands and flags exist.

// documents are those files, from the root of the project.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "docs/protocols/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		all = append(all, found...)
	}
	return all
}

// ours are the names that the binary is called by.
func ours() []string {
	names := []string{"sonde"}
	for name := range borrowed {
		names = append(names, name)
	}
	return names
}

// A documented line is one that stands in a block.
type documented struct {
	number int    // of the line in its file
	prompt string // before the $: "" runs to its end, others in the background
	line   string
}

var (
	prompted = regexp.MustCompile(`^(?: {4}|\t)? *([a-z]*)\$ +(.*)$`)
	span     = regexp.MustCompile("`([^`]+)`")
)

// sections are the lines of a document behind a prompt, by the section they are
// in, and the spans outside of blocks.
func sections(t *testing.T, file string) (blocks [][]documented, spans []documented) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var section []documented
	fenced, more := false, false
	for i, line := range strings.Split(string(text), "\n") {
		block := fenced || strings.HasPrefix(line, "    ")
		switch m := prompted.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case !block && strings.HasPrefix(line, "#"):
			blocks, section = append(blocks, section), nil
		case more: // the line before went on
			last := &section[len(section)-1]
			last.line += "\n" + line
			more = goesOn(line)
		case block && m != nil:
			section = append(section, documented{i + 1, m[1], m[2]})
			more = goesOn(m[2])
		case block:
			if words := strings.Fields(line); len(words) > 1 && slices.Contains(ours(), words[0]) && !strings.HasSuffix(words[1], ":") {
				t.Errorf("%s:%d: %s\nhas no prompt: \"$\" if it is to run as it stands", file, i+1, line)
			}
		default:
			for _, m := range span.FindAllStringSubmatch(line, -1) {
				spans = append(spans, documented{number: i + 1, line: m[1]})
			}
		}
	}
	return append(blocks, section), spans
}

func goesOn(line string) bool {
	return strings.HasSuffix(line, "|") || strings.HasSuffix(line, `\`)
}

// TestDocumentedForms looks up the commands and flags that documents name.
func TestDocumentedForms(t *testing.T) {
	n := 0
	for _, file := range documents(t) {
		_, spans := sections(t, file)
		for _, s := range spans {
			words := strings.Fields(s.line)
			if len(words) < 2 || !slices.Contains(ours(), words[0]) {
				continue
			}
			n++
			if err := formExists(words); err != nil {
				t.Errorf("%s:%d: `%s`: %v", file, s.number, s.line, err)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d forms in all documents: are they found?", n)
	}
	for _, bad := range []string{"sonde btest clientt HOST", "sonde btest client HOST --raet 5M", "rperf -c HOST -Z", "sonde nothing"} {
		if formExists(strings.Fields(bad)) == nil {
			t.Errorf("%s: passes for a form", bad)
		}
	}
}

// formExists tells whether the words begin with a command and have flags of it.
func formExists(words []string) error {
	root, _ := rootFor(&env{program: words[0]})
	root.InitDefaultHelpFlag()
	cmd := root
	rest := words[1:]
	for len(rest) > 0 {
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool {
			return c.Name() == rest[0] || slices.Contains(c.Aliases, rest[0])
		})
		if i < 0 {
			break
		}
		cmd, rest = cmd.Commands()[i], rest[1:]
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && strings.ToUpper(rest[0]) != rest[0] &&
		!strings.ContainsAny(rest[0], "|…") && rest[0] != "completion" {
		return fmt.Errorf("%s has no command %q", cmd.CommandPath(), rest[0])
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	lookup := func(name string) *pflag.Flag {
		if f := cmd.Flags().Lookup(name); f != nil {
			return f
		}
		return cmd.InheritedFlags().Lookup(name)
	}
	for _, word := range rest {
		if strings.ContainsAny(word, "|>;&") {
			break // what follows is another program's
		}
		if name, ok := strings.CutPrefix(word, "--"); ok && name != "" {
			name, _, _ = strings.Cut(name, "=")
			if lookup(name) == nil {
				return fmt.Errorf("%s has no flag --%s", cmd.CommandPath(), name)
			}
			continue
		}
		if letters, ok := strings.CutPrefix(word, "-"); ok && letters != "" {
			f := cmd.Flags().ShorthandLookup(letters[:1])
			if f == nil {
				f = cmd.InheritedFlags().ShorthandLookup(letters[:1])
			}
			if f == nil {
				return fmt.Errorf("%s has no flag -%s", cmd.CommandPath(), letters[:1])
			}
		}
	}
	return nil
}

// address is of what documents use for examples: RFC 5737, RFC 3849 and the
// network of a MikroTik router as it is delivered.
var address = regexp.MustCompile(`(?:192\.0\.2|198\.51\.100|203\.0\.113|192\.168\.88)\.[0-9]+|2001:db8:[0-9a-f:]*[0-9a-f]`)

// TestDocumentedLines runs the lines of each section, here and at a far end that
// has the addresses that they name.
func TestDocumentedLines(t *testing.T) {
	t.Parallel()
	testnet.NeedNamespaces(t)
	n := 0
	for _, file := range documents(t) {
		blocks, _ := sections(t, file)
		for _, section := range blocks {
			if len(section) == 0 {
				continue
			}
			n += len(section)
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(file), section[0].number), func(t *testing.T) {
				s := newScene(t, section)
				t.Parallel()
				for _, line := range section {
					s.run(file, line)
				}
				s.stop()
			})
		}
	}
	if n < 20 {
		t.Errorf("%d lines in all documents: are they found?", n)
	}
}

// A scene is where the lines of a section run.
type scene struct {
	t           *testing.T
	dir         string
	here, there *testnet.Namespace
	servers     []*running
}

func newScene(t *testing.T, section []documented) *scene {
	s := &scene{t: t, dir: t.TempDir(), here: testnet.NewNamespace(t), there: testnet.NewNamespace(t)}
	var far []string
	for _, line := range section {
		for _, a := range address.FindAllString(line.line, -1) {
			addr := netip.MustParseAddr(a)
			p := netip.PrefixFrom(addr, 24)
			if addr.Is6() {
				p = netip.PrefixFrom(addr, 64)
			}
			if !slices.Contains(far, p.String()) {
				far = append(far, p.String())
			}
		}
	}
	near := []string{"192.0.2.200/24", "198.51.100.200/24", "203.0.113.200/24", "192.168.88.200/24", "2001:db8::200/64"}
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: s.here, Name: "eth0", Addresses: near}, testnet.End{In: s.there, Name: "eth0", Addresses: far})
	return s
}

// run runs a line in a shell: to its end, or in the background once it listens.
func (s *scene) run(file string, d documented) {
	s.t.Helper()
	where := fmt.Sprintf("%s:%d: %s", file, d.number, d.line)
	ns := s.here
	if d.prompt == "server" || d.prompt == "router" {
		ns = s.there
	}
	// The shell becomes the program, so that signals reach it.
	text := d.line
	if d.prompt != "" {
		text = "exec " + text
	}
	r := &running{t: s.t, line: where, cmd: exec.Command("bash", "-c", text)}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = s.dir, &r.out, &r.err
	r.cmd.Env = append(os.Environ(), "HOME="+s.dir)
	ns.Start(s.t, r.cmd)
	if d.prompt == "" {
		r.ended(0)
		return
	}
	s.servers = append(s.servers, r)
	for late := time.Now().Add(patience); !listens.MatchString(r.err.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			s.t.Fatalf("%s: does not listen; it said\n%s%s", where, r.out.String(), r.err.String())
		}
	}
}

// stop ends the servers as Ctrl-C does.
func (s *scene) stop() {
	for _, r := range s.servers {
		if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
			s.t.Fatalf("%s: %v; it said\n%s%s", r.line, err, r.out.String(), r.err.String())
		}
		r.cmd.Wait() // the status says more than its error
		if got := r.cmd.ProcessState.ExitCode(); got != 130 && got != 0 {
			s.t.Errorf("%s: exit status %d; it said\n%s%s", r.line, got, r.out.String(), r.err.String())
		}
	}
}
