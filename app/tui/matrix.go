package tui

import (
	"fmt"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/mesh"
)

// cellWidth is that of one cell of the matrix: a word and a space.
const cellWidth = 8

// pathLook is the look of a path's word.
func pathLook(word string) lipgloss.Style {
	switch word {
	case mesh.PathDirect, mesh.PathPunched:
		return goodLook
	case mesh.PathMapped:
		return fairLook
	case mesh.PathRelayed, "trying":
		return warnLook
	case mesh.PathNone:
		return badLook
	}
	return plainLook
}

// matrixPart is who reaches whom: a row for who reports, a column for whom, and
// below it what there is to say of the chosen pair.
func (m *meshModel) matrixPart(room int) []string {
	nodes := m.nodes()
	if len(nodes) == 0 {
		return []string{m.c.line(headLook, " who reaches whom", m.width), "  nobody is listed yet"}
	}
	row, col := min(m.row, len(nodes)-1), min(m.col, len(nodes)-1)
	title := min(labelWidth(nodes), m.width-2-cellWidth)
	c0, c1 := window(len(nodes), col, max(1, (m.width-title-2)/cellWidth))
	r0, r1 := window(len(nodes), row, max(1, room-1-detailLines))
	head := m.c.cell(" from \\ to", title+2, false)
	for i, n := range nodes[c0:c1] {
		name := n.Label
		if i+c0 == col {
			name = ">" + name
		}
		head += m.c.cell(name, cellWidth-1, false) + " "
	}
	lines := []string{m.c.line(headLook, head, m.width)}
	for i, from := range nodes[r0:r1] {
		mark := " "
		if i+r0 == row {
			mark = ">"
		}
		line := mark + m.c.cell(from.Label, title, false) + " "
		for j, to := range nodes[c0:c1] {
			word := m.word(from, to)
			look := pathLook(word)
			if i+r0 == row && j+c0 == col {
				look = hereLook
			}
			line += look.Render(m.c.cell(word, cellWidth-1, false)) + " "
		}
		lines = append(lines, line)
	}
	return append(lines, m.pairDetail(nodes[row], nodes[col])...)
}

// labelWidth is that of the longest label, within reason.
func labelWidth(nodes []meshview.Node) int {
	width := 9
	for _, n := range nodes {
		width = max(width, ansi.StringWidth(n.Label))
	}
	return min(width, 18)
}

// word is a cell of the matrix.
func (m *meshModel) word(from, to meshview.Node) string {
	if from.ID == to.ID {
		return "."
	}
	p, ok := m.scene.View.Pair(from, to)
	if !ok {
		return "?"
	}
	return meshview.Word(p)
}

// pairDetail says what both have found, and why it is not better.
func (m *meshModel) pairDetail(a, b meshview.Node) []string {
	lines := []string{m.c.line(footLook, "Pair", m.width)}
	if a.ID == b.ID {
		return append(lines, m.c.cell(a.Label+": choose another column with left and right", m.width, false))
	}
	there, back := m.scene.View.Ways(a, b)
	why := ""
	for _, one := range []struct {
		from, to meshview.Node
		p        *mesh.PairStatus
	}{{a, b, there}, {b, a, back}} {
		text := "nothing reported"
		if one.p != nil {
			text = meshview.Word(*one.p) + ", " + meshview.Figures(*one.p)
			if why == "" {
				why = meshview.Why(*one.p)
			}
		}
		lines = append(lines, m.c.cell(fmt.Sprintf("%s to %s: %s", one.from.Label, one.to.Label, text), m.width, false))
	}
	if why != "" {
		lines = append(lines, m.c.wrap("why: "+why, m.width, detailLines-len(lines))...)
	}
	return lines
}
