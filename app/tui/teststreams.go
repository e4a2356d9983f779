package tui

import (
	"fmt"
	"slices"

	"github.com/sonde-net/sonde/result"
)

// streamNumbers are the streams, or sessions, that are known.
func (s *testScene) streamNumbers() []int {
	var all []int
	for k := range s.streams {
		all = append(all, k.stream)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// streamsPart lists the streams in as many columns as fit, from the chosen one on.
func (m *testModel) streamsPart(room int) []string {
	numbers := m.scene.streamNumbers()
	if room < 2 || len(numbers) == 0 {
		return nil
	}
	numbers = numbers[min(m.from, len(numbers)-1):]
	wide := 0
	cells := make([]string, len(numbers))
	for n, number := range numbers {
		cells[n] = m.streamCell(number)
		wide = max(wide, len([]rune(cells[n]))+2)
	}
	columns := max(1, m.width/wide)
	rows := min(room-1, (len(cells)+columns-1)/columns)
	shown := min(len(cells), rows*columns)
	head := fmt.Sprintf(" Streams now, %d to %d", numbers[0], numbers[shown-1])
	if shown < len(cells) {
		head += fmt.Sprintf(", %d more below", len(cells)-shown)
	}
	lines := []string{m.c.line(headLook, head, m.width)}
	for r := range rows {
		line := ""
		for c := range columns {
			if n := c*rows + r; n < shown {
				line += m.c.cell(cells[n], wide, false)
			}
		}
		lines = append(lines, m.c.cell(line, m.width, false))
	}
	return lines
}

// streamCell is one stream with its rate each way, or a session's round trip.
func (m *testModel) streamCell(number int) string {
	text := fmt.Sprintf(" %4d", number)
	for _, d := range []result.Direction{result.Down, result.Up, result.Both} {
		i, ok := m.scene.streams[streamKey{number, d}]
		if !ok {
			continue
		}
		if r := i.RoundTrips; r != nil {
			median := unknown
			if r.RTT != nil {
				median = delay(r.RTT.Delay.P50)
			}
			return text + fmt.Sprintf(" %10s  lost %d of %d", median, r.Lost, r.Sent)
		}
		arrow := "↑"
		if d == result.Down {
			arrow = "↓"
		}
		text += fmt.Sprintf(" %s %14s", arrow, m.rate(i.Local(), i.End-i.Start))
	}
	return text
}
