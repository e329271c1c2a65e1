// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/internal/dcat"
)

func findings(d *dcat.Dataset) []string {
	var out []string
	for _, f := range dcat.Check(d) {
		out = append(out, string(f.Severity)+" "+f.ID+" "+f.Path)
	}
	return out
}

// changes break one thing each in a description without findings.
var changes = []struct {
	name   string
	change func(d *dcat.Dataset)
	want   []string
}{
	{"nothing", func(*dcat.Dataset) {}, nil},
	{"title", func(d *dcat.Dataset) { d.Title = nil }, []string{"error title-missing /title"}},
	{"title in one language", func(d *dcat.Dataset) { d.Title = d.Title[:1] }, []string{"warning title-languages /title"}},
	{"title in a variety", func(d *dcat.Dataset) { d.Title[1].Lang = "zh-CN" }, nil},
	{"description", func(d *dcat.Dataset) { d.Description = nil }, []string{"error description-missing /description"}},
	{"description in one language", func(d *dcat.Dataset) { d.Description = d.Description[1:] }, []string{"warning description-languages /description"}},
	{"keywords", func(d *dcat.Dataset) { d.Keywords = nil }, []string{"error keyword-zh /keyword", "error keyword-en /keyword"}},
	{"keywords in Chinese", func(d *dcat.Dataset) { d.Keywords = d.Keywords[:1] }, []string{"error keyword-zh /keyword"}},
	{"themes", func(d *dcat.Dataset) { d.Themes = nil }, []string{"error theme-missing /theme"}},
	{"theme without name", func(d *dcat.Dataset) { d.Themes[1].Label = nil }, []string{"error theme-name /theme/1"}},
	{"theme elsewhere", func(d *dcat.Dataset) { d.Themes[0].ID = dcat.EUTheme + "CITY" }, []string{"warning theme-unknown /theme/0/@id"}},
	{"issued", func(d *dcat.Dataset) { d.Issued = 0 }, []string{"error issued-missing /issued"}},
	{"modified", func(d *dcat.Dataset) { d.Modified = 0 }, []string{"error modified-missing /modified"}},
	{"modified early", func(d *dcat.Dataset) { d.Modified = d.Issued - 1 }, []string{"error modified-early /modified"}},
	{"frequency", func(d *dcat.Dataset) { d.Frequency = "" }, []string{"error frequency-missing /accrualPeriodicity"}},
	{"frequency elsewhere", func(d *dcat.Dataset) { d.Frequency = "http://purl.org/cld/freq/daily" }, []string{"warning frequency-unknown /accrualPeriodicity"}},
	{"language", func(d *dcat.Dataset) { d.Languages = nil }, []string{"error language-missing /language"}},
	{"language elsewhere", func(d *dcat.Dataset) { d.Languages[0] = "https://x.example/zh" }, []string{"warning language-unknown /language"}},
	{"page", func(d *dcat.Dataset) { d.LandingPage = "" }, []string{"warning landing-page /landingPage"}},
	{"version", func(d *dcat.Dataset) { d.Version = "" }, []string{"warning version /version"}},
	{"publisher", func(d *dcat.Dataset) { d.Publisher = nil }, []string{"error publisher-missing /publisher"}},
	{"publisher without name", func(d *dcat.Dataset) { d.Publisher.Name = nil }, []string{"error publisher-name /publisher/name"}},
	{"publisher elsewhere", func(d *dcat.Dataset) {
		r, _ := dcat.NewRef("other.example", cityid.MustParse("MA.156.1302"))
		d.Publisher.Coded, d.Policies[0].Assigner = dcat.At(r), r
	}, []string{"warning publisher-elsewhere /publisher/@id", "warning publisher-host /publisher/@id"}},
	{"contact", func(d *dcat.Dataset) { d.Contact = nil }, []string{"error contact-missing /contactPoint"}},
	{"contact without name", func(d *dcat.Dataset) { d.Contact.Name = nil }, []string{"error contact-name /contactPoint/fn"}},
	{"contact without address", func(d *dcat.Dataset) { d.Contact.Email = "" }, []string{"error contact-address /contactPoint"}},
	{"a person", func(d *dcat.Dataset) { d.Contact.Email = "mailto:wang.fang@sjz.example" }, []string{"warning contact-person /contactPoint/hasEmail"}},
	{"a number", func(d *dcat.Dataset) { d.Contact.Email = "mailto:398765432@qq.example" }, []string{"warning contact-person /contactPoint/hasEmail"}},
	{"an office", func(d *dcat.Dataset) { d.Contact.Email = "mailto:sjz-OpenData@sjz.example" }, nil},
	{"the hotline", func(d *dcat.Dataset) { d.Contact.Email = "mailto:12345@sjz.example" }, nil},
	{"access", func(d *dcat.Dataset) { d.Access = 0 }, []string{"error access-missing /accessRights"}},
	{"policy", func(d *dcat.Dataset) { d.Policies = nil }, []string{"error licence-missing /hasPolicy", "error policy-missing /hasPolicy"}},
	{"licence and no policy", func(d *dcat.Dataset) {
		d.Access, d.Policies, d.Distributions[0].Licence = dcat.Open, nil, "https://spdx.org/licenses/CC-BY-4.0"
	}, []string{"warning policy-open /hasPolicy"}},
	{"open with recipients", func(d *dcat.Dataset) { d.Access = dcat.Open }, []string{"error open-restricted /hasPolicy/0"}},
	{"open with limits", func(d *dcat.Dataset) {
		d.Access, d.Policies[0].Recipients, d.Policies[0].Purposes = dcat.Open, nil, nil
	}, nil},
	{"closed with policy", func(d *dcat.Dataset) { d.Access = dcat.Closed }, []string{"error closed-offered /hasPolicy/0"}},
	{"assigner", func(d *dcat.Dataset) { d.Policies[0].Assigner = d.Spatial.ID }, []string{"warning policy-assigner /hasPolicy/0/assigner"}},
	{"place", func(d *dcat.Dataset) { d.Spatial = nil }, []string{"error spatial-missing /spatial"}},
	{"extent", func(d *dcat.Dataset) { d.Spatial.Box, d.Spatial.Point = nil, nil }, []string{"warning spatial-extent /spatial"}},
	{"place elsewhere", func(d *dcat.Dataset) {
		r, _ := dcat.NewRef("other.example", d.Spatial.Identifier)
		d.Spatial.Coded = dcat.At(r)
	}, []string{"warning spatial-host /spatial/@id"}},
	{"period", func(d *dcat.Dataset) { d.Temporal.Start = "" }, []string{"error temporal-missing /temporal"}},
	{"standards", func(d *dcat.Dataset) { d.ConformsTo = nil }, []string{"error conforms-missing /conformsTo", "warning schema-missing /conformsTo"}},
	{"distributions", func(d *dcat.Dataset) { d.Distributions = nil }, []string{"error distribution-missing /distribution"}},
	{"distribution is empty", func(d *dcat.Dataset) { d.Distributions[0] = dcat.Distribution{} }, []string{
		"error access-url-missing /distribution/0/accessURL", "error format-missing /distribution/0/format",
		"error media-type-missing /distribution/0/mediaType", "error service-missing /distribution/0/accessService",
		"warning distribution-name /distribution/0/@id"}},
	{"formats elsewhere", func(d *dcat.Dataset) {
		x := &d.Distributions[0]
		x.Format, x.MediaType, x.Licence = "https://x.example/json", "https://x.example/json", "https://x.example/licence"
	}, []string{"warning format-unknown /distribution/0/format", "warning media-type-unknown /distribution/0/mediaType",
		"warning licence-unknown /distribution/0/license"}},
	{"service is empty", func(d *dcat.Dataset) { *d.Distributions[0].Service = dcat.Service{ID: "https://x.example"} }, []string{
		"error endpoint-missing /distribution/0/accessService/endpointURL", "error service-title /distribution/0/accessService/title",
		"warning endpoint-description /distribution/0/accessService/endpointDescription"}},
	{"indicator is bare", func(d *dcat.Dataset) { d.Indicators[1].Unit, d.Indicators[1].Sources = "", nil }, []string{
		"warning indicator-unit /variableMeasured/1/unitCode", "warning indicator-source /variableMeasured/1/wasDerivedFrom"}},
}

// flawless is a description that nothing is found about.
func flawless(t *testing.T) *dcat.Dataset {
	d := airQuality(t)
	d.Indicators[1].Sources = d.Indicators[0].Sources
	return d
}

func TestCheck(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range changes {
		d := flawless(t)
		c.change(d)
		got := findings(d)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		for _, f := range dcat.Check(d) {
			seen[f.ID] = true
			if !regexp.MustCompile(`^\p{Han}.*。$`).MatchString(f.Words.ZH) || !regexp.MustCompile(`^[A-Z].*\.$`).MatchString(f.Words.EN) {
				t.Errorf("%s: %+v is no sentence", f.ID, f.Words)
			}
		}
	}
	for _, id := range findingIDs(t) {
		if !seen[id] {
			t.Errorf("no change leads to %s", id)
		}
	}
}

// findingIDs reads the names of all findings out of check.go.
func findingIDs(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "check.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 5 {
			return true
		}
		if s, ok := call.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "fail" || s.Sel.Name == "warn") {
			id, err := strconv.Unquote(call.Args[1].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, id)
		}
		return true
	})
	if len(out) < 40 {
		t.Fatalf("found only %v", out)
	}
	return out
}

// TestRate checks that the points are those of the package comment, that each
// part is lost by some change, and that nothing gains by a change for the worse.
func TestRate(t *testing.T) {
	best := dcat.Rate(flawless(t))
	if best.Points != 100 {
		t.Errorf("%+v", best)
	}
	of := []string{}
	for _, x := range best.Dimensions {
		of = append(of, x.ID+" "+strconv.Itoa(x.Of))
		if x.Words.ZH == "" || x.Words.EN != x.ID {
			t.Errorf("%+v", x)
		}
	}
	if want := []string{"findability 25", "accessibility 20", "interoperability 25", "reusability 20", "contextuality 10"}; !slices.Equal(of, want) {
		t.Errorf("%v, want %v", of, want)
	}
	lost := map[string]bool{}
	tests := slices.Clone(changes)
	tests = append(tests, changes[0], changes[0], changes[0])
	tests[len(tests)-1].change = func(d *dcat.Dataset) { d.Distributions[0].AccessURL = "http://x.example" }
	tests[len(tests)-2].change = func(d *dcat.Dataset) { d.Distributions[0].Format = dcat.EUFileType + "PDF" }
	tests[len(tests)-3].change = func(d *dcat.Dataset) { d.ConformsTo = d.ConformsTo[:1] }
	for _, c := range tests {
		d := flawless(t)
		c.change(d)
		got := dcat.Rate(d)
		sum := 0
		for i, x := range got.Dimensions {
			for k, p := range x.Parts {
				sum += p.Points
				if p.Points != 0 && p.Points != p.Of || p.Of != best.Dimensions[i].Parts[k].Of {
					t.Errorf("%s: %+v", c.name, p)
				}
				lost[p.ID] = lost[p.ID] || p.Points == 0
			}
		}
		if got.Points != sum || sum > 100 {
			t.Errorf("%s: %d points, the parts have %d", c.name, got.Points, sum)
		}
	}
	for _, x := range best.Dimensions {
		for _, p := range x.Parts {
			if !lost[p.ID] {
				t.Errorf("no change loses %s", p.ID)
			}
			if p.Words.ZH == "" || p.Words.EN == "" || strings.HasSuffix(p.Words.EN, ".") {
				t.Errorf("%s: %+v", p.ID, p.Words)
			}
		}
	}
}
