// Package meshview makes one picture of what a mesh server or a node knows: who
// is there, how each reaches each other, and why not better. Lines, the terminal
// screen and the web page draw that picture.
//
// It does no I/O. Names come from peers: what is in a View is safe for a
// terminal; a web page has still to escape it.
package meshview

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/mesh"
)

// A View is a mesh at a moment.
type View struct {
	Nodes []Node
	pairs map[[2]string]mesh.PairStatus // by the IDs of who reported, and of whom
}

// A Node is a client, a node or a server.
type Node struct {
	ID      string
	Label   string // its name, or a part of its ID; no other node of the View has it
	Kind    string // "sonde", "original", "server"
	Self    bool   // it is the one that looks
	Address string // as others see it; empty if that is not known
	NAT     string // mapping and filtering; empty if not known
	Up      bool   // it is heard
	Sent    uint64
	Came    uint64 // packets received from it
	Lost    *uint64
	RTT     *time.Duration // the latest, or smoothed
	Heard   time.Time      // zero if not known
}

// Pair is what one node reported of another; false if it reported nothing.
func (v View) Pair(from, to Node) (mesh.PairStatus, bool) {
	p, ok := v.pairs[[2]string{from.ID, to.ID}]
	return p, ok
}

// OfServer is the mesh as a server knows it. Who only observes is left out.
func OfServer(s mesh.ServerStatus) View {
	v := View{pairs: map[[2]string]mesh.PairStatus{}}
	for _, c := range s.Clients {
		if c.Observes {
			continue
		}
		n := Node{
			ID: c.ID, Label: c.Name, Kind: kind(c.Original), Address: addresses(c.Addresses), NAT: NAT(c.Mapping, c.Filtering),
			Up: true, Sent: c.Sent, Came: c.Received, Lost: lostOf(c.Sent, c.Acked), RTT: c.RTT, Heard: c.Heard,
		}
		v.Nodes = append(v.Nodes, n)
		for _, p := range c.Pairs {
			v.pairs[[2]string{c.ID, p.Peer}] = p
		}
	}
	v.label()
	return v
}

// OfNode is the mesh as a node knows it: itself and its peers.
func OfNode(s mesh.NodeStatus) View {
	v := View{pairs: map[[2]string]mesh.PairStatus{}}
	self := Node{ID: s.ID, Label: cmp.Or(s.Name, "here"), Kind: "sonde", Self: true, Up: true}
	if s.NAT.Known {
		self.NAT = NAT(s.NAT.Mapping, s.NAT.Filtering)
	}
	for _, h := range s.Servers {
		if h.Seen.IsValid() {
			self.Address = h.Seen.String()
			break
		}
	}
	v.Nodes = append(v.Nodes, self)
	for _, p := range s.Peers {
		n := Node{
			ID: p.ID, Label: p.Name, Kind: kind(p.Original), NAT: NAT(p.Mapping, p.Filtering), Up: p.Path != mesh.PathNone,
			Sent: p.Figures.Sent, Came: p.Figures.Replies, RTT: p.Figures.Smoothed,
		}
		if p.Figures.Sent > 0 {
			n.Lost = &p.Figures.Lost
		}
		if p.Address.IsValid() {
			n.Address = p.Address.String()
		}
		if n.ID == "" {
			n.ID = "at " + n.Address // an original client that has not spoken
		}
		v.Nodes = append(v.Nodes, n)
		v.pairs[[2]string{self.ID, n.ID}] = mesh.PairStatus{
			Peer: p.ID, Path: p.Path, State: p.State, Theirs: p.Kind, Code: p.Code, Reason: p.Reason, Hint: p.Hint,
			RTT: p.Figures.Smoothed, Jitter: p.Figures.Jitter, Sent: p.Figures.Sent, Lost: p.Figures.Lost, Ratio: p.Figures.Ratio,
		}
	}
	v.label()
	return v
}

// Homes are the servers of a node, as rows of a table.
func Homes(s mesh.NodeStatus) []Node {
	var all []Node
	for _, h := range s.Servers {
		n := Node{ID: h.Address.String(), Label: clean(h.Name), Kind: "server", Address: h.Address.String(), Up: h.Up, Sent: h.Sent, Came: h.Received, RTT: h.RTT}
		n.Lost = lostOf(h.Sent, h.Acked)
		all = append(all, n)
	}
	return all
}

// lostOf is how many have no answer yet: the one that was just sent is not lost.
func lostOf(sent, acked uint64) *uint64 {
	if sent == 0 {
		return nil
	}
	lost := sent - min(sent, acked+1)
	return &lost
}

func kind(original bool) string {
	if original {
		return "original"
	}
	return "sonde"
}

func addresses(all []netip.AddrPort) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " ")
}

// NAT is mapping and filtering in short.
func NAT(mapping, filtering string) string {
	m, f := shortNAT(mapping), shortNAT(filtering)
	switch {
	case m == "" && f == "":
		return ""
	case m == "no NAT" && f == "open":
		return "no NAT"
	case m == "no NAT":
		return "no NAT, firewall " + cmp.Or(f, "?")
	}
	return cmp.Or(m, "?") + "/" + cmp.Or(f, "?")
}

// shortNAT is a behaviour of RFC 4787 in a word that fits a column.
func shortNAT(behaviour string) string {
	switch behaviour {
	case "endpoint-independent":
		return "open"
	case "address-dependent":
		return "address"
	case "address and port-dependent":
		return "port"
	case "address and port-dependent, in steady steps":
		return "steps"
	case "unknown":
		return ""
	}
	return behaviour
}

// maxLabel is the longest label, in characters; a name may have 63 bytes.
const maxLabel = 24

// label makes the labels safe to show and different from each other.
func (v *View) label() {
	seen := map[string]int{}
	for i := range v.Nodes {
		n := &v.Nodes[i]
		n.Label = clean(n.Label)
		if n.Label == "" {
			n.Label = short(n)
		}
		seen[n.Label]++
	}
	for i := range v.Nodes {
		if n := &v.Nodes[i]; seen[n.Label] > 1 {
			n.Label += " " + short(n)
		}
	}
}

// short tells a node without a name from others.
func short(n *Node) string {
	if id, ok := strings.CutPrefix(n.ID, "at "); ok {
		return id
	}
	return n.ID[:min(8, len(n.ID))]
}

// clean is a name as it may be shown.
func clean(s string) string {
	runes := []rune(report.Clean(s))
	return string(runes[:min(maxLabel, len(runes))])
}

// ranks orders the paths, from no way on.
var ranks = []string{mesh.PathNone, "trying", mesh.PathRelayed, mesh.PathMapped, mesh.PathPunched, mesh.PathDirect}

// Word is the path of a pair in a word: one of the Path words of package mesh,
// or "trying" while it is not known.
func Word(p mesh.PairStatus) string {
	if p.Path == mesh.PathNone && (p.State == "trying" || p.State == "unknown") {
		return "trying"
	}
	return p.Path
}

// Worse is the word of a pair, of which both or one of the two ways are known:
// that of the worse.
func Worse(there, back *mesh.PairStatus) string {
	word := ""
	for _, p := range []*mesh.PairStatus{there, back} {
		if p == nil {
			continue
		}
		if w := Word(*p); word == "" || slices.Index(ranks, w) < slices.Index(ranks, word) {
			word = w
		}
	}
	return word
}
