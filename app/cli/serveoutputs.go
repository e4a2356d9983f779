//go:build !nano

package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/app/metrics"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// outputs are where results go. A reload changes them between two events.
type outputs struct {
	mu       sync.RWMutex // guards what follows
	sink     result.Sink
	close    func() error
	settings string
}

// Put implements result.Sink.
func (o *outputs) Put(e result.Event) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	o.sink.Put(e)
}

// shut writes what is to be written.
func (o *outputs) shut() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.close == nil {
		return nil
	}
	err := o.close()
	o.close, o.sink = nil, result.Discard
	return err
}

// prepareOutputs opens the outputs of the configuration; commit has them take the
// place of the old ones, abort closes them again.
func (d *daemon) prepareOutputs(l *config.Loaded) (commit, abort func(), err error) {
	settings := sectionText(l, "outputs.syslog") + "\n" + sectionText(l, "outputs.file") + "\n" + sectionText(l, "outputs.otlp")
	if d.sink.close != nil && d.sink.settings == settings {
		return func() {}, func() {}, nil
	}
	sink, shut, err := d.makeOutputs(l)
	closed := func(shut func() error) {
		if err := shut(); err != nil {
			d.log.Error("results could not be written", "err", err)
		}
	}
	if err != nil {
		closed(shut)
		return nil, nil, err
	}
	commit = func() {
		d.sink.mu.Lock()
		old := d.sink.close
		d.sink.sink, d.sink.close, d.sink.settings = sink, shut, settings
		d.sink.mu.Unlock()
		if old != nil {
			closed(old)
		}
	}
	return commit, func() { closed(shut) }, nil
}

func (d *daemon) makeOutputs(l *config.Loaded) (result.Sink, func() error, error) {
	sinks := []result.Sink{d.metrics, d.board}
	var shut []func() error
	all := func() error {
		var errs []error
		for _, one := range shut {
			errs = append(errs, one())
		}
		return errors.Join(errs...)
	}
	if c := l.Outputs.File; c != nil {
		var told once
		f := &report.Rotated{Name: c.Path, Size: int64(c.MaxSize), Keep: int(c.Keep), Told: func(err error) {
			told.tell(d.log, "results are not written to "+c.Path, err)
		}}
		if err := f.Open(); err != nil {
			return nil, all, l.Fault("outputs.file.path", "%s: %v", c.Path, cause(err))
		}
		var s result.Sink = report.JSONLines(f, report.JSONConfig{})
		if !c.Intervals {
			s = withoutIntervals(s)
		}
		sinks, shut = append(sinks, s), append(shut, f.Close)
	}
	if c := l.Outputs.Syslog; c != nil {
		flags := syslogFlags{at: c.Address, format: c.Format, tag: c.Tag, utc: c.UTC}
		s, err := flags.open("sonde", false, d.log)
		if err != nil {
			return nil, all, l.Fault("outputs.syslog.address", "%s: %v", c.Address, cause(err))
		}
		sinks, shut = append(sinks, s), append(shut, s.Close)
	}
	if c := l.Outputs.OTLP; c != nil {
		var told once
		stop, err := metrics.OTLP(d.metrics.Registry, metrics.Collector{
			Endpoint: c.Endpoint, Every: time.Duration(c.Every), Version: readBuild().Version,
			Told: func(err error) { told.tell(d.log, "metrics are not sent to "+c.Endpoint, err) },
		})
		if err != nil {
			return nil, all, l.Fault("outputs.otlp.endpoint", "%s: %v", c.Endpoint, err)
		}
		shut = append(shut, func() error {
			ctx, off := context.WithTimeout(context.Background(), 5*time.Second)
			defer off()
			if err := stop(ctx); err != nil { // a collector that is away is no reason to fail
				d.log.Warn("the last metrics were not sent", "err", err)
			}
			return nil
		})
	}
	return result.Tee(sinks...), all, nil
}
