// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"cityid"
)

// Bounds of a question.
const (
	maxText      = 200
	maxChosen    = 50 // values of one condition
	maxLimit     = 100
	defaultLimit = 20
	maxListed    = 50 // values of one facet in an answer
)

// Where a text was found, the best first.
const (
	foundMeaning = iota + 1
	foundTitle
	foundWords
	foundRest
)

// filter is a question, prepared for looking at one dataset after the other.
type filter struct {
	now    cityid.Time
	sort   cityid.DatasetSort
	found  map[int64]int64 // where the text was found; nil: there is none
	below  map[int64]bool  // nil: anywhere
	open   [facets]map[int32]bool
	closed [facets]uint32 // bits of the values
}

// Datasets returns a page of datasets. A question out of bounds is refused with
// [cityid.ErrInvalid], a cursor that is none of this question's with
// [cityid.ErrMalformed]; no text is.
func (c *Catalogue) Datasets(ctx context.Context, q cityid.DatasetQuery) (*cityid.DatasetPage, error) {
	if err := checkQuery(&q); err != nil {
		return nil, err
	}
	cur, err := parseCursor(&q)
	if err != nil {
		return nil, err
	}
	m, err := c.understand(ctx, q.Text)
	if err != nil {
		return nil, err
	}
	var below []cityid.Code
	if !q.Below.IsZero() {
		if below, err = newResolver(c.source).forward(ctx, q.Below); err != nil {
			return nil, err
		}
	}
	var page *cityid.DatasetPage
	err = c.use(func(s *store, t *table, _ *plan) error {
		f, err := c.prepare(ctx, s, t, &q, m, below)
		if err != nil {
			return err
		}
		at, err := s.meta(ctx)
		if err != nil {
			return err
		}
		best, total, counts := t.look(f, cur, q.Limit+1)
		page = &cityid.DatasetPage{Datasets: []cityid.DatasetEntry{}, Total: total, Meanings: m.list, Partial: !at.Complete, AsOf: at.AsOf}
		if len(best) > q.Limit {
			best = best[:q.Limit]
			page.Next = best[q.Limit-1].cursor(&q)
		}
		if !q.NoFacets {
			page.Facets = t.facets(f, counts)
		}
		ids := make([]int64, len(best))
		for i := range best {
			ids[i] = best[i].id
		}
		rows, err := s.byIDs(ctx, ids)
		for _, r := range rows {
			page.Datasets = append(page.Datasets, c.entry(r, f.now))
		}
		return err
	})
	return page, c.explain(ctx, err)
}

func checkQuery(q *cityid.DatasetQuery) error {
	if len(q.Text) > maxText {
		return cityid.Errorf(cityid.ErrInvalid, "a text of %d octets: want %d at most", len(q.Text), maxText)
	}
	if q.Limit < 0 || q.Limit > maxLimit {
		return cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxLimit)
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	for _, n := range []int{
		len(q.Cities), len(q.Departments), len(q.Industries), len(q.Themes), len(q.Classes), len(q.Formats), len(q.Freshness), len(q.Qualities),
		len(q.Indicators), len(q.States),
	} {
		if n > maxChosen {
			return cityid.Errorf(cityid.ErrInvalid, "%d values of one condition: want %d at most", n, maxChosen)
		}
	}
	valid := q.Sort == 0 || q.Sort.Valid()
	for _, x := range q.Classes {
		valid = valid && x.Valid()
	}
	for _, x := range q.Freshness {
		valid = valid && x.Valid()
	}
	for _, x := range q.Qualities {
		valid = valid && x.Valid()
	}
	for _, x := range q.States {
		valid = valid && x.Valid()
	}
	if !valid {
		return cityid.Errorf(cityid.ErrInvalid, "a condition has a value that there is not")
	}
	if q.Sort == 0 {
		if q.Sort = cityid.SortQuality; strings.TrimSpace(q.Text) != "" {
			q.Sort = cityid.SortRelevance
		}
	}
	return nil
}

// prepare makes a question ready.
func (c *Catalogue) prepare(ctx context.Context, s *store, t *table, q *cityid.DatasetQuery, m *meaning, below []cityid.Code) (*filter, error) {
	f := &filter{now: c.now(), sort: q.Sort}
	if strings.TrimSpace(q.Text) != "" {
		f.found = map[int64]int64{}
		if err := f.findMeaning(ctx, s, t, m); err != nil {
			return nil, err
		}
		if !m.code {
			if err := f.findWords(ctx, s, q.Text); err != nil {
				return nil, err
			}
		}
	}
	if below != nil {
		ids, err := s.onLine(ctx, below)
		if err != nil {
			return nil, err
		}
		f.below = map[int64]bool{}
		for _, id := range ids {
			f.below[id] = true
		}
	}
	t.choose(f, q)
	return f, nil
}

func (f *filter) find(ids []int64, where int64) {
	for _, id := range ids {
		if _, ok := f.found[id]; !ok {
			f.found[id] = where
		}
	}
}

func (f *filter) findMeaning(ctx context.Context, s *store, t *table, m *meaning) error {
	if len(m.codes) > 0 {
		ids, err := s.onLine(ctx, m.codes)
		if err != nil {
			return err
		}
		f.find(ids, foundMeaning)
	}
	for _, theme := range m.themes {
		f.find(t.withTheme(theme), foundMeaning)
	}
	return nil
}

func (f *filter) findWords(ctx context.Context, s *store, text string) error {
	for i, columns := range []string{"title", "{title words}", "{title words rest}"} {
		expression := match(text, columns)
		if expression == "" {
			return nil
		}
		ids, err := s.ids(ctx, "SELECT rowid FROM fts WHERE fts MATCH ?", expression)
		if err != nil {
			return err
		}
		f.find(ids, int64(foundTitle+i))
	}
	return nil
}

// choose prepares the conditions of the facets.
func (t *table) choose(f *filter, q *cityid.DatasetQuery) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	open := func(facet int, texts []string) {
		if len(texts) == 0 {
			return
		}
		f.open[facet] = map[int32]bool{}
		for _, s := range texts {
			if n, ok := t.values[facet].number[s]; ok {
				f.open[facet][n] = true
			}
		}
	}
	codes := func(list []cityid.Code) (out []string) {
		for _, code := range list {
			out = append(out, code.String())
		}
		return out
	}
	open(facetCity, codes(q.Cities))
	open(facetDepartment, codes(q.Departments))
	open(facetIndustry, codes(q.Industries))
	open(facetTheme, q.Themes)
	open(facetFormat, q.Formats)
	open(facetIndicator, q.Indicators)
	for _, x := range q.Classes {
		f.closed[facetClass] |= 1 << x
	}
	for _, x := range q.Freshness {
		f.closed[facetFreshness] |= 1 << x
	}
	for _, x := range q.Qualities {
		f.closed[facetQuality] |= 1 << x
	}
	for _, x := range q.States {
		f.closed[facetState] |= 1 << x
	}
}

// passes reports whether a dataset meets the condition of a facet.
func (f *filter) passes(c *column, facet int) bool {
	if chosen := f.open[facet]; chosen != nil {
		return slices.ContainsFunc(c.open[facet], func(n int32) bool { return chosen[n] })
	}
	return f.closed[facet] == 0 || f.closed[facet]&(1<<c.value(facet, f.now)) != 0
}

// item is a dataset with its place in an order.
type item struct {
	a, b int64
	code string
	id   int64
}

func (x *item) compare(y *item) int {
	switch {
	case x.a != y.a:
		return sign(x.a < y.a)
	case x.b != y.b:
		return sign(x.b < y.b)
	}
	return strings.Compare(x.code, y.code)
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

func (f *filter) item(c *column) item {
	x := item{code: c.code.String(), id: c.id}
	switch f.sort {
	case cityid.SortRelevance:
		x.a, x.b = f.found[c.id], int64(-c.points)
	case cityid.SortModified:
		x.a = -int64(c.modified)
	case cityid.SortQuality:
		x.a = int64(-c.points)
	}
	return x
}

// counts holds how often each value would be left.
type counts struct {
	open   [facets][]int // by number of the value
	closed [facets][32]int
}

func (n *counts) add(c *column, facet int, now cityid.Time) {
	for _, v := range c.open[facet] {
		n.open[facet][v]++
	}
	n.closed[facet][c.value(facet, now)]++
}

// look goes over all datasets: it returns the first of those that meet all
// conditions and follow a cursor, how many meet them, and the counts.
func (t *table) look(f *filter, after *item, most int) (best []item, total int, n *counts) {
	n = &counts{}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for facet := range facets {
		n.open[facet] = make([]int, len(t.values[facet].text))
	}
	see := func(c *column) {
		if f.below != nil && !f.below[c.id] {
			return
		}
		failed, which := 0, 0
		for facet := range facets {
			if !f.passes(c, facet) {
				if failed, which = failed+1, facet; failed > 1 {
					return
				}
			}
		}
		if failed == 1 {
			n.add(c, which, f.now)
			return
		}
		for facet := range facets {
			n.add(c, facet, f.now)
		}
		total++
		x := f.item(c)
		if after != nil && x.compare(after) <= 0 || len(best) == most && x.compare(&best[most-1]) >= 0 {
			return
		}
		at := sort.Search(len(best), func(i int) bool { return best[i].compare(&x) > 0 })
		if best = slices.Insert(best, at, x); len(best) > most {
			best = best[:most]
		}
	}
	if f.found == nil {
		for _, c := range t.rows {
			see(c)
		}
		return best, total, n
	}
	for id := range f.found {
		if c := t.rows[id]; c != nil {
			see(c)
		}
	}
	return best, total, n
}

// facets lists the values: the chosen ones, and those that would leave most.
func (t *table) facets(f *filter, n *counts) []cityid.DatasetFacet {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]cityid.DatasetFacet, 0, facets)
	for facet := range facets {
		x := cityid.DatasetFacet{Name: facetNames[facet], Values: []cityid.FacetValue{}}
		for v, count := range n.closed[facet] {
			if v > 0 && (count > 0 || f.closed[facet]&(1<<v) != 0) {
				x.Values = append(x.Values, cityid.FacetValue{Value: closedName(facet, uint8(v)), Count: count})
			}
		}
		if closedName(facet, 1) == "" {
			t.openValues(&x, facet, f.open[facet], n.open[facet])
		}
		out = append(out, x)
	}
	return out
}

// openValues lists values of a facet whose values are open.
func (t *table) openValues(x *cityid.DatasetFacet, facet int, chosen map[int32]bool, n []int) {
	var numbers []int32
	for v, count := range n {
		if count > 0 || chosen[int32(v)] {
			numbers = append(numbers, int32(v))
		}
	}
	texts := t.values[facet].text
	slices.SortFunc(numbers, func(a, b int32) int {
		switch {
		case chosen[a] != chosen[b]:
			return sign(chosen[a])
		case n[a] != n[b]:
			return sign(n[a] > n[b])
		}
		return strings.Compare(texts[a], texts[b])
	})
	if room := maxListed + len(chosen); len(numbers) > room {
		x.More = len(numbers) - room
		numbers = numbers[:room]
	}
	for _, v := range numbers {
		x.Values = append(x.Values, cityid.FacetValue{Value: texts[v], Names: t.values[facet].names[v], Count: n[v]})
	}
}

// closedName names a value of a facet whose values are closed, "" for others.
func closedName(facet int, v uint8) string {
	switch facet {
	case facetClass:
		return cityid.DatasetClass(v).String()
	case facetFreshness:
		return cityid.Freshness(v).String()
	case facetQuality:
		return cityid.Quality(v).String()
	case facetState:
		return cityid.DatasetState(v).String()
	}
	return ""
}

// entry returns what is told about a dataset at a time.
func (c *Catalogue) entry(r *row, now cityid.Time) cityid.DatasetEntry {
	e := r.Entry
	e.Freshness = freshness(&e, now)
	if len(r.Gateways) > 0 {
		c.plan.mu.Lock()
		g := c.plan.gateways[r.Gateways[0]]
		c.plan.mu.Unlock()
		if s := stateNow(e.State, g); s != e.State {
			e.State = s
			if why := g.down.Load(); why != nil {
				e.Detail = *why
			}
		}
	}
	return e
}

const cursorVersion = 1

var errCursor = cityid.Errorf(cityid.ErrMalformed, "cursor: it is not of this list: ask for the first page again")

// queryHash is the hash of all of a question that its pages share.
func queryHash(q *cityid.DatasetQuery) [8]byte {
	same := *q
	same.After, same.Limit, same.NoFacets = "", 0, false
	b, err := json.Marshal(same)
	if err != nil {
		panic(err) // names of values were checked
	}
	h := sha256.Sum256(b)
	return [8]byte(h[:8])
}

// cursor says after which dataset a page ends. In base64url: version (1), hash of
// the question (8), the two numbers of the order (16), code.
func (x *item) cursor(q *cityid.DatasetQuery) string {
	h := queryHash(q)
	b := append([]byte{cursorVersion}, h[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(x.a))
	b = binary.BigEndian.AppendUint64(b, uint64(x.b))
	return base64.RawURLEncoding.EncodeToString(append(b, x.code...))
}

// parseCursor returns the place that a question's cursor names, nil for the first
// page.
func parseCursor(q *cityid.DatasetQuery) (*item, error) {
	if q.After == "" {
		return nil, nil
	}
	const head = 1 + 8 + 16
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.After)
	if err != nil || len(b) <= head || b[0] != cursorVersion || [8]byte(b[1:9]) != queryHash(q) {
		return nil, errCursor
	}
	code, err := cityid.ParseCanonical(string(b[head:]))
	if err != nil {
		return nil, errCursor
	}
	return &item{a: int64(binary.BigEndian.Uint64(b[9:])), b: int64(binary.BigEndian.Uint64(b[17:])), code: code.String()}, nil
}
