// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"slices"
	"strings"

	"cityid"
)

// Listing is a published dataset document, and which state of a chain held its
// digest.
type Listing struct {
	Document []byte
	Listed   cityid.Time // when it came into the catalogue; zero: not said
	Changed  cityid.Time // of the revision of the dataset's record that names it
	AsOf     cityid.AsOf // the state that was read
}

// List returns the canonical bytes of the catalogue that c describes, with these
// documents in place of its records, in any order; a dataset that stands twice is
// an error, as are the errors of [Catalogue.Encode]. c's time of change becomes
// that of the last change listed, if that is later.
func (c Catalogue) List(items []Listing) ([]byte, error) {
	if len(items) > MaxDatasets {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "catalogue of %d datasets: at most %d", len(items), MaxDatasets)
	}
	type entry struct {
		iri string
		Record
		body []byte
	}
	entries := make([]entry, 0, len(items))
	for i := range items {
		x := &items[i]
		d, err := ParsePublished(x.Document)
		if err != nil {
			return nil, err
		}
		r := Record{
			Dataset: d.ID, Digest: Digest(x.Document), Listed: x.Listed, Modified: x.Changed,
			// The header of the block after a state commits to it.
			Chain: x.AsOf.Chain, Height: x.AsOf.Height + 1, Time: cityid.TimeOf(x.AsOf.Time),
		}
		body, _ := withoutContext(datasetContext, x.Document) // published, so it has one
		entries = append(entries, entry{d.ID.String(), r, body})
		c.Modified = max(c.Modified, x.Changed)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.iri, b.iri) })
	c.Records = make([]Record, len(entries))
	bodies := make([][]byte, len(entries))
	for i, e := range entries {
		c.Records[i], bodies[i] = e.Record, e.body
	}
	return c.assemble(bodies)
}
