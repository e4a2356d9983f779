package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// An output is where results and logs of a command go: the flags that every
// measuring command has, and what becomes of them.
type output struct {
	env *env

	json, lines bool
	format      string
	file        string
	csv         string
	quiet       bool
	verbose     int
	color       string
	noProgress  bool
	logLevel    string
	logFormat   string
	syslog      syslogFlags

	borrowed bool // another program's lines stand in for the text

	log     *slog.Logger
	flushes []func() error
}

func newOutput(e *env) *output { return &output{env: e} }

func (o *output) register(fs *pflag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "one JSON document at the end")
	fs.BoolVar(&o.lines, "json-stream", false, "one JSON object on a line for each event")
	fs.StringVar(&o.format, "format", "text", "results as text, json or jsonl")
	fs.StringVarP(&o.file, "output", "o", "", "file for the results instead of standard output")
	fs.StringVar(&o.csv, "csv", "", "append one row for each test to this file; - for standard output")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "nothing but errors; the exit status speaks")
	fs.CountVarP(&o.verbose, "verbose", "v", "say more: -v debug, -vv the protocol's messages, -vvv their bytes")
	fs.StringVar(&o.color, "color", "auto", "auto, always or never")
	fs.BoolVar(&o.noProgress, "no-progress", false, "no line for each interval, only the summary")
	fs.StringVar(&o.logLevel, "log-level", "", "debug, info, warn or error (default info, or what -v says)")
	fs.StringVar(&o.logFormat, "log-format", "text", "log lines as text or json")
	o.syslog.register(fs)
}

// validate checks the flags and says all that is wrong.
func (o *output) validate() error {
	var faults []error
	oneOf := func(flag, value string, allowed ...string) {
		for _, a := range allowed {
			if value == a {
				return
			}
		}
		faults = append(faults, fmt.Errorf("--%s %s: want %s", flag, value, strings.Join(allowed, ", ")))
	}
	oneOf("format", o.format, "text", "json", "jsonl")
	oneOf("color", o.color, "auto", "always", "never")
	oneOf("log-level", o.logLevel, "", "debug", "info", "warn", "error")
	oneOf("log-format", o.logFormat, "text", "json")
	if o.json && o.lines {
		faults = append(faults, errors.New("--json and --json-stream: choose one"))
	}
	if o.csv == "-" && o.file == "" && (o.machine() || o.json) {
		faults = append(faults, errors.New("--csv -: JSON is on standard output already; give a file"))
	}
	if err := errors.Join(faults...); err != nil {
		return misuse("see --help for each flag", "%w", err)
	}
	return nil
}

// machine reports whether results are for a program.
func (o *output) machine() bool { return o.json || o.lines || o.format != "text" }

// logger is where the log of this command goes: standard error.
func (o *output) logger() *slog.Logger {
	if o.log != nil {
		return o.log
	}
	level := slog.LevelInfo
	switch {
	case o.logLevel != "":
		_ = level.UnmarshalText([]byte(o.logLevel)) // validated
	case o.quiet:
		level = slog.LevelError
	case o.verbose > 0:
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(o.env.err, options)
	if o.logFormat == "json" {
		h = slog.NewJSONHandler(o.env.err, options)
	}
	o.log = slog.New(h)
	return o.log
}

// coloured reports whether escape codes may be used on standard output.
func (o *output) coloured() bool {
	switch {
	case o.color != "auto":
		return o.color == "always"
	case o.env.getenv("CLICOLOR_FORCE") == "1":
		return true
	}
	return o.env.terminal && o.file == "" && o.env.getenv("NO_COLOR") == "" && o.env.getenv("TERM") != "dumb"
}

// open makes the sink that the flags ask for. Many runs may mix in it.
func (o *output) open(many bool) (result.Sink, error) {
	w := o.env.out
	if o.file != "" {
		f, err := os.OpenFile(o.file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
		if err != nil {
			return nil, cannotWrite("--output", err)
		}
		o.flushes = append(o.flushes, f.Close)
		w = f
	}
	main, err := o.mainSink(w, many)
	if err != nil {
		return nil, err
	}
	table, err := o.openCSV(w)
	if err != nil {
		return nil, err
	}
	remote, err := o.syslog.open(o.env.program, o.borrowed, o.logger())
	if err != nil {
		return nil, err
	}
	if remote != nil {
		o.flushes = append(o.flushes, remote.Close)
		return result.Tee(main, table, remote), nil
	}
	return result.Tee(main, table), nil
}

// An errSink is a sink that remembers when its writer failed.
type errSink interface {
	result.Sink
	Err() error
}

func (o *output) mainSink(w io.Writer, many bool) (result.Sink, error) {
	var s errSink
	switch {
	case o.json || o.format == "json":
		s = report.JSON(w, report.JSONConfig{Indent: o.env.terminal && o.file == ""})
	case o.lines || o.format == "jsonl":
		s = report.JSONLines(w, report.JSONConfig{})
	case o.borrowed || o.quiet || o.csv == "-":
		return nil, nil
	default:
		s = report.Text(w, report.TextConfig{Color: o.coloured(), Many: many, Verbose: o.verbose > 0, Notes: o.env.err})
	}
	o.flushes = append(o.flushes, s.Err)
	if o.noProgress && !o.machine() {
		return withoutIntervals(s), nil
	}
	return s, nil
}

// withoutIntervals leaves the line for each interval out.
func withoutIntervals(next result.Sink) result.Sink {
	return result.Func(func(e result.Event) {
		if _, ok := e.(result.Interval); !ok {
			next.Put(e)
		}
	})
}

// openCSV makes the sink for --csv, nil without it.
func (o *output) openCSV(stdout io.Writer) (result.Sink, error) {
	if o.csv == "" {
		return nil, nil
	}
	s, err := report.OpenCSV(o.csv, stdout, report.CSVConfig{BtestRS: o.borrowed})
	if err != nil {
		return nil, cannotWrite("--csv", err)
	}
	o.flushes = append(o.flushes, s.Close)
	return s, nil
}

func cannotWrite(flag string, err error) error {
	return &result.Error{Word: result.CodeLocal, Text: flag, Err: err, Hint: "choose a file that can be written"}
}

// close ends the sinks; their first error is the local resource that failed.
func (o *output) close() error {
	var first error
	for _, flush := range o.flushes {
		if err := flush(); err != nil && first == nil {
			first = &result.Error{Word: result.CodeLocal, Text: "results could not be written", Err: err}
		}
	}
	o.flushes = nil
	return first
}

// runClient runs one test with its results where the flags say.
func (o *output) runClient(ctx context.Context, validate func() error, run func(context.Context, result.Sink) error) error {
	if err := o.prepare(validate); err != nil {
		return err
	}
	sink, err := o.open(false)
	if err != nil {
		return err
	}
	return cmpErr(run(ctx, judged(sink)), o.close())
}

// cmpErr is the first error that is one.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *output) prepare(validate func() error) error {
	if err := o.validate(); err != nil {
		return err
	}
	if err := validate(); err != nil {
		return misuse("see --help for each flag", "%w", err)
	}
	return nil
}

// runServer listens on all addresses and serves until the context ends.
func (o *output) runServer(ctx context.Context, validate func() error, addresses []string,
	serve func(context.Context, net.Listener, result.Sink) error, ready func()) error {
	if err := o.prepare(validate); err != nil {
		return err
	}
	listeners, err := open(ctx, addresses)
	if err != nil {
		return err
	}
	sink, err := o.open(true)
	if err != nil {
		for _, l := range listeners {
			l.Close()
		}
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	failures := make(chan error, len(listeners))
	judge := judged(sink)
	for _, l := range listeners {
		o.logger().Info("listening", "address", l.Addr().String())
		wg.Go(func() {
			if err := serve(ctx, l, judge); err != nil {
				failures <- err
				stop(err)
			}
		})
	}
	ready()
	wg.Wait()
	flushed := o.close()
	close(failures)
	for err := range failures {
		return err
	}
	return cmpErr(stopped(ctx), flushed)
}

// stopped is the error of a server that was told to stop: none for SIGTERM,
// which is how a service ends.
func stopped(ctx context.Context) error {
	cause := context.Cause(ctx)
	if result.CodeOf(cause) == result.CodeTerminated || errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}
