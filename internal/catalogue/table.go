// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"slices"
	"sync"

	"cityid"
)

// The facets, in the order in which they are listed.
const (
	facetCity = iota
	facetDepartment
	facetIndustry
	facetTheme
	facetClass
	facetFormat
	facetFreshness
	facetQuality
	facetIndicator
	facetState
	facets
)

var facetNames = [facets]string{"city", "department", "industry", "theme", "class", "format", "freshness", "quality", "indicator", "state"}

// table holds in memory what facets and orders need. It is safe for concurrent
// use.
type table struct {
	mu     sync.RWMutex
	rows   map[int64]*column
	codes  map[cityid.Code]int64
	values [facets]values // of the facets whose values are open
}

// values numbers the values of a facet.
type values struct {
	number map[string]int32
	text   []string
	names  []cityid.Names
}

// number returns a value's number and keeps its names.
func (v *values) add(text string, names cityid.Names) int32 {
	n, ok := v.number[text]
	if !ok {
		n = int32(len(v.text))
		v.number[text], v.text, v.names = n, append(v.text, text), append(v.names, names)
	}
	v.names[n] = names
	return n
}

// column is what memory holds of one dataset.
type column struct {
	id       int64
	code     cityid.Code
	gateway  *gateway
	open     [facets][]int32 // values of the open facets
	class    cityid.DatasetClass
	quality  cityid.Quality
	state    cityid.DatasetState
	schedule cityid.Freshness // fresh: time tells; 0: nothing is described
	modified cityid.Time
	due      cityid.Time
	points   int
}

func newTable() *table {
	t := &table{rows: map[int64]*column{}, codes: map[cityid.Code]int64{}}
	for i := range t.values {
		t.values[i].number = map[string]int32{}
	}
	return t
}

// put takes over a row and its first gateway.
func (t *table) put(r *row, g *gateway) {
	e := &r.Entry
	c := &column{
		id: r.ID, code: e.Code, gateway: g, quality: e.Quality, state: e.State, modified: e.Modified, due: e.Due, points: e.Points,
	}
	if e.Published != nil {
		c.class = e.Published.Class
	}
	if !e.Held.IsZero() {
		c.schedule, _ = schedule(e.Modified, e.Frequency)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	coded := func(facet int, n cityid.NamedCode) {
		c.open[facet] = append(c.open[facet], t.values[facet].add(n.Code.String(), n.Names))
	}
	if e.City != nil {
		coded(facetCity, *e.City)
	}
	if e.Department != nil {
		coded(facetDepartment, *e.Department)
	}
	for _, n := range e.Industries {
		coded(facetIndustry, n)
	}
	for _, x := range e.Themes {
		c.open[facetTheme] = append(c.open[facetTheme], t.values[facetTheme].add(x.ID, themeNames(x.ID)))
	}
	for _, s := range e.Formats {
		c.open[facetFormat] = append(c.open[facetFormat], t.values[facetFormat].add(s, nil))
	}
	for _, s := range e.Indicators {
		c.open[facetIndicator] = append(c.open[facetIndicator], t.values[facetIndicator].add(s, nil))
	}
	t.rows[r.ID], t.codes[e.Code] = c, r.ID
}

func (t *table) remove(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.rows[id]; c != nil {
		delete(t.codes, c.code)
		delete(t.rows, id)
	}
}

// ids lists all datasets.
func (t *table) ids() []int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]int64, 0, len(t.rows))
	for id := range t.rows {
		out = append(out, id)
	}
	return out
}

// idOf returns a dataset's number, 0 if there is none.
func (t *table) idOf(code cityid.Code) int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.codes[code]
}

// codeOf returns a dataset's code, zero if it is gone.
func (t *table) codeOf(id int64) cityid.Code {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if c := t.rows[id]; c != nil {
		return c.code
	}
	return cityid.Code{}
}

// withTheme lists the datasets that name a theme.
func (t *table) withTheme(iri string) []int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.values[facetTheme].number[iri]
	if !ok {
		return nil
	}
	var out []int64
	for id, c := range t.rows {
		if slices.Contains(c.open[facetTheme], n) {
			out = append(out, id)
		}
	}
	return out
}

// stateNow returns the state of a dataset: what has not been asked for yet can
// not be had while the gateway does not answer.
func stateNow(state cityid.DatasetState, g *gateway) cityid.DatasetState {
	if state == cityid.DatasetWaiting && g != nil && g.down.Load() != nil {
		return cityid.DatasetUnreachable
	}
	return state
}

// value returns the value of a dataset in a facet whose values are closed; 0 for
// none.
func (c *column) value(facet int, now cityid.Time) uint8 {
	switch facet {
	case facetClass:
		return uint8(c.class)
	case facetFreshness:
		if c.schedule == 0 {
			return 0
		}
		return uint8(freshAt(c.schedule, c.modified, c.due, now))
	case facetQuality:
		return uint8(c.quality)
	case facetState:
		return uint8(stateNow(c.state, c.gateway))
	}
	return 0
}
