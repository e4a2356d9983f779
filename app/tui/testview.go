package tui

import (
	"math"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sonde-net/sonde/app/report"
)

// A testModel is the screen of a test with what the person chose.
type testModel struct {
	test           *Test
	c              Config
	scene          testScene
	log            []string
	width, height  int
	paused, octets bool // octets: rates in byte/s
	streams        bool
	from           int // of the streams, the first that is shown
}

func newTestModel(t *Test, c Config) *testModel {
	m := &testModel{test: t, c: c, width: 80, height: 24, streams: t.Streams}
	m.see()
	return m
}

// see takes what is known now.
func (m *testModel) see() { m.scene, m.log = m.test.look(), m.test.Log.last(maxLog) }

// testTick is how often the screen looks: intervals of 100 ms are the shortest.
const testTick = 200 * time.Millisecond

func (m *testModel) tick() tea.Cmd {
	return tea.Tick(testTick, func(t time.Time) tea.Msg { return tick(t) })
}

// Init implements tea.Model.
func (m *testModel) Init() tea.Cmd { return m.tick() }

// Update implements tea.Model.
func (m *testModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		over := m.test.Over()
		if !m.paused || over {
			m.see()
		}
		if over && !m.test.Stays {
			return m, tea.Quit
		}
		return m, m.tick()
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

func (m *testModel) key(key string) tea.Cmd {
	switch key {
	case "q", "Q", "ctrl+c":
		return tea.Quit
	case "enter", "esc", "space":
		if m.scene.end != nil {
			return tea.Quit
		}
	case "p":
		m.paused = !m.paused
	case "u":
		m.octets = !m.octets
	case "s":
		m.streams, m.from = !m.streams, 0
	case "up", "k":
		m.from = max(0, m.from-1)
	case "down", "j":
		m.from = min(m.from+1, max(0, len(m.scene.streamNumbers())-1))
	}
	return nil
}

// View implements tea.Model.
func (m *testModel) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

// leastChart is the fewest lines that a chart is drawn in.
const leastChart = 5

// draw is the whole screen: what is tested, how far it is, figures, a chart or
// the streams, what was said, the keys.
func (m *testModel) draw() string {
	if m.width < 20 || m.height < 8 {
		return "the terminal is too small"
	}
	lines := []string{m.c.line(titleLook, m.title(), m.width), m.progress()}
	foot := append(m.said(), m.c.line(footLook, m.keys(), m.width))
	body := m.figures()
	if m.scene.end != nil && m.scene.begin != nil {
		body = m.summary(m.height - len(lines) - len(foot))
	}
	lines = append(append(lines, ""), body...)
	room := m.height - len(lines) - len(foot)
	if m.streams && len(m.scene.streamNumbers()) > 1 {
		n := room
		if m.height >= bigHeight {
			n = room / 2
		}
		part := m.streamsPart(n)
		lines, room = append(lines, part...), room-len(part)
	}
	if room > leastChart {
		lines = append(lines, m.chart(room-1)...)
	}
	for len(lines) < m.height-len(foot) {
		lines = append(lines, "")
	}
	return stack(m.height, append(lines[:m.height-len(foot)], foot...))
}

func (m *testModel) title() string {
	if b := m.scene.begin; b != nil {
		return report.Heading(*b)
	}
	return m.test.Title
}

// length is how long the test is to take, 0 if it is not known.
func (m *testModel) length() time.Duration {
	if b := m.scene.begin; b != nil && b.Duration > 0 {
		return b.Duration
	}
	return m.test.Length
}

// progress is a bar and the time.
func (m *testModel) progress() string {
	s := &m.scene
	at, all := s.elapsed(), m.length()
	text := report.FormatElapsed(at)
	switch {
	case s.end != nil:
		text = "over after " + report.FormatElapsed(s.end.Elapsed)
		at, all = 1, 1
		if s.end.Err != nil {
			text = "ended with an error after " + report.FormatElapsed(s.end.Elapsed)
		}
	case s.begin == nil:
		text = "asking the far end"
	case len(s.intervals) == 0:
		text = "begun; the first figures are to come"
	case all > 0:
		text += " of " + report.FormatElapsed(all)
	default:
		text += ", until stopped"
	}
	if m.paused && s.end == nil {
		text = "PAUSED at " + text + " (the test goes on)"
	}
	if all <= 0 {
		return m.c.cell(" "+text, m.width, false)
	}
	full, rest := "█", "░"
	if m.c.ASCII {
		full, rest = "#", "."
	}
	wide := max(10, min(60, m.width/3))
	n := min(wide, int(math.Round(float64(wide)*float64(at)/float64(all))))
	return m.c.cell(" "+strings.Repeat(full, n)+strings.Repeat(rest, wide-n)+"  "+text, m.width, false)
}

// keys are what can be pressed.
func (m *testModel) keys() string {
	unit := "u byte/s"
	if m.octets {
		unit = "u bit/s"
	}
	leave, pause := "q stop", "p pause"
	if m.scene.end != nil {
		return " q leave  " + unit
	}
	if m.paused {
		pause = "p go on"
	}
	text := " " + leave + "  " + pause + "  " + unit
	if len(m.scene.streamNumbers()) > 1 {
		text += "  s streams"
		if m.streams {
			text += " away  up, down scroll"
		}
	}
	return text
}

// said are the latest lines of the log.
func (m *testModel) said() []string {
	n := min(len(m.log), max(2, m.height/8))
	var lines []string
	for _, l := range m.log[len(m.log)-n:] {
		lines = append(lines, m.c.line(warnLook, " "+l, m.width))
	}
	return lines
}
