// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"

	"cityid"
)

// Bounds on a dataset document.
const (
	MaxDocument = 256 << 10 // octets of one

	maxThemes        = 16
	maxLanguages     = 16
	maxStandards     = 32
	maxDistributions = 32
	maxIndicators    = 256
	maxSources       = 64 // of an indicator
)

// Coded is the IRI of a coded thing and its code.
type Coded struct {
	ID         Ref         `json:"@id"`
	Identifier cityid.Code `json:"identifier"` // the code of ID
}

// At returns both for a reference.
func At(r Ref) Coded { return Coded{ID: r, Identifier: r.code} }

func (c *Coded) check(path string) error {
	if c.ID.IsZero() {
		return invalid(path+"/@id", "is missing: want the IRI of a code")
	}
	if c.Identifier != c.ID.code {
		return invalid(path+"/identifier", "is %q, but the IRI has code %q", c.Identifier, c.ID.code)
	}
	return nil
}

// Dataset is the description of a dataset. What is empty is left out of the
// document. [Dataset.Encode] writes it, [ParseDataset] reads it; [Check] says
// what it still needs. Values are read only: several goroutines may share one
// that none of them changes.
type Dataset struct {
	Coded
	Type          fixed[datasetType] `json:"@type"`
	Title         cityid.Names       `json:"title,omitempty"`
	Description   cityid.Names       `json:"description,omitempty"` // 1 to 4,000 octets in a language, several lines perhaps
	Keywords      Keywords           `json:"keyword,omitempty"`
	Publisher     *Agent             `json:"publisher,omitempty"`
	Contact       *Contact           `json:"contactPoint,omitempty"`
	Themes        []Concept          `json:"theme,omitempty"`
	Access        Access             `json:"accessRights,omitzero"`
	Issued        cityid.Time        `json:"issued,omitzero"`
	Modified      cityid.Time        `json:"modified,omitzero"`
	Frequency     string             `json:"accrualPeriodicity,omitempty"` // IRI, such as that of [EUFrequency] + "DAILY"
	Languages     []string           `json:"language,omitempty"`           // IRIs, such as that of [EULanguage] + "ZHO"
	Spatial       *Place             `json:"spatial,omitempty"`
	Temporal      *Period            `json:"temporal,omitempty"`
	ConformsTo    []Standard         `json:"conformsTo,omitempty"`
	Version       string             `json:"version,omitempty"`
	LandingPage   string             `json:"landingPage,omitempty"`
	Policies      []Policy           `json:"hasPolicy,omitempty"` // none or one
	Distributions []Distribution     `json:"distribution,omitempty"`
	Indicators    []Indicator        `json:"variableMeasured,omitempty"`
}

// Agent is who publishes.
type Agent struct {
	Coded
	Type fixed[agentType] `json:"@type"`
	Name cityid.Names     `json:"name,omitempty"`
}

// Contact is an office, not a person.
type Contact struct {
	Type      fixed[contactType] `json:"@type"`
	Name      cityid.Names       `json:"fn,omitempty"`
	Email     string             `json:"hasEmail,omitempty"`     // "mailto:data@city.example"
	Telephone string             `json:"hasTelephone,omitempty"` // "tel:+86-311-12345"
	Page      string             `json:"hasURL,omitempty"`
}

// Concept is a term of a vocabulary: an IRI, or [SchemeTerm], with its name.
type Concept struct {
	ID    string             `json:"@id"`
	Type  fixed[conceptType] `json:"@type"`
	Label cityid.Names       `json:"prefLabel,omitempty"`
}

// Place is what a dataset covers: the code of a place, and where that is.
type Place struct {
	Coded
	Type  fixed[placeType] `json:"@type"`
	Box   *Box             `json:"bbox,omitempty"`
	Point *Point           `json:"centroid,omitempty"`
}

// Period is the time a dataset covers: from the first day, to the last day if
// there is one.
type Period struct {
	Type  fixed[periodType] `json:"@type"`
	Start Date              `json:"startDate,omitempty"`
	End   Date              `json:"endDate,omitempty"`
}

// Standard is what data conforms to: a schema, a data model, a profile.
type Standard struct {
	ID       string              `json:"@id"`
	Type     fixed[standardType] `json:"@type"`
	Title    cityid.Names        `json:"title,omitempty"`
	Checksum *Checksum           `json:"checksum,omitempty"` // of the JSON Schema that answers are checked against; one standard at most has it
}

// Checksum is the SHA-256 of some bytes.
type Checksum struct {
	Type      fixed[checksumType] `json:"@type"`
	Algorithm fixed[sha256Type]   `json:"algorithm"`
	Value     cityid.Digest       `json:"checksumValue"`
}

// Distribution is a way to get the data.
type Distribution struct {
	ID          string                  `json:"@id,omitempty"` // IRI of the dataset + "#" + a name
	Type        fixed[distributionType] `json:"@type"`
	Title       cityid.Names            `json:"title,omitempty"`
	Description cityid.Names            `json:"description,omitempty"`
	AccessURL   string                  `json:"accessURL,omitempty"`
	DownloadURL string                  `json:"downloadURL,omitempty"`
	Format      string                  `json:"format,omitempty"`    // IRI, such as that of [EUFileType] + "JSON"
	MediaType   string                  `json:"mediaType,omitempty"` // IRI, such as that of [IANAMediaType] + "application/json"
	Licence     string                  `json:"license,omitempty"`   // IRI
	Rights      string                  `json:"rights,omitempty"`    // IRI of a statement
	Issued      cityid.Time             `json:"issued,omitzero"`
	Modified    cityid.Time             `json:"modified,omitzero"`
	Size        Count                   `json:"byteSize,omitempty"` // octets
	Checksum    *Checksum               `json:"checksum,omitempty"` // of a file that does not change
	Service     *Service                `json:"accessService,omitempty"`
}

// Service is what serves a distribution: a gateway.
type Service struct {
	ID                  string             `json:"@id"`
	Type                fixed[serviceType] `json:"@type"`
	Title               cityid.Names       `json:"title,omitempty"`
	Endpoint            string             `json:"endpointURL,omitempty"`
	EndpointDescription string             `json:"endpointDescription,omitempty"` // URL of an OpenAPI document, say
	ConformsTo          []Standard         `json:"conformsTo,omitempty"`          // protocols
}

// Indicator says that a dataset carries an indicator of a city.
type Indicator struct {
	Type    fixed[indicatorType] `json:"@type"`
	ID      string               `json:"propertyID"`         // "37120:2018:10.1"
	Unit    string               `json:"unitCode,omitempty"` // "UCUM:ug/m3", or an IRI that begins with [QUDTUnit]
	Sources []Ref                `json:"wasDerivedFrom,omitempty"`
}

// The types of nodes, and other constants.
type (
	datasetType      struct{}
	agentType        struct{}
	contactType      struct{}
	conceptType      struct{}
	placeType        struct{}
	periodType       struct{}
	standardType     struct{}
	checksumType     struct{}
	sha256Type       struct{}
	distributionType struct{}
	serviceType      struct{}
	indicatorType    struct{}
)

// algorithmSHA256 is SPDX's name for SHA-256.
const algorithmSHA256 = "http://spdx.org/rdf/terms#checksumAlgorithm_sha256"

func (datasetType) constant() any      { return "Dataset" }
func (agentType) constant() any        { return "Agent" }
func (contactType) constant() any      { return []string{"Kind", "Organization"} }
func (conceptType) constant() any      { return "Concept" }
func (placeType) constant() any        { return "Location" }
func (periodType) constant() any       { return "PeriodOfTime" }
func (standardType) constant() any     { return "Standard" }
func (checksumType) constant() any     { return "Checksum" }
func (sha256Type) constant() any       { return algorithmSHA256 }
func (distributionType) constant() any { return "Distribution" }
func (serviceType) constant() any      { return "DataService" }
func (indicatorType) constant() any    { return "PropertyValue" }

// document is a dataset as it is published.
type document struct {
	Context  json.RawMessage `json:"@context,omitempty"` // only read: see [withContext]
	Included []node          `json:"@included,omitempty"`
	*Dataset
}

// Encode returns the canonical bytes of the document, which are what is
// published and whose [Digest] the chain holds. It refuses a value that breaks a
// rule of form, or a document over [MaxDocument].
func (d *Dataset) Encode() ([]byte, error) {
	b, err := d.entry()
	if err != nil {
		return nil, err
	}
	return withContext("dataset", datasetContext, b, MaxDocument)
}

// entry returns the document without its context, as it stands in a catalogue.
func (d *Dataset) entry() ([]byte, error) {
	if err := d.form(); err != nil {
		return nil, err
	}
	included, err := d.included()
	if err != nil {
		return nil, err
	}
	return canonical("dataset", document{Included: included, Dataset: d}, MaxDocument)
}

// Digest returns the SHA-256 of published bytes.
func Digest(published []byte) cityid.Digest { return sha256.Sum256(published) }

// ParseDataset reads a document that somebody wrote: in any layout, and without
// what the format adds by itself ("@context", "@type" and "@included"), though
// where these are given they must be right. Unknown and repeated members and
// anything else the format has no place for are refused.
func ParseDataset(b []byte) (*Dataset, error) {
	d, _, err := readDataset(b)
	return d, err
}

// ParsePublished reads a published document, and refuses bytes that are not what
// [Dataset.Encode] would write.
func ParsePublished(b []byte) (*Dataset, error) {
	d, published, err := readDataset(b)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(published, b) {
		return nil, malformed("dataset: is not in canonical form: encode it again")
	}
	return d, nil
}

// readDataset also returns the published bytes.
func readDataset(b []byte) (*Dataset, []byte, error) {
	if len(b) > MaxDocument {
		return nil, nil, cityid.Errorf(cityid.ErrTooLarge, "dataset of %d octets: at most %d", len(b), MaxDocument)
	}
	rest, ok := withoutContext(datasetContext, b)
	if ok {
		b = rest
	}
	return readEntry(b, !ok)
}

// readEntry reads a document that may still have a context, or one that has
// none, such as an entry of a catalogue.
func readEntry(b []byte, context bool) (*Dataset, []byte, error) {
	doc := document{Dataset: &Dataset{}}
	given, err := decode("dataset", b, MaxDocument, &doc)
	if err != nil {
		return nil, nil, err
	}
	if doc.Context != nil && (!context || !bytes.Equal(doc.Context, datasetContext)) {
		return nil, nil, malformed("dataset: /@context is not the fixed one: leave it out")
	}
	entry, err := doc.Dataset.entry()
	if err != nil {
		return nil, nil, err
	}
	published, err := withContext("dataset", datasetContext, entry, MaxDocument)
	if err != nil {
		return nil, nil, err
	}
	understood := entry
	if doc.Context != nil {
		understood = published
	}
	return doc.Dataset, published, same("dataset", given, understood)
}

// OnChain returns what the record of the dataset's code is to say of it: the
// class, and the digests of the published document, of the JSON Schema that the
// document names, and of the published policy.
func (d *Dataset) OnChain() (cityid.Dataset, error) {
	b, err := d.Encode()
	if err != nil {
		return cityid.Dataset{}, err
	}
	on := cityid.Dataset{Class: cityid.DatasetClass(d.Access), Document: Digest(b)}
	if s := d.Schema(); s != nil {
		on.Schema = s.Checksum.Value
	}
	if p := d.Policy(); p != nil {
		if b, err = p.Encode(); err != nil {
			return cityid.Dataset{}, err
		}
		on.Policy = Digest(b)
	}
	return on, nil
}

// Policy returns the dataset's usage policy, nil if there is none.
func (d *Dataset) Policy() *Policy {
	if len(d.Policies) == 0 {
		return nil
	}
	return &d.Policies[0]
}

// Schema returns the standard whose checksum says which JSON Schema answers are
// checked against, nil if there is none.
func (d *Dataset) Schema() *Standard {
	for i := range d.ConformsTo {
		if d.ConformsTo[i].Checksum != nil {
			return &d.ConformsTo[i]
		}
	}
	return nil
}

// form reports the first value that breaks a rule of form. What is missing is
// [Check]'s business.
func (d *Dataset) form() error {
	for _, c := range []error{
		d.Coded.check(""),
		checkNames("/title", d.Title),
		checkTexts("/description", d.Description),
		d.Keywords.check("/keyword"),
		d.Publisher.check("/publisher"),
		d.Contact.check("/contactPoint"),
		d.checkThemes(),
		d.Access.check("/accessRights"),
		checkTimes("", d.Issued, d.Modified),
		checkWeb("/accrualPeriodicity", d.Frequency),
		checkList("/language", d.Languages, maxLanguages),
		d.Spatial.check("/spatial"),
		d.Temporal.check("/temporal"),
		checkStandards("/conformsTo", d.ConformsTo, true),
		checkVersion("/version", d.Version),
		checkWeb("/landingPage", d.LandingPage),
		d.checkPolicies(),
		d.checkDistributions(),
		d.checkIndicators(),
	} {
		if c != nil {
			return c
		}
	}
	return nil
}

func checkTimes(path string, issued, modified cityid.Time) error {
	if !issued.Valid() {
		return invalid(path+"/issued", "is outside the years 1970 to 9999")
	}
	if !modified.Valid() {
		return invalid(path+"/modified", "is outside the years 1970 to 9999")
	}
	return nil
}

func checkVersion(path, v string) error {
	if len(v) > maxVersion {
		return invalid(path, "%d octets: at most %d", len(v), maxVersion)
	}
	if err := cityid.CheckText("version", v, false); err != nil {
		return invalid(path, "%s", message(err))
	}
	return nil
}

// checkList checks IRIs of which none stands there twice.
func checkList(path string, list []string, limit int) error {
	if len(list) > limit {
		return invalid(path, "%d entries: at most %d", len(list), limit)
	}
	seen := map[string]bool{}
	for i, s := range list {
		at := path + "/" + strconv.Itoa(i)
		if s == "" || seen[s] {
			return invalid(at, "is empty, or stands there twice")
		}
		seen[s] = true
		if err := checkWeb(at, s); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) check(path string) error {
	if a == nil {
		return nil
	}
	if err := a.Coded.check(path); err != nil {
		return err
	}
	return checkNames(path+"/name", a.Name)
}

func (c *Contact) check(path string) error {
	if c == nil {
		return nil
	}
	if err := checkNames(path+"/fn", c.Name); err != nil {
		return err
	}
	if err := checkIRI(path+"/hasEmail", c.Email, "mailto"); err != nil {
		return err
	}
	if address := strings.TrimPrefix(c.Email, "mailto:"); c.Email != "" && (strings.Count(address, "@") != 1 || strings.ContainsAny(address, "?,") ||
		strings.HasPrefix(address, "@") || strings.HasSuffix(address, "@")) {
		return invalid(path+"/hasEmail", "want mailto: and one address")
	}
	if err := checkIRI(path+"/hasTelephone", c.Telephone, "tel"); err != nil {
		return err
	}
	return checkWeb(path+"/hasURL", c.Page)
}

func (d *Dataset) checkThemes() error {
	if len(d.Themes) > maxThemes {
		return invalid("/theme", "%d themes: at most %d", len(d.Themes), maxThemes)
	}
	seen := map[string]bool{}
	for i := range d.Themes {
		t, at := &d.Themes[i], "/theme/"+strconv.Itoa(i)
		if seen[t.ID] {
			return invalid(at, "theme %.80q stands there twice", t.ID)
		}
		seen[t.ID] = true
		if err := t.check(at); err != nil {
			return err
		}
	}
	return nil
}

func (c *Concept) check(path string) error {
	if c.ID == "" {
		return invalid(path+"/@id", "is missing")
	}
	if strings.HasPrefix(c.ID, schemePrefix) {
		if _, _, err := ParseSchemeTerm(c.ID); err != nil {
			return invalid(path+"/@id", "%s", message(err))
		}
	} else if err := checkWeb(path+"/@id", c.ID); err != nil {
		return err
	}
	return checkNames(path+"/prefLabel", c.Label)
}

func (p *Place) check(path string) error {
	if p == nil {
		return nil
	}
	if err := p.Coded.check(path); err != nil {
		return err
	}
	if p.Box != nil {
		if err := p.Box.check(path + "/bbox"); err != nil {
			return err
		}
	}
	if p.Point != nil && (p.Point.Lat < -90e7 || p.Point.Lat > 90e7 || p.Point.Lon < -180e7 || p.Point.Lon > 180e7) {
		return invalid(path+"/centroid", "latitude lies within 90 degrees and longitude within 180")
	}
	return nil
}

func (p *Period) check(path string) error {
	if p == nil {
		return nil
	}
	if err := p.Start.check(path + "/startDate"); err != nil {
		return err
	}
	if err := p.End.check(path + "/endDate"); err != nil {
		return err
	}
	if p.Start != "" && p.End != "" && p.End < p.Start {
		return invalid(path, "ends before it begins")
	}
	return nil
}

func checkStandards(path string, list []Standard, schema bool) error {
	if len(list) > maxStandards {
		return invalid(path, "%d standards: at most %d", len(list), maxStandards)
	}
	seen, sums := map[string]bool{}, 0
	for i := range list {
		s, at := &list[i], path+"/"+strconv.Itoa(i)
		if s.ID == "" || seen[s.ID] {
			return invalid(at+"/@id", "is missing, or stands there twice")
		}
		seen[s.ID] = true
		if err := checkIRI(at+"/@id", s.ID, "https", "http", "urn"); err != nil {
			return err
		}
		if err := checkNames(at+"/title", s.Title); err != nil {
			return err
		}
		if s.Checksum != nil {
			if sums++; !schema || sums > 1 {
				return invalid(at+"/checksum", "only one standard, the JSON Schema of a dataset, has a checksum")
			}
			if err := s.Checksum.check(at + "/checksum"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Checksum) check(path string) error {
	if c != nil && c.Value.IsZero() {
		return invalid(path+"/checksumValue", "is missing: want the SHA-256 as 64 hexadecimal digits")
	}
	return nil
}
