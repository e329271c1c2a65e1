// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// A request for an agreement that is made at this portal has a purpose, of which
// the chain holds a salted digest alone. The office keeps it, encrypted under
// office.key with the additional data "cityid/office-purpose/1" || id, from before
// the request is signed until a while after the agreement has ended; whoever
// follows the chain sends it to the holder of the dataset when the request is on
// the chain.
//
//	prepared -> recorded, when the chain holds the request
//	recorded -> sent, or closed if it was decided before the purpose was sent
//
// A request that never came onto the chain, as whoever follows the chain has found
// out, is removed.

// AgreementProgress is how far a request made here is.
type AgreementProgress uint8

// The states.
const (
	AgreementPrepared AgreementProgress = 1 // not known to be on the chain
	AgreementRecorded AgreementProgress = 2 // its purpose is to be sent
	AgreementSent     AgreementProgress = 3 // the holder's gateway has its purpose
	AgreementClosed   AgreementProgress = 4 // decided before its purpose was sent
)

const (
	unrecordedKept = 7 * 24 * time.Hour // beyond the time by which an answer was asked for
	maxProblem     = 500                // octets kept of why a purpose was not sent
	maxPrepared    = 1000               // requests of one consumer that are not on the chain
)

// OwnAgreement is a request for an agreement that was made here.
type OwnAgreement struct {
	ID       cityid.Digest
	Terms    cityid.Terms
	Purpose  *Purpose // nil: erased
	Progress AgreementProgress
	Created  time.Time
	Tries    int       // to send the purpose
	Problem  string    // of the last one
	Ends     time.Time // when the agreement ends, as far as is known
}

func wherePurpose(id cityid.Digest) []byte {
	return append([]byte("cityid/office-purpose/1"), id[:]...)
}

// PrepareAgreement keeps a request that is about to be signed, with its purpose,
// whose digest the terms name. It is [ErrConflict] if it is there already, and
// [ErrFull] if too many requests of the consumer never came onto the chain.
func (o *Office) PrepareAgreement(ctx context.Context, terms cityid.Terms, p Purpose) error {
	if err := terms.Check(); err != nil {
		return fmt.Errorf("request: %w: %w", ErrInvalid, err)
	}
	if err := p.Check(); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if p.Digest() != terms.Purpose {
		return fmt.Errorf("request: the terms name another purpose: %w", ErrInvalid)
	}
	id, now := terms.ID(), o.now()
	return o.write(ctx, func(tx *sql.Tx) error {
		err := roomForOne(ctx, tx, maxPrepared, "requests of "+terms.Consumer.String()+" that are not on the chain",
			`SELECT count(*) FROM agreement WHERE consumer = ? AND state = 1`, terms.Consumer.String())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO agreement (id, consumer, dataset, terms, box, state, created, look, tries, problem, ends)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', ?)`, id[:], terms.Consumer.String(), terms.Dataset.String(), cityid.MustMarshal(&terms),
			enclose(o.key, cityid.MustMarshal(&p), wherePurpose(id)), AgreementPrepared, ms(now), ms(now), ms(terms.Respond.Std()))
		return stored(err, "the request")
	})
}

const agreementQuery = `SELECT id, terms, box, state, created, tries, problem, ends FROM agreement `

func (o *Office) scanAgreement(row interface{ Scan(...any) error }) (a OwnAgreement, err error) {
	var id, terms, box []byte
	var created, ends int64
	if err := row.Scan(&id, &terms, &box, &a.Progress, &created, &a.Tries, &a.Problem, &ends); err != nil {
		return a, err
	}
	copy(a.ID[:], id)
	a.Created, a.Ends = at(created), at(ends)
	damaged := func(err error) (OwnAgreement, error) {
		return OwnAgreement{}, fmt.Errorf("request %v: %w: %w", a.ID, ErrDamaged, err)
	}
	if err := cityid.Unmarshal(terms, &a.Terms); err != nil || a.Terms.ID() != a.ID {
		return damaged(fmt.Errorf("its terms are others: %w", err))
	}
	if len(box) == 0 {
		return a, nil
	}
	plain, err := disclose(o.key, box, wherePurpose(a.ID))
	if err != nil {
		return damaged(err)
	}
	p, err := decodePurpose(plain)
	if err == nil && p.Digest() != a.Terms.Purpose {
		err = ErrDamaged
	}
	if err != nil {
		return damaged(err)
	}
	a.Purpose = &p
	return a, nil
}

// OwnAgreement returns a request that was made here, or [ErrNotFound].
func (o *Office) OwnAgreement(ctx context.Context, id cityid.Digest) (OwnAgreement, error) {
	a, err := o.scanAgreement(o.reads.QueryRowContext(ctx, agreementQuery+`WHERE id = ?`, id[:]))
	return a, found(err, "request")
}

// PreparedAgreements lists the requests of a consumer that are not known to be on
// the chain, the latest first; at most limit.
func (o *Office) PreparedAgreements(ctx context.Context, consumer cityid.Code, limit int) ([]OwnAgreement, error) {
	return folder.Collect(ctx, o.reads, o.scanAgreement, agreementQuery+`WHERE consumer = ? AND state = 1 ORDER BY created DESC, id LIMIT ?`,
		consumer.String(), limit)
}

// AgreementsDue lists the requests that are to be looked for on the chain now, the
// most overdue first; at most limit.
func (o *Office) AgreementsDue(ctx context.Context, limit int) ([]OwnAgreement, error) {
	return folder.Collect(ctx, o.reads, o.scanAgreement, agreementQuery+`WHERE look > 0 AND look <= ? ORDER BY look, id LIMIT ?`, ms(o.now()), limit)
}

// WakeAgreement has a request looked for at once. One that is never looked for
// again, or is not there, stays as it is.
func (o *Office) WakeAgreement(ctx context.Context, id cityid.Digest) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE agreement SET look = ?1 WHERE id = ?2 AND look > ?1`, ms(o.now()), id[:])
		return err
	})
}

// AgreementFound is what was found out about a request.
type AgreementFound struct {
	Progress AgreementProgress
	Ends     time.Time // when the agreement ends or has ended
	Look     time.Time // when to look again; zero: never
	Tried    bool      // the purpose was on its way, and did not arrive
	Problem  string    // why
}

// NoteAgreement stores what was found out. Progress never goes back.
func (o *Office) NoteAgreement(ctx context.Context, id cityid.Digest, f AgreementFound) error {
	if f.Progress < AgreementPrepared || f.Progress > AgreementClosed {
		return fmt.Errorf("request: progress %d: %w", f.Progress, ErrInvalid)
	}
	problem, tried := f.Problem, 0
	if len(problem) > maxProblem {
		problem = strings.ToValidUTF8(problem[:maxProblem], "")
	}
	if f.Tried {
		tried = 1
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE agreement SET state = ?1, ends = ?2, look = ?3, tries = tries + ?4, problem = ?5 WHERE id = ?6 AND state <= ?1`,
			f.Progress, ms(f.Ends), ms(f.Look), tried, problem, id[:])
		return changed(r, err, fmt.Errorf("request: it is gone, or further: %w", ErrConflict))
	})
}

// agreementSweeps remove requests that never came onto the chain, and erase
// purposes a while after the agreement ended.
func (o *Office) agreementSweeps() []string {
	return []string{
		fmt.Sprintf(`DELETE FROM agreement WHERE state = %d AND look = 0 AND ends + %d <= ?1`, AgreementPrepared, unrecordedKept.Milliseconds()),
		fmt.Sprintf(`UPDATE agreement SET box = x'' WHERE box <> x'' AND state > %d AND ends + %d <= ?1`, AgreementPrepared, o.opts.PurposeLife.Milliseconds()),
	}
}
