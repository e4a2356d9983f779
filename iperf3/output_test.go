package iperf3

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// TestServerOutput: what a client gets for --get-server-output are the lines
// that iperf3 prints at a server, which knows its own end only.
func TestServerOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		for _, tt := range []struct {
			c    Client
			want []string
			not  string
		}{
			{Client{Direction: result.Up}, []string{
				"Accepted connection from 192.0.2.1, port ", "[  5] local 192.0.2.2 port 5201 connected to 192.0.2.1 port ",
				"[ ID] Interval           Transfer     Bitrate\n", "[  5]   0.00-1.00   sec   ", "  receiver\n",
			}, "sender"},
			{Client{Direction: result.Down, Streams: 2}, []string{"Retr  Cwnd\n", "[SUM]   0.00-2.0", "  sender\n"}, "receiver"},
			{Client{Direction: result.Up, UDP: true}, []string{"[  5] local 192.0.2.2 port 5201 ", "Jitter    Lost/Total Datagrams\n", " ms  0/", "  receiver\n"}, "sender"},
		} {
			var text string
			tt.c.Duration, tt.c.Rate, tt.c.ServerOutput = 2*time.Second, 1e6, true
			tt.c.Report = func(event string, data any) {
				if event == wire.EventServerText {
					text = data.(string)
				}
			}
			if _, err := p.run(t.Context(), tt.c); err != nil {
				t.Error(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("%v: %q is not in\n%s", tt.c.Direction, want, text)
				}
			}
			if strings.Contains(text, tt.not) {
				t.Errorf("%v: %q is in\n%s", tt.c.Direction, tt.not, text)
			}
		}
		p.stop()
	})
}
