// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

func whereSealed(code cityid.Code, digest cityid.Digest) []byte {
	return append([]byte("cityid/office-sealed/1"+code.String()), digest[:]...)
}

// PutSealed keeps contents, all or none, encrypted under office.key. A code may
// have several, of different revisions; one that is there already is no error.
func (o *Office) PutSealed(ctx context.Context, list ...cityid.SealedContent) error {
	err := o.write(ctx, func(tx *sql.Tx) error {
		for i := range list {
			s := &list[i]
			if s.Code.IsZero() || s.Salt.IsZero() {
				return fmt.Errorf("sealed content %d: no code, or no salt: %w", i, ErrInvalid)
			}
			plain, err := json.Marshal(s)
			if err != nil {
				return err
			}
			d := s.Digest()
			_, err = tx.ExecContext(ctx, `INSERT INTO sealed (code, digest, box, stored) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				s.Code.String(), d[:], enclose(o.key, plain, whereSealed(s.Code, d)), ms(o.now()))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put sealed: %w", err)
	}
	return nil
}

// Sealed returns the content of a code with the digest its record shows.
func (o *Office) Sealed(ctx context.Context, code cityid.Code, digest cityid.Digest) (cityid.SealedContent, error) {
	var box []byte
	err := o.reads.QueryRowContext(ctx, `SELECT box FROM sealed WHERE code = ? AND digest = ?`, code.String(), digest[:]).Scan(&box)
	if err != nil {
		return cityid.SealedContent{}, found(err, "sealed content of "+code.String())
	}
	var s cityid.SealedContent
	plain, err := disclose(o.key, box, whereSealed(code, digest))
	if err == nil {
		err = json.Unmarshal(plain, &s)
	}
	if err == nil && (s.Code != code || s.Digest() != digest) {
		err = ErrDamaged
	}
	if err != nil {
		return cityid.SealedContent{}, fmt.Errorf("sealed content of %v: %w", code, err)
	}
	return s, nil
}

// SealedEntry says that a content is kept, without opening it.
type SealedEntry struct {
	Code   cityid.Code
	Digest cityid.Digest
	Stored time.Time
}

// SealedList lists what is kept, in order of code, after a code (zero: from the
// first), with all digests of each code; at most limit entries, and more only to
// complete the last code.
func (o *Office) SealedList(ctx context.Context, after cityid.Code, limit int) ([]SealedEntry, error) {
	text := ""
	if !after.IsZero() {
		text = after.String()
	}
	return folder.Collect(ctx, o.reads, func(row interface{ Scan(...any) error }) (e SealedEntry, err error) {
		var code string
		var digest []byte
		var stored int64
		if err := row.Scan(&code, &digest, &stored); err != nil {
			return e, err
		}
		copy(e.Digest[:], digest)
		e.Stored = at(stored)
		e.Code, err = cityid.Parse(code)
		return e, err
	}, `SELECT code, digest, stored FROM sealed WHERE code > ?1 AND code <=
		coalesce((SELECT code FROM sealed WHERE code > ?1 ORDER BY code, digest LIMIT 1 OFFSET ?2), (SELECT max(code) FROM sealed))
		ORDER BY code, stored, digest`, text, max(limit, 1)-1)
}
