// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gowebpki/jcs"

	"cityid"
	"cityid/internal/dcat"
)

// sample is a catalogue of the good documents.
func sample(t testing.TB) (*dcat.Catalogue, [][]byte) {
	t.Helper()
	c := &dcat.Catalogue{
		ID:          "https://gateway.example/catalogue",
		Title:       cityid.NamesOf(map[string]string{"en": "Data of Shijiazhuang", "zh": "石家庄市数据目录"}),
		Description: cityid.NamesOf(map[string]string{"en": "What the city shares.", "zh": "全市共享数据。"}),
		Publisher:   dcat.Agent{Coded: dcat.At(ref(t, "MA.156.1301")), Name: cityid.NamesOf(map[string]string{"en": "Shijiazhuang", "zh": "石家庄市"})},
		Languages:   []string{dcat.EULanguage + "ZHO", dcat.EULanguage + "ENG"},
		Issued:      1_790_000_000, Modified: 1_795_000_000,
	}
	var documents [][]byte
	for _, name := range []string{"closed", "air-quality", "open-file"} { // in order of their IRIs
		b := read(t, "good/"+name+".published")
		d, err := dcat.ParsePublished(b)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, b)
		c.Records = append(c.Records, dcat.Record{Dataset: d.ID, Digest: dcat.Digest(b), Listed: 1_790_000_001, Modified: 1_790_000_002,
			Chain: "cityid-demo-1", Height: 1234, Time: 1_794_999_999})
	}
	return c, documents
}

func catalogueBytes(t testing.TB, c *dcat.Catalogue, documents [][]byte) []byte {
	t.Helper()
	b, err := c.Encode(documents)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCatalogue(t *testing.T) {
	c, documents := sample(t)
	b := catalogueBytes(t, c, documents)
	if again, err := jcs.Transform(b); err != nil || !bytes.Equal(again, b) {
		t.Errorf("not canonical: %v\n%s", err, b)
	}
	var got [][]byte
	back, err := dcat.ReadCatalogue(bytes.NewReader(b), func(h dcat.Harvested) error {
		if h.Digest != dcat.Digest(h.Document) || h.Dataset.ID.IsZero() {
			t.Errorf("%+v", h)
		}
		got = append(got, h.Document)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, back, compareRefs); diff != "" {
		t.Error(diff)
	}
	if !slices.EqualFunc(got, documents, bytes.Equal) {
		t.Errorf("the documents are not those published: %s", got)
	}
	if r := back.Find(c.Records[1].Dataset); r == nil || *r != c.Records[1] {
		t.Errorf("%+v", r)
	}
	if r := back.Find(c.Publisher.ID); r != nil {
		t.Errorf("%+v", r)
	}
	if again := catalogueBytes(t, back, got); !bytes.Equal(again, b) {
		t.Error("another catalogue")
	}
}

func TestEmptyCatalogue(t *testing.T) {
	c, _ := sample(t)
	c.Records = nil
	back, err := dcat.ReadCatalogue(bytes.NewReader(catalogueBytes(t, c, nil)), func(dcat.Harvested) error { return errors.New("called") })
	if diff := cmp.Diff(c, back, compareRefs); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestCatalogueEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(c *dcat.Catalogue, documents [][]byte){
		"no id":             func(c *dcat.Catalogue, _ [][]byte) { c.ID = "" },
		"fragment":          func(c *dcat.Catalogue, _ [][]byte) { c.ID += "#x" },
		"no title":          func(c *dcat.Catalogue, _ [][]byte) { c.Title = nil },
		"no publisher":      func(c *dcat.Catalogue, _ [][]byte) { c.Publisher = dcat.Agent{} },
		"order":             func(c *dcat.Catalogue, d [][]byte) { slices.Reverse(c.Records); slices.Reverse(d) },
		"other document":    func(_ *dcat.Catalogue, d [][]byte) { d[0], d[1] = d[1], d[0] },
		"not canonical":     func(c *dcat.Catalogue, d [][]byte) { d[0] = append(d[0], ' '); c.Records[0].Digest = dcat.Digest(d[0]) },
		"other digest":      func(c *dcat.Catalogue, _ [][]byte) { c.Records[0].Digest[0]++ },
		"no height":         func(c *dcat.Catalogue, _ [][]byte) { c.Records[0].Height = 0 },
		"no chain":          func(c *dcat.Catalogue, _ [][]byte) { c.Records[0].Chain = "" },
		"no time":           func(c *dcat.Catalogue, _ [][]byte) { c.Records[0].Time = 0 },
		"record is missing": func(c *dcat.Catalogue, _ [][]byte) { c.Records = c.Records[:2] },
	} {
		c, documents := sample(t)
		change(c, documents)
		if b, err := c.Encode(documents); err == nil {
			t.Errorf("%s: encoded as %s", name, b)
		}
	}
}

// TestReadCatalogueRefuses changes one thing in a good catalogue.
func TestReadCatalogueRefuses(t *testing.T) {
	c, documents := sample(t)
	good := string(catalogueBytes(t, c, documents))
	head, tail, _ := strings.Cut(good, `"dataset":[`)
	first := tail[:strings.Index(tail, `,{"@id":"https://id.example/MA.156.1301.03`)]
	for _, x := range []struct{ name, old, new, want string }{
		{"no object", good, `[]`, "want {"},
		{"ends early", good, good[:len(good)-1], "ends too early"},
		{"ends in a dataset", good, good[:len(head)+500], "ends too early"},
		{"trailing", good, good + "{}", "something behind its end"},
		{"member twice", `"dataset":[`, `"dataset":[],"dataset":[`, "twice"},
		{"unknown member", `"dataset":[`, `"extra":1,"dataset":[`, "/extra is not known"},
		{"member in other case", `"dataset":[`, `"Dataset":[],"dataset":[`, "/Dataset"},
		{"no list", `"dataset":[`, `"dataset":{},"x":[`, "want ["},
		{"no context", head[:strings.Index(head, `"@id":"https://gateway`)], "{", "/@context"},
		{"other context", `"dcat":"http://www.w3.org/ns/dcat#"`, `"dcat":"http://x.example/"`, "/@context"},
		{"remote context", head[:strings.Index(head, `"@id":"https://gateway`)], `{"@context":"https://x.example/context",`, "/@context"},
		{"context in a dataset", `"dataset":[{`, `"dataset":[{"@context":{},`, "/dataset/0"},
		{"dataset twice", `"dataset":[`, `"dataset":[` + first + `,`, "twice"},
		{"dataset without record", `"dataset":[`, `"dataset":[{"@id":"https://id.example/MA","identifier":"MA"},`, "3 records for 4 datasets"},
		{"dataset is missing", `"dataset":[` + first + `,`, `"dataset":[`, "which the catalogue does not hold"},
		{"dataset is another", `"startDate":"2010-01-01"`, `"startDate":"2010-01-02"`, "which the catalogue does not hold"},
		{"bad dataset", `"startDate":"2010-01-01"`, `"startDate":"2010-1-1"`, "/dataset/0"},
		{"record twice", `"record":[`, `"record":[{"@id":"https://gateway.example/catalogue#MA.156.1301.01/20.010101/CASES","@type":"CatalogRecord"},`, "/record/0"},
		{"record elsewhere", `"@id":"https://gateway.example/catalogue#`, `"@id":"https://x.example/catalogue#`, "record 0: /@id"},
		{"profile", `"conformsTo":"https://semiceu`, `"conformsTo":"https://Semiceu`, "/record/0"},
		{"height", `"height":"1234"`, `"height":"01234"`, "leading zeros"},
		{"height as number", `"height":"1234"`, `"height":1234`, "/provenAt/height"},
		{"chain", `"chain":"cityid-demo-1"`, `"chain":""`, "chain"},
		{"participant", `"participantId":"https://id.example/MA.156.1301"`, `"participantId":"https://id.example/MA.156.1302"`, "/participantId"},
		{"no title", `"title":{"en":"Data of Shijiazhuang","zh":"石家庄市数据目录"}`, `"title":{}`, "a title"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if !strings.Contains(good, x.old) {
				t.Fatalf("%q does not occur", x.old)
			}
			_, err := dcat.ReadCatalogue(strings.NewReader(strings.Replace(good, x.old, x.new, 1)), func(dcat.Harvested) error { return nil })
			if err == nil {
				t.Fatal("was read")
			}
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v\nwant %s", err, x.want)
			}
		})
	}
}

// endless is a catalogue that never ends.
type endless struct {
	begin  io.Reader
	repeat string
	rest   string
}

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.begin.Read(p); err == nil {
		return n, nil
	}
	if e.rest == "" {
		e.rest = e.repeat
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// TestCatalogueBounds reads what never ends.
func TestCatalogueBounds(t *testing.T) {
	n := 0
	for name, r := range map[string]io.Reader{
		"blanks":      &endless{begin: strings.NewReader(`{`), repeat: strings.Repeat(" ", 4096)},
		"one dataset": &endless{begin: strings.NewReader(`{"dataset":["`), repeat: strings.Repeat("x", 4096)},
		"records":     &endless{begin: strings.NewReader(`{"record":[0`), repeat: `,0`},
		"members":     &endless{begin: strings.NewReader(`{`), repeat: ``},
	} {
		if name == "members" {
			var b strings.Builder
			b.WriteString(`{"x":0`)
			for i := range 100 {
				fmt.Fprintf(&b, `,"x%d":0`, i)
			}
			r = strings.NewReader(b.String())
		}
		_, err := dcat.ReadCatalogue(r, func(dcat.Harvested) error { n++; return nil })
		if cityid.CodeOf(err) != cityid.ErrTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n != 0 {
		t.Errorf("%d datasets", n)
	}
}

// TestVisitEnds checks that an error of visit ends the reading.
func TestVisitEnds(t *testing.T) {
	c, documents := sample(t)
	stop, n := errors.New("stop"), 0
	_, err := dcat.ReadCatalogue(bytes.NewReader(catalogueBytes(t, c, documents)), func(dcat.Harvested) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

func FuzzReadCatalogue(f *testing.F) {
	c, documents := sample(f)
	f.Add(catalogueBytes(f, c, documents))
	c.Records = nil
	f.Add(catalogueBytes(f, c, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got [][]byte
		c, err := dcat.ReadCatalogue(bytes.NewReader(b), func(h dcat.Harvested) error { got = append(got, h.Document); return nil })
		if err != nil {
			return
		}
		order := make([]int, len(got))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int {
			a, _ := dcat.ParsePublished(got[i])
			b, _ := dcat.ParsePublished(got[j])
			return strings.Compare(a.ID.String(), b.ID.String())
		})
		sorted := make([][]byte, len(got))
		for i, k := range order {
			sorted[i] = got[k]
		}
		if _, err := c.Encode(sorted); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	})
}
