// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"cityid"
	"cityid/internal/durable/folder"
)

// MaxPoints bounds the points of a line.
const MaxPoints = 10_000

const (
	secondsOfHour = 3600
	noEnd         = 1 << 40 // seconds: later than any time
)

// Point is an observation, or what several next to each other come to.
type Point struct {
	Time  cityid.Time // of the last of them
	Value string      // of the last of them, as it came; "": of more than one series
	Mean  float64
	Min   float64
	Max   float64
	Count int    // 1: it is one observation
	Entry uint64 // that brought the last of them; 0: of more than one series
}

// Line is a series and its points in order of time.
type Line struct {
	Series
	Sources int // how many series it is made of
	Points  []Point
}

// Lines returns the observations that a query chooses, a line for each series. Where
// there are more than the query wants points, those of equal stretches of time become
// one point each.
func (l *Ledger) Lines(ctx context.Context, q SeriesQuery) (lines []Line, err error) {
	err = l.reading(ctx, &q, func(tx *sql.Tx, rows []seriesRow) error {
		for _, r := range rows {
			points, err := drawPoints(ctx, tx, []seriesRow{r}, q)
			if err != nil {
				return err
			}
			lines = append(lines, Line{r.Series, 1, points})
		}
		return nil
	})
	return lines, err
}

// Combined is like [Ledger.Lines], with one line for all sources of an indicator and
// unit in a feed, such as all stations of a city. A point is what all observations in
// a stretch of time come to; a stretch has a minute at least.
func (l *Ledger) Combined(ctx context.Context, q SeriesQuery) (lines []Line, err error) {
	err = l.reading(ctx, &q, func(tx *sql.Tx, rows []seriesRow) error {
		for _, group := range bySource(rows) {
			points, err := drawPoints(ctx, tx, group, q)
			if err != nil {
				return err
			}
			s := group[0].Series
			for _, r := range group[1:] {
				if s.First == 0 || r.First > 0 && r.First < s.First {
					s.First = r.First
				}
				s.Last = max(s.Last, r.Last)
			}
			s.Source = cityid.Code{}
			lines = append(lines, Line{s, len(group), points})
		}
		return nil
	})
	return lines, err
}

// bySource puts series together that differ by their source alone.
func bySource(rows []seriesRow) (groups [][]seriesRow) {
	type key struct{ feed, indicator, unit string }
	at := map[key]int{}
	for _, r := range rows {
		k := key{r.Feed, r.Indicator, r.Unit}
		i, known := at[k]
		if !known {
			i, at[k] = len(groups), len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

// reading calls read with a query within its bounds and the series that it chooses,
// all of one state.
func (l *Ledger) reading(ctx context.Context, q *SeriesQuery, read func(tx *sql.Tx, rows []seriesRow) error) (err error) {
	if q.Points < 1 || q.Points > MaxPoints {
		q.Points = MaxPoints
	}
	if q.To == 0 {
		q.To = noEnd
	}
	tx, err := l.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	rows, err := listSeries(ctx, tx, *q)
	if err != nil {
		return err
	}
	return read(tx, rows)
}

// drawPoints makes the points of a line, at most q.Points. Stretches of an hour and more
// are made of whole hours, of which it is known already what they come to.
func drawPoints(ctx context.Context, on folder.Querier, list []seriesRow, q SeriesQuery) ([]Point, error) {
	first, end := cityid.Time(noEnd), cityid.Time(0)
	for _, s := range list {
		if s.Last > 0 {
			first, end = min(first, s.First), max(end, s.Last+1)
		}
	}
	if first, end = max(first, q.From), min(end, q.To); first >= end {
		return nil, nil
	}
	draw := drawing{first: int64(first), end: int64(end), width: 1, one: len(list) == 1}
	if draw.one {
		draw.series = list[0].id
	} else {
		draw.width = 60
		ids := make([]int64, len(list))
		for i, s := range list {
			ids[i] = s.id
		}
		draw.series = string(mustJSON(ids))
	}
	few, err := draw.few(ctx, on, q.Points)
	if err != nil {
		return nil, err
	}
	if few {
		return draw.points(ctx, on)
	}
	points := int64(q.Points)
	draw.width = max(draw.width, (draw.end-draw.first+points-1)/points)
	if draw.width >= secondsOfHour {
		from, to := draw.first/secondsOfHour, (draw.end+secondsOfHour-1)/secondsOfHour
		draw.from, draw.width = from*secondsOfHour, (to-from+points-1)/points*secondsOfHour
		return draw.hours(ctx, on)
	}
	draw.from = draw.first
	return draw.points(ctx, on)
}

// drawing is how the points of one line are made: each of the observations in a
// stretch of time. It covers first to end, which is excluded; stretches are counted
// from from.
type drawing struct {
	one         bool
	series      any // id, or a JSON list of ids
	first, end  int64
	from, width int64
}

// where chooses the series.
func (d *drawing) where() string {
	if d.one {
		return "series = ?1"
	}
	return "series IN (SELECT value FROM json_each(?1))"
}

// few reports whether there are no more observations than points. Of several series
// there is no telling before they are joined.
func (d *drawing) few(ctx context.Context, on folder.Querier, points int) (bool, error) {
	if !d.one {
		return (d.end-d.first+d.width-1)/d.width <= int64(points), nil
	}
	var n int
	err := on.QueryRowContext(ctx, `SELECT coalesce(sum(count), 0) FROM hour WHERE series = ? AND hour BETWEEN ? AND ?`,
		d.series, d.first/secondsOfHour, (d.end-1)/secondsOfHour).Scan(&n)
	if err != nil || n <= points || (d.end-d.first)/int64(points) >= secondsOfHour {
		return n <= points, err
	}
	err = on.QueryRowContext(ctx, `SELECT count(*) FROM observation WHERE series = ? AND time >= ? AND time < ?`, d.series, d.first, d.end).Scan(&n)
	return n <= points, err
}

// points sums up observations.
func (d *drawing) points(ctx context.Context, on folder.Querier) ([]Point, error) {
	return d.collect(ctx, on, `SELECT max(time) AS last, avg(number) AS mean, min(number) AS least, max(number) AS most, count(*) AS n
		FROM observation WHERE `+d.where()+` AND time >= ?2 AND time < ?3 GROUP BY (time - ?4) / ?5`, d.first, d.end, d.from, d.width)
}

// hours sums up whole hours, and the observations of the hours that are covered in
// part, at either end. What it covers is longer than an hour.
func (d *drawing) hours(ctx context.Context, on folder.Querier) ([]Point, error) {
	const each = `SELECT time AS at, time, number, number, number, 1 FROM observation WHERE `
	return d.collect(ctx, on, `SELECT max(last) AS last, sum(total) / sum(n) AS mean, min(least) AS least, max(most) AS most, sum(n) AS n FROM (
		SELECT hour * 3600 AS at, last, total, least, most, count AS n FROM hour WHERE `+d.where()+` AND hour >= ?6 AND hour < ?7
		UNION ALL `+each+d.where()+` AND time >= ?2 AND time < ?6 * 3600
		UNION ALL `+each+d.where()+` AND time >= ?7 * 3600 AND time < ?3) GROUP BY (at - ?4) / ?5`,
		d.first, d.end, d.from, d.width, (d.first+secondsOfHour-1)/secondsOfHour, d.end/secondsOfHour)
}

// collect reads points from what a statement sums up, with the value and the entry of
// the last observation if they are of one series.
func (d *drawing) collect(ctx context.Context, on folder.Querier, summed string, args ...any) ([]Point, error) {
	// CROSS JOIN: first the stretches, then one look-up for each.
	query := `SELECT g.last, o.value, g.mean, g.least, g.most, g.n, o.entry FROM (` + summed + `) AS g
		CROSS JOIN observation AS o ON o.series = ?1 AND o.time = g.last ORDER BY g.last`
	if !d.one {
		query = `SELECT last, '', mean, least, most, n, 0 FROM (` + summed + `) ORDER BY last`
	}
	return folder.Collect(ctx, on, func(row interface{ Scan(...any) error }) (p Point, err error) {
		return p, row.Scan(&p.Time, &p.Value, &p.Mean, &p.Min, &p.Max, &p.Count, &p.Entry)
	}, query, append([]any{d.series}, args...)...)
}

// Hashes returns the hashes of entries. Those that were erased or never were are left
// out.
func (l *Ledger) Hashes(ctx context.Context, ids []uint64) (map[uint64]cityid.Digest, error) {
	type pair struct {
		id   uint64
		hash cityid.Digest
	}
	list, err := folder.Collect(ctx, l.reads, func(row interface{ Scan(...any) error }) (p pair, err error) {
		var hash []byte
		err = row.Scan(&p.id, &hash)
		p.hash = digest(hash)
		return p, err
	}, `SELECT id, hash FROM entry WHERE id IN (SELECT value FROM json_each(?))`, string(mustJSON(ids)))
	if err != nil {
		return nil, fmt.Errorf("hashes of entries: %w", err)
	}
	out := make(map[uint64]cityid.Digest, len(list))
	for _, p := range list {
		out[p.id] = p.hash
	}
	return out, nil
}

// mustJSON encodes a list of numbers.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers always encode
	}
	return b
}
