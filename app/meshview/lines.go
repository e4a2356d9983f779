package meshview

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/mesh"
)

// Delay is a delay or a dash.
func Delay(d *time.Duration) string {
	if d == nil {
		return "-"
	}
	return report.FormatDelay(*d)
}

// Loss is the loss of a pair: "0 of 120", "3 of 120 (2.5 %)", or a dash.
func Loss(p mesh.PairStatus) string {
	if p.Ratio == nil {
		return "-"
	}
	text := fmt.Sprintf("%d of %d", p.Lost, p.Sent)
	if p.Lost > 0 {
		text += " (" + report.FormatPercent(*p.Ratio) + ")"
	}
	return text
}

// Figures are the figures of a pair in words.
func Figures(p mesh.PairStatus) string {
	if p.Ratio == nil && p.RTT == nil {
		return "nothing measured yet"
	}
	return fmt.Sprintf("RTT %s, jitter %s, lost %s", Delay(p.RTT), Delay(p.Jitter), Loss(p))
}

// Why is why a pair is not direct and what would change that; empty if it is.
func Why(p mesh.PairStatus) string {
	if p.Reason != "" && p.Hint != "" {
		return p.Reason + "; " + p.Hint
	}
	return p.Reason
}

// Table writes one line for each peer of a node, and one for each server.
func Table(w io.Writer, s mesh.NodeStatus) {
	v := OfNode(s)
	rows := [][]string{}
	for _, h := range Homes(s) {
		state := "silent"
		if h.Up {
			state = "answers"
		}
		rows = append(rows, []string{"server " + h.Label, state, "RTT " + Delay(h.RTT), "", ""})
	}
	for _, n := range v.Nodes[1:] {
		p, _ := v.Pair(v.Nodes[0], n)
		rows = append(rows, []string{n.Label, Word(p), "RTT " + Delay(p.RTT), "jitter " + Delay(p.Jitter), "lost " + Loss(p)})
	}
	WriteColumns(w, rows)
}

// WriteColumns writes rows with their columns below each other.
func WriteColumns(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(w, "  "+strings.TrimRight(line.String(), " "))
	}
}

// A Follower tells what has changed of the pairs that a server hears of.
type Follower struct {
	words map[[2]string]string
}

// Changes are lines for the pairs whose path is another than before.
func (f *Follower) Changes(v View) []string {
	var lines []string
	now := map[[2]string]string{}
	for i, a := range v.Nodes {
		for _, b := range v.Nodes[i+1:] {
			there, back := v.Ways(a, b)
			word := Worse(there, back)
			if word == "" {
				continue
			}
			key := [2]string{a.ID, b.ID}
			now[key] = word
			if f.words[key] == word || word == "trying" && f.words[key] == "" {
				continue
			}
			lines = append(lines, sentence(a, b, word, there, back))
		}
	}
	f.words = now
	return lines
}

// Ways are what two nodes reported of each other; nil is nothing.
func (v View) Ways(a, b Node) (there, back *mesh.PairStatus) {
	if p, ok := v.Pair(a, b); ok {
		there = &p
	}
	if p, ok := v.Pair(b, a); ok {
		back = &p
	}
	return there, back
}

func sentence(a, b Node, word string, there, back *mesh.PairStatus) string {
	text := fmt.Sprintf("%s - %s: %s", a.Label, b.Label, word)
	for _, p := range []*mesh.PairStatus{there, back} {
		if p == nil || Word(*p) != word {
			continue
		}
		if p.Reason != "" {
			return text + ": " + p.Reason
		}
		if p.RTT != nil {
			return text + ", RTT " + Delay(p.RTT)
		}
	}
	return text
}
