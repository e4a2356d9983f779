package tui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/mesh"
)

// A MeshScene is what the screen of a mesh shows at a moment.
type MeshScene struct {
	Homes  []meshview.Node // the servers of a node
	View   meshview.View
	Status []string // the lines of the pane "Status"
}

// A Mesh is the screen of a mesh server or node.
type Mesh struct {
	Title    string
	LogLines int // height of the log; 0 means 10
	Log      *Log
	Look     func() MeshScene // called once a second
}

// Run shows the screen until the person leaves or ctx ends.
func (m Mesh) Run(ctx context.Context, c Config) error {
	return run(ctx, c, &meshModel{Mesh: m, c: c, scene: m.Look(), width: 80, height: 24})
}

// A meshModel is the screen with where the person is on it.
type meshModel struct {
	Mesh
	c             Config
	scene         MeshScene
	width, height int
	matrix        bool // the matrix has the keys, and on a small screen the place
	paused, help  bool
	sort          int // in sorts
	row, col      int // of the nodes in their order
}

// sorts are the orders of rows.
var sorts = []struct {
	name string
	less func(v meshview.View) func(a, b meshview.Node) int
}{
	{"as they came", nil},
	{"by name", func(meshview.View) func(a, b meshview.Node) int {
		return func(a, b meshview.Node) int { return strings.Compare(a.Label, b.Label) }
	}},
	{"by RTT", func(meshview.View) func(a, b meshview.Node) int {
		return func(a, b meshview.Node) int { return cmp.Compare(orMost(a.RTT), orMost(b.RTT)) }
	}},
	{"by loss", func(meshview.View) func(a, b meshview.Node) int {
		return func(a, b meshview.Node) int { return cmp.Compare(orZero(b.Lost), orZero(a.Lost)) }
	}},
}

func orMost(d *time.Duration) time.Duration {
	if d == nil {
		return 1<<63 - 1
	}
	return *d
}

func orZero(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// Init implements tea.Model.
func (m *meshModel) Init() tea.Cmd { return ticks() }

// Update implements tea.Model.
func (m *meshModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		if !m.paused {
			m.scene = m.Look()
		}
		return m, ticks()
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

func (m *meshModel) key(key string) tea.Cmd {
	switch key {
	case "q", "Q":
		return tea.Quit
	case "ctrl+c":
		return tea.Interrupt
	case "?", "h":
		m.help = !m.help
	case "p":
		m.paused = !m.paused
	case "s":
		m.sort = (m.sort + 1) % len(sorts)
	case "tab", "m", "enter":
		m.matrix = !m.matrix
	case "up", "k":
		m.row--
	case "down", "j":
		m.row++
	case "left":
		m.col--
	case "right", "l":
		m.col++
	}
	last := max(0, len(m.scene.View.Nodes)-1)
	m.row, m.col = min(max(m.row, 0), last), min(max(m.col, 0), last)
	return nil
}

// nodes are the nodes in the order that the person chose.
func (m *meshModel) nodes() []meshview.Node {
	all := slices.Clone(m.scene.View.Nodes)
	if less := sorts[m.sort].less; less != nil {
		slices.SortStableFunc(all, less(m.scene.View))
	}
	return all
}

// View implements tea.Model.
func (m *meshModel) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

// Sizes of the screen's parts, lines.
const (
	detailLines = 5
	bigHeight   = 40 // from here on table and matrix are shown together
)

// draw is the whole screen.
func (m *meshModel) draw() string {
	if m.width < 20 || m.height < 8 {
		return "the terminal is too small"
	}
	lines := []string{m.c.line(titleLook, m.Title, m.width)}
	foot := m.foot()
	room := m.height - len(lines) - len(foot)
	switch {
	case m.help:
		for _, l := range m.helpLines() {
			lines = append(lines, m.c.cell(l, m.width, false))
		}
	case m.height >= bigHeight:
		matrix := m.matrixPart(min(room/2, len(m.scene.View.Nodes)+2+detailLines))
		table := m.table(min(room-len(matrix)-1, 2+len(m.scene.Homes)+len(m.scene.View.Nodes)))
		lines = append(append(append(lines, table...), ""), matrix...)
	case m.matrix:
		lines = append(lines, m.matrixPart(room)...)
	default:
		lines = append(lines, m.table(room)...)
	}
	for len(lines) < m.height-len(foot) {
		lines = append(lines, "")
	}
	return stack(m.height, append(lines[:m.height-len(foot)], foot...))
}

func (m *meshModel) helpLines() []string {
	return []string{
		"", "  q, Q       leave", "  Tab        the table, or the matrix of who reaches whom",
		"  arrows     choose a node, and in the matrix a pair: below it says how and why",
		"  s          sort: " + sorts[m.sort].name, "  p          pause, and go on", "  ?          this help, and back", "",
		"  direct     at an address of the other's own", "  punched    at an address that a NAT gave, opened from both sides",
		"  mapped     at a port that a router maps", "  relayed    by way of the server", "  none       no way",
		"  2 of 3     at a server: how many of the others a node reaches", "",
	}
}

// A column of the table; wide ones are left out of a narrow screen.
type column struct {
	head   string
	width  int
	wide   bool
	right  bool
	of     func(m *meshModel, n meshview.Node) string
	weight int // of the space that is left
}

// tableColumns are those of the original, and ours to their right.
var tableColumns = []column{
	{head: "Address", width: 20, weight: 1, of: func(_ *meshModel, n meshview.Node) string {
		return strings.TrimSpace(n.Label + " " + strings.TrimPrefix(n.Address, n.Label))
	}},
	{head: "Pkts Sent", width: 9, right: true, of: func(_ *meshModel, n meshview.Node) string { return own(n, fmt.Sprint(n.Sent)) }},
	{head: "Pkts Rcvd", width: 9, right: true, of: func(_ *meshModel, n meshview.Node) string { return own(n, fmt.Sprint(n.Came)) }},
	{head: "Acks Lost", width: 9, right: true, of: func(_ *meshModel, n meshview.Node) string {
		if n.Lost == nil {
			return own(n, "-")
		}
		return fmt.Sprint(*n.Lost)
	}},
	{head: "Avg RTT", width: 10, right: true, of: func(_ *meshModel, n meshview.Node) string { return own(n, meshview.Delay(n.RTT)) }},
	{head: "Jitter", width: 10, right: true, wide: true, of: func(m *meshModel, n meshview.Node) string {
		if p, ok := m.ofSelf(n); ok {
			return meshview.Delay(p.Jitter)
		}
		return ""
	}},
	{head: "Path", width: 8, of: func(m *meshModel, n meshview.Node) string { return m.pathOf(n) }},
	{head: "NAT", width: 22, wide: true, of: func(_ *meshModel, n meshview.Node) string { return n.NAT }},
}

// own is empty for the node itself, which has no figures.
func own(n meshview.Node, text string) string {
	if n.Self {
		return ""
	}
	return text
}

// ofSelf is what the node that looks found of another.
func (m *meshModel) ofSelf(n meshview.Node) (mesh.PairStatus, bool) {
	for _, self := range m.scene.View.Nodes {
		if self.Self {
			return m.scene.View.Pair(self, n)
		}
	}
	return mesh.PairStatus{}, false
}

// pathOf is the path of a row in a word.
func (m *meshModel) pathOf(n meshview.Node) string {
	if n.Self {
		return "here"
	}
	if p, ok := m.ofSelf(n); ok {
		return meshview.Word(p)
	}
	if n.Kind == "server" && !n.Up {
		return "silent"
	}
	if reached, all := m.reach(n); all > 0 {
		return fmt.Sprintf("%d of %d", reached, all)
	}
	if n.Up {
		return "up"
	}
	return ""
}

// reach is how many of the nodes that one has reported of it reaches.
func (m *meshModel) reach(n meshview.Node) (reached, all int) {
	for _, to := range m.scene.View.Nodes {
		if p, ok := m.scene.View.Pair(n, to); ok {
			all++
			if p.Path != mesh.PathNone {
				reached++
			}
		}
	}
	return reached, all
}

// columns are those that fit, with the space that is left given out.
func (m *meshModel) columns() []column {
	var fit []column
	left := m.width - 1 // the mark
	for _, c := range tableColumns {
		if c.wide && m.width < 110 {
			continue
		}
		fit = append(fit, c)
		left -= c.width + 1
	}
	for i := range fit {
		fit[i].width += fit[i].weight * max(0, left)
	}
	return fit
}

// table is the heads and a row for each server and each client, as many as fit,
// around the chosen one.
func (m *meshModel) table(room int) []string {
	columns := m.columns()
	render := func(look lipgloss.Style, mark string, text func(c column) string) string {
		var row strings.Builder
		for _, c := range columns {
			row.WriteString(m.c.cell(text(c), c.width, c.right) + " ")
		}
		return look.Render(m.c.cell(mark+strings.TrimSuffix(row.String(), " "), m.width, false))
	}
	lines := []string{render(headLook, " ", func(c column) string { return c.head })}
	for _, n := range m.scene.Homes {
		lines = append(lines, render(serverLook, " ", func(c column) string { return c.of(m, n) }))
	}
	nodes := m.nodes()
	if len(nodes) == 0 {
		return append(lines, m.c.line(plainLook, "  nobody is listed yet", m.width))
	}
	detail := []string{}
	if !m.matrix && m.height < bigHeight && room-len(lines) >= 6 {
		detail = m.nodeDetail(nodes[min(m.row, len(nodes)-1)])
	}
	first, last := window(len(nodes), m.row, max(1, room-len(lines)-len(detail)))
	for i, n := range nodes[first:last] {
		look, mark := peerLook, " "
		if i+first == m.row {
			look, mark = hereLook, ">"
		}
		lines = append(lines, render(look, mark, func(c column) string { return c.of(m, n) }))
	}
	for len(lines) < room-len(detail) {
		lines = append(lines, "")
	}
	return append(lines, detail...)
}

// nodeDetail says more of the chosen row.
func (m *meshModel) nodeDetail(n meshview.Node) []string {
	text := fmt.Sprintf("%s: %s, NAT %s, %s", n.Label, n.Kind, cmp.Or(n.NAT, "not known"), cmp.Or(n.Address, "no address"))
	if p, ok := m.ofSelf(n); ok && p.Reason != "" {
		text += ". " + meshview.Word(p) + ": " + meshview.Why(p)
	}
	return append([]string{m.c.line(footLook, "Node", m.width)}, m.c.wrap(text, m.width, 2)...)
}

// window is which of n rows are shown in room lines so that the chosen one is.
func window(n, chosen, room int) (first, last int) {
	if n <= room {
		return 0, n
	}
	first = min(max(0, chosen-room/2), n-room)
	return first, first + room
}

// foot is the log and the status beside each other, with the keys below.
func (m *meshModel) foot() []string {
	n := min(cmp.Or(m.LogLines, 10), max(3, (m.height-12)*2/3))
	right := m.width / 3
	left := m.width - right - 1
	lines := []string{m.c.line(footLook, "Log output", left) + footLook.Render(" ") + m.c.line(footLook, "Status", right)}
	var entries []string
	if m.Log != nil {
		entries = m.Log.last(n)
	}
	for i := range n {
		entry, status := "", ""
		if i < len(entries) {
			entry = entries[i]
		}
		if i < len(m.scene.Status) {
			status = m.scene.Status[i]
		}
		lines = append(lines, m.c.cell(entry, left, false)+" "+m.c.cell(status, right, false))
	}
	keys := "q leave  Tab matrix  arrows choose  s sort  p pause  ? help"
	if m.paused {
		keys = "PAUSED  " + keys
	}
	return append(lines, m.c.cell(keys, m.width, false))
}
