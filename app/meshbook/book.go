// Package meshbook keeps what a mesh server saw: of each pair of nodes a record
// for each minute, and who was there. It is held in memory for a day, and in a
// file, if there is one, as lines of JSON, so that it is there after a restart.
package meshbook

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/mesh"
)

// Bounds of what is kept: hostile nodes can report of many.
const (
	keepFor    = 24 * time.Hour
	maxPairs   = 4096    // that have a history; those silent longest give way
	maxMinutes = 400_000 // of all pairs together
	maxPeople  = 4096
)

// A Minute is what one node reported of another during a minute.
type Minute struct {
	Time   time.Time      `json:"time"` // when the minute began
	From   string         `json:"from"` // name, or ID if it has none of its own
	To     string         `json:"to"`
	Path   string         `json:"path"`
	RTT    *time.Duration `json:"rtt_ns"` // the latest smoothed one; null if not measured
	Jitter *time.Duration `json:"jitter_ns"`
	Sent   uint64         `json:"sent"` // pings in the minute
	Lost   uint64         `json:"lost"`
	Code   string         `json:"code"` // why it is not direct; empty if it is
}

// A Person is a client that was there.
type Person struct {
	Name      string    `json:"name"` // or ID
	ID        string    `json:"id"`   // the latest
	Original  bool      `json:"original"`
	Mapping   string    `json:"mapping"`
	Filtering string    `json:"filtering"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Address   string    `json:"address"` // the latest
}

type pair struct{ from, to string }

// A Book is the history. Its methods are safe for concurrent use.
type Book struct {
	mu      sync.Mutex // guards what follows
	file    *file      // nil: in memory only
	pairs   map[pair][]Minute
	total   int // minutes in pairs
	people  map[string]*Person
	changed map[string]bool // people to be written
	before  map[pair]counts // by ID: what was counted up to now
	open    map[pair]Minute // the minute that is not over
	minute  time.Time
	fault   error // of the file, the latest
}

type counts struct{ sent, lost uint64 }

// Open opens a book whose lines are in a file, "" for none, and reads what is in
// it.
func Open(name string) (*Book, error) {
	b := &Book{
		pairs: map[pair][]Minute{}, people: map[string]*Person{}, changed: map[string]bool{},
		before: map[pair]counts{}, open: map[pair]Minute{},
	}
	if name == "" {
		return b, nil
	}
	f, err := openFile(name, time.Now().Add(-keepFor), func(l line) {
		switch {
		case l.Pair != nil:
			b.keep(*l.Pair)
		case l.Person != nil:
			b.meet(*l.Person)
		}
	})
	b.file = f
	return b, err
}

// Observe takes what a server knows now. It is to be called each second or so.
func (b *Book) Observe(now time.Time, s mesh.ServerStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := now.Truncate(time.Minute); m != b.minute {
		b.turn(now)
		b.minute = m
	}
	names := namesOf(s)
	seen := map[pair]counts{}
	for _, c := range s.Clients {
		if c.Observes {
			continue
		}
		b.sight(now, names[c.ID], c)
		for _, p := range c.Pairs {
			to, ok := names[p.Peer]
			if !ok {
				continue
			}
			key := pair{c.ID, p.Peer}
			n := counts{p.Sent, p.Lost}
			b.add(pair{names[c.ID], to}, p, since(b.before[key], n))
			seen[key] = n
		}
	}
	b.before = seen
}

// since is what was counted since before; counters that went back began anew.
func since(before, now counts) counts {
	if now.sent < before.sent || now.lost < before.lost {
		return now
	}
	return counts{now.sent - before.sent, now.lost - before.lost}
}

// namesOf are what clients are known by in the book, by ID: their names, for IDs
// are of one run. A name that several have tells none of them.
func namesOf(s mesh.ServerStatus) map[string]string {
	number := map[string]int{}
	for _, c := range s.Clients {
		number[c.Name]++
	}
	names := map[string]string{}
	for _, c := range s.Clients {
		names[c.ID] = c.ID
		if c.Name != "" && number[c.Name] == 1 && !c.Observes {
			names[c.ID] = c.Name
		}
	}
	return names
}

func (b *Book) add(key pair, p mesh.PairStatus, n counts) {
	m, ok := b.open[key]
	if !ok && len(b.open) >= maxPairs {
		return
	}
	m.Time, m.From, m.To = b.minute, key.from, key.to
	m.Path, m.RTT, m.Jitter, m.Code = p.Path, p.RTT, p.Jitter, p.Code
	m.Sent, m.Lost = m.Sent+n.sent, m.Lost+n.lost
	b.open[key] = m
}

// sight notes that a client is there.
func (b *Book) sight(now time.Time, name string, c mesh.ClientStatus) {
	p := Person{Name: name, ID: c.ID, Original: c.Original, Mapping: c.Mapping, Filtering: c.Filtering, First: now, Last: now}
	if len(c.Addresses) > 0 {
		p.Address = c.Addresses[0].String()
	}
	b.meet(p)
	b.changed[name] = true
}

// meet keeps a person; when there are too many the one unseen longest gives way.
func (b *Book) meet(p Person) {
	if old := b.people[p.Name]; old != nil {
		if old.First.Before(p.First) {
			p.First = old.First
		}
		*old = p
		return
	}
	if len(b.people) >= maxPeople {
		oldest := ""
		for name, one := range b.people {
			if oldest == "" || one.Last.Before(b.people[oldest].Last) {
				oldest = name
			}
		}
		delete(b.people, oldest)
		delete(b.changed, oldest)
	}
	b.people[p.Name] = &p
}

// turn ends the minute: it is kept and written.
func (b *Book) turn(now time.Time) {
	var lines []line
	for _, m := range b.open {
		b.keep(m)
		lines = append(lines, line{Pair: &m})
	}
	clear(b.open)
	for name := range b.changed {
		p := *b.people[name]
		lines = append(lines, line{Person: &p})
	}
	clear(b.changed)
	b.forget(now.Add(-keepFor))
	if b.file != nil && len(lines) > 0 {
		b.fault = b.file.write(lines, now.Add(-keepFor))
	}
}

// keep adds a minute to the history.
func (b *Book) keep(m Minute) {
	key := pair{m.From, m.To}
	all := b.pairs[key]
	if n := len(all); n > 0 && !all[n-1].Time.Before(m.Time) {
		return // the clock was set back
	}
	if all == nil && len(b.pairs) >= maxPairs {
		b.drop()
	}
	b.pairs[key] = append(all, m)
	b.total++
	for b.total > maxMinutes {
		b.drop()
	}
}

// drop forgets the eighth of the pairs that is silent longest: one at a time
// would cost a look at all of them each time.
func (b *Book) drop() {
	last := func(key pair) time.Time { all := b.pairs[key]; return all[len(all)-1].Time }
	keys := slices.SortedFunc(maps.Keys(b.pairs), func(p, q pair) int { return last(p).Compare(last(q)) })
	for _, key := range keys[:len(keys)/8+1] {
		b.total -= len(b.pairs[key])
		delete(b.pairs, key)
	}
}

// forget drops what is older than a day.
func (b *Book) forget(before time.Time) {
	for key, all := range b.pairs {
		i := 0
		for i < len(all) && all[i].Time.Before(before) {
			i++
		}
		b.total -= i
		if i == len(all) {
			delete(b.pairs, key)
		} else if i > 0 {
			b.pairs[key] = slices.Clone(all[i:])
		}
	}
}

// History is the minutes of a pair, oldest first, with the one that is not over.
func (b *Book) History(from, to string) []Minute {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := pair{from, to}
	all := slices.Clone(b.pairs[key])
	if m, ok := b.open[key]; ok {
		all = append(all, m)
	}
	return all
}

// Name is what a client is known by in the book.
func (b *Book) Name(s mesh.ServerStatus, id string) string { return namesOf(s)[id] }

// People are those who were there, the latest first.
func (b *Book) People() []Person {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Person
	for _, p := range b.people {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(p, q Person) int { return cmp.Or(q.Last.Compare(p.Last), cmp.Compare(p.Name, q.Name)) })
	return all
}

// Pairs are those with a history: from and to.
func (b *Book) Pairs() [][2]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all [][2]string
	for key := range b.pairs {
		all = append(all, [2]string{key.from, key.to})
	}
	for key := range b.open {
		if b.pairs[key] == nil {
			all = append(all, [2]string{key.from, key.to})
		}
	}
	slices.SortFunc(all, func(p, q [2]string) int { return cmp.Or(cmp.Compare(p[0], q[0]), cmp.Compare(p[1], q[1])) })
	return all
}

// Err is why the file was not written the last time; nil if it was.
func (b *Book) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault
}

// Close writes what is not written yet.
func (b *Book) Close(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	if b.file == nil {
		return nil
	}
	return cmp.Or(b.fault, b.file.close())
}
