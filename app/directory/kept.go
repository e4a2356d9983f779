package directory

import (
	"maps"
	"sync"
	"time"
)

// kept are answers by name that are good for a while.
type kept[T any] struct {
	good time.Duration

	mu sync.Mutex // guards of
	of map[string]keptOne[T]
}

type keptOne[T any] struct {
	value T
	until time.Time
}

// most bounds the answers that are kept.
const most = 10_000

// get returns the answer about a name: the kept one, or what ask says.
func (k *kept[T]) get(name string, ask func() (T, error)) (T, error) {
	now := time.Now()
	k.mu.Lock()
	one, ok := k.of[name]
	k.mu.Unlock()
	if ok && now.Before(one.until) {
		return one.value, nil
	}
	value, err := ask()
	if err != nil {
		return value, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = map[string]keptOne[T]{}
	}
	if len(k.of) >= most {
		maps.DeleteFunc(k.of, func(_ string, old keptOne[T]) bool { return !now.Before(old.until) })
	}
	if len(k.of) < most {
		k.of[name] = keptOne[T]{value, now.Add(k.good)}
	}
	return value, nil
}
