// SPDX-License-Identifier: Apache-2.0

package dcat_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"cityid"
	"cityid/internal/dcat"
)

func schema(t testing.TB, members string) *dcat.Schema {
	t.Helper()
	s, err := dcat.CompileSchema([]byte(`{"$schema": "` + dcat.Dialect + `"` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// observations is a schema as a gateway would have it.
const observations = `, "$id": "https://gateway.example/schemas/air-quality", "type": "object", "required": ["observations"],
 "properties": {"observations": {"type": "array", "items": {"$ref": "#/$defs/observation"}}, "next": {"type": "string"}},
 "additionalProperties": false,
 "$defs": {"observation": {"type": "object", "required": ["station", "time", "value"], "unevaluatedProperties": false,
  "properties": {"station": {"type": "string", "pattern": "^[A-Z0-9./]+$"}, "time": {"type": "string", "format": "date-time"},
   "value": {"type": "number", "minimum": 0, "maximum": 2000}, "kind": {"enum": ["PM2.5", "O3"]}}}}`

func TestValidateInstance(t *testing.T) {
	s := schema(t, observations)
	for _, c := range []struct{ body, want string }{
		{`{"observations": []}`, ""},
		{`{"observations": [{"station": "MA.156/1", "time": "2026-11-24T00:00:00Z", "value": 12.5, "kind": "O3"}], "next": "x"}`, ""},
		{`{"observations": [{"station": "MA.156/1", "time": "not asserted", "value": 0}]}`, ""},
		{`{}`, "at / (required)"},
		{`[]`, "at / (type)"},
		{`{"observations": [], "secret-value": 1}`, "at / (additionalProperties)"},
		{`{"observations": [{"station": "secret-value", "time": "x", "value": 1}, {"station": "A", "time": "x", "value": -1}]}`,
			"at /observations/0/station (pattern), /observations/1/value (minimum)"},
		{`{"observations": [{"station": "A", "time": "x", "value": 1, "secret-value": 1}]}`, "at /observations/0/secret-value"},
		{`{"observations": [{"station": "A", "time": "x", "value": 1, "kind": "secret-value"}]}`, "/observations/0/kind (enum)"},
		{`{"observations": []} []`, "something behind its end"},
		{`{"observations": [], "observations": []}`, "twice"},
		{`{"observations": 1e400}`, "exponent"},
		{"{\"observations\": \"\xff\"}", "UTF-8"},
		{``, "ends too early"},
		{strings.Repeat("[", 65), "deeper than 64"},
		{`"` + strings.Repeat("x", dcat.MaxInstance) + `"`, "at most 10485760"},
	} {
		err := s.ValidateInstance([]byte(c.body))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.100s: %v, want %s", c.body, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), `"secret-value"`) {
			t.Errorf("the error tells a value: %v", err)
		}
	}
}

// TestLargeInstance checks a body for which no places are named.
func TestLargeInstance(t *testing.T) {
	s := schema(t, observations)
	row := `{"station": "MA.156/1", "time": "2026-11-24T00:00:00Z", "value": 12.5},`
	body := `{"observations": [` + strings.Repeat(row, 20_000)
	if err := s.ValidateInstance([]byte(strings.TrimSuffix(body, ",") + `]}`)); err != nil {
		t.Error(err)
	}
	if err := s.ValidateInstance([]byte(body + `7]}`)); err == nil || !strings.Contains(err.Error(), "too large to say where") {
		t.Error(err)
	}
	many := `{"observations": [` + strings.TrimSuffix(strings.Repeat("7,", 100), ",") + `]}`
	if err := s.ValidateInstance([]byte(many)); err == nil || !strings.HasSuffix(err.Error(), "and more (invalid)") {
		t.Error(err)
	}
}

// TestSchemaConcurrently uses one schema from several goroutines; the race
// detector looks on where it is on.
func TestSchemaConcurrently(t *testing.T) {
	s := schema(t, observations)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 20 {
				if err := s.ValidateInstance(fmt.Appendf(nil, `{"observations": [], "next": "%d"}`, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCompileSchemaRefuses(t *testing.T) {
	wide := strings.TrimSuffix(strings.Repeat(`{},`, 10_001), ",")
	for _, c := range []struct{ name, text, want string }{
		{"no dialect", `{"type": "object"}`, "$schema"},
		{"older dialect", `{"$schema": "http://json-schema.org/draft-07/schema#"}`, "$schema"},
		{"own dialect", `{"$schema": "https://x.example/meta"}`, "$schema"},
		{"true", `true`, "want an object"},
		{"metaschema", `{"$schema": "` + dcat.Dialect + `", "type": "text"}`, "metaschema at /type"},
		{"metaschema inside", `{"$schema": "` + dcat.Dialect + `", "properties": {"a": {"minimum": "1"}}}`, "metaschema at /properties/a/minimum"},
		{"remote", `{"$schema": "` + dcat.Dialect + `", "$ref": "https://x.example/schema"}`, "within the schema"},
		{"file", `{"$schema": "` + dcat.Dialect + `", "items": {"$ref": "file:///etc/passwd"}}`, "/items/$ref: want a reference within"},
		{"relative", `{"$schema": "` + dcat.Dialect + `", "$ref": "other.json"}`, "within the schema"},
		{"to the metaschema", `{"$schema": "` + dcat.Dialect + `", "$ref": "` + dcat.Dialect + `"}`, "within the schema"},
		{"nowhere", `{"$schema": "` + dcat.Dialect + `", "$ref": "#/$defs/a"}`, "schema:"},
		{"no anchor", `{"$schema": "` + dcat.Dialect + `", "$ref": "#a"}`, "schema:"},
		{"id inside", `{"$schema": "` + dcat.Dialect + `", "$defs": {"a": {"$id": "https://x.example/a"}}}`, "/$defs/a/$id"},
		{"id with fragment", `{"$schema": "` + dcat.Dialect + `", "$id": "https://x.example/a#b"}`, "/$id"},
		{"relative id", `{"$schema": "` + dcat.Dialect + `", "$id": "a.json"}`, "/$id"},
		{"id of the metaschema", `{"$schema": "` + dcat.Dialect + `", "$id": "` + dcat.Dialect + `"}`, "/$id"},
		{"dynamic", `{"$schema": "` + dcat.Dialect + `", "$dynamicRef": "#a"}`, "not supported"},
		{"itself", `{"$schema": "` + dcat.Dialect + `", "$ref": "#"}`, "refers to itself"},
		{"itself by a detour", `{"$schema": "` + dcat.Dialect + `", "anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}`, "refers to itself"},
		{"pattern", `{"$schema": "` + dcat.Dialect + `", "pattern": "("}`, "pattern"},
		{"look-ahead", `{"$schema": "` + dcat.Dialect + `", "pattern": "(?=a)"}`, "pattern"},
		{"long pattern", `{"$schema": "` + dcat.Dialect + `", "pattern": "` + strings.Repeat("a", 513) + `"}`, "at most 512"},
		{"large pattern", `{"$schema": "` + dcat.Dialect + `", "pattern": "` + strings.Repeat("a{1000}", 9) + `"}`, "instructions"},
		{"pattern of a name", `{"$schema": "` + dcat.Dialect + `", "patternProperties": {"(": {}}}`, "pattern"},
		{"repeated", `{"$schema": "` + dcat.Dialect + `", "type": "object", "type": "array"}`, "twice"},
		{"trailing", `{"$schema": "` + dcat.Dialect + `"} 1`, "behind its end"},
		{"deep", `{"$schema": "` + dcat.Dialect + `", "x": ` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "deeper than 64"},
		{"wide", `{"$schema": "` + dcat.Dialect + `", "prefixItems": [` + wide + `]}`, "at most 10000"},
		{"large", `{"$schema": "` + dcat.Dialect + `", "title": "` + strings.Repeat("x", dcat.MaxSchema) + `"}`, "at most 262144"},
		{"references", `{"$schema": "` + dcat.Dialect + `", "$defs": {"a": {}}, "prefixItems": [` + strings.TrimSuffix(strings.Repeat(`{"$ref": "#/$defs/a"},`, 1001), ",") + `]}`, "1000 references"},
	} {
		_, err := dcat.CompileSchema([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestCost checks that what would take for ever is refused at once.
func TestCost(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 60) + `1` + strings.Repeat(`}`, 60)
	for _, c := range []struct{ name, members, body string }{
		{"alternatives", `, "$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["b"]},
			{"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["c"]}]}}`, deep},
		{"all of", `, "$ref": "#/$defs/n", "$defs": {"n": {"allOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}}, {"patternProperties": {"a": {"$ref": "#/$defs/n"}}}]}}`, deep},
		{"pattern", `, "items": {"pattern": "(a|b|ab)*c{900}d"}`, `["` + strings.Repeat("ab", 200_000) + `"]`},
		{"enumeration", `, "items": {"enum": [` + strings.TrimSuffix(strings.Repeat("[1],[2],[3],", 1500), ",") + `]}`,
			`[` + strings.TrimSuffix(strings.Repeat("[9],", 100_000), ",") + `]`},
	} {
		s := schema(t, c.members)
		if err := s.ValidateInstance([]byte(c.body)); cityid.CodeOf(err) != cityid.ErrTooLarge {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := s.ValidateInstance([]byte(`1`)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A tree without alternatives goes as deep as it likes.
	tree := schema(t, `, "type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}`)
	if err := tree.ValidateInstance([]byte(deep)); err != nil {
		t.Error(err)
	}
}

func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"$schema": "`+dcat.Dialect+`"`+observations+`}`), []byte(`{"observations": [{"station": "A", "time": "x", "value": 1}]}`))
	f.Add([]byte(`{"$schema": "`+dcat.Dialect+`", "uniqueItems": true, "contains": {"const": 1}, "propertyNames": {"minLength": 2}}`), []byte(`[1, 1]`))
	f.Add([]byte(`{"$schema": "`+dcat.Dialect+`", "dependentSchemas": {"a": {"not": {}}}, "if": {"type": "object"}, "then": {"minProperties": 1}}`), []byte(`{"a": {}}`))
	f.Fuzz(func(t *testing.T, text, body []byte) {
		s, err := dcat.CompileSchema(text)
		if err != nil {
			return
		}
		if s.Digest() != dcat.Digest(text) {
			t.Fatal("another digest")
		}
		first, second := s.ValidateInstance(body), s.ValidateInstance(body)
		if (first == nil) != (second == nil) {
			t.Fatalf("%v, then %v", first, second)
		}
	})
}
