// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"net/url"
	"slices"
	"strings"

	"cityid"
)

// Beginnings of IRIs in the vocabularies that documents use: the authority
// tables of the Publications Office of the European Union, IANA's media types,
// QUDT's units, and the crosswalk schemes of the registry.
const (
	EUTheme       = "http://publications.europa.eu/resource/authority/data-theme/"
	EUAccess      = "http://publications.europa.eu/resource/authority/access-right/"
	EUFrequency   = "http://publications.europa.eu/resource/authority/frequency/"
	EULanguage    = "http://publications.europa.eu/resource/authority/language/"
	EUFileType    = "http://publications.europa.eu/resource/authority/file-type/"
	EULicence     = "http://publications.europa.eu/resource/authority/licence/"
	IANAMediaType = "https://www.iana.org/assignments/media-types/"
	QUDTUnit      = "http://qudt.org/vocab/unit/"
	SmartModels   = "https://smartdatamodels.org/"

	schemePrefix = "urn:cityid:scheme:"
)

// Profile is the application profile that documents follow.
const Profile = "https://semiceu.github.io/DCAT-AP/releases/3.0.1"

// What the vocabularies hold, as far as it is checked.
var (
	euThemes = []string{"AGRI", "ECON", "EDUC", "ENER", "ENVI", "GOVE", "HEAL", "INTR", "JUST", "OP_DATPRO", "REGI", "SOCI", "TECH", "TRAN"}

	euFrequencies = []string{"10MIN", "12HRS", "15MIN", "1MIN", "30MIN", "5MIN", "ANNUAL", "ANNUAL_2", "ANNUAL_3", "AS_NEEDED",
		"BIDECENNIAL", "BIENNIAL", "BIHOURLY", "BIMONTHLY", "BIWEEKLY", "CONT", "DAILY", "DAILY_2", "DECENNIAL", "HOURLY", "IRREG",
		"MONTHLY", "MONTHLY_2", "MONTHLY_3", "NEVER", "NOT_PLANNED", "OTHER", "QUADRENNIAL", "QUARTERLY", "QUIDDECENNIAL",
		"QUINQUENNIAL", "TRIDECENNIAL", "TRIENNIAL", "TRIHOURLY", "UNKNOWN", "UPDATE_CONT", "WEEKLY", "WEEKLY_2", "WEEKLY_3"}

	machineReadable = []string{"CSV", "GEOJSON", "GML", "GPKG", "GRIB", "GTFS", "JSON", "JSON_LD", "KML", "N3", "NETCDF", "ODS", "PARQUET",
		"RDF", "RDF_N_QUADS", "RDF_N_TRIPLES", "RDF_TRIG", "RDF_TURTLE", "RDF_XML", "SHP", "TSV", "XLSX", "XML"}

	licencePlaces = []string{EULicence, "https://creativecommons.org/", "http://creativecommons.org/", "https://spdx.org/licenses/", "http://spdx.org/licenses/"}
)

// within reports whether iri is begin followed by one of names.
func within(iri, begin string, names []string) bool {
	rest, ok := strings.CutPrefix(iri, begin)
	return ok && slices.Contains(names, rest)
}

// authority reports whether iri is begin followed by a name as authority tables
// have them: capital letters, digits and underscores.
func authority(iri, begin string) bool {
	rest, ok := strings.CutPrefix(iri, begin)
	return ok && rest != "" && !strings.ContainsFunc(rest, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_'
	})
}

// SchemeTerm returns the IRI of a value in a crosswalk scheme, such as an
// industry: "urn:cityid:scheme:gb-t-4754:I65", with every octet percent-encoded
// that is not a letter, a digit or one of "-._~".
func SchemeTerm(scheme, value string) (string, error) {
	if !cityid.ValidSchemeName(scheme) {
		return "", malformed("scheme name %.40q: want 1 to 24 lower-case letters, digits and hyphens", scheme)
	}
	if err := cityid.CheckText("value in scheme "+scheme, value, true); err != nil {
		return "", err
	}
	return schemePrefix + scheme + ":" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), nil
}

// ParseSchemeTerm parses what [SchemeTerm] returns.
func ParseSchemeTerm(iri string) (scheme, value string, err error) {
	rest, ok := strings.CutPrefix(iri, schemePrefix)
	scheme, escaped, found := strings.Cut(rest, ":")
	if !ok || !found {
		return "", "", malformed("term %.80q: want %sSCHEME:VALUE", iri, schemePrefix)
	}
	value, err = url.PathUnescape(escaped)
	if err == nil {
		var again string
		if again, err = SchemeTerm(scheme, value); err == nil && again == iri {
			return scheme, value, nil
		}
	}
	if err == nil {
		err = malformed("term %.80q is not percent-encoded as it should be", iri)
	}
	return "", "", err
}

// Access says who gets the data: the class that the chain knows, zero for none.
// Its text form is an IRI of [EUAccess]: PUBLIC for open, RESTRICTED for
// conditional, NON_PUBLIC for closed.
type Access cityid.DatasetClass

// Who gets the data.
const (
	Open        = Access(cityid.DatasetOpen)
	Conditional = Access(cityid.DatasetConditional)
	Closed      = Access(cityid.DatasetClosed)
)

var accessNames = [...]string{Open: "PUBLIC", Conditional: "RESTRICTED", Closed: "NON_PUBLIC"}

// MarshalText returns the IRI, empty for none.
func (a Access) MarshalText() ([]byte, error) {
	if !cityid.DatasetClass(a).Valid() {
		return nil, nil
	}
	return []byte(EUAccess + accessNames[a]), nil
}

// UnmarshalText parses an IRI; empty text is none.
func (a *Access) UnmarshalText(text []byte) error {
	name, ok := strings.CutPrefix(string(text), EUAccess)
	i := slices.Index(accessNames[1:], name)
	if len(text) > 0 && (!ok || i < 0) {
		return malformed("access right %.120q: want %s followed by PUBLIC, RESTRICTED or NON_PUBLIC", text, EUAccess)
	}
	*a = Access(i + 1)
	return nil
}

func (a Access) check(path string) error {
	if a != 0 && !cityid.DatasetClass(a).Valid() {
		return invalid(path, "access is open, conditional or closed")
	}
	return nil
}
