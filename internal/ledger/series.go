// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"cityid"
	"cityid/internal/durable/folder"
)

// MaxValue bounds the text of a value, in octets.
const MaxValue = 40

// Observation is a number that a source observed at a time.
type Observation struct {
	Feed      string      // which stream it is of, such as the name of a dataset
	Indicator string      // what was observed
	Source    cityid.Code // who or what observed it; zero: not said
	Unit      string      // "": none
	Time      cityid.Time // of the observation
	Value     string      // decimal: an optional "-", digits, an optional "." and digits
	Number    float64     // near the value, for drawing; Advance computes it
	Entry     uint64      // that brought it; Advance sets it
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// complete checks an observation and computes its number.
func (o *Observation) complete() error {
	for what, text := range map[string]string{"feed": o.Feed, "indicator": o.Indicator, "unit": o.Unit} {
		if err := cityid.CheckText("the "+what, text, what != "unit"); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if !o.Time.Valid() || o.Time == 0 {
		return fmt.Errorf("%w: time %d, want a second of the years 1970 to 9999", ErrInvalid, int64(o.Time))
	}
	if len(o.Value) > MaxValue || !decimal.MatchString(o.Value) {
		return fmt.Errorf("%w: value %.60q, want a decimal number of at most %d characters, without exponent or leading zeros", ErrInvalid, o.Value, MaxValue)
	}
	var err error
	o.Number, err = strconv.ParseFloat(o.Value, 64)
	return err
}

// observe stores observations, in the order in which they stand.
func (g *group) observe(entry uint64, list []Observation) (err error) {
	type seriesKey struct{ feed, indicator, source, unit string }
	ctx, ids := context.Background(), map[seriesKey]int64{}
	insert, err := g.w.conn.PrepareContext(ctx, `INSERT INTO observation (series, time, value, number, entry) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, number = excluded.number, entry = excluded.entry WHERE value <> excluded.value`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	for i := range list {
		o := &list[i]
		k := seriesKey{o.Feed, o.Indicator, o.Source.String(), o.Unit}
		id, known := ids[k]
		if !known {
			err := g.w.conn.QueryRowContext(ctx, `INSERT INTO series (feed, indicator, source, unit) VALUES (?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET unit = excluded.unit RETURNING id`, k.feed, k.indicator, k.source, k.unit).Scan(&id)
			if err != nil {
				return err
			}
			ids[k] = id
		}
		if _, err := insert.ExecContext(ctx, id, int64(o.Time), o.Value, o.Number, entry); err != nil {
			return err
		}
	}
	return nil
}

// Series is a row of observations.
type Series struct {
	Feed      string
	Indicator string
	Source    cityid.Code
	Unit      string
	First     cityid.Time // of its observations; 0: none is left
	Last      cityid.Time
}

// SeriesQuery chooses series and, for [Ledger.Lines], a range of time. Zero fields
// choose all.
type SeriesQuery struct {
	Feed      string
	Indicator string
	Source    cityid.Code
	From      cityid.Time
	To        cityid.Time // excluded; 0: no end
	Points    int         // at most so many for each series, 1 to MaxPoints; else MaxPoints
}

type seriesRow struct {
	Series
	id int64
}

func listSeries(ctx context.Context, on folder.Querier, q SeriesQuery) ([]seriesRow, error) {
	return folder.Collect(ctx, on, func(row interface{ Scan(...any) error }) (s seriesRow, err error) {
		var source string
		if err := row.Scan(&s.id, &s.Feed, &s.Indicator, &source, &s.Unit, &s.First, &s.Last); err != nil || source == "" {
			return s, err
		}
		s.Source, err = cityid.ParseCanonical(source)
		return s, err
	}, `SELECT id, feed, indicator, source, unit, coalesce((SELECT min(time) FROM observation WHERE series = s.id), 0),
		coalesce((SELECT max(time) FROM observation WHERE series = s.id), 0) FROM series AS s
		WHERE (?1 = '' OR feed = ?1) AND (?2 = '' OR indicator = ?2) AND (?3 = '' OR source = ?3) ORDER BY feed, indicator, source, unit`, q.Feed, q.Indicator, q.Source.String())
}

// Series lists the series that a query chooses, in order of feed, indicator, source
// and unit.
func (l *Ledger) Series(ctx context.Context, q SeriesQuery) ([]Series, error) {
	rows, err := listSeries(ctx, l.reads, q)
	list := make([]Series, len(rows))
	for i, r := range rows {
		list[i] = r.Series
	}
	return list, err
}

// Observations returns the observations that a query chooses, in order of time, feed,
// indicator and source, each with the entry that brought it; at most limit (1 to
// MaxPoints; else MaxPoints).
func (l *Ledger) Observations(ctx context.Context, q SeriesQuery, limit int) ([]Observation, error) {
	return l.chosen(ctx, "observation", q, limit)
}

func (l *Ledger) chosen(ctx context.Context, table string, q SeriesQuery, limit int) ([]Observation, error) {
	if q.To == 0 {
		q.To = noEnd
	}
	return l.observations(ctx, table, `WHERE (?1 = '' OR s.feed = ?1) AND (?2 = '' OR s.indicator = ?2) AND (?3 = '' OR s.source = ?3)
		AND o.time >= ?4 AND o.time < ?5`, limit, q.Feed, q.Indicator, q.Source.String(), int64(q.From), int64(q.To))
}

// Latest returns the latest observation of each series that a query chooses, whatever
// its range of time, in order of feed, indicator, source and unit.
func (l *Ledger) Latest(ctx context.Context, q SeriesQuery) ([]Observation, error) {
	return folder.Collect(ctx, l.reads, scanObservation, `SELECT s.feed, s.indicator, s.source, s.unit, o.time, o.value, o.number, o.entry FROM series AS s
		JOIN observation AS o ON o.series = s.id AND o.time = (SELECT max(time) FROM observation WHERE series = s.id)
		WHERE (?1 = '' OR s.feed = ?1) AND (?2 = '' OR s.indicator = ?2) AND (?3 = '' OR s.source = ?3)
		ORDER BY s.feed, s.indicator, s.source, s.unit`, q.Feed, q.Indicator, q.Source.String())
}

// Replaced returns the values that corrections have replaced, as [Ledger.Observations]
// does with those that stand; of one time, those that came first.
func (l *Ledger) Replaced(ctx context.Context, q SeriesQuery, limit int) ([]Observation, error) {
	return l.chosen(ctx, "replaced", q, limit)
}

// ObservationsOf returns the observations that an entry brought and that stand, in the
// same order.
func (l *Ledger) ObservationsOf(ctx context.Context, entry uint64, limit int) ([]Observation, error) {
	return l.observations(ctx, "observation", `WHERE o.entry = ?`, limit, position(entry))
}

func (l *Ledger) observations(ctx context.Context, table, where string, limit int, args ...any) ([]Observation, error) {
	if limit < 1 || limit > MaxPoints {
		limit = MaxPoints
	}
	return folder.Collect(ctx, l.reads, scanObservation, fmt.Sprintf(`SELECT s.feed, s.indicator, s.source, s.unit, o.time, o.value, o.number, o.entry
		FROM series AS s JOIN %s AS o ON o.series = s.id %s ORDER BY o.time, s.feed, s.indicator, s.source, s.unit, o.entry LIMIT %d`, table, where, limit), args...)
}

func scanObservation(row interface{ Scan(...any) error }) (o Observation, err error) {
	var source string
	if err := row.Scan(&o.Feed, &o.Indicator, &source, &o.Unit, &o.Time, &o.Value, &o.Number, &o.Entry); err != nil || source == "" {
		return o, err
	}
	o.Source, err = cityid.ParseCanonical(source)
	return o, err
}

// PruneObservations removes those made before a time, with the values that were
// replaced and what hours came to, and series of which none is left; it says how many
// observations. It goes step by step, and the next call goes on with what was
// interrupted.
func (l *Ledger) PruneObservations(ctx context.Context, before cityid.Time) (pruned int, err error) {
	rows, err := listSeries(ctx, l.reads, SeriesQuery{})
	for _, s := range rows {
		if err != nil {
			break
		}
		if s.First == 0 || s.First >= before {
			continue
		}
		var n int
		n, err = l.pruneSeries(ctx, s.id, before)
		pruned += n
	}
	if err == nil {
		_, err = l.prune(ctx, `DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM observation WHERE series = series.id)`)
	}
	if err != nil {
		return pruned, fmt.Errorf("prune observations: %w", err)
	}
	return pruned, nil
}

// pruneSeries first removes what whole hours come to, so that no line shows of an hour
// what is only partly there. The earliest observation goes last, with all others of its
// hour that go, and the hour that stays in part is summed up again with that: until
// then a call that was interrupted is seen to be.
func (l *Ledger) pruneSeries(ctx context.Context, series int64, before cityid.Time) (pruned int, err error) {
	hour := int64(before) / secondsOfHour
	for _, query := range []string{
		`DELETE FROM hour WHERE series = ?1 AND hour < ?2 / 3600`,
		`DELETE FROM replaced WHERE rowid IN (SELECT rowid FROM replaced WHERE series = ?1 AND time < ?2 LIMIT ?3)`,
	} {
		if _, err := l.prune(ctx, query, series, int64(before), pruneAtOnce); err != nil {
			return 0, err
		}
	}
	pruned, err = l.prune(ctx, `DELETE FROM observation WHERE series = ?1 AND time < ?2 / 3600 * 3600
		AND time > (SELECT min(time) FROM observation WHERE series = ?1) AND time <=
		coalesce((SELECT time FROM observation WHERE series = ?1 ORDER BY time LIMIT 1 OFFSET ?3), ?2)`, series, int64(before), pruneAtOnce)
	if err != nil {
		return pruned, err
	}
	rest := 0
	err = l.write(ctx, &job{apply: func(g *group) (err error) {
		ctx := context.Background()
		if rest, err = folder.Count(g.w.conn.ExecContext(ctx, `DELETE FROM observation WHERE series = ? AND time < ?`, series, int64(before))); err != nil {
			return err
		}
		if _, err := g.w.conn.ExecContext(ctx, `DELETE FROM hour WHERE series = ? AND hour <= ?`, series, hour); err != nil {
			return err
		}
		_, err = g.w.conn.ExecContext(ctx, `INSERT INTO hour SELECT series, time / 3600, max(time), count(*), sum(number), min(number), max(number)
			FROM observation WHERE series = ?1 AND time >= ?2 * 3600 AND time / 3600 = ?2 GROUP BY series, time / 3600`, series, hour)
		return err
	}})
	return pruned + rest, err
}

// pruneAtOnce is how many rows go in one transaction.
const pruneAtOnce = 5000

// prune repeats a statement, each time in a transaction of its own, until it removes
// nothing more.
func (l *Ledger) prune(ctx context.Context, query string, args ...any) (pruned int, err error) {
	for {
		n := 0
		err := l.write(ctx, &job{apply: func(g *group) (err error) {
			n, err = folder.Count(g.w.conn.ExecContext(context.Background(), query, args...))
			return err
		}})
		if err != nil || n == 0 {
			return pruned, err
		}
		pruned += n
	}
}
