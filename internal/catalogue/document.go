// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

// Bounds of a page of the catalogue as a document.
const (
	maxDocuments     = 1000
	defaultDocuments = 200
	maxDocumentPage  = 16 << 20 // octets of descriptions, the first aside
)

// CatalogueDocument returns a page of the catalogue as a DCAT-AP document: the
// descriptions that the records of the registry name, in byte order of their IRIs,
// each with the state that vouches for it. All pages describe one catalogue; their
// union is the whole. A page may hold fewer than asked for and still name a next
// one.
func (c *Catalogue) CatalogueDocument(ctx context.Context, q cityid.CatalogueQuery) (*cityid.CatalogueDocument, error) {
	if q.Limit < 0 || q.Limit > maxDocuments {
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxDocuments)
	}
	setDefault(&q.Limit, defaultDocuments)
	after, err := parsePlace(&q)
	if err != nil {
		return nil, err
	}
	head, err := c.head(ctx, q.City)
	if err != nil {
		return nil, err
	}
	out := &cityid.CatalogueDocument{}
	var items []dcat.Listing
	err = c.use(func(s *store, _ *table, _ *plan) (err error) {
		items, out.Next, err = c.listings(ctx, s, q, after)
		return err
	})
	if err == nil {
		out.Body, err = head.List(items)
	}
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return out, nil
}

// listings reads a page of the descriptions that are held as the registry names
// them.
func (c *Catalogue) listings(ctx context.Context, s *store, q cityid.CatalogueQuery, after string) (items []dcat.Listing, next string, err error) {
	at, err := s.meta(ctx)
	if err != nil {
		return nil, "", err
	}
	size, last := 0, after
	for {
		query, args := "SELECT id, row FROM datasets WHERE iri > ?1 ORDER BY iri LIMIT 100", []any{last}
		if !q.City.IsZero() {
			query = "SELECT d.id, d.row FROM datasets d JOIN line l ON l.id = d.id AND l.code = ?2 WHERE d.iri > ?1 ORDER BY d.iri LIMIT 100"
			args = append(args, q.City.String())
		}
		var rows []*row
		if err := s.rows(ctx, func(r *row) { rows = append(rows, r) }, query, args...); err != nil {
			return nil, "", err
		}
		for _, r := range rows {
			if r.Entry.Published == nil || r.Entry.Held != r.Entry.Published.Document {
				last = r.IRI
				continue
			}
			if len(items) == q.Limit || size > maxDocumentPage {
				return items, place(&q, last), nil
			}
			body, err := s.document(ctx, r.Entry.Held)
			if err != nil {
				return nil, "", err
			}
			if body == nil {
				return nil, "", errAnew
			}
			items = append(items, dcat.Listing{Document: body, Changed: r.Entry.Changed.Time, AsOf: at.AsOf})
			size, last = size+len(body), r.IRI
		}
		if len(rows) < 100 {
			return items, "", nil
		}
	}
}

// head describes the catalogue of a city, or of all.
func (c *Catalogue) head(ctx context.Context, city cityid.Code) (*dcat.Catalogue, error) {
	who := city
	if city.IsZero() {
		st, err := c.source.Status(ctx)
		if err != nil {
			return nil, err
		}
		who = st.Zone
	}
	a, err := c.source.Record(ctx, who)
	if err != nil {
		return nil, err
	}
	ref, err := dcat.NewRef(strings.ToLower(c.host), who)
	if err != nil {
		return nil, err
	}
	names := a.Record.Content.Names
	if len(names) == 0 {
		names = cityid.NamesOf(map[string]string{"en": who.String()})
	}
	k := &dcat.Catalogue{
		ID: c.o.Base + "/v1/catalogue", Languages: []string{dcat.EULanguage + "ENG", dcat.EULanguage + "ZHO"},
		Publisher: dcat.Agent{Coded: dcat.At(ref), Name: names}, Modified: cityid.TimeOf(a.AsOf.Time.Truncate(time.Second)),
		Title: cityid.NamesOf(map[string]string{"en": "Data of all cities", "zh": "各城市共享数据目录"}),
		Description: cityid.NamesOf(map[string]string{
			"en": "Datasets that cities share under their codes. Each description is the one whose digest the registry holds.",
			"zh": "各城市以城市标识共享的数据集。每份说明的摘要均与登记册一致。",
		}),
	}
	if !city.IsZero() {
		k.ID += "?city=" + who.String()
		k.Title = cityid.NamesOf(map[string]string{"en": cut("Data of " + names.Get("en")), "zh": cut(names.Get("zh") + "共享数据目录")})
	}
	return k, nil
}

// cut shortens a text to what a title may have.
func cut(s string) string {
	if len(s) > 190 {
		return strings.TrimSpace(strings.ToValidUTF8(s[:190], ""))
	}
	return s
}

// place is the cursor of the page after an IRI; it can not be taken for one of
// another city's catalogue.
func place(q *cityid.CatalogueQuery, iri string) string {
	h := sha256.Sum256([]byte(q.City.String()))
	return base64.RawURLEncoding.EncodeToString(append(h[:4:4], iri...))
}

// parsePlace returns the IRI after which a page begins, "" for the first.
func parsePlace(q *cityid.CatalogueQuery) (string, error) {
	if q.After == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err == nil && len(b) > 4 && place(q, string(b[4:])) == q.After {
		if _, err = dcat.ParseRef(string(b[4:])); err == nil {
			return string(b[4:]), nil
		}
	}
	return "", errCursor
}
