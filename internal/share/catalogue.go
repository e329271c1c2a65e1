// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/web"
	"cityid/verify"
)

// catalogueKnown is how long a catalogue is served before the chain is asked
// again what it says about the datasets.
const catalogueKnown = time.Minute

// knownCatalogue is the city's catalogue as it was made last.
type knownCatalogue struct {
	mu   sync.Mutex
	made time.Time
	body []byte
}

// serveCatalogue answers with the city's catalogue: the descriptions whose
// digests the chain has, with the height at which that was proven. One that
// differs from the chain is left out, since readers refuse it.
func (g *Gateway) serveCatalogue(w http.ResponseWriter, r *http.Request) error {
	k := &g.catalogue
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.body == nil || g.now().Sub(k.made) > catalogueKnown {
		body, err := g.makeCatalogue(r.Context())
		if err != nil {
			return web.Refuse(http.StatusServiceUnavailable, cityid.ErrUnavailable, "what the registry says about the datasets is not known now: %v", err).RetryAfter(5 * time.Second)
		}
		k.body, k.made = body, g.now()
	}
	web.WriteBytes(w, r, http.StatusOK, documentTypes["datasets"], k.body)
	return nil
}

// makeCatalogue proves what the chain says about the datasets and describes them.
func (g *Gateway) makeCatalogue(ctx context.Context) ([]byte, error) {
	var keys [][]byte
	for code := range g.datasets {
		keys = append(keys, cityid.RecordKey(code))
	}
	party := cityid.RecordKey(g.cfg.Party)
	var list []dcat.Listing
	var host string // of the descriptions' addresses
	var holder *cityid.Record
	for part := range slices.Chunk(sortKeys(keys), verify.MaxEntries-1) {
		r, _, err := g.view.Entries(ctx, sortKeys(append(slices.Clone(part), party)), time.Hour)
		if err != nil {
			return nil, err
		}
		for i := range r.Records {
			x := &r.Records[i]
			if x.Code == g.cfg.Party {
				holder = x
			}
			d := g.datasets[x.Code]
			if d == nil || x.Status != cityid.StatusActive || x.Content.Dataset == nil || x.Content.Dataset.Document != d.digests().Document {
				continue
			}
			doc, err := dcat.ParsePublished(d.documents["datasets"])
			if err != nil {
				g.logger.Warn("dataset left out of the catalogue", "dataset", x.Code, "error", err)
				continue
			}
			host = cmp.Or(host, doc.ID.Host())
			list = append(list, dcat.Listing{Document: d.documents["datasets"], Changed: x.Changed.Time, AsOf: r.AsOf})
		}
	}
	switch {
	case len(g.datasets) == 0:
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s provides no datasets", g.cfg.Party)
	case holder == nil:
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", g.cfg.Party)
	case len(list) == 0:
		return nil, cityid.Errorf(cityid.ErrNotFound, "no description served here is the one that its record names")
	}
	c := g.describeCatalogue(holder)
	publisher, err := dcat.NewRef(host, g.cfg.Party)
	if err != nil {
		return nil, err
	}
	c.Publisher.Coded = dcat.At(publisher)
	return c.List(list)
}

// describeCatalogue says whose catalogue it is.
func (g *Gateway) describeCatalogue(holder *cityid.Record) dcat.Catalogue {
	c := dcat.Catalogue{
		ID: g.cfg.URL + "/catalogue", Issued: holder.Changed.Time, Modified: holder.Changed.Time,
		Publisher: dcat.Agent{Name: holder.Content.Names}, Languages: []string{dcat.EULanguage + "ZHO", dcat.EULanguage + "ENG"},
	}
	zh, en := holder.Content.Names.Get("zh"), holder.Content.Names.Get("en")
	c.Title = cityid.NamesOf(map[string]string{"zh": zh + "数据目录", "en": "Data of " + en})
	c.Description = cityid.NamesOf(map[string]string{"zh": zh + "经其网关共享的数据集。", "en": "The datasets that " + en + " shares through its gateway."})
	return c
}
