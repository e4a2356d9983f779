//go:build !nano

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/result"
)

// settle is how long a server that takes no more clients is left for those that
// it has but whose test has not begun: they log in, or have just connected.
const settle = 5 * time.Second

// An instance is a server at work.
type instance struct {
	part
	doors []*door
	stop  context.CancelCauseFunc
	done  chan struct{} // closed when it has ended

	mu    sync.Mutex // guards tests
	tests map[result.ID]bool
	over  chan struct{} // has a value when a test has ended
}

// runPart starts p behind its doors.
func (d *daemon) runPart(p part, doors []*door) *instance {
	ctx, stop := context.WithCancelCause(d.began)
	s := &instance{part: p, doors: doors, stop: stop, done: make(chan struct{}), tests: map[result.ID]bool{}, over: make(chan struct{}, 1)}
	sink := d.guard.watch(d.sink)
	serve := p.serve(judged(result.Func(func(e result.Event) {
		sink.Put(e)
		s.count(e)
	})))
	var wg sync.WaitGroup
	for _, one := range doors {
		lane := one.lead()
		wg.Go(func() {
			err := serve(ctx, lane)
			// The system may need a moment to free the sockets of the server before.
			for until := time.Now().Add(settle); p.sockets && errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(until) && ctx.Err() == nil; {
				time.Sleep(100 * time.Millisecond)
				err = serve(ctx, one.lead())
			}
			if err != nil && ctx.Err() == nil {
				select {
				case d.failed <- fmt.Errorf("%s: %w", p.section(), err):
				default: // one is enough to end it all
				}
			}
		})
	}
	p.ready()
	go func() {
		wg.Wait()
		if p.ended != nil {
			p.ended()
		}
		stop(nil)
		close(s.done)
	}()
	return s
}

// count keeps track of the tests that run.
func (s *instance) count(e result.Event) {
	run := e.Of().Run
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.(type) {
	case result.Begin:
		s.tests[run] = true
	case result.End:
		delete(s.tests, run)
		select {
		case s.over <- struct{}{}:
		default:
		}
	}
}

func (s *instance) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tests)
}

// idle waits until no test runs, or ctx or the server ends; then it is false.
func (s *instance) idle(ctx context.Context) bool {
	for s.running() > 0 {
		select {
		case <-s.over:
		case <-ctx.Done():
			return false
		case <-s.done:
			return false
		}
	}
	return ctx.Err() == nil
}

// retirees are servers that only finish their tests.
type retirees struct {
	mu  sync.Mutex // guards all
	all []*instance
	wg  sync.WaitGroup
}

func (r *retirees) wait() { r.wg.Wait() }

// has reports whether a server of this name still finishes its tests.
func (r *retirees) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.all, func(s *instance) bool { return s.name == name })
}

func (r *retirees) running() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.all {
		n += s.running()
	}
	return n
}

// add lets s finish, ends it and then calls after.
func (r *retirees) add(ctx context.Context, s *instance, pause time.Duration, after func()) {
	r.mu.Lock()
	r.all = append(r.all, s)
	r.mu.Unlock()
	r.wg.Go(func() {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		case <-s.done:
		}
		s.idle(ctx)
		s.stop(errRetired)
		<-s.done
		r.mu.Lock()
		r.all = slices.DeleteFunc(r.all, func(one *instance) bool { return one == s })
		r.mu.Unlock()
		after()
	})
}

var errRetired = &result.Error{Word: result.CodeTerminated, Text: "the configuration has changed"}

// running is how many tests run.
func (d *daemon) running() int {
	n := d.retiring.running()
	for _, s := range d.servers {
		n += s.running()
	}
	return n
}

// idle waits until no test runs, at most so long.
func (d *daemon) idle(wait time.Duration) {
	ctx, stop := context.WithTimeout(context.Background(), wait)
	defer stop()
	for _, s := range d.servers {
		s.idle(ctx)
	}
	for d.retiring.running() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// apply makes the running servers those of the parts. If a new address cannot be
// listened on, everything stays as it is.
func (d *daemon) apply(l *config.Loaded, parts []part) error {
	fresh := map[string]*door{}
	var errs []error
	wanted, owner := map[string]bool{}, map[string]string{}
	for _, p := range parts {
		for _, a := range p.addresses(&d.manager) {
			key := p.name + " " + a
			if other := owner[a]; other != "" && !strings.HasSuffix(a, ":0") {
				errs = append(errs, l.Fault(p.section()+".listen", "%s: %s listens there; give each its own port", a, other))
				continue
			}
			owner[a], wanted[key] = p.section(), true
			if d.doors[key] != nil {
				continue
			}
			listener, err := d.manager.listen(d.began, p, a)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			fresh[key] = newDoor(listener, d.log)
			d.log.Info("listening", "address", listener.Addr().String(), "server", p.name)
			// Known now, or it would end all servers later.
			if p.sockets && !d.retiring.has(p.name) {
				udp, err := p.config.ListenPacket(d.began, strings.Replace(network(a), "tcp", "udp", 1), listener.Addr().String())
				if err != nil {
					errs = append(errs, l.Fault(p.section()+".listen", "UDP %v: %v", listener.Addr(), cause(err)))
					continue
				}
				udp.Close()
			}
		}
	}
	if len(errs) > 0 {
		for _, one := range fresh {
			one.close()
		}
		return errors.Join(errs...)
	}
	maps.Copy(d.doors, fresh)
	d.drain = time.Duration(l.Server.Drain)
	for _, p := range parts {
		d.replace(p)
	}
	d.dismiss(parts)
	for key, one := range d.doors {
		if !wanted[key] {
			one.close()
			delete(d.doors, key)
			d.log.Info("no longer listening", "address", one.Addr().String())
		}
	}
	return nil
}

// replace has p run, in the place of the server of its name if that is another.
func (d *daemon) replace(p part) {
	if _, waits := d.pending[p.name]; waits {
		d.pending[p.name] = p
		return
	}
	doors, old := d.doorsOf(p), d.servers[p.name]
	switch {
	case old == nil && p.sockets && d.retiring.has(p.name): // that one has the sockets
		d.pending[p.name] = p
	case old == nil:
		d.servers[p.name] = d.runPart(p, doors)
	case old.settings == p.settings && slices.Equal(old.doors, doors):
	case !p.sockets:
		d.servers[p.name] = d.runPart(p, doors)
		d.retiring.add(d.began, old, settle, func() {})
	default:
		// The sockets of its tests are those of the address: the old one has to end
		// before. Who comes meanwhile waits at the door.
		if n := old.running(); n > 0 {
			d.log.Info("the new settings hold when the running tests are over", "server", p.name, "tests", n)
		}
		for _, one := range old.doors {
			one.vacate()
		}
		delete(d.servers, p.name)
		d.pending[p.name] = p
		d.retiring.add(d.began, old, time.Second, d.left(p.name))
	}
}

// left tells that a server of this name has ended.
func (d *daemon) left(name string) func() {
	return func() {
		select {
		case d.vacant <- name:
		case <-d.began.Done():
		}
	}
}

// succeed starts the server that waited for its predecessor's end.
func (d *daemon) succeed(name string) {
	p, ok := d.pending[name]
	if !ok || d.retiring.has(name) { // dismissed meanwhile, or one more has to end
		return
	}
	delete(d.pending, name)
	d.servers[name] = d.runPart(p, d.doorsOf(p))
}

func (d *daemon) doorsOf(p part) []*door {
	var doors []*door
	for _, a := range p.addresses(&d.manager) {
		doors = append(doors, d.doors[p.name+" "+a])
	}
	return doors
}

// dismiss ends the servers that are no longer among parts, after their tests.
func (d *daemon) dismiss(parts []part) {
	maps.DeleteFunc(d.pending, func(name string, _ part) bool { return !has(parts, name) })
	for name, s := range d.servers {
		if has(parts, name) {
			continue
		}
		delete(d.servers, name)
		d.log.Info("no longer served", "server", name, "tests", s.running())
		d.retiring.add(d.began, s, settle, d.left(name))
	}
}

func has(parts []part, name string) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.name == name })
}

// addresses are where p listens: names of sockets that the service manager
// handed over, or addresses.
func (p part) addresses(m *manager) []string {
	if names := m.named(p.name); len(names) > 0 {
		return names
	}
	return p.listen
}
