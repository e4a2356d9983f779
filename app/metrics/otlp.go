//go:build !nootel

package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
)

// A Collector is where metrics go by OTLP over HTTP. The variables OTEL_* of the
// environment hold, too, such as OTEL_EXPORTER_OTLP_HEADERS.
type Collector struct {
	Endpoint string // URL; without a path it is /v1/metrics
	Every    time.Duration
	Version  string
	Told     func(error) // of each report that failed, and nil of each that did not
}

// OTLP sends what is in a registry until stop, which sends it a last time.
func OTLP(from prometheus.Gatherer, c Collector) (stop func(context.Context) error, err error) {
	url := c.Endpoint
	if rest := url[strings.Index(url, "://")+3:]; !strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
		url = strings.TrimSuffix(url, "/") + "/v1/metrics"
	}
	exporter, err := otlpmetrichttp.New(context.Background(), otlpmetrichttp.WithEndpointURL(url))
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) // told below
	reader := metric.NewPeriodicReader(telling{exporter, c.Told}, metric.WithInterval(c.Every),
		metric.WithProducer(&bridge{from: from, began: time.Now(), version: c.Version}))
	r, err := resource.New(context.Background(), resource.WithFromEnv(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "sonde"), attribute.String("service.version", c.Version)))
	if err != nil {
		return nil, err
	}
	return metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(r)).Shutdown, nil
}

// telling is an exporter that says how it went.
type telling struct {
	metric.Exporter
	told func(error)
}

// Export implements metric.Exporter.
func (t telling) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	err := t.Exporter.Export(ctx, m)
	if t.told != nil {
		t.told(err)
	}
	return err
}

// A bridge hands on what a registry of Prometheus has.
type bridge struct {
	from    prometheus.Gatherer
	began   time.Time
	version string
}

// Produce implements metric.Producer.
func (b *bridge) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	families, err := b.from.Gather()
	s := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: "github.com/sonde-net/sonde/app/metrics", Version: b.version}}
	now := time.Now()
	for _, f := range families {
		if data := b.data(f, now); data != nil {
			s.Metrics = append(s.Metrics, metricdata.Metrics{Name: f.GetName(), Description: f.GetHelp(), Data: data})
		}
	}
	return []metricdata.ScopeMetrics{s}, err
}

// data is a family as OTLP has it; nil for a kind that we do not make.
func (b *bridge) data(f *dto.MetricFamily, now time.Time) metricdata.Aggregation {
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		sum := metricdata.Sum[float64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
		for _, m := range f.GetMetric() {
			sum.DataPoints = append(sum.DataPoints, b.point(m, m.GetCounter().GetValue(), now))
		}
		return sum
	case dto.MetricType_GAUGE:
		var g metricdata.Gauge[float64]
		for _, m := range f.GetMetric() {
			g.DataPoints = append(g.DataPoints, b.point(m, m.GetGauge().GetValue(), now))
		}
		return g
	case dto.MetricType_HISTOGRAM:
		h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
		for _, m := range f.GetMetric() {
			h.DataPoints = append(h.DataPoints, b.histogram(m, now))
		}
		return h
	}
	return nil
}

func (b *bridge) point(m *dto.Metric, v float64, now time.Time) metricdata.DataPoint[float64] {
	return metricdata.DataPoint[float64]{Attributes: attributes(m), StartTime: b.began, Time: now, Value: v}
}

func (b *bridge) histogram(m *dto.Metric, now time.Time) metricdata.HistogramDataPoint[float64] {
	h := m.GetHistogram()
	p := metricdata.HistogramDataPoint[float64]{
		Attributes: attributes(m), StartTime: b.began, Time: now, Count: h.GetSampleCount(), Sum: h.GetSampleSum(),
	}
	var below uint64 // Prometheus counts all up to a bound, OTLP those between two
	for _, bucket := range h.GetBucket() {
		p.Bounds = append(p.Bounds, bucket.GetUpperBound())
		p.BucketCounts = append(p.BucketCounts, bucket.GetCumulativeCount()-below)
		below = bucket.GetCumulativeCount()
	}
	p.BucketCounts = append(p.BucketCounts, h.GetSampleCount()-below)
	return p
}

func attributes(m *dto.Metric) attribute.Set {
	var all []attribute.KeyValue
	for _, l := range m.GetLabel() {
		all = append(all, attribute.String(l.GetName(), l.GetValue()))
	}
	return attribute.NewSet(all...)
}
