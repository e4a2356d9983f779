//go:build !nano

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/meshview"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// meshCheckFlags are the flags of sonde mesh check.
type meshCheckFlags struct {
	servers serversFlag
	wait    duration
	json    bool
}

func meshCheckCommand(e *env) *cobra.Command {
	o := newOutput(e)
	f := meshCheckFlags{wait: duration(20 * time.Second)}
	cmd := &cobra.Command{
		Use:   "check --server HOST A B",
		Short: "say whether two nodes can talk, how, and if not directly, why",
		Long: `Ask what two nodes, given by name or UUID, have found out of each other: whether
they are connected directly, punched through their NATs, mapped or relayed, or not
at all; why; and what would change that. The check itself is no node: nobody is
told of it, and it pings nobody.

The exit status is 0 if the two reach each other without help, 3 if they are
relayed, 7 if there is no way, and 1 if no server answers or there is no such node.`,
		Example: `  sonde mesh check --server 192.0.2.1 a b
  sonde mesh check --server 192.0.2.1 a b --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return misuse("", "%s: %d nodes; give two, A and B, by name or UUID", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(f.servers.check(), o.validate()); err != nil {
				return err
			}
			if f.wait < duration(time.Second) {
				return misuse("", "--wait %v: want 1s or more", time.Duration(f.wait))
			}
			return f.run(cmd.Context(), o, args[0], args[1])
		},
	}
	fs := cmd.Flags()
	f.servers.register(fs)
	fs.VarP(&f.wait, "wait", "w", "wait so long for the two to be there and to have tried")
	fs.BoolVar(&f.json, "json", false, "one JSON document")
	o.registerLog(fs)
	return cmd
}

// A pairCheck is what sonde mesh check found, as JSON.
type pairCheck struct {
	Schema string           `json:"schema"`
	Time   time.Time        `json:"time"`
	A      mesh.PeerStatus  `json:"a"`
	B      mesh.PeerStatus  `json:"b"`
	Path   string           `json:"path"`
	There  *mesh.PairStatus `json:"a_reports"` // null if it reports nothing
	Back   *mesh.PairStatus `json:"b_reports"`
	Code   string           `json:"code"` // of the reason; empty if there is none
	Reason string           `json:"reason"`
	Hint   string           `json:"hint"`
	Exit   int              `json:"exit"`
}

func (f *meshCheckFlags) run(ctx context.Context, o *output, a, b string) error {
	var c *pairCheck
	err := f.servers.observe(ctx, o, time.Duration(f.wait), func(ctx context.Context, n *mesh.Node) (err error) {
		c, err = check(ctx, n, a, b)
		return err
	})
	if err != nil {
		return err
	}
	outcome := c.outcome()
	c.Exit = result.ExitCode(outcome)
	o.env.told = true
	if f.json {
		b, err := json.Marshal(c)
		if err == nil {
			_, err = fmt.Fprintf(o.env.out, "%s\n", b)
		}
		return cmp.Or(err, outcome)
	}
	c.print(o)
	return outcome
}

// settleTime is how long a pair has to be without a direct path before that
// counts: a round of tries takes five seconds.
const settleTime = 6 * time.Second

// check waits for the two nodes and asks about them until there is a verdict, or
// ctx ends: then the latest answer counts.
func check(ctx context.Context, n *mesh.Node, a, b string) (*pairCheck, error) {
	c := &pairCheck{Schema: "sonde.mesh-check/1"}
	var err error
	for _, one := range []struct {
		name string
		of   *mesh.PeerStatus
	}{{a, &c.A}, {b, &c.B}} {
		if *one.of, err = waitFor(ctx, n, one.name); err != nil {
			return nil, err
		}
	}
	if c.A.ID == c.B.ID {
		return nil, misuse("", "%s and %s are one node; give two", a, b)
	}
	for {
		answer, err := n.Ask(ctx, c.A.ID, c.B.ID)
		if err == nil {
			c.Time, c.There, c.Back = time.Now(), answer.There, answer.Back
		}
		if c.isSettled() || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if interrupted(ctx) != nil {
		return nil, interrupted(ctx)
	}
	c.judge()
	if c.There == nil && c.Back == nil {
		return nil, &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("mesh: neither %s nor %s has reported of the other", a, b), Hint: "original clients report nothing; run sonde at one side at least"}
	}
	return c, nil
}

// isSettled reports whether nothing better is to be expected soon.
func (c *pairCheck) isSettled() bool {
	if c.There == nil && !c.A.Original || c.Back == nil && !c.B.Original {
		return false
	}
	for _, p := range []*mesh.PairStatus{c.There, c.Back} {
		if p == nil {
			continue
		}
		word := meshview.Word(*p)
		if word == "trying" || (word == mesh.PathNone || word == mesh.PathRelayed) && p.Since < settleTime || p.RTT == nil && word != mesh.PathNone {
			return false
		}
	}
	return true
}

// judge says what the two reports mean together.
func (c *pairCheck) judge() {
	c.Path = meshview.Worse(c.There, c.Back)
	if c.Path == "trying" {
		c.Path = mesh.PathNone
	}
	for _, p := range []*mesh.PairStatus{c.There, c.Back} {
		if p != nil && c.Reason == "" {
			c.Code, c.Reason, c.Hint = p.Code, p.Reason, p.Hint
		}
	}
	if c.Path == mesh.PathRelayed {
		c.Hint, _, _ = strings.Cut(c.Hint, ", or start the server with --relay") // it is
	}
	if c.Path == mesh.PathNone && c.Reason == "" {
		c.Reason, c.Hint = "no way was found yet", "ask again in a moment, or with a longer --wait"
	}
}

// A pairError says that two nodes do not reach each other by themselves.
type pairError struct {
	code       string
	exit       int
	text, hint string
}

func (p *pairError) Error() string  { return p.text }
func (p *pairError) Code() string   { return p.code }
func (p *pairError) ExitCode() int  { return p.exit }
func (p *pairError) Advice() string { return p.hint }

// outcome is the error that belongs to the path: none if the two need no help.
func (c *pairCheck) outcome() error {
	text := fmt.Sprintf("mesh: %s - %s: %s: %s", label(c.A), label(c.B), c.Path, c.Reason)
	switch c.Path {
	case mesh.PathRelayed:
		return &pairError{"relayed", 3, text, c.Hint}
	case mesh.PathNone:
		return &pairError{"no_path", 7, text, c.Hint}
	}
	return nil
}

func (c *pairCheck) print(o *output) {
	w := o.env.out
	fmt.Fprintf(w, "%s - %s: %s\n", label(c.A), label(c.B), c.Path)
	for _, one := range []struct {
		from, to mesh.PeerStatus
		p        *mesh.PairStatus
	}{{c.A, c.B, c.There}, {c.B, c.A, c.Back}} {
		text := "reports nothing"
		if one.from.Original {
			text = "an original client, which reports nothing"
		}
		if one.p != nil {
			text = fmt.Sprintf("%s%s, %s", meshview.Word(*one.p), byAddress(one.p.Theirs), meshview.Figures(*one.p))
		}
		fmt.Fprintf(w, "  %s to %s: %s\n", label(one.from), label(one.to), text)
	}
	for _, p := range []mesh.PeerStatus{c.A, c.B} {
		fmt.Fprintf(w, "  NAT of %s: mapping %s, filtering %s\n", label(p), p.Mapping, p.Filtering)
	}
	if c.Reason != "" {
		fmt.Fprintf(w, "  why: %s\n", c.Reason)
	}
}

// byAddress says by which kind of address, if by one.
func byAddress(kind string) string {
	switch kind {
	case "none", "relay", "":
		return ""
	}
	return " by a " + kind + " address"
}

func label(p mesh.PeerStatus) string { return cmp.Or(report.Clean(p.Name), p.ID) }

// observe runs use with a node that only observes, as join does.
func (f *serversFlag) observe(ctx context.Context, o *output, wait time.Duration, use func(context.Context, *mesh.Node) error) error {
	return f.join(ctx, &mesh.Node{Servers: f.at, Observe: true, Log: o.briefLog()}, wait, use)
}

// briefLog is the log of a command that is over soon: warnings, unless more is
// asked for.
func (o *output) briefLog() *slog.Logger {
	if o.logLevel == "" && o.verbose == 0 {
		o.logLevel = "warn"
	}
	return o.logger()
}

// join runs use with a node, once a server answers; it has the time that is left
// of wait.
func (f *serversFlag) join(ctx context.Context, n *mesh.Node, wait time.Duration, use func(context.Context, *mesh.Node) error) error {
	f.apply(n)
	running, stop := context.WithCancel(ctx)
	up, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- n.Run(running, result.Func(func(e result.Event) {
			if note, ok := e.(result.Note); ok && note.Code == "server_up" {
				select {
				case up <- struct{}{}:
				default:
				}
			}
		}))
	}()
	defer func() { stop(); <-ended }()
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-up:
		return use(limited, n)
	case err := <-ended:
		ended <- nil
		return cmp.Or(err, interrupted(ctx))
	case <-time.After(min(wait, answerTime)):
		return noServer(*f)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answerTime is how long a server may take to answer: its first packets may be
// lost, they are sent each second.
const answerTime = 5 * time.Second

// waitFor waits until a node is listed that has a name or UUID.
func waitFor(ctx context.Context, n *mesh.Node, who string) (mesh.PeerStatus, error) {
	late := time.After(listTime)
	for {
		var found []mesh.PeerStatus
		var names []string
		for _, p := range n.Status().Peers {
			names = append(names, label(p))
			if p.Name == who || strings.EqualFold(p.ID, who) {
				found = append(found, p)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return mesh.PeerStatus{}, misuse("", "%d nodes are named %q; give the UUID of one, sonde mesh peers shows it", len(found), who)
		}
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-late:
		case <-ctx.Done():
		}
		if interrupted(ctx) != nil {
			return mesh.PeerStatus{}, interrupted(ctx)
		}
		there := "nobody is"
		if len(names) > 0 {
			there = "there are " + strings.Join(names[:min(len(names), 20)], ", ")
		}
		return mesh.PeerStatus{}, &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("mesh: no node %q is there; %s", who, there), Hint: "start sonde mesh node --name " + who + " there, with the same --server"}
	}
}

// listTime is how long the list and a node that has just begun may take.
const listTime = 5 * time.Second
