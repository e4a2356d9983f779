package twamp

// A table remembers the most recently used of many keys, in memory that strangers
// cannot make grow: between half of most and all of it. The zero table holds
// nothing; it is not safe for concurrent use.
type table[K comparable, V any] struct {
	most     int
	new, old map[K]*V // what was used lately; what was used before that
}

// get returns the value of k, a zero one if it is not remembered.
func (t *table[K, V]) get(k K) *V {
	if v := t.new[k]; v != nil {
		return v
	}
	v := t.old[k]
	if v == nil {
		v = new(V)
	}
	if t.new == nil || len(t.new) >= max(1, t.most/2) {
		t.old, t.new = t.new, make(map[K]*V)
	}
	delete(t.old, k)
	t.new[k] = v
	return v
}

// len returns how many keys are remembered.
func (t *table[K, V]) len() int { return len(t.new) + len(t.old) }
