// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
)

var city = cityid.MustParse("MA.156.1301")

// at returns a configuration whose clock stands still.
func at(now string, stations int) Config {
	t := parseTime(now)
	return Config{City: city, Seed: 7, Stations: stations, Begin: parseTime("2026-03-01T00:00:00Z"), Now: func() time.Time { return t }}
}

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func open(t testing.TB, c Config) *Feed {
	t.Helper()
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// released returns all that is released in a day.
func released(t testing.TB, f *Feed, day, indicator string) []Observation {
	t.Helper()
	from := parseTime(day + "T00:00:00Z")
	seq, err := f.Released(from, from.AddDate(0, 0, 1), indicator)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(seq)
}

// pinned is the SHA-256 of a day of a platform with 20 stations of each domain, each
// observation as JSON and a line feed. It is the same on every machine, for good.
const pinned = "10ca9ef7b8a73ca97ad08321aca9f1f1113e2b410f9835d6dac3f2e1da0ad83f"

// TestPinned holds a day's stream against its hash.
func TestPinned(t *testing.T) {
	h := sha256.New()
	list := released(t, open(t, at("2026-03-03T00:00:00Z", 20)), "2026-03-02", "")
	enc := json.NewEncoder(h)
	for i := range list {
		if err := enc.Encode(&list[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != pinned {
		t.Errorf("the day hashes to %s", got)
	}
	noon := parseTime("2026-03-02T12:00:00Z")
	hour, err := open(t, at("2026-03-03T00:00:00Z", 0)).Released(noon, noon.Add(time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range hour {
		n++
	}
	if n *= 24; n < 1_180_000 || n > 1_220_000 {
		t.Errorf("%d observations a day", n)
	}
}

func TestNew(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"code of a place":     func(c *Config) { c.City = cityid.MustParse("MA.156") },
		"such as MA.156.1301": func(c *Config) { c.City = cityid.Code{} },
		"want the code of":    func(c *Config) { c.City = cityid.MustParse("MA.156.1301/20.010501") },
		"1 to 250":            func(c *Config) { c.Stations = 251 },
		"-1 stations":         func(c *Config) { c.Stations = -1 },
		"1970 to 9999":        func(c *Config) { c.Begin = parseTime("1969-01-01T00:00:00Z") },
		"stations of": func(c *Config) {
			c.City = cityid.MustParse("ABC.156.ABCDEFGHIJKL" + strings.Repeat(".ABCDEFGHIJKLMNOP", 5))
		},
	} {
		c := at("2026-03-03T00:00:00Z", 1)
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	c := at("2026-03-03T07:00:00Z", 1)
	c.Begin = time.Time{}
	if got := open(t, c).Begin(); got != parseTime("2026-03-02T00:00:00Z") {
		t.Errorf("without a beginning it is %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a handler of nothing")
		}
	}()
	NewHandler(Config{})
}

// TestSeries checks what the values look like.
func TestSeries(t *testing.T) {
	mean := func(indicator, day string) float64 {
		sum, n := 0.0, 0
		for _, o := range released(t, open(t, at("2026-03-03T00:00:00Z", 20)), day, indicator) {
			sum += float64(o.Value.Millionths()) / 1e6
			n++
		}
		return sum / float64(n)
	}
	for _, test := range []struct {
		indicator string
		low, high float64
	}{
		{"37120:2018:7.1", 10, 22}, {"37120:2018:8.1", 15, 120}, {"37120:2018:8.2", 40, 250}, {"37120:2018:8.7", 20, 140},
		{"37120:2018:16.2", 0.8, 1.4}, {"37120:2018:16.3", 28, 45}, {"37120:2018:23.4", 0.15, 0.5}, {"37120:2018:23.5", 140, 250},
	} {
		if m := mean(test.indicator, "2026-03-02"); m < test.low || m > test.high {
			t.Errorf("%s is %.3f on average, want %.2f to %.2f", test.indicator, m, test.low, test.high)
		}
	}
	hour := func(indicator string, from, to int) float64 {
		sum, n := 0.0, 0
		for _, o := range released(t, open(t, at("2026-03-03T00:00:00Z", 20)), "2026-03-04", indicator) {
			if h := o.Time.Std().Add(8 * time.Hour).Hour(); o.Corrects == 0 && h >= from && h < to {
				sum, n = sum+float64(o.Value.Millionths()), n+1
			}
		}
		return sum / float64(n)
	}
	if night, morning := hour("37120:2018:23.5", 2, 4), hour("37120:2018:23.5", 7, 9); morning < 2*night {
		t.Errorf("water supplied by night %.0f, in the morning %.0f", night, morning)
	}
	if winter, summer := mean("37120:2018:8.1", "2027-01-10"), mean("37120:2018:8.1", "2026-07-10"); winter < summer {
		t.Errorf("fine particles in winter %.1f, in summer %.1f", winter, summer)
	}
	seen := map[cityid.Time]map[string]int64{} // of station 1
	for _, o := range released(t, open(t, at("2026-03-03T00:00:00Z", 1)), "2026-03-02", "") {
		if o.Corrects == 0 {
			if seen[o.Time] == nil {
				seen[o.Time] = map[string]int64{}
			}
			seen[o.Time][o.Indicator] = o.Value.Millionths()
		}
	}
	more, less := 0, 0
	for _, at := range seen {
		if at["37120:2018:8.2"] > 0 && at["37120:2018:8.1"] > 0 {
			if more++; at["37120:2018:8.2"] < at["37120:2018:8.1"] {
				less++ // one of them is wrong
			}
		}
	}
	if more < 1000 || less > 20 {
		t.Errorf("PM10 was below PM2.5 in %d of %d minutes", less, more)
	}
}

// TestFaults counts gaps, late observations and corrections.
func TestFaults(t *testing.T) {
	f := open(t, at("2026-03-20T00:00:00Z", 50))
	const id = "37120:2018:8.1"
	onTimeAndLate, corrections := map[int64]int{}, map[int64]int{}
	values := map[uint64]Observation{}
	for _, day := range []string{"2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"} {
		for _, o := range released(t, f, day, id) {
			delay := int64(o.Seq>>16) - int64(o.Time)/60 - 1
			values[o.Seq] = o
			if o.Corrects == 0 {
				onTimeAndLate[delay]++
				continue
			}
			corrections[delay]++
			if old, ok := values[o.Corrects]; ok && (old.Time != o.Time || old.Source != o.Source || old.Value == o.Value) {
				t.Errorf("%+v corrects %+v", o, old)
			}
		}
	}
	const all = 4 * 1440 * 50
	within := func(what string, n, tenThousandths int) {
		t.Helper()
		if want := all * tenThousandths / 10_000; n < want/2 || n > want*3/2 {
			t.Errorf("%s: %d, want about %d", what, n, want)
		}
	}
	if len(onTimeAndLate) != 3 || len(corrections) != 2 {
		t.Errorf("delays %v, of corrections %v", onTimeAndLate, corrections)
	}
	within("on time", onTimeAndLate[0], 9900)
	within("7 minutes late", onTimeAndLate[7], 50)
	within("45 minutes late", onTimeAndLate[45], 20)
	within("corrected after 90 minutes", corrections[90], 20)
	within("corrected after a day", corrections[1440], 5)
	gaps := all - onTimeAndLate[0] - onTimeAndLate[7] - onTimeAndLate[45]
	if gaps < all*35/10_000 || gaps > all*90/10_000 {
		t.Errorf("%d of %d are missing", gaps, all)
	}
}

// TestDaily checks when observations of days come.
func TestDaily(t *testing.T) {
	f := open(t, at("2026-03-05T00:00:00Z", 100))
	list := released(t, f, "2026-03-02", "37120:2018:16.2")
	if len(list) < 95 {
		t.Fatalf("%d observations", len(list))
	}
	for _, o := range list {
		local := time.Unix(int64(o.Seq>>16)*60, 0).UTC().Add(8 * time.Hour)
		if o.Corrects == 0 && (o.Time.String() != "2026-02-28T16:00:00Z" && o.Time.String() != "2026-03-01T16:00:00Z" || local.Hour() < 6 || local.Hour() > 7) {
			t.Errorf("%s of %s is released at %s", o.Indicator, o.Time, local)
		}
	}
}

func TestStations(t *testing.T) {
	f := open(t, at("2026-03-05T00:00:00Z", 3))
	list := f.Stations()
	if len(list) != 12 {
		t.Fatalf("%d stations", len(list))
	}
	s := list[3]
	if s.Code.String() != "MA.156.1301/30.080001/000001" || s.Domain != Air || s.Names.Get("zh") != "空气质量监测站1号" {
		t.Errorf("%+v", s)
	}
	if !slices.IsSortedFunc(list, func(a, b Station) int { return a.Code.Compare(b.Code) }) {
		t.Error("out of order")
	}
	for _, i := range Indicators() {
		if got, ok := IndicatorOf(i.ID); !ok || got.Unit != i.Unit || i.Labels.Get("zh") == i.Labels.Get("en") {
			t.Errorf("%+v", i)
		}
		var d Domain
		if err := d.UnmarshalText([]byte(i.Domain.String())); err != nil || d != i.Domain {
			t.Errorf("%s: %v, %v", i.Domain, d, err)
		}
	}
	if _, ok := IndicatorOf("37120:2018:99.9"); ok {
		t.Error("an indicator that is none")
	}
}

func TestClock(t *testing.T) {
	start := parseTime("2026-03-01T00:00:00Z")
	now := Clock(start, MaxSpeed)
	a, b := now(), now()
	if a.Before(start) || b.Before(a) {
		t.Errorf("%s, then %s", a, b)
	}
}

func TestDecimalOf(t *testing.T) {
	for _, test := range []struct {
		millionths int64
		decimals   int
		want       string
	}{
		{0, 0, "0"}, {0, 2, "0.00"}, {1_234_567, 2, "1.23"}, {1_235_000, 2, "1.24"}, {999_999, 1, "1.0"}, {40_000, 1, "0.0"}, {50_000, 1, "0.1"},
		{123_456_789, 6, "123.456789"}, {5_499_999, 0, "5"}, {5_500_000, 0, "6"}, {12_000_000, 3, "12.000"},
	} {
		got := decimal(test.millionths, test.decimals)
		if string(got) != test.want || got.Check() != nil {
			t.Errorf("%d with %d decimals: %s, want %s", test.millionths, test.decimals, got, test.want)
		}
	}
}

// TestHash holds the source of noise against SplitMix64's published sequence for the
// seed 1234567.
func TestHash(t *testing.T) {
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := hash(1234567, uint64(i)); got != want {
			t.Errorf("number %d is %d, want %d", i, got, want)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	f := open(b, at("2026-03-03T00:00:00Z", 0))
	after := ""
	var size int
	for b.Loop() {
		p, err := f.Page(Query{After: after, Limit: 1000})
		if err != nil {
			b.Fatal(err)
		}
		if after = p.Next; !p.More {
			after = ""
		}
		body, err := json.Marshal(p)
		if err != nil {
			b.Fatal(err)
		}
		size = len(body)
	}
	b.ReportMetric(float64(size), "octets")
}

func Example() {
	now := time.Date(2026, 3, 1, 0, 2, 0, 0, time.UTC)
	f, err := New(Config{City: cityid.MustParse("MA.156.1301"), Seed: 1, Stations: 1, Begin: now.Add(-2 * time.Minute), Now: func() time.Time { return now }})
	if err != nil {
		panic(err)
	}
	page, err := f.Page(Query{Limit: 3})
	if err != nil {
		panic(err)
	}
	for _, o := range page.Items {
		fmt.Println(o.Time, o.Source, o.Indicator, o.Value, o.Unit)
	}
	// Output:
	// 2026-03-01T00:00:00Z MA.156.1301/30.070001/000001 37120:2018:7.1 12.10 kW.h/d/{person}
	// 2026-03-01T00:00:00Z MA.156.1301/30.080001/000001 37120:2018:8.1 64.7 ug/m3
	// 2026-03-01T00:00:00Z MA.156.1301/30.080001/000001 37120:2018:8.2 102.4 ug/m3
}

// TestDocument holds the table of docs/sharing.md against the indicators.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/sharing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range Indicators() {
		period := map[int]string{1: "minute", 1440: "day"}[i.Minutes]
		if !regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(i.ID) + "` \\| [^|]+ \\| `" + regexp.QuoteMeta(i.Unit) + "` \\| " + period + " \\|$").Match(b) {
			t.Errorf("docs/sharing.md has no row for %s in %s by %s", i.ID, i.Unit, period)
		}
	}
}
