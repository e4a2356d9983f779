package mesh

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// agentAlone is an agent without servers, at 192.0.2.1.
func agentAlone(out func(netip.AddrPort, []byte)) *agent {
	return &agent{
		id: wire.ID{1}, interval: pingEvery, sink: result.Discard, log: slog.New(slog.DiscardHandler), local: netip.MustParseAddrPort("192.0.2.1:5000"),
		peers: map[peerKey]*peer{}, byAddress: map[netip.AddrPort]*peer{}, drops: map[string]uint64{}, out: out,
	}
}

// The second round of a search tries more than the first, and the third something
// else again; an answer from there is a way.
func TestRounds(t *testing.T) {
	listed := netip.MustParseAddrPort("198.51.100.7:5000")
	var to []netip.AddrPort
	var last []byte
	a := agentAlone(func(at netip.AddrPort, b []byte) { to, last = append(to, at), b })
	l := listing{entry: wire.Entry{ID: wire.ID{2}, Mapping: wire.EndpointIndependent, Filtering: wire.AddressPortDependent, Name: "b",
		Candidates: []wire.Candidate{{Kind: wire.CandidateReflexive, At: listed}}}}
	p := a.meet(start, peerKey{id: wire.ID{2}}, l)
	a.update(start, p, l)
	during := func(from, until float64) []netip.AddrPort {
		to = nil
		for now := at(from); now.Before(at(until)); now = now.Add(tick) {
			a.due(now)
		}
		slices.SortFunc(to, netip.AddrPort.Compare)
		return slices.Compact(to)
	}
	if got := during(0, 9); !slices.Equal(got, []netip.AddrPort{listed}) {
		t.Errorf("first round: %v", got)
	}
	second := during(9, 29)
	if len(second) != 1+guessesARound || !slices.Contains(second, listed) {
		t.Errorf("second round: %v", second)
	}
	third := during(29, 36)
	for _, other := range third {
		if other != listed && slices.Contains(second, other) {
			t.Errorf("third round: %v again", other)
		}
	}
	if len(third) != 1+guessesARound {
		t.Errorf("third round: %v", third)
	}
	// The peer answers the latest check, from there.
	i := slices.IndexFunc(third, func(at netip.AddrPort) bool { return at != listed })
	check := packet(t, last)
	pong := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseSonde, ID: wire.ID{2}, Echo: check.Stamp}
	m := message{Packet: pong, from: third[i], at: at(36)}
	a.fromPeer(at(36), p, &m)
	if p.use == nil || p.use.At != third[i] || p.state != wire.StateDirect {
		t.Errorf("an answer from %v: %+v", third[i], p.use)
	}
	// What answers from anywhere else is not used.
	stranger := m
	stranger.from = netip.MustParseAddrPort("203.0.113.9:9")
	a.fromPeer(at(36), p, &stranger)
	if p.tryAt(stranger.from) != nil {
		t.Error("an address that nobody sent to is used")
	}
}

// steady is what a node finds of a NAT that gives each destination the next port.
func steady() nat.Report {
	step := 1
	r := nat.Report{Reflexive: netip.MustParseAddrPort("198.51.100.7:40000"), Mapping: nat.AddressPortDependent, Step: &step}
	for port := range uint16(3) {
		r.Reflections = append(r.Reflections, nat.Reflection{Seen: netip.AddrPortFrom(r.Reflexive.Addr(), 40000+port)})
	}
	return r
}

// foretold are the ports that such a node offers.
func foretold() []wire.Candidate {
	a := agentAlone(nil)
	a.foresee(start, steady())
	return a.extra
}

// Ports that can be foretold are offered as soon as they are, and anew for each
// peer that is met later; of other NATs nobody is told before the filter is known.
func TestForesee(t *testing.T) {
	var sent [][]byte
	a := agentAlone(func(_ netip.AddrPort, b []byte) { sent = append(sent, b) })
	a.servers = []*home{{at: netip.MustParseAddrPort("192.0.2.9:23456"), up: true, sonde: true}}
	chance := steady()
	chance.Step = nil
	a.foresee(start, chance)
	if len(sent) != 0 || a.nat != (natKind{}) {
		t.Errorf("without a step: %d packets, %+v", len(sent), a.nat)
	}
	a.foresee(start, steady())
	if len(sent) != 1 {
		t.Fatalf("%d packets", len(sent))
	}
	records, err := wire.ParseRecords(packet(t, sent[0]).Ext)
	if err != nil {
		t.Fatal(err)
	}
	var offered wire.Candidates
	for _, r := range records {
		if r.Type == wire.RecordCandidates {
			offered, err = wire.ParseCandidates(r.Value)
		}
	}
	if err != nil || len(offered) != predictions {
		t.Fatalf("offered %v, %v", offered, err)
	}
	for i, c := range offered {
		want := uint16(39999 - i)
		if i >= predictionsBefore {
			want = uint16(40003 + i - predictionsBefore)
		}
		if c.Kind != wire.CandidatePredicted || c.At.Port() != want {
			t.Errorf("offered %d: %+v, want port %d", i, c, want)
		}
	}
	if a.nat != (natKind{wire.SteadyStep, wire.BehaviourUnknown}) || a.found.Known || a.isAwaited() {
		t.Errorf("known: %+v, %v; awaited %v", a.nat, a.found.Known, a.isAwaited())
	}

	hard := wire.Entry{ID: wire.ID{2}, Mapping: wire.AddressPortDependent, Filtering: wire.AddressPortDependent}
	a.nat.filtering = wire.AddressPortDependent
	a.update(at(1), a.meet(at(1), peerKey{id: hard.ID}, listing{entry: hard}), listing{entry: hard})
	if a.isAwaited() {
		t.Error("a peer that can use no port of ours waits for one")
	}
	easy := wire.Entry{ID: wire.ID{3}, Mapping: wire.EndpointIndependent, Filtering: wire.AddressPortDependent}
	p := a.meet(at(2), peerKey{id: easy.ID}, listing{entry: easy})
	if a.update(at(2), p, listing{entry: easy}); !a.isAwaited() {
		t.Error("a peer that was met later is forgotten")
	}
	if a.foresee(at(2.1), steady()); a.isAwaited() {
		t.Error("one peer is looked for twice")
	}
}

// What a Punch names is what is foretold now.
func TestPunchForetellsAnew(t *testing.T) {
	a := agentAlone(func(netip.AddrPort, []byte) {})
	old := foretold()
	l := listing{entry: wire.Entry{ID: wire.ID{2}, Mapping: wire.SteadyStep, Candidates: append(old, wire.Candidate{Kind: wire.CandidateReflexive, At: steady().Reflexive})}}
	p := a.meet(start, peerKey{id: wire.ID{2}}, l)
	a.update(start, p, l)
	now := wire.Candidate{Kind: wire.CandidatePredicted, At: netip.MustParseAddrPort("198.51.100.7:50000")}
	a.punch(at(0.1), wire.Punch{Nonce: 7, Peer: wire.ID{2}, Candidates: []wire.Candidate{now}})
	if len(p.tries) != 2 || p.tryAt(now.At) == nil || p.tryAt(steady().Reflexive) == nil {
		t.Errorf("to try: %+v", p.listedCandidates())
	}
}

// A round tries each of the few ports that are foretold as often as any address,
// and none where that is in vain: with a path, or from a NAT of ours that gives us
// a port for it that the peer does not know.
func TestForetold(t *testing.T) {
	easy, hard := natKind{wire.EndpointIndependent, wire.AddressPortDependent}, natKind{wire.AddressPortDependent, wire.AddressPortDependent}
	steps := natKind{wire.SteadyStep, wire.AddressPortDependent}
	const checks = 16 // of one address in a round
	for _, tt := range []struct {
		name   string
		ours   natKind
		theirs wire.Behaviour // filtering
		want   int
	}{
		{"easy", easy, wire.AddressPortDependent, checks * predictions},
		{"not known", natKind{}, wire.BehaviourUnknown, checks * predictions},
		{"easy, theirs not known", easy, wire.BehaviourUnknown, checks * predictions},
		{"hard", hard, wire.AddressPortDependent, 0},
		{"both foretold", steps, wire.AddressPortDependent, 0},
		{"hard, theirs not known", hard, wire.BehaviourUnknown, 0},
		{"hard, theirs looks at the host", hard, wire.AddressDependent, checks * predictions},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := map[netip.AddrPort]int{}
			var last []byte
			a := agentAlone(func(at netip.AddrPort, b []byte) { sent[at]++; last = b })
			a.nat = tt.ours
			ports := foretold()
			listed := wire.Candidate{Kind: wire.CandidateReflexive, At: steady().Reflexive}
			l := listing{entry: wire.Entry{ID: wire.ID{2}, Mapping: wire.SteadyStep, Filtering: tt.theirs, Candidates: append(ports, listed)}}
			p := a.meet(start, peerKey{id: wire.ID{2}}, l)
			a.update(start, p, l)
			during := func(from, until float64) int {
				clear(sent)
				for now := at(from); now.Before(at(until)); now = now.Add(tick) {
					a.due(now)
				}
				n := 0
				for _, c := range ports {
					n += sent[c.At]
				}
				return n
			}
			if n := during(0, 9); n != tt.want || sent[listed.At] != checks {
				t.Errorf("%d checks of ports that are foretold, want %d; %d of the address that is listed", n, tt.want, sent[listed.At])
			}
			if tt.want == 0 {
				return
			}
			// In the next round the last one answers.
			a.due(at(10))
			from := ports[len(ports)-1].At
			a.check(at(10), p, p.tryAt(from))
			pong := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseSonde, ID: wire.ID{2}, Echo: packet(t, last).Stamp}
			a.fromPeer(at(10), p, &message{Packet: pong, from: from, at: at(10)})
			if p.use == nil || p.use.At != from {
				t.Fatalf("in use: %+v", p.use)
			}
			all := during(10.01, 12)
			if n := all - sent[from]; n != 0 {
				t.Errorf("%d checks of ports that are foretold, with a path", n)
			}
		})
	}
}

// An address that comes to be known later is tried at once, and the relay does
// not wait longer for it.
func TestRelayDoesNotWait(t *testing.T) {
	var to []netip.AddrPort
	a := agentAlone(func(at netip.AddrPort, _ []byte) { to = append(to, at) })
	key := peerKey{id: wire.ID{2}}
	l := listing{entry: wire.Entry{ID: key.id, Candidates: []wire.Candidate{{Kind: wire.CandidateReflexive, At: steady().Reflexive}}}}
	s := &home{at: netip.MustParseAddrPort("192.0.2.9:23456"), up: true, sonde: true, heard: start, registered: at(3), hello: wire.Hello{Can: wire.OffersRelay}, listed: map[peerKey]listing{key: l}}
	a.servers = []*home{s}
	p := a.meet(start, key, l)
	a.update(start, p, l)
	for now := start; now.Before(at(1.5)); now = now.Add(tick) {
		a.due(now)
	}
	l.entry.Candidates = append(l.entry.Candidates, foretold()...)
	a.update(at(1.5), p, l)
	to = nil
	a.due(at(1.5))
	if len(to) != 1+predictions {
		t.Errorf("%d addresses are tried", len(to))
	}
	for now := at(1.51); !now.After(at(2)); now = now.Add(tick) {
		a.due(now)
	}
	if p.state != wire.StateTrying {
		t.Errorf("after 2 s: %v", p.state)
	}
	if a.due(at(2.01)); p.state != wire.StateRelay {
		t.Errorf("after 2.01 s: %v", p.state)
	}
}
