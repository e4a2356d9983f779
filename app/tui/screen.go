// Package tui is what sonde shows on a whole terminal. Each kind of screen is a
// file with a model of bubbletea; this file has what they share: how a screen is
// run, its looks, and cells of text.
//
// A screen draws what it is given each second and knows no protocol. It is for
// terminals only: where there is none, commands print lines.
package tui

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// A Config is the terminal and what it can show.
type Config struct {
	In    io.Reader
	Out   io.Writer
	Color bool // no meaning hangs on colours alone
	ASCII bool // the locale has no other characters
}

// IsASCII reports whether the locale or the terminal has nothing but ASCII.
func IsASCII(getenv func(string) string) bool {
	if getenv("TERM") == "dumb" || getenv("TERM") == "linux" && getenv("LANG") == "" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return true
}

// ErrLeft is what run returns when the person at the terminal left by Ctrl-C.
var ErrLeft = errors.New("interrupted at the terminal")

// run shows a model until the person leaves or ctx ends, which is no error.
func run(ctx context.Context, c Config, model tea.Model) error {
	profile := colorprofile.ANSI256
	if !c.Color {
		profile = colorprofile.ASCII
	}
	p := tea.NewProgram(model, tea.WithInput(c.In), tea.WithOutput(c.Out),
		tea.WithoutSignalHandler(), tea.WithColorProfile(profile), tea.WithFPS(20))
	// Not by tea.WithContext, which would leave the reader of keys behind.
	defer context.AfterFunc(ctx, p.Quit)()
	_, err := p.Run()
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, tea.ErrInterrupted):
		return ErrLeft
	}
	return err
}

// A tick comes when a screen is to look anew.
type tick time.Time

func ticks() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tick(t) }) }

// The looks of a screen: those of the original ptptest where it had one.
var (
	titleLook  = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("11")).Background(lipgloss.Color("4"))
	headLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("10")).Background(lipgloss.Color("4"))
	footLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("15")).Background(lipgloss.Color("4"))
	serverLook = lipgloss.NewStyle().Foreground(lipgloss.Color("7"))
	peerLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("11"))
	goodLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("10"))
	fairLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("14"))
	warnLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("11"))
	badLook    = lipgloss.NewStyle().Foreground(lipgloss.Color("9"))
	downLook   = lipgloss.NewStyle().Foreground(lipgloss.Color("14"))
	upLook     = lipgloss.NewStyle().Foreground(lipgloss.Color("13"))
	hereLook   = lipgloss.NewStyle().Reverse(true)
	plainLook  = lipgloss.NewStyle()
)

// cell is text of exactly width columns: cut with a mark, or filled up at the
// right, or with right at the left.
func (c Config) cell(text string, width int, right bool) string {
	if width <= 0 {
		return ""
	}
	text = c.safe(text)
	if ansi.StringWidth(text) > width {
		mark := "…"
		if c.ASCII {
			mark = "~"
		}
		text = ansi.Truncate(text, width, mark)
	}
	space := strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
	if right {
		return space + text
	}
	return text + space
}

// safe is text that the terminal can show and does not obey.
func (c Config) safe(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case !unicode.IsPrint(r):
			return '?'
		case c.ASCII && r > 0x7e:
			if plain, ok := inASCII[r]; ok {
				return plain
			}
			return '?'
		}
		return r
	}, text)
}

var inASCII = map[rune]rune{'µ': 'u', '→': '>', '–': '-', '─': '-', '…': '~', '↑': '^', '↓': 'v'}

// line is a whole line in one look.
func (c Config) line(look lipgloss.Style, text string, width int) string {
	return look.Render(c.cell(text, width, false))
}

// wrap cuts text into lines of at most width columns, at most n; the last is
// marked if there is more.
func (c Config) wrap(text string, width, n int) []string {
	lines := strings.Split(ansi.Wrap(c.safe(text), max(10, width), ""), "\n")
	if len(lines) > n {
		lines = lines[:n]
		lines[n-1] = c.cell(lines[n-1]+strings.Repeat(" ", width)+"x", width, false)
	}
	return lines
}

// stack joins the parts of a screen from top to bottom, cut or filled up to
// height lines.
func stack(height int, lines []string) string {
	if len(lines) > height {
		lines = lines[:height]
	}
	for len(lines) < height {
		lines = append(lines, "")
	}
	return strings.Join(lines, "\n")
}

// plainText is text without its looks.
func plainText(text string) string { return ansi.Strip(text) }
