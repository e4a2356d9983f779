//go:build nootel

package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Collector is what this build cannot send to.
type Collector struct {
	Endpoint string
	Every    time.Duration
	Version  string
	Told     func(error)
}

// OTLP says that this build has none.
func OTLP(prometheus.Gatherer, Collector) (func(context.Context) error, error) {
	return nil, errors.New("this build has no OTLP (tag nootel); leave outputs.otlp out, or scrape /metrics")
}
