package twamp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testrace"
	"github.com/sonde-net/sonde/twamp/wire"
)

// stampPacket is a STAMP packet of a number and a size.
func stampPacket(seq uint32, size int) []byte {
	b := wire.Request{Seq: seq, SSID: 1}.Append(nil, wire.Layout{STAMP: true})
	return append(b, make([]byte, size-len(b))...)
}

func came(from string, segment int, b ...[]byte) datagram {
	d := datagram{room: bytes.Join(b, nil), segment: segment}
	d.n = len(d.room)
	d.arrival = arrival{From: netip.MustParseAddrPort(from), To: netip.MustParseAddrPort("192.0.2.2:862"), At: time.Now(), TTL: 255}
	return d
}

// Several requests that came joined are answered one by one, and the answers
// leave joined as far as they are alike.
func TestTrains(t *testing.T) {
	const from = "192.0.2.1:4000"
	r := &responder{open: (&Reflector{}).rules(862), sessions: map[netip.AddrPort]*session{}}
	train := came(from, 60, stampPacket(1, 60), stampPacket(2, 60), stampPacket(3, 50))
	broken := came(from, 50, stampPacket(4, 50), make([]byte, 50), stampPacket(6, 50), []byte("no"))
	alone := came("192.0.2.9:4000", 0, stampPacket(7, 60))
	var box outbox
	ds := []datagram{train, broken, alone}
	if n := r.answer(ds, &box); n != len(ds) {
		t.Fatalf("%d answered", n)
	}
	want := []struct {
		to      string
		segment int
		size    int
	}{{from, 60, 170}, {from, 50, 150}, {"192.0.2.9:4000", 0, 60}}
	if len(box.parcels) != len(want) {
		t.Fatalf("%d parcels, want %d", len(box.parcels), len(want))
	}
	var numbers []uint32
	for i, p := range box.parcels {
		if p.to.String() != want[i].to || p.segment != want[i].segment || len(p.b) != want[i].size || p.from.String() != "192.0.2.2" {
			t.Errorf("parcel %d: %d octets by %d to %v from %v", i, len(p.b), p.segment, p.to, p.from)
		}
		_, err := eachSegment(box.parcels[i:i+1], func(b []byte, _ *parcel) error {
			numbers = append(numbers, must[wire.Reply](t)(wire.ParseReply(b, wire.Layout{STAMP: true})).SenderSeq)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if len(numbers) != 7 || numbers[0] != 1 || numbers[2] != 3 || numbers[6] != 7 {
		t.Errorf("answers to %v", numbers)
	}
	if r.counts[reflected] != 7 || r.counts[tooShort] != 1 {
		t.Errorf("counts %v", r.counts)
	}
}

// A box that is full is sent before more is answered.
func TestFullBox(t *testing.T) {
	r := &responder{open: (&Reflector{}).rules(862), sessions: map[netip.AddrPort]*session{}}
	var ds []datagram
	for i := range uint32(10) {
		ds = append(ds, came("192.0.2.1:4000", 0, stampPacket(i, 60000)))
	}
	var box outbox
	if n := r.answer(ds, &box); n != 5 || len(box.parcels) != 5 {
		t.Errorf("%d answered, %d in the box", n, len(box.parcels))
	}
	for i, p := range box.parcels { // also those from before it grew
		if got := must[wire.Reply](t)(wire.ParseReply(p.b, wire.Layout{STAMP: true})).SenderSeq; got != uint32(i) || len(p.b) != 60000 {
			t.Errorf("parcel %d answers %d with %d octets", i, got, len(p.b))
		}
	}
}

func TestAnswersDoNotAllocate(t *testing.T) {
	r := &responder{open: (&Reflector{Rate: -1}).rules(862), sessions: map[netip.AddrPort]*session{}}
	request := stampPacket(1, 60)
	ds := []datagram{came("192.0.2.1:4000", 60, bytes.Repeat(request, 20)), came("192.0.2.1:4001", 0, request)}
	var box outbox
	if n := testing.AllocsPerRun(100, func() {
		r.answer(ds, &box)
		box.empty()
	}); n != 0 && !testrace.Enabled {
		t.Errorf("%v allocations for 21 packets", n)
	}
}

// Replies of sessions that ask for Follow-Up Telemetry are stamped, and the next
// one tells; a reply that could not be sent does not confuse which is which.
func TestFollowUps(t *testing.T) {
	p := &leaky{}
	r := newResponder(p, (&Reflector{Correct: true}).rules(862))
	r.correct = true
	ask := append(stampPacket(1, 44), byte(wire.Unrecognized), byte(wire.FollowUpType), 0, 16)
	ask = append(ask, make([]byte, 16)...)
	var box outbox
	said := func(fails bool) (told wire.FollowUp, t3 time.Time) {
		p.fails = fails
		r.answer([]datagram{came("192.0.2.1:4000", 0, ask)}, &box)
		reply := box.parcels[0].b
		if !box.parcels[0].stamp {
			t.Fatal("no stamp is asked for")
		}
		r.send(&box)
		tlv, _, err := wire.ParseTLV(reply[44:])
		if err != nil {
			t.Fatal(err)
		}
		return must[wire.FollowUp](t)(wire.ParseFollowUp(tlv.Value)), must[wire.Reply](t)(wire.ParseReply(reply, wire.Layout{STAMP: true})).Sent.Time(false, time.Now())
	}
	if told, _ := said(false); told != (wire.FollowUp{}) {
		t.Errorf("the first reply tells %+v", told)
	}
	for n := range uint32(40) {
		_, t3 := said(false)
		left := t3.Add(-r.lag).Add(5 * time.Microsecond)
		p.left(p.stamped-1, left)
		told, _ := said(n%10 == 9)
		p.left(1<<20, left) // of nothing
		if d := told.Sent.Time(false, left).Sub(left).Abs(); told.Method != wire.SoftwareLocal || d > 1 {
			t.Fatalf("step %d: told %+v, %v off", n, told, d)
		}
	}
	if d := r.lag - 5*time.Microsecond; d.Abs() > 2 {
		t.Errorf("learnt a lag of %v", r.lag)
	}
	if r.counts[unsent] != 4 || p.recounts != 4 {
		t.Errorf("%d unsent, counted afresh %d times", r.counts[unsent], p.recounts)
	}
}

// A leaky port sends nothing, and fails if told.
type leaky struct {
	plainPort
	fails    bool
	stamped  uint32
	recounts int
	left     func(uint32, time.Time)
}

func (p *leaky) stamps(f func(uint32, time.Time)) bool {
	p.left = f
	return true
}

func (p *leaky) recount() error {
	p.stamped = 0
	p.recounts++
	return nil
}

func (p *leaky) write(ps []parcel) (int, error) {
	if p.fails {
		return 0, errDeclined
	}
	for _, one := range ps {
		if one.ready != nil {
			one.ready()
		}
		if one.stamp {
			p.stamped++
		}
	}
	return len(ps), nil
}
