package btest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// burst is how many bytes may be ahead of a rate: what TCP is given at once, or
// two packets, or 200 ms of the rate on a machine that is busy.
func burst(rate uint64) uint64 { return 2*64<<10 + rate/8/5 }

// checkRate: no more than the rate came or went, counted as the protocol does,
// but for one burst; and not nothing.
func checkRate(t *testing.T, who string, v *result.View, rate uint64, elapsed time.Duration) {
	t.Helper()
	if v == nil {
		t.Errorf("%s: no figures", who)
		return
	}
	n := v.Bytes
	if v.WireBytes != nil {
		n = *v.WireBytes
	}
	over := burst(rate)
	if v.WireBytes != nil && rate < 10e6 {
		over = 2*1500 + rate/8/5 // two packets, or what a server lets pass at once
	}
	most := uint64(float64(rate)/8*elapsed.Seconds()) + over
	if n == 0 || n > most {
		t.Errorf("%s: %d bytes in %v at %d bit/s, want at most %d", who, n, elapsed, rate, most)
	}
}

// TestRates: limits that the client asks for hold at both ends, both ways, with
// one connection and with several.
func TestRates(t *testing.T) {
	t.Parallel()
	for _, udp := range []bool{false, true} {
		for _, rate := range []uint64{8e3, 64e3, 1e6, 20e6, 200e6} {
			for _, n := range []int{1, 5} {
				t.Run(fmt.Sprintf("udp=%v/%d/%d", udp, rate, n), func(t *testing.T) {
					t.Parallel()
					server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, 1, n)})
					near, far, err := server.test(t, &Client{UDP: udp, Direction: result.Both, Connections: n, Duration: 2500 * time.Millisecond, UpRate: rate, DownRate: rate})
					if err != nil {
						t.Fatal(err)
					}
					// The end that begins later finds what was sent before waiting for it.
					elapsed := max(near.ends[0].Elapsed, far.ends[0].Elapsed)
					for _, s := range []seen{near, far} {
						end := s.check(t)
						for _, d := range result.Both.Each() {
							who := fmt.Sprintf("%s: %v", end.Role, d)
							checkRate(t, who, end.Local(d), rate, elapsed)
						}
					}
				})
			}
		}
	}
}

// TestCeiling: the rate of a grant bounds what a server sends and what it
// receives, whatever its client wants.
func TestCeiling(t *testing.T) {
	t.Parallel()
	for _, udp := range []bool{false, true} {
		for _, ceiling := range []uint64{1e6, 10e6} {
			for _, asked := range []uint64{0, 100e6, 500e3} { // nothing, more, less
				t.Run(fmt.Sprintf("udp=%v/%d/%d", udp, ceiling, asked), func(t *testing.T) {
					t.Parallel()
					tooBusy := watchCPU()
					defer tooBusy()
					server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, 1, 1), Policy: &admit.Limits{Rate: ceiling}})
					c := &Client{UDP: udp, Direction: result.Both, Duration: 3 * time.Second, UpRate: asked, DownRate: asked}
					if udp && asked == 0 {
						c.UpRate = 0 // adaptive: it follows what the server lets pass
					}
					near, far, err := server.test(t, c)
					if err != nil {
						t.Fatal(err)
					}
					near.check(t)
					end := far.check(t)
					rate := lower(ceiling, asked)
					for _, d := range result.Both.Each() {
						checkRate(t, d.String(), end.Local(d), rate, end.Elapsed)
					}
					b := far.begins[0]
					if b.DownRate != rate || b.UpRate != rate {
						t.Errorf("Begin tells of %d and %d bit/s, want %d", b.DownRate, b.UpRate, rate)
					}
					if told, over := far.note("upload_policed") != nil, udp && asked == 100e6 || udp && asked == 0; told != over && (over || !tooBusy()) {
						t.Errorf("a note of what was thrown away: %v, want %v", told, over)
					}
				})
			}
		}
	}
}

// TestCeilingLasts: a client that is held far below what it would send bears it,
// although its kernel finds the window shut for long, and its end is seen soon
// although there is still much to read.
func TestCeilingLasts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			const ceiling = 64e3
			server := serve(t, "127.0.0.1", &Server{Policy: &admit.Limits{Rate: ceiling}})
			near, far, err := server.test(t, &Client{Direction: result.Up, Connections: n, Duration: 10 * time.Second})
			ended := time.Now()
			if err != nil {
				t.Fatal(err)
			}
			near.check(t)
			end := far.check(t)
			checkRate(t, "upload", end.Local(result.Up), ceiling, end.Elapsed)
			if end.Elapsed > 13*time.Second || time.Since(ended) > 3*time.Second {
				t.Errorf("the server saw the end after %v", end.Elapsed)
			}
			if near.ends[0].Remote(result.Up) == nil {
				t.Error("the server told of nothing")
			}
		})
	}
}
