package cli

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manualDate is the same in all pages, so that they change only when the
// commands do.
var manualDate = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// A page is a manual page under construction (man(7)).
type manPage struct{ bytes.Buffer }

// roff is text without what the formatter would take for a command.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (p *manPage) section(name string) { fmt.Fprintf(p, ".SH %s\n", name) }

// text writes paragraphs; indented lines, such as commands, stay lines.
func (p *manPage) text(text string) {
	for n, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if n > 0 {
			p.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			p.lines(paragraph)
			continue
		}
		p.WriteString(roff(paragraph) + "\n")
	}
}

// lines writes text as it is.
func (p *manPage) lines(text string) { p.WriteString(".nf\n" + roff(text) + "\n.fi\n") }

// item writes a term and what it means.
func (p *manPage) item(term, meaning string) {
	fmt.Fprintf(p, ".TP\n.B %s\n%s\n", roff(term), roff(meaning))
}

// manual is the page of a command.
func manual(cmd *cobra.Command) []byte {
	p := &manPage{}
	name := pageName(cmd)
	fmt.Fprintf(p, ".TH %q 1 %q %q %q\n", strings.ToUpper(name), manualDate.Format(time.DateOnly), "sonde", "Sonde manual")
	p.section("NAME")
	fmt.Fprintf(p, "%s \\- %s\n", roff(name), roff(cmd.Short))
	p.section("SYNOPSIS")
	p.WriteString(".B " + roff(cmd.UseLine()) + "\n")
	if cmd.Long != "" {
		p.section("DESCRIPTION")
		p.text(cmd.Long)
	}
	p.commands(cmd)
	p.options(cmd)
	if cmd.Example != "" {
		p.section("EXAMPLES")
		p.lines(cmd.Example)
	}
	p.environment(cmd)
	p.status(cmd)
	p.seeAlso(cmd)
	return p.Bytes()
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func (p *manPage) commands(cmd *cobra.Command) {
	for n, sub := range pagesBelow(cmd) {
		if n == 0 {
			p.section("COMMANDS")
		}
		p.item(sub.Name(), sub.Short+"; see "+pageName(sub)+"(1)")
	}
}

// pagesBelow are the commands below cmd that have pages.
func pagesBelow(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			all = append(all, sub)
		}
	}
	return all
}

func (p *manPage) options(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	p.section("OPTIONS")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		switch {
		case f.Value.Type() == "bool", f.Value.Type() == "count":
		case f.NoOptDefVal != "":
			term += " [" + value + "]"
		default:
			term += " " + value
		}
		switch f.DefValue {
		case "", "false", "[]", "0", "0s":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		p.item(term, usage)
	})
}

// environment has the variables that the flags of cmd look at.
func (p *manPage) environment(cmd *cobra.Command) {
	has := func(flag string) bool { return cmd.Flags().Lookup(flag) != nil }
	if !has("password-file") && !has("color") {
		return
	}
	p.section("ENVIRONMENT")
	if has("password-file") {
		p.item(passwordVariable, "the password, where no flag gives one")
	}
	if has("color") {
		p.item("NO_COLOR", "if not empty: no colours, unless --color or CLICOLOR_FORCE says otherwise")
		p.item("CLICOLOR_FORCE", "if 1: colours although standard output is no terminal")
	}
}

// statuses are those of docs/results.md.
var statuses = []struct {
	status  string
	meaning string
	old     bool // under the name of another program, too
}{
	{"0", "measured; every threshold met. A server: ended by SIGTERM", true},
	{"1", "the test could not be made: refused, no answer, the peer misbehaved", true},
	{"2", "wrong usage or configuration; nothing was sent", true},
	{"3", "measured, but a threshold was crossed", false},
	{"4", "authentication failed, either way round", false},
	{"5", "refused by a quota or limit, or cut off by one", false},
	{"6", "this machine lacks something: port in use, permission, disk", false},
	{"7", "begun, then the path or the peer was lost; what was measured is printed", false},
	{"130, 143", "ended by SIGINT, SIGTERM; the summary was still printed", true},
}

func (p *manPage) status(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		return
	}
	p.section("EXIT STATUS")
	_, old := borrowed[cmd.Root().Name()]
	for _, s := range statuses {
		if s.status == "1" && old {
			s.meaning = "anything else that went wrong"
		}
		if !old || s.old {
			p.item(s.status, s.meaning)
		}
	}
}

func (p *manPage) seeAlso(cmd *cobra.Command) {
	var pages []string
	if cmd.HasParent() {
		pages = append(pages, pageName(cmd.Parent())+"(1)")
	}
	for _, sub := range pagesBelow(cmd) {
		pages = append(pages, pageName(sub)+"(1)")
	}
	if len(pages) == 0 && cmd.Name() != "sonde" {
		pages = append(pages, "sonde(1)")
	}
	if len(pages) > 0 {
		p.section("SEE ALSO")
		p.WriteString(roff(strings.Join(pages, ", ")) + "\n")
	}
}
