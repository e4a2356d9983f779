package tui

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/sonde-net/sonde/app/live"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/probe"
	"github.com/sonde-net/sonde/app/report"
)

// A Top is the screen of a running daemon.
type Top struct {
	Title string
	First live.Snapshot
	Look  func(context.Context) (live.Snapshot, error) // once a second, while none is under way
}

// Run shows the screen until the person leaves or ctx ends.
func (t Top) Run(ctx context.Context, c Config) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // a look that is under way
	return run(ctx, c, &topModel{Top: t, c: c, ctx: ctx, seen: t.First, width: 80, height: 24})
}

// A topModel is the screen with where the person is on it.
type topModel struct {
	Top
	c              Config
	ctx            context.Context
	seen           live.Snapshot
	failed         error // of the last look
	width, height  int
	paused, octets bool
	sort           int // in topSorts
	from           int // of the tests, the first that is shown
}

// topSorts are the orders of tests.
var topSorts = []struct {
	name string
	less func(a, b live.Test) int
}{
	{"newest first", func(a, b live.Test) int { return b.Began.Compare(a.Began) }},
	{"fastest first", func(a, b live.Test) int { return cmp.Compare(speed(b), speed(a)) }},
	{"by peer", func(a, b live.Test) int { return strings.Compare(a.Peer, b.Peer) }},
	{"by user", func(a, b live.Test) int { return strings.Compare(a.Account, b.Account) }},
}

// speed is that of both directions.
func speed(t live.Test) (sum uint64) {
	for _, r := range []*uint64{t.DownRate, t.UpRate} {
		if r != nil {
			sum += *r
		}
	}
	return sum
}

// A looked is what a look found.
type looked struct {
	snapshot live.Snapshot
	err      error
}

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd { return ticks() }

// Update implements tea.Model.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		if m.paused {
			return m, ticks()
		}
		return m, func() tea.Msg {
			s, err := m.Look(m.ctx)
			return looked{s, err}
		}
	case looked:
		if m.failed = msg.err; msg.err == nil {
			m.seen = msg.snapshot
		}
		return m, ticks()
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

func (m *topModel) key(key string) tea.Cmd {
	switch key {
	case "q", "Q":
		return tea.Quit
	case "ctrl+c":
		return tea.Interrupt
	case "p":
		m.paused = !m.paused
	case "u":
		m.octets = !m.octets
	case "s":
		m.sort = (m.sort + 1) % len(topSorts)
	case "up", "k":
		m.from--
	case "down", "j":
		m.from++
	}
	m.from = min(max(0, m.from), max(0, len(m.seen.Tests)-1))
	return nil
}

// View implements tea.Model.
func (m *topModel) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

func (m *topModel) draw() string {
	if m.width < 20 || m.height < 8 {
		return "the terminal is too small"
	}
	lines := []string{m.c.line(titleLook, "sonde top  "+m.Title+upText(m.seen), m.width)}
	for _, l := range totalLines(m.seen) {
		lines = append(lines, m.c.cell(" "+l, m.width, false))
	}
	keys := " q leave  p pause  u unit  s sort: " + topSorts[m.sort].name + "  up, down scroll"
	if m.paused {
		keys = " PAUSED" + keys
	}
	foot := []string{m.c.line(footLook, keys, m.width)}
	if m.failed != nil {
		foot = append([]string{m.c.line(badLook, " as it was at "+m.seen.Time.Format("15:04:05")+": "+m.failed.Error(), m.width)}, foot...)
	}
	room := m.height - len(lines) - len(foot)
	probes := m.probes()
	if most := room / 2; len(probes) > most && len(m.seen.Tests) > 0 {
		probes = append(probes[:max(0, most-1):max(0, most-1)], m.c.cell(fmt.Sprintf("  and %d more probes", len(probes)-most+1), m.width, false))
	}
	lines = append(lines, m.tests(room-len(probes))...)
	for len(lines) < m.height-len(foot)-len(probes) {
		lines = append(lines, "")
	}
	lines = append(lines[:min(len(lines), m.height-len(foot)-len(probes))], probes...)
	return stack(m.height, append(lines, foot...))
}

// wideScreen is from how many columns on tables have all of theirs.
const wideScreen = 110

// A field is a column of a table of T.
type field[T any] struct {
	head  string
	width int
	grows bool // takes of the space that is left
	wide  bool // only on a wide screen
	right bool
	text  func(T) string
}

// fit are the fields that a width has room for.
func fit[T any](all []field[T], width int) []field[T] {
	var some []field[T]
	left, grow := width-1, 0
	for _, f := range all {
		if f.wide && width < wideScreen {
			continue
		}
		some = append(some, f)
		left -= f.width + 1
		if f.grows {
			grow++
		}
	}
	for n := range some {
		if some[n].grows && left > 0 {
			some[n].width += left / grow
		}
	}
	return some
}

func tableRow[T any](c Config, look lipgloss.Style, fields []field[T], width int, text func(field[T]) string) string {
	line := " "
	for _, f := range fields {
		line += c.cell(text(f), f.width, f.right) + " "
	}
	return look.Render(c.cell(strings.TrimSuffix(line, " "), width, false))
}

// testFields are the columns of running tests.
func testFields(octets, narrow bool) []field[live.Test] {
	rate := func(p *uint64) string {
		switch {
		case p == nil:
			return unknown
		case octets:
			return plot.ByteRate.Format(float64(*p) / 8)
		}
		return report.FormatRate(*p)
	}
	return []field[live.Test]{
		{head: "Protocol", width: 8, text: func(t live.Test) string { return t.Protocol }},
		{head: "Peer", width: 16, grows: true, text: func(t live.Test) string {
			if host, _, err := net.SplitHostPort(t.Peer); narrow && err == nil {
				return host
			}
			return t.Peer
		}},
		{head: "User", width: 8, grows: true, text: func(t live.Test) string { return cmp.Or(t.Account, unknown) }},
		{head: "Way", width: 8, wide: true, text: func(t live.Test) string { return t.Direction }},
		{head: "Over", width: 4, wide: true, text: func(t live.Test) string { return t.Transport }},
		{head: "Streams", width: 7, wide: true, right: true, text: func(t live.Test) string { return strconv.Itoa(t.Streams) }},
		{head: "Download", width: 14, right: true, text: func(t live.Test) string { return rate(t.DownRate) }},
		{head: "Upload", width: 14, right: true, text: func(t live.Test) string { return rate(t.UpRate) }},
		{head: "RTT", width: 9, wide: true, right: true, text: func(t live.Test) string {
			if t.RTT == nil {
				return unknown
			}
			return delay(time.Duration(*t.RTT))
		}},
		{head: "Lost", width: 8, wide: true, right: true, text: func(t live.Test) string {
			if t.Lost == nil {
				return unknown
			}
			return strconv.FormatInt(*t.Lost, 10)
		}},
		{head: "Time", width: 12, right: true, text: func(t live.Test) string { return timeText(t) }},
	}
}

// timeText is how far a test is.
func timeText(t live.Test) string {
	if t.Elapsed == nil {
		return unknown
	}
	text := short(seconds(*t.Elapsed))
	if t.Duration > 0 {
		text += "/" + short(seconds(t.Duration))
	}
	return text
}

// short is a time in whole seconds.
func short(d time.Duration) string {
	if d < 2*time.Minute {
		return strconv.Itoa(int(d.Seconds())) + "s"
	}
	return report.FormatElapsed(d)
}

// seconds is a time that may come from elsewhere.
func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), math.MaxInt32) * float64(time.Second))
}

// tests are the running tests, from the chosen one on.
func (m *topModel) tests(room int) []string {
	fields := fit(testFields(m.octets, m.width < wideScreen), m.width)
	lines := []string{tableRow(m.c, headLook, fields, m.width, func(f field[live.Test]) string { return f.head })}
	all := slices.Clone(m.seen.Tests)
	slices.SortStableFunc(all, topSorts[m.sort].less)
	if len(all) == 0 {
		return append(lines, m.c.cell("  no test runs", m.width, false))
	}
	all = all[min(m.from, len(all)-1):]
	more := 0
	if n := max(1, room-2); len(all) > n && len(all) > room-1 {
		all, more = all[:n], len(all)-n
	}
	for _, t := range all {
		lines = append(lines, tableRow(m.c, peerLook, fields, m.width, func(f field[live.Test]) string { return f.text(t) }))
	}
	if more > 0 {
		lines = append(lines, m.c.cell(fmt.Sprintf("  and %d more", more), m.width, false))
	}
	return lines
}

// probeFields are the columns of probes.
func probeFields(now time.Time) []field[live.Probe] {
	return []field[live.Probe]{
		{head: "Probe", width: 14, text: func(p live.Probe) string { return p.Name }},
		{head: "State", width: 8, text: func(p live.Probe) string { return p.State }},
		{head: "Protocol", width: 8, text: func(p live.Probe) string { return p.Protocol }},
		{head: "Target", width: 16, grows: true, text: func(p live.Probe) string { return p.Target }},
		{head: "Runs", width: 6, right: true, text: func(p live.Probe) string { return strconv.FormatUint(p.Runs, 10) }},
		{head: "Missed", width: 6, right: true, text: func(p live.Probe) string { return strconv.FormatUint(p.Missed, 10) }},
		{head: "Last", width: 11, right: true, text: func(p live.Probe) string {
			if p.Last == nil {
				return "not yet"
			}
			return report.FormatElapsed(max(0, now.Sub(*p.Last))) + " ago"
		}},
		{head: "Says", width: 20, grows: true, wide: true, text: func(p live.Probe) string { return p.Text }},
	}
}

// stateLook is the look of a probe's state.
func stateLook(state string) lipgloss.Style {
	switch probe.State(state) {
	case probe.OK:
		return goodLook
	case probe.Failed:
		return badLook
	}
	return warnLook
}

// probes are the probes with their states.
func (m *topModel) probes() []string {
	if len(m.seen.Probes) == 0 {
		return nil
	}
	fields := fit(probeFields(m.seen.Time), m.width)
	lines := []string{tableRow(m.c, headLook, fields, m.width, func(f field[live.Probe]) string { return f.head })}
	for _, p := range m.seen.Probes {
		lines = append(lines, tableRow(m.c, stateLook(p.State), fields, m.width, func(f field[live.Probe]) string { return f.text(p) }))
	}
	return lines
}

// upText is how long the daemon runs.
func upText(s live.Snapshot) string {
	if s.Began == nil {
		return ""
	}
	return ", up " + report.FormatElapsed(max(0, s.Time.Sub(*s.Began)))
}

// totalLines are the counts since the start.
func totalLines(s live.Snapshot) []string {
	now := fmt.Sprintf("%d running", len(s.Tests))
	if s.Totals == nil {
		return []string{now + "; the pages tell no totals and no probes", ""}
	}
	t := s.Totals
	lines := []string{fmt.Sprintf("%s, %d ended, %d of them failed; download %s, upload %s", now, t.Tests, t.Failed, report.FormatSize(t.Down), report.FormatSize(t.Up))}
	refused := "none refused"
	if len(t.Refused) > 0 {
		words := slices.SortedFunc(maps.Keys(t.Refused), func(a, b string) int {
			return cmp.Or(cmp.Compare(t.Refused[b], t.Refused[a]), strings.Compare(a, b))
		})
		for n, w := range words {
			words[n] = fmt.Sprintf("%s %d", w, t.Refused[w])
		}
		refused = "refused: " + strings.Join(words, ", ")
	}
	return append(lines, fmt.Sprintf("%s; %d failed logins", refused, t.LoginsFailed), "")
}

// topColumns is the width of a table that goes to no terminal.
const topColumns = 160

// TopLines are a snapshot as plain lines.
func TopLines(s live.Snapshot) []string {
	m := &topModel{seen: s, width: topColumns}
	lines := append(totalLines(s), m.tests(len(s.Tests)+2)...)
	if probes := m.probes(); len(probes) > 0 {
		lines = append(append(lines, ""), probes...)
	}
	for n, l := range lines {
		lines[n] = strings.TrimRight(plainText(l), " ")
	}
	return lines
}
