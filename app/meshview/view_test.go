package meshview

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

var (
	rtt   = 12 * time.Millisecond
	ratio = 0.025
)

// someServer knows three nodes, one with a hostile name that another has, too,
// an original client and an observer.
func someServer() mesh.ServerStatus {
	pair := func(peer, path string) mesh.PairStatus {
		p := mesh.PairStatus{Peer: peer, Path: path, State: "direct", RTT: &rtt, Ratio: &ratio, Sent: 120, Lost: 3}
		if path == mesh.PathRelayed {
			p.State, p.Reason = "relay", "both NATs are hard"
		}
		return p
	}
	client := func(id, name string, pairs ...mesh.PairStatus) mesh.ClientStatus {
		return mesh.ClientStatus{ID: id, Name: name, Addresses: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.7:5")}, Mapping: "no NAT", Filtering: "endpoint-independent", Sent: 4, Received: 9, Acked: 3, Pairs: pairs}
	}
	return mesh.ServerStatus{Clients: []mesh.ClientStatus{
		client("11111111-1", "a", pair("22222222-2", mesh.PathPunched), pair("33333333-3", mesh.PathRelayed)),
		client("22222222-2", "a", pair("11111111-1", mesh.PathDirect)),
		client("33333333-3", "\x1b[2J<b>"+strings.Repeat("x", 60)),
		{ID: "44444444-4", Original: true, Mapping: "unknown", Filtering: "unknown"},
		{ID: "55555555-5", Observes: true},
	}}
}

func TestOfServer(t *testing.T) {
	v := OfServer(someServer())
	var labels []string
	for _, n := range v.Nodes {
		labels = append(labels, n.Label)
	}
	if want := []string{"a 11111111", "a 22222222", `\x1b[2J<b>xxxxxxxxxxxxxx`, "44444444"}; !slices.Equal(labels, want) {
		t.Errorf("labels %q", labels)
	}
	if n := v.Nodes[0]; n.NAT != "no NAT" || n.Lost == nil || *n.Lost != 0 || n.Kind != "sonde" {
		t.Errorf("%+v", n)
	}
	if n := v.Nodes[3]; n.NAT != "" || n.Lost != nil || n.Kind != "original" {
		t.Errorf("%+v", n)
	}
	there, back := v.Ways(v.Nodes[0], v.Nodes[1])
	if Worse(there, back) != mesh.PathPunched || Worse(nil, nil) != "" || Worse(nil, back) != mesh.PathDirect {
		t.Errorf("%v, %v", there, back)
	}
}

func TestFollower(t *testing.T) {
	var f Follower
	s := someServer()
	lines := f.Changes(OfServer(s))
	want := []string{"a 11111111 - a 22222222: punched, RTT 12.0 ms", `a 11111111 - \x1b[2J<b>xxxxxxxxxxxxxx: relayed: both NATs are hard`}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
	if again := f.Changes(OfServer(s)); len(again) != 0 {
		t.Errorf("nothing has changed: %q", again)
	}
	s.Clients[0].Pairs[1].Path, s.Clients[0].Pairs[1].State = mesh.PathNone, "trying"
	if lines = f.Changes(OfServer(s)); len(lines) != 1 || !strings.HasSuffix(lines[0], ": trying: both NATs are hard") {
		t.Errorf("%q", lines)
	}
}

// A node's lines: what changes, tables, the end of each peer.
func TestText(t *testing.T) {
	var b bytes.Buffer
	text := NewText(&b)
	at := time.Date(2026, 11, 29, 6, 0, 0, 0, time.Local)
	head := result.Head{Run: "r", Time: at}
	text.Put(result.Begin{Head: head, Target: "b\x1b", Peer: netip.MustParseAddrPort("192.0.2.7:5")})
	text.Put(result.Note{Head: head, Level: result.Warning, Text: "b\x1b: no way", Hint: "open a port"})
	text.Table(at, mesh.NodeStatus{})
	text.Table(at, mesh.NodeStatus{ID: "1", Servers: []mesh.HomeStatus{{Name: "hub"}}, Peers: []mesh.PeerStatus{
		{ID: "2", Name: "b\x1b", Path: mesh.PathDirect, Figures: mesh.PingFigures{Sent: 120, Lost: 3, Ratio: &ratio, Smoothed: &rtt}},
	}})
	r := result.RoundTrips{Sent: 120, Lost: 3, RTT: &result.Path{Delay: result.Distribution{P50: rtt, Min: rtt, Max: rtt}}}
	text.Put(result.End{Head: head, Reason: result.ReasonClientGone, RoundTrips: []result.RoundTrips{r, {}}})
	want := `06:00:00  b\x1b: listed at 192.0.2.7:5
06:00:00  b\x1b: no way
06:00:00    hint: open a port
06:00:00  no peer is listed yet
06:00:00  1 listed
  server hub  silent  RTT -
  b\x1b       direct  RTT 12.0 ms  jitter -  lost 3 of 120 (2.5 %)
06:00:00  b\x1b: not listed any more, 120 pings, 3 lost (2.5 %), RTT 12.0 ms (12.0 ms to 12.0 ms)
06:00:00  b\x1b: not listed any more, nothing measured
`
	if got := b.String(); got != want || text.Err() != nil {
		t.Errorf("got\n%swant\n%s%v", got, want, text.Err())
	}
	broken := NewText(failing{})
	broken.Put(result.Note{Head: head})
	if broken.Err() == nil {
		t.Error("no error of the writer")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }
