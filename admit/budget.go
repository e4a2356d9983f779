package admit

import (
	"fmt"
	"sync/atomic"
)

// A Budget is a number of bytes that all streams of a test, or all tests of an
// account, share. Its methods are safe for concurrent use, and a nil Budget
// never ends.
type Budget struct {
	word string
	text string
	all  int64
	left atomic.Int64
}

// NewBudget makes a Budget of n bytes. The word and the text say whose it is,
// such as "user_daily_quota_exceeded" and "daily bytes of user ann"; they come
// back in the ExceededError.
func NewBudget(n uint64, word, text string) *Budget {
	b := &Budget{word: word, text: text, all: int64(min(n, 1<<62))}
	b.left.Store(b.all)
	return b
}

// Spend takes n bytes out of the budget. When fewer than n are left it takes
// nothing and returns an *ExceededError: do not move those bytes.
func (b *Budget) Spend(n int) error {
	if b == nil || n <= 0 {
		return nil
	}
	for {
		left := b.left.Load()
		if left < int64(n) {
			return &ExceededError{Word: b.word, Text: b.text, Limit: uint64(b.all)}
		}
		if b.left.CompareAndSwap(left, left-int64(n)) {
			return nil
		}
	}
}

// Return gives back n bytes that were spent but not moved.
func (b *Budget) Return(n int) {
	if b != nil && n > 0 {
		b.left.Add(int64(n))
	}
}

// Left returns how many bytes can still be spent; false for a nil Budget, which
// has no end. Senders use it to make their batches smaller near the end.
func (b *Budget) Left() (uint64, bool) {
	if b == nil {
		return 0, false
	}
	return uint64(max(0, b.left.Load())), true
}

// An ExceededError ends a test whose budget is gone.
type ExceededError struct {
	Word  string // fixed word, such as "user_daily_quota_exceeded"
	Text  string // whose budget
	Limit uint64 // bytes
}

func (e *ExceededError) Error() string {
	return fmt.Sprintf("%s used up (%d bytes)", e.Text, e.Limit)
}

// Code returns the fixed word.
func (e *ExceededError) Code() string { return e.Word }

// ExitCode returns 5: cut off by a quota or limit.
func (e *ExceededError) ExitCode() int { return 5 }
