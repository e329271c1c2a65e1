// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/index"
)

var compareCodes = cmp.Comparer(func(a, b cityid.Code) bool { return a == b })

// TestMeaning finds datasets by what stands for their department or industry in
// other systems, also after a merger.
func TestMeaning(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(apex, g.URL)
	industry, old := cityid.MustParse("MA.156.I6"), cityid.MustParse("MA.156.1301.03")
	newer := cityid.MustParse("MA.156.1301.04")
	w.registry.set(
		cityid.Record{Code: industry, Parent: apex, Kind: cityid.KindIndustry, Content: cityid.Content{Names: names("信息服务业", "Information services")}, Aliases: []cityid.Alias{
			{Scheme: "gbt4754", Value: "I65"}, {Scheme: "isic", Value: "J62"}}},
		cityid.Record{Code: old, Parent: sjz, Kind: cityid.KindDepartment, Content: cityid.Content{Names: names("旧局", "Old bureau")}, Aliases: []cityid.Alias{{Scheme: "dept", Value: "0999"}}},
		cityid.Record{Code: newer, Parent: sjz, Kind: cityid.KindDepartment, Content: cityid.Content{Names: names("新局", "New bureau")}},
		cityid.Record{Code: cityid.MustParse("MA.156.1301.03/20.020301"), Kind: cityid.KindClass},
		cityid.Record{Code: cityid.MustParse("MA.156.1301.04/20.020301"), Kind: cityid.KindClass},
	)
	term, err := dcat.SchemeTerm("isic", "J62")
	if err != nil {
		t.Fatal(err)
	}
	unmapped, err := dcat.SchemeTerm("isic", "Z9")
	if err != nil {
		t.Fatal(err)
	}
	theme := func(iri string) func(*dcat.Dataset) {
		return func(d *dcat.Dataset) {
			d.Themes = append(d.Themes, dcat.Concept{ID: iri, Label: names("主题", "Theme")})
		}
	}
	oldData, newData := cityid.MustParse("MA.156.1301.03/20.020301/OLD"), cityid.MustParse("MA.156.1301.04/20.020301/NEW")
	w.publish(g, dataset(t, oldData, "旧数据", "Old data"))
	w.publish(g, dataset(t, newData, "新数据", "New data"))
	w.publish(g, dataset(t, parking, "停车", "Parking", theme(term)))
	w.publish(g, dataset(t, air, "空气", "Air", theme(unmapped), func(d *dcat.Dataset) { // of Tianjin, which names a bureau of Shijiazhuang
		d.Publisher = &dcat.Agent{Coded: dcat.At(ref(t, traffic)), Name: names("交通管理局", "Traffic bureau")}
	}))
	w.settled()
	check := func(what, text string, want ...cityid.Code) {
		t.Helper()
		if diff := cmp.Diff(want, w.find(cityid.DatasetQuery{Text: text, Sort: cityid.SortCode}), compareCodes); diff != "" {
			t.Errorf("%s: %q (-want +got):\n%s", what, text, diff)
		}
	}
	check("former number", "0107", parking)
	check("with its scheme", "dept:0107", parking)
	check("of another scheme", "isic:0107")
	check("industry by GB/T 4754", "I65", parking)
	check("in small letters", "i65", parking)
	check("in full width", "ｉ６５", parking)
	check("industry by ISIC", "J62", parking)
	check("industry by code", "MA.156.I6", parking)
	check("a term that the registry does not map", "Z9", air)
	check("department", "MA.156.1301.02", parking)
	check("city", "MA.156.1301", parking, oldData, newData)
	check("dataset", parking.String(), parking)
	check("with check characters", parking.Display(), parking)
	check("no code", "MA.156.1301.77")
	a, err := w.Dataset(t.Context(), air)
	if err != nil || !slices.ContainsFunc(a.Findings, func(f cityid.DatasetFinding) bool { return f.ID == "publisher-elsewhere" }) {
		t.Errorf("publisher of another city: %v %+v", err, a)
	}
	// The old bureau is merged into the new one.
	w.registry.edit(old, func(r *cityid.Record) {
		r.Status, r.Heir, r.Successors = cityid.StatusRetired, newer, []cityid.Code{newer}
	})
	w.settled()
	check("former number after the merger", "0999", oldData, newData)
	check("retired code", old.String(), oldData, newData)
	check("heir", newer.String(), oldData, newData)
	page, err := w.Datasets(t.Context(), cityid.DatasetQuery{Text: "0999", Departments: []cityid.Code{newer}})
	if err != nil {
		t.Fatal(err)
	}
	if m := page.Meanings; page.Total != 2 || len(m) != 1 || m[0].Scheme != "dept" || m[0].Code.Code != old || len(m[0].Now) != 1 || m[0].Now[0].Code != newer {
		t.Errorf("%d datasets, meaning %+v", page.Total, m)
	}
	// An industry is mapped later.
	w.registry.set(cityid.Record{Code: cityid.MustParse("MA.156.Z9"), Parent: apex, Kind: cityid.KindIndustry, Aliases: []cityid.Alias{{Scheme: "isic", Value: "Z9"}, {Scheme: "gbt4754", Value: "Z99"}}})
	w.settled()
	check("mapped later", "gbt4754:Z99", air)
	if got := w.find(cityid.DatasetQuery{Industries: []cityid.Code{cityid.MustParse("MA.156.Z9")}}); !slices.Equal(got, []cityid.Code{air}) {
		t.Errorf("industry facet: %v", got)
	}
}

func TestWords(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(apex, g.URL)
	w.publish(g, dataset(t, parking, "石家庄停车场空余车位", "Free places in car parks of Shijiazhuang"))
	w.publish(g, dataset(t, buses, "公交车到站", "Bus arrivals", func(d *dcat.Dataset) {
		d.Description = names("停车时间包括在内。", "Stops, and how long buses stand there.")
		d.Keywords = dcat.Keywords{{Lang: "en", Words: []string{"punctuality", "Café"}}, {Lang: "zh", Words: []string{"准点"}}}
	}))
	w.publish(g, dataset(t, air, "天津空气质量", "Air quality"))
	w.settled()
	for _, c := range []struct {
		text string
		want []cityid.Code
	}{
		{"停车", []cityid.Code{parking, buses}}, {"停车场", []cityid.Code{parking}}, {"车场", []cityid.Code{parking}}, {"场车", nil},
		{"车", []cityid.Code{parking, buses}}, {"空", []cityid.Code{air, parking}}, {"家庄停", []cityid.Code{parking}}, {"庄车", nil},
		{"park", []cityid.Code{parking}}, {"PARKS free", []cityid.Code{parking}}, {"arks", nil}, {"cafe", []cityid.Code{buses}}, {"准点", []cityid.Code{buses}},
		{"air 空气", []cityid.Code{air}}, {"air 停车", nil}, {"traffic", []cityid.Code{buses, parking}}, {"交通管理局", []cityid.Code{buses, parking}},
		{`"; DROP TABLE`, nil}, {`a" OR "b`, nil}, {"*", nil}, {"   ", []cityid.Code{air, buses, parking}}, {"title:park", nil}, {"car NEAR park", nil},
	} {
		got := w.find(cityid.DatasetQuery{Text: c.text})
		if c.text != "停车" { // in a title it comes before a description
			slices.SortFunc(got, cityid.Code.Compare)
			slices.SortFunc(c.want, cityid.Code.Compare)
		}
		if diff := cmp.Diff(c.want, got, compareCodes); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

// TestModel compares answers with what looking at every dataset by hand gives.
func TestModel(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(apex, g.URL)
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	var all []*dcat.Dataset
	for k := range 120 {
		class := pick("MA.156.1301.02/20.020301", "MA.156.12/20.030101")
		d := dataset(t, cityid.MustParse(fmt.Sprintf("%s/M%d", class, k)), pick("停车", "空气质量", "用水量")+fmt.Sprint(k), pick("Parking", "Air quality", "Water use"), func(d *dcat.Dataset) {
			d.Themes[0].ID = dcat.EUTheme + pick("TRAN", "ENVI", "HEAL")
			d.Frequency = dcat.EUFrequency + pick("DAILY", "MONTHLY", "ANNUAL", "HOURLY", "IRREG")
			d.Modified = cityid.Time(1_700_000_000 + rng.IntN(100_000_000))
			d.Distributions[0].Format = dcat.EUFileType + pick("CSV", "JSON")
			if rng.IntN(3) == 0 {
				d.Access, d.Policies[0].NoDistribution = dcat.Open, false
			}
			if rng.IntN(3) == 0 {
				d.Contact, d.Temporal = nil, nil
			}
			if rng.IntN(2) == 0 {
				d.Indicators = []dcat.Indicator{{ID: fmt.Sprintf("37120:2018:%d.1", rng.IntN(3)+1)}}
			}
		})
		all = append(all, d)
		w.publish(g, d)
	}
	w.settled()
	now := w.now()
	for range 300 {
		q := cityid.DatasetQuery{Limit: 1 + rng.IntN(40), Sort: cityid.DatasetSort(rng.IntN(5))}
		if rng.IntN(2) == 0 {
			q.Text = pick("停车", "park", "质量", "a", "water 用水", "nothing", "1", "trans")
		}
		some := func() bool { return rng.IntN(4) == 0 }
		if some() {
			q.Cities = []cityid.Code{sjz, tj}[:1+rng.IntN(2)]
		}
		if some() {
			q.Below = []cityid.Code{sjz, tj, traffic}[rng.IntN(3)]
		}
		if some() {
			q.Themes = []string{dcat.EUTheme + pick("TRAN", "ENVI"), dcat.EUTheme + "GOVE"}
		}
		if some() {
			q.Formats = []string{pick("CSV", "JSON", "XML")}
		}
		if some() {
			q.Classes = []cityid.DatasetClass{cityid.DatasetClass(1 + rng.IntN(3))}
		}
		if some() {
			q.Freshness = []cityid.Freshness{cityid.Freshness(1 + rng.IntN(5))}
		}
		if some() {
			q.Qualities = []cityid.Quality{cityid.Quality(1 + rng.IntN(4)), cityid.QualityGood}
		}
		if some() {
			q.Indicators = []string{fmt.Sprintf("37120:2018:%d.1", rng.IntN(3)+1)}
		}
		want := map[cityid.Code]bool{}
		for _, d := range all {
			if modelMatches(d, &q, now, -1) {
				want[d.Identifier] = true
			}
		}
		got := w.find(q)
		for _, code := range got {
			if !want[code] {
				t.Errorf("%+v finds %s", q, code)
			}
			delete(want, code)
		}
		if len(want) > 0 {
			t.Errorf("%+v does not find %v", q, want)
		}
		checkOrder(w, q, all, got)
		checkFacets(w, q, all, now)
	}
}

// modelMatches reports whether a dataset meets the conditions of a question; but
// leaves out that of a facet.
func modelMatches(d *dcat.Dataset, q *cityid.DatasetQuery, now cityid.Time, but int) bool {
	e := modelEntry(d)
	for _, term := range index.Terms(index.Fold(q.Text)) {
		found := false
		for _, text := range modelTexts(d) {
			for _, n := range index.Terms(index.Fold(text)) {
				found = found || n.Dense == term.Dense && (strings.HasPrefix(n.Text, term.Text) || term.Dense && strings.Contains(n.Text, term.Text))
			}
		}
		if !found {
			return false
		}
	}
	in := func(facet int, empty bool, ok bool) bool { return facet == but || empty || ok }
	return (q.Below.IsZero() || q.Below == e.City.Code || q.Below.Covers(d.Identifier)) &&
		in(facetCity, q.Cities == nil, slices.Contains(q.Cities, e.City.Code)) &&
		in(facetTheme, q.Themes == nil, slices.Contains(q.Themes, d.Themes[0].ID)) &&
		in(facetFormat, q.Formats == nil, slices.Contains(q.Formats, e.Formats[0])) &&
		in(facetClass, q.Classes == nil, slices.Contains(q.Classes, cityid.DatasetClass(d.Access))) &&
		in(facetFreshness, q.Freshness == nil, slices.Contains(q.Freshness, freshness(e, now))) &&
		in(facetQuality, q.Qualities == nil, slices.Contains(q.Qualities, e.Quality)) &&
		in(facetIndicator, q.Indicators == nil, len(d.Indicators) > 0 && slices.Contains(q.Indicators, d.Indicators[0].ID))
}

func modelEntry(d *dcat.Dataset) *cityid.DatasetEntry {
	city := tj
	if sjz.Covers(d.Identifier) {
		city = sjz
	}
	points := dcat.Rate(d).Points
	return &cityid.DatasetEntry{
		City: &cityid.NamedCode{Code: city}, Formats: []string{shortName(d.Distributions[0].Format)}, Modified: d.Modified, Frequency: d.Frequency,
		Due: due(d.Modified, d.Frequency), Held: cityid.Digest{1}, Points: points, Quality: cityid.QualityOf(points),
	}
}

func modelTexts(d *dcat.Dataset) []string {
	out := []string{"city", "城市", shortName(d.Distributions[0].Format), "交通", "Transport", "石家庄市", "Shijiazhuang", "交通管理局", "Traffic bureau"}
	if !sjz.Covers(d.Identifier) {
		out = []string{"city", "城市", shortName(d.Distributions[0].Format), "交通", "Transport", "天津市", "Tianjin"}
	}
	for _, n := range slices.Concat(d.Title, d.Description, themeNames(d.Themes[0].ID)) {
		out = append(out, n.Text)
	}
	for _, i := range d.Indicators {
		out = append(out, i.ID)
	}
	return out
}

func checkOrder(w *world, q cityid.DatasetQuery, all []*dcat.Dataset, got []cityid.Code) {
	w.Helper()
	by := map[cityid.Code]*dcat.Dataset{}
	for _, d := range all {
		by[d.Identifier] = d
	}
	for i := 1; i < len(got); i++ {
		a, b := by[got[i-1]], by[got[i]]
		points := dcat.Rate(a).Points - dcat.Rate(b).Points
		switch {
		case q.Sort == cityid.SortCode && got[i-1].Compare(got[i]) >= 0,
			q.Sort == cityid.SortModified && (a.Modified < b.Modified || a.Modified == b.Modified && got[i-1].Compare(got[i]) >= 0),
			(q.Sort == cityid.SortQuality || q.Sort == 0 && q.Text == "") && (points < 0 || points == 0 && got[i-1].Compare(got[i]) >= 0):
			w.Errorf("%+v: %s comes before %s", q, got[i-1], got[i])
		}
	}
}

func checkFacets(w *world, q cityid.DatasetQuery, all []*dcat.Dataset, now cityid.Time) {
	w.Helper()
	page, err := w.Datasets(context.Background(), q)
	if err != nil {
		w.Fatal(err)
	}
	of := func(d *dcat.Dataset) [facets]string {
		e := modelEntry(d)
		var s [facets]string
		s[facetCity], s[facetTheme], s[facetFormat], s[facetClass] = e.City.Code.String(), d.Themes[0].ID, e.Formats[0], cityid.DatasetClass(d.Access).String()
		s[facetFreshness], s[facetQuality], s[facetState] = freshness(e, now).String(), e.Quality.String(), "current"
		if len(d.Indicators) > 0 {
			s[facetIndicator] = d.Indicators[0].ID
		}
		return s
	}
	for facet, f := range page.Facets {
		if facet == facetDepartment || facet == facetIndustry {
			continue
		}
		want := map[string]int{}
		for _, d := range all {
			if modelMatches(d, &q, now, facet) {
				if v := of(d)[facet]; v != "" {
					want[v]++
				}
			}
		}
		got := map[string]int{}
		for _, v := range f.Values {
			if v.Count > 0 {
				got[v.Value] = v.Count
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("%+v: facet %s (-want +got):\n%s", q, f.Name, diff)
		}
	}
}

func TestQueriesRefused(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(apex, g.URL)
	for k := range 3 {
		w.publish(g, dataset(t, cityid.MustParse(fmt.Sprintf("MA.156.12/20.030101/Q%d", k)), "一", "One"))
	}
	w.settled()
	page, err := w.Datasets(t.Context(), cityid.DatasetQuery{Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatal(err, page)
	}
	for name, q := range map[string]cityid.DatasetQuery{
		"text": {Text: strings.Repeat("a", 201)}, "limit": {Limit: 101}, "negative": {Limit: -1}, "class": {Classes: []cityid.DatasetClass{9}},
		"freshness": {Freshness: []cityid.Freshness{9}}, "quality": {Qualities: []cityid.Quality{9}}, "state": {States: []cityid.DatasetState{99}},
		"sort": {Sort: 9}, "many": {Themes: make([]string, 51)},
		"cursor": {After: "x"}, "cursor of another question": {Text: "一", After: page.Next}, "half a cursor": {After: page.Next[:20]},
	} {
		if _, err := w.Datasets(t.Context(), q); cityid.CodeOf(err) != cityid.ErrInvalid && cityid.CodeOf(err) != cityid.ErrMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, q := range map[string]cityid.CatalogueQuery{"limit": {Limit: 1001}, "cursor": {After: "AAAA"}} {
		if _, err := w.CatalogueDocument(t.Context(), q); err == nil {
			t.Errorf("%s of the document is taken", name)
		}
	}
	w.stop()
	if _, err := w.Datasets(t.Context(), cityid.DatasetQuery{}); cityid.CodeOf(err) != cityid.ErrUnavailable {
		t.Errorf("closed: %v", err)
	}
}

// TestCatalogueDocument reads the catalogue as any harvester would, page by page.
func TestCatalogueDocument(t *testing.T) {
	w := newWorld(t)
	g := newGateway(t)
	w.links(apex, g.URL)
	want := map[cityid.Code][]byte{}
	for k := range 25 {
		code := cityid.MustParse(fmt.Sprintf("%s/D%d", []string{"MA.156.1301.02/20.020301", "MA.156.12/20.030101"}[k%2], k))
		want[code] = w.publish(g, dataset(t, code, "数据", "Data"))
	}
	bad := w.serve(g, dataset(t, parking, "坏", "Bad"))
	bad.Content.Dataset.Document = cityid.Digest{1}
	w.registry.set(bad)
	w.state(parking, cityid.DatasetRefused)
	w.settled()
	for _, q := range []cityid.CatalogueQuery{{}, {Limit: 1}, {Limit: 10}, {City: sjz, Limit: 5}, {City: traffic}, {City: tj, Limit: 12}} {
		got := map[cityid.Code]bool{}
		pages := 0
		for q.After = ""; ; pages++ {
			doc, err := w.CatalogueDocument(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			c, err := dcat.ReadCatalogue(bytes.NewReader(doc.Body), func(h dcat.Harvested) error {
				if got[h.Dataset.Identifier] || !bytes.Equal(h.Document, want[h.Dataset.Identifier]) {
					t.Errorf("%s comes twice or is another", h.Dataset.Identifier)
				}
				got[h.Dataset.Identifier] = true
				return nil
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, doc.Body)
			}
			if id := "https://id.example/v1/catalogue"; c.ID != id && c.ID != id+"?city="+q.City.String() {
				t.Errorf("catalogue %s", c.ID)
			}
			for _, r := range c.Records {
				if r.Chain != "test-1" || r.Height <= w.registry.height {
					t.Errorf("record %+v", r)
				}
			}
			if q.After = doc.Next; q.After == "" {
				break
			}
		}
		for code := range want {
			if within := q.City.IsZero() || code.Within(q.City); within != got[code] {
				t.Errorf("%+v: %s is listed: %v", q, code, got[code])
			}
		}
		if q.Limit == 1 && pages != 24 {
			t.Errorf("%d pages of one", pages+1)
		}
	}
}

func TestFreshness(t *testing.T) {
	const day = 86400
	now := cityid.Time(1_800_000_000)
	for _, c := range []struct {
		frequency string
		age       int
		want      cityid.Freshness
	}{
		{"DAILY", 0, cityid.FreshnessFresh}, {"DAILY", 2*day - 1, cityid.FreshnessFresh}, {"DAILY", 2 * day, cityid.FreshnessLate},
		{"MONTHLY", 46 * day, cityid.FreshnessFresh}, {"MONTHLY", 47 * day, cityid.FreshnessLate}, {"ANNUAL", 549 * day, cityid.FreshnessLate},
		{"5MIN", 1000 * day, cityid.FreshnessLive}, {"CONT", 0, cityid.FreshnessLive}, {"IRREG", 9999 * day, cityid.FreshnessIrregular},
		{"UNKNOWN", 0, cityid.FreshnessUnknown}, {"FORTNIGHTLY", 0, cityid.FreshnessUnknown}, {"DAILY", -2 * day, cityid.FreshnessUnknown},
		{"", 0, cityid.FreshnessUnknown},
	} {
		e := &cityid.DatasetEntry{Held: cityid.Digest{1}, Modified: now - cityid.Time(c.age), Frequency: dcat.EUFrequency + c.frequency}
		e.Due = due(e.Modified, e.Frequency)
		if got := freshness(e, now); got != c.want {
			t.Errorf("%s changed %d s ago: %s, want %s", c.frequency, c.age, got, c.want)
		}
	}
	if got := freshness(&cityid.DatasetEntry{}, now); got != 0 {
		t.Errorf("nothing described: %s", got)
	}
}

func FuzzCursor(f *testing.F) {
	q := cityid.DatasetQuery{Text: "x", Limit: 5}
	f.Add((&item{a: -1, b: 1 << 40, code: "MA.156.1301"}).cursor(&q), "")
	f.Add("", place(&cityid.CatalogueQuery{City: sjz}, "https://id.example/MA.156.1301"))
	f.Fuzz(func(t *testing.T, cursor, page string) {
		q.After = cursor
		if x, err := parseCursor(&q); err == nil && x != nil && x.cursor(&q) != cursor {
			t.Errorf("%q reads as %+v", cursor, x)
		}
		c := cityid.CatalogueQuery{City: sjz, After: page}
		if iri, err := parsePlace(&c); err == nil && page != "" && place(&c, iri) != page {
			t.Errorf("%q reads as %q", page, iri)
		}
	})
}

// FuzzMatch looks for any text: the expression of the full-text table is never
// refused.
func FuzzMatch(f *testing.F) {
	w := newWorld(f, func(o *Options) { o.Log = nil })
	f.Add("石家庄 park")
	f.Add(`"a" NOT (b OR c*)`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxText {
			return
		}
		if _, err := w.Datasets(t.Context(), cityid.DatasetQuery{Text: text}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
