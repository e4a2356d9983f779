//go:build !nano

package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/result"
)

// A clientTest is the command of a protocol's client, as a probe runs it: flags
// mean here what they mean on a command line.
type clientTest struct {
	env      *env
	protocol string
	options  map[string]string // values by flag
}

// clientKinds are the clients that can be probes: the command, and the flag that
// says how long a throughput test lasts.
var clientKinds = map[string]struct {
	command  func(*env) *cobra.Command
	duration string
}{
	"btest":  {btestClientCommand, "duration"},
	"rperf":  {rperfClientCommand, "time"},
	"iperf3": {iperf3ClientCommand, "time"},
	"twamp":  {twampPingCommand, ""},
	"stamp":  {stampPingCommand, ""},
}

// notOptions are flags that a probe has no use for: where results go, and when
// to run, is for the daemon; a secret belongs into a file of its own.
var notOptions = []string{
	"tui", "json", "json-stream", "format", "output", "csv", "plot", "quiet", "no-progress", "streams", "color", "verbose", "log-level", "log-format",
	"syslog", "syslog-format", "syslog-tag", "syslog-utc", "every", "jitter", "every-jitter", "runs", "fail-if", "fail-runs",
	"password", "iperf3-json", "help", "records", "get-server-output", "affinity",
}

// usualDuration is how long a throughput test of a probe lasts that does not say.
const usualDuration = 10 * time.Second

// slack is what a test takes beside its traffic: the set-up, the idle round trips
// before it, the last results.
const slack = 3 * time.Second

// newClientTest makes the test of a probe or a module. Faults name options.
func newClientTest(e *env, protocol string, options map[string]string) *clientTest {
	t := &clientTest{env: e, protocol: protocol, options: map[string]string{}}
	for key, value := range options {
		t.options[strings.ReplaceAll(key, "_", "-")] = value
	}
	if flag := clientKinds[protocol].duration; flag != "" && t.options[flag] == "" {
		t.options[flag] = usualDuration.String()
	}
	return t
}

// ofProbe is the test of a probe, with the keys that it has for all protocols.
func ofProbe(e *env, p config.Probe) *clientTest {
	options := maps.Clone(p.Options)
	if options == nil {
		options = map[string]string{}
	}
	if p.Packets > 0 {
		options["count"] = p.Packets.String()
	}
	if flag := clientKinds[p.Protocol].duration; flag != "" && p.Duration > 0 {
		options[flag] = time.Duration(p.Duration).String()
	}
	return newClientTest(e, p.Protocol, options)
}

// command is the client's with its results going to sink.
func (t *clientTest) command(sink result.Sink, check bool, budget *admit.Budget) *cobra.Command {
	e := &env{
		in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: t.env.getenv, environ: t.env.environ,
		program: "sonde", sink: sink, check: check, budget: budget,
	}
	cmd := clientKinds[t.protocol].command(e)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SetFlagErrorFunc(flagError)
	return cmd
}

// args are the command line.
func (t *clientTest) args(target string) []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(t.options)) {
		args = append(args, "--"+name+"="+t.options[name])
	}
	return append(args, "--", target)
}

// run makes a test until it is over or ctx ends. It moves no more than budget,
// which may be nil.
func (t *clientTest) run(ctx context.Context, target string, budget *admit.Budget, sink result.Sink) error {
	cmd := t.command(sink, false, budget)
	cmd.SetArgs(t.args(target))
	return cmd.ExecuteContext(ctx)
}

// test is the test as a probe makes it.
func (t *clientTest) test(target string) func(context.Context, *admit.Budget, result.Sink) error {
	return func(ctx context.Context, budget *admit.Budget, sink result.Sink) error {
		return t.run(ctx, target, budget, sink)
	}
}

// validate finds what is wrong with the options, and sends nothing. The error
// names them as the file does.
func (t *clientTest) validate(target string, fault func(option, text string)) {
	cmd := t.command(result.Discard, true, nil)
	known := knownOptions(cmd.Flags())
	wrong := false
	for _, name := range slices.Sorted(maps.Keys(t.options)) {
		key := strings.ReplaceAll(name, "-", "_")
		switch flag := cmd.Flags().Lookup(name); {
		case flag == nil || slices.Contains(notOptions, name):
			fault(key, "no option of a "+t.protocol+" probe "+config.Suggestion(key, known))
			wrong = true
		default:
			if err := setFlag(cmd.Flags(), flag, []string{t.options[name]}); err != nil {
				fault(key, fmt.Sprintf("%s: %v", t.options[name], err))
				wrong = true
			}
		}
	}
	if wrong {
		return
	}
	cmd = t.command(result.Discard, true, nil)
	cmd.SetArgs(t.args(target))
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		fault("", flagWord.ReplaceAllStringFunc(err.Error(), func(word string) string {
			return strings.ReplaceAll(word[2:], "-", "_")
		}))
	}
}

// knownOptions are the flags that are options, as the file has them.
func knownOptions(fs *pflag.FlagSet) []string {
	var known []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notOptions, f.Name) && !f.Hidden {
			known = append(known, strings.ReplaceAll(f.Name, "-", "_"))
		}
	})
	return known
}

// flags are those of the command with the options, which were validated.
func (t *clientTest) flags() *pflag.FlagSet {
	fs := t.command(result.Discard, true, nil).Flags()
	for name, value := range t.options {
		if f := fs.Lookup(name); f != nil {
			_ = setFlag(fs, f, []string{value})
		}
	}
	return fs
}

// endless reports whether the test goes on until it is stopped.
func (t *clientTest) endless() bool {
	if flag := clientKinds[t.protocol].duration; flag != "" {
		return flagTime(t.flags(), flag) == 0
	}
	n, ok := t.flags().Lookup("count").Value.(*count)
	return ok && *n == 0
}

// length is how long a test takes at most if all goes well.
func (t *clientTest) length() time.Duration {
	fs := t.flags()
	if !config.Trips(t.protocol) {
		return flagTime(fs, clientKinds[t.protocol].duration) + flagTime(fs, "omit") + slack
	}
	between := flagTime(fs, "interval")
	if pps, err := fs.GetFloat64("pps"); err == nil && pps > 0 {
		between = time.Duration(float64(time.Second) / pps)
	}
	n := time.Duration(1)
	if c, ok := fs.Lookup("count").Value.(*count); ok {
		n = time.Duration(*c)
	}
	return n*between + flagTime(fs, "timeout")
}

// flagTime is the value of a flag that is a time, 0 if there is none.
func flagTime(fs *pflag.FlagSet, name string) time.Duration {
	f := fs.Lookup(name)
	if f == nil {
		return 0
	}
	switch v := f.Value.(type) {
	case *duration:
		return time.Duration(*v)
	case *count:
		return time.Duration(*v) * time.Second
	}
	d, err := time.ParseDuration(f.Value.String())
	if err != nil {
		return 0
	}
	return d
}
