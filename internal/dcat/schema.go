// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"bytes"
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cityid"
)

// Bounds on schemas and on what is checked against them.
const (
	MaxSchema   = 256 << 10 // octets of a schema
	MaxInstance = 10 << 20  // octets of a body

	maxSchemaDepth   = 64
	maxSchemaValues  = 10_000 // JSON values of a schema
	maxReferences    = 1_000  // "$ref" of a schema
	maxPattern       = 512    // octets of a regular expression
	maxPatternSize   = 5_000  // instructions of its program
	maxInstanceDepth = 64
	maxPlaces        = 20      // places that an error names
	maxExplained     = 200_000 // evaluations after which an error names no place
)

// Dialect is the only "$schema" there is.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Schema is a compiled JSON Schema. Several goroutines may use it at once.
type Schema struct {
	compiled *jsonschema.Schema
	digest   cityid.Digest
	cost     *costs
}

// CompileSchema compiles a JSON Schema of draft 2020-12, which is checked
// against the metaschema. It may refer within itself alone: "$ref" begins with
// "#", "$id" stands at the top only, and "$dynamicRef" does not occur. A schema
// that refers to itself without going into the value, or whose checks would
// multiply beyond bounds, is refused. "format" does not restrict, as draft
// 2020-12 has it by default.
func CompileSchema(b []byte) (*Schema, error) {
	if len(b) > MaxSchema {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "schema of %d octets: at most %d", len(b), MaxSchema)
	}
	shapes, err := scan("schema", b, maxSchemaDepth)
	if err != nil {
		return nil, err
	}
	values := 0
	for _, s := range shapes {
		values += s.values
	}
	if values > maxSchemaValues {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "schema of %d values: at most %d", values, maxSchemaValues)
	}
	v, err := plain(b)
	if err != nil {
		return nil, malformed("schema: %v", err)
	}
	if err := confine(v); err != nil {
		return nil, err
	}
	compiled, err := compile(v)
	if err != nil {
		return nil, err
	}
	cost, err := measure(compiled)
	if err != nil {
		return nil, err
	}
	return &Schema{compiled: compiled, digest: Digest(b), cost: cost}, nil
}

// Digest returns the SHA-256 of the schema's bytes.
func (s *Schema) Digest() cityid.Digest { return s.digest }

// nowhere is a loader that has nothing: whatever is not in the schema itself is
// refused, be it in the network or in a file.
type nowhere struct{}

// Load fails.
func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("%.100q lies outside the schema", url)
}

// schemaName is what the library calls the schema being compiled.
const schemaName = "urn:cityid:schema"

func compile(v any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(nowhere{})
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(schemaName, v); err != nil {
		return nil, malformed("schema: %v", err)
	}
	s, err := c.Compile(schemaName)
	if err != nil {
		var invalid *jsonschema.SchemaValidationError
		var why *jsonschema.ValidationError
		if errors.As(err, &invalid) && errors.As(invalid.Err, &why) {
			return nil, malformed("schema: does not conform to the metaschema at %s", strings.Join(places(why), ", "))
		}
		return nil, malformed("schema: %.200s", err.Error())
	}
	return s, nil
}

// confine refuses what would lead out of a schema or make it unpredictable. It
// looks at every object, so that a member of an example that happens to be
// called "$ref" must be well-formed as well.
func confine(v any) error {
	top, ok := v.(map[string]any)
	if !ok || top["$schema"] != Dialect {
		return malformed("schema: want an object with \"$schema\": %q", Dialect)
	}
	if id, ok := top["$id"]; ok {
		s, ok := id.(string)
		if err := checkIRI("/$id", s, "https", "http", "urn"); err != nil || !ok || strings.Contains(s, "#") || strings.Contains(s, "json-schema.org") {
			return malformed("schema: /$id: want an absolute IRI without #")
		}
	}
	refs := 0
	return walk("", v, func(path string, o map[string]any) error {
		for _, name := range []string{"$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"} {
			if _, ok := o[name]; ok {
				return malformed("schema: %s/%s is not supported here", path, name)
			}
		}
		for _, name := range []string{"$id", "$schema"} {
			if _, ok := o[name]; ok && path != "" {
				return malformed("schema: %s/%s: stands at the top alone", path, name)
			}
		}
		if ref, ok := o["$ref"]; ok {
			if s, ok := ref.(string); !ok || !strings.HasPrefix(s, "#") {
				return malformed("schema: %s/$ref: want a reference within the schema, such as #/$defs/name: nothing is loaded from elsewhere", path)
			}
			if refs++; refs > maxReferences {
				return cityid.Errorf(cityid.ErrTooLarge, "schema has more than %d references", maxReferences)
			}
		}
		return confinePatterns(path, o)
	})
}

func confinePatterns(path string, o map[string]any) error {
	patterns := []string{}
	if p, ok := o["pattern"].(string); ok {
		patterns = append(patterns, p)
	}
	if m, ok := o["patternProperties"].(map[string]any); ok {
		for p := range m {
			patterns = append(patterns, p)
		}
	}
	slices.Sort(patterns)
	for _, p := range patterns {
		if _, err := patternSize(p); err != nil {
			return malformed("schema: %s: pattern %.60q: %v", path, p, err)
		}
	}
	return nil
}

// patternSize returns the number of instructions that a regular expression
// takes.
func patternSize(p string) (int, error) {
	if len(p) > maxPattern {
		return 0, fmt.Errorf("%d octets: at most %d", len(p), maxPattern)
	}
	parsed, err := syntax.Parse(p, syntax.Perl)
	if err != nil {
		return 0, err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, err
	}
	if len(prog.Inst) > maxPatternSize {
		return 0, fmt.Errorf("%d instructions: at most %d", len(prog.Inst), maxPatternSize)
	}
	return len(prog.Inst), nil
}

// walk calls visit for every object in v, in a fixed order, with its pointer.
func walk(path string, v any, visit func(path string, o map[string]any) error) error {
	switch v := v.(type) {
	case map[string]any:
		if err := visit(path, v); err != nil {
			return err
		}
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if err := walk(path+"/"+pointerToken(name), v[name], visit); err != nil {
				return err
			}
		}
	case []any:
		for i, x := range v {
			if err := walk(path+"/"+strconv.Itoa(i), x, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// ValidateInstance checks a body against the schema. A body that is not JSON, or
// larger, deeper or costlier to check than the bounds allow, is refused before it
// is checked. The error names at most 20 places in the body by pointer and
// keyword, never a value; for a body that takes long to check it names none.
func (s *Schema) ValidateInstance(body []byte) error {
	if len(body) > MaxInstance {
		return cityid.Errorf(cityid.ErrTooLarge, "body of %d octets: at most %d", len(body), MaxInstance)
	}
	shapes, err := scan("body", body, maxInstanceDepth)
	if err != nil {
		return err
	}
	steps, err := s.cost.of(shapes)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return malformed("body: %v", err)
	}
	if steps > maxExplained*evaluation {
		if s.cost.refuses(v) {
			return cityid.Errorf(cityid.ErrInvalid, "body does not conform to its schema; it is too large to say where")
		}
		return nil
	}
	err = s.compiled.Validate(v)
	var why *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &why):
		return cityid.Errorf(cityid.ErrInvalid, "body does not conform to its schema at %s", strings.Join(places(why), ", "))
	}
	return malformed("body: %v", err)
}

// places lists where a value does not conform: pointer and keyword.
func places(e *jsonschema.ValidationError) []string {
	var out []string
	seen := map[string]bool{}
	var visit func(e *jsonschema.ValidationError)
	visit = func(e *jsonschema.ValidationError) {
		if len(out) > maxPlaces {
			return
		}
		for _, c := range e.Causes {
			visit(c)
		}
		if len(e.Causes) > 0 || e.ErrorKind == nil {
			return
		}
		var b strings.Builder
		for _, token := range e.InstanceLocation {
			b.WriteString("/" + pointerToken(token))
		}
		place := b.String()
		if place == "" {
			place = "/"
		}
		if k := e.ErrorKind.KeywordPath(); len(k) > 0 {
			place += " (" + k[0] + ")"
		}
		if !seen[place] {
			seen[place] = true
			out = append(out, place)
		}
	}
	visit(e)
	slices.Sort(out)
	if len(out) > maxPlaces {
		out = append(out[:maxPlaces], "and more")
	}
	return out
}
