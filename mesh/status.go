package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// How two nodes reach each other, in a word: the cells of the matrix.
const (
	PathNone    = "none"
	PathDirect  = "direct"  // at an address of the other's own
	PathPunched = "punched" // at an address that a NAT gave, opened from both sides
	PathMapped  = "mapped"  // at a port that a router maps
	PathRelayed = "relayed" // by way of a server
)

// pathWord is the word for a state and the kinds of addresses in use: theirs,
// that we send to, and mine, that the other sends to (0 if that is not known).
func pathWord(s wire.State, mine, theirs wire.CandidateKind) string {
	switch {
	case s == wire.StateRelay:
		return PathRelayed
	case s != wire.StateDirect:
		return PathNone
	case mine == wire.CandidateMapped || theirs == wire.CandidateMapped:
		return PathMapped
	case theirs == wire.CandidateHost:
		return PathDirect
	}
	return PathPunched
}

// A ServerStatus is what a server knows at a moment.
type ServerStatus struct {
	Name    string            `json:"name"`
	Listen  []netip.AddrPort  `json:"listen"`
	Started time.Time         `json:"started,omitzero"`
	Clients []ClientStatus    `json:"clients"`
	Packets uint64            `json:"packets_sent"` // datagrams
	Bytes   uint64            `json:"bytes_sent"`   // of payload in them
	Dropped map[string]uint64 `json:"dropped"`      // datagrams and records, by reason
	Full    bool              `json:"full"`         // nobody more is admitted
	Relays  bool              `json:"offers_relay"`
	Relayed RelayStatus       `json:"relayed"`
}

// A RelayStatus is what was carried between nodes.
type RelayStatus struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Refused uint64 `json:"refused"` // packets over a limit
}

// A ClientStatus is one client as its server knows it. Durations are in
// nanoseconds in JSON; what was not measured is null.
type ClientStatus struct {
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Addresses []netip.AddrPort `json:"addresses"`      // as the server sees them
	Local     netip.AddrPort   `json:"local,omitzero"` // as the client sees itself
	Original  bool             `json:"original"`       // knows only the original protocol
	Observes  bool             `json:"observes"`       // only sees who is there: nobody is told of it
	Mapping   string           `json:"mapping"`        // as of RFC 4787; "unknown"
	Filtering string           `json:"filtering"`
	Sent      uint64           `json:"sent"`     // lists
	Received  uint64           `json:"received"` // packets
	Acked     uint64           `json:"acked"`
	RTT       *time.Duration   `json:"rtt_ns"` // to the server, the latest
	Heard     time.Time        `json:"heard"`
	Pairs     []PairStatus     `json:"pairs"` // what it reported
}

// A PairStatus is what a node reported of one peer. A figure that was not
// measured is null in JSON.
type PairStatus struct {
	Peer   string         `json:"peer"`
	Path   string         `json:"path"`   // one of the Path words; with what the peer reported, if it did
	State  string         `json:"state"`  // "trying", "direct", "relay", "failed"
	Mine   string         `json:"mine"`   // kinds of the candidates in use
	Theirs string         `json:"theirs"` //
	Code   string         `json:"code"`   // of the reason, such as "both_hard"; empty if it is direct
	Reason string         `json:"reason"` // why it is not direct, in words
	Hint   string         `json:"hint"`   // what would change that
	RTT    *time.Duration `json:"rtt_ns"`
	Jitter *time.Duration `json:"jitter_ns"`
	Sent   uint64         `json:"sent"` // pings
	Lost   uint64         `json:"lost"`
	Ratio  *float64       `json:"loss_ratio"`
	Since  time.Duration  `json:"since_ns"` // how long it has been so
}

// Status tells what the server knows now; it is zero before Serve.
func (s *Server) Status() ServerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hub
	if h == nil {
		return ServerStatus{}
	}
	st := ServerStatus{
		Name: h.name, Listen: slices.Clone(h.reflect), Started: h.started, Clients: []ClientStatus{},
		Packets: h.packets, Bytes: h.bytes, Dropped: maps.Clone(h.drops), Full: len(h.clients) >= h.limits.clients(),
	}
	for _, c := range h.inOrder() {
		st.Clients = append(st.Clients, h.statusOf(c))
	}
	if r := h.relay; r != nil {
		st.Relays, st.Relayed = true, RelayStatus{r.packets, r.bytes, r.refused}
	}
	return st
}

func (h *hub) statusOf(c *client) ClientStatus {
	st := ClientStatus{
		ID: c.id.String(), Name: c.hello.Name, Addresses: []netip.AddrPort{}, Local: c.local, Original: !c.sonde, Observes: c.observes(),
		Mapping: behaviourWord(c.hello.Mapping), Filtering: behaviourWord(c.hello.Filtering),
		Sent: c.sent, Received: c.received, Acked: c.acked, RTT: c.rtt, Heard: c.main().heard, Pairs: []PairStatus{},
	}
	for _, a := range c.at {
		if a.outside.IsValid() {
			st.Addresses = append(st.Addresses, a.outside)
		}
	}
	for id, f := range c.findings {
		var mine wire.CandidateKind // as the peer says
		if other := h.clients[id]; other != nil {
			mine = other.findings[c.id].Theirs
		}
		st.Pairs = append(st.Pairs, pairStatus(id, f.Finding, mine))
	}
	slices.SortFunc(st.Pairs, func(a, b PairStatus) int { return strings.Compare(a.Peer, b.Peer) })
	return st
}

func pairStatus(id wire.ID, f wire.Finding, mine wire.CandidateKind) PairStatus {
	if mine == 0 {
		mine = f.Mine
	}
	p := PairStatus{
		Peer: id.String(), Path: pathWord(f.State, mine, f.Theirs), State: f.State.String(), Mine: mine.String(), Theirs: f.Theirs.String(),
		Code: ReasonCode(f.Reason), Reason: ReasonText(f.Reason), Hint: hintFor(f.Reason),
		Sent: uint64(f.Sent), Lost: uint64(f.Lost), Since: time.Duration(f.Since) * time.Second,
	}
	if f.RTT > 0 {
		p.RTT = result.Some(time.Duration(f.RTT) * time.Microsecond)
	}
	if f.Jitter > 0 {
		p.Jitter = result.Some(time.Duration(f.Jitter) * time.Microsecond)
	}
	p.Ratio = ratio(p.Lost, p.Sent)
	return p
}

// ratio is n of all; nil of none.
func ratio(n, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	return result.Some(float64(n) / float64(all))
}

// A NodeStatus is what a node knows at a moment.
type NodeStatus struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Local   netip.AddrPort    `json:"local"`
	NAT     NATStatus         `json:"nat"`
	Servers []HomeStatus      `json:"servers"`
	Peers   []PeerStatus      `json:"peers"`
	Dropped map[string]uint64 `json:"dropped"` // datagrams and records, by reason
}

// A HomeStatus is one server as the node knows it.
type HomeStatus struct {
	Name     string         `json:"name"`
	Address  netip.AddrPort `json:"address"`
	Up       bool           `json:"up"`
	Original bool           `json:"original"`              // speaks only the original protocol
	Relays   bool           `json:"offers_relay"`          //
	Seen     netip.AddrPort `json:"seen,omitzero"`         // we, as the server sees us
	Control  netip.AddrPort `json:"seen_control,omitzero"` // our socket for servers, of a Node with Split
	Sent     uint64         `json:"sent"`
	Received uint64         `json:"received"`
	Acked    uint64         `json:"acked"`
	RTT      *time.Duration `json:"rtt_ns"` // the latest
}

// A PeerStatus is one peer as the node knows it.
type PeerStatus struct {
	ID        string         `json:"id"` // empty until an original client has spoken
	Name      string         `json:"name"`
	Original  bool           `json:"original"`         // knows only the original protocol
	Path      string         `json:"path"`             // one of the Path words
	State     string         `json:"state"`            // "trying", "direct", "relay", "failed"
	Kind      string         `json:"kind"`             // of the address in use, "relay", or "none"
	Address   netip.AddrPort `json:"address,omitzero"` // in use
	Mapping   string         `json:"mapping"`          // of its NAT, as it says
	Filtering string         `json:"filtering"`
	Code      string         `json:"code"`   // of the reason; empty if it is direct
	Reason    string         `json:"reason"` // why it is not direct, in words
	Hint      string         `json:"hint"`   // what would change that
	Since     time.Time      `json:"since"`  // it has been so

	Figures PingFigures       `json:"pings"` // since the peer was listed
	Pings   result.RoundTrips `json:"-"`     // the same with all there is
}

// PingFigures are the usual figures of pings. What was not measured is null in
// JSON. Delays are of the latest 600.
type PingFigures struct {
	Sent      uint64         `json:"sent"`
	Replies   uint64         `json:"replies"`
	Lost      uint64         `json:"lost"`
	Ratio     *float64       `json:"loss_ratio"`
	LostOut   *uint64        `json:"lost_out"`
	LostHome  *uint64        `json:"lost_home"`
	Late      uint64         `json:"late"`
	Duplicate uint64         `json:"duplicate"`
	Last      *time.Duration `json:"last_ns"`
	Smoothed  *time.Duration `json:"rtt_ns"`
	Min       *time.Duration `json:"min_ns"`
	Mean      *time.Duration `json:"mean_ns"`
	Max       *time.Duration `json:"max_ns"`
	P50       *time.Duration `json:"p50_ns"`
	P90       *time.Duration `json:"p90_ns"`
	P99       *time.Duration `json:"p99_ns"`
	Jitter    *time.Duration `json:"jitter_ns"` // RFC 3550, 6.4.1
}

// Status tells what the node knows now; it is zero before Run. The sink must not
// call it from Put.
func (n *Node) Status() NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.agent
	if a == nil {
		return NodeStatus{}
	}
	st := NodeStatus{
		ID: a.id.String(), Name: a.name, Local: a.local, NAT: a.found,
		Servers: []HomeStatus{}, Peers: []PeerStatus{}, Dropped: maps.Clone(a.drops),
	}
	st.NAT.Mapped = a.port
	if !st.NAT.Known {
		st.NAT.Mapping, st.NAT.Filtering = behaviourWord(wire.BehaviourUnknown), behaviourWord(wire.BehaviourUnknown)
	}
	if st.NAT.Remarks == nil {
		st.NAT.Remarks = []string{}
	}
	for _, s := range a.servers {
		st.Servers = append(st.Servers, HomeStatus{
			Name: s.name, Address: s.at, Up: s.up, Original: s.up && !s.sonde, Relays: s.hello.Can&wire.OffersRelay != 0,
			Seen: s.seen, Control: s.controlSeen, Sent: s.sent, Received: s.received, Acked: s.acked, RTT: s.rtt,
		})
	}
	for _, p := range a.sorted() {
		st.Peers = append(st.Peers, a.statusOf(p))
	}
	return st
}

func (a *agent) statusOf(p *peer) PeerStatus {
	mine, theirs := a.kinds(p)
	st := PeerStatus{
		Name: p.name, Original: !p.sonde, Path: pathWord(p.state, mine, theirs), State: p.state.String(), Kind: theirs.String(),
		Mapping: behaviourWord(p.nat.mapping), Filtering: behaviourWord(p.nat.filtering),
		Code: ReasonCode(p.reason), Reason: ReasonText(p.reason), Hint: hintFor(p.reason), Since: p.since,
		Figures: p.tally.figures(), Pings: p.tally.result(0),
	}
	if p.hasID {
		st.ID = p.id.String()
	}
	if p.use != nil {
		st.Address = p.use.At
	}
	return st
}

// kinds are those of the addresses in use: mine, as far as it can be told, and
// theirs. A peer whose NAT and ours could not meet reaches us at our mapped port.
func (a *agent) kinds(p *peer) (mine, theirs wire.CandidateKind) {
	switch {
	case p.use != nil:
		mine, theirs = wire.CandidateHost, p.use.Kind
		if meet, _ := outlook(a.nat, p.nat); a.mapping != nil && theirs == wire.CandidatePeer && !meet {
			mine = wire.CandidateMapped
		}
	case p.via != nil:
		mine, theirs = wire.CandidateRelay, wire.CandidateRelay
	}
	return mine, theirs
}

// figures are the usual ones of a result.
func (t *tally) figures() PingFigures {
	r := t.result(0)
	f := PingFigures{
		Sent: r.Sent, Replies: r.Replies, Lost: r.Lost, Ratio: ratio(r.Lost, r.Sent),
		LostOut: r.LostOut, LostHome: r.LostHome, Late: r.Late, Duplicate: r.Duplicate,
	}
	for i := len(t.window) - 1; i >= 0; i-- {
		if t.window[i].fate == answered {
			f.Last = result.Some(t.window[i].rtt)
			break
		}
	}
	if r.Replies > 0 {
		f.Smoothed = result.Some(t.smoothed)
	}
	if r.RTT != nil {
		d := r.RTT.Delay
		f.Min, f.Mean, f.Max, f.P50, f.P90, f.P99, f.Jitter = &d.Min, &d.Mean, &d.Max, &d.P50, &d.P90, &d.P99, r.RTT.Jitter
	}
	return f
}
