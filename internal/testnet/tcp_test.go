package testnet

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs f with two hosts, the client's links as given.
func bubble(t *testing.T, up, down Link, f func(t *testing.T, client, server *Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var n Network
		server := n.Host(Link{}, Link{}, "192.0.2.1", "2001:db8::1")
		f(t, n.Host(up, down, "192.0.2.2", "2001:db8::2"), server)
	})
}

// pairOf connects two hosts by TCP and takes the deadlines away.
func pairOf(t *testing.T, client, server *Host) (a, b net.Conn) {
	t.Helper()
	a, b = pair(t, place{client: client, server: server, from: "192.0.2.2", to: "192.0.2.1"})
	a.SetDeadline(time.Time{})
	b.SetDeadline(time.Time{})
	return a, b
}

// download has b write until closed, and counts what a reads from one moment to
// another.
func download(a, b net.Conn, from, to time.Time) (bytes int) {
	go func() {
		block := make([]byte, 1460*960) // whole segments for both MTUs used here
		for {
			if _, err := b.Write(block); err != nil {
				return
			}
		}
	}()
	p := make([]byte, 1<<20)
	for {
		n, err := a.Read(p)
		now := time.Now()
		if err != nil || !now.Before(to) {
			a.Close()
			b.Close()
			return bytes
		}
		if !now.Before(from) {
			bytes += n
		}
	}
}

func TestStreamRateIsExact(t *testing.T) {
	for _, tt := range []struct {
		rate uint64
		mtu  int
		want int // bytes in 5 s: whole segments
	}{
		{12_000_000, 0, 5 * 1000 * 1460},
		{12_000_000, 1000, 5 * 1500 * 960},
		{1_200_000, 0, 5 * 100 * 1460},
		{24_000_000, 0, 5 * 2000 * 1460},
	} {
		t.Run(fmt.Sprint(tt.rate, " ", tt.mtu), func(t *testing.T) {
			bubble(t, Link{Delay: 5 * ms}, Link{Delay: 5 * ms, Rate: tt.rate, MTU: tt.mtu}, func(t *testing.T, client, server *Host) {
				a, b := pairOf(t, client, server)
				from := time.Now().Add(5 * time.Second)
				if got := download(a, b, from, from.Add(5*time.Second)); got != tt.want {
					t.Errorf("%d bytes in 5 s, want %d", got, tt.want)
				}
			})
		})
	}
}

// Loss that a full window recovers from makes a stream slower, and no byte goes
// missing: the congestion window is what RFC 5681 says.
func TestLossSlowsStreams(t *testing.T) {
	took := func(loss Pick) (d time.Duration, did Counts) {
		link := Link{Delay: 20 * ms, Rate: 100_000_000, Seed: 1}
		bubble(t, link, link, func(t *testing.T, client, server *Host) {
			a, b := pairOf(t, client, server)
			start := time.Now()
			client.Down.Set(Link{Delay: 20 * ms, Rate: 100_000_000, Loss: loss})
			sent := noise(1_000_000)
			go func() {
				b.Write(sent)
				b.Close()
			}()
			got, err := io.ReadAll(a)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
			}
			d, did = time.Since(start), client.Down.Counts()
		})
		return d, did
	}
	clean, _ := took(nil)
	lossy, did := took(Every(50))
	if did.Lost == 0 || lossy < 2*clean {
		t.Errorf("%v without loss, %v with %d lost", clean, lossy, did.Lost)
	}
	again, didAgain := took(Every(50))
	if again != lossy || did != didAgain {
		t.Errorf("the same again took %v, %+v and not %v, %+v", again, didAgain, lossy, did)
	}
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// Whatever the links do, the bytes come in order, both ways at once, and both
// ends see the end.
func TestStreamsAreReliable(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 0))
		link := func() Link {
			return Link{
				Delay: time.Duration(r.IntN(30)) * ms, Jitter: time.Duration(r.IntN(5)) * ms,
				Loss: Share(r.Float64() * 0.2), Duplicate: Share(r.Float64() * 0.1), Reorder: Share(r.Float64() * 0.1),
				Rate: 1_000_000 << r.IntN(6), Queue: 3000 << r.IntN(6), MTU: 576 + r.IntN(1000), Seed: seed,
			}
		}
		up, down := link(), link()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, up, down, func(t *testing.T, client, server *Host) {
				a, b := pairPatiently(t, client, server)
				var wg sync.WaitGroup
				for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
					sent := noise(100_000)
					wg.Go(func() {
						way[0].Write(sent)
						way[0].(*conn).CloseWrite()
					})
					wg.Go(func() {
						if got, err := io.ReadAll(way[1]); err != nil || !bytes.Equal(got, sent) {
							t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

// pairPatiently is pairOf for links so bad that the 10 s of pair are too short.
func pairPatiently(t *testing.T, client, server *Host) (a, b net.Conn) {
	t.Helper()
	l, err := server.Listen(t.Context(), "tcp", ":2000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = client.DialContext(t.Context(), "tcp", "192.0.2.1:2000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

func TestManyStreamsShareTheLink(t *testing.T) {
	const streams = 20
	bubble(t, Link{Delay: 5 * ms}, Link{Delay: 5 * ms, Rate: 24_000_000, Queue: 100_000}, func(t *testing.T, client, server *Host) {
		l, err := server.Listen(t.Context(), "tcp", ":2000")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		sum := 0
		from := time.Now().Add(5 * time.Second)
		for range streams {
			a, err := client.DialContext(t.Context(), "tcp", "192.0.2.1:2000")
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				n := download(a, b, from, from.Add(5*time.Second))
				mu.Lock()
				defer mu.Unlock()
				sum += n
			})
		}
		wg.Wait()
		most := 5 * 2000 * 1460
		if sum < most*97/100 || sum > most*103/100 {
			t.Errorf("%d bytes in 5 s, want about %d", sum, most)
		}
		if client.Down.Counts().TailDropped == 0 {
			t.Error("20 streams never filled the queue")
		}
	})
}

// A link that waits drops nothing of a stream either, and a large MTU makes large
// segments.
func TestStreamOverWaitingLink(t *testing.T) {
	link := Link{Rate: 8_000_000, Queue: 20_000, Wait: true, MTU: 9000}
	synctest.Test(t, func(t *testing.T) {
		var n Network
		server, client := n.Host(link, link, "192.0.2.1"), n.Host(link, link, "192.0.2.2")
		a, b := pairOf(t, client, server)
		sent := noise(89_600) // ten segments of 8960 bytes
		b.Write(sent)
		b.Close()
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
		}
		did := client.Down.Counts()
		if did.TailDropped != 0 || did.Passed != did.Offered || did.Passed != 12 { // with SYN and FIN
			t.Errorf("counts %+v", did)
		}
	})
}
