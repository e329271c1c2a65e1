// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	challengeLife = 5 * time.Minute
	maxChallenges = 16 // that one session may have open; the oldest give way
)

// NewChallenge returns 32 random bytes for a passkey or key to sign within five
// minutes, for one purpose (a short text such as "sign-in") and one session.
func (o *Office) NewChallenge(ctx context.Context, session, purpose string) ([32]byte, error) {
	t, err := parseToken(session)
	if err != nil {
		return [32]byte{}, err
	}
	challenge := [32]byte(random(32))
	id := challengeID(challenge[:])
	err = o.write(ctx, func(tx *sql.Tx) error {
		if _, err := o.session(ctx, tx, t); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM challenge WHERE session = ?1 AND id NOT IN
			(SELECT id FROM challenge WHERE session = ?1 ORDER BY expires DESC, id LIMIT ?2)`, t.id[:], maxChallenges-1)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO challenge (id, session, purpose, expires) VALUES (?, ?, ?, ?)`,
			id[:], t.id[:], purpose, ms(o.now().Add(challengeLife)))
		return err
	})
	if err != nil {
		return [32]byte{}, fmt.Errorf("new challenge: %w", err)
	}
	return challenge, nil
}

// UseChallenge uses a challenge up: of any number of calls at most one returns
// nil. It returns [ErrNotFound] for one that was used, or was made for another
// session or purpose (and is then left alone), and [ErrExpired] for one that is
// too old. The session may not have ended. Call it before looking at the
// signature, and refuse the signature if it fails.
func (o *Office) UseChallenge(ctx context.Context, session, purpose string, challenge []byte) error {
	t, err := parseToken(session)
	if err != nil {
		return err
	}
	id := challengeID(challenge)
	var expires int64
	err = o.write(ctx, func(tx *sql.Tx) error {
		if _, err := o.session(ctx, tx, t); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `DELETE FROM challenge WHERE id = ? AND session = ? AND purpose = ? RETURNING expires`,
			id[:], t.id[:], purpose).Scan(&expires)
		return found(err, "challenge")
	})
	if err != nil {
		return err
	}
	if ms(o.now()) >= expires {
		return fmt.Errorf("challenge: %w", ErrExpired)
	}
	return nil
}

func challengeID(challenge []byte) [32]byte {
	return hashOf([]byte("cityid/office-challenge/1"), challenge)
}
