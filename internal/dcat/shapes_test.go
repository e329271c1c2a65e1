// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid/internal/dcat"
)

// engine is where scripts/test puts the SHACL engine and what reads JSON-LD.
const engine = "../../.cache"

// constraint is one line of testdata/shacl/dcat-ap-3.0.1.txt.
type constraint struct {
	Class    string `json:"class"`
	Property string `json:"property"`
	Min      int    `json:"min"`
	Max      int    `json:"max"`  // -1: any number
	Kind     string `json:"kind"` // literal or node
	Range    string `json:"range"`
}

var prefixes = map[string]string{
	"adms": "http://www.w3.org/ns/adms#", "dcat": "http://www.w3.org/ns/dcat#", "dcatap": "http://data.europa.eu/r5r/",
	"dct": "http://purl.org/dc/terms/", "eli": "http://data.europa.eu/eli/ontology#", "foaf": "http://xmlns.com/foaf/0.1/",
	"locn": "http://www.w3.org/ns/locn#", "odrl": "http://www.w3.org/ns/odrl/2/", "prov": "http://www.w3.org/ns/prov#",
	"rdfs": "http://www.w3.org/2000/01/rdf-schema#", "skos": "http://www.w3.org/2004/02/skos/core#", "spdx": "http://spdx.org/rdf/terms#",
	"time": "http://www.w3.org/2006/time#", "vcard": "http://www.w3.org/2006/vcard/ns#", "xsd": "http://www.w3.org/2001/XMLSchema#",
}

func iri(t *testing.T, short string) string {
	t.Helper()
	prefix, name, ok := strings.Cut(short, ":")
	if !ok || prefixes[prefix] == "" {
		t.Fatalf("%q has no known prefix", short)
	}
	return prefixes[prefix] + name
}

func constraints(t *testing.T) []constraint {
	t.Helper()
	var out []constraint
	class := ""
	for line := range strings.Lines(string(read(t, "shacl/dcat-ap-3.0.1.txt"))) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "#":
		case len(f) == 1:
			class = iri(t, f[0])
		default:
			c := constraint{Class: class, Property: iri(t, f[0]), Max: -1, Kind: f[2]}
			low, high, _ := strings.Cut(f[1], "..")
			var err error
			if c.Min, err = strconv.Atoi(low); err != nil {
				t.Fatal(line)
			}
			if high != "*" {
				if c.Max, err = strconv.Atoi(high); err != nil {
					t.Fatal(line)
				}
			}
			if len(f) > 3 {
				c.Range = iri(t, f[3])
			}
			out = append(out, c)
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d constraints", len(out))
	}
	return out
}

// judged is what the engine says of one document.
type judged struct {
	Error    string   `json:"error"`
	Quads    string   `json:"quads"`
	Own      []string `json:"own"`
	Official []string `json:"official"`
}

type answer struct {
	Documents   []judged     `json:"documents"`
	Constraints []constraint `json:"constraints"`
}

// validate runs documents through the constraints and, where the environment
// says where these are, the official shapes.
func validate(t *testing.T, list []constraint, documents ...[]byte) answer {
	t.Helper()
	if _, err := os.Stat(filepath.Join(engine, "node_modules", "rdf-validate-shacl", "package.json")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no SHACL engine; scripts/test fetches it")
		}
		t.Skip("there is no SHACL engine: documents are not validated against DCAT-AP; scripts/test fetches it")
	}
	job := struct {
		Constraints []constraint      `json:"constraints"`
		Files       []string          `json:"files"`
		Documents   []json.RawMessage `json:"documents"`
	}{Constraints: list, Files: []string{}}
	if folder := os.Getenv("DCAT_AP_SHAPES"); folder != "" {
		job.Files = []string{filepath.Join(folder, "dcat-ap-SHACL.ttl"), filepath.Join(folder, "ranges.ttl")}
	}
	for _, d := range documents {
		job.Documents = append(job.Documents, d)
	}
	in, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", filepath.Join("testdata", "shacl", "validate.mjs"), engine)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var out answer
	if err := json.Unmarshal(b, &out); err != nil || len(out.Documents) != len(documents) {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

// TestShapes validates everything that is published, and the catalogue, and
// compares what the documents say as RDF with a vector.
func TestShapes(t *testing.T) {
	c, documents := sample(t)
	names := []string{"closed", "air-quality", "open-file", "catalogue"}
	list := constraints(t)
	got := validate(t, list, append(slices.Clone(documents), catalogueBytes(t, c, documents))...)
	for i, d := range got.Documents {
		if d.Error != "" || len(d.Own)+len(d.Official) > 0 {
			t.Errorf("%s: %s\n%s\n%s", names[i], d.Error, strings.Join(d.Own, "\n"), strings.Join(d.Official, "\n"))
		}
		if names[i] != "air-quality" {
			continue
		}
		const vector = "testdata/good/air-quality.nq"
		if *update {
			if err := os.WriteFile(vector, []byte(d.Quads), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(vector)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(d.Quads, "\n")); diff != "" {
			t.Error(diff)
		}
	}
	if os.Getenv("DCAT_AP_SHAPES") == "" {
		return
	}
	classes := map[string]bool{}
	for _, c := range list {
		classes[c.Class] = true
	}
	official := slices.DeleteFunc(got.Constraints, func(c constraint) bool { return !classes[c.Class] })
	order := func(a, b constraint) int { return strings.Compare(a.Class+" "+a.Property, b.Class+" "+b.Property) }
	slices.SortFunc(official, order)
	slices.SortFunc(list, order)
	if diff := cmp.Diff(official, list); diff != "" {
		t.Errorf("the table is not what the official shapes say: %s", diff)
	}
}

// changed replaces text behind a document's context once, or the context.
func changed(t *testing.T, document, old, new string) []byte {
	t.Helper()
	context := `{"@context":` + string(dcat.DatasetContext())
	rest, ok := strings.CutPrefix(document, context)
	if ok && strings.HasSuffix(context, old) {
		return []byte(strings.TrimSuffix(context, old) + new + rest)
	}
	if !ok || !strings.Contains(rest, old) {
		t.Fatalf("%q does not occur", old)
	}
	return []byte(context + strings.Replace(rest, old, new, 1))
}

// TestShapesFind breaks documents in every way that the constraints know, and
// expects to be told.
func TestShapesFind(t *testing.T) {
	document, file := string(read(t, "good/air-quality.published")), string(read(t, "good/open-file.published"))
	c, documents := sample(t)
	catalogue := string(catalogueBytes(t, c, documents))
	tests := []struct{ name, in, old, new, want string }{
		{"title", document, `"title":{"en":"Air quality, hourly, by station"`, `"version":{"en":"Air quality, hourly, by station"`, "dct:title Min"},
		{"description", document, `"description":{"en":"Hourly`, `"prefLabel":{"en":"Hourly`, "dct:description Min"},
		{"publisher's name", document, `"name":{`, `"fn":{`, "foaf:name Min"},
		{"access address", document, `"accessURL":`, `"landingPage":`, "dcat:accessURL Min"},
		{"endpoint", document, `"endpointURL":`, `"landingPage":`, "dcat:endpointURL Min"},
		{"service's title", document, `"title":{"en":"Data gateway of`, `"prefLabel":{"en":"Data gateway of`, "dct:title Min"},
		{"checksum's value", document, `"checksumValue":`, `"identifier":`, "spdx:checksumValue Min"},
		{"checksum's algorithm", document, `"algorithm":`, `"identifier":`, "spdx:algorithm Min"},
		{"two formats", file, `"format":"http://publications.europa.eu/resource/authority/file-type/CSV"`,
			`"format":["https://x.example","http://publications.europa.eu/resource/authority/file-type/CSV"]`, "dct:format Max"},
		{"licence as text", file, `"license":"https://creativecommons.org/licenses/by/4.0/"`, `"dct:license":"CC BY"`, "dct:license NodeKind"},
		{"name of a theme", document, `"prefLabel":{"en":"Environment","zh":"环境"}`, `"identifier":"x"`, "skos:prefLabel Min"},
		{"type of a language", document, `["LinguisticSystem"]`, `["Location"]`, "dct:language Class"},
		{"type of a format", document, `["MediaTypeOrExtent"]`, `["MediaType"]`, "dct:format Class"},
		{"type of a place", document, `"@type":"Location"`, `"@type":"Agent"`, "dct:spatial Class"},
		{"type of a contact", document, `"@type":["Kind","Organization"]`, `"@type":["Organization"]`, "dcat:contactPoint Class"},
		{"type of an endpoint", document, `["WebResource"]`, `["Document"]`, "Class"},
		{"size with a sign", file, `"byteSize":"1234567"`, `"byteSize":"-1"`, "dcat:byteSize Datatype"},
		{"record's topic", catalogue, `"primaryTopic":`, `"identifier":`, "foaf:primaryTopic Min"},
		{"record's change", catalogue, `"modified":"2026-09-21T14:13:22Z"`, `"issued":"2026-09-21T14:13:22Z"`, "dct:modified Min"},
		{"catalogue's publisher", catalogue, `"publisher":{"@id":"https://id.example/MA.156.1301",`, `"wasDerivedFrom":{"@id":"https://id.example/MA.156.1301",`, "dct:publisher Min"},
		{"dataset is no resource", catalogue, `["Resource"]`, `["Document"]`, "foaf:primaryTopic Class"},
		{"remote context", document, string(dcat.DatasetContext()), `"https://x.example/context.jsonld"`, "loading remote context failed"},
		{"unknown term", document, `"version":"1.2"`, `"edition":"1.2"`, "edition"},
	}
	var broken [][]byte
	for _, x := range tests {
		broken = append(broken, changed(t, x.in, x.old, x.new))
	}
	list := constraints(t)
	for i, d := range validate(t, list, broken...).Documents {
		said := d.Error + strings.Join(d.Own, "\n")
		for prefix, long := range prefixes {
			said = strings.ReplaceAll(said, " "+long, " "+prefix+":")
		}
		if !strings.Contains(said, tests[i].want) {
			t.Errorf("%s: want %s, got:\n%s", tests[i].name, tests[i].want, said)
		}
		if os.Getenv("DCAT_AP_SHAPES") != "" && d.Error == "" && len(d.Official) == 0 {
			t.Errorf("%s: the official shapes find nothing", tests[i].name)
		}
	}
}

// dataspace is the shape of a catalogue in the Dataspace Protocol 2025-1, but for
// its context: what a catalogue, its datasets, offers, distributions and services
// must have, and as which types of JSON. Offers have no target there.
const dataspace = `, "type": "object", "required": ["@context", "@id", "@type", "participantId"],
 "properties": {"@id": {"type": "string"}, "@type": {"const": "Catalog"}, "participantId": {"type": "string"},
  "dataset": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/dataset"}}},
 "$defs": {
  "dataset": {"type": "object", "required": ["@id", "hasPolicy", "distribution"],
   "properties": {"@id": {"type": "string"}, "hasPolicy": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/offer"}},
    "distribution": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/distribution"}}}},
  "distribution": {"type": "object", "required": ["accessService", "format"],
   "properties": {"format": {"type": "string"}, "accessService": {"$ref": "#/$defs/service"}}},
  "service": {"type": "object", "required": ["@id", "@type", "endpointURL"],
   "properties": {"@id": {"type": "string"}, "@type": {"const": "DataService"}, "endpointURL": {"type": "string"}}},
  "offer": {"type": "object", "required": ["@id", "@type"], "anyOf": [{"required": ["permission"]}, {"required": ["prohibition"]}],
   "properties": {"@id": {"type": "string"}, "@type": {"const": "Offer"}, "profile": {"type": "string"}, "target": false,
    "permission": {"$ref": "#/$defs/rules"}, "prohibition": {"$ref": "#/$defs/rules"}, "obligation": {"$ref": "#/$defs/rules"}}},
  "rules": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["action"],
   "properties": {"action": {"type": "string"}, "constraint": {"type": "array", "items": {"$ref": "#/$defs/constraint"}}}}},
  "constraint": {"type": "object", "required": ["leftOperand", "operator", "rightOperand"],
   "properties": {"leftOperand": {"type": "string"}, "rightOperand": {"type": ["string", "object", "array"]},
    "operator": {"enum": ["eq", "gt", "gteq", "lteq", "hasPart", "isA", "isAllOf", "isAnyOf", "isNoneOf", "isPartOf", "lt", "neq"]}}}}`

// TestDataspace checks that a catalogue of datasets with policies has the shape
// of the Dataspace Protocol's, and that the test would notice.
func TestDataspace(t *testing.T) {
	c, documents := sample(t)
	c.Records = c.Records[1:2]
	b := catalogueBytes(t, c, documents[1:2])
	s := schema(t, dataspace)
	if err := s.ValidateInstance(b); err != nil {
		t.Error(err)
	}
	for _, x := range []string{`"hasPolicy":[`, `"distribution":[`, `"accessService":{`, `"endpointURL":"`, `"format":"http`, `"participantId":"`} {
		name, value, _ := strings.Cut(x, ":")
		if err := s.ValidateInstance(changed(t, string(b), x, `"x`+strings.TrimPrefix(name, `"`)+":"+value)); err == nil {
			t.Errorf("without %s it passes", name)
		}
	}
}
