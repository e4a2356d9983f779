package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/result"
)

// What a Sink holds back and how it writes.
const (
	queueLen   = 16384 // entries: seconds of all tests, if the store is slow
	batchLen   = 512   // entries of one transaction
	batchEvery = 500 * time.Millisecond
	tryAgain   = time.Second
	finalTime  = 5 * time.Second
)

// A Sink writes runs, intervals, ends and refusals into a Store. Put never waits
// for the store: what does not fit its queue is dropped, counted and said in the
// log. It is written in batches by one goroutine, and tried again while the
// store is gone.
type Sink struct {
	store   *Store
	queue   chan any // result.Event or Refusal
	dropped atomic.Uint64
	written atomic.Uint64
	cancel  context.CancelFunc
	once    sync.Once
	done    chan struct{}
	closing chan struct{}
	mu      sync.RWMutex // guards queue against Put after Close
	shut    bool
}

// NewSink makes a Sink and starts it. Close it before the Store.
func (s *Store) NewSink() *Sink {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Sink{store: s, queue: make(chan any, queueLen), cancel: cancel, done: make(chan struct{}), closing: make(chan struct{})}
	go k.run(ctx)
	return k
}

// Put implements result.Sink. A test by round trips leaves its run and no
// intervals of bytes.
func (k *Sink) Put(e result.Event) { k.put(e) }

// Refuse keeps a refusal, for the pages.
func (k *Sink) Refuse(r Refusal) { k.put(r) }

func (k *Sink) put(v any) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if !k.shut {
		select {
		case k.queue <- v:
			return
		default:
		}
	}
	k.dropped.Add(1)
}

// Dropped is how many entries were not kept.
func (k *Sink) Dropped() uint64 { return k.dropped.Load() }

// Written is how many entries were.
func (k *Sink) Written() uint64 { return k.written.Load() }

// Close writes what is in the queue, for a few seconds at most, and ends the
// Sink.
func (k *Sink) Close() {
	k.once.Do(func() {
		k.mu.Lock()
		k.shut = true
		k.mu.Unlock()
		close(k.closing)
		stop := time.AfterFunc(finalTime, k.cancel)
		<-k.done
		stop.Stop()
		k.cancel()
	})
	<-k.done
}

func (k *Sink) run(ctx context.Context) {
	defer close(k.done)
	var told uint64
	for {
		batch, more := k.next(ctx)
		if len(batch) > 0 {
			k.writeAll(ctx, batch)
		}
		if n := k.dropped.Load(); n > told {
			k.store.log.Warn("results were dropped: the store is too slow or gone", "entries", n-told)
			told = n
		}
		if !more {
			return
		}
	}
}

// next collects a batch: what comes within a moment of the first. It is false
// when the Sink is closed and the queue is empty.
func (k *Sink) next(ctx context.Context) (batch []any, more bool) {
	select {
	case v := <-k.queue:
		batch = append(batch, v)
	case <-k.closing:
		return k.rest(nil), len(k.queue) > 0 && ctx.Err() == nil
	}
	timer := time.NewTimer(batchEvery)
	defer timer.Stop()
	for len(batch) < batchLen {
		select {
		case v := <-k.queue:
			batch = append(batch, v)
		case <-timer.C:
			return batch, true
		case <-k.closing:
			return k.rest(batch), len(k.queue) > 0 && ctx.Err() == nil
		}
	}
	return batch, true
}

// rest adds to a batch what lies in the queue.
func (k *Sink) rest(batch []any) []any {
	for len(batch) < batchLen {
		select {
		case v := <-k.queue:
			batch = append(batch, v)
		default:
			return batch
		}
	}
	return batch
}

// writeAll writes a batch, again and again while the store is gone. A batch that
// the store refuses is written entry by entry, so that one bad entry costs only
// itself.
func (k *Sink) writeAll(ctx context.Context, batch []any) {
	for first := true; ; first = false {
		err := k.store.writeEntries(ctx, batch)
		if err == nil {
			k.written.Add(uint64(len(batch)))
			return
		}
		if ctx.Err() != nil {
			k.dropped.Add(uint64(len(batch)))
			return
		}
		if first {
			k.store.log.Warn("results are not written", "err", err)
		}
		if !k.store.gone(err) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(tryAgain):
		}
	}
	for _, v := range batch {
		if err := k.store.writeEntries(ctx, []any{v}); err != nil {
			k.dropped.Add(1)
			continue
		}
		k.written.Add(1)
	}
}

// gone reports whether an error is about the store as a whole, not about what
// was to be written.
func (s *Store) gone(err error) bool {
	f := s.engine.fault(err)
	return f != nil
}
