package cli

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"

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
}

// runServer listens on all addresses and serves until the context ends.
func (o *output) runServer(ctx context.Context, s service) error {
	if err := s.validate(); err != nil {
		return misuse("", "%w", err)
	}
	sink, err := o.open(true)
	if err != nil {
		return err
	}
	listeners, err := open(ctx, s.config, s.listen)
	if err != nil {
		sink.Put(failure(s.protocol, result.Server, err))
		return cmp.Or(err, o.close())
	}
	for _, l := range listeners {
		o.logger().Info("listening", "address", l.Addr().String())
	}
	s.ready()
	err = serveAll(ctx, s.serve(judged(sink)), listeners)
	if s.ended != nil {
		s.ended()
	}
	return cmp.Or(err, o.close())
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
