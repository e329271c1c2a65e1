// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"math"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cityid"
)

// A validator evaluates subschemas at each value of a body, and how often is a
// matter of the schema: with alternatives inside alternatives, and references
// back to them, the number doubles with each level of nesting. So it is bounded
// before anything is evaluated.
//
// For a schema s and a distance k, let W(s, k) bound how often subschemas are
// evaluated at one value k levels below a value that s is evaluated at:
//
//	W(s, 0) = 1 + lists to look through + 4 for comparing numbers + sum of W(t, 0) over the subschemas t that s applies in place
//	W(s, k) = sum of W(t, k) over these t
//	        + max of W(p, k-1) over the named properties and positions, of which a child has one
//	        + sum of W(q, k-1) over the subschemas q that s applies to any child
//	        + 1 for the walk over the children (k = 1), + 10 for uniqueItems (all k): short lists are compared pair by pair
//
// P(s, k) bounds the instructions of regular expressions in the same way. The
// steps that a body takes are then at most the sum over its depths of values
// times W and octets times P, both at the top schema.

const (
	evaluation  = 16      // steps that one evaluation counts
	maxSteps    = 1 << 27 // a few seconds at worst
	arithmetic  = 4       // evaluations that comparing a number counts: it is exact
	comparisons = 10      // of each item of a list of twenty; longer ones are hashed
)

// costs are W and P at the top schema, by depth.
type costs struct {
	evaluations [maxInstanceDepth + 1]float64
	patterns    [maxInstanceDepth + 1]float64
	reverse     *jsonschema.Schema // holds exactly where the schema does not
}

type costValue struct{ evaluations, patterns float64 }

func (v *costValue) add(w costValue) {
	v.evaluations = math.Min(v.evaluations+w.evaluations, math.MaxInt64)
	v.patterns = math.Min(v.patterns+w.patterns, math.MaxInt64)
}

func (v *costValue) most(w costValue) {
	v.evaluations, v.patterns = math.Max(v.evaluations, w.evaluations), math.Max(v.patterns, w.patterns)
}

// measure computes the costs of a schema. It refuses one that refers to itself
// without going into the value.
func measure(s *jsonschema.Schema) (*costs, error) {
	m := meter{index: map[*jsonschema.Schema]int{}}
	if err := m.collect(s); err != nil {
		return nil, err
	}
	c := &costs{reverse: &jsonschema.Schema{DraftVersion: s.DraftVersion, Location: s.Location, Not: s}}
	before, now := make([]costValue, len(m.order)), make([]costValue, len(m.order))
	for k := range c.evaluations {
		for i, x := range m.order {
			now[i] = x.cost(k, before, now)
		}
		top := now[m.index[s]]
		c.evaluations[k], c.patterns[k] = top.evaluations, top.patterns
		before, now = now, before
	}
	return c, nil
}

// of bounds the steps it takes to check a body of a shape.
func (c *costs) of(shapes []shape) (float64, error) {
	steps := 0.0
	for k, s := range shapes {
		steps += c.evaluations[k]*(evaluation*float64(s.values)+float64(s.octets)/8) + c.patterns[k]*float64(s.octets)
	}
	if steps > maxSteps {
		return 0, cityid.Errorf(cityid.ErrTooLarge, "body could take %.0f steps to check against its schema: at most %d: ask for less at a time", steps, maxSteps)
	}
	return steps, nil
}

// refuses reports whether the schema refuses v, without saying why.
func (c *costs) refuses(v any) bool { return c.reverse.Validate(v) == nil }

// meter numbers the subschemas of a schema so that what one applies in place
// comes before it.
type meter struct {
	index map[*jsonschema.Schema]int // -1 while what it applies in place is collected
	order []*measured
}

// measured is a subschema and, by number, what it applies.
type measured struct {
	schema            *jsonschema.Schema
	inPlace, one, all []int
}

// collect numbers all subschemas reachable from s.
func (m *meter) collect(s *jsonschema.Schema) error {
	waiting := []*jsonschema.Schema{s}
	for len(waiting) > 0 {
		next := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if err := m.number(next, &waiting); err != nil {
			return err
		}
	}
	for _, x := range m.order {
		one, all := children(x.schema)
		x.inPlace, x.one, x.all = m.numbers(inPlace(x.schema)), m.numbers(one), m.numbers(all)
	}
	return nil
}

func (m *meter) number(s *jsonschema.Schema, waiting *[]*jsonschema.Schema) error {
	if n, ok := m.index[s]; ok {
		if n < 0 {
			return malformed("schema: %.100s refers to itself without going into the value", strings.TrimPrefix(s.Location, schemaName))
		}
		return nil
	}
	m.index[s] = -1
	for _, t := range inPlace(s) {
		if err := m.number(t, waiting); err != nil {
			return err
		}
	}
	m.index[s] = len(m.order)
	m.order = append(m.order, &measured{schema: s})
	one, all := children(s)
	*waiting = append(append(*waiting, one...), all...)
	return nil
}

func (m *meter) numbers(list []*jsonschema.Schema) []int {
	out := make([]int, len(list))
	for i, s := range list {
		out[i] = m.index[s]
	}
	return out
}

// cost computes W and P at depth k, from those at the depth before and those at
// this depth of what is applied in place.
func (x *measured) cost(k int, before, now []costValue) costValue {
	v := own(x.schema, k)
	for _, i := range x.inPlace {
		v.add(now[i])
	}
	if k == 0 {
		return v
	}
	most := costValue{}
	for _, i := range x.one {
		most.most(before[i])
	}
	v.add(most)
	for _, i := range x.all {
		v.add(before[i])
	}
	return v
}

// own is what a schema itself costs at a distance, without its subschemas.
func own(s *jsonschema.Schema, depth int) costValue {
	v := costValue{}
	if s.UniqueItems {
		v.evaluations += comparisons
	}
	switch depth {
	case 0:
		v.evaluations += 1 + float64(len(s.Required))
		for _, list := range s.DependentRequired {
			v.evaluations += float64(1 + len(list))
		}
		if s.Enum != nil {
			for _, x := range s.Enum.Values {
				v.evaluations += size(x)
			}
		}
		if s.Const != nil {
			v.evaluations += size(*s.Const)
		}
		if s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil || s.MultipleOf != nil {
			v.evaluations += arithmetic
		}
		if s.Pattern != nil {
			v.patterns += instructions(s.Pattern.String())
		}
	case 1:
		v.evaluations++
	}
	// The names of an object's members count at the object's depth and one below:
	// where exactly a scan counts them does not matter for a bound.
	if depth <= 1 {
		for p := range s.PatternProperties {
			v.evaluations++
			v.patterns += instructions(p.String())
		}
	}
	return v
}

func instructions(pattern string) float64 {
	n, err := patternSize(pattern)
	if err != nil {
		return math.MaxInt64
	}
	return float64(n)
}

// size counts the values within a value.
func size(v any) float64 {
	n := 1.0
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			n += size(x)
		}
	case []any:
		for _, x := range v {
			n += size(x)
		}
	}
	return n
}

// inPlace returns the subschemas that apply to the same value.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	out := append(append(append([]*jsonschema.Schema{}, s.AllOf...), s.AnyOf...), s.OneOf...)
	for _, t := range []*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else, s.ContentSchema} {
		if t != nil {
			out = append(out, t)
		}
	}
	for _, t := range s.DependentSchemas {
		out = append(out, t)
	}
	for _, d := range s.Dependencies {
		if t, ok := d.(*jsonschema.Schema); ok {
			out = append(out, t)
		}
	}
	return out
}

// children returns the subschemas that apply to children: those of which at most
// one applies to any one child, and those that may all apply.
func children(s *jsonschema.Schema) (one, all []*jsonschema.Schema) {
	for _, t := range s.Properties {
		one = append(one, t)
	}
	one = append(one, s.PrefixItems...)
	for _, t := range s.PatternProperties {
		all = append(all, t)
	}
	for _, x := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch t := x.(type) {
		case *jsonschema.Schema:
			all = append(all, t)
		case []*jsonschema.Schema:
			one = append(one, t...)
		}
	}
	for _, t := range []*jsonschema.Schema{s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems} {
		if t != nil {
			all = append(all, t)
		}
	}
	return one, all
}
