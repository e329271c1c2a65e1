// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// An application waits here between the applicant's last click and the
// transaction, signed with an intake key, that brings it onto the chain. The
// applicant follows it by its reference, R- and ten symbols (50 bits) in two
// groups: R-7KQ2M-9D0XJ.
//
//	waiting -> brought, as a proposal
//	waiting -> declined, with a reason

const (
	referenceSymbols = 10
	maxContact       = 4 << 10
	maxReason        = 2000
)

// ApplicationState is how far an application is.
type ApplicationState uint8

// The states.
const (
	ApplicationWaiting  ApplicationState = 1
	ApplicationBrought  ApplicationState = 2 // it is a proposal on the chain
	ApplicationDeclined ApplicationState = 3
)

var applicationStates = [...]string{ApplicationWaiting: "waiting", ApplicationBrought: "brought", ApplicationDeclined: "declined"}

// String returns the state's name.
func (s ApplicationState) String() string {
	if int(s) < len(applicationStates) {
		return applicationStates[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Submission is what an applicant hands in. Whatever it says happens in one
// transaction.
type Submission struct {
	Apply      cityid.Apply
	Contact    []byte         // how to reach the applicant; encrypted under office.key; may be empty
	Evidence   []EvidenceFile // an envelope for each of Apply.Evidence, or for those that are here
	Deliveries []NewDelivery  // copies for other institutions
	Draft      string         // resume code of the draft it was; empty: none
	Revision   uint64         // of that draft, which must not have changed
}

// EvidenceFile is an envelope that was put, and the digest of what is in it.
type EvidenceFile struct {
	Digest cityid.Digest
	File   cityid.Digest
}

// Application is an application that waits, or waited.
type Application struct {
	Number    int64  // in the order they came; for lists
	Reference string // "R-7KQ2M-9D0XJ"
	Apply     cityid.Apply
	Contact   []byte
	State     ApplicationState
	Proposal  uint64       // when it was brought
	Reason    string       // when it was declined
	Prepared  cityid.Bytes // the encoded transaction that is about to bring it; empty: none
	Received  time.Time
	Decided   time.Time // zero: it waits
}

// ParseReference returns a reference as it is written, of what somebody typed.
func ParseReference(typed string) (string, error) {
	s, err := foldSymbols(typed)
	if err != nil {
		return "", fmt.Errorf("reference: %w", err)
	}
	rest, ok := strings.CutPrefix(s, "R")
	if !ok || len(rest) != referenceSymbols {
		return "", fmt.Errorf("reference %.40q: want R and %d letters and digits: %w", typed, referenceSymbols, ErrInvalid)
	}
	return formatReference(rest), nil
}

func formatReference(s string) string { return "R-" + grouped(s, referenceSymbols/2) }

// Receive stores an application and returns its reference. The draft it was, if
// any, is emptied and from now on leads to the reference, so that an applicant
// whose connection broke finds it with the resume code. [ErrConflict] says that the
// draft has changed, or was handed in before; [ErrFull], that too many applications
// wait.
func (o *Office) Receive(ctx context.Context, s Submission) (reference string, err error) {
	if len(s.Apply.Evidence) > cityid.MaxEvidence || len(s.Contact) > maxContact {
		return "", fmt.Errorf("application: evidence or contact: %w", ErrTooLarge)
	}
	for i := range s.Evidence {
		if !slices.Contains(s.Apply.Evidence, s.Evidence[i].Digest) {
			return "", fmt.Errorf("application: it does not name evidence %s: %w", s.Evidence[i].Digest, ErrInvalid)
		}
	}
	if s.Apply.Allocation.Code.IsZero() {
		return "", fmt.Errorf("application: no code: %w", ErrInvalid)
	}
	reference = formatReference(randomSymbols(referenceSymbols))
	apply := cityid.MustMarshal(&s.Apply)
	if len(apply) > cityid.MaxTx {
		return "", fmt.Errorf("application of %d bytes: %w", len(apply), ErrTooLarge)
	}
	contact := []byte{}
	if len(s.Contact) > 0 {
		contact = enclose(o.key, s.Contact, whereContact(reference))
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		err := roomForOne(ctx, tx, o.opts.Waiting, "waiting applications", `SELECT count(*) FROM waiting WHERE state = ?`, ApplicationWaiting)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO waiting (reference, code, apply, contact, state, proposal, reason, prepared, received, decided)
			VALUES (?, ?, ?, ?, ?, 0, '', x'', ?, 0)`, reference, s.Apply.Allocation.Code.String(), apply, contact, ApplicationWaiting, ms(o.now()))
		if err != nil {
			return stored(err, "the reference")
		}
		for _, e := range s.Evidence {
			if err := o.insertEvidence(ctx, tx, e.Digest, "", e.File); err != nil {
				return err
			}
		}
		for _, d := range s.Deliveries {
			if _, err := o.insertDelivery(ctx, tx, d); err != nil {
				return err
			}
		}
		if s.Draft == "" {
			return nil
		}
		return o.handIn(ctx, tx, s.Draft, s.Revision, reference)
	})
	if err != nil {
		return "", fmt.Errorf("application: %w", err)
	}
	return reference, nil
}

func whereContact(reference string) []byte { return []byte("cityid/office-contact/1" + reference) }

const applicationQuery = `SELECT number, reference, apply, contact, state, proposal, reason, prepared, received, decided FROM waiting `

func (o *Office) scanApplication(row interface{ Scan(...any) error }) (a Application, err error) {
	var apply, contact, prepared []byte
	var proposal, received, decided int64
	err = row.Scan(&a.Number, &a.Reference, &apply, &contact, &a.State, &proposal, &a.Reason, &prepared, &received, &decided)
	if err != nil {
		return a, err
	}
	if err := cityid.Unmarshal(apply, &a.Apply); err != nil {
		return a, fmt.Errorf("application %s: %w: %w", a.Reference, ErrDamaged, err)
	}
	if len(contact) > 0 {
		if a.Contact, err = disclose(o.key, contact, whereContact(a.Reference)); err != nil {
			return a, fmt.Errorf("contact of application %s: %w", a.Reference, err)
		}
	}
	a.Proposal, a.Prepared, a.Received, a.Decided = uint64(proposal), prepared, at(received), at(decided)
	return a, nil
}

func (o *Office) application(ctx context.Context, q folder.Querier, reference string) (Application, error) {
	reference, err := ParseReference(reference)
	if err != nil {
		return Application{}, err
	}
	a, err := o.scanApplication(q.QueryRowContext(ctx, applicationQuery+`WHERE reference = ?`, reference))
	return a, found(err, "application")
}

// Application returns the application with a reference as somebody typed it, or
// [ErrNotFound], or [ErrInvalid] if it can not be one.
func (o *Office) Application(ctx context.Context, reference string) (Application, error) {
	return o.application(ctx, o.reads, reference)
}

// Applications lists the applications in a state (0: any) with a number above
// after, the oldest first, at most limit.
func (o *Office) Applications(ctx context.Context, state ApplicationState, after int64, limit int) ([]Application, error) {
	return folder.Collect(ctx, o.reads, o.scanApplication, applicationQuery+`WHERE (?1 = 0 OR state = ?1) AND number > ?2 ORDER BY number LIMIT ?3`, state, after, limit)
}

// Prepare remembers the encoded transaction that is about to bring a waiting
// application, before it is given to a node. After a crash the same transaction
// is given again, so that one application never becomes two proposals; a
// transaction that lapsed is replaced by preparing another.
func (o *Office) Prepare(ctx context.Context, reference string, raw []byte) error {
	if _, _, err := cityid.DecodeTx(raw); err != nil {
		return fmt.Errorf("transaction: %w: %w", ErrInvalid, err)
	}
	return o.changeApplication(ctx, reference, func(tx *sql.Tx, a Application) error {
		if a.State != ApplicationWaiting {
			return applicationConflict(a)
		}
		_, err := tx.ExecContext(ctx, `UPDATE waiting SET prepared = ? WHERE number = ?`, raw, a.Number)
		return err
	})
}

func applicationConflict(a Application) error {
	return fmt.Errorf("application %s is %v: %w", a.Reference, a.State, ErrConflict)
}

// Bring says that a waiting application is a proposal on the chain, and links its
// evidence to the proposal. Saying the same again is no error.
func (o *Office) Bring(ctx context.Context, reference string, proposal uint64) error {
	return o.changeApplication(ctx, reference, func(tx *sql.Tx, a Application) error {
		if a.State == ApplicationBrought && a.Proposal == proposal {
			return nil
		}
		if a.State != ApplicationWaiting {
			return applicationConflict(a)
		}
		if err := linkEvidence(ctx, tx, proposal, a.Apply.Evidence); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE waiting SET state = ?, proposal = ?, prepared = x'', decided = ? WHERE number = ?`,
			ApplicationBrought, int64(proposal), ms(o.now()), a.Number)
		return err
	})
}

// Decline ends a waiting application with a reason, which the applicant reads.
// One whose transaction is prepared may be on the chain already and is
// [ErrConflict], until [Office.Unprepare].
func (o *Office) Decline(ctx context.Context, reference, reason string) error {
	if strings.TrimSpace(reason) == "" || len(reason) > maxReason {
		return fmt.Errorf("a reason has 1 to %d bytes: %w", maxReason, ErrInvalid)
	}
	return o.changeApplication(ctx, reference, func(tx *sql.Tx, a Application) error {
		if a.State != ApplicationWaiting || len(a.Prepared) > 0 {
			return applicationConflict(a)
		}
		_, err := tx.ExecContext(ctx, `UPDATE waiting SET state = ?, reason = ?, decided = ? WHERE number = ?`,
			ApplicationDeclined, reason, ms(o.now()), a.Number)
		return err
	})
}

// Unprepare forgets the prepared transaction, once it is certain that no block
// has taken it or will.
func (o *Office) Unprepare(ctx context.Context, reference string) error {
	return o.changeApplication(ctx, reference, func(tx *sql.Tx, a Application) error {
		if a.State != ApplicationWaiting {
			return applicationConflict(a)
		}
		_, err := tx.ExecContext(ctx, `UPDATE waiting SET prepared = x'' WHERE number = ?`, a.Number)
		return err
	})
}

func (o *Office) changeApplication(ctx context.Context, reference string, f func(tx *sql.Tx, a Application) error) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		a, err := o.application(ctx, tx, reference)
		if err != nil {
			return err
		}
		return f(tx, a)
	})
}

// handIn empties a draft and lets it lead to the application it became, for the
// rest of a draft's life.
func (o *Office) handIn(ctx context.Context, tx *sql.Tx, resume string, revision uint64, reference string) error {
	k, err := openResume(resume)
	if err != nil {
		return err
	}
	d, _, err := o.draft(ctx, tx, k)
	if err != nil {
		return err
	}
	if d.Reference != "" {
		return fmt.Errorf("the draft was handed in as %s: %w", d.Reference, ErrConflict)
	}
	if err := atRevision(d, revision); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM draft_file WHERE draft = ?`, k.id[:])
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE draft SET content = x'', reference = ?, expires = ? WHERE id = ?`,
		reference, ms(o.now().Add(o.opts.DraftLife)), k.id[:])
	return err
}
