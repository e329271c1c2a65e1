// SPDX-License-Identifier: Apache-2.0

package index

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"cityid"
)

// PointsQuery asks for located records to be drawn on a map.
type PointsQuery struct {
	Box   cityid.Box
	Kinds []cityid.Kind // one of these; none: any
	Below cityid.Code   // below this code; zero: anywhere
	Limit int           // most points, 1 to 5000
}

// Point is one located record, or a cell of the map with several.
type Point struct {
	Code     cityid.Code // zero: a cell
	Kind     cityid.Kind // of a record; of a cell, the kind of the most of them
	Location cityid.Location
	Count    uint64 // records: 1, or those of the cell
}

// maxPoints is the largest limit of [Index.Points].
const maxPoints = 5000

// Points returns the located records inside a box, in order of code, or if they
// are more than the limit the cells of a grid that have any, from south to north
// and west to east. A cell that the border of the box cuts counts with all that is
// in it, unless the box is so small that it was counted for the occasion. The same
// state and query always give the same points.
func (x *Index) Points(ctx context.Context, q PointsQuery) ([]Point, error) {
	if q.Limit < 1 || q.Limit > maxPoints {
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxPoints)
	}
	sq := cityid.SearchQuery{Kinds: q.Kinds, Below: q.Below, Box: &q.Box}
	if err := checkQuery(&sq); err != nil {
		return nil, err
	}
	tx, end, err := x.reader(ctx)
	if err != nil {
		return nil, err
	}
	p := pointSearch{ctx: ctx, tx: tx, q: q}
	points, err := p.find(sq)
	return points, end(err)
}

type pointSearch struct {
	ctx context.Context
	tx  *sql.Tx
	q   PointsQuery
	c   *condition
}

func (p *pointSearch) find(sq cityid.SearchQuery) ([]Point, error) {
	var found bool
	var err error
	if p.c, found, err = understand(p.ctx, p.tx, sq); err != nil || !found {
		return nil, err
	}
	points, complete, err := p.exact(p.q.Limit)
	if err != nil || complete {
		return points, err
	}
	level := p.level()
	if level < binLevels[len(binLevels)-1] || p.q.Below.Class() != "" {
		// Finer than what is counted beforehand, or below a class.
		points, complete, err := p.exact(maxLooked)
		if err != nil {
			return nil, err
		}
		if complete || p.q.Below.Class() != "" {
			return binned(points, level), nil
		}
		level = binLevels[len(binLevels)-1]
	}
	return p.bins(level)
}

// exact returns the records inside the box, or that there are more than limit,
// with the first of them.
func (p *pointSearch) exact(limit int) (points []Point, complete bool, err error) {
	complete = true
	see := func(d *doc) (bool, error) {
		if !inside(&p.q.Box, d.location) {
			return true, nil
		}
		if len(points) == limit {
			complete = false
			return false, nil
		}
		points = append(points, Point{d.code, idKind(d.id), *d.location, 1})
		return true, nil
	}
	if b := p.q.Box; p.c.filter == "" && len(p.c.kinds) == 0 {
		err = eachDoc(p.ctx, p.tx, see, "SELECT "+columns+" FROM geo g CROSS JOIN docs d ON d.id = g.id WHERE g.south <= ?1 AND g.north >= ?2 AND g.west <= ?3 AND g.east >= ?4", b.North, b.South, b.East, b.West)
	} else {
		err = p.c.readRows(p.ctx, p.tx, p.c.expression(tierAll, cover(b)), -1, see)
	}
	slices.SortFunc(points, func(a, b Point) int { return a.Code.Compare(b.Code) })
	return points, complete, err
}

// level is the finest grid of which no more cells than the limit are in the box.
func (p *pointSearch) level() uint {
	b := p.q.Box
	for level := uint(8); ; level++ {
		rows := int64(b.North>>level) - int64(b.South>>level) + 1
		cols := int64(b.East>>level) - int64(b.West>>level) + 1
		if rows*cols <= int64(p.q.Limit) || level == binLevels[0] {
			return level
		}
	}
}

// binned counts points in the cells of a grid.
func binned(points []Point, level uint) []Point {
	counts := map[[3]int32]uint64{}
	for _, p := range points {
		counts[[3]int32{p.Location.Lat >> level, p.Location.Lon >> level, int32(p.Kind)}]++
	}
	var b cellCounts
	for k, n := range counts {
		b = append(b, cellCount{k[0], k[1], cityid.Kind(k[2]), n})
	}
	return b.points(level)
}

// cellCount is how many records of a kind are in a cell.
type cellCount struct {
	y, x int32
	kind cityid.Kind
	n    uint64
}

type cellCounts []cellCount

// points joins the kinds of each cell.
func (b cellCounts) points(level uint) []Point {
	slices.SortFunc(b, func(a, b cellCount) int {
		return cmp.Or(cmp.Compare(a.y, b.y), cmp.Compare(a.x, b.x), cmp.Compare(b.n, a.n), cmp.Compare(rankOf[a.kind], rankOf[b.kind]))
	})
	var out []Point
	for i, c := range b {
		if i > 0 && b[i-1].y == c.y && b[i-1].x == c.x {
			out[len(out)-1].Count += c.n
			continue
		}
		centre := func(v int32, limit int64) int32 {
			return int32(max(-limit, min(limit, int64(v)<<level+1<<(level-1))))
		}
		out = append(out, Point{Kind: c.kind, Location: cityid.Location{Lat: centre(c.y, 90e7), Lon: centre(c.x, 180e7)}, Count: c.n})
	}
	return out
}

// bins reads the counts of the coarsest counted grid that is at least as fine as
// level, or the finest.
func (p *pointSearch) bins(level uint) ([]Point, error) {
	at := binLevels[0]
	for _, l := range binLevels {
		if l >= level {
			at = l // they come from the coarsest to the finest
		}
	}
	below := int64(0)
	if !p.q.Below.IsZero() {
		id, _, ok, err := lookup(p.ctx, p.tx, p.q.Below)
		if err != nil || !ok {
			return nil, err
		}
		below = id
	}
	b := p.q.Box
	rows, err := p.tx.QueryContext(p.ctx, "SELECT y, x, kind, n FROM bins WHERE below = ?1 AND level = ?2 AND y BETWEEN ?3 AND ?4 AND x BETWEEN ?5 AND ?6 AND n > 0",
		below, int64(at), b.South>>at, b.North>>at, b.West>>at, b.East>>at)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out cellCounts
	for rows.Next() {
		var c cellCount
		if err := rows.Scan(&c.y, &c.x, &c.kind, &c.n); err != nil {
			return nil, err
		}
		if len(p.c.kinds) == 0 || slices.Contains(p.c.kinds, c.kind) {
			out = append(out, c)
		}
	}
	return out.points(at), rows.Err()
}
