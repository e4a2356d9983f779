package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/sonde-net/sonde/app/compare"
)

// WriteDifferences says for a person what can be said of each figure.
func WriteDifferences(w io.Writer, all []compare.Difference) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nothing to compare: no figure was measured on both sides")
		return err
	}
	for _, d := range all {
		_, err := fmt.Fprintf(w, "%-9s A %s, B %s: %s\n", d.Figure, figureOf(d.Figure, d.A.Mean), figureOf(d.Figure, d.B.Mean), verdictOn(d))
		if err != nil {
			return err
		}
	}
	return nil
}

// figureOf is a mean in the unit of its figure.
func figureOf(f compare.Figure, mean float64) string {
	switch f {
	case compare.RTT:
		return FormatDelay(time.Duration(mean))
	case compare.Loss:
		return percentOf(mean)
	}
	return FormatRate(uint64(math.Round(mean)))
}

func percentOf(share float64) string { return strconv.FormatFloat(100*share, 'g', 3, 64) + " %" }

// verdictOn is one sentence about d.
func verdictOn(d compare.Difference) string {
	basis := fmt.Sprintf("%d against %d %s", d.A.N, d.B.N, d.Unit)
	switch {
	case d.TooFew:
		return "too little to tell, " + basis + "; give more runs or longer ones"
	case !d.Certain && d.Low != nil:
		return fmt.Sprintf("no difference can be shown (B is between %+.1f %% and %+.1f %%; %s)", 100**d.Low, 100**d.High, basis)
	case !d.Certain:
		return "no difference can be shown (" + basis + ")"
	}
	more, less := "higher", "lower"
	if d.Figure.MoreIsBetter() {
		more, less = "faster", "slower"
	}
	word := more
	if d.B.Mean < d.A.Mean {
		word = less
	}
	if d.Change == nil {
		return fmt.Sprintf("B is %s, certain (%s)", word, basis)
	}
	text := fmt.Sprintf("B is %.1f %% %s, certain", 100*math.Abs(*d.Change), word)
	if d.Low != nil {
		text += fmt.Sprintf(" (between %+.1f %% and %+.1f %%; %s)", 100**d.Low, 100**d.High, basis)
	}
	return text
}

// differenceJSON is a compare.Difference by the rules of Schema.
type differenceJSON struct {
	Figure  string     `json:"figure"`
	Unit    string     `json:"unit"` // of a value: runs or intervals
	A       sampleJSON `json:"a"`
	B       sampleJSON `json:"b"`
	Change  *float64   `json:"change_ratio"`
	Low     *float64   `json:"change_low_ratio"`
	High    *float64   `json:"change_high_ratio"`
	P       float64    `json:"p"`
	Certain bool       `json:"certain"`
	TooFew  bool       `json:"too_few"`
}

type sampleJSON struct {
	Values    int     `json:"values"`
	Effective float64 `json:"independent_values"`
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"standard_deviation"`
}

// WriteDifferencesJSON writes them for a program: rates in bit/s, round trips in
// nanoseconds, loss as a share.
func WriteDifferencesJSON(w io.Writer, all []compare.Difference) error {
	list := []differenceJSON{}
	for _, d := range all {
		list = append(list, differenceJSON{
			string(d.Figure), string(d.Unit), sampleOf(d.A), sampleOf(d.B),
			finite(d.Change, 6), finite(d.Low, 6), finite(d.High, 6), d.P, d.Certain, d.TooFew,
		})
	}
	return json.NewEncoder(w).Encode(map[string]any{"schema": "sonde.diff/1", "differences": list})
}

func sampleOf(s compare.Sample) sampleJSON {
	return sampleJSON{s.N, s.Effective, s.Mean, s.Deviation}
}
