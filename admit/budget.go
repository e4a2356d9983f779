package admit

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A Budget is a number of bytes that all streams of a test, or all tests of an
// account, share. Its methods are safe for concurrent use, and a nil Budget
// never ends.
//
// It is one of three kinds: a plain number (NewBudget), a slice of a larger
// whole that a Source fills up (NewSlice), or several that each byte is taken
// out of (Join).
type Budget struct {
	word string
	text string
	all  int64
	left atomic.Int64

	source Source // of a slice
	low    atomic.Int64

	parts   []*Budget // of a joined budget: all are charged, or none
	in, out *Budget   // see Split
}

// A Source fills up a Budget that was made by NewSlice. Its methods are called
// by whoever spends, from many goroutines at once.
type Source interface {
	// Low says that the slice has fallen below its mark. It must not block.
	Low()
	// Dry says that Try found too little. It must not block.
	Dry()
	// More waits until n bytes can be spent, or says why they cannot: that ends
	// the test. It may block a stream, so it has to bound its wait.
	More(n int) error
}

// NewBudget makes a Budget of n bytes. The word and the text say whose it is,
// such as "user_daily_quota_exceeded" and "daily bytes of user ann"; they come
// back in the ExceededError.
func NewBudget(n uint64, word, text string) *Budget {
	b := &Budget{word: word, text: text, all: int64(min(n, 1<<62))}
	b.left.Store(b.all)
	return b
}

// NewSlice makes an empty Budget that s fills up by Add.
func NewSlice(s Source) *Budget { return &Budget{source: s} }

// Join makes a Budget that takes each byte out of all of budgets, or out of
// none. Nil ones are left out; without any it is nil.
func Join(budgets ...*Budget) *Budget {
	var parts []*Budget
	for _, b := range budgets {
		if b != nil {
			parts = append(parts, b)
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	return &Budget{parts: parts}
}

// Split makes a Budget of two: what a server receives is taken out of in, what
// it sends out of out. Spent as it is, it takes the bytes out of both.
func Split(in, out *Budget) *Budget {
	if in == nil && out == nil {
		return nil
	}
	b := &Budget{in: in, out: out}
	for _, way := range []*Budget{in, out} {
		if way != nil {
			b.parts = append(b.parts, way)
		}
	}
	return b
}

// In is the Budget of what the server receives: b itself unless it was split.
func (b *Budget) In() *Budget {
	if b == nil || b.in == nil && b.out == nil {
		return b
	}
	return b.in
}

// Out is the Budget of what the server sends: b itself unless it was split.
func (b *Budget) Out() *Budget {
	if b == nil || b.in == nil && b.out == nil {
		return b
	}
	return b.out
}

// Spend takes n bytes out of the budget. When fewer than n are left, and no more
// are to be had, it takes nothing and returns the error that ends the test,
// mostly an *ExceededError: do not move those bytes.
func (b *Budget) Spend(n int) error {
	if b == nil || n <= 0 {
		return nil
	}
	if b.parts != nil {
		return b.spendParts(n)
	}
	for {
		left := b.left.Load()
		if left < int64(n) {
			if err := b.more(n); err != nil {
				return err
			}
			continue
		}
		if b.left.CompareAndSwap(left, left-int64(n)) {
			b.fell(left, n)
			return nil
		}
	}
}

// Try is Spend for who must not wait: of a slice that is dry it takes nothing,
// though its source may know of more.
func (b *Budget) Try(n int) bool {
	if b == nil || n <= 0 {
		return true
	}
	for i, p := range b.parts {
		if !p.Try(n) {
			for _, q := range b.parts[:i] {
				q.Return(n)
			}
			return false
		}
	}
	if b.parts != nil {
		return true
	}
	for {
		left := b.left.Load()
		if left < int64(n) {
			if b.source != nil {
				b.source.Dry()
			}
			return false
		}
		if b.left.CompareAndSwap(left, left-int64(n)) {
			b.fell(left, n)
			return true
		}
	}
}

func (b *Budget) spendParts(n int) error {
	for i, p := range b.parts {
		if err := p.Spend(n); err != nil {
			for _, q := range b.parts[:i] {
				q.Return(n)
			}
			return err
		}
	}
	return nil
}

// more waits for n bytes. Nil means to try again.
func (b *Budget) more(n int) error {
	if b.source != nil {
		return b.source.More(n)
	}
	return &ExceededError{Word: b.word, Text: b.text, Limit: uint64(b.all)}
}

// fell tells the source when n bytes less than left are below the mark.
func (b *Budget) fell(left int64, n int) {
	if b.source == nil {
		return
	}
	if low := b.low.Load(); left >= low && left-int64(n) < low {
		b.source.Low()
	}
}

// Charge takes out n bytes that have moved already, whether or not so many are
// left. Its error, when they were not, ends the test.
func (b *Budget) Charge(n int) error {
	if b == nil || n <= 0 {
		return nil
	}
	if b.parts == nil {
		err := b.Spend(n)
		if err != nil {
			b.left.Add(-int64(n))
		}
		return err
	}
	var first error
	for _, p := range b.parts {
		if err := p.Charge(n); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Return gives back n bytes that were spent but not moved.
func (b *Budget) Return(n int) {
	if b == nil || n <= 0 {
		return
	}
	if b.parts == nil {
		b.left.Add(int64(n))
	}
	for _, p := range b.parts {
		p.Return(n)
	}
}

// Add makes a slice n bytes larger, or smaller where n is negative, and tells
// its source again when fewer than low are left.
func (b *Budget) Add(n, low int64) {
	b.low.Store(low)
	b.left.Add(n)
}

// Balance is what is left of a slice: negative when more has moved than there
// was.
func (b *Budget) Balance() int64 { return b.left.Load() }

// Left returns how many bytes can still be spent; false for a nil Budget, which
// has no end. Senders use it to make their batches smaller near the end.
func (b *Budget) Left() (uint64, bool) {
	if b == nil {
		return 0, false
	}
	if b.parts == nil {
		return uint64(max(0, b.left.Load())), true
	}
	least := uint64(1 << 62)
	for _, p := range b.parts {
		left, _ := p.Left()
		least = min(least, left)
	}
	return least, true
}

// An ExceededError ends a test whose budget is gone.
type ExceededError struct {
	Word  string    // fixed word, such as "user_daily_quota_exceeded"
	Text  string    // whose budget
	Limit uint64    // bytes; 0 where it is not about a number of them
	Used  uint64    // of it, where that is known
	Until time.Time // when it may work again; zero when not known
}

func (e *ExceededError) Error() string {
	text := e.Text
	if e.Limit != 0 {
		text += fmt.Sprintf(" used up (%d bytes)", e.Limit)
	}
	if !e.Until.IsZero() {
		text += ", try again after " + e.Until.UTC().Format(time.RFC3339)
	}
	return text
}

// Code returns the fixed word.
func (e *ExceededError) Code() string { return e.Word }

// ExitCode returns 5: cut off by a quota or limit.
func (e *ExceededError) ExitCode() int { return 5 }
