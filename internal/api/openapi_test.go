// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
)

type document struct {
	OpenAPI    string
	Paths      map[string]map[string]any
	Components struct {
		Parameters, Headers, Responses map[string]any
		Schemas                        map[string]struct {
			Properties map[string]any
			Required   []string
			Enum       []string
			Names      struct{ Enum []string } `json:"propertyNames"`
		}
	}
}

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(openAPIDocument, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentDescribesRoutes(t *testing.T) {
	d := readDocument(t)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %q", d.OpenAPI)
	}
	var routed, described []string
	for _, r := range (&handler{}).routes(nil) {
		for method := range r.methods {
			routed = append(routed, strings.ToLower(method)+" "+strings.ReplaceAll(r.pattern, "...", ""))
		}
	}
	for path, methods := range d.Paths {
		for method := range methods {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(routed)
	slices.Sort(described)
	if diff := cmp.Diff(routed, described); diff != "" {
		t.Errorf("routed (-) and described (+) differ:\n%s", diff)
	}
}

func TestDocumentReferences(t *testing.T) {
	d := readDocument(t)
	var all map[string]any
	if err := json.Unmarshal(openAPIDocument, &all); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(all)
	defined := map[string]bool{}
	for section, names := range map[string][]string{
		"parameters": slices.Collect(maps.Keys(d.Components.Parameters)), "headers": slices.Collect(maps.Keys(d.Components.Headers)),
		"responses": slices.Collect(maps.Keys(d.Components.Responses)), "schemas": slices.Collect(maps.Keys(d.Components.Schemas)),
	} {
		for _, name := range names {
			defined["#/components/"+section+"/"+name] = true
		}
	}
	if diff := cmp.Diff(defined, used); diff != "" {
		t.Errorf("defined (-) and used (+) differ:\n%s", diff)
	}
}

func TestDocumentDescribesTypes(t *testing.T) {
	d := readDocument(t)
	types := []any{
		cityid.AsOf{}, cityid.Link{}, cityid.Alias{}, cityid.Document{}, cityid.Change{}, cityid.Content{}, cityid.Key{}, cityid.Member{},
		cityid.Policy{}, cityid.Record{}, cityid.Delegation{}, cityid.Rekey{}, cityid.SetStatus{}, cityid.Waiting{}, cityid.RecordAnswer{}, cityid.RecordPage{},
		cityid.HistoryAnswer{}, cityid.CrosswalkEntry{}, cityid.Scheme{}, cityid.CrosswalkAnswer{}, cityid.SearchHit{}, cityid.SearchPage{}, cityid.Attestation{}, cityid.AttestationPage{}, cityid.Target{},
		cityid.Vote{}, cityid.Possession{}, cityid.Proposal{}, cityid.MemberVote{}, cityid.Need{}, cityid.ProposalAnswer{}, cityid.ProposalPage{},
		cityid.Receipt{}, cityid.Tx{}, cityid.Validator{}, cityid.ValidatorSet{}, cityid.NodeStatus{}, cityid.Offender{}, cityid.Ruleset{}, cityid.Upgrade{}, cityid.Params{}, cityid.KindRule{},
		cityid.ClassRule{}, cityid.Rule{}, cityid.Settings{}, cityid.TrustPower{}, cityid.QuorumMember{}, cityid.Quorum{},
		cityid.TrustStatement{}, cityid.KeySignature{}, cityid.Trust{}, trustVersions{},
		cityid.Body{}, cityid.TransactionAnswer{}, cityid.BlockTx{}, cityid.Block{}, cityid.BlockPage{}, cityid.Changes{}, cityid.EventTx{}, cityid.Event{},
		cityid.Dataset{}, cityid.Terms{}, cityid.Agreement{}, cityid.AgreementAnswer{}, cityid.AgreementPage{}, cityid.Anchor{}, cityid.LogHead{}, cityid.AnchorPage{},
		cityid.NamedCode{}, cityid.DatasetTheme{}, cityid.DatasetPlace{}, cityid.DatasetEntry{}, cityid.FacetValue{}, cityid.DatasetFacet{}, cityid.DatasetMeaning{},
		cityid.DatasetPage{}, cityid.DatasetDocument{}, cityid.DatasetReason{}, cityid.DatasetDimension{}, cityid.DatasetFinding{}, cityid.DatasetTerm{},
		cityid.DatasetCrosswalk{}, cityid.DatasetAnswer{},
		cityid.Delegation{}, cityid.Checkpoint{}, cityid.BlockLog{}, cityid.Fork{}, cityid.Zone{}, cityid.Upstream{}, cityid.ZoneAnswer{}, cityid.ZonePage{},
	}
	for _, v := range types {
		typ := reflect.TypeOf(v)
		name := strings.ToUpper(typ.Name()[:1]) + typ.Name()[1:]
		schema, ok := d.Components.Schemas[name]
		if !ok {
			t.Errorf("no schema of %s", name)
			continue
		}
		properties, required := members(typ)
		got := slices.Sorted(maps.Keys(schema.Properties))
		if diff := cmp.Diff(properties, got); diff != "" {
			t.Errorf("%s: members (-) and properties (+) differ:\n%s", name, diff)
		}
		slices.Sort(schema.Required)
		if diff := cmp.Diff(required, schema.Required); diff != "" {
			t.Errorf("%s: members always there (-) and required (+) differ:\n%s", name, diff)
		}
	}
	operations, _ := members(reflect.TypeFor[cityid.Operation]())
	names := d.Components.Schemas["Operation"].Names.Enum
	slices.Sort(names)
	if diff := cmp.Diff(operations, names); diff != "" {
		t.Errorf("operations (-) and described (+) differ:\n%s", diff)
	}
}

// members returns the names of a type's members in JSON, and those that are
// always there, sorted.
func members(typ reflect.Type) (all, always []string) {
	for i := range typ.NumField() {
		name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		all = append(all, name)
		if !strings.Contains(options, "omit") {
			always = append(always, name)
		}
	}
	slices.Sort(all)
	slices.Sort(always)
	return all, always
}

func TestDocumentListsNames(t *testing.T) {
	d := readDocument(t)
	lists := map[string]func(i uint8) string{
		"ErrorCode":      func(i uint8) string { return cityid.ErrorCode(i).String() },
		"Kind":           func(i uint8) string { return cityid.Kind(i + 1).String() },
		"Status":         func(i uint8) string { return cityid.Status(i + 1).String() },
		"Reason":         func(i uint8) string { return cityid.Reason(i).String() },
		"ProposalState":  func(i uint8) string { return cityid.ProposalState(i + 1).String() },
		"DatasetClass":   func(i uint8) string { return cityid.DatasetClass(i + 1).String() },
		"AgreementState": func(i uint8) string { return cityid.AgreementState(i + 1).String() },
		"DatasetState":   func(i uint8) string { return cityid.DatasetState(i + 1).String() },
		"Freshness":      func(i uint8) string { return cityid.Freshness(i + 1).String() },
		"Quality":        func(i uint8) string { return cityid.Quality(i + 1).String() },
		"DatasetSort":    func(i uint8) string { return cityid.DatasetSort(i + 1).String() },
		"DatasetPart":    func(i uint8) string { return cityid.DatasetPart(i + 1).String() },
		"Disclosure":     func(i uint8) string { return cityid.Disclosure(i + 1).String() },
	}
	for name, text := range lists {
		enum := d.Components.Schemas[name].Enum
		for i, got := range enum {
			if want := text(uint8(i)); got != want {
				t.Errorf("%s %d is described as %q, want %q", name, i, got, want)
			}
		}
		if next := text(uint8(len(enum))); strings.TrimRight(next, "0123456789") == next {
			t.Errorf("%s: %q is not described", name, next)
		}
	}
}
