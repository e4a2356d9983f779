package meshbook

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/mesh"
)

var start = time.Now().Truncate(time.Minute).Add(-3 * time.Hour)

// status is a server with a and b, which have pinged each other n times.
func status(ids string, n, lost uint64) mesh.ServerStatus {
	rtt := time.Duration(n) * time.Millisecond
	client := func(id, name, peer string) mesh.ClientStatus {
		return mesh.ClientStatus{ID: id, Name: name, Addresses: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5")}, Mapping: "no NAT",
			Pairs: []mesh.PairStatus{{Peer: peer, Path: mesh.PathDirect, RTT: &rtt, Sent: n, Lost: lost}, {Peer: "gone"}}}
	}
	return mesh.ServerStatus{Clients: []mesh.ClientStatus{client("1"+ids, "a", "2"+ids), client("2"+ids, "b", "1"+ids), {ID: "3", Observes: true}}}
}

// What was seen is there after a restart, though the nodes have other IDs.
func TestRestart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mesh.jsonl")
	b, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for s := range 150 { // two and a half minutes
		b.Observe(start.Add(time.Duration(s)*time.Second), status("x", uint64(2*s), uint64(s/10)))
	}
	if err := b.Close(start.Add(150 * time.Second)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("\n{}\nnull\n" + strings.Repeat("x", 3*maxLine) + "\n" + `{"pair":{"time":"20`) // torn
	f.Close()
	b, err = Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for s := 180; s < 250; s++ {
		b.Observe(start.Add(time.Duration(s)*time.Second), status("y", uint64(s-180), 0))
	}
	h := b.History("a", "b")
	var sent, lost uint64
	for _, m := range h {
		sent, lost = sent+m.Sent, lost+m.Lost
		if m.Path != mesh.PathDirect {
			t.Errorf("%+v", m)
		}
	}
	if len(h) != 5 || sent != 298+69 || lost != 14 || !h[0].Time.Equal(start) || h[1].RTT == nil || *h[1].RTT != 238*time.Millisecond {
		t.Errorf("%d minutes, %d sent, %d lost: %+v", len(h), sent, lost, h)
	}
	people := b.People()
	if len(people) != 2 || !people[0].First.Equal(start) || people[0].ID != "1y" || people[0].Address != "192.0.2.1:5" {
		t.Errorf("%+v", people)
	}
	if pairs := b.Pairs(); len(pairs) != 2 || pairs[0] != [2]string{"a", "b"} {
		t.Errorf("%v", pairs)
	}
	if err := b.Close(start.Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if b, err = Open(name); err != nil || len(b.History("a", "b")) != 5 {
		t.Errorf("after the torn line: %d minutes, %v", len(b.History("a", "b")), err)
	}
}

// The file and the memory are bounded, whatever is reported.
func TestBounds(t *testing.T) {
	defer func(n int64) { maxFile = n }(maxFile)
	maxFile = 200 << 10
	name := filepath.Join(t.TempDir(), "mesh.jsonl")
	b, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for minute := range 20 {
		var s mesh.ServerStatus
		for i := range 100 {
			c := mesh.ClientStatus{ID: fmt.Sprintf("%d-%d", minute, i), Name: fmt.Sprintf("n%d-%d", minute, i)}
			s.Clients = append(s.Clients, c)
		}
		for i := range s.Clients {
			for j := range s.Clients {
				s.Clients[i].Pairs = append(s.Clients[i].Pairs, mesh.PairStatus{Peer: s.Clients[j].ID, Path: mesh.PathNone})
			}
		}
		b.Observe(start.Add(time.Duration(minute)*time.Minute), s)
		if i, err := os.Stat(name); err != nil || i.Size() > maxFile {
			t.Fatalf("%d bytes, %v", i.Size(), err)
		}
	}
	if len(b.pairs) > maxPairs || len(b.people) > maxPeople || b.total > maxMinutes {
		t.Errorf("%d pairs, %d people", len(b.pairs), len(b.people))
	}
	if err := b.Err(); err != nil {
		t.Error(err)
	}
	b.Observe(start.Add(48*time.Hour), mesh.ServerStatus{})
	if len(b.pairs) != 0 || b.total != 0 {
		t.Errorf("after two days: %d pairs, %d minutes", len(b.pairs), b.total)
	}
	if err := b.Close(start.Add(48 * time.Hour)); err != nil {
		t.Error(err)
	}
}

// Two nodes of one name are told apart by their IDs.
func TestSameName(t *testing.T) {
	s := status("x", 1, 0)
	s.Clients[1].Name = "a"
	b, _ := Open("")
	b.Observe(start, s)
	if len(b.History("a", "b")) != 0 || len(b.History("1x", "2x")) != 1 || b.Name(s, "1x") != "1x" {
		t.Errorf("%v", b.Pairs())
	}
}

func TestOpenFails(t *testing.T) {
	for _, name := range []string{t.TempDir(), filepath.Join(t.TempDir(), "no", "such"), "/dev/null"} {
		if _, err := Open(name); err == nil {
			t.Errorf("%s is opened", name)
		}
	}
}
