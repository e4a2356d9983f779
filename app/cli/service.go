package cli

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/result"
)

// A serveFunc serves the clients of a listener until ctx ends.
type serveFunc func(context.Context, net.Listener) error

// A service is a server of a protocol as a command runs it.
type service struct {
	protocol string
	validate func() error
	config   net.ListenConfig
	listen   []string                    // addresses, as open takes them
	serve    func(result.Sink) serveFunc // called once; its function once for each address
	ready    func()                      // called when all listen
	ended    func()                      // called when it serves nobody any more; may be nil
	limits   quota.Server                // what its flags allow
	admit    func(admit.Policy)          // sets who decides; called before serve; nil where nobody does
	guard    *guard                      // shared with other servers; nil is one of its own
	// login has clients log in as the users of the guard's store; nil where they do
	// not.
	login func(context.Context, *guard) error
	// For the pages: that clients log in, and on which UDP ports it answers
	// besides; empty is on none.
	asks     bool
	udpPorts string
}

// runServer listens on all addresses and serves until the context ends.
func (o *output) runServer(ctx context.Context, s service) error {
	if err := s.validate(); err != nil {
		return misuse("", "%w", err)
	}
	if s.guard == nil {
		s.guard = newGuard(ctx, o.logger(), quota.Rules{}, kept{})
		defer s.guard.close()
	}
	if err := s.join(ctx, s.guard); err != nil {
		return err
	}
	sink, err := o.open(true)
	if err != nil {
		return err
	}
	sink = s.guard.watch(sink)
	listeners, err := open(ctx, s.config, s.listen)
	if err != nil {
		sink.Put(failure(s.protocol, result.Server, err))
		return cmp.Or(err, o.close())
	}
	for _, l := range listeners {
		o.logger().Info("listening", "address", l.Addr().String())
	}
	s.ready()
	browsed, err := s.guard.browse(ctx, o.logger(), s)
	if err != nil {
		closeAll(listeners)
		return cmp.Or(err, o.close())
	}
	defer browsed()
	err = serveAll(ctx, s.serve(judged(sink)), listeners)
	if s.ended != nil {
		s.ended()
	}
	return cmp.Or(err, o.close())
}

// join makes g decide who may test.
func (s service) join(ctx context.Context, g *guard) error {
	if s.login != nil {
		if err := s.login(ctx, g); err != nil {
			return err
		}
	}
	if s.admit != nil {
		s.admit(g.stoppable(g.policy.At(s.limits)))
	}
	return nil
}

// runGuarded is runServer with a guard of these flags.
func (o *output) runGuarded(ctx context.Context, e *env, f *guardFlags, s service) error {
	var err error
	if s.guard, err = f.open(ctx, e, o); err != nil {
		return err
	}
	return cmp.Or(o.runServer(ctx, s), s.guard.close())
}

// serveAll serves all listeners until ctx ends or one of them fails.
func serveAll(ctx context.Context, serve serveFunc, listeners []net.Listener) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			if err := serve(ctx, l); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return stopped(ctx)
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
