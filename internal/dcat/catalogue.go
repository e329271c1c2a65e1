// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"cityid"
)

// Bounds on a catalogue.
const (
	MaxCatalogue = 64 << 20 // octets of one
	MaxDatasets  = 10_000   // datasets of one
)

// Catalogue describes a collection of datasets, and says of each where on a
// chain the digest of its document was proven.
type Catalogue struct {
	ID          string // IRI, the URL under which it is served
	Title       cityid.Names
	Description cityid.Names
	Publisher   Agent
	Languages   []string // of its texts; IRIs as in [Dataset]
	Issued      cityid.Time
	Modified    cityid.Time
	Records     []Record // in byte order of the datasets' IRIs
}

// Record is what a catalogue says about one dataset document.
type Record struct {
	Dataset  Ref
	Digest   cityid.Digest // of the published document
	Listed   cityid.Time   // when the dataset came into the catalogue; zero: not said
	Modified cityid.Time   // when what the catalogue says about it changed last
	Chain    string        // chain on which the dataset's record held the digest
	Height   uint64        // of the signed header that proved it
	Time     cityid.Time   // of that header
}

type (
	catalogueType struct{}
	recordType    struct{}
	proofType     struct{}
	profileType   struct{}
)

func (catalogueType) constant() any { return "Catalog" }
func (recordType) constant() any    { return "CatalogRecord" }
func (proofType) constant() any     { return "Proof" }
func (profileType) constant() any   { return Profile }

// The JSON form, without the list of datasets.
type (
	catalogueForm struct {
		Context       json.RawMessage      `json:"@context,omitempty"`
		Included      []node               `json:"@included,omitempty"`
		ID            string               `json:"@id"`
		Type          fixed[catalogueType] `json:"@type"`
		Title         cityid.Names         `json:"title,omitempty"`
		Description   cityid.Names         `json:"description,omitempty"`
		Publisher     *Agent               `json:"publisher"`
		ParticipantID Ref                  `json:"participantId"`
		Languages     []string             `json:"language,omitempty"`
		Issued        cityid.Time          `json:"issued,omitzero"`
		Modified      cityid.Time          `json:"modified,omitzero"`
		Record        []recordForm         `json:"record,omitempty"`
	}
	recordForm struct {
		ID         string             `json:"@id"`
		Type       fixed[recordType]  `json:"@type"`
		Topic      Ref                `json:"primaryTopic"`
		ConformsTo fixed[profileType] `json:"conformsTo"`
		Issued     cityid.Time        `json:"issued,omitzero"`
		Modified   cityid.Time        `json:"modified"`
		Checksum   Checksum           `json:"checksum"`
		ProvenAt   proofForm          `json:"provenAt"`
	}
	proofForm struct {
		Type   fixed[proofType] `json:"@type"`
		Chain  string           `json:"chain"`
		Height Count            `json:"height"`
		Time   cityid.Time      `json:"time"`
	}
)

// Encode returns the catalogue's canonical bytes. documents are the published
// documents, in the order of the records, each the one its record names. It
// refuses a document that is not canonical or not the one named, and more than
// [MaxDatasets] or [MaxCatalogue].
func (c *Catalogue) Encode(documents [][]byte) ([]byte, error) {
	if len(documents) != len(c.Records) {
		return nil, malformed("catalogue: %d documents for %d records", len(documents), len(c.Records))
	}
	entries := make([][]byte, len(documents))
	var err error
	for i, b := range documents {
		if entries[i], err = c.entry(i, b); err != nil {
			return nil, err
		}
	}
	return c.assemble(entries)
}

// assemble returns the catalogue's bytes with its entries, in the order of the
// records.
func (c *Catalogue) assemble(entries [][]byte) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	head, err := canonical("catalogue", c.form(), MaxCatalogue)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return head, nil
	}
	size := len(head) + len(listOfDatasets)
	for _, b := range entries {
		size += len(b) + len(",")
	}
	if size > MaxCatalogue {
		return nil, tooLarge(size)
	}
	// Entries are canonical, and the list belongs before all members but those
	// with "@": behind the type.
	before, after, _ := bytes.Cut(head, []byte(`"@type":"Catalog",`))
	out := make([]byte, 0, size)
	out = append(out, before...)
	out = append(out, listOfDatasets...)
	out = append(out, bytes.Join(entries, []byte(","))...)
	out = append(out, "],"...)
	return append(out, after...), nil
}

const listOfDatasets = `"@type":"Catalog","dataset":[`

func tooLarge(size int) error {
	return cityid.Errorf(cityid.ErrTooLarge, "catalogue of %d octets or more: at most %d", size, MaxCatalogue)
}

// entry returns a dataset as it stands in a catalogue: its document without the
// context.
func (c *Catalogue) entry(i int, document []byte) ([]byte, error) {
	d, err := ParsePublished(document)
	if err != nil {
		return nil, invalid("/dataset/"+strconv.Itoa(i), "%s", message(err))
	}
	if r := &c.Records[i]; r.Dataset != d.ID || r.Digest != Digest(document) {
		return nil, invalid("/dataset/"+strconv.Itoa(i), "the record names %s with digest %s, the document is %s with %s", r.Dataset, r.Digest, d.ID, Digest(document))
	}
	entry, _ := withoutContext(datasetContext, document) // published, so it has one
	return entry, nil
}

func (c *Catalogue) form() *catalogueForm {
	f := &catalogueForm{
		Context: datasetContext, Included: c.included(), ID: c.ID, Title: c.Title, Description: c.Description, Publisher: &c.Publisher,
		ParticipantID: c.Publisher.ID, Languages: c.Languages, Issued: c.Issued, Modified: c.Modified,
	}
	for i := range c.Records {
		r := &c.Records[i]
		f.Record = append(f.Record, recordForm{
			ID: c.recordID(r.Dataset), Topic: r.Dataset, Issued: r.Listed, Modified: r.Modified, Checksum: Checksum{Value: r.Digest},
			ProvenAt: proofForm{Chain: r.Chain, Height: Count(r.Height), Time: r.Time},
		})
	}
	return f
}

// recordID is the IRI of a dataset's record: the catalogue's, "#" and the code.
func (c *Catalogue) recordID(dataset Ref) string { return c.ID + "#" + dataset.code.String() }

func (c *Catalogue) included() []node {
	n := nodes{}
	for _, l := range c.Languages {
		n.add(l, "LinguisticSystem")
	}
	if len(c.Records) > 0 {
		n.add(Profile, "Standard")
		n.add(algorithmSHA256, "ChecksumAlgorithm")
	}
	return n.sorted()
}

// check reports the first value that breaks a rule, or is missing.
func (c *Catalogue) check() error {
	if c.ID == "" || bytes.IndexByte([]byte(c.ID), '#') >= 0 {
		return invalid("/@id", "is missing or has a fragment: want the URL of the catalogue")
	}
	if len(c.Title) == 0 || len(c.Description) == 0 || len(c.Publisher.Name) == 0 {
		return invalid("/", "a catalogue has a title, a description and a publisher with a name")
	}
	if len(c.Records) > MaxDatasets {
		return cityid.Errorf(cityid.ErrTooLarge, "catalogue of %d datasets: at most %d", len(c.Records), MaxDatasets)
	}
	for _, err := range []error{
		checkWeb("/@id", c.ID),
		checkNames("/title", c.Title),
		checkTexts("/description", c.Description),
		c.Publisher.check("/publisher"),
		checkList("/language", c.Languages, maxLanguages),
		checkTimes("", c.Issued, c.Modified),
	} {
		if err != nil {
			return err
		}
	}
	for i := range c.Records {
		if i > 0 && c.Records[i-1].Dataset.String() >= c.Records[i].Dataset.String() {
			return invalid("/record/"+strconv.Itoa(i), "records stand in byte order of the datasets' IRIs, each once")
		}
		if err := c.Records[i].check("/record/" + strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) check(path string) error {
	switch {
	case r.Dataset.IsZero():
		return invalid(path+"/primaryTopic", "is missing: want the IRI of a dataset")
	case r.Digest.IsZero():
		return invalid(path+"/checksum", "is missing: want the digest of the document")
	case !r.Listed.Valid() || !r.Modified.Valid() || !r.Time.Valid() || r.Modified == 0 || r.Time == 0:
		return invalid(path, "times lie in the years 1970 to 9999, and only the time of listing may be missing")
	case r.Height == 0 || r.Height > 1<<63-1:
		return invalid(path+"/provenAt/height", "want the height of a block")
	}
	if len(r.Chain) > 50 {
		return invalid(path+"/provenAt/chain", "a chain's name has at most 50 octets")
	}
	if err := cityid.CheckText("chain", r.Chain, true); err != nil {
		return invalid(path+"/provenAt/chain", "%s", message(err))
	}
	return nil
}

// Find returns the record of a dataset, nil if the catalogue has none.
func (c *Catalogue) Find(dataset Ref) *Record {
	i, ok := slices.BinarySearchFunc(c.Records, dataset.String(), func(r Record, iri string) int {
		return bytes.Compare([]byte(r.Dataset.String()), []byte(iri))
	})
	if !ok {
		return nil
	}
	return &c.Records[i]
}
