// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/share"
)

// TestCatalogue reads the catalogue and the descriptions as a portal that
// harvests them would.
func TestCatalogue(t *testing.T) {
	w := newWorld(t)
	status, body, h := w.get(w.give.peer.URL + "/catalogue")
	if status != 200 || h.Get("Content-Type") != "application/ld+json" {
		t.Fatalf("%d %s: %s", status, h.Get("Content-Type"), body)
	}
	var found []cityid.Code
	c, err := dcat.ReadCatalogue(strings.NewReader(body), func(x dcat.Harvested) error {
		found = append(found, x.Dataset.Identifier)
		status, document, _ := w.get(w.give.peer.URL + "/datasets/" + share.Segment(x.Dataset.Identifier))
		if status != 200 || !bytes.Equal([]byte(document), x.Document) || x.Digest != cityid.Digest(sha256.Sum256(x.Document)) {
			t.Errorf("%d: the description served is another than the catalogue's", status)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0] != air || c.Records[0].Height == 0 || c.Publisher.Identifier != provider {
		t.Errorf("%v in %+v", found, c)
	}
	if status, _, _ := w.get(w.give.peer.URL + "/policies/" + share.Segment(air)); status != 404 {
		t.Errorf("a policy that there is not: status %d", status)
	}
	if status, _, _ := w.get(w.take.peer.URL + "/catalogue"); status != 503 {
		t.Errorf("a city without datasets: status %d", status)
	}
}

// TestMetrics reads the figures after a fetch.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.fetched(w.agree(nil))
	for side, want := range map[*city]string{w.give: `{direction="served",outcome="data"} 1`, w.take: `{direction="fetched",outcome="data"} 1`} {
		if status, body, _ := w.get(side.local.URL + "/metrics"); status != 200 || !strings.Contains(body, "cityid_gateway_fetches_total"+want) {
			t.Errorf("%d %s", status, body)
		}
	}
}
