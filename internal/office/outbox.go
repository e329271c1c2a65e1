// SPDX-License-Identifier: Apache-2.0

package office

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// The outbox holds what is on its way to other institutions. A worker claims a
// delivery for some minutes, sends it, and says how it went. A worker that dies
// leaves its claim to lapse, and the delivery is made again; so each carries its
// id and the digest of its payload, by which a receiver knows a repetition.
//
// After try n that failed, the next is 30 s · 2^(n-1) later, at most 6 hours. A
// delivery is given up when its receiver refuses it for good, or 30 days after it
// was made.

const (
	firstRetry     = 30 * time.Second
	longestRetry   = 6 * time.Hour
	deliveryGiveUp = 30 * 24 * time.Hour
	deliveryKept   = 90 * 24 * time.Hour // how long an ended delivery is listed
	maxDestination = 2000                // bytes
	maxHeaders     = 8 << 10             // bytes of headers, as JSON
	maxError       = 1000                // bytes of an error that are kept
)

var deliverySweep = fmt.Sprintf(`DELETE FROM delivery WHERE ended > 0 AND ended + %d <= ?1`, deliveryKept.Milliseconds())

// DeliveryState is how far a delivery is.
type DeliveryState uint8

// The states.
const (
	DeliveryWaiting DeliveryState = 1 // for its time, or while a worker has it
	DeliveryDone    DeliveryState = 2
	DeliveryFailed  DeliveryState = 3 // given up
)

var deliveryStates = [...]string{DeliveryWaiting: "waiting", DeliveryDone: "done", DeliveryFailed: "failed"}

// String returns the state's name.
func (s DeliveryState) String() string {
	if int(s) < len(deliveryStates) {
		return deliveryStates[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// NewDelivery is something to be sent.
type NewDelivery struct {
	Destination string            // an absolute http or https URL
	File        cityid.Digest     // the payload, which was put before
	Headers     map[string]string // as the sender sets them; nothing secret: they lie here in the clear
}

// Delivery is something on its way.
type Delivery struct {
	ID int64
	NewDelivery
	State   DeliveryState
	Tries   int       // begun so far
	Next    time.Time // when it is due, or, while a worker has it, when its claim lapses
	Error   string    // of the last try that failed
	Created time.Time
	Ended   time.Time // zero: not yet
}

// Enqueue puts deliveries into the outbox, all or none, and returns their ids.
// They are due at once.
func (o *Office) Enqueue(ctx context.Context, list ...NewDelivery) (ids []int64, err error) {
	err = o.write(ctx, func(tx *sql.Tx) error {
		ids = nil
		for _, d := range list {
			id, err := o.insertDelivery(ctx, tx, d)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return ids, nil
}

func (o *Office) insertDelivery(ctx context.Context, tx *sql.Tx, d NewDelivery) (int64, error) {
	u, err := url.Parse(d.Destination)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(d.Destination) > maxDestination {
		return 0, fmt.Errorf("destination %.100q: want an http or https URL: %w", d.Destination, ErrInvalid)
	}
	if d.Headers == nil {
		d.Headers = map[string]string{}
	}
	headers, err := json.Marshal(d.Headers)
	if err != nil {
		return 0, err
	}
	if len(headers) > maxHeaders {
		return 0, fmt.Errorf("headers of %d bytes, at most %d: %w", len(headers), maxHeaders, ErrTooLarge)
	}
	now := ms(o.now())
	r, err := tx.ExecContext(ctx, `INSERT INTO delivery (destination, file, headers, state, tries, next, error, created, ended) VALUES (?, ?, ?, ?, 0, ?, '', ?, 0)`,
		d.Destination, d.File[:], string(headers), DeliveryWaiting, now, now)
	if err != nil {
		return 0, stored(err, "the delivery")
	}
	return r.LastInsertId()
}

const deliveryColumns = `id, destination, file, headers, state, tries, next, error, created, ended`

func scanDelivery(row interface{ Scan(...any) error }) (d Delivery, err error) {
	var file, headers []byte
	var next, created, ended int64
	err = row.Scan(&d.ID, &d.Destination, &file, &headers, &d.State, &d.Tries, &next, &d.Error, &created, &ended)
	if err == nil {
		err = json.Unmarshal(headers, &d.Headers)
	}
	copy(d.File[:], file)
	d.Next, d.Created, d.Ended = at(next), at(created), at(ended)
	return d, err
}

// ClaimDeliveries takes the up to n deliveries that have been due longest, for the
// given time, and counts a try for each. They come in the order of their ids. No other worker gets them until
// then.
func (o *Office) ClaimDeliveries(ctx context.Context, n int, lease time.Duration) (list []Delivery, err error) {
	if n < 1 || lease <= 0 {
		return nil, fmt.Errorf("claim of %d deliveries for %v: %w", n, lease, ErrInvalid)
	}
	now := o.now()
	err = o.write(ctx, func(tx *sql.Tx) error {
		list, err = folder.Collect(ctx, tx, scanDelivery, `UPDATE delivery SET tries = tries + 1, next = ?1 WHERE id IN
			(SELECT id FROM delivery WHERE state = ?2 AND next <= ?3 ORDER BY next, id LIMIT ?4) RETURNING `+deliveryColumns,
			ms(now.Add(lease)), DeliveryWaiting, ms(now), n)
		return err
	})
	slices.SortFunc(list, func(a, b Delivery) int { return cmp.Compare(a.ID, b.ID) })
	return list, err
}

// Delivered says that a claimed delivery arrived. It is also right when the claim
// has lapsed: what arrived, arrived.
func (o *Office) Delivered(ctx context.Context, id int64) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		d, err := delivery(ctx, tx, id)
		if err != nil || d.State == DeliveryDone {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE delivery SET state = ?, error = '', ended = ? WHERE id = ?`, DeliveryDone, ms(o.now()), id)
		return err
	})
}

// DeliveryError says that a try failed: the one the worker has claimed, by its
// number. The delivery is made again after a while, unless the receiver refused
// it for good. The word of a worker whose claim has lapsed, and that somebody else
// has taken up since, is [ErrConflict] and changes nothing.
func (o *Office) DeliveryError(ctx context.Context, id int64, try int, problem string, forGood bool) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		d, err := delivery(ctx, tx, id)
		if err != nil {
			return err
		}
		if d.State != DeliveryWaiting || d.Tries != try {
			return fmt.Errorf("delivery %d is %v at try %d, not %d: %w", id, d.State, d.Tries, try, ErrConflict)
		}
		now, state, ended := o.now(), DeliveryWaiting, int64(0)
		if forGood || now.Sub(d.Created) >= deliveryGiveUp {
			state, ended = DeliveryFailed, ms(now)
		}
		_, err = tx.ExecContext(ctx, `UPDATE delivery SET state = ?, next = ?, error = ?, ended = ? WHERE id = ?`,
			state, ms(now.Add(backOff(d.Tries))), problem[:min(len(problem), maxError)], ended, id)
		return err
	})
}

// backOff is how long to wait after a number of tries.
func backOff(tries int) time.Duration {
	wait := firstRetry
	for range min(tries, 20) - 1 {
		wait *= 2
	}
	return min(wait, longestRetry)
}

// RetryDelivery makes a delivery that waits or was given up due at once; its 30
// days begin anew.
func (o *Office) RetryDelivery(ctx context.Context, id int64) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		d, err := delivery(ctx, tx, id)
		if err != nil {
			return err
		}
		if d.State == DeliveryDone {
			return fmt.Errorf("delivery %d is done: %w", id, ErrConflict)
		}
		now := ms(o.now())
		_, err = tx.ExecContext(ctx, `UPDATE delivery SET state = ?, next = ?, created = ?, ended = 0 WHERE id = ?`, DeliveryWaiting, now, now, id)
		return err
	})
}

func delivery(ctx context.Context, q folder.Querier, id int64) (Delivery, error) {
	d, err := scanDelivery(q.QueryRowContext(ctx, `SELECT `+deliveryColumns+` FROM delivery WHERE id = ?`, id))
	return d, found(err, fmt.Sprintf("delivery %d", id))
}

// Deliveries lists deliveries in a state (0: any) with an id below before (0:
// from the latest), latest first, at most limit.
func (o *Office) Deliveries(ctx context.Context, state DeliveryState, before int64, limit int) ([]Delivery, error) {
	return folder.Collect(ctx, o.reads, scanDelivery, `SELECT `+deliveryColumns+` FROM delivery
		WHERE (?1 = 0 OR state = ?1) AND (?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3`, state, before, limit)
}

// NextDelivery returns when the next delivery is due, or the zero Time if none
// waits.
func (o *Office) NextDelivery(ctx context.Context) (time.Time, error) {
	var next int64
	err := o.reads.QueryRowContext(ctx, `SELECT coalesce(min(next), 0) FROM delivery WHERE state = ?`, DeliveryWaiting).Scan(&next)
	return at(next), err
}
