package verdict

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of what a user may write.
const (
	mostRules = 100
	mostText  = 4096 // bytes
)

// A SyntaxError says what is wrong with a rule and how it is right.
type SyntaxError struct {
	Rule    string // as it was written
	Problem string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%q: %s", e.Rule, e.Problem) }

// Parse reads rules with commas between them: a figure, one of > >= < <=, and a
// limit with its unit, such as "rtt.p99>30ms, loss>0.1%, download.rate<400M".
// The error is a *SyntaxError.
func Parse(text string) (Rules, error) {
	if len(text) > mostText {
		return nil, &SyntaxError{text[:20] + "...", fmt.Sprintf("longer than %d bytes", mostText)}
	}
	var rules Rules
	for one := range strings.SplitSeq(text, ",") {
		if len(rules) == mostRules {
			return nil, &SyntaxError{one, fmt.Sprintf("more than %d thresholds", mostRules)}
		}
		r, err := parseRule(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// parseRule reads one rule.
func parseRule(text string) (Rule, error) {
	bad := func(format string, args ...any) (Rule, error) {
		return Rule{}, &SyntaxError{text, fmt.Sprintf(format, args...)}
	}
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return bad("not a threshold; give a figure, > or <, and a limit, such as rtt.p99>30ms")
	}
	name, rest := strings.TrimSpace(text[:at]), text[at:]
	i := slices.IndexFunc(operators, func(o operator) bool { return strings.HasPrefix(rest, string(o)) })
	r := Rule{name: name, op: operators[i]}
	r.text = strings.TrimSpace(strings.TrimPrefix(rest, string(r.op)))
	var ok bool
	if r.figure, ok = figures[name]; !ok {
		return bad("no figure %q; there are such as %s", clip(name), examples)
	}
	if r.limit, ok = r.figure.unit.parse(r.text); !ok {
		return bad("%q is no limit for %s; give %s", clip(r.text), name, r.figure.unit.example())
	}
	return r, nil
}

// examples are figures that most want.
const examples = "rtt.p99, rtt.max, jitter, loss, loss.out, out.p99, download.rate, upload.loss, loaded.p50"

// clip keeps what is quoted in a message short.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
