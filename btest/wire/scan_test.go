package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// stream is zeros with statuses at the given places, and how many bytes of it
// are data.
func stream(zeros int, every int, cpu uint8) (b []byte, data int, sent []Status) {
	seq := uint32(0)
	for n := 0; n < zeros; n += every {
		b = append(b, make([]byte, every)...)
		seq++
		s := Status{CPU: cpu, Seq: seq, Received: 0x07000007}
		sent = append(sent, s)
		b, _ = s.AppendBinary(b)
		data += every
	}
	return b, data, sent
}

// TestScannerSplits cuts a stream at every place, a status at each of its
// twelve offsets among them.
func TestScannerSplits(t *testing.T) {
	for _, cpu := range []uint8{0, 7, 42, 100, NoCPU} {
		b, data, sent := stream(90, 30, cpu)
		for at := range b {
			var s Scanner
			var got []Status
			n := s.Scan(b[:at], func(st Status) { got = append(got, st) })
			n += s.Scan(b[at:], func(st Status) { got = append(got, st) })
			if n+s.Rest() != data || len(got) != len(sent) {
				t.Fatalf("cpu %d, cut at %d: %d data and %d statuses, want %d and %d", cpu, at, n+s.Rest(), len(got), data, len(sent))
			}
			for i := range got {
				if got[i] != sent[i] {
					t.Fatalf("cpu %d, cut at %d: status %d = %+v, want %+v", cpu, at, i, got[i], sent[i])
				}
			}
		}
	}
}

func TestScannerByteByByte(t *testing.T) {
	b, data, sent := stream(1000, 100, 12)
	var s Scanner
	var n, found int
	for i := range b {
		n += s.Scan(b[i:i+1], func(Status) { found++ })
	}
	if n+s.Rest() != data || found != len(sent) {
		t.Fatalf("%d data and %d statuses, want %d and %d", n, found, data, len(sent))
	}
}

// TestScannerBlockMarks is what btest-opensource sends: each block begins with
// 07 00 00 00 01. Only the first may be taken for a status.
func TestScannerBlockMarks(t *testing.T) {
	block := append([]byte{7, 0, 0, 0, 1}, make([]byte, 1000)...)
	b := bytes.Repeat(block, 50)
	var s Scanner
	found := 0
	n := s.Scan(b, func(Status) { found++ })
	if found > 1 || n+s.Rest() < len(b)-StatusLen {
		t.Fatalf("%d statuses, %d of %d bytes are data", found, n, len(b))
	}
}

// TestScannerRandom looks for false statuses in random data as we make it and
// as others may: with and without the marking byte.
func TestScannerRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 1<<20)
	for _, ours := range []bool{true, false} {
		s := Scanner{Random: true}
		for range 64 {
			if ours {
				FillRandom(b, r.Uint64)
			} else {
				for i := range b {
					b[i] = byte(r.Uint64())
				}
			}
			if n := s.Scan(b, func(st Status) { t.Fatalf("ours %v: random data was taken for %+v", ours, st) }); ours && n != len(b) {
				t.Fatalf("%d of %d random bytes are data", n, len(b))
			}
		}
	}
}

func TestScannerStatusInRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s Scanner
	s.Random = true
	block := make([]byte, 1000)
	var total, found int
	for seq := uint32(1); seq <= 20; seq++ {
		FillRandom(block, r.Uint64)
		b, _ := Status{CPU: 50, Seq: seq, Received: 7}.AppendBinary(bytes.Clone(block))
		total += s.Scan(b, func(st Status) {
			found++
			if st.Seq != seq {
				t.Fatalf("status %d has number %d", seq, st.Seq)
			}
		})
	}
	if found != 20 || total != 20*len(block) {
		t.Fatalf("%d statuses and %d data, want 20 and %d", found, total, 20*len(block))
	}
}

// FuzzScanner cuts any stream in two ways and wants the same of both, and no
// byte counted twice or lost.
func FuzzScanner(f *testing.F) {
	b, _, _ := stream(60, 20, 3)
	f.Add(b, 7, false)
	f.Add([]byte{7, 0, 0, 0, 1, 0, 0, 0}, 3, true)
	f.Fuzz(func(t *testing.T, b []byte, at int, random bool) {
		if at < 0 || at > len(b) {
			return
		}
		whole, cut := Scanner{Random: random}, Scanner{Random: random}
		var a, c []Status
		n := whole.Scan(b, func(s Status) { a = append(a, s) })
		m := cut.Scan(b[:at], func(s Status) { c = append(c, s) })
		m += cut.Scan(b[at:], func(s Status) { c = append(c, s) })
		if n != m || len(a) != len(c) || whole.Rest() != cut.Rest() {
			t.Fatalf("cut at %d: %d data, %d statuses, %d rest; whole: %d, %d, %d", at, m, len(c), cut.Rest(), n, len(a), whole.Rest())
		}
		if n+whole.Rest()+len(a)*StatusLen != len(b) {
			t.Fatalf("%d data, %d held, %d statuses of %d bytes", n, whole.Rest(), len(a), len(b))
		}
	})
}

func BenchmarkScanZeros(b *testing.B) {
	in := make([]byte, 1<<20)
	var s Scanner
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		s.Scan(in, func(Status) { b.Fatal("a status in zeros") })
	}
}
