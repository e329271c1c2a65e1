// SPDX-License-Identifier: Apache-2.0

// Package office keeps what an institution holds off the chain for its portal:
// sessions, passkeys, half-written applications, evidence, officers, and what
// is on its way to others. It knows no HTTP and no node; its callers do.
//
// # The folder
//
// An [Office] is one folder, which one process at a time may have open:
//
//	office.db    SQLite: write-ahead log, synced at each commit, foreign keys
//	office.key   32 random bytes, mode 0600: encrypts what the office itself must be able to read
//	imports/ID/  what an import under way remembers, see import.go
//	files/       content-addressed files: files/ab/cd… holds the bytes whose SHA-256 is abcd…
//	lock         locked while the folder is open
//
// The folder is to be backed up whole: [Office.Snapshot] writes one consistent
// archive while the office is in use, [Restore] makes a folder of it again.
//
// Its topics, each in the file of that name: files, session, challenge, passkey,
// signing (transactions whose signatures are made elsewhere), draft (applications
// being written), waiting (applications handed in and not yet on the chain),
// evidence and envelope (documents sealed for reviewers), room (how much strangers
// may leave here), outbox (copies for other
// institutions), docket (what blocks recorded about proposals), officer,
// officer_change, sealed (contents of sealed records), printrun (labels that were
// printed), installation and scan (labels in their places), report (what is wrong with
// things, and what was done about it), agreement and purpose (requests for data of
// others, and what they are for), backup.
//
// # Rules
//
// Each exported method is one transaction: it happens whole or not at all, also
// when the process is killed half-way. A file is synced under its name before a
// row names it, and a row is gone before its file is removed. All methods may be
// called by several goroutines at once; writers take turns.
//
// Time comes from [Options].Now alone. Whatever has expired is refused from that
// moment on and removed by the next [Office.Sweep], which its owner calls every
// few minutes.
//
// Secrets come from crypto/rand. A session token, a challenge and a resume code
// are stored as SHA-256 only and looked up by it: what the time of a look-up
// tells is about the hash, not the secret. Three kinds of content are encrypted,
// with AES-256-GCM and a fresh nonce each time:
//
//   - drafts and their attachments, under a key derived from the resume code
//     (see draft.go), and a session's bag, under one derived from its token:
//     the office can not read them by itself;
//   - contents of sealed records, contacts of applicants, tables to be imported,
//     what people reported and purposes of requests, under office.key;
//   - evidence, for the seats that review it, with age ([SealEvidence]), and
//     purposes on their way to those who decide ([SealPurpose]): the office can
//     not read these either.
//
// The database says in the clear who is an officer and which passkeys there
// are, and that folder and its backups are to be guarded accordingly.
//
// Errors match one of the sentinels below where the caller can do something
// about them; any other error is the disk's or the database's.
//
// # Adding a topic
//
// A topic (say import jobs) is one file of this package, one migration and one
// test file. The migration is migrations/NNNN_name.sql with a number nobody has
// used. A migration is applied once, in a transaction of its own, in the order of
// the numbers, and never edited after release. A database that knows a migration
// this program does not is refused ([ErrNewer]). In the topic's file:
//
//   - write through o.write, which gives a transaction and rolls back on error,
//     and read through o.reads, which sees what is committed;
//   - store times with ms and read them with at; zero is "none";
//   - let a column that names a file say REFERENCES file(digest), with an index on
//     it: that alone keeps the file from being swept;
//   - add the statement that removes what has expired to sweeps.
package office

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"modernc.org/sqlite" // also registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cityid/internal/durable/folder"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	ErrExpired  = errors.New("expired")
	ErrConflict = folder.ErrConflict      // something else happened first, or the state forbids it
	ErrLocked   = folder.ErrLocked        // another process has the folder open
	ErrTooLarge = errors.New("too large") // beyond a stated limit
	ErrInvalid  = errors.New("invalid")   // an argument that can never be right
	ErrDamaged  = folder.ErrDamaged       // bytes that do not match their digest, or do not decrypt
	ErrNewer    = folder.ErrNewer         // a database or archive this program does not know
	ErrKey      = folder.ErrKey           // office.key is not the one the database was made with
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	dbName   = "office.db"
	keyName  = "office.key"
	filesDir = "files"
	lockName = "lock"
)

// Options say where an office is and how long things live. Zero durations take
// the defaults stated.
type Options struct {
	Dir string           // the folder; made (mode 0700) if there is none
	Now func() time.Time // nil: time.Now

	SessionIdle time.Duration // a session ends this long after it was last used; 2 hours
	SessionLife time.Duration // and this long after it began; 12 hours
	DraftLife   time.Duration // a draft ends this long after it was last saved; 30 days
	SigningLife time.Duration // an open signing request ends this long after it was made; 7 days
	ImportLife  time.Duration // an import ends this long after it was last saved; 30 days
	ContactLife time.Duration // whom to answer is erased this long after a report was closed; 30 days
	ReportLife  time.Duration // and what was reported, this long; two years
	PurposeLife time.Duration // the purpose of a request is erased this long after its agreement ended; one year

	// What strangers may leave here together. Zero takes the default; see room.go.
	Visitors   int   // sessions in which nobody has signed in; 100,000
	Passkeys   int   // passkeys that were never used; 50,000
	Signings   int   // signing requests; 200,000
	Drafts     int   // drafts; 20,000
	Waiting    int   // applications that wait; 10,000
	DraftSpace int64 // bytes of documents that no proposal names; 16 GiB

	Reports     int   // open reports; 100,000
	ReportSpace int64 // bytes of photographs of reports; 8 GiB
}

// Office is an open folder. All its methods are safe for concurrent use.
type Office struct {
	opts   Options
	dir    string
	key    [32]byte
	lock   *os.File
	writes *sql.DB // one connection
	reads  *sql.DB

	// files is held for reading while a file gets its name and its row, and
	// while a snapshot is written; for writing while files are removed.
	files sync.RWMutex
}

// Open opens the folder, makes what is missing in a new one, and brings its
// database up to date. It returns [ErrLocked] if another process has it open,
// [ErrNewer] if a later version has written to it, [ErrKey] if office.key is
// missing or another than the database was made with.
func Open(ctx context.Context, opts Options) (_ *Office, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	for d, standard := range map[*time.Duration]time.Duration{
		&opts.SessionIdle: 2 * time.Hour, &opts.SessionLife: 12 * time.Hour,
		&opts.DraftLife: 30 * 24 * time.Hour, &opts.SigningLife: 7 * 24 * time.Hour,
		&opts.ImportLife: 30 * 24 * time.Hour, &opts.ContactLife: 30 * 24 * time.Hour, &opts.ReportLife: 2 * 365 * 24 * time.Hour,
		&opts.PurposeLife: 365 * 24 * time.Hour,
	} {
		if *d <= 0 {
			*d = standard
		}
	}
	for n, standard := range map[*int]int{&opts.Visitors: 100_000, &opts.Passkeys: 50_000, &opts.Signings: 200_000, &opts.Drafts: 20_000, &opts.Waiting: 10_000, &opts.Reports: 100_000} {
		if *n <= 0 {
			*n = standard
		}
	}
	for n, standard := range map[*int64]int64{&opts.DraftSpace: 16 << 30, &opts.ReportSpace: 8 << 30} {
		if *n <= 0 {
			*n = standard
		}
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil || opts.Dir == "" {
		return nil, fmt.Errorf("%w: the office needs a folder", ErrInvalid)
	}
	o := &Office{opts: opts, dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, filesDir, tempDir), 0o700); err != nil {
		return nil, fmt.Errorf("open office: %w", err)
	}
	if o.lock, err = folder.Lock(filepath.Join(dir, lockName)); err != nil {
		return nil, fmt.Errorf("open office %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open office %s: %w", dir, err), o.Close())
		}
	}()
	_, err = os.Stat(filepath.Join(dir, dbName))
	fresh := errors.Is(err, fs.ErrNotExist)
	if o.key, err = readOfficeKey(filepath.Join(dir, keyName), fresh); err != nil {
		return nil, err
	}
	if err := folder.MakeDatabase(filepath.Join(dir, dbName)); err != nil {
		return nil, err
	}
	if o.writes, err = folder.OpenDatabase(filepath.Join(dir, dbName), "_txlock=immediate"); err != nil {
		return nil, err
	}
	o.writes.SetMaxOpenConns(1)
	if err := folder.Migrate(ctx, o.writes, migrations, ms(o.now())); err != nil {
		return nil, err
	}
	if err := o.checkKey(ctx); err != nil {
		return nil, err
	}
	if err := o.clearTemp(); err != nil {
		return nil, err
	}
	if o.reads, err = folder.OpenDatabase(filepath.Join(dir, dbName), "_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	o.reads.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	return o, nil
}

// Close waits for what is under way and lets go of the folder. Methods called
// later fail.
func (o *Office) Close() error {
	var errs []error
	for _, db := range []*sql.DB{o.reads, o.writes} { // the writer last: it folds the log into the database
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if o.lock != nil {
		errs = append(errs, o.lock.Close())
		o.lock = nil
	}
	return errors.Join(errs...)
}

func (o *Office) now() time.Time { return o.opts.Now() }

// write runs f in a transaction and commits it, unless f returns an error,
// which it passes on.
func (o *Office) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := o.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(err, folder.IgnoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// changed returns missing, unless the statement changed a row.
func changed(r sql.Result, err error, missing error) error {
	n, err := folder.Count(r, err)
	if err == nil && n == 0 {
		err = missing
	}
	return err
}

// found turns the database's "no rows" into [ErrNotFound] about something.
func found(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return err
}

// stored turns a broken constraint into [ErrConflict] (the row exists) or
// [ErrNotFound] (it refers to what does not exist).
func stored(err error, what string) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return fmt.Errorf("%s exists: %w", what, ErrConflict)
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("%s refers to what is not there: %w", what, ErrNotFound)
	}
	return err
}

// ms is how times are stored: milliseconds since 1970, 0 for the zero Time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// at is the inverse of ms, in UTC.
func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

func hashOf(parts ...[]byte) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

// sweeps remove what has expired; ?1 is the present. Each topic has its own.
func (o *Office) sweeps() []string {
	return append([]string{
		fmt.Sprintf(`DELETE FROM session WHERE seen + %d <= ?1 OR created + %d <= ?1`, o.opts.SessionIdle.Milliseconds(), o.opts.SessionLife.Milliseconds()),
		`DELETE FROM challenge WHERE expires <= ?1`,
		signingSweep,
		deliverySweep,
		selectionSweep,
		officerChangeSweep,
		`DELETE FROM draft WHERE expires <= ?1`,
		unlinkedSweep,
		importSweep,
	}, append(o.reportSweeps(), o.agreementSweeps()...)...)
}

// Swept says what [Office.Sweep] removed.
type Swept struct {
	Rows  int // what had expired
	Files int // files nothing refers to
}

// Sweep removes what has expired, and then the files that nothing refers to and
// that were put more than an hour ago (so that a file that was just put has time
// to be referred to). While a snapshot is written it leaves the files alone.
func (o *Office) Sweep(ctx context.Context) (Swept, error) {
	var s Swept
	err := o.write(ctx, func(tx *sql.Tx) error {
		for _, statement := range o.sweeps() {
			n, err := folder.Count(tx.ExecContext(ctx, statement, ms(o.now())))
			if err != nil {
				return err
			}
			s.Rows += n
		}
		return nil
	})
	if err == nil {
		err = o.sweepImports(ctx)
	}
	if err == nil {
		s.Files, err = o.sweepFiles(ctx)
	}
	if err != nil {
		return s, fmt.Errorf("sweep: %w", err)
	}
	return s, nil
}
