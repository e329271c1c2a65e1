// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/dcat"
)

// Bounds of walks over records: the grammar has 28 levels, and heirs may add
// some; a code has at most 16 successors.
const (
	maxLineage = 128
	maxHeirs   = 256
)

// resolver looks records up, each once. It is for one goroutine and a short time.
type resolver struct {
	source Source
	known  map[cityid.Code]*cityid.Record // nil: there is none
	terms  map[string][]cityid.Code       // industries that terms of schemes stand for
}

func newResolver(s Source) *resolver {
	return &resolver{source: s, known: map[cityid.Code]*cityid.Record{}, terms: map[string][]cityid.Code{}}
}

// record returns the record of a code, or nil.
func (r *resolver) record(ctx context.Context, code cityid.Code) (*cityid.Record, error) {
	if rec, ok := r.known[code]; ok || code.IsZero() {
		return rec, nil
	}
	a, err := r.source.Record(ctx, code)
	if errors.Is(err, cityid.ErrNotFound) {
		r.known[code] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.known[code] = &a.Record
	return &a.Record, nil
}

// named returns a code with its names.
func (r *resolver) named(ctx context.Context, code cityid.Code) (cityid.NamedCode, error) {
	rec, err := r.record(ctx, code)
	if err != nil || rec == nil {
		return cityid.NamedCode{Code: code}, err
	}
	return cityid.NamedCode{Code: code, Names: rec.Content.Names}, nil
}

// forward returns the codes and what retired ones among them led to: heirs and
// successors, theirs in turn, each once.
func (r *resolver) forward(ctx context.Context, codes ...cityid.Code) ([]cityid.Code, error) {
	out := slices.Clone(codes)
	for i := 0; i < len(out) && len(out) < maxHeirs; i++ {
		rec, err := r.record(ctx, out[i])
		if err != nil {
			return nil, err
		}
		if rec == nil || rec.Status != cityid.StatusRetired {
			continue
		}
		for _, next := range append([]cityid.Code{rec.Heir}, rec.Successors...) {
			if !next.IsZero() && !slices.Contains(out, next) {
				out = append(out, next)
			}
		}
	}
	return out, nil
}

// target is what the registry says about a dataset.
type target struct {
	record     *cityid.Record
	gateways   []string
	above      []cityid.Code // see row.Above
	city       *cityid.NamedCode
	department *cityid.NamedCode
	industries []cityid.NamedCode
}

// resolve finds out what stands above a dataset.
func (r *resolver) resolve(ctx context.Context, rec *cityid.Record) (*target, error) {
	t := &target{record: rec}
	for at, n := rec, 0; at != nil && n < maxLineage; n++ {
		t.take(at)
		if at.Parent.IsZero() {
			break
		}
		led, err := r.forward(ctx, at.Parent)
		if err != nil {
			return nil, err
		}
		t.above = append(t.above, led...)
		if at, err = r.over(ctx, at); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.above, cityid.Code.Compare)
	t.above = slices.Compact(t.above)
	return t, nil
}

// over returns what stands above a record: its parent, or the heir of one that
// is retired; nil above the apex.
func (r *resolver) over(ctx context.Context, rec *cityid.Record) (*cityid.Record, error) {
	p, err := r.record(ctx, rec.Parent)
	for n := 0; err == nil && p != nil && p.Status == cityid.StatusRetired && !p.Heir.IsZero() && n < maxLineage; n++ {
		p, err = r.record(ctx, p.Heir)
	}
	return p, err
}

// take notes what a record at or above the dataset says, the nearest first.
func (t *target) take(rec *cityid.Record) {
	t.above = append(t.above, rec.Code)
	if t.gateways == nil {
		for _, l := range rec.Content.Links {
			if l.Rel == RelGateway && len(t.gateways) < 4 {
				t.gateways = append(t.gateways, strings.TrimRight(l.Href, "/"))
			}
		}
	}
	here := &cityid.NamedCode{Code: rec.Code, Names: rec.Content.Names}
	switch rec.Kind {
	case cityid.KindCity, cityid.KindCounty, cityid.KindProvince:
		// A city counts before its county or province.
		if t.city == nil || rec.Kind == cityid.KindCity && t.city.Code != rec.Code && t.city.Code.Within(rec.Code) {
			t.city = here
		}
	case cityid.KindDepartment, cityid.KindOrganisation:
		if t.department == nil {
			t.department = here
		}
	case cityid.KindIndustry:
		t.industries = append(t.industries, *here)
	}
}

// industriesOf returns the industries that a theme stands for in the crosswalk.
func (r *resolver) industriesOf(ctx context.Context, theme string) ([]cityid.Code, error) {
	if out, ok := r.terms[theme]; ok {
		return out, nil
	}
	scheme, value, err := dcat.ParseSchemeTerm(theme)
	if err != nil {
		return nil, nil // a theme of another vocabulary
	}
	a, err := r.source.Lookup(ctx, scheme, value)
	if err != nil && cityid.CodeOf(err) != cityid.ErrNotFound && cityid.CodeOf(err) != cityid.ErrInvalid {
		return nil, err
	}
	var out []cityid.Code
	if err == nil {
		for i := range a.Entries {
			if !a.Entries[i].Holds {
				continue
			}
			led, err := r.forward(ctx, a.Entries[i].Code)
			if err != nil {
				return nil, err
			}
			for _, code := range led {
				rec, err := r.record(ctx, code)
				if err != nil {
					return nil, err
				}
				if rec != nil && rec.Kind == cityid.KindIndustry {
					out = append(out, code)
				}
			}
		}
	}
	r.terms[theme] = out
	return out, nil
}

// gatewayAddress checks the address of a gateway, and returns it in the form by
// which gateways are told apart.
func gatewayAddress(href string, private bool) (string, error) {
	u, err := url.Parse(href)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", errors.New("the gateway's address in the registry is not one of scheme and host alone")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !private) {
		return "", errors.New("the gateway's address in the registry does not use HTTPS")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}
