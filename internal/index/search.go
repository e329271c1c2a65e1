// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"database/sql"
	"slices"
	"unicode/utf8"

	"cityid"
)

// The tiers, best first. A record is a hit in the first that it is in.
const (
	tierCode = iota + 1
	tierName
	tierAlias
	tierPrefix
	tierAliasPrefix
	tierWords
	tierAll // there is no text
)

// tiers lists the tiers a text can have hits in.
func (c *condition) tiers() []int {
	if !c.given {
		return []int{tierAll}
	}
	var out []int
	if !c.code.IsZero() {
		out = append(out, tierCode)
	}
	out = append(out, tierName)
	if c.alias != "" {
		out = append(out, tierAlias)
	}
	if c.typed != "" && c.check == "" {
		out = append(out, tierPrefix)
	}
	if utf8.RuneCountInString(c.alias) >= minAlias {
		out = append(out, tierAliasPrefix)
	}
	if len(c.words) > 0 {
		out = append(out, tierWords)
	}
	return out
}

// in reports whether a row, whatever else it matches, is found by a tier.
func (c *condition) in(tier int, d *doc) bool {
	switch tier {
	case tierCode:
		return d.code == c.code
	case tierName:
		return c.nameEquals(d)
	case tierAlias:
		_, equal := c.aliasOf(d)
		return equal
	case tierPrefix:
		return len(d.code.String()) >= len(c.typed) && d.code.String()[:len(c.typed)] == c.typed
	case tierAliasPrefix:
		a, _ := c.aliasOf(d)
		return a != nil
	case tierWords:
		return c.wordsFound(d)
	}
	return true
}

// expression returns what the full-text table is asked for in a tier; "" if
// nothing, and then rows are read in order.
func (c *condition) expression(tier int, cells []string) string {
	match := ""
	switch tier {
	case tierName:
		match = quote("e" + c.hash)
	case tierAlias:
		match = quote("y" + c.alias)
	case tierAliasPrefix:
		r := []rune(c.alias)
		match = quote("x" + string(r[:min(len(r), maxAlias)]))
	case tierWords:
		var tokens []string
		for _, w := range c.words {
			tokens = append(tokens, w.tokens()...)
		}
		match = quoteAll(" AND ", tokens)
	}
	return allOf(match, c.filter, quoteAll(" OR ", cells))
}

// Search returns a page of what matches. A query out of bounds is refused with
// [cityid.ErrInvalid], a cursor that is none of this query's with
// [cityid.ErrMalformed]; no text is. With a MinHeight that the index has not seen
// it waits, and answers with [cityid.ErrUnavailable] when ctx's time is over. The
// page is of one state of the index, at the height it names. While the index is
// being built pages are marked partial, and their height is 0.
func (x *Index) Search(ctx context.Context, q cityid.SearchQuery) (*cityid.SearchPage, error) {
	if err := checkQuery(&q); err != nil {
		return nil, err
	}
	cur, err := parseCursor(&q)
	if err != nil {
		return nil, err
	}
	if q.MinHeight > 0 {
		if err := x.wait(ctx, q.MinHeight); err != nil {
			return nil, err
		}
	}
	tx, end, err := x.reader(ctx)
	if err != nil {
		return nil, err
	}
	page, err := search(ctx, tx, q, cur)
	if err = end(err); err != nil {
		return nil, err
	}
	return page, nil
}

func search(ctx context.Context, tx *sql.Tx, q cityid.SearchQuery, cur *cursor) (*cityid.SearchPage, error) {
	m, err := readMeta(tx)
	if err != nil {
		return nil, err
	}
	page := &cityid.SearchPage{Hits: []cityid.SearchHit{}, Height: m.height, Partial: !m.built}
	c, found, err := understand(ctx, tx, q)
	if err != nil {
		return nil, err
	}
	if found {
		if q.Near != nil {
			err = nearest(ctx, tx, c, cur, page)
		} else {
			err = ranked(ctx, tx, c, cur, page)
		}
		if err != nil {
			return nil, err
		}
	}
	if cur == nil && c.typed != "" && (len(page.Hits) == 0 || c.check != "" && c.code.IsZero()) {
		page.Suggest, err = suggest(ctx, tx, c)
	}
	return page, err
}

// ranked fills the page with hits in order of tier and rank.
func ranked(ctx context.Context, tx *sql.Tx, c *condition, cur *cursor, page *cityid.SearchPage) error {
	tiers := c.tiers()
	from := 0
	var after *doc
	if cur != nil {
		if from = slices.Index(tiers, cur.tier); from < 0 {
			return errCursor
		}
		var err error
		if after, err = byCode(ctx, tx, cur.code); err != nil {
			return err
		}
		if after == nil && !cur.code.IsZero() {
			return errCursor
		}
	}
	looked := 0
	var last *doc
	for i, tier := range tiers[from:] {
		done := false
		see := func(d *doc) (bool, error) {
			if looked++; looked > maxLooked {
				page.Next, done = c.next(tier, last), true
				return false, nil
			}
			ok, err := c.wants(ctx, tx, tiers[:from+i], tier, d)
			if err != nil {
				return false, err
			}
			if ok && len(page.Hits) == c.q.Limit {
				page.Next, done = c.next(tier, last), true
				return false, nil
			}
			last = d
			if !ok {
				return true, nil
			}
			h, err := c.hit(d)
			page.Hits = append(page.Hits, h)
			return true, err
		}
		// Where the page is full between two tiers, last may be of the one before:
		// then the next page begins with this tier.
		last = nil
		if i == 0 {
			last = after
		}
		if err := c.read(ctx, tx, tier, last, see); err != nil {
			return err
		}
		if done {
			return nil
		}
	}
	return nil
}

// wants reports whether a row that a tier has found is a hit in it.
func (c *condition) wants(ctx context.Context, tx *sql.Tx, better []int, tier int, d *doc) (bool, error) {
	for _, t := range better {
		if c.in(t, d) {
			return false, nil
		}
	}
	if c.q.Box != nil && !inside(c.q.Box, d.location) {
		return false, nil
	}
	switch tier {
	case tierCode, tierPrefix:
		return c.passes(ctx, tx, d)
	case tierWords:
		return !c.inexact || c.wordsFound(d), nil
	}
	return c.in(tier, d), nil
}

// read calls see with the rows of a tier that follow a row, in order, until see
// returns false.
func (c *condition) read(ctx context.Context, tx *sql.Tx, tier int, after *doc, see func(*doc) (bool, error)) error {
	switch tier {
	case tierCode:
		if after != nil {
			return nil
		}
		d, err := byCode(ctx, tx, c.code)
		if err == nil && d != nil {
			_, err = see(d)
		}
		return err
	case tierPrefix:
		return c.readPrefix(ctx, tx, after, see)
	}
	var cells []string
	if c.q.Box != nil {
		cells = cover(*c.q.Box)
	}
	from := int64(-1)
	if after != nil {
		from = after.id
	}
	return c.readRows(ctx, tx, c.expression(tier, cells), from, see)
}

// readRows calls see with the rows of the kinds asked for that match an
// expression and follow a row.
func (c *condition) readRows(ctx context.Context, tx *sql.Tx, expression string, after int64, see func(*doc) (bool, error)) error {
	for _, span := range c.spans() {
		if span[1] <= after {
			continue
		}
		more := true
		err := readSpan(ctx, tx, expression, max(after+1, span[0]), span[1], func(d *doc) (bool, error) {
			var err error
			more, err = see(d)
			return more, err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// spans are the ranges of rows of the kinds asked for.
func (c *condition) spans() [][2]int64 {
	if len(c.kinds) == 0 {
		return [][2]int64{{0, 1<<62 - 1}}
	}
	var out [][2]int64
	const bits = counterBits + depthBits
	for _, k := range c.kinds {
		out = append(out, [2]int64{rankOf[k] << bits, (rankOf[k]+1)<<bits - 1})
	}
	return out
}

func readSpan(ctx context.Context, tx *sql.Tx, expression string, lo, hi int64, see func(*doc) (bool, error)) error {
	query, args := "SELECT "+columns+" FROM docs d WHERE d.id BETWEEN ?1 AND ?2 ORDER BY d.id", []any{lo, hi}
	if expression != "" {
		query = "SELECT " + columns + " FROM fts f CROSS JOIN docs d ON d.id = f.rowid WHERE f.fts MATCH ?3 AND f.rowid >= ?1 AND f.rowid <= ?2 ORDER BY f.rowid"
		args = append(args, expression)
	}
	return eachDoc(ctx, tx, see, query, args...)
}

func eachDoc(ctx context.Context, tx *sql.Tx, see func(*doc) (bool, error), query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		d, err := scanDoc(rows)
		if err != nil {
			return err
		}
		if more, err := see(d); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// readPrefix calls see with the rows whose codes begin as typed, by kind, depth
// and code.
func (c *condition) readPrefix(ctx context.Context, tx *sql.Tx, after *doc, see func(*doc) (bool, error)) error {
	groups, err := readGroups(ctx, tx)
	if err != nil {
		return err
	}
	for _, grp := range groups {
		if len(c.kinds) > 0 && !slices.Contains(c.kinds, kindOf[grp>>depthBits]) {
			continue
		}
		from := ""
		if after != nil {
			if grp < after.id>>counterBits {
				continue
			}
			if grp == after.id>>counterBits {
				from = after.code.String()
			}
		}
		more := true
		err := eachDoc(ctx, tx, func(d *doc) (bool, error) {
			var err error
			more, err = see(d)
			return more, err
		}, "SELECT "+columns+" FROM docs d WHERE d.grp = ?1 AND d.code >= ?2 AND d.code < ?3 AND d.code > ?4 ORDER BY d.code",
			grp, c.typed, c.typed+"~", from)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// readGroups lists the groups that have rows, in order.
func readGroups(ctx context.Context, tx *sql.Tx) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT grp FROM groups ORDER BY grp")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var grp int64
		if err := rows.Scan(&grp); err != nil {
			return nil, err
		}
		out = append(out, grp)
	}
	return out, rows.Err()
}
