package diagnose

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// kept is a Sink that keeps everything.
type kept struct {
	mu     sync.Mutex
	events []result.Event
}

func (k *kept) Put(e result.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, e)
}

func (k *kept) notes(code string) []result.Note {
	var found []result.Note
	for _, e := range k.events {
		if n, ok := e.(result.Note); ok && n.Code == code {
			found = append(found, n)
		}
	}
	return found
}

// through puts s through a Sink and returns what came out and the End.
func through(t *testing.T, s scene) (*kept, result.End) {
	t.Helper()
	var k kept
	sink := Sink(&k)
	for _, e := range s.events() {
		sink.Put(e)
	}
	end, ok := k.events[len(k.events)-1].(result.End)
	if !ok {
		t.Fatalf("the last event is %T, want an End", k.events[len(k.events)-1])
	}
	return &k, end
}

func TestSink(t *testing.T) {
	in := udp(asking(102e6, 0), probing(20, 22, 120)).events()
	before := in[len(in)-1].(result.End)
	k, end := through(t, udp(asking(102e6, 0), probing(20, 22, 120)))
	if len(k.events) != len(in) {
		t.Errorf("%d events became %d", len(in), len(k.events))
	}
	if end.Why == nil || end.Why.Limit != OwnRateLimit {
		t.Errorf("why %+v, want %s", end.Why, OwnRateLimit)
	}
	if s := end.Down.Steady; s == nil || s.Rate != 8500*payload*8 || s.Confidence != "good" {
		t.Errorf("steady %+v", s)
	}
	if end.Latency.Grade != "C" || end.Latency.RPM == nil {
		t.Errorf("latency %+v, want grade C", end.Latency)
	}
	if end.Up != nil || before.Why != nil || before.Down.Steady != nil {
		t.Error("an End was changed in place, or a direction made up")
	}
}

// TestSinkKeepsWhatIsThere: an engine that knows better is believed.
func TestSinkKeepsWhatIsThere(t *testing.T) {
	var k kept
	sink := Sink(&k)
	events := udp().events()
	end := events[len(events)-1].(result.End)
	end.Why = &result.Why{Limit: "own"}
	end.Down.Steady = &result.Steady{Rate: 7}
	for _, e := range append(events[:len(events)-1], end) {
		sink.Put(e)
	}
	got := k.events[len(k.events)-1].(result.End)
	if got.Why.Limit != "own" || got.Down.Steady.Rate != 7 {
		t.Errorf("%+v, %+v", got.Why, got.Down.Steady)
	}
}

func TestSinkWarnsOfCPU(t *testing.T) {
	tests := []struct {
		name string
		scene
		want int
	}{
		{"calm", udp(cpus(level(60), level(60))), 0},
		{"busy here", udp(cpus(level(80), level(10))), 1},
		{"busy at both ends", udp(cpus(level(80), level(75))), 2},
		{"busy, both ways", udp(bothWays, cpus(level(80), level(10))), 1},
		{"two busy seconds are no alarm", udp(lasting(2), cpus(level(99), nil)), 0},
		{"every other second", udp(cpus(func(n int) *float64 { return result.Some(float64(n%2) * 99) }, nil)), 0},
		{"at the limit of the warning", udp(cpus(level(70), nil)), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, _ := through(t, tt.scene)
			notes := k.notes(NoteCPUBusy)
			if len(notes) != tt.want {
				t.Fatalf("%d notes, want %d: %+v", len(notes), tt.want, notes)
			}
			for _, n := range notes {
				if n.Level != result.Warning || n.Text == "" || n.Hint == "" || n.Run != "r" {
					t.Errorf("%+v", n)
				}
			}
		})
	}
}

func TestSinkTellsOfViews(t *testing.T) {
	tests := []struct {
		name string
		scene
		want result.Level // "" for none
	}{
		{"alike", udpUp(), ""},
		{"3 % apart", udpUp(receiving(told(8245))), ""},
		{"10 % apart, nobody knows why", udpUp(receiving(told(7650))), result.Warning},
		{"10 % apart and counted as lost", udp(sending(plain(8500)), receiving(numbered(7650, 850, 0))), result.Info},
		{"more came than was sent", udpUp(receiving(told(9500))), result.Warning},
		{"one view", udp(), ""},
		{"reports that miss a second", udpUp(receiving(func(n int) *result.View {
			if n == 6 || n == 10 {
				return nil
			}
			return told(8500)(n)
		})), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, _ := through(t, tt.scene)
			notes := k.notes(NoteViewsDiffer)
			if tt.want == "" && len(notes) > 0 || tt.want != "" && (len(notes) != 1 || notes[0].Level != tt.want) {
				t.Errorf("%+v, want level %q", notes, tt.want)
			}
		})
	}
}

// TestSinkManyRuns puts the events of many runs at once: each gets its own Why,
// in its own order, and nothing is kept.
func TestSinkManyRuns(t *testing.T) {
	var k kept
	s := newSink(&k)
	var wg sync.WaitGroup
	for n := range 20 {
		made := udp(cpus(level(99), nil))
		if n%2 == 0 {
			made = udp(asking(102e6, 0))
		}
		made.begin.Run = result.ID(fmt.Sprint(n))
		wg.Go(func() {
			for _, e := range made.events() {
				s.Put(e)
			}
		})
	}
	wg.Wait()
	order := map[result.ID]int{}
	for _, e := range k.events {
		id := e.Of().Run
		switch e := e.(type) {
		case result.Interval:
			if e.Seq != order[id]+1 {
				t.Errorf("run %s: interval %d after %d", id, e.Seq, order[id])
			}
			order[id] = e.Seq
		case result.End:
			want := CPULocal
			if (id[len(id)-1]-'0')%2 == 0 {
				want = OwnRateLimit
			}
			if e.Why == nil || e.Why.Limit != want {
				t.Errorf("run %s: %+v, want %s", id, e.Why, want)
			}
		}
	}
	if left := <-s.runs; len(left) != 0 {
		t.Errorf("%d runs are kept", len(left))
	}
}

// TestSinkPassesOn what belongs to no run, or to one that it has not seen begin.
func TestSinkPassesOn(t *testing.T) {
	var k kept
	sink := Sink(&k)
	in := []result.Event{
		result.Note{Text: "of the server"},
		result.Note{Head: result.Head{Run: "x"}, Code: result.NoteAuthFailure},
		result.Interval{Head: result.Head{Run: "x"}, End: time.Second},
		result.End{Head: result.Head{Run: "x"}, Down: &result.Total{}},
	}
	for _, e := range in {
		sink.Put(e)
	}
	if len(k.events) != len(in) || k.events[3].(result.End).Why != nil {
		t.Errorf("%+v", k.events)
	}
}
