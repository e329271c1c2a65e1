// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

// TestList compares a catalogue made of documents in any order with one whose
// records somebody wrote.
func TestList(t *testing.T) {
	var items []dcat.Listing
	var documents [][]byte
	at := cityid.AsOf{Chain: "test-1", Height: 41, Time: time.Unix(1_800_000_000, 5)}
	c := dcat.Catalogue{
		ID: "https://gateway.example/catalogue", Title: cityid.NamesOf(map[string]string{"en": "Data"}), Description: cityid.NamesOf(map[string]string{"en": "Data of a city."}),
		Modified: 1_700_000_000,
	}
	for _, name := range []string{"a1", "b2", "c3"} {
		d := airQuality(t)
		code := cityid.MustParse(d.Identifier.Root().String() + "/20.030101/" + strings.ToUpper(name))
		ref, err := dcat.NewRef("id.example", code)
		if err != nil {
			t.Fatal(err)
		}
		for i := range d.Distributions {
			d.Distributions[i].ID = ""
		}
		d.Coded = dcat.At(ref)
		b := encoded(t, d)
		c.Publisher = *d.Publisher
		documents = append(documents, b)
		items = append([]dcat.Listing{{Document: b, Changed: 1_750_000_000, AsOf: at}}, items...) // backwards
	}
	got, err := c.List(items)
	if err != nil {
		t.Fatal(err)
	}
	want := c
	want.Modified = 1_750_000_000
	for _, b := range documents {
		d, err := dcat.ParsePublished(b)
		if err != nil {
			t.Fatal(err)
		}
		want.Records = append(want.Records, dcat.Record{Dataset: d.ID, Digest: dcat.Digest(b), Modified: 1_750_000_000, Chain: "test-1", Height: 42, Time: 1_800_000_000})
	}
	b, err := want.Encode(documents)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Errorf("List:\n%s\nEncode:\n%s", got, b)
	}
	n := 0
	if _, err := dcat.ReadCatalogue(bytes.NewReader(got), func(dcat.Harvested) error { n++; return nil }); err != nil || n != 3 {
		t.Errorf("%d datasets: %v", n, err)
	}
	if empty, err := c.List(nil); err != nil || bytes.Contains(empty, []byte(`"record":[`)) {
		t.Errorf("none: %v %s", err, empty)
	}
	for name, bad := range map[string][]dcat.Listing{"twice": append(items, items[0]), "no document": {{Document: []byte("{}"), AsOf: at}}, "no time": {{Document: documents[0]}}} {
		if _, err := c.List(bad); err == nil {
			t.Errorf("%s is listed", name)
		}
	}
}
