// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
)

// datasetFilter is what datasets can be narrowed by.
type datasetFilter struct {
	below                                                                     string
	cities, departments, industries, themes, classes, formats, fresh, quality list
	indicators, states                                                        list
	sort                                                                      string
	limit                                                                     int
	facets                                                                    bool
}

func (d *datasetFilter) setup(f *flags) {
	f.StringVar(&d.below, "below", "", "only what belongs to this `code`, or came to it through mergers")
	f.Var(&d.cities, "city", "only of this city (`code`); several with commas between or by repeating the flag, as with all that follow")
	f.Var(&d.departments, "department", "only of this department or organisation (`code`)")
	f.Var(&d.industries, "industry", "only of this industry (`code`)")
	f.Var(&d.themes, "theme", "only with this theme (`IRI`)")
	f.Var(&d.classes, "class", "only what is shared so: open, conditional or closed")
	f.Var(&d.formats, "data-format", "only in this `format`, such as JSON")
	f.Var(&d.fresh, "freshness", "only what is fresh, late, live, irregular or unknown")
	f.Var(&d.quality, "quality", "only descriptions that are excellent, good, fair or poor")
	f.Var(&d.indicators, "indicator", "only with this indicator, such as 37120:2018:8.1")
	f.Var(&d.states, "state", "only what stands so to the registry: current, waiting, unreachable, missing, refused, invalid, no-gateway, undescribed or full")
	f.StringVar(&d.sort, "sort", "", "relevance, modified, quality or code; default relevance with a text, and else quality")
	f.IntVar(&d.limit, "limit", 20, "how many at most")
	f.BoolVar(&d.facets, "facets", false, "print how many datasets each value of each condition would leave, instead of the datasets")
}

func (d *datasetFilter) query(text string) (q cityid.DatasetQuery, err error) {
	q.Text = text
	if d.limit < 1 {
		return q, usagef("--limit %d: want 1 or more", d.limit)
	}
	if d.below != "" {
		if q.Below, err = parseCode(d.below); err != nil {
			return q, err
		}
	}
	for _, x := range []struct {
		given list
		into  *[]cityid.Code
	}{{d.cities, &q.Cities}, {d.departments, &q.Departments}, {d.industries, &q.Industries}} {
		for _, s := range separate(x.given) {
			code, err := parseCode(s)
			if err != nil {
				return q, err
			}
			*x.into = append(*x.into, code)
		}
	}
	q.Themes, q.Formats, q.Indicators = d.themes, separate(d.formats), separate(d.indicators)
	for _, e := range []error{
		namedInto(d.classes, &q.Classes), namedInto(d.fresh, &q.Freshness), namedInto(d.quality, &q.Qualities), namedInto(d.states, &q.States),
	} {
		if e != nil {
			return q, e
		}
	}
	if d.sort != "" {
		if err := q.Sort.UnmarshalText([]byte(d.sort)); err != nil {
			return q, usageError{err}
		}
	}
	return q, nil
}

// separate returns values given with commas between or one at a time.
func separate(given list) []string {
	var out []string
	for _, g := range given {
		for s := range strings.SplitSeq(g, ",") {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

func namedInto[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](given list, into *[]T) (err error) {
	*into, err = named[T, P](given)
	return err
}

func datasetSearch(needText bool) func(*flags) func(context.Context, []string) error {
	return func(f *flags) func(context.Context, []string) error {
		d := &datasetFilter{}
		d.setup(f)
		return func(ctx context.Context, args []string) error {
			text := strings.TrimSpace(strings.Join(args, " "))
			if needText && text == "" {
				return usagef("what to look for? words, a code, or an identifier of another system")
			}
			if !needText && text != "" {
				return usagef("%q: dataset search looks for a text", text)
			}
			q, err := d.query(text)
			if err != nil {
				return err
			}
			c, err := f.connect()
			if err != nil {
				return err
			}
			if d.facets {
				return f.datasetFacets(ctx, c, q)
			}
			return f.datasetsFound(ctx, c, q, d.limit)
		}
	}
}

// datasetsFound asks for pages until there are enough datasets, and prints them.
func (f *flags) datasetsFound(ctx context.Context, c *client.Client, q cityid.DatasetQuery, limit int) error {
	var found []cityid.DatasetEntry
	q.NoFacets = true
	total := 0
	for len(found) < limit {
		q.Limit = min(100, limit-len(found))
		page, err := c.Datasets(ctx, q)
		if err != nil {
			return err
		}
		if q.After == "" {
			f.talkOfMeanings(page)
		}
		found, total = append(found, page.Datasets...), page.Total
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(found) == 0 {
		return cityid.Errorf(cityid.ErrNotFound, "no dataset was found")
	}
	if q.After != "" {
		f.talk("%d of %d: --limit shows more", len(found), total)
	}
	t := &table{head: []string{"code", "title", "shared", "freshness", "points", "modified", "state"}}
	for i := range found {
		e := &found[i]
		class, fresh, modified := "", "", ""
		if e.Published != nil {
			class = describe.DatasetClass(f.lang, e.Published.Class)
		}
		if e.Freshness != 0 {
			fresh = e.Freshness.String()
		}
		if e.Modified != 0 {
			modified = e.Modified.String()
		}
		t.add(e, e.Code.String(), e.Title.Get(f.lang), class, fresh, fmt.Sprint(e.Points), modified, e.State.String())
	}
	return f.print(t)
}

func (f *flags) talkOfMeanings(page *cityid.DatasetPage) {
	if page.Partial {
		f.talk("the node is still reading the registry for the first time: more may match")
	}
	for _, m := range page.Meanings {
		what := m.Value
		if m.Scheme != "" {
			what = m.Scheme + ":" + m.Value
		}
		text := fmt.Sprintf("%s stands for %s %s", what, m.Code.Code, m.Code.Names.Get(f.lang))
		for _, n := range m.Now {
			text += fmt.Sprintf(", now %s %s", n.Code, n.Names.Get(f.lang))
		}
		f.talk("%s", text)
	}
}

func (f *flags) datasetFacets(ctx context.Context, c *client.Client, q cityid.DatasetQuery) error {
	q.Limit = 1
	page, err := c.Datasets(ctx, q)
	if err != nil {
		return err
	}
	t := &table{head: []string{"condition", "value", "name", "datasets"}}
	for _, facet := range page.Facets {
		for _, v := range facet.Values {
			t.add(struct {
				Condition string `json:"condition"`
				cityid.FacetValue
			}{facet.Name, v}, facet.Name, v.Value, v.Names.Get(f.lang), fmt.Sprint(v.Count))
		}
		if facet.More > 0 {
			f.talk("%s: %d more values", facet.Name, facet.More)
		}
	}
	return f.print(t)
}

// fromCatalogue asks the node's catalogue about a dataset, and adds what it says
// to a table. A node that keeps none, or has not got the dataset, adds nothing.
func (f *flags) fromCatalogue(ctx context.Context, c *client.Client, code cityid.Code, t *table) (*cityid.DatasetAnswer, error) {
	a, err := c.Dataset(ctx, code)
	if errors.Is(err, cityid.ErrUnsupported) || errors.Is(err, cityid.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := &a.Dataset
	add := func(name, text string) {
		if text != "" {
			t.rows = append(t.rows, []string{name, text})
		}
	}
	add("catalogue", strings.TrimSpace(e.State.String()+" "+e.Detail))
	add("title", e.Title.Get(f.lang))
	add("description", e.Description.Get(f.lang))
	if e.Freshness != 0 {
		add("freshness", e.Freshness.String())
	}
	if len(a.Dimensions) > 0 {
		add("points", fmt.Sprintf("%d of 100", e.Points))
	}
	for _, x := range a.Dimensions {
		for _, p := range x.Parts {
			if p.Points == 0 {
				add("", fmt.Sprintf("-%d %s", p.Of, p.Words.Get(f.lang)))
			}
		}
	}
	for _, x := range a.Findings {
		add(x.Severity, x.Path+": "+x.Words.Get(f.lang))
	}
	for _, x := range a.Terms {
		kind := "policy, declared"
		if x.Enforced {
			kind = "policy, enforced"
		}
		add(kind, x.Words.Get(f.lang))
	}
	for _, x := range a.Crosswalk {
		for _, alias := range x.Aliases {
			add("crosswalk", fmt.Sprintf("%s %s is %s:%s", x.Code, x.Names.Get(f.lang), alias.Scheme, alias.Value))
		}
	}
	return a, nil
}
