// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gowebpki/jcs"

	"cityid"
	"cityid/internal/dcat"
)

var update = flag.Bool("update", false, "write the published vectors and the digests in docs/sharing.md anew")

// compareRefs lets cmp look into references and codes.
var compareRefs = cmp.Options{cmp.Comparer(func(a, b dcat.Ref) bool { return a == b }), cmp.Comparer(func(a, b cityid.Code) bool { return a == b })}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// airQuality is a description in which every member is there.
func airQuality(t testing.TB) *dcat.Dataset {
	t.Helper()
	d, err := dcat.ParseDataset(read(t, "good/air-quality.json"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func encoded(t testing.TB, d *dcat.Dataset) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGood reads what people wrote, and compares what is published with the
// vector beside it.
func TestGood(t *testing.T) {
	names, err := filepath.Glob("testdata/good/*.json")
	if err != nil || len(names) < 3 {
		t.Fatalf("%v: %v", names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			written, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			d, err := dcat.ParseDataset(written)
			if err != nil {
				t.Fatal(err)
			}
			published := encoded(t, d)
			vector := strings.TrimSuffix(name, ".json") + ".published"
			if *update {
				if err := os.WriteFile(vector, published, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(vector)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(published, want) {
				t.Errorf("published:\n%s\nwant:\n%s", published, want)
			}
			if again, err := jcs.Transform(published); err != nil || !bytes.Equal(again, published) {
				t.Errorf("not canonical: %v", err)
			}
			back, err := dcat.ParsePublished(published)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, back, compareRefs); diff != "" {
				t.Error(diff)
			}
			if found := dcat.Check(d); !dcat.Publishable(found) {
				t.Errorf("errors: %v", found)
			}
		})
	}
}

// TestParseDatasetRefuses changes one thing in a good document.
func TestParseDatasetRefuses(t *testing.T) {
	good := string(read(t, "good/air-quality.json"))
	for _, c := range []struct{ name, old, new, want string }{
		{"no JSON", `"title": {`, `"title" {`, "not JSON, at octet"},
		{"ends early", `"variableMeasured": [`, ``, "not JSON"},
		{"trailing", "\n}\n", "\n} []", "something behind its end"},
		{"repeated", `"version": "1.2",`, `"version": "1.2", "version": "1.2",`, `member "version" twice`},
		{"unknown", `"version": "1.2",`, `"edition": "1.2",`, "/edition is not known"},
		{"unknown inside", `"fn": {`, `"note": "x", "fn": {`, "/contactPoint/note is not known"},
		{"unknown constraint member", `"operator": "lt",`, `"operator": "lt", "status": "x",`, "/hasPolicy/0/permission/0/constraint/0/status is not known"},
		{"other case", `"version": "1.2"`, `"Version": "1.2"`, "missing"},
		{"null", `"version": "1.2"`, `"version": null`, "/version is empty: leave it out"},
		{"empty", `"version": "1.2"`, `"version": ""`, "/version is empty"},
		{"empty list", `"landingPage"`, `"indicators": [], "landingPage"`, "/indicators is empty"},
		{"number", `"version": "1.2"`, `"version": 1.2`, "/version: a JSON number can not stand there"},
		{"number text", `"version": "1.2"`, `"version": 1` + strings.Repeat("0", 70), "a number of 71 octets"},
		{"exponent", `"version": "1.2"`, `"version": 1e9999`, "exponent is beyond 308"},
		{"not UTF-8", `"version": "1.2"`, "\"version\": \"\xff\"", "not UTF-8"},
		{"lone surrogate", `"version": "1.2"`, `"version": "\ud800"`, "surrogate"},
		{"control character", `"version": "1.2"`, `"version": "1\u0007"`, "control character"},
		{"bidirectional control", `"fn": {"en": "Data office"`, `"fn": {"en": "Data \u202eoffice"`, "control character"},
		{"not NFC", `"fn": {"en": "Data office"`, `"fn": {"en": "Bu\u0308ro"`, "normal form C"},
		{"blanks", `"fn": {"en": "Data office"`, `"fn": {"en": " Data office"`, "blanks at its ends"},
		{"language tag", `"fn": {"en": "Data office"`, `"fn": {"English": "Data office"`, "BCP 47"},
		{"long title", `"en": "Air quality, hourly, by station"`, `"en": "` + strings.Repeat("x", 201) + `"`, "at most 200"},
		{"long description", `"en": "Hourly means`, `"en": "` + strings.Repeat("x", 4000), "at most 4000"},
		{"tab in description", `"en": "Hourly means`, `"en": "Hourly\tmeans`, "control character"},
		{"context", `"identifier": "MA.156.1301.03/20.030101/AIR1",`, `"@context": "https://www.w3.org/ns/dcat.jsonld", "identifier": "MA.156.1301.03/20.030101/AIR1",`, "/@context is not the fixed one"},
		{"type", `"version": "1.2"`, `"@type": "Catalog", "version": "1.2"`, `want "Dataset"`},
		{"included", `"version": "1.2"`, `"@included": [], "version": "1.2"`, "/@included"},
		{"code", `"identifier": "MA.156.1301.03/20.030101/AIR1"`, `"identifier": "MA.156.1301.03/20.030101/AIR2"`, `the IRI has code`},
		{"code is missing", `"identifier": "MA.156.1301.03/20.030101/AIR1",`, ``, `the IRI has code`},
		{"code in lower case", `"https://id.example/MA.156.1301.03/20.030101/AIR1",`, `"https://id.example/ma.156.1301.03/20.030101/AIR1",`, "reference"},
		{"http resolver", `"@id": "https://id.example/MA.156.1301.03/20.030101/AIR1",`, `"@id": "http://id.example/MA.156.1301.03/20.030101/AIR1",`, "want https://"},
		{"host in capitals", `"@id": "https://id.example/MA.156.1301.03",`, `"@id": "https://ID.example/MA.156.1301.03",`, "host name in lower case"},
		{"user in host", `"@id": "https://id.example/MA.156.1301.03",`, `"@id": "https://a@id.example/MA.156.1301.03",`, "host name"},
		{"access", `access-right/RESTRICTED`, `access-right/SECRET`, "PUBLIC, RESTRICTED or NON_PUBLIC"},
		{"time without zone", `"issued": "2026-03-01T00:00:00Z"`, `"issued": "2026-03-01T00:00:00"`, "cannot parse"},
		{"time elsewhere", `"issued": "2026-03-01T00:00:00Z"`, `"issued": "2026-03-01T08:00:00+08:00"`, "where only"},
		{"day", `"startDate": "2021-01-01"`, `"startDate": "2021-02-30"`, "want a day"},
		{"period", `"startDate": "2021-01-01"`, `"startDate": "2021-01-01", "endDate": "2020-01-01"`, "ends before it begins"},
		{"relative address", `"landingPage": "https://data.sjz.example/air-quality"`, `"landingPage": "/air-quality"`, "begins with https"},
		{"script address", `"landingPage": "https://data.sjz.example/air-quality"`, `"landingPage": "javascript:alert(1)"`, "begins with https"},
		{"address with password", `"landingPage": "https://data.sjz.example/air-quality"`, `"landingPage": "https://a:b@data.sjz.example/"`, "begins with https"},
		{"address with blank", `"landingPage": "https://data.sjz.example/air-quality"`, `"landingPage": "https://data.sjz.example/a b"`, "offset 26"},
		{"mail", `"mailto:data@sthj.sjz.example"`, `"mailto:data@sthj.sjz.example,x@y.example"`, "one address"},
		{"mail without scheme", `"mailto:data@sthj.sjz.example"`, `"data@sthj.sjz.example"`, "mailto"},
		{"rectangle", `POLYGON((113.5 37.45,115.5 37.45,`, `POLYGON((113.50 37.45,115.5 37.45,`, "want it as POLYGON((113.5 37.45"},
		{"rectangle turned", `POLYGON((113.5 37.45,115.5 37.45,115.5 38.8,113.5 38.8,113.5 37.45))`, `POLYGON((115.5 37.45,113.5 37.45,113.5 38.8,115.5 38.8,115.5 37.45))`, "its west before its east"},
		{"latitude", `POINT(114.502461 38.045474)`, `POINT(38.045474 114.502461)`, "degrees"},
		{"theme", `urn:cityid:scheme:gb-t-4754:N7722`, `urn:cityid:scheme:GB:N7722`, "scheme name"},
		{"theme escaped", `urn:cityid:scheme:gb-t-4754:N7722`, `urn:cityid:scheme:gb-t-4754:%4e7722`, "percent-encoded"},
		{"theme twice", `urn:cityid:scheme:gb-t-4754:N7722`, `http://publications.europa.eu/resource/authority/data-theme/ENVI`, "stands there twice"},
		{"keyword twice", `"ozone"]`, `"PM2.5"]`, "stands there twice"},
		{"second checksum", `{"@id": "https://smartdatamodels.org/dataModel.Environment/AirQualityObserved"}`,
			`{"@id": "https://x.example", "checksum": {"algorithm": "http://spdx.org/rdf/terms#checksumAlgorithm_sha256", "checksumValue": "` + strings.Repeat("00", 31) + `01"}}`, "only one standard"},
		{"algorithm", `checksumAlgorithm_sha256`, `checksumAlgorithm_md5`, "checksumAlgorithm_sha256"},
		{"checksum in capitals", `5d1f0b7c4f`, `5D1F0B7C4F`, "64 lower-case"},
		{"two policies", `"hasPolicy": [`, `"hasPolicy": [{"@id": "https://x.example", "profile": "urn:cityid:odrl:1", "assigner": "https://id.example/MA", "permission": [{"action": "use"}]},`, "one at most"},
		{"distribution name", `AIR1#json`, `AIR1#JSON`, "a name of its own"},
		{"distribution elsewhere", `https://id.example/MA.156.1301.03/20.030101/AIR1#json`, `https://id.example/MA.156.1301.03/20.030101/AIR2#json`, "a name of its own"},
		{"size", `"accessURL":`, `"byteSize": "-1", "accessURL":`, "decimal digits"},
		{"size with zeros", `"accessURL":`, `"byteSize": "01", "accessURL":`, "leading zeros"},
		{"indicator", `37120:2018:8.1`, `9001:2015:8.1`, "identifier of an indicator"},
		{"indicator text", `37120:2018:8.1`, `37120:2018:8.1 Fine particulate matter`, "identifier of an indicator"},
		{"indicator twice", `37120:2018:8.7`, `37120:2018:8.1`, "stands there twice"},
		{"unit", `UCUM:ug/m3`, `micrograms`, "UCUM"},
		{"source", `https://id.example/MA.156.1301.03/20.030102/000017`, `MA.156.1301.03/20.030102/000017`, "want https://"},
		{"deep", `"title": {`, `"x": ` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `, "title": {`, "deeper than 32"},
		{"large", `"title": {`, `"x": "` + strings.Repeat("x", dcat.MaxDocument) + `", "title": {`, "at most 262144"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(good, c.old) < 1 {
				t.Fatalf("%q does not occur", c.old)
			}
			_, err := dcat.ParseDataset([]byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil {
				t.Fatal("was read")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if code := cityid.CodeOf(err); code == cityid.ErrInternal && !strings.Contains(c.name, "time") {
				t.Errorf("%v has no code", err)
			}
		})
	}
}

// TestOnChain compares what the record is to say with the documents.
func TestOnChain(t *testing.T) {
	d := airQuality(t)
	on, err := d.OnChain()
	if err != nil {
		t.Fatal(err)
	}
	want := cityid.Dataset{Class: cityid.DatasetConditional, Document: dcat.Digest(encoded(t, d)), Schema: d.ConformsTo[0].Checksum.Value,
		Policy: dcat.Digest(policyBytes(t, d.Policy()))}
	if on != want {
		t.Errorf("%+v, want %+v", on, want)
	}
	d.Access, d.Policies, d.ConformsTo = dcat.Closed, nil, nil
	if on, err = d.OnChain(); err != nil || on != (cityid.Dataset{Class: cityid.DatasetClosed, Document: dcat.Digest(encoded(t, d))}) {
		t.Errorf("%+v, %v", on, err)
	}
}

// TestParsePublished refuses every change of a published document's layout.
func TestParsePublished(t *testing.T) {
	published := encoded(t, airQuality(t))
	for i, b := range [][]byte{
		append([]byte(" "), published...),
		append(slices.Clone(published), '\n'),
		bytes.Replace(published, []byte(`"@type":"Dataset",`), nil, 1),
		bytes.Replace(published, []byte("PM2.5"), []byte("PM2\\u002e5"), 1),
		published[:len(published)-1],
		append(append([]byte(`{"@context":`), dcat.DatasetContext()...), append([]byte(","), published[1:]...)...),
	} {
		if _, err := dcat.ParsePublished(b); err == nil {
			t.Errorf("%d: was read", i)
		}
	}
}

// TestOneBit changes bits of a published document: it is refused, or it is
// another document with another digest.
func TestOneBit(t *testing.T) {
	published := encoded(t, airQuality(t))
	for i := 0; i < len(published); i += 7 {
		b := slices.Clone(published)
		b[i] ^= 1 << (i % 8)
		d, err := dcat.ParsePublished(b)
		if err != nil {
			continue
		}
		if again := encoded(t, d); !bytes.Equal(again, b) || dcat.Digest(again) == dcat.Digest(published) {
			t.Fatalf("octet %d: %q", i, b[max(0, i-20):i+20])
		}
	}
}

// TestEncodeRefuses sets fields to values that no document has.
func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(d *dcat.Dataset){
		"no code":        func(d *dcat.Dataset) { d.Coded = dcat.Coded{} },
		"access":         func(d *dcat.Dataset) { d.Access = 9 },
		"time":           func(d *dcat.Dataset) { d.Issued = -1 },
		"names unsorted": func(d *dcat.Dataset) { slices.Reverse(d.Title) },
		"point":          func(d *dcat.Dataset) { d.Spatial.Point.Lat = 91e7 },
		"box":            func(d *dcat.Dataset) { d.Spatial.Box.North = 91e7 },
		"themes":         func(d *dcat.Dataset) { d.Themes = make([]dcat.Concept, 17) },
		"standard":       func(d *dcat.Dataset) { d.ConformsTo[1].ID = "" },
		"checksum":       func(d *dcat.Dataset) { d.ConformsTo[0].Checksum.Value = cityid.Digest{} },
		"policy":         func(d *dcat.Dataset) { d.Policies[0].Assigner = dcat.Ref{} },
		"policy time":    func(d *dcat.Dataset) { d.Policies[0].From = d.Policies[0].Until },
		"policy purpose": func(d *dcat.Dataset) { d.Policies[0].Purposes[0].Label = nil },
		"recipient twice": func(d *dcat.Dataset) {
			d.Policies[0].Recipients = append(d.Policies[0].Recipients, d.Policies[0].Recipients[0])
		},
		"service":   func(d *dcat.Dataset) { d.Distributions[0].Service.ID = "" },
		"not UTF-8": func(d *dcat.Dataset) { d.Version = "\xff" },
		"source":    func(d *dcat.Dataset) { d.Indicators[0].Sources[0] = dcat.Ref{} },
		"too large": func(d *dcat.Dataset) {
			d.Distributions = slices.Repeat(d.Distributions, 32)
			for i := range d.Distributions {
				d.Distributions[i].ID = fmt.Sprintf("%s#d%d", d.ID, i)
				d.Distributions[i].Description = nil
				for _, l := range []string{"de", "en", "fr"} {
					d.Distributions[i].Description = append(d.Distributions[i].Description, cityid.Name{Lang: l, Text: strings.Repeat("x", 4000)})
				}
			}
		},
	} {
		d := airQuality(t)
		change(d)
		if b, err := d.Encode(); err == nil {
			t.Errorf("%s: encoded as %s", name, b)
		}
	}
}

// TestZero encodes a description of which only the code is known.
func TestZero(t *testing.T) {
	r, err := dcat.NewRef("id.example", cityid.MustParse("MA.156.1301/20.010101"))
	if err != nil {
		t.Fatal(err)
	}
	b := encoded(t, &dcat.Dataset{Coded: dcat.At(r)})
	d, err := dcat.ParsePublished(b)
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != r || d.Policy() != nil || d.Schema() != nil {
		t.Errorf("%+v", d)
	}
	if dcat.Rate(d).Points != 0 || dcat.Publishable(dcat.Check(d)) {
		t.Error("an empty description is good")
	}
}

func TestRef(t *testing.T) {
	for _, s := range []string{"https://id.example/MA", "https://id.example:8443/MA.156.1301/20.010101/1", "https://localhost/MA.156"} {
		r, err := dcat.ParseRef(s)
		if err != nil || r.String() != s {
			t.Errorf("%s: %v, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "https://id.example", "https://id.example/", "https:///MA", "https://-a.example/MA", "https://id.example:0/MA",
		"https://id.example/MA/", "https://id.example/MA?x", "https://id..example/MA", "//id.example/MA", "https://[::1]/MA"} {
		if r, err := dcat.ParseRef(s); err == nil {
			t.Errorf("%s: %v", s, r)
		}
	}
	if _, err := dcat.NewRef("id.example", cityid.Code{}); err == nil {
		t.Error("a reference without code")
	}
}

func TestSchemeTerm(t *testing.T) {
	for _, c := range [][3]string{{"gb-t-4754", "N7722", "urn:cityid:scheme:gb-t-4754:N7722"}, {"old", "城管 7/a+b", "urn:cityid:scheme:old:%E5%9F%8E%E7%AE%A1%207%2Fa%2Bb"}} {
		iri, err := dcat.SchemeTerm(c[0], c[1])
		if err != nil || iri != c[2] {
			t.Errorf("%s, %v", iri, err)
		}
		if scheme, value, err := dcat.ParseSchemeTerm(iri); err != nil || scheme != c[0] || value != c[1] {
			t.Errorf("%s: %q, %q, %v", iri, scheme, value, err)
		}
	}
}

var fenced = regexp.MustCompile("(?s)```(json|vector) dataset\n(.*?)```")

// TestDocument checks the example in docs/sharing.md.
func TestDocument(t *testing.T) {
	const name = "../../docs/sharing.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range fenced.FindAllSubmatch(text, -1) {
		blocks[string(m[1])] = string(m[2])
	}
	d, err := dcat.ParseDataset([]byte(blocks["json"]))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := d.Policy().Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, found := encoded(t, d), []string{}
	for _, f := range dcat.Check(d) {
		found = append(found, f.ID)
	}
	want := fmt.Sprintf("octets: %d\ndigest: %s\npolicy: %s\npoints: %d\nfindings: %s\n",
		len(b), dcat.Digest(b), dcat.Digest(policy), dcat.Rate(d).Points, strings.Join(found, " "))
	if blocks["vector"] == want {
		return
	}
	if !*update {
		t.Fatalf("%s says\n%swant\n%s", name, blocks["vector"], want)
	}
	text = bytes.Replace(text, []byte("```vector dataset\n"+blocks["vector"]), []byte("```vector dataset\n"+want), 1)
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestContexts checks that the context of datasets says all that the one of
// policies does, and that callers can not change either.
func TestContexts(t *testing.T) {
	var p, d map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(dcat.PolicyContext(), &p), json.Unmarshal(dcat.DatasetContext(), &d)); err != nil {
		t.Fatal(err)
	}
	for name, v := range p {
		if !bytes.Equal(v, d[name]) {
			t.Errorf("%s: %s, %s", name, v, d[name])
		}
	}
	before := dcat.PolicyContext()
	clear(dcat.PolicyContext())
	if !bytes.Equal(before, dcat.PolicyContext()) {
		t.Error("the context changed")
	}
}

// FuzzParseDataset looks for documents that are read and then can not be written,
// or are written as something else.
func FuzzParseDataset(f *testing.F) {
	f.Add(read(f, "good/air-quality.json"))
	f.Add(read(f, "good/air-quality.published"))
	f.Add(read(f, "good/closed.json"))
	f.Add([]byte(`{"@id":"https://a/MA","identifier":"MA"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := dcat.ParseDataset(b)
		if err != nil {
			return
		}
		published := encoded(t, d)
		back, err := dcat.ParsePublished(published)
		if err != nil {
			t.Fatalf("%v in %s", err, published)
		}
		if again := encoded(t, back); !bytes.Equal(again, published) {
			t.Fatalf("%s, then %s", published, again)
		}
		dcat.Check(d)
		if s := dcat.Rate(d); s.Points < 0 || s.Points > 100 {
			t.Fatal(s.Points)
		}
	})
}
