// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// MaxBag is the most bytes of a session's bag, encoded as JSON.
const MaxBag = 8 << 10

// Session is a visitor's, or a signed-in person's, stay at the portal.
type Session struct {
	ID      cityid.Digest     // names the session in lists; not the token
	Key     cityid.PublicKey  // who signed in; empty: a visitor
	Bag     map[string]string // whatever the portal keeps for it; never nil
	Created time.Time         // when it began: for a signed-in person, the sign-in
	Seen    time.Time         // when it was last used, to a twentieth of the idle time
	Expires time.Time         // when it ends unless it is used before
}

// Tokens are 32 random bytes in base64url. The id of a session is
// SHA-256("cityid/office-session/1" || token bytes), the key of its bag is
// HKDF of the token bytes for "cityid/office-bag/1".

type token struct {
	id  cityid.Digest
	bag [32]byte
}

func newToken() (string, token) {
	b := random(32)
	return base64.RawURLEncoding.EncodeToString(b), tokenOf(b)
}

func tokenOf(b []byte) token {
	return token{hashOf([]byte("cityid/office-session/1"), b), derive(b, "cityid/office-bag/1")}
}

func parseToken(s string) (token, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 32 {
		return token{}, fmt.Errorf("session: %w", ErrNotFound)
	}
	return tokenOf(b), nil
}

// NewSession begins a session and returns its token, for the browser alone. The
// key is empty for a visitor who has not signed in.
func (o *Office) NewSession(ctx context.Context, key cityid.PublicKey) (string, error) {
	text, t := newToken()
	err := o.write(ctx, func(tx *sql.Tx) error {
		if key == "" {
			if err := o.roomForVisitor(ctx, tx); err != nil {
				return err
			}
		}
		return o.insertSession(ctx, tx, t, key, map[string]string{})
	})
	if err != nil {
		return "", fmt.Errorf("new session: %w", err)
	}
	return text, nil
}

func (o *Office) insertSession(ctx context.Context, tx *sql.Tx, t token, key cityid.PublicKey, bag map[string]string) error {
	box, err := t.encloseBag(bag)
	if err != nil {
		return err
	}
	now := ms(o.now())
	_, err = tx.ExecContext(ctx, `INSERT INTO session (id, key, bag, created, seen) VALUES (?, ?, ?, ?, ?)`, t.id[:], []byte(key), box, now, now)
	return err
}

func (t token) encloseBag(bag map[string]string) ([]byte, error) {
	if bag == nil {
		bag = map[string]string{}
	}
	b, err := json.Marshal(bag)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBag {
		return nil, fmt.Errorf("the bag of a session has %d bytes, at most %d: %w", len(b), MaxBag, ErrTooLarge)
	}
	return enclose(t.bag, b, t.id[:]), nil
}

// Session returns the session of a token and counts as its use. The error is
// [ErrNotFound] or [ErrExpired].
func (o *Office) Session(ctx context.Context, text string) (Session, error) {
	t, err := parseToken(text)
	if err != nil {
		return Session{}, err
	}
	s, err := o.session(ctx, o.reads, t)
	if err != nil {
		return Session{}, err
	}
	now := o.now()
	if now.Sub(s.Seen) < o.opts.SessionIdle/20 {
		return s, nil
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE session SET seen = max(seen, ?) WHERE id = ?`, ms(now), t.id[:])
		return changed(r, err, fmt.Errorf("session: %w", ErrNotFound)) // it ended meanwhile
	})
	s.Seen = at(ms(now))
	return o.expiry(s), err
}

const sessionColumns = `id, key, bag, created, seen`

func scanSession(row interface{ Scan(...any) error }) (s Session, box []byte, err error) {
	var id, key []byte
	var created, seen int64
	if err := row.Scan(&id, &key, &box, &created, &seen); err != nil {
		return Session{}, nil, err
	}
	copy(s.ID[:], id)
	s.Key, s.Created, s.Seen = cityid.PublicKey(key), at(created), at(seen)
	return s, box, nil
}

// expiry sets when s ends.
func (o *Office) expiry(s Session) Session {
	s.Expires = s.Seen.Add(o.opts.SessionIdle)
	if end := s.Created.Add(o.opts.SessionLife); end.Before(s.Expires) {
		s.Expires = end
	}
	return s
}

// session reads a session that has not ended.
func (o *Office) session(ctx context.Context, q folder.Querier, t token) (Session, error) {
	s, box, err := scanSession(q.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM session WHERE id = ?`, t.id[:]))
	if err != nil {
		return Session{}, found(err, "session")
	}
	if s = o.expiry(s); !o.now().Before(s.Expires) {
		return Session{}, fmt.Errorf("session: %w", ErrExpired)
	}
	if subtle.ConstantTimeCompare(s.ID[:], t.id[:]) != 1 {
		return Session{}, fmt.Errorf("session: %w", ErrNotFound)
	}
	b, err := disclose(t.bag, box, t.id[:])
	if err == nil {
		err = json.Unmarshal(b, &s.Bag)
	}
	if err != nil {
		return Session{}, fmt.Errorf("bag of a session: %w", err)
	}
	return s, nil
}

// Rotate ends a session and begins another with its bag, for the key that has
// just signed in (or for nobody, when it is empty). A token that somebody planted
// or saw before the sign-in is then worth nothing. It returns the new token.
func (o *Office) Rotate(ctx context.Context, text string, key cityid.PublicKey) (string, error) {
	old, err := parseToken(text)
	if err != nil {
		return "", err
	}
	fresh, t := newToken()
	err = o.write(ctx, func(tx *sql.Tx) error {
		s, err := o.session(ctx, tx, old)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM session WHERE id = ?`, old.id[:]); err != nil {
			return err
		}
		return o.insertSession(ctx, tx, t, key, s.Bag)
	})
	if err != nil {
		return "", fmt.Errorf("rotate: %w", err)
	}
	return fresh, nil
}

// SetBag replaces what the portal keeps for a session, at most [MaxBag] bytes as
// JSON. It is encrypted under the token. The last of several writers wins.
func (o *Office) SetBag(ctx context.Context, text string, bag map[string]string) error {
	t, err := parseToken(text)
	if err != nil {
		return err
	}
	box, err := t.encloseBag(bag)
	if err != nil {
		return err
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		if _, err := o.session(ctx, tx, t); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE session SET bag = ? WHERE id = ?`, box, t.id[:])
		return err
	})
}

// EndSession ends a session. One that has ended is no error.
func (o *Office) EndSession(ctx context.Context, text string) error {
	t, err := parseToken(text)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE id = ?`, t.id[:])
		return err
	})
}

// Sessions lists the sessions of a key that have not ended, the last used
// first. Their bags are empty: only the token opens them.
func (o *Office) Sessions(ctx context.Context, key cityid.PublicKey) ([]Session, error) {
	if key == "" {
		return nil, fmt.Errorf("visitors' sessions can not be listed: %w", ErrInvalid)
	}
	now := o.now()
	return folder.Collect(ctx, o.reads, func(row interface{ Scan(...any) error }) (Session, error) {
		s, _, err := scanSession(row)
		s.Bag = map[string]string{}
		return o.expiry(s), err
	}, `SELECT `+sessionColumns+` FROM session WHERE key = ? AND seen > ? AND created > ? ORDER BY seen DESC, id`,
		[]byte(key), ms(now.Add(-o.opts.SessionIdle)), ms(now.Add(-o.opts.SessionLife)))
}

// EndSessions ends the sessions of a key: all of them, or those with the given
// ids. It returns how many there were.
func (o *Office) EndSessions(ctx context.Context, key cityid.PublicKey, ids ...cityid.Digest) (n int, err error) {
	if key == "" {
		return 0, fmt.Errorf("visitors' sessions can not be ended together: %w", ErrInvalid)
	}
	query, args := `DELETE FROM session WHERE key = ?`, []any{[]byte(key)}
	if len(ids) > 0 {
		query += ` AND id IN (?` + strings.Repeat(`, ?`, len(ids)-1) + `)`
		for _, id := range ids {
			args = append(args, id[:])
		}
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		n, err = folder.Count(tx.ExecContext(ctx, query, args...))
		return err
	})
	return n, err
}
