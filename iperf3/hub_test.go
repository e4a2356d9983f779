package iperf3

import (
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// TestJoinedOutOfOrder: what the network has put out of order, doubled or lost counts
// as such when the kernel has joined it, as it would have one by one.
func TestJoinedOutOfOrder(t *testing.T) {
	const size = 100
	type counts struct {
		packets                  uint64
		lost                     int64
		reordered, late, repeats uint64
	}
	for name, tt := range map[string]struct {
		trains [][]uint64
		tail   int // bytes of a shorter datagram at the end of the last
		want   counts
	}{
		"in order":             {trains: [][]uint64{{1, 2, 3}, {4, 5}}, want: counts{packets: 5}},
		"first two swapped":    {trains: [][]uint64{{1, 2}, {4, 3, 5}, {6}}, want: counts{packets: 6, reordered: 1}},
		"late at the head":     {trains: [][]uint64{{1, 3, 4}, {2, 5, 6}}, want: counts{packets: 6, reordered: 1}},
		"doubled within":       {trains: [][]uint64{{1, 2, 2, 3}, {4}}, want: counts{packets: 5, repeats: 1}},
		"old at the head":      {trains: [][]uint64{{1, 2, 3}, {1, 4, 5, 6}}, want: counts{packets: 7, repeats: 1}},
		"lost in the last":     {trains: [][]uint64{{1, 2}, {3, 5}}, want: counts{packets: 4, lost: 1}},
		"a hello at the end":   {trains: [][]uint64{{1, 2}, {3, 4}}, tail: wire.HelloLen, want: counts{packets: 4}},
		"a shorter one behind": {trains: [][]uint64{{1, 2}, {3, 4}}, tail: 50, want: counts{packets: 5}},
	} {
		for _, wide := range []bool{false, true} {
			p := &plan{Parameters: wire.Parameters{UDP: true, Length: size, Counters64: wide}}
			port := &port{hub: newHub(nil), some: make(chan struct{}, 1), most: leastQueued}
			port.counters64.Store(wide)
			r := p.newUDPReceiver(port, port.from)
			for n, train := range tt.trains {
				var b []byte
				for _, seq := range train {
					b = append(b, make([]byte, size)...)
					wire.Header{Seq: seq, Sent: time.Second}.Put(b[len(b)-size:], wide)
				}
				if n == len(tt.trains)-1 && tt.tail > 0 {
					b = append(b, make([]byte, tt.tail)...)
					if tt.tail > wire.HelloLen {
						wire.Header{Seq: train[len(train)-1] + 1, Sent: time.Second}.Put(b[len(b)-tt.tail:], wide)
					}
				}
				m := &sock.Message{Data: b, Len: len(b), Segment: size}
				if len(b) == size {
					m.Segment = 0
				}
				port.putTrain(m)
			}
			v := receiveAll(t, r, port)
			got := counts{*v.Packets, *v.Lost, *v.Reordered, *v.Late, *v.Duplicate}
			if got != tt.want {
				t.Errorf("%s, 64 bits %v: %+v, want %+v", name, wide, got, tt.want)
			}
		}
	}
}

// receiveAll is what r counts of all that is queued.
func receiveAll(t *testing.T, r *udpReceiver, p *port) result.View {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- r.run(t.Context()) }()
	for end := time.Now().Add(5 * time.Second); ; {
		p.mu.Lock()
		left := len(p.queue) + len(p.spare) - p.next
		p.mu.Unlock()
		if left == 0 || time.Now().After(end) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.Close()
	if err := <-done; err == nil {
		t.Error("it did not end with its port")
	}
	return r.view()
}
