package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/verdict"
	"github.com/sonde-net/sonde/result"
)

// mostRuns bounds the runs that --fail-runs looks at.
const mostRuns = 1000

// mostRuleFile bounds a file of rules, in bytes.
const mostRuleFile = 64 << 10

// thresholds are --fail-if and what came of it. Without the flag they pass
// everything.
type thresholds struct {
	text  []string
	runs  string
	rules verdict.Rules

	mu     sync.Mutex // guards what follows
	series verdict.Series
	worst  result.Outcome
	checks []string // what was crossed, or could not be told, in the run that made it worst
}

func (t *thresholds) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&t.text, "fail-if", nil, "exit with 3 if one of these `RULES` holds, such as 'rtt.p99>30ms,loss>0.1%' or 'download.rate<400M'; or @FILE with a rule or more on each line")
}

// registerRuns registers what makes sense for a test that is repeated.
func (t *thresholds) registerRuns(fs *pflag.FlagSet) {
	fs.StringVar(&t.runs, "fail-runs", "", "with --every and --fail-if: fail only if `M/N`, M of the last N tests, crossed, such as 3/5")
}

// parse reads the flags.
func (t *thresholds) parse() error {
	t.rules = nil
	for _, text := range t.text {
		if name, ok := strings.CutPrefix(text, "@"); ok {
			rules, err := readRules(name)
			if err != nil {
				return fmt.Errorf("%s: %w", flagValue("fail-if", text), err)
			}
			t.rules = append(t.rules, rules...)
			continue
		}
		rules, err := verdict.Parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", flagValue("fail-if", text), err)
		}
		t.rules = append(t.rules, rules...)
	}
	if t.runs == "" {
		return nil
	}
	m, n, ok := strings.Cut(t.runs, "/")
	a, err1 := strconv.Atoi(m)
	b, err2 := strconv.Atoi(n)
	switch {
	case !ok || err1 != nil || err2 != nil || a < 1 || b < a || b > mostRuns:
		return fmt.Errorf("%s: not M/N; give two numbers such as 3/5, the second one at most %d", flagValue("fail-runs", t.runs), mostRuns)
	case len(t.rules) == 0:
		return fmt.Errorf("%s: there is no threshold; give --fail-if, or leave it out", flagValue("fail-runs", t.runs))
	}
	t.series = verdict.Series{M: a, N: b}
	return nil
}

// readRules reads a file of rules. Empty lines and those that begin with # are
// left out; the first fault is told with its line.
func readRules(name string) (verdict.Rules, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w; give a file with rules such as rtt.p99>30ms", cause(err))
	}
	defer file.Close()
	var all verdict.Rules
	lines := bufio.NewScanner(io.LimitReader(file, mostRuleFile))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rules, err := verdict.Parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, rules...)
	}
	if err := lines.Err(); err != nil {
		return nil, cause(err)
	}
	if len(all) == 0 {
		return nil, errors.New("no rule in it; write such as rtt.p99>30ms")
	}
	return all, nil
}

// sink puts the verdict into each End on its way to next. A run that could not
// be made has none.
func (t *thresholds) sink(next result.Sink) result.Sink {
	if len(t.rules) == 0 {
		return next
	}
	return result.Func(func(e result.Event) {
		if end, ok := e.(result.End); ok && end.Err == nil {
			end.Verdict = t.rules.Judge(end)
			t.keep(end.Verdict)
			e = end
		}
		next.Put(e)
	})
}

// keep remembers the worst that the series of runs came to.
func (t *thresholds) keep(v *result.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.series.Add(v.Outcome)
	if t.worst.Worse(o) == t.worst {
		return
	}
	t.worst, t.checks = o, nil
	for _, c := range v.Checks {
		switch {
		case c.Outcome != o:
		case o == result.Crossed:
			t.checks = append(t.checks, c.Rule+" (it is "+c.Figure+")")
		case o == result.Unknown:
			t.checks = append(t.checks, c.Rule+" ("+c.Remark+")")
		}
	}
}

// err tells that a threshold was crossed, or that it cannot be told.
func (t *thresholds) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.worst {
	case result.Crossed:
		return &result.Error{Word: result.CodeThreshold, Text: t.said("threshold crossed")}
	case result.Unknown:
		return &result.Error{Word: result.CodeUntold, Text: t.said("cannot tell whether a threshold is crossed")}
	}
	return nil
}

func (t *thresholds) said(what string) string {
	if t.runs != "" {
		what += " in " + t.runs + " tests"
	}
	if len(t.checks) > 0 {
		what += ": " + strings.Join(t.checks, ", ")
	}
	return what
}
