// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cityid/internal/durable/folder"
)

// Whoever comes to the portal leaves something here before anybody knows who it
// is: a session, a passkey, a signing request, a draft, documents, an application, a
// report. Callers limit how often one address may; since addresses are many, there
// are bounds on all of it together, so that strangers can not fill the disk. What is
// beyond them is refused with [ErrFull], but for three that give way: the sessions of
// visitors who were away longest, those first who have begun nothing; the oldest of
// the passkeys that were never used; and the oldest requests that nobody has signed.

// ErrFull says that strangers have left here all that they may.
var ErrFull = errors.New("no room")

const (
	giveWay  = 100 // of what gives way, one in so many does at once
	emptyBag = boxOverhead + len(`{}`)
)

// unlinkedKept is how long documents are kept that no proposal names, since their
// application never came onto the chain.
const unlinkedKept = 180 * 24 * time.Hour

// strangers are the documents that no proposal names: of drafts, and of what was
// handed in.
const strangers = `(SELECT f.size FROM draft_file AS d JOIN file AS f ON f.digest = d.file
	UNION ALL SELECT e.size FROM evidence AS e WHERE e.source = '' AND NOT EXISTS (SELECT 1 FROM evidence_proposal AS p WHERE p.digest = e.digest))`

var unlinkedSweep = fmt.Sprintf(`DELETE FROM evidence WHERE source = '' AND received + %d <= ?1
	AND NOT EXISTS (SELECT 1 FROM evidence_proposal AS p WHERE p.digest = evidence.digest)`, unlinkedKept.Milliseconds())

// roomFor refuses size more bytes of strangers' documents if they do not fit.
func (o *Office) roomFor(ctx context.Context, q folder.Querier, size int64) error {
	var used int64
	if err := q.QueryRowContext(ctx, `SELECT coalesce(sum(size), 0) FROM `+strangers).Scan(&used); err != nil {
		return err
	}
	if used+size > o.opts.DraftSpace {
		return fmt.Errorf("documents that no proposal names take %d of %d bytes: %w", used, o.opts.DraftSpace, ErrFull)
	}
	return nil
}

// roomForOne refuses one more of what a query counts, beyond most.
func roomForOne(ctx context.Context, q folder.Querier, most int, what, query string, args ...any) error {
	var n int
	if err := q.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return fmt.Errorf("there are %d %s already: %w", n, what, ErrFull)
	}
	return nil
}

// roomForVisitor lets sessions of visitors give way if there are too many.
func (o *Office) roomForVisitor(ctx context.Context, tx *sql.Tx) error {
	err := roomForOne(ctx, tx, o.opts.Visitors, "visitors", `SELECT count(*) FROM session WHERE key = x''`)
	if !errors.Is(err, ErrFull) {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM session WHERE id IN
		(SELECT id FROM session WHERE key = x'' ORDER BY length(bag) > ?, seen LIMIT ?)`, emptyBag, max(1, o.opts.Visitors/giveWay))
	return err
}

// roomForPasskey forgets passkeys that were never used if there are too many.
func (o *Office) roomForPasskey(ctx context.Context, tx *sql.Tx) error {
	err := roomForOne(ctx, tx, o.opts.Passkeys, "unused passkeys", `SELECT count(*) FROM passkey WHERE used = 0`)
	if !errors.Is(err, ErrFull) {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM passkey WHERE credential IN
		(SELECT credential FROM passkey WHERE used = 0 ORDER BY created, credential LIMIT ?)`, max(1, o.opts.Passkeys/giveWay))
	return err
}

// roomForSigning forgets open requests that nobody has signed if there are too
// many requests.
func (o *Office) roomForSigning(ctx context.Context, tx *sql.Tx) error {
	err := roomForOne(ctx, tx, o.opts.Signings, "signing requests", `SELECT count(*) FROM signing`)
	if !errors.Is(err, ErrFull) {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM signing WHERE id IN (SELECT id FROM signing AS s WHERE state = ?
		AND NOT EXISTS (SELECT 1 FROM signing_signature AS x WHERE x.signing = s.id) ORDER BY created, id LIMIT ?)`,
		SigningOpen, max(1, o.opts.Signings/giveWay))
	return err
}
