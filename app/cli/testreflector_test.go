package cli

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sonde-net/sonde/twamp"
)

// A host with nothing but a reflector is recognised and tested for round trips.
func TestReflectorsRecognised(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	u, err := net.ListenPacket("udp", "127.77.2.1:862")
	if err != nil {
		t.Skipf("port 862 of an address of our own: %v", err)
	}
	wg.Go(func() { (&twamp.Reflector{}).Serve(ctx, u) })
	l, err := net.Listen("tcp", "127.77.2.2:862")
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { (&twamp.Server{}).Serve(ctx, l) })
	for host, protocol := range map[string]string{"127.77.2.1": "stamp", "127.77.2.2": "twamp"} {
		t.Run(protocol, func(t *testing.T) {

			var out, errs bytes.Buffer
			if status := Main([]string{"sonde", "test", host}, nil, &out, &errs); status != 0 {
				t.Fatalf("status %d: %s", status, &errs)
			}
			for _, want := range []string{protocol + " (port 862): answers", "--- " + protocol + " round trips over UDP, " + host + ":862", "loss      0 of 50 packets"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
		})
	}
}
