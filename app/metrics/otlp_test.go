//go:build !nootel

package metrics

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sonde-net/sonde/result"
)

// A collector stand-in receives what the registry has, by OTLP over HTTP.
func TestOTLP(t *testing.T) {
	got := make(chan *collector.ExportMetricsServiceRequest, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/metrics" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		var m collector.ExportMetricsServiceRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		got <- &m
	}))
	defer server.Close()
	m := New(Build{"1.0", "abc", "go1"})
	b := begin(result.NewID())
	m.Put(b)
	m.Put(result.Interval{Head: b.Head, Direction: result.Down, Stream: result.AllStreams, Sent: &result.View{Bytes: 1234},
		RTT: &result.Delay{Count: 1, P50: 3 * time.Millisecond}})
	stop, err := OTLP(m.Registry, Collector{Endpoint: server.URL, Every: time.Hour, Version: "1.0", Told: func(err error) {
		if err != nil {
			t.Error(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	bytes, buckets := false, false
	for _, r := range (<-got).ResourceMetrics {
		for _, s := range r.ScopeMetrics {
			for _, one := range s.Metrics {
				switch one.Name {
				case nameBytes:
					p := one.GetSum().GetDataPoints()
					bytes = len(p) == 1 && p[0].GetAsDouble() == 1234 && one.GetSum().IsMonotonic
				case nameRTT:
					p := one.GetHistogram().GetDataPoints()
					buckets = len(p) == 1 && p[0].Count == 1 && p[0].GetSum() == 0.003
				}
			}
		}
	}
	if !bytes || !buckets {
		t.Errorf("counter right: %v; histogram right: %v", bytes, buckets)
	}
}

// A collector that is away is told, and stopping does not hang.
func TestOTLPAway(t *testing.T) {
	m := New(Build{})
	told := make(chan error, 16)
	stop, err := OTLP(m.Registry, Collector{Endpoint: "http://127.0.0.1:1", Every: time.Hour, Told: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stop(ctx) // its error is what Told was told
	if err := <-told; err == nil {
		t.Error("nobody listens, and all went well")
	}
}
