// SPDX-License-Identifier: Apache-2.0

package cityid

// This file holds what nodes answer about the catalogue of shared data; see
// wire.go. Descriptions of datasets stay off the chain: a node that keeps the
// catalogue fetches them from the gateways of the cities, and takes no document
// whose digest is not the one in the dataset's record.

// DatasetState says whether a catalogue holds what a dataset's record names, and
// if not why.
type DatasetState uint8

// The states; closed and append-only.
const (
	DatasetCurrent     DatasetState = iota + 1 // it holds the documents that the record names
	DatasetWaiting                             // it has not asked for them yet
	DatasetUnreachable                         // the gateway does not answer, or may not be asked
	DatasetMissing                             // the gateway says that it has no such document
	DatasetRefused                             // the gateway serves another document than the record names
	DatasetInvalid                             // the document is the one that the record names, and breaks its rules or contradicts the record
	DatasetNoGateway                           // no record at or above the dataset's names a gateway
	DatasetUndescribed                         // the record names no documents
	DatasetFull                                // there is no room for it in the catalogue
)

var datasetStateNames = []string{1: "current", "waiting", "unreachable", "missing", "refused", "invalid", "no-gateway", "undescribed", "full"}

// String returns the state's name.
func (s DatasetState) String() string { return nameOf(datasetStateNames, uint8(s), "dataset state") }

// MarshalText returns the state's name.
func (s DatasetState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a state's name.
func (s *DatasetState) UnmarshalText(text []byte) error {
	return parseName(datasetStateNames, text, "dataset state", (*uint8)(s))
}

// Valid reports whether s is one of the states.
func (s DatasetState) Valid() bool { return s >= 1 && int(s) < len(datasetStateNames) }

// Freshness says whether data is as new as its description promises: changed no
// longer ago than the frequency, half as much again, and a day at least.
type Freshness uint8

// The kinds of freshness; closed and append-only.
const (
	FreshnessFresh     Freshness = iota + 1 // changed in time
	FreshnessLate                           // not changed for too long
	FreshnessLive                           // changes more than once a day, which a description can not keep up with
	FreshnessIrregular                      // changes without a schedule
	FreshnessUnknown                        // the description does not say
)

var freshnessNames = []string{1: "fresh", "late", "live", "irregular", "unknown"}

// String returns the name.
func (f Freshness) String() string { return nameOf(freshnessNames, uint8(f), "freshness") }

// MarshalText returns the name.
func (f Freshness) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText parses a name.
func (f *Freshness) UnmarshalText(text []byte) error {
	return parseName(freshnessNames, text, "freshness", (*uint8)(f))
}

// Valid reports whether f is one of the kinds.
func (f Freshness) Valid() bool { return f >= 1 && int(f) < len(freshnessNames) }

// Quality is how good a description is, in bands of its points.
type Quality uint8

// The bands; closed and append-only.
const (
	QualityExcellent Quality = iota + 1 // 85 to 100 points
	QualityGood                         // 60 to 84
	QualityFair                         // 30 to 59
	QualityPoor                         // 0 to 29
)

var qualityNames = []string{1: "excellent", "good", "fair", "poor"}

// QualityOf returns the band of points from 0 to 100.
func QualityOf(points int) Quality {
	switch {
	case points >= 85:
		return QualityExcellent
	case points >= 60:
		return QualityGood
	case points >= 30:
		return QualityFair
	}
	return QualityPoor
}

// String returns the band's name.
func (q Quality) String() string { return nameOf(qualityNames, uint8(q), "quality") }

// MarshalText returns the band's name.
func (q Quality) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText parses a band's name.
func (q *Quality) UnmarshalText(text []byte) error {
	return parseName(qualityNames, text, "quality", (*uint8)(q))
}

// Valid reports whether q is one of the bands.
func (q Quality) Valid() bool { return q >= 1 && int(q) < len(qualityNames) }

// DatasetSort is the order of a list of datasets.
type DatasetSort uint8

// The orders; closed and append-only.
const (
	SortRelevance DatasetSort = iota + 1 // where the text was found, then by points
	SortModified                         // changed last first
	SortQuality                          // most points first
	SortCode                             // by code
)

var datasetSortNames = []string{1: "relevance", "modified", "quality", "code"}

// String returns the order's name.
func (s DatasetSort) String() string { return nameOf(datasetSortNames, uint8(s), "order") }

// MarshalText returns the order's name.
func (s DatasetSort) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses an order's name.
func (s *DatasetSort) UnmarshalText(text []byte) error {
	return parseName(datasetSortNames, text, "order", (*uint8)(s))
}

// Valid reports whether s is one of the orders.
func (s DatasetSort) Valid() bool { return s >= 1 && int(s) < len(datasetSortNames) }

// DatasetPart is one of the documents of a dataset.
type DatasetPart uint8

// The documents; closed and append-only.
const (
	PartDescription DatasetPart = iota + 1 // DCAT-AP as JSON-LD
	PartSchema                             // JSON Schema of the answers
	PartPolicy                             // usage policy in ODRL
)

var datasetPartNames = []string{1: "description", "schema", "policy"}

// String returns the document's name.
func (p DatasetPart) String() string { return nameOf(datasetPartNames, uint8(p), "document") }

// MarshalText returns the document's name.
func (p DatasetPart) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses a document's name.
func (p *DatasetPart) UnmarshalText(text []byte) error {
	return parseName(datasetPartNames, text, "document", (*uint8)(p))
}

// Valid reports whether p is one of the documents.
func (p DatasetPart) Valid() bool { return p >= 1 && int(p) < len(datasetPartNames) }

// NamedCode is a code with the names of its record.
type NamedCode struct {
	Code  Code  `json:"code"`
	Names Names `json:"names,omitempty"`
}

// DatasetTheme is a theme that a description names.
type DatasetTheme struct {
	ID    string `json:"id"` // IRI
	Names Names  `json:"names,omitempty"`
}

// DatasetPlace is the place that a description says the data covers.
type DatasetPlace struct {
	Code  Code      `json:"code"`
	Names Names     `json:"names,omitempty"`
	Point *Location `json:"point,omitempty"` // of the description, else the middle of its rectangle, else of the place's record
}

// DatasetEntry is what a catalogue says about a dataset. What follows Gateway is
// taken from the description and empty without one, but for City, Department and
// Industries, which the registry says.
type DatasetEntry struct {
	Code      Code         `json:"code"`
	Status    Status       `json:"status"`
	Revision  uint32       `json:"revision"`            // of the record
	Changed   Change       `json:"changed"`             // block with that revision
	Published *Dataset     `json:"published,omitempty"` // class and digests in the record; nil: it names none
	State     DatasetState `json:"state"`
	Detail    string       `json:"detail,omitempty"`  // why the state is not current
	Held      Digest       `json:"held,omitzero"`     // of the description shown; another than the record's: of an earlier revision
	Fetched   Time         `json:"fetched,omitempty"` // when that was fetched
	Checked   Time         `json:"checked,omitempty"` // when the gateway was asked last
	Gateway   string       `json:"gateway,omitempty"` // its address

	Title       Names          `json:"title,omitempty"` // the record's names without a description
	Description Names          `json:"description,omitempty"`
	Publisher   *NamedCode     `json:"publisher,omitempty"` // as the description has it
	City        *NamedCode     `json:"city,omitempty"`      // nearest city, county or province above it
	Department  *NamedCode     `json:"department,omitempty"`
	Industries  []NamedCode    `json:"industries,omitempty"` // above it, or what its themes stand for in the crosswalk
	Themes      []DatasetTheme `json:"themes,omitempty"`
	Place       *DatasetPlace  `json:"place,omitempty"`
	Formats     []string       `json:"formats,omitempty"`    // short names, such as "JSON"
	Indicators  []string       `json:"indicators,omitempty"` // such as "ISO 37120:2018 8.1"
	Issued      Time           `json:"issued,omitempty"`
	Modified    Time           `json:"modified,omitempty"`
	Frequency   string         `json:"frequency,omitempty"` // IRI
	Freshness   Freshness      `json:"freshness,omitzero"`
	Due         Time           `json:"due,omitempty"` // when it counts as late, or does since
	Points      int            `json:"points"`
	Quality     Quality        `json:"quality,omitzero"`
	Errors      int            `json:"errors,omitempty"`   // findings that should have kept it from being published
	Warnings    int            `json:"warnings,omitempty"` // findings of less weight
}

// DatasetQuery asks for datasets. All conditions hold together; several values
// of one are alternatives.
type DatasetQuery struct {
	Text        string // words, a code, or an identifier of another system, alone or as SCHEME:VALUE; at most 200 octets
	Below       Code   // whose datasets: what lies at or below the code, or came below it through heirs; zero: all
	Cities      []Code
	Departments []Code
	Industries  []Code
	Themes      []string // IRIs
	Classes     []DatasetClass
	Formats     []string
	Freshness   []Freshness
	Qualities   []Quality
	Indicators  []string
	States      []DatasetState
	Sort        DatasetSort // 0: relevance with a text, and else quality
	NoFacets    bool        // leave the facets out
	After       string      // cursor of the page before; "": the first page
	Limit       int         // 1 to 100; 0: 20
}

// FacetValue is a value by which a list can be narrowed, and how many datasets
// would be left.
type FacetValue struct {
	Value string `json:"value"`
	Names Names  `json:"names,omitempty"`
	Count int    `json:"count"`
}

// DatasetFacet lists the values of one condition: those chosen, and the 50 that
// would leave most.
type DatasetFacet struct {
	Name   string       `json:"name"` // of the condition, as the API's parameter has it
	Values []FacetValue `json:"values"`
	More   int          `json:"more,omitempty"` // values left out
}

// DatasetMeaning says what a text stands for in the registry.
type DatasetMeaning struct {
	Scheme string      `json:"scheme,omitempty"` // of the crosswalk; "": the text is a code
	Value  string      `json:"value"`
	Code   NamedCode   `json:"code"`
	Holds  bool        `json:"holds"`         // the mapping holds now
	Now    []NamedCode `json:"now,omitempty"` // heirs and successors, if the code is retired
}

// DatasetPage is part of a list of datasets.
type DatasetPage struct {
	Datasets []DatasetEntry   `json:"datasets"`
	Total    int              `json:"total"` // on all pages
	Facets   []DatasetFacet   `json:"facets,omitempty"`
	Meanings []DatasetMeaning `json:"meanings,omitempty"` // of the text
	Next     string           `json:"next,omitempty"`     // cursor of the next page; "": complete
	Partial  bool             `json:"partial,omitempty"`  // the registry is still being read for the first time
	AsOf     AsOf             `json:"as_of"`              // state of the registry that the list follows
}

// DatasetDocument is how a catalogue stands to one document of a dataset.
type DatasetDocument struct {
	Part    DatasetPart  `json:"part"`
	Digest  Digest       `json:"digest"`         // in the record
	Held    Digest       `json:"held,omitzero"`  // of the document it holds
	Size    int          `json:"size,omitempty"` // octets of that
	State   DatasetState `json:"state"`          // current, waiting, unreachable, missing, refused, invalid or full
	Detail  string       `json:"detail,omitempty"`
	Fetched Time         `json:"fetched,omitempty"`
	Checked Time         `json:"checked,omitempty"`
}

// DatasetReason is something that brings a description points, all or none.
type DatasetReason struct {
	ID     string `json:"id"`
	Points int    `json:"points"`
	Of     int    `json:"of"`
	Words  Names  `json:"words"`
}

// DatasetDimension is a group of reasons.
type DatasetDimension struct {
	ID     string          `json:"id"`
	Points int             `json:"points"`
	Of     int             `json:"of"`
	Words  Names           `json:"words"`
	Parts  []DatasetReason `json:"parts"`
}

// DatasetFinding is something that is wrong with a description.
type DatasetFinding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"` // "error" or "warning"
	Path     string `json:"path"`     // JSON pointer into the description
	Words    Names  `json:"words"`
}

// DatasetTerm is one term of a usage policy.
type DatasetTerm struct {
	ID       string `json:"id"`
	Enforced bool   `json:"enforced"` // by the provider's gateway; else declared: a promise
	Words    Names  `json:"words"`
}

// DatasetCrosswalk is a department or industry of a dataset with its
// identifiers in other systems.
type DatasetCrosswalk struct {
	Code    Code    `json:"code"`
	Kind    Kind    `json:"kind"`
	Names   Names   `json:"names,omitempty"`
	Aliases []Alias `json:"aliases"`
}

// DatasetAnswer is all that a catalogue says about a dataset.
type DatasetAnswer struct {
	Dataset    DatasetEntry       `json:"dataset"`
	Documents  []DatasetDocument  `json:"documents,omitempty"`
	Terms      []DatasetTerm      `json:"terms,omitempty"`
	Dimensions []DatasetDimension `json:"dimensions,omitempty"` // of the points
	Findings   []DatasetFinding   `json:"findings,omitempty"`
	Crosswalk  []DatasetCrosswalk `json:"crosswalk,omitempty"`
	AsOf       AsOf               `json:"as_of"`
}

// CatalogueQuery asks for a part of the catalogue as a DCAT-AP document.
type CatalogueQuery struct {
	City  Code   // only what lies at or below this code; zero: all
	After string // cursor of the page before; "": the first page
	Limit int    // 1 to 1000; 0: 200
}

// CatalogueDocument is a page of the catalogue: canonical JSON-LD.
type CatalogueDocument struct {
	Body []byte
	Next string // cursor of the next page; "": complete
}
