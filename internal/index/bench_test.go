// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
)

var benchRecords = flag.Int("records", 100_000, "records in the benchmark's index")

// BenchmarkSearch builds an index and asks it a mix of questions. It reports the
// time of the build, the size of the file, and the median and 99th percentile of
// all answers and of each kind.
func BenchmarkSearch(b *testing.B) {
	s := newRegistry(world(*benchRecords, 1))
	path := filepath.Join(b.TempDir(), "index.sqlite")
	began := time.Now()
	x := start(b, s, path)
	for x.height.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	build := time.Since(began)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	any := func() *cityid.Record { return &s.records[r.IntN(len(s.records))] }
	kinds := []struct {
		name string
		make func() cityid.SearchQuery
	}{
		{"code", func() cityid.SearchQuery { return cityid.SearchQuery{Text: any().Code.String()} }},
		{"prefix", func() cityid.SearchQuery {
			c := any().Code.String()
			return cityid.SearchQuery{Text: c[:8+r.IntN(len(c)-7)]}
		}},
		{"typo", func() cityid.SearchQuery {
			c := []byte(any().Code.String())
			c[7+r.IntN(len(c)-7)] = '7'
			return cityid.SearchQuery{Text: string(c)}
		}},
		{"two-han", func() cityid.SearchQuery { return cityid.SearchQuery{Text: "路灯"} }},
		{"one-han", func() cityid.SearchQuery { return cityid.SearchQuery{Text: "灯"} }},
		{"city", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: cityNames[r.IntN(len(cityNames))][r.IntN(2)]}
		}},
		{"mixed", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: fmt.Sprintf("%s lamp %06d", cityNames[r.IntN(len(cityNames))][0], 1+r.IntN(500))}
		}},
		{"begun", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: []string{"str", "s", "hyd", "0001", "man co", "xi an"}[r.IntN(6)]}
		}},
		{"nothing", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: []string{"路栓", "lamp hydrant", "石家庄市消火栓 lamp"}[r.IntN(3)]}
		}},
		{"alias", func() cityid.SearchQuery { return cityid.SearchQuery{Text: fmt.Sprintf("LD-%d", 1100+r.IntN(800))} }},
		{"below", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: "消火栓", Below: place(any().Code), Kinds: []cityid.Kind{cityid.KindObject}}
		}},
		{"facets", func() cityid.SearchQuery {
			return cityid.SearchQuery{Below: place(any().Code), Statuses: []cityid.Status{cityid.StatusRetired}, Kinds: []cityid.Kind{cityid.KindObject, cityid.KindDepartment}}
		}},
		{"box", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: "路灯", Box: boxAround(any(), int32(1+r.IntN(5000))*1000)}
		}},
		{"near", func() cityid.SearchQuery { return cityid.SearchQuery{Near: somewhere(r, any())} }},
		{"near-text", func() cityid.SearchQuery {
			return cityid.SearchQuery{Text: "hydrant", Near: somewhere(r, any()), Statuses: []cityid.Status{cityid.StatusActive}}
		}},
		{"near-city", func() cityid.SearchQuery {
			return cityid.SearchQuery{Near: somewhere(r, any()), Kinds: []cityid.Kind{cityid.KindCity}, Limit: 5}
		}},
	}
	all := make([]time.Duration, 0, b.N)
	each := map[string][]time.Duration{}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		k := kinds[i%len(kinds)]
		q := k.make()
		at := time.Now()
		if _, err := x.Search(context.Background(), q); err != nil {
			b.Fatalf("%+v: %v", q, err)
		}
		took := time.Since(at)
		all, each[k.name] = append(all, took), append(each[k.name], took)
	}
	b.StopTimer()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	quantile := func(d []time.Duration, q float64) time.Duration {
		slices.Sort(d)
		return d[min(len(d)-1, int(q*float64(len(d))))]
	}
	b.ReportMetric(build.Seconds(), "build-s")
	b.ReportMetric(float64(info.Size())/float64(len(s.records)), "octets/record")
	b.ReportMetric(ms(quantile(all, 0.5)), "p50-ms")
	b.ReportMetric(ms(quantile(all, 0.99)), "p99-ms")
	var lines strings.Builder
	for _, k := range kinds {
		if d := each[k.name]; len(d) > 0 {
			fmt.Fprintf(&lines, "\n%-10s p50 %8.3f ms  p99 %8.3f ms  max %8.3f ms", k.name, ms(quantile(d, 0.5)), ms(quantile(d, 0.99)), ms(slices.Max(d)))
		}
	}
	b.Log(lines.String())
}

func place(c cityid.Code) cityid.Code {
	if p := placeOf(c); !p.IsZero() {
		return p
	}
	return apex
}

func somewhere(r *rand.Rand, rec *cityid.Record) *cityid.Location {
	l := cityid.Location{Lat: 350000000, Lon: 1100000000}
	if rec.Content.Location != nil {
		l = *rec.Content.Location
	}
	l.Lat += int32(r.IntN(20000000)) - 10000000
	return &l
}

func boxAround(rec *cityid.Record, d int32) *cityid.Box {
	l := cityid.Location{Lat: 350000000, Lon: 1100000000}
	if rec.Content.Location != nil {
		l = *rec.Content.Location
	}
	return &cityid.Box{South: l.Lat - d, North: l.Lat + d, West: l.Lon - d, East: l.Lon + d}
}
