// Package verdict holds the figures of a run against thresholds that a user
// gave, such as "rtt.p99>30ms,loss>0.1%": each says when the run fails.
//
// A threshold whose figure was not measured is neither met nor crossed: it
// could not be told, and the verdict says so and why. Of several sessions or
// directions the worst one counts.
//
// The package is pure: it reads results and knows neither who asked nor where
// the verdict goes. docs/results.md lists the figures.
package verdict

import (
	"github.com/sonde-net/sonde/result"
)

// Rules are the thresholds of one test; a run fails when one of them holds.
type Rules []Rule

// A Rule is one threshold.
type Rule struct {
	name   string
	figure figure
	op     operator
	limit  float64 // in the base of the figure's unit
	text   string  // the limit as it was written
}

// An operator compares a figure with a limit.
type operator string

// The operators, the longer ones first for whoever looks for them in a text.
var operators = []operator{">=", "<=", ">", "<"}

func (o operator) holds(figure, limit float64) bool {
	switch o {
	case ">":
		return figure > limit
	case ">=":
		return figure >= limit
	case "<":
		return figure < limit
	case "<=":
		return figure <= limit
	}
	return false
}

// String is the rule as Parse takes it.
func (r Rule) String() string { return r.name + string(r.op) + r.text }

// Judge holds all rules against a run. It is nil when there is no rule.
func (rs Rules) Judge(e result.End) *result.Verdict {
	if len(rs) == 0 {
		return nil
	}
	v := &result.Verdict{Outcome: result.Passed}
	for _, r := range rs {
		c := r.check(e)
		v.Outcome = v.Outcome.Worse(c.Outcome)
		v.Checks = append(v.Checks, c)
	}
	return v
}

// check holds one rule against each session or direction that has the figure,
// and tells of the worst.
func (r Rule) check(e result.End) result.Check {
	worst := result.Check{Rule: r.String(), Outcome: result.Unknown, Remark: "this test does not measure it"}
	for n, one := range r.figure.of(e) {
		c := r.checkOne(one)
		if n == 0 || worst.Outcome.Worse(c.Outcome) != worst.Outcome {
			worst = c
		}
	}
	return worst
}

func (r Rule) checkOne(f reading) result.Check {
	c := result.Check{Rule: r.String(), Outcome: result.Passed}
	if f.value == nil {
		c.Outcome, c.Remark = result.Unknown, f.why
		if c.Remark == "" {
			c.Remark = "not measured"
		}
		return c
	}
	c.Figure = r.figure.unit.format(*f.value)
	if r.op.holds(*f.value, r.limit) {
		c.Outcome = result.Crossed
	}
	return c
}
