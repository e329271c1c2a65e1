// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cityid"
)

// metrics are what an application counts and times for its operators. Nothing of
// it decides anything.
type metrics struct {
	interval     prometheus.Histogram // between blocks with transactions or heartbeats, by their times
	execute      prometheus.Histogram // carryOut
	commit       prometheus.Histogram // Commit
	prove        prometheus.Histogram // Bundle
	transactions *prometheus.CounterVec
	badChunks    prometheus.Counter
}

// seconds are the bounds of the histograms: what is fast here takes a tenth of a
// millisecond, and what takes a minute is broken.
var seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

func newMetrics() *metrics {
	timed := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds})
	}
	return &metrics{
		interval:     timed("cityid_block_interval_seconds", "Time between one block and the next, by the times in their headers."),
		execute:      timed("cityid_block_execute_seconds", "Time to carry out the transactions of a block."),
		commit:       timed("cityid_block_commit_seconds", "Time to write a block's changes to the disk."),
		prove:        timed("cityid_bundle_seconds", "Time to make a bundle, refusals included."),
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cityid_transactions_total", Help: "Transactions in blocks, by what became of them."}, []string{"verdict"}),
		badChunks:    prometheus.NewCounter(prometheus.CounterOpts{Name: "cityid_snapshot_bad_chunks_total", Help: "Parts of snapshots from peers that were not what the signed headers commit to."}),
	}
}

func since(h prometheus.Histogram, start time.Time) { h.Observe(time.Since(start).Seconds()) }

// verdict is the label of what became of a transaction.
func verdict(code uint32) string {
	if code == 0 {
		return "applied"
	}
	return cityid.ErrorCode(code).String()
}

var (
	metricHeight     = prometheus.NewDesc("cityid_height", "Height of the last block carried out.", nil, nil)
	metricBlockTime  = prometheus.NewDesc("cityid_block_time_seconds", "Time of that block, in seconds since 1970.", nil, nil)
	metricRecords    = prometheus.NewDesc("cityid_records", "Keys in the state tree.", nil, nil)
	metricMempool    = prometheus.NewDesc("cityid_mempool_transactions", "Transactions that wait.", nil, nil)
	metricPeers      = prometheus.NewDesc("cityid_peers", "Nodes this one is connected to.", nil, nil)
	metricCatchingUp = prometheus.NewDesc("cityid_catching_up", "1 while the node fetches blocks that others have already.", nil, nil)
	metricValidator  = prometheus.NewDesc("cityid_validator", "1 if this node's votes count.", nil, nil)
	metricTrust      = prometheus.NewDesc("cityid_trust_version", "Latest version of the trust root.", nil, nil)
	metricRules      = prometheus.NewDesc("cityid_rules_version", "Version of the rules that the next block falls under.", nil, nil)
	metricUpgrade    = prometheus.NewDesc("cityid_upgrade_height", "First block under the version that is planned; 0 if none is.", nil, nil)
	metricUnready    = prometheus.NewDesc("cityid_upgrade_missing", "1 if this program lacks the version that is planned, and will stop before that block.", nil, nil)
	metricSnapshot   = prometheus.NewDesc("cityid_snapshot_height", "Height of the latest snapshot served to other nodes.", nil, nil)
	metricTaken      = prometheus.NewDesc("cityid_snapshot_time_seconds", "When it was taken, in seconds since 1970.", nil, nil)
	metricBlocksFrom = prometheus.NewDesc("cityid_blocks_from", "Lowest height whose block is kept with its transactions.", nil, nil)
	metricOffences   = prometheus.NewDesc("cityid_validator_misbehaviour_total", "Pieces of evidence in blocks that a validator signed two histories, by the address of its key and its owner. Without any there is one of 0.", []string{"address", "owner"}, nil)
	metricTrustTime  = prometheus.NewDesc("cityid_trust_time_seconds", "Time of the header in it, in seconds since 1970.", nil, nil)
)

// Collector returns the figures of the node for Prometheus. It may be collected at
// any time, also from several registries.
func (l *Local) Collector() prometheus.Collector { return &collector{l} }

type collector struct{ l *Local }

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricHeight, metricBlockTime, metricRecords, metricMempool, metricPeers, metricCatchingUp, metricValidator, metricTrust, metricTrustTime, metricSnapshot, metricTaken, metricBlocksFrom, metricRules, metricUpgrade, metricUnready, metricOffences} {
		out <- d
	}
	for _, m := range c.l.app.metrics.all() {
		m.Describe(out)
	}
}

// Collect implements prometheus.Collector. While there is no block there are no
// figures about it.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.l.app.metrics.all() {
		m.Collect(out)
	}
	s, err := c.l.Status(context.Background())
	if err != nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	flag := func(d *prometheus.Desc, on bool) {
		if on {
			gauge(d, 1)
		} else {
			gauge(d, 0)
		}
	}
	gauge(metricHeight, float64(s.Height))
	gauge(metricBlockTime, float64(s.Time.UnixMilli())/1000)
	gauge(metricBlocksFrom, float64(s.BlocksFrom))
	gauge(metricRecords, float64(s.Records))
	gauge(metricMempool, float64(s.Mempool))
	gauge(metricPeers, float64(s.Peers))
	flag(metricCatchingUp, s.CatchingUp)
	flag(metricValidator, len(s.Validator) > 0)
	if height, at := c.l.app.snapshots.latest(); height > 0 {
		gauge(metricSnapshot, float64(height))
		gauge(metricTaken, float64(at.UnixMilli())/1000)
	}
	for _, o := range s.Offenders {
		out <- prometheus.MustNewConstMetric(metricOffences, prometheus.CounterValue, float64(o.Times), o.Address, o.Owner.String())
	}
	if len(s.Offenders) == 0 {
		out <- prometheus.MustNewConstMetric(metricOffences, prometheus.CounterValue, 0, "", "")
	}
	gauge(metricRules, float64(s.Rules.Version))
	if p := s.Rules.Plan; p != nil {
		gauge(metricUpgrade, float64(p.Height))
		flag(metricUnready, !slices.Contains(s.RulesKnown, p.Version))
	} else {
		gauge(metricUpgrade, 0)
		flag(metricUnready, false)
	}
	gauge(metricTrust, float64(s.Trust))
	if trusts, err := c.l.Trust(context.Background()); err == nil && len(trusts) > 0 {
		gauge(metricTrustTime, float64(trusts[len(trusts)-1].Statement.Time))
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.interval, m.execute, m.commit, m.prove, m.transactions, m.badChunks}
}
