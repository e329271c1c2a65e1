// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// A draft is an application that somebody without an account is still writing.
// Only its resume code opens it: 26 random symbols (130 bits) and two that find
// slips of the pen, in groups of four:
//
//	K7QW-2M9D-0XJ4-TB8N-6R3H-VYC5-GZ1P
//
// Read as base-32 digits, the 26 symbols modulo 1021 give the two. With secret
// the 26 symbols in ASCII,
//
//	id  = SHA-256("cityid/draft-id/1" || secret)
//	key = HKDF-SHA256(secret, no salt, info "cityid/draft-key/1")
//
// and the database holds the id and boxes under the key (see secret.go): the
// content with the additional data id || revision (8 bytes, big endian), each
// attachment with "cityid/draft-file/1" || id. Who has the folder but no code can
// neither read a draft nor tell whose it is; who guesses codes meets 2^130 of
// them. Callers limit attempts all the same.

// Limits on drafts.
const (
	MaxDraft       = 256 << 10          // bytes of content
	MaxAttachments = cityid.MaxEvidence // files of a draft

	secretSymbols = 26
	checkPrime    = 1021 // the largest prime below 32²
)

// Draft is an application being written.
type Draft struct {
	Revision    uint64          // 1 when it is new
	Content     []byte          // whatever the portal saved; empty once handed in
	Attachments []cityid.Digest // names of attachments, in the order they came
	Reference   string          // of the application it was handed in as; empty: not yet
	Created     time.Time
	Saved       time.Time
	Expires     time.Time
}

type draftKey struct {
	id  cityid.Digest
	key [32]byte
}

func (k draftKey) where(revision uint64) []byte {
	return binary.BigEndian.AppendUint64(k.id[:], revision)
}

func (k draftKey) whereFile() []byte { return append([]byte("cityid/draft-file/1"), k.id[:]...) }

func checkSymbols(secret string) string {
	n := 0
	for i := range len(secret) {
		n = (n*32 + strings.IndexByte(symbols, secret[i])) % checkPrime
	}
	return string([]byte{symbols[n/32], symbols[n%32]})
}

// FormatResume returns a resume code as it is shown, of what somebody typed. It
// returns [ErrInvalid], which says that it is mistyped, unless it could be one.
func FormatResume(typed string) (string, error) {
	secret, err := parseResume(typed)
	if err != nil {
		return "", err
	}
	return grouped(secret+checkSymbols(secret), 4), nil
}

func parseResume(typed string) (secret string, err error) {
	s, err := foldSymbols(typed)
	if err != nil {
		return "", fmt.Errorf("resume code: %w", err)
	}
	if len(s) != secretSymbols+2 {
		return "", fmt.Errorf("resume code: %d letters and digits, want %d: %w", len(s), secretSymbols+2, ErrInvalid)
	}
	if secret = s[:secretSymbols]; checkSymbols(secret) != s[secretSymbols:] {
		return "", fmt.Errorf("resume code: mistyped: %w", ErrInvalid)
	}
	return secret, nil
}

func openResume(typed string) (draftKey, error) {
	secret, err := parseResume(typed)
	if err != nil {
		return draftKey{}, err
	}
	return draftKeyOf(secret), nil
}

func draftKeyOf(secret string) draftKey {
	return draftKey{hashOf([]byte("cityid/draft-id/1"), []byte(secret)), derive([]byte(secret), "cityid/draft-key/1")}
}

// NewDraft stores a draft and returns its resume code, which nobody can find out
// again. [ErrFull] says that there are too many.
func (o *Office) NewDraft(ctx context.Context, content []byte) (resume string, err error) {
	if len(content) > MaxDraft {
		return "", draftTooLarge(content)
	}
	secret := randomSymbols(secretSymbols)
	k, now := draftKeyOf(secret), o.now()
	err = o.write(ctx, func(tx *sql.Tx) error {
		if err := roomForOne(ctx, tx, o.opts.Drafts, "drafts", `SELECT count(*) FROM draft`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO draft (id, revision, content, reference, created, saved, expires) VALUES (?, 1, ?, '', ?, ?, ?)`,
			k.id[:], enclose(k.key, content, k.where(1)), ms(now), ms(now), ms(now.Add(o.opts.DraftLife)))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("new draft: %w", err)
	}
	return FormatResume(secret + checkSymbols(secret))
}

func draftTooLarge(content []byte) error {
	return fmt.Errorf("a draft of %d bytes, at most %d: %w", len(content), MaxDraft, ErrTooLarge)
}

// Draft opens a draft. The error is [ErrInvalid] for a mistyped code,
// [ErrNotFound] or [ErrExpired].
func (o *Office) Draft(ctx context.Context, resume string) (d Draft, err error) {
	k, err := openResume(resume)
	if err != nil {
		return d, err
	}
	tx, err := o.reads.BeginTx(ctx, nil) // so that content and attachments belong together
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	d, box, err := o.draft(ctx, tx, k)
	if err != nil || d.Reference != "" {
		return d, err
	}
	if d.Content, err = disclose(k.key, box, k.where(d.Revision)); err != nil {
		return Draft{}, fmt.Errorf("draft: %w", err)
	}
	d.Attachments, err = folder.Collect(ctx, tx, scanDigest, `SELECT file FROM draft_file WHERE draft = ? ORDER BY added, file`, k.id[:])
	return d, err
}

func scanDigest(row interface{ Scan(...any) error }) (d cityid.Digest, err error) {
	var b []byte
	err = row.Scan(&b)
	copy(d[:], b)
	return d, err
}

// draft reads a draft that has not expired, and the box of its content.
func (o *Office) draft(ctx context.Context, q folder.Querier, k draftKey) (d Draft, box []byte, err error) {
	var created, saved, expires int64
	err = q.QueryRowContext(ctx, `SELECT revision, content, reference, created, saved, expires FROM draft WHERE id = ?`, k.id[:]).
		Scan(&d.Revision, &box, &d.Reference, &created, &saved, &expires)
	if err != nil {
		return Draft{}, nil, found(err, "draft")
	}
	d.Created, d.Saved, d.Expires = at(created), at(saved), at(expires)
	if !o.now().Before(d.Expires) {
		return Draft{}, nil, fmt.Errorf("draft: %w", ErrExpired)
	}
	return d, box, nil
}

// changeDraft runs f in a transaction with a draft that was not handed in.
func (o *Office) changeDraft(ctx context.Context, resume string, f func(tx *sql.Tx, k draftKey, d Draft) error) error {
	k, err := openResume(resume)
	if err != nil {
		return err
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		d, _, err := o.draft(ctx, tx, k)
		if err != nil {
			return err
		}
		if d.Reference != "" {
			return fmt.Errorf("the draft was handed in as %s: %w", d.Reference, ErrConflict)
		}
		return f(tx, k, d)
	})
}

// SaveDraft replaces the content of a draft at the given revision, and its life
// begins anew. It returns the new revision, or [ErrConflict] if somebody has
// saved it since (in another window) or it was handed in.
func (o *Office) SaveDraft(ctx context.Context, resume string, revision uint64, content []byte) (uint64, error) {
	if len(content) > MaxDraft {
		return 0, draftTooLarge(content)
	}
	next := revision + 1
	err := o.changeDraft(ctx, resume, func(tx *sql.Tx, k draftKey, d Draft) error {
		if err := atRevision(d, revision); err != nil {
			return err
		}
		now := o.now()
		_, err := tx.ExecContext(ctx, `UPDATE draft SET revision = ?, content = ?, saved = ?, expires = ? WHERE id = ?`,
			next, enclose(k.key, content, k.where(next)), ms(now), ms(now.Add(o.opts.DraftLife)), k.id[:])
		return err
	})
	if err != nil {
		return 0, err
	}
	return next, nil
}

func atRevision(d Draft, revision uint64) error {
	if d.Revision != revision {
		return fmt.Errorf("the draft is at revision %d, not %d: %w", d.Revision, revision, ErrConflict)
	}
	return nil
}

// DeleteDraft removes a draft and its attachments. A draft that was handed in
// loses only the way from its resume code to the reference.
func (o *Office) DeleteDraft(ctx context.Context, resume string) error {
	k, err := openResume(resume)
	if err != nil {
		return err
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM draft WHERE id = ?`, k.id[:])
		return changed(r, err, fmt.Errorf("draft: %w", ErrNotFound))
	})
}

// Attach adds a document to a draft, encrypted under its resume code, and
// returns the attachment's name. A document without salt is given one, so that
// its digest on the chain is settled from now on. The revision stays. [ErrFull] says
// that strangers' documents take all the room they may.
func (o *Office) Attach(ctx context.Context, resume string, doc EvidenceDocument) (cityid.Digest, error) {
	k, err := openResume(resume)
	if err != nil {
		return cityid.Digest{}, err
	}
	plain, _, err := encodeEvidence(doc)
	if err != nil {
		return cityid.Digest{}, err
	}
	if _, _, err := o.draft(ctx, o.reads, k); err != nil { // before megabytes are written for a stranger
		return cityid.Digest{}, err
	}
	box := enclose(k.key, plain, k.whereFile())
	if err := o.roomFor(ctx, o.reads, int64(len(box))); err != nil {
		return cityid.Digest{}, err
	}
	file, err := o.PutBytes(ctx, box)
	if err != nil {
		return cityid.Digest{}, err
	}
	err = o.changeDraft(ctx, resume, func(tx *sql.Tx, k draftKey, d Draft) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM draft_file WHERE draft = ?`, k.id[:]).Scan(&n); err != nil {
			return err
		}
		if n >= MaxAttachments {
			return fmt.Errorf("a draft has at most %d attachments: %w", MaxAttachments, ErrTooLarge)
		}
		if err := o.roomFor(ctx, tx, int64(len(box))); err != nil { // others may have come meanwhile
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO draft_file (draft, file, added) VALUES (?, ?, ?)`, k.id[:], file[:], ms(o.now()))
		return stored(err, "the attachment")
	})
	return file, err
}

// Attachment returns an attachment of a draft.
func (o *Office) Attachment(ctx context.Context, resume string, name cityid.Digest) (doc EvidenceDocument, err error) {
	k, err := openResume(resume)
	if err != nil {
		return doc, err
	}
	if _, _, err := o.draft(ctx, o.reads, k); err != nil {
		return doc, err
	}
	var one int
	err = o.reads.QueryRowContext(ctx, `SELECT 1 FROM draft_file WHERE draft = ? AND file = ?`, k.id[:], name[:]).Scan(&one)
	if err != nil {
		return doc, found(err, "attachment")
	}
	box, err := o.ReadFile(ctx, name, MaxEnvelope)
	if err != nil {
		return doc, err
	}
	plain, err := disclose(k.key, box, k.whereFile())
	if err != nil {
		return doc, fmt.Errorf("attachment: %w", err)
	}
	doc, _, err = decodeEvidence(plain)
	return doc, err
}

// Detach removes an attachment of a draft.
func (o *Office) Detach(ctx context.Context, resume string, name cityid.Digest) error {
	return o.changeDraft(ctx, resume, func(tx *sql.Tx, k draftKey, _ Draft) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM draft_file WHERE draft = ? AND file = ?`, k.id[:], name[:])
		return changed(r, err, fmt.Errorf("attachment: %w", ErrNotFound))
	})
}
