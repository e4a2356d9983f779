package config

import (
	"fmt"
	"strings"
)

// suggestion is what to write instead of a word that is not known: the one that
// it is nearest to, or all if there are few.
func suggestion(word string, known []string) string {
	best, least := "", len(word)/3+2
	for _, k := range known {
		d := distance(strings.ReplaceAll(strings.ToLower(word), "-", "_"), k)
		if d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("(did you mean %q?)", best)
	}
	return "(there are " + strings.Join(known, ", ") + ")"
}

// Suggestion is what to write instead of a word that is none of the known ones.
func Suggestion(word string, known []string) string { return suggestion(word, known) }

// distance is how many letters have to be put in, left out, changed or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
