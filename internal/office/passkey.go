// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/keys"
)

// Limits on passkeys.
const (
	MaxCredential = 1023 // bytes of a credential id (WebAuthn)
	MaxPerson     = 64   // bytes of a user handle (WebAuthn)
	MaxPasskeys   = 32   // of one person
)

// Passkey is a credential that a browser made for a person, and the public key
// that stands for it on the chain.
type Passkey struct {
	Credential []byte           // id, 1 to [MaxCredential] bytes
	Key        cityid.PublicKey // webauthn-p256
	Person     []byte           // user handle, 1 to [MaxPerson] bytes; all passkeys of one person have the same
	Name       string           // what the person calls it; may be empty
	RPID       string           // the host name it works for; the key says it
	Created    time.Time
	Used       time.Time // zero: never
}

// NewPerson returns a user handle for somebody without a passkey so far.
func NewPerson() []byte { return random(32) }

// AddPasskey stores a passkey. RPID, Created and Used are set by the office. It
// returns [ErrConflict] if the credential or the key is known, and [ErrTooLarge]
// if the person has [MaxPasskeys].
func (o *Office) AddPasskey(ctx context.Context, p Passkey) error {
	key, err := keys.ParsePublic([]byte(p.Key))
	switch {
	case err != nil:
		return fmt.Errorf("passkey: %w: %w", ErrInvalid, err)
	case key.Algorithm() != keys.WebAuthnP256:
		return fmt.Errorf("passkey: a key of %v is none: %w", key.Algorithm(), ErrInvalid)
	case len(p.Credential) < 1 || len(p.Credential) > MaxCredential:
		return fmt.Errorf("passkey: a credential id of %d bytes, want 1 to %d: %w", len(p.Credential), MaxCredential, ErrInvalid)
	case len(p.Person) < 1 || len(p.Person) > MaxPerson:
		return fmt.Errorf("passkey: a user handle of %d bytes, want 1 to %d: %w", len(p.Person), MaxPerson, ErrInvalid)
	}
	if err := checkName("the name of a passkey", p.Name); err != nil {
		return err
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM passkey WHERE person = ?`, p.Person).Scan(&n); err != nil {
			return err
		}
		if n >= MaxPasskeys {
			return fmt.Errorf("a person has at most %d passkeys: %w", MaxPasskeys, ErrTooLarge)
		}
		if err := o.roomForPasskey(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO passkey (credential, key, person, name, rp, created, used) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			p.Credential, []byte(p.Key), p.Person, p.Name, key.RPID(), ms(o.now()))
		return stored(err, "the passkey")
	})
}

// checkName accepts a text for people that may be empty.
func checkName(what, s string) error {
	if err := cityid.CheckText(what, s, false); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

const passkeyQuery = `SELECT credential, key, person, name, rp, created, used FROM passkey `

func scanPasskey(row interface{ Scan(...any) error }) (p Passkey, err error) {
	var key []byte
	var created, used int64
	err = row.Scan(&p.Credential, &key, &p.Person, &p.Name, &p.RPID, &created, &used)
	p.Key, p.Created, p.Used = cityid.PublicKey(key), at(created), at(used)
	return p, err
}

// PasskeyByCredential returns the passkey with a credential id, or [ErrNotFound].
func (o *Office) PasskeyByCredential(ctx context.Context, credential []byte) (Passkey, error) {
	p, err := scanPasskey(o.reads.QueryRowContext(ctx, passkeyQuery+`WHERE credential = ?`, bytes.Clone(credential)))
	return p, found(err, "passkey")
}

// PasskeyByKey returns the passkey with a public key, or [ErrNotFound].
func (o *Office) PasskeyByKey(ctx context.Context, key cityid.PublicKey) (Passkey, error) {
	p, err := scanPasskey(o.reads.QueryRowContext(ctx, passkeyQuery+`WHERE key = ?`, []byte(key)))
	return p, found(err, "passkey")
}

// PasskeysOf lists a person's passkeys, the oldest first.
func (o *Office) PasskeysOf(ctx context.Context, person []byte) ([]Passkey, error) {
	return folder.Collect(ctx, o.reads, scanPasskey, passkeyQuery+`WHERE person = ? ORDER BY created, credential`, person)
}

// TouchPasskey remembers that a passkey was used now.
func (o *Office) TouchPasskey(ctx context.Context, credential []byte) error {
	return o.updatePasskey(ctx, `UPDATE passkey SET used = ? WHERE credential = ?`, ms(o.now()), credential)
}

// RenamePasskey gives a passkey of a person another name.
func (o *Office) RenamePasskey(ctx context.Context, person, credential []byte, name string) error {
	if err := checkName("the name of a passkey", name); err != nil {
		return err
	}
	return o.updatePasskey(ctx, `UPDATE passkey SET name = ? WHERE credential = ? AND person = ?`, name, credential, person)
}

// RemovePasskey forgets a passkey of a person. The key stays in the policies
// that name it.
func (o *Office) RemovePasskey(ctx context.Context, person, credential []byte) error {
	return o.updatePasskey(ctx, `DELETE FROM passkey WHERE credential = ? AND person = ?`, credential, person)
}

func (o *Office) updatePasskey(ctx context.Context, statement string, args ...any) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, statement, args...)
		return changed(r, err, fmt.Errorf("passkey: %w", ErrNotFound))
	})
}
