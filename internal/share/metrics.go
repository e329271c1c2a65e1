// SPDX-License-Identifier: Apache-2.0

package share

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics serves the gateway's figures to Prometheus.
func (g *Gateway) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{g: g})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// collector reads the ledger's counters when it is asked.
type collector struct{ g *Gateway }

var (
	metricFetches = prometheus.NewDesc("cityid_gateway_fetches_total", "Fetches that were written down.", []string{"direction", "outcome"}, nil)
	metricOctets  = prometheus.NewDesc("cityid_gateway_octets_total", "Octets of data that were fetched.", []string{"direction"}, nil)
	metricUnacked = prometheus.NewDesc("cityid_gateway_unacknowledged", "Entries that wait for an acknowledgement.", nil, nil)
	metricOpen    = prometheus.NewDesc("cityid_gateway_unbatched", "Entries in no batch yet.", nil, nil)
	metricWaiting = prometheus.NewDesc("cityid_gateway_batches_waiting", "Batches not known to be on the chain.", nil, nil)
	metricAge     = prometheus.NewDesc("cityid_gateway_chain_age_seconds", "Age of the oldest standing of an agreement in use.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricFetches, metricOctets, metricUnacked, metricOpen, metricWaiting, metricAge} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.g.ledger.Stats()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter(metricFetches, s.Served, "served", "data")
	counter(metricFetches, s.Refused, "served", "refusal")
	counter(metricFetches, s.Fetched, "fetched", "data")
	counter(metricFetches, s.FetchRefused, "fetched", "refusal")
	counter(metricOctets, s.ServedOctets, "served")
	counter(metricOctets, s.FetchedOctets, "fetched")
	gauge(metricUnacked, float64(s.Unacknowledged))
	gauge(metricOpen, float64(s.Open))
	gauge(metricWaiting, float64(s.Waiting))
	gauge(metricAge, c.g.view.oldest().Seconds())
}
