package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

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
	plot        string
	quiet       bool
	verbose     int
	color       string
	noProgress  bool
	streams     bool
	logLevel    string
	logFormat   string
	syslog      syslogFlags
	screen      testScreen
	length      time.Duration // of a test whose Begin does not say

	borrowed bool // another program's lines stand in for the text
	others   map[string]otherFormat
	other    errSink // what one of others made
	fail     thresholds

	log     *slog.Logger
	flushes []func() error
}

// An otherFormat is a kind of --format that only some commands have.
type otherFormat struct {
	make    func(otherWriter) errSink
	machine bool // it is for a program
}

// An otherWriter is where an otherFormat goes.
type otherWriter struct {
	io.Writer
	indent bool // a person may read it
}

func newOutput(e *env) *output {
	return &output{env: e, format: "text", logFormat: "text", color: "auto"}
}

func (o *output) register(fs *pflag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "one JSON document for a test, at its end")
	fs.BoolVar(&o.lines, "json-stream", false, "one JSON object on a line for each event")
	fs.StringVar(&o.format, "format", "text", "`KIND` of results: text, json or jsonl")
	fs.StringVarP(&o.file, "output", "o", "", "`FILE` for the results instead of standard output")
	fs.StringVar(&o.csv, "csv", "", "append one row for each test to this `FILE`; - for standard output")
	fs.StringVar(&o.plot, "plot", "", "draw the test, or the latest of several, as SVG into this `FILE`")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "nothing but errors; the exit status speaks")
	fs.BoolVar(&o.noProgress, "no-progress", false, "no line for each interval, only the summary")
	fs.BoolVar(&o.streams, "streams", false, "the rate of each connection in the summary, too")
	fs.StringVar(&o.color, "color", o.color, "`WHEN` to use colours: auto, always or never")
	o.registerLog(fs)
}

// registerLog registers what concerns the log only.
func (o *output) registerLog(fs *pflag.FlagSet) {
	fs.CountVarP(&o.verbose, "verbose", "v", "say more: -v debug, -vv the protocol's messages, -vvv their bytes")
	fs.StringVar(&o.logLevel, "log-level", "", "`LEVEL` from which lines are logged: debug, info, warn or error (default info, or what -v says)")
	fs.StringVar(&o.logFormat, "log-format", o.logFormat, "`KIND` of log lines: text or json")
}

// validate checks the flags and says all that is wrong.
func (o *output) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	oneOf := func(flag, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			fault("%s: not one of the choices; give %s", flagValue(flag, value), strings.Join(allowed, ", "))
		}
	}
	oneOf("format", o.format, append([]string{"text", "json", "jsonl"}, slices.Sorted(maps.Keys(o.others))...)...)
	oneOf("color", o.color, "auto", "always", "never")
	oneOf("log-format", o.logFormat, "text", "json")
	if o.logLevel != "" {
		oneOf("log-level", o.logLevel, "debug", "info", "warn", "error")
	}
	if o.syslog.format != "" { // else the command has no syslog
		oneOf("syslog-format", o.syslog.format, string(report.RFC3164), string(report.RFC5424))
	}
	switch {
	case o.json && o.lines:
		fault("--json and --json-stream exclude each other; choose one")
	case o.json && o.format != "text" && o.format != "json", o.lines && o.format != "text" && o.format != "jsonl":
		fault("--format %s and --json or --json-stream exclude each other; choose one", o.format)
	}
	if err := o.fail.parse(); err != nil {
		faults = append(faults, err)
	}
	if o.csv == "-" && o.file == "" && o.machine() {
		fault("--csv -: JSON is on standard output already; give a file to one of them")
	}
	if o.plot != "" && (o.plot == o.file || o.plot == o.csv) {
		fault("--plot %s: results go there already; give another file", o.plot)
	}
	if o.csv != "" && o.csv == o.file {
		fault("--csv %s: the results of --output go there already; give another file", o.csv)
	}
	if err := o.screen.faults(o); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return misuse("", "%w", errors.Join(faults...))
	}
	return nil
}

// machine reports whether results are for a program.
func (o *output) machine() bool {
	return o.json || o.lines || o.format == "json" || o.format == "jsonl" || o.others[o.format].machine
}

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
	if o.verbose == 0 {
		h = calmed(h)
	}
	o.log = slog.New(h)
	return o.log
}

// coloured reports whether escape codes may be written to what is a terminal or
// not.
func (o *output) coloured(terminal bool) bool {
	switch {
	case o.color == "always" || o.color == "never":
		return o.color == "always"
	case o.env.getenv("CLICOLOR_FORCE") == "1":
		return true
	}
	return terminal && o.env.getenv("NO_COLOR") == "" && o.env.getenv("TERM") != "dumb"
}

// open makes the sink that the flags ask for. Many runs may mix in it.
func (o *output) open(many bool) (result.Sink, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.env.sink != nil {
		return o.env.sink, nil
	}
	o.screen.open(o)
	w := o.env.out
	if o.file != "" {
		f, err := os.OpenFile(o.file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
		if err != nil {
			return nil, cannotWrite("output", o.file, err)
		}
		o.flushes = append(o.flushes, f.Close)
		w = f
	}
	table, err := o.openCSV()
	if err != nil {
		return nil, err
	}
	remote, err := o.syslog.open(o.env.program, o.borrowed, o.logger())
	if err != nil {
		return nil, err
	}
	picture, err := o.openPlot()
	if err != nil {
		return nil, err
	}
	o.env.told = true
	sinks := []result.Sink{o.mainSink(w, many), o.screen.summary(o), table, picture}
	if remote != nil {
		o.flushes = append(o.flushes, remote.Close)
		sinks = append(sinks, remote)
	}
	return o.screen.beside(result.Tee(sinks...)), nil
}

// An errSink is a sink that remembers when its writer failed.
type errSink interface {
	result.Sink
	Err() error
}

// mainSink writes the results themselves; nil when nobody wants to see them.
func (o *output) mainSink(w io.Writer, many bool) result.Sink {
	terminal := o.env.terminal && o.file == ""
	var s errSink
	switch {
	case o.json || o.format == "json":
		s = report.JSON(w, report.JSONConfig{Indent: terminal})
	case o.lines || o.format == "jsonl":
		s = report.JSONLines(w, report.JSONConfig{})
	case o.others[o.format].make != nil:
		s = o.others[o.format].make(otherWriter{w, terminal})
		o.other = s
	case o.borrowed || o.file == "" && (o.quiet || o.csv == "-"):
		return nil
	default:
		c := report.TextConfig{
			Color: o.coloured(terminal), Streams: o.streams, Many: many, Verbose: o.verbose > 0,
			Notes: o.env.err, ColorNotes: o.coloured(o.env.errTerminal),
		}
		if o.quiet {
			c.Notes = io.Discard
		}
		s = report.Text(w, c)
	}
	o.flushes = append(o.flushes, s.Err)
	if (o.noProgress || o.screen.shown() && o.file == "") && !o.machine() {
		return withoutIntervals(s)
	}
	return s
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
func (o *output) openCSV() (result.Sink, error) {
	if o.csv == "" {
		return nil, nil
	}
	s, err := report.OpenCSV(o.csv, o.env.out, report.CSVConfig{BtestRS: o.borrowed})
	if err != nil {
		return nil, cannotWrite("csv", o.csv, err)
	}
	o.flushes = append(o.flushes, s.Close)
	return s, nil
}

// cannotWrite tells that the file of a flag cannot be used, in the words of err
// if it has its own.
func cannotWrite(flag, file string, err error) error {
	word, hint := result.CodeLocal, "choose a file that can be written"
	if c, ok := errors.AsType[result.Coder](err); ok {
		word, hint = c.Code(), cmp.Or(result.HintOf(err), hint)
	}
	return &result.Error{Word: word, Text: flagValue(flag, file), Err: cause(err), Hint: hint}
}

// close ends the sinks; their first error is the local resource that failed.
func (o *output) close() error {
	var first error
	for _, flush := range slices.Backward(o.flushes) { // files last
		if err := flush(); err != nil && first == nil {
			first = &result.Error{Word: result.CodeLocal, Text: "results could not be written", Err: err}
		}
	}
	o.flushes = nil
	return first
}

// runClient runs one test with its results where the flags say.
func (o *output) runClient(ctx context.Context, validate func() error, run func(context.Context, result.Sink) error) error {
	if err := validate(); err != nil {
		return misuse("", "%w", err)
	}
	if o.env.check {
		return o.validate()
	}
	sink, err := o.open(false)
	if err != nil {
		return err
	}
	return cmp.Or(o.screen.watch(ctx, o, func(ctx context.Context) error {
		return run(ctx, judged(o.fail.sink(sink)))
	}), o.fail.err(), o.close())
}
