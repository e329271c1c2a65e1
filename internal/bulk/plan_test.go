// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/xuri/excelize/v2"

	"cityid"
)

var parent = cityid.MustParse("MA.156.1301.01")

var compareCodes = cmp.Comparer(func(a, b cityid.Code) bool { return a == b })

func settings() *cityid.Settings {
	return &cityid.Settings{
		Rule: cityid.Rule{
			Kinds: []cityid.KindRule{
				{Kind: cityid.KindCity, Patterns: []string{"####"}},
				{Kind: cityid.KindCounty, Patterns: []string{"######"}},
				{Kind: cityid.KindDepartment, Patterns: []string{"##"}},
				{Kind: cityid.KindClass},
				{Kind: cityid.KindObject, Languages: []string{"zh"}},
			},
			Classes: []cityid.ClassRule{
				{Prefix: "20.010204", Disclosure: cityid.DisclosureCoarse},
				{Prefix: "20.010205", Disclosure: cityid.DisclosureSealed},
			},
		},
		Schemes: []cityid.Scheme{{Name: "old"}, {Name: "gbt", Patterns: []string{"######"}}},
	}
}

func options() Options { return Options{Parent: parent, Settings: settings()} }

func problemsOf(t *testing.T, err error) Problems {
	t.Helper()
	var p Problems
	if !errors.As(err, &p) {
		t.Fatalf("want problems, got %v", err)
	}
	return p
}

func mustPlan(t testing.TB, table *Table, o Options) *Plan {
	t.Helper()
	plan, err := NewPlan(table, o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := NewPlan(readFile(t, "broken.csv"), options())
	var got []string
	for _, p := range problemsOf(t, err) {
		got = append(got, p.String())
	}
	want, errRead := os.ReadFile("testdata/broken.golden")
	if errRead != nil {
		t.Fatal(errRead)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSuffix(string(want), "\n"), "\n"), got); diff != "" {
		t.Errorf("%s\n\n%s", diff, strings.Join(got, "\n"))
	}
}

func TestHeaderProblems(t *testing.T) {
	for _, test := range []struct{ header, parent, want string }{
		{"code,colour", "", "unknown column: rename it to one of code, class"},
		{"code,class,serial", "", "keep either"},
		{"name", "", "there is no code column"},
		{"serial", "", "serial without class"},
		{"class", "", "but no serial"},
		{"class,serial", "MA.156.1301/20.010203", "leave the class column out"},
		{"code,lat", "", "lat and lon go together"},
		{"code,name:zh,中文名称", "", "it holds the same as column name:zh"},
		{"code,alias:nope", "", "no crosswalk scheme nope; it has old, gbt"},
		{"code,alias:", "", "scheme name"},
		{"code,name:Z!", "", "BCP 47"},
		{"code,link:a b", "", "link relation"},
	} {
		o := options()
		if test.parent != "" {
			o.Parent = cityid.MustParse(test.parent)
		}
		_, err := NewPlan(readText(t, test.header+"\nx"), o)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.header, err, test.want)
		}
	}
	o := options()
	o.IgnoreUnknown = true
	mustPlan(t, readText(t, "code,colour,name\n20.010203/1,red,灯"), o)
}

func TestPlanRecords(t *testing.T) {
	plan := mustPlan(t, readText(t, "ＣＯＤＥ,名称,Name:EN,lat,lon,alias:old,alias：gbt,link,link:DescribedBy,status\n"+
		"20.010203/000002*"+cityid.MustParse("MA.156.1301.01/20.010203/000002").CheckCharacters()+",Cafe\u0301 灯 ,Lamp,38.04547401,-0.5,A１,１３０１０２,https://example.org/2,https://example.org/d,reserved\n"+
		"ma.156.1301.01/20.010203/０００００１,灯,,,,,,,,\n"), options())
	class := cityid.Allocation{Code: cityid.MustParse("MA.156.1301.01/20.010203"), Kind: cityid.KindClass}
	first := cityid.Allocation{Code: cityid.MustParse("MA.156.1301.01/20.010203/000001"), Kind: cityid.KindObject,
		Content: cityid.Content{Names: cityid.Names{{Lang: "zh", Text: "灯"}}}}
	second := cityid.Allocation{
		Code: cityid.MustParse("MA.156.1301.01/20.010203/000002"), Kind: cityid.KindObject, Reserved: true,
		Content: cityid.Content{
			Names:    cityid.Names{{Lang: "en", Text: "Lamp"}, {Lang: "zh", Text: "Café 灯"}},
			Links:    []cityid.Link{{Rel: "about", Href: "https://example.org/2"}, {Rel: "describedby", Href: "https://example.org/d"}},
			Location: &cityid.Location{Lat: 380454740, Lon: -5000000},
		},
		Aliases: []cityid.Alias{{Scheme: "gbt", Value: "130102"}, {Scheme: "old", Value: "A1"}},
	}
	want := []Batch{{0, []Item{{0, class}}}, {1, []Item{{3, first}, {2, second}}}}
	if diff := cmp.Diff(want, plan.Batches, compareCodes, cmpopts.IgnoreTypes(struct{}{})); diff != "" {
		t.Error(diff)
	}
	if plan.Rows != 2 || len(plan.Classes) != 1 {
		t.Errorf("%d rows, classes %v", plan.Rows, plan.Classes)
	}
}

func TestResolveCode(t *testing.T) {
	for _, test := range []struct{ parent, text, want string }{
		{"MA.156.1301", "01", "MA.156.1301.01"},
		{"MA.156.1301", "01.02", "MA.156.1301.01.02"},
		{"MA.156.1301", ".20.010203", "MA.156.1301.20.010203"},
		{"MA.156.1301", "20.010203", "MA.156.1301/20.010203"},
		{"MA.156.1301", "20.010203.L2/1", "MA.156.1301/20.010203.L2/1"},
		{"MA.156.1301", "MA.156.1302", "MA.156.1302"},
		{"MA.156.1301", "ma.156.1301.7", "MA.156.1301.7"},
		{"MA.156.1301/20.010203", "000123", "MA.156.1301/20.010203/000123"},
		{"MA.156.1301/20.010203", ".L2", "MA.156.1301/20.010203.L2"},
		{"MA.156.1301/20.010203/7", "L1", "MA.156.1301/20.010203/7.L1"},
		{"MA", "156", "MA.156"},
		{"MA.156.1301", "20.01", "MA.156.1301.20.01"},
		{"MA.156.1301", "20.0102", "error: not a code: offset 7: the category has at least 6 digits"},
		{"MA.156.1301", "01*00", "error: not a code: offset 3: the check characters 00 do not fit the code, so something in it was mistyped or left out"},
		{"MA.156.1301", "20.010203/-", "error: not a code: offset 10: a hyphen stands only inside a model"},
	} {
		code, err := resolveCode(cityid.MustParse(test.parent), test.text)
		got := code.String()
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != test.want {
			t.Errorf("%s below %s is %s, want %s", test.text, test.parent, got, test.want)
		}
	}
}

func TestLostZeros(t *testing.T) {
	const some = "class,serial,name\n20.010203,000001,a\n20.010203,2,b\n20.010204,3,c\n"
	const all = "class,serial,name\n20.010203,9,a\n20.010203,10,b\n20.010203,X1,c\n"
	const fine = "class,serial,name\n20.010203,10,a\n20.010203,11,b\n20.010204,1,c\n"
	const alias = "code,name,alias:old\n20.010203/A,a,007\n20.010203/B,b,8\n20.010203/C,c,1234\n"
	for _, test := range []struct {
		text string
		edit func(*Options)
		want []int // lines of problems
	}{
		{some, nil, []int{3}},
		{all, nil, []int{2}},
		{fine, nil, nil},
		{alias, nil, []int{3}},
		{some, func(o *Options) { o.AsIs = true }, nil},
		{some, func(o *Options) { o.Width = 6 }, nil},
		{all, func(o *Options) { o.Width = 3 }, nil},
		{all, func(o *Options) { o.AsIs = true }, nil},
		{"code,name\n1,a\n2,b\n", nil, []int{2, 3}}, // a department's last node has two digits
	} {
		o := options()
		if test.edit != nil {
			test.edit(&o)
		}
		_, err := NewPlan(readText(t, test.text), o)
		var lines []int
		if err != nil {
			for _, p := range problemsOf(t, err) {
				lines = append(lines, p.Line)
				if !strings.Contains(p.Reason, "leading zeros look lost") {
					t.Errorf("%q: %s", test.text, p)
				}
			}
		}
		if diff := cmp.Diff(test.want, lines); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
	o := options()
	o.Width = 3
	plan := mustPlan(t, readText(t, all), o)
	if got := plan.Batches[1].Items[0].Allocation.Code.Item(); got != "009" {
		t.Errorf("padded to %s", got)
	}
}

func TestWorkbookNumbers(t *testing.T) {
	data := workbook(t, [][]any{
		{"class", "serial", "name", "alias:old"},
		{20.010203, "000001", "a", "x"},         // a class as a number is whole
		{"20.010203", 2, "b", 123456789012},     // zeros lost; a long number that is stored whole
		{"20.010203", 3, "c", 1234567890123456}, // shown as 000003; digits lost
	}, func(f *excelize.File) {
		style, err := f.NewStyle(&excelize.Style{CustomNumFmt: ptr("000000")})
		if err := errors.Join(err, f.SetCellStyle("Sheet1", "B4", "B4", style)); err != nil {
			t.Fatal(err)
		}
	})
	table, err := ReadTable(bytes.NewReader(data), "book.xlsx", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewPlan(table, options())
	var got []string
	for _, p := range problemsOf(t, err) {
		reason, _, _ := strings.Cut(p.Reason, ":")
		got = append(got, p.Cell+" "+reason)
	}
	want := []string{
		"B3 shorter than others, which have 6 digits",
		"B4 the cell holds the number 3, shown as 000003",
		"D4 the cell holds the number 1234567890123456, shown as 1.23456789012346E+15",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlaces(t *testing.T) {
	o := options()
	o.Parent = cityid.MustParse("MA.156.1301")
	plan := mustPlan(t, readText(t, "code,kind\nMA.156.130102,county\n01,\n"), o)
	items := plan.Batches[0].Items
	if len(items) != 2 || items[0].Allocation.Code.String() != "MA.156.1301.01" || items[1].Allocation.Parent != o.Parent {
		t.Errorf("%+v", items)
	}
	o.Parent = cityid.MustParse("MA.156")
	plan = mustPlan(t, readText(t, "code,kind\n130102,区县\n1301,市\nMA.156.1301.01,\n"), o)
	var got []string
	for _, b := range plan.Batches {
		for _, item := range b.Items {
			got = append(got, fmt.Sprint(b.Level, item.Allocation.Code))
		}
	}
	if diff := cmp.Diff([]string{"0 MA.156.1301", "1 MA.156.1301.01", "1 MA.156.130102"}, got); diff != "" {
		t.Error(diff)
	}
	_, err := NewPlan(readText(t, "code\n1301\n"), o)
	if p := problemsOf(t, err); len(p) != 1 || !strings.Contains(p[0].Reason, "name its kind") {
		t.Errorf("%v", p)
	}
}

func TestParentsThatAreMissing(t *testing.T) {
	asked := map[cityid.Code]int{}
	o := options()
	o.Exists = func(c cityid.Code) (bool, error) { asked[c]++; return c.LastNode() == "07", nil }
	table := readText(t, "code,name\nMA.156.1301.01.07/20.010203/1,a\nMA.156.1301.01.08.01,b\n20.010203/1.L1,c\n20.010203/2,d\n20.010203/3,e\n")
	_, err := NewPlan(table, o)
	p := problemsOf(t, err)
	if len(p) != 2 || p[0].Line != 3 || !strings.Contains(p[0].Reason, "MA.156.1301.01.08 is not allocated") || p[1].Line != 4 {
		t.Errorf("%v", p)
	}
	for code, n := range asked {
		if n > 1 {
			t.Errorf("%s was asked for %d times", code, n)
		}
	}
	o.Exists = func(cityid.Code) (bool, error) { return false, cityid.ErrUnavailable }
	if _, err := NewPlan(table, o); !errors.Is(err, cityid.ErrUnavailable) {
		t.Errorf("a node that can not be asked: %v", err)
	}
}

func TestDisclosure(t *testing.T) {
	const text = "class,serial,name,lat,lon\n20.010204,1,粗,38.12345,114.54321\n20.010205,1,密,38.12345,114.54321\n"
	o := options()
	_, err := NewPlan(readText(t, text), o)
	if p := problemsOf(t, err); len(p) != 2 {
		t.Errorf("%v", p)
	}
	o.Coarsen = true
	key, err := SaltKey(filepath.Join(t.TempDir(), "salts"))
	if err != nil {
		t.Fatal(err)
	}
	o.SaltKey = key
	plan := mustPlan(t, readText(t, text), o)
	coarse, sealed := plan.Batches[1].Items[0].Allocation, plan.Batches[1].Items[1].Allocation
	if !coarse.Content.Location.IsCoarse() {
		t.Errorf("location %v is not coarse", coarse.Content.Location)
	}
	if !sealed.Content.IsZero() || len(plan.Sealed) != 1 {
		t.Fatalf("%+v is not sealed", sealed)
	}
	kept := plan.Sealed[0]
	if kept.Code != sealed.Code || cityid.SealDigest([32]byte(kept.Salt), kept.Content) != sealed.Sealed {
		t.Error("what is kept does not open the seal")
	}
	var b bytes.Buffer
	if err := WriteSealed(&b, plan.Sealed); err != nil || !strings.Contains(b.String(), "密") || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestSaltKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "salts")
	a, err := SaltKey(path)
	if err != nil || a == [32]byte{} {
		t.Fatal(a, err)
	}
	if b, err := SaltKey(path); err != nil || a != b {
		t.Errorf("another key the second time: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SaltKey(path); err == nil {
		t.Error("a damaged key was read")
	}
}

func TestPlanIsDeterministic(t *testing.T) {
	table := readText(t, lamps(1200))
	a, b := mustPlan(t, table, options()), mustPlan(t, table, options())
	if a.Digest != b.Digest || len(a.Batches) != 4 {
		t.Errorf("%d batches, digests %s %s", len(a.Batches), a.Digest, b.Digest)
	}
	for _, batch := range a.Batches {
		size := 0
		for _, item := range batch.Items {
			size += len(cityid.MustMarshal(&item.Allocation))
		}
		if len(batch.Items) > MaxBatch || size > MaxBatchBytes {
			t.Errorf("a batch of %d items, %d octets", len(batch.Items), size)
		}
	}
	o := options()
	o.BatchSize = 100
	if c := mustPlan(t, table, o); c.Digest == a.Digest {
		t.Error("other batches have the same digest")
	}
}

func TestBatchBytes(t *testing.T) {
	var b strings.Builder
	b.WriteString("code,name,link\n")
	for i := range 500 {
		fmt.Fprintf(&b, "20.010203/%06d,灯,https://example.org/%s\n", i, strings.Repeat("x", 990))
	}
	plan := mustPlan(t, readText(t, b.String()), options())
	for _, batch := range plan.Batches {
		var op cityid.Allocate
		for _, item := range batch.Items {
			op.Items = append(op.Items, item.Allocation)
		}
		if n := len(cityid.MustMarshal(&op)); n > MaxBatchBytes+8 {
			t.Errorf("a batch of %d octets", n)
		}
	}
	if len(plan.Batches) != 3 {
		t.Errorf("%d batches", len(plan.Batches))
	}
}

func TestSharedAliasWarns(t *testing.T) {
	plan := mustPlan(t, readText(t, "code,name,alias:old\n20.010203/1,a,X\n20.010203/2,b,X\n"), options())
	if len(plan.Warnings) != 1 || plan.Warnings[0].Line != 3 {
		t.Errorf("%v", plan.Warnings)
	}
}

func TestGCJ02(t *testing.T) {
	// The forward formula's published example.
	lat, lon := wgs84ToGCJ02(39.915, 116.404)
	if math.Abs(lat-39.91640428150164) > 1e-9 || math.Abs(lon-116.41024449916938) > 1e-9 {
		t.Errorf("forward: %.9f, %.9f", lat, lon)
	}
	for lat := 4.0; lat < 53; lat += 3.7 {
		for lon := 74.0; lon < 135; lon += 4.3 {
			gLat, gLon := wgs84ToGCJ02(lat, lon)
			bLat, bLon, ok := GCJ02ToWGS84(gLat, gLon)
			if !ok || math.Abs(bLat-lat) > 1e-8 || math.Abs(bLon-lon) > 1e-8 {
				t.Errorf("%g, %g came back as %.9f, %.9f", lat, lon, bLat, bLon)
			}
		}
	}
	if lat, lon, ok := GCJ02ToWGS84(51.5, -0.1); ok || lat != 51.5 || lon != -0.1 {
		t.Error("London was converted")
	}
	if _, _, ok := GCJ02ToWGS84(math.NaN(), 100); ok {
		t.Error("NaN was converted")
	}
}

// lamps returns a table of n objects.
func lamps(n int) string {
	var b strings.Builder
	b.WriteString("class,serial,name:zh,lat,lon,alias:old\n")
	for i := range n {
		fmt.Fprintf(&b, "20.010203,%06d,路灯%d,38.%06d,114.502461,LP-%d\n", i, i, i, i)
	}
	return b.String()
}

func BenchmarkPlan(b *testing.B) {
	const rows = 100_000
	text := lamps(rows)
	for b.Loop() {
		table, err := ReadTable(strings.NewReader(text), "lamps.csv", ReadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		mustPlan(b, table, options())
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
