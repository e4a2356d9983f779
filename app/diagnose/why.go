package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sonde-net/sonde/result"
)

// Why names what kept r from being faster, once its End was added; nil when r
// moved no data and was not to, so that there is no rate to explain.
func Why(r *Run) *result.Why {
	directions := r.directions()
	if len(directions) == 0 {
		return nil
	}
	var named []finding // one for each direction that has exactly one
	var open []string   // what is said of the others
	var evidence []string
	for _, d := range directions {
		w := r.way(d)
		prefix := ""
		if len(directions) > 1 {
			prefix = d.String() + ": "
		}
		found := findings(w)
		for _, f := range found {
			for _, e := range f.evidence {
				evidence = append(evidence, prefix+e)
			}
		}
		if len(found) == 1 {
			named = append(named, found[0])
			continue
		}
		text, seen := w.unknown(found)
		open = append(open, prefix+text)
		for _, e := range seen {
			evidence = append(evidence, prefix+e)
		}
	}
	if len(named) == 0 {
		return &result.Why{Limit: Unknown, Text: strings.Join(open, "; "), Evidence: evidence, Try: tryUnknown}
	}
	return name(named, open, evidence, len(directions))
}

const tryUnknown = "run it again for longer, with more connections, and with sonde at both ends: more can be seen then"

// name makes a Why of the directions that have a limit. The word is the one that
// stands first in the table.
func name(named []finding, open, evidence []string, directions int) *result.Why {
	slices.SortStableFunc(named, func(a, b finding) int { return rank(a.word) - rank(b.word) })
	var texts []string
	for _, f := range named {
		text, _ := f.says(f.way)
		if directions > 1 && !(len(named) > 1 && len(open) == 0 && sameWord(named)) {
			text = f.way.direction.String() + ": " + text
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	_, try := named[0].says(named[0].way)
	return &result.Why{
		Limit:    named[0].word,
		Text:     strings.Join(append(texts, open...), "; "),
		Evidence: evidence,
		Try:      try,
	}
}

func sameWord(named []finding) bool {
	return !slices.ContainsFunc(named, func(f finding) bool { return f.word != named[0].word })
}

func rank(word string) int {
	return slices.IndexFunc(causes, func(c cause) bool { return c.word == word })
}

// unknown says why no limit can be named: none shows, or several do.
func (w *way) unknown(found []finding) (text string, seen []string) {
	if len(found) > 1 {
		var words []string
		for _, f := range found {
			words = append(words, f.word)
		}
		return "not known: the figures fit " + strings.Join(words, " and ") + " alike", nil
	}
	if rate, _, ok := w.arrived(); !ok || rate == 0 {
		return "not known: no data came through", nil
	}
	if loss, ok := w.loss(); ok && loss >= lossUDP {
		if _, ok := w.lostOnPath(); !ok {
			return "not known: packets were lost, but whether on the path or by the receiver cannot be seen from here", w.seenFigures()
		}
	}
	return "not known: nothing that can be seen from here was at its limit", w.seenFigures()
}

// seenFigures are what was looked at and not found at a limit.
func (w *way) seenFigures() []string {
	var e []string
	if rate, word, ok := w.best(); ok && w.target > 0 {
		e = append(e, fmt.Sprintf("%s asked for, %s %s", formatRate(float64(w.target)), formatRate(rate), word))
	}
	for _, end := range []struct {
		here bool
		load *load
	}{{true, &w.cpu.local}, {false, &w.cpu.remote}} {
		if m, ok := end.load.median(); ok {
			e = append(e, fmt.Sprintf("CPU of %s: median %.0f %%", endName(end.here), m))
		}
	}
	if loss, ok := w.loss(); ok {
		e = append(e, formatShare(loss)+" of the packets were lost")
	}
	if share, ok := w.resent(); ok {
		e = append(e, formatShare(share)+" of the segments were sent again")
	}
	if window, buffer, ok := w.held(); ok {
		e = append(e, fmt.Sprintf("TCP waited for the receiver's window %s and for its own buffer %s of its sending time", formatShare(window), formatShare(buffer)))
	}
	if q, text := w.queue(); q != queueUnknown {
		e = append(e, text)
	}
	return e
}
