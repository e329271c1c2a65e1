// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// maxSources is how many sources may have handed over an envelope for one digest.
const maxSources = 16

// Evidence is an envelope the office keeps. It can not be opened here, so that
// it is what its digest says is not known; each source has its own place for a
// digest, and can not put out what another has handed over.
type Evidence struct {
	Digest   cityid.Digest // as it stands on the chain
	Source   string        // who handed it over, such as an institution's code; empty: the applicant, at this portal
	File     cityid.Digest // the envelope: [Office.ReadFile] with [MaxEnvelope]
	Size     int64         // bytes of the envelope
	Received time.Time
}

// StoreEvidence keeps an envelope under the digest its document has on the
// chain. The same source's earlier envelope for the digest is replaced.
func (o *Office) StoreEvidence(ctx context.Context, digest cityid.Digest, source string, envelope []byte) error {
	if len(envelope) > MaxEnvelope {
		return fmt.Errorf("an envelope of %d bytes, at most %d: %w", len(envelope), MaxEnvelope, ErrTooLarge)
	}
	if err := checkName("the source of evidence", source); err != nil {
		return err
	}
	if digest.IsZero() {
		return fmt.Errorf("evidence without digest: %w", ErrInvalid)
	}
	file, err := o.PutBytes(ctx, envelope)
	if err != nil {
		return err
	}
	return o.write(ctx, func(tx *sql.Tx) error { return o.insertEvidence(ctx, tx, digest, source, file) })
}

func (o *Office) insertEvidence(ctx context.Context, tx *sql.Tx, digest cityid.Digest, source string, file cityid.Digest) error {
	var others int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM evidence WHERE digest = ? AND source <> ?`, digest[:], source).Scan(&others)
	if err != nil {
		return err
	}
	if others >= maxSources {
		return fmt.Errorf("evidence %s has %d sources: %w", digest, others, ErrTooLarge)
	}
	r, err := tx.ExecContext(ctx, `INSERT INTO evidence (digest, source, file, size, received) SELECT ?, ?, digest, size, ? FROM file WHERE digest = ?
		ON CONFLICT (digest, source) DO UPDATE SET file = excluded.file, size = excluded.size, received = excluded.received`,
		digest[:], source, ms(o.now()), file[:])
	return changed(r, err, fmt.Errorf("file %s: %w", file, ErrNotFound))
}

// EvidenceByDigest lists the envelopes for a digest, the applicant's first, then
// by source. It is empty if there is none.
func (o *Office) EvidenceByDigest(ctx context.Context, digest cityid.Digest) ([]Evidence, error) {
	return folder.Collect(ctx, o.reads, scanEvidence, evidenceQuery+`WHERE e.digest = ? ORDER BY e.source`, digest[:])
}

// EvidenceOf lists the envelopes for a proposal, in the order of its digests.
// Digests without an envelope are left out: [Office.MissingEvidence] has them.
func (o *Office) EvidenceOf(ctx context.Context, proposal uint64) ([]Evidence, error) {
	return folder.Collect(ctx, o.reads, scanEvidence, evidenceQuery+`JOIN evidence_proposal AS p ON p.digest = e.digest
		WHERE p.proposal = ? ORDER BY p.position, e.source`, int64(proposal))
}

const evidenceQuery = `SELECT e.digest, e.source, e.file, e.size, e.received FROM evidence AS e `

func scanEvidence(row interface{ Scan(...any) error }) (e Evidence, err error) {
	var digest, file []byte
	var received int64
	err = row.Scan(&digest, &e.Source, &file, &e.Size, &received)
	copy(e.Digest[:], digest)
	copy(e.File[:], file)
	e.Received = at(received)
	return e, err
}

// LinkEvidence remembers which digests a proposal names, in their order. Digests
// that it had before and no longer names are kept. The envelopes may come later.
func (o *Office) LinkEvidence(ctx context.Context, proposal uint64, digests []cityid.Digest) error {
	return o.write(ctx, func(tx *sql.Tx) error { return linkEvidence(ctx, tx, proposal, digests) })
}

func linkEvidence(ctx context.Context, tx *sql.Tx, proposal uint64, digests []cityid.Digest) error {
	if proposal == 0 || int64(proposal) < 0 {
		return fmt.Errorf("proposal %d: %w", proposal, ErrInvalid)
	}
	for i, d := range digests {
		_, err := tx.ExecContext(ctx, `INSERT INTO evidence_proposal (proposal, position, digest) VALUES (?, ?, ?)
			ON CONFLICT (proposal, digest) DO UPDATE SET position = excluded.position`, int64(proposal), i, d[:])
		if err != nil {
			return err
		}
	}
	return nil
}

// MissingEvidence lists the digests of a proposal for which no envelope is here.
func (o *Office) MissingEvidence(ctx context.Context, proposal uint64) ([]cityid.Digest, error) {
	return folder.Collect(ctx, o.reads, scanDigest, `SELECT p.digest FROM evidence_proposal AS p WHERE p.proposal = ?
		AND NOT EXISTS (SELECT 1 FROM evidence AS e WHERE e.digest = p.digest) ORDER BY p.position`, int64(proposal))
}

// DropEvidence removes all envelopes for a digest, when the institution's rules
// on keeping records say so, and returns how many there were.
func (o *Office) DropEvidence(ctx context.Context, digest cityid.Digest) (n int, err error) {
	err = o.write(ctx, func(tx *sql.Tx) error {
		n, err = folder.Count(tx.ExecContext(ctx, `DELETE FROM evidence WHERE digest = ?`, digest[:]))
		return err
	})
	return n, err
}
