// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

// many serves n datasets of two cities from gateways on loopback, and waits until
// all are harvested.
func many(b *testing.B, n, gateways int) (*world, time.Duration) {
	w := newWorld(b)
	topics := [][2]string{{"停车场空余车位", "Free places in car parks"}, {"空气质量监测", "Air quality"}, {"公交车到站时间", "Bus arrivals"}, {"供水管网压力", "Pressure of the water network"}, {"路灯运行状态", "State of street lamps"}}
	var all []*gateway2
	for range gateways {
		all = append(all, newGateway(b))
	}
	var records []cityid.Record
	for k := range n {
		class := []string{"MA.156.1301.02/20.020301", "MA.156.12/20.030101"}[k%2]
		topic := topics[k%len(topics)]
		d := dataset(b, cityid.MustParse(fmt.Sprintf("%s/K%d", class, k)), fmt.Sprintf("%s第%d号", topic[0], k), fmt.Sprintf("%s %d", topic[1], k), func(d *dcat.Dataset) {
			d.Themes[0].ID = dcat.EUTheme + []string{"TRAN", "ENVI", "HEAL"}[k%3]
			d.Indicators = []dcat.Indicator{{ID: fmt.Sprintf("37120:2018:%d.1", k%40+1)}}
		})
		g := all[k%gateways]
		rec := w.serve(g, d)
		rec.Content.Links = []cityid.Link{{Rel: RelGateway, Href: g.URL}}
		records = append(records, rec)
	}
	began := time.Now()
	for part := range slices.Chunk(records, 1000) {
		w.registry.set(part...)
	}
	for {
		page, err := w.Datasets(context.Background(), cityid.DatasetQuery{States: []cityid.DatasetState{cityid.DatasetCurrent}, Limit: 1})
		if err != nil {
			b.Fatal(err)
		}
		if page.Total == n {
			return w, time.Since(began)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// BenchmarkHarvest harvests datasets, three documents each, from eight gateways on
// this machine.
func BenchmarkHarvest(b *testing.B) {
	const n = 2000
	for b.Loop() {
		w, took := many(b, n, 8)
		w.stop()
		b.ReportMetric(float64(n)/took.Seconds(), "datasets/s")
	}
}

// BenchmarkDatasets asks a catalogue of 10,000 datasets, all facets included.
func BenchmarkDatasets(b *testing.B) {
	w, took := many(b, 10_000, 8)
	b.Logf("10,000 datasets harvested in %s", took.Round(time.Millisecond))
	for name, q := range map[string]cityid.DatasetQuery{
		"all": {}, "chinese": {Text: "空气质量"}, "latin": {Text: "air quality"}, "one": {Text: "第777号"}, "none": {Text: "nothing like it"},
		"common": {Text: "data"}, "number": {Text: "0107"}, "facets": {Cities: []cityid.Code{sjz}, Themes: []string{dcat.EUTheme + "TRAN"}, Classes: []cityid.DatasetClass{cityid.DatasetConditional}},
	} {
		b.Run(name, func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				at := time.Now()
				if _, err := w.Datasets(context.Background(), q); err != nil {
					b.Fatal(err)
				}
				all = append(all, time.Since(at))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		})
	}
	b.Run("document", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.CatalogueDocument(context.Background(), cityid.CatalogueQuery{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
