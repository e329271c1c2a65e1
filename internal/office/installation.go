// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// InstallationEvent is what a field worker did to a label, or found.
type InstallationEvent uint8

// The events.
const (
	LabelInstalled InstallationEvent = 1
	LabelDamaged   InstallationEvent = 2
	LabelReplaced  InstallationEvent = 3
	LabelRemoved   InstallationEvent = 4
)

var installationEvents = [...]string{LabelInstalled: "installed", LabelDamaged: "damaged", LabelReplaced: "replaced", LabelRemoved: "removed"}

// String returns the event's name.
func (e InstallationEvent) String() string {
	if e > 0 && int(e) < len(installationEvents) {
		return installationEvents[e]
	}
	return fmt.Sprintf("event-%d", uint8(e))
}

// ParseInstallationEvent parses a name that String returns.
func ParseInstallationEvent(s string) (InstallationEvent, error) {
	for e, name := range installationEvents {
		if e > 0 && name == s {
			return InstallationEvent(e), nil
		}
	}
	return 0, fmt.Errorf("event %.40q: want installed, damaged, replaced or removed: %w", s, ErrInvalid)
}

// Installation is one entry of the installation log.
type Installation struct {
	Seq       int64  // in the order received, from 1
	ID        string // 32 hexadecimal digits, made by whoever noted it
	Digest    cityid.Digest
	Code      cityid.Code
	Holder    cityid.Code
	Event     InstallationEvent
	Noted     time.Time // by the clock of whoever noted it
	Received  time.Time
	Creator   cityid.PublicKey
	Location  *cityid.Location // nil: not known
	Accuracy  int              // of Location in metres; 0: not said
	Note      string
	Photo     cityid.Digest // of a file; zero: none
	Statement int64         // the statement that lists it; 0: none yet
}

// MaxNote is how many bytes the note of an installation may have.
const MaxNote = 200

var installationID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// AddInstallation stores an entry once, and reports whether it was new: the same
// entry again, by the digest of what was sent and the same creator, is no error
// and changes nothing; another one under the same id is [ErrConflict]. Seq,
// Received and Statement are not the caller's.
func (o *Office) AddInstallation(ctx context.Context, e Installation) (added bool, err error) {
	switch {
	case !installationID.MatchString(e.ID) || e.Code.IsZero() || e.Holder.IsZero() || e.Creator == "" || e.Digest.IsZero() || e.Noted.IsZero():
		return false, fmt.Errorf("an installation has an id of 32 hexadecimal digits, a digest, a code, its holder, a time and a creator: %w", ErrInvalid)
	case len(e.Note) > MaxNote || e.Accuracy < 0:
		return false, fmt.Errorf("the note has %d bytes, at most %d: %w", len(e.Note), MaxNote, ErrTooLarge)
	}
	if _, err := ParseInstallationEvent(e.Event.String()); err != nil {
		return false, err
	}
	if err := cityid.CheckText("the note", e.Note, false); err != nil {
		return false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	located, at := 0, cityid.Location{}
	if e.Location != nil {
		located, at = 1, *e.Location
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		added = false
		var digest, creator []byte
		err := tx.QueryRowContext(ctx, `SELECT digest, creator FROM installation WHERE id = ?`, e.ID).Scan(&digest, &creator)
		if err == nil {
			if string(digest) != string(e.Digest[:]) || string(creator) != string(e.Creator) {
				return fmt.Errorf("another entry has the id %s: %w", e.ID, ErrConflict)
			}
			return nil
		}
		if err != sql.ErrNoRows {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO installation (id, digest, code, holder, event, noted, received, creator, located, lat, lon, accuracy, note, photo)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID, e.Digest[:], e.Code.String(), e.Holder.String(), e.Event, ms(e.Noted), ms(o.now()),
			[]byte(e.Creator), located, at.Lat, at.Lon, e.Accuracy, e.Note, orNull(e.Photo))
		added = err == nil
		return stored(err, "the entry")
	})
	return added, err
}

const installationColumns = `seq, id, digest, code, holder, event, noted, received, creator, located, lat, lon, accuracy, note, photo, coalesce(statement, 0)`

func scanInstallation(row interface{ Scan(...any) error }) (e Installation, err error) {
	var digest, creator, photo []byte
	var code, holder string
	var noted, received int64
	var located bool
	var l cityid.Location
	err = row.Scan(&e.Seq, &e.ID, &digest, &code, &holder, &e.Event, &noted, &received, &creator, &located, &l.Lat, &l.Lon, &e.Accuracy, &e.Note, &photo, &e.Statement)
	if err != nil {
		return e, err
	}
	copy(e.Digest[:], digest)
	copy(e.Photo[:], photo)
	e.Noted, e.Received, e.Creator = at(noted), at(received), cityid.PublicKey(creator)
	if located {
		e.Location = &l
	}
	if e.Code, err = cityid.Parse(code); err == nil {
		e.Holder, err = cityid.Parse(holder)
	}
	if err != nil {
		return e, fmt.Errorf("installation %d: %w: %w", e.Seq, ErrDamaged, err)
	}
	return e, nil
}

// Installation returns the entry of an id, or [ErrNotFound].
func (o *Office) Installation(ctx context.Context, id string) (Installation, error) {
	e, err := scanInstallation(o.reads.QueryRowContext(ctx, `SELECT `+installationColumns+` FROM installation WHERE id = ?`, id))
	return e, found(err, "installation")
}

// Installations lists a holder's entries with numbers below before (0: from the
// latest), the latest first; with open only those in no statement.
func (o *Office) Installations(ctx context.Context, holder cityid.Code, open bool, before int64, limit int) ([]Installation, error) {
	return folder.Collect(ctx, o.reads, scanInstallation, `SELECT `+installationColumns+` FROM installation
		WHERE holder = ?1 AND (?2 = 0 OR statement IS NULL) AND (?3 = 0 OR seq < ?3) ORDER BY seq DESC LIMIT ?4`, holder.String(), open, before, limit)
}

// InstallationCount is how many entries a holder has, and how many of them are in
// no statement.
func (o *Office) InstallationCount(ctx context.Context, holder cityid.Code) (all, open int, err error) {
	err = o.reads.QueryRowContext(ctx, `SELECT count(*), count(*) - count(statement) FROM installation WHERE holder = ?`, holder.String()).Scan(&all, &open)
	return all, open, err
}

// LatestInstallations returns, for those of the codes that have an entry, the
// event of the latest.
func (o *Office) LatestInstallations(ctx context.Context, codes []cityid.Code) (map[cityid.Code]InstallationEvent, error) {
	numbers, err := o.latest(ctx, codes, `SELECT code, event FROM installation WHERE seq IN
		(SELECT max(seq) FROM installation WHERE code IN (SELECT value FROM json_each(?)) GROUP BY code)`)
	if err != nil {
		return nil, err
	}
	out := map[cityid.Code]InstallationEvent{}
	for c, n := range numbers {
		out[c] = InstallationEvent(n)
	}
	return out, nil
}

// Statement is a list of entries, as a file, whose digest the chain holds or is
// to hold.
type Statement struct {
	ID      int64
	Holder  cityid.Code
	File    cityid.Digest
	Size    int64
	Entries int
	Creator cityid.PublicKey
	Created time.Time
	Tx      cityid.Digest // that anchored it; zero: not yet
	Height  uint64        // of its block
}

// AddStatement notes a statement about entries by their numbers; its file was
// put before. An entry that is in another one meanwhile is [ErrConflict], and
// nothing is noted. ID, Created, Entries, Tx and Height are not the caller's.
func (o *Office) AddStatement(ctx context.Context, s Statement, entries []int64) (id int64, err error) {
	if len(entries) == 0 || s.Holder.IsZero() || s.Creator == "" {
		return 0, fmt.Errorf("a statement has entries, a holder and a creator: %w", ErrInvalid)
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO installation_statement (holder, file, size, entries, creator, created, height) VALUES (?, ?, ?, ?, ?, ?, 0)`,
			s.Holder.String(), s.File[:], s.Size, len(entries), []byte(s.Creator), ms(o.now()))
		if err != nil {
			return stored(err, "the statement")
		}
		if id, err = r.LastInsertId(); err != nil {
			return err
		}
		for _, seq := range entries {
			r, err := tx.ExecContext(ctx, `UPDATE installation SET statement = ? WHERE seq = ? AND holder = ? AND statement IS NULL`, id, seq, s.Holder.String())
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil || n != 1 {
				return fmt.Errorf("entry %d is in another statement: %w", seq, ErrConflict)
			}
		}
		return nil
	})
	return id, err
}

// AnchorStatement notes which transaction anchored a statement's file. Once
// noted, it stays.
func (o *Office) AnchorStatement(ctx context.Context, file, tx cityid.Digest, height uint64) error {
	return o.write(ctx, func(t *sql.Tx) error {
		_, err := t.ExecContext(ctx, `UPDATE installation_statement SET tx = ?, height = ? WHERE file = ? AND tx IS NULL`, tx[:], height, file[:])
		return err
	})
}

const statementColumns = `id, holder, file, size, entries, creator, created, tx, height`

func scanStatement(row interface{ Scan(...any) error }) (s Statement, err error) {
	var holder string
	var file, creator, tx []byte
	var created int64
	if err := row.Scan(&s.ID, &holder, &file, &s.Size, &s.Entries, &creator, &created, &tx, &s.Height); err != nil {
		return s, err
	}
	copy(s.File[:], file)
	copy(s.Tx[:], tx)
	s.Creator, s.Created = cityid.PublicKey(creator), at(created)
	if s.Holder, err = cityid.Parse(holder); err != nil {
		return s, fmt.Errorf("statement %d: %w: %w", s.ID, ErrDamaged, err)
	}
	return s, nil
}

// Statement returns a statement, or [ErrNotFound].
func (o *Office) Statement(ctx context.Context, id int64) (Statement, error) {
	s, err := scanStatement(o.reads.QueryRowContext(ctx, `SELECT `+statementColumns+` FROM installation_statement WHERE id = ?`, id))
	return s, found(err, "statement")
}

// Statements lists a holder's statements, the latest first.
func (o *Office) Statements(ctx context.Context, holder cityid.Code, limit int) ([]Statement, error) {
	return folder.Collect(ctx, o.reads, scanStatement, `SELECT `+statementColumns+` FROM installation_statement WHERE holder = ? ORDER BY id DESC LIMIT ?`, holder.String(), limit)
}
