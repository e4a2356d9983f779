package stream

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// nowhere takes every train and has nothing to read.
type nowhere struct{ sock.PacketConn }

func (nowhere) WriteTrain(buf []byte, size int, _ netip.AddrPort) (int, error) {
	return (len(buf) + size - 1) / size, nil
}

func (nowhere) Dropped() (uint64, bool) { return 0, true }

// BenchmarkSend is what a train costs beside the system call.
func BenchmarkSend(b *testing.B) {
	to := netip.MustParseAddrPort("127.0.0.1:9")
	for _, size := range []int{64, 1450} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := &Sender{Conn: nowhere{}, To: func() netip.AddrPort { return to }, Size: size, Stamp: stamp, Overhead: 28}
			t := newTrains(s, false)
			b.ReportAllocs()
			for b.Loop() {
				if err := t.next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(s.packets.Load()), "ns/packet")
		})
	}
}

// BenchmarkReceive is what a batch of joined trains costs beside the system call.
func BenchmarkReceive(b *testing.B) {
	from := netip.MustParseAddrPort("127.0.0.1:9")
	for _, size := range []int{64, 1450} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := &Receiver{Conn: nowhere{}, Parse: parse, Header: 4, Overhead: 28}
			t := newBatches(r)
			n := trainLength(size) / trainPieces
			ms := make([]sock.Message, joinedBatch)
			t.whose, t.mine = make([]*source, joinedBatch), make([]bool, joinedBatch)
			for i := range ms {
				ms[i] = sock.Message{Data: make([]byte, n*size), Len: n * size, Segment: size, From: from}
			}
			b.ReportAllocs()
			seq := uint32(0)
			for b.Loop() {
				b.StopTimer()
				for i := range ms {
					for at := 0; at < n*size; at += size {
						stamp(ms[i].Data[at:], uint64(seq), time.Time{})
						seq++
					}
				}
				b.StartTimer()
				if err := t.take(ms, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seq), "ns/packet")
		})
	}
}
