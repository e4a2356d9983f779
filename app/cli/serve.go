//go:build !nano

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/live"
	"github.com/sonde-net/sonde/app/metrics"
	"github.com/sonde-net/sonde/result"
)

func serveCommand(e *env) *cobra.Command {
	var f configFlags
	o := newOutput(e)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run every server and probe of the configuration",
		Long: `Run what the configuration has: servers of every protocol, probes on their
schedules, metrics. sonde config init writes one to begin with.

SIGHUP, or sonde reload, reads it again: what has not changed goes on, running
tests too, and a file with faults changes nothing. SIGTERM ends running tests,
each with its result, after server.drain at most.

Under systemd it tells when it is ready, serves its watchdog, takes sockets that
are named after a server (FileDescriptorName=btest) and logs to the journal.`,
		Example: `  sonde serve
  sonde serve --config sonde.yaml --set log.level=debug`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), e, &f, o) },
	}
	f.register(cmd.Flags())
	o.registerLog(cmd.Flags())
	return cmd
}

// serve runs what the configuration has until ctx ends.
func serve(ctx context.Context, e *env, f *configFlags, o *output) error {
	if err := o.validate(); err != nil {
		return err
	}
	l, parts, err := f.checked(e, o)
	if err != nil {
		return err
	}
	if len(parts) == 0 && l.Server.Mesh == nil && l.Web == nil && len(l.Probes) == 0 {
		return misuse("sonde config init writes a file to begin with", "%s: no server, no probe: there is nothing to do", cmp.Or(l.File, "no configuration file is there"))
	}
	if o.log, err = serveLog(e, o, l.Log); err != nil {
		return err
	}
	// The parts hold the log of before; they are made again with this one.
	if l, parts, err = f.checked(e, o); err != nil {
		return err
	}
	d := newDaemon(e, o.log)
	if err := d.start(ctx, l, parts); err != nil {
		d.end(0, err)
		return err
	}
	return d.run(ctx, func() (*config.Loaded, []part, error) { return f.checked(e, o) })
}

// A daemon is what sonde serve keeps running.
type daemon struct {
	env       *env
	log       *slog.Logger
	metrics   *metrics.Metrics
	board     *live.Board
	sink      *outputs
	line      line
	manager   manager
	doors     map[string]*door // by server and address as the configuration has it
	servers   map[string]*instance
	pending   map[string]part // servers that wait for the end of the one before
	vacant    chan string     // the names of those that need not wait any more
	retiring  retirees
	drain     time.Duration
	stopping  atomic.Bool
	failed    chan error // of a server that gave up
	asked     chan chan error
	extras    map[string]extra // by section
	probes    *probes          // nil as long as there were none
	guard     *guard           // of all servers
	keeps     string           // the settings of its store
	loaded    *config.Loaded   // what runs; nil before the start
	began     context.Context
	stopParts context.CancelCauseFunc
}

func newDaemon(e *env, log *slog.Logger) *daemon {
	b := readBuild()
	d := &daemon{
		env: e, log: log, board: live.NewBoard(time.Now()), metrics: metrics.New(metrics.Build{Version: b.Version, Revision: b.Commit, Go: b.Go}),
		line: newLine(), extras: map[string]extra{}, doors: map[string]*door{}, servers: map[string]*instance{}, pending: map[string]part{}, vacant: make(chan string),
		failed: make(chan error, 16), asked: make(chan chan error),
	}
	d.sink = &outputs{sink: result.Tee(d.metrics, d.board)}
	return d
}

// start begins everything, or nothing.
func (d *daemon) start(ctx context.Context, l *config.Loaded, parts []part) error {
	// The parts do not end with ctx, but when the daemon has drained them.
	d.began, d.stopParts = context.WithCancelCause(context.WithoutCancel(ctx))
	d.manager.inherit(d.log)
	var k kept
	if l.Store.DSN != "" {
		c := storeOf(l)
		c.Log = d.log
		var err error
		if k, err = openKept(ctx, c); err != nil {
			return err
		}
		if k.directory, err = directoryOf(l); err != nil {
			return errors.Join(err, k.close())
		}
	}
	d.guard, d.keeps = newGuard(ctx, d.log, rulesOf(l), k), storeText(l)
	return d.become(l, parts)
}

// storeText tells the settings of a store, and of a directory over it, from others.
func storeText(l *config.Loaded) string {
	return fmt.Sprintf("%+v ", storeOf(l)) + sectionText(l, "ldap")
}

// become makes all that runs what the configuration has. What can fail comes
// first; if it does, all stays as it is.
func (d *daemon) become(l *config.Loaded, parts []part) error {
	if storeText(l) != d.keeps {
		return l.Fault("store", "the store and the directory stay what they are while servers run; restart sonde serve for others")
	}
	for _, p := range parts {
		if err := p.join(d.began, d.guard); err != nil {
			return fmt.Errorf("%s: %w", p.section(), err)
		}
	}
	commit, abort, err := d.prepareOutputs(l)
	if err != nil {
		return err
	}
	if l.Web != nil {
		p, err := d.webPart(l, parts)
		if err != nil {
			abort()
			return err
		}
		parts = append(parts, p)
	}
	undo := func() {
		abort()
		if d.loaded != nil {
			_ = d.startExtras(d.loaded)
		}
	}
	if err := d.startExtras(l); err != nil {
		undo()
		return err
	}
	if err := d.apply(l, parts); err != nil {
		undo()
		return err
	}
	commit()
	d.loaded = l
	d.board.Plan(boardProbes(l.Probes))
	d.guard.policy.SetRules(rulesOf(l))
	d.becomeProbes(l)
	return nil
}

// run serves until ctx ends or a server gives up.
func (d *daemon) run(ctx context.Context, load func() (*config.Loaded, []part, error)) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if d.env.reloads != nil {
		d.env.reloads()
	}
	beat := d.manager.watchdog()
	defer beat.Stop()
	d.manager.say("READY=1")
	for {
		select {
		case <-ctx.Done():
			d.manager.say("STOPPING=1")
			wait := d.drain
			if result.CodeOf(context.Cause(ctx)) != result.CodeTerminated {
				wait = 0
			}
			return cmp.Or(d.end(wait, context.Cause(ctx)), stopped(ctx))
		case err := <-d.failed:
			d.manager.say("STOPPING=1")
			return errors.Join(err, d.end(0, err))
		case <-hup:
			_ = d.reload(load) // its faults are in the log
		case answer := <-d.asked:
			answer <- d.reload(load)
		case name := <-d.vacant:
			d.succeed(name)
		case <-beat.C:
			d.manager.say("WATCHDOG=1")
		}
	}
}

// reload puts the configuration of now in the place of the old one, or leaves
// that if anything is wrong.
func (d *daemon) reload(load func() (*config.Loaded, []part, error)) error {
	d.manager.reloading()
	defer d.manager.say("READY=1")
	l, parts, err := load()
	if err == nil {
		err = d.become(l, parts)
	}
	if err != nil {
		d.log.Error("not reloaded, the old configuration goes on", "err", err)
		return err
	}
	d.log.Info("reloaded", "file", l.File)
	return nil
}

// end takes no new tests, gives the running ones so long, ends them, and writes
// what is to be written.
func (d *daemon) end(wait time.Duration, cause error) error {
	d.stopping.Store(true)
	for _, one := range d.doors {
		one.close()
	}
	waitProbes := d.stopProbes()
	if n := d.running(); n > 0 && wait > 0 {
		d.log.Info("stopping; running tests may go on", "tests", n, "for", wait)
		d.idle(wait)
	}
	d.stopParts(cause)
	for _, s := range d.servers {
		<-s.done
	}
	d.retiring.wait()
	waitProbes()
	d.stopExtras()
	err := d.sink.shut()
	if d.guard != nil {
		err = errors.Join(err, d.guard.close())
	}
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "results could not be written", Err: err}
	}
	return nil
}
