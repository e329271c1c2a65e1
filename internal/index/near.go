// SPDX-License-Identifier: Apache-2.0

package index

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"slices"

	"cityid"
)

// near is a located row at its distance.
type near struct {
	*doc
	distance int64 // millimetres
}

// compareNear orders by distance, then kind, depth and code.
func compareNear(a, b near) int {
	return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.id>>counterBits, b.id>>counterBits), a.code.Compare(b.code))
}

const (
	nearFirst = 100  // metres looked around at first
	nearRows  = 1000 // rows looked at in one box before a smaller one is tried
)

// nearest fills the page with located hits in order of distance. A box grows until
// what is inside the circle is enough; where a box holds far too much, the next is
// half-way back.
func nearest(ctx context.Context, tx *sql.Tx, c *condition, cur *cursor, page *cityid.SearchPage) error {
	s := nearSearch{ctx: ctx, tx: tx, condition: c}
	radius, enough, over := float64(nearFirst), 0.0, math.Inf(1)
	if cur != nil {
		d, err := byCode(ctx, tx, cur.code)
		if err != nil {
			return err
		}
		if d == nil {
			return errCursor
		}
		s.after = &near{d, cur.distance}
		radius = max(radius, float64(cur.distance)/1000*1.1)
	}
	var found []near
	for {
		var full bool
		var err error
		if found, full, err = s.within(radius, over-enough > 1); err != nil {
			return err
		}
		if full {
			over = radius
			radius = (enough + over) / 2
			if over-enough <= 1 {
				radius = over
			}
			continue
		}
		if len(found) > c.q.Limit || radius >= halfway {
			break
		}
		enough = radius
		radius = min(2*radius, halfway)
		if radius >= over {
			radius = (enough + over) / 2
			if over-enough <= 1 {
				radius = over
			}
		}
	}
	slices.SortFunc(found, compareNear)
	for i, n := range found {
		if i == c.q.Limit {
			last := found[i-1]
			page.Next = (&cursor{distance: last.distance, code: last.code}).String(&c.q)
			break
		}
		h, err := c.hit(n.doc)
		if err != nil {
			return err
		}
		h.Distance = (n.distance + 500) / 1000
		page.Hits = append(page.Hits, h)
	}
	return nil
}

// nearSearch looks around the point of a query.
type nearSearch struct {
	*condition
	ctx   context.Context
	tx    *sql.Tx
	after *near
}

// within returns what matches within a radius in metres and comes after the
// cursor. With bounded, it gives up when it has seen too many rows.
func (s *nearSearch) within(radius float64, bounded bool) (found []near, full bool, err error) {
	take := func(d *doc) (bool, error) {
		n, ok := s.at(d, radius)
		if !ok {
			return true, nil
		}
		if ok, err := s.matches(d); err != nil || !ok {
			return err == nil, err
		}
		found = append(found, n)
		full = bounded && len(found) > nearRows
		return !full, nil
	}
	if !s.code.IsZero() && s.given {
		// The row itself is not below itself.
		d, err := byCode(s.ctx, s.tx, s.code)
		if err != nil {
			return nil, false, err
		}
		if d != nil {
			if ok, err := s.passes(s.ctx, s.tx, d); err != nil {
				return nil, false, err
			} else if n, near := s.at(d, radius); ok && near {
				found = append(found, n)
			}
		}
	}
	expression, possible, err := s.nearExpression()
	if err != nil || !possible {
		return found, false, err
	}
	for _, box := range intersect(around(s.q.Near, radius), s.q.Box) {
		skipSelf := func(d *doc) (bool, error) {
			if s.given && d.code == s.code || !inside(&box, d.location) {
				return true, nil
			}
			return take(d)
		}
		if expression == "" && len(s.kinds) == 0 {
			err = eachDoc(s.ctx, s.tx, skipSelf, "SELECT "+columns+" FROM geo g CROSS JOIN docs d ON d.id = g.id WHERE g.south <= ?1 AND g.north >= ?2 AND g.west <= ?3 AND g.east >= ?4",
				box.North, box.South, box.East, box.West)
		} else {
			err = s.readRows(s.ctx, s.tx, allOf(expression, quoteAll(" OR ", cover(box))), -1, skipSelf)
		}
		if err != nil || full {
			return nil, full, err
		}
	}
	return found, false, nil
}

// at returns the row at its distance, and whether it is within the radius and
// comes after the cursor.
func (s *nearSearch) at(d *doc, radius float64) (near, bool) {
	if d.location == nil {
		return near{}, false
	}
	n := near{d, distance(s.q.Near, d.location)}
	return n, float64(n.distance) <= radius*1000 && (s.after == nil || compareNear(n, *s.after) > 0)
}

// nearExpression returns what a row must match wherever it is; possible is false
// if none can.
func (s *nearSearch) nearExpression() (expression string, possible bool, err error) {
	if !s.given {
		return s.filter, true, nil
	}
	var any []string
	for _, tier := range s.tiers() {
		if tier == tierCode || tier == tierPrefix {
			continue
		}
		c := *s.condition
		c.filter = ""
		any = append(any, c.expression(tier, nil))
	}
	if !s.code.IsZero() {
		id, _, ok, err := lookup(s.ctx, s.tx, s.code)
		if err != nil {
			return "", false, err
		}
		if ok {
			any = append(any, quote(belowToken(id)))
		}
	}
	return allOf(anyOf(any...), s.filter), len(any) > 0, nil
}

// matches reports whether a row that was found in a box matches the text.
func (s *nearSearch) matches(d *doc) (bool, error) {
	if !s.given || s.nameEquals(d) {
		return true, nil
	}
	if a, _ := s.aliasOf(d); a != nil {
		return true, nil
	}
	if s.wordsFound(d) {
		return true, nil
	}
	if s.code.IsZero() {
		return false, nil
	}
	return s.isBelow(s.ctx, s.tx, s.code, d.code)
}
