// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// Bounds of what a subscription brings at once, and of its parts in octets.
const (
	MaxEvents       = 10_000
	MaxObservations = 10_000
	MaxEventBody    = 256 << 10
	MaxFeedCursor   = 1024
)

// Feed names a subscription: what is polled under an agreement.
type Feed struct {
	Agreement cityid.Digest // zero: none
	Path      string        // of the provider, with the query
}

// Progress is what one fetch of a feed has brought.
type Progress struct {
	Feed
	From         string // the provider's cursor as it was; "": nothing was fetched yet
	To           string // as it is now
	Entry        uint64 // the fetched entry that brought it
	Events       [][]byte
	Observations []Observation
}

// Subscription is a feed and how far it was followed.
type Subscription struct {
	Feed
	Cursor  string    // the provider's
	Events  uint64    // ever stored; the number of the latest
	Changed time.Time // when it got further
}

// Advance stores what a fetch has brought together with the cursor: all of it or
// nothing, so that a crash neither loses an event nor doubles one. Events get the
// next numbers, from first. If the feed's cursor is not From any more it returns
// [ErrConflict]: fetch again from the cursor that [Ledger.Subscription] has. An
// observation of a time that is known replaces it if the value differs, and else
// changes nothing. The entry must be one that was fetched under the agreement.
func (l *Ledger) Advance(ctx context.Context, p Progress) (first uint64, err error) {
	if err := p.check(); err != nil {
		return 0, fmt.Errorf("advance a subscription: %w", err)
	}
	err = l.write(ctx, &job{apply: func(g *group) (err error) {
		first, err = g.advance(&p)
		return err
	}})
	if err != nil {
		return 0, fmt.Errorf("advance a subscription: %w", err)
	}
	return first, nil
}

func (p *Progress) check() error {
	switch {
	case p.Path == "" || len(p.Path) > MaxPath:
		return fmt.Errorf("%w: a path of %d octets, want 1 to %d", ErrInvalid, len(p.Path), MaxPath)
	case p.To == "" && p.From != "" || len(p.To) > MaxFeedCursor:
		return fmt.Errorf("%w: a cursor of %d octets, want at most %d and none that ends", ErrInvalid, len(p.To), MaxFeedCursor)
	case len(p.Events) > MaxEvents || len(p.Observations) > MaxObservations:
		return fmt.Errorf("%w: %d events and %d observations, at most %d and %d are stored at once", ErrInvalid,
			len(p.Events), len(p.Observations), MaxEvents, MaxObservations)
	case len(p.Events)+len(p.Observations) > 0 && p.From == p.To:
		return fmt.Errorf("%w: it brings something, and the cursor stays: that would be stored again", ErrInvalid)
	}
	for i, e := range p.Events {
		if len(e) == 0 || len(e) > MaxEventBody {
			return fmt.Errorf("%w: event %d has %d octets, want 1 to %d", ErrInvalid, i, len(e), MaxEventBody)
		}
	}
	for i := range p.Observations {
		if err := p.Observations[i].complete(); err != nil {
			return fmt.Errorf("observation %d: %w", i, err)
		}
	}
	return nil
}

func (g *group) advance(p *Progress) (first uint64, err error) {
	ctx, conn := context.Background(), g.w.conn
	var agreement []byte
	err = conn.QueryRowContext(ctx, `SELECT agreement FROM entry WHERE id = ? AND direction = ?`, position(p.Entry), DirectionFetched).Scan(&agreement)
	if err != nil {
		return 0, found(err, fmt.Sprintf("fetched entry %d", p.Entry))
	}
	if digest(agreement) != p.Agreement {
		return 0, fmt.Errorf("%w: entry %d was fetched under another agreement", ErrInvalid, p.Entry)
	}
	var id int64
	var cursor string
	err = conn.QueryRowContext(ctx, `SELECT id, cursor, next FROM subscription WHERE agreement = ? AND path = ?`, optional(p.Agreement), p.Path).Scan(&id, &cursor, &first)
	if errors.Is(err, sql.ErrNoRows) {
		first = 1
		err = conn.QueryRowContext(ctx, `INSERT INTO subscription (agreement, path, cursor, next, changed) VALUES (?, ?, '', 1, ?) RETURNING id`,
			optional(p.Agreement), p.Path, g.now).Scan(&id)
	}
	if err != nil {
		return 0, err
	}
	if cursor != p.From {
		return 0, fmt.Errorf("the feed is at cursor %.60q, not %.60q: %w", cursor, p.From, ErrConflict)
	}
	insert, err := conn.PrepareContext(ctx, `INSERT INTO event (subscription, number, stored, entry, body) VALUES (?, ?, ?, ?, ?)`)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	for i, body := range p.Events {
		if _, err := insert.ExecContext(ctx, id, first+uint64(i), g.now, p.Entry, body); err != nil {
			return 0, err
		}
	}
	if err := g.observe(p.Entry, p.Observations); err != nil {
		return 0, err
	}
	_, err = conn.ExecContext(ctx, `UPDATE subscription SET cursor = ?, next = ?, changed = ? WHERE id = ?`, p.To, first+uint64(len(p.Events)), g.now, id)
	return first, err
}

const subscriptionQuery = `SELECT agreement, path, cursor, next - 1, changed FROM subscription `

func scanSubscription(row interface{ Scan(...any) error }) (s Subscription, err error) {
	var agreement []byte
	var changed int64
	err = row.Scan(&agreement, &s.Path, &s.Cursor, &s.Events, &changed)
	s.Agreement, s.Changed = digest(agreement), at(changed)
	return s, err
}

// Subscription returns how far a feed was followed; one that never was has an empty
// cursor and no events.
func (l *Ledger) Subscription(ctx context.Context, f Feed) (Subscription, error) {
	s, err := scanSubscription(l.reads.QueryRowContext(ctx, subscriptionQuery+`WHERE agreement = ? AND path = ?`, optional(f.Agreement), f.Path))
	if errors.Is(err, sql.ErrNoRows) {
		return Subscription{Feed: f}, nil
	}
	return s, err
}

// Subscriptions lists the feeds that were followed, in the order in which that began.
func (l *Ledger) Subscriptions(ctx context.Context) ([]Subscription, error) {
	return folder.Collect(ctx, l.reads, scanSubscription, subscriptionQuery+`ORDER BY id`)
}

// Event is one that a feed brought.
type Event struct {
	Number uint64 // in its feed, from 1
	Stored time.Time
	Entry  uint64 // that brought it
	Body   []byte
}

// EventPage is part of a feed.
type EventPage struct {
	Oldest uint64 // number of the oldest event that is kept; one more than the latest if none is
	Events []Event
}

// EventsAfter returns the events of a feed with a greater number, in order, at most
// limit (1 to MaxPage; else MaxPage) and not more than about 4 MiB. If Oldest is more
// than one beyond the number, some were pruned in between.
func (l *Ledger) EventsAfter(ctx context.Context, f Feed, number uint64, limit int) (p EventPage, err error) {
	if limit < 1 || limit > MaxPage {
		limit = MaxPage
	}
	tx, err := l.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	var id int64
	err = tx.QueryRowContext(ctx, `SELECT id, coalesce((SELECT min(number) FROM event WHERE subscription = s.id), next) FROM subscription AS s
		WHERE agreement = ? AND path = ?`, optional(f.Agreement), f.Path).Scan(&id, &p.Oldest)
	if errors.Is(err, sql.ErrNoRows) {
		return EventPage{Oldest: 1, Events: []Event{}}, nil
	}
	if err != nil {
		return p, err
	}
	p.Events, err = folder.Collect(ctx, tx, func(row interface{ Scan(...any) error }) (e Event, err error) {
		var stored int64
		err = row.Scan(&e.Number, &stored, &e.Entry, &e.Body)
		e.Stored = at(stored)
		return e, err
	}, `SELECT number, stored, entry, body FROM (SELECT *, sum(length(body)) OVER (ORDER BY number) - length(body) AS before FROM
		(SELECT number, stored, entry, body FROM event WHERE subscription = ? AND number > ? ORDER BY number LIMIT ?)) WHERE before < ? ORDER BY number`,
		id, position(number), limit, 4<<20)
	return p, err
}

// PruneEvents removes, from every feed, the events that were stored before a time
// (zero: none for their age) and all but the latest keep (negative: none for their
// number), and says how many. Those kept have no gap: one that was stored earlier than
// one before it, since the clock was put back, stays as long as that.
func (l *Ledger) PruneEvents(ctx context.Context, before time.Time, keep int) (pruned int, err error) {
	type row struct{ id, next int64 }
	rows, err := folder.Collect(ctx, l.reads, func(r interface{ Scan(...any) error }) (x row, err error) {
		return x, r.Scan(&x.id, &x.next)
	}, `SELECT id, next FROM subscription ORDER BY id`)
	for _, x := range rows {
		if err != nil {
			break
		}
		var n int
		n, err = l.pruneFeed(ctx, x.id, x.next, before, keep)
		pruned += n
	}
	if err != nil {
		return pruned, fmt.Errorf("prune events: %w", err)
	}
	return pruned, nil
}

func (l *Ledger) pruneFeed(ctx context.Context, id, next int64, before time.Time, keep int) (int, error) {
	var end int64 // first event to be kept
	err := l.reads.QueryRowContext(ctx, `SELECT coalesce((SELECT number FROM event WHERE subscription = ? AND stored >= ? ORDER BY number LIMIT 1), ?)`,
		id, ms(before), next).Scan(&end)
	if err != nil {
		return 0, err
	}
	if keep >= 0 {
		end = max(end, next-int64(keep))
	}
	return l.prune(ctx, `DELETE FROM event WHERE subscription = ?1 AND number < ?2 AND number <
		(SELECT min(number) FROM event WHERE subscription = ?1) + ?3`, id, end, pruneAtOnce)
}

// Unsubscribe forgets a feed, its cursor and its events. Its observations stay. It
// returns [ErrNotFound] if the feed was never followed.
func (l *Ledger) Unsubscribe(ctx context.Context, f Feed) error {
	err := l.write(ctx, &job{apply: func(g *group) error {
		ctx := context.Background()
		_, err := g.w.conn.ExecContext(ctx, `DELETE FROM event WHERE subscription = (SELECT id FROM subscription WHERE agreement = ? AND path = ?)`,
			optional(f.Agreement), f.Path)
		if err != nil {
			return err
		}
		n, err := folder.Count(g.w.conn.ExecContext(ctx, `DELETE FROM subscription WHERE agreement = ? AND path = ?`, optional(f.Agreement), f.Path))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return nil
}
