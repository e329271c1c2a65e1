// SPDX-License-Identifier: Apache-2.0

// Package ledger is what one gateway keeps on its disk about the fetches it served
// and made, and the formats of what both sides keep: receipts, entries,
// acknowledgements and proofs of leaves. It knows no HTTP and no chain; its callers
// do.
//
// # Formats
//
// A provider writes a [Receipt] for each answer and sends it under its signature.
// An [Entry] is the receipt with the hash of the signed answer: provider and
// consumer log the same entry. A leaf is a fresh salt of 32 octets and the entry
// ([LeafHash]); each side has salts of its own, so that nobody sees from two
// anchored roots that they cover the same fetch. A batch of leaves is a log as in
// RFC 6962, whose root the gateway anchors on the chain. A [LeafProof] shows that
// an entry is in an anchored batch, and [CheckLeaf] verifies it. With an
// [Acknowledgement] the consumer says which answers it has. All are CBOR in the
// project's one encoding; decoders refuse whatever an encoder would not write.
//
// # The folder
//
// A [Ledger] is one folder, which one process at a time may have open:
//
//	ledger.db    SQLite: write-ahead log, synced at each commit
//	lock         locked while the folder is open
//	snapshot-…/  while a snapshot is written
//
// It holds in the clear who fetched what, when and by which address. The folder and
// its archives ([Ledger.Snapshot]) are to be guarded accordingly.
//
// # The log
//
// Entries, served and fetched, have numbers from 1 without a gap, in the order in
// which they were written. A provider must know the number before it can sign the
// receipt, so [Ledger.AppendServed] calls back with it, to build and sign. Many
// appenders share one synced transaction: those who come while one is being written
// get the next numbers together, sign at the same time, and are written together. If
// one of them can not sign, it fails alone, and those with greater numbers are
// called again with others. So a callback may be called more than once; only what it
// returned last counts, and only once Append has returned without an error. What it
// signed before must not leave the process. An error, or a crash before Append
// returns, leaves no gap; it may leave an entry for an answer that nobody got,
// which is then never acknowledged.
//
// Once a commit fails because the disk does (not because it is full), what is on the
// disk is unknown, and the ledger writes nothing more until it is opened again.
//
// # Logs and restored archives
//
// A ledger opens under a party and the name of a log, which receipts and anchors
// carry. Two receipts with one number would look like fraud. A restored archive can
// not know which numbers were given since it was made, so [Open] refuses it with
// [ErrRestored] until it is opened under a name that was never used. Under a new
// name, numbers and batches begin at 1, and whatever is not known to be anchored
// goes into the new log's batches: a leaf that was anchored under the old name
// after all is then anchored twice, which says nothing wrong. To move a gateway,
// stop it and move its folder.
//
// # Replays
//
// [Ledger.Claim] takes the nonce of a signed request once. A nonce is kept in
// memory until ten minutes beyond the end of its signature, and, if the request got
// an answer, on the disk until an hour beyond it, in the transaction of its entry.
// So a signature counts only once, also across restarts and when the clock is put
// back. Requests without an entry (proofs, purposes) are safe to repeat.
//
// A store can be lost: the database deleted, an archive restored, the disk of a
// virtual machine put back without a trace. Therefore signatures are refused
// ([ErrTooOld]) that were made
//
//   - in or before the second in which the ledger was opened, always;
//   - up to [Options].Skew after the second in which the database was made or first
//     opened after being restored, since lost nonces may be of clients whose clocks
//     ran ahead by as much;
//   - in or before the last second of any signature whose nonce was removed from the
//     disk.
//
// The latter two are on the disk and hold whatever the clock does. A clock put back
// by more than an hour may make the last one refuse everybody until it is right
// again; one that was ahead when the ledger was opened does so until the ledger is
// opened again. What is left is a disk put back without a trace together with a
// clock put back, or with clients ahead of it.
//
// # What stays how long
//
// [Ledger.Erase] removes entries of anchored batches, with salts, messages and
// acknowledgements; batches and usage stay. [Ledger.PruneEvents] and
// [Ledger.PruneObservations] remove what feeds brought, [Ledger.Sweep] old nonces. The
// ledger's owner calls them, and [Ledger.CloseBatch] about once a second.
//
// # Feeds
//
// Who polls a feed of a provider stores what each fetch brought, events and
// observations, in one transaction with the provider's cursor ([Ledger.Advance]).
// Applications read the events by their numbers, and draw the observations as lines;
// what the observations of each hour come to is kept beside them, so that a line over
// weeks is quick. Each observation names the entry that brought it, whose receipt says
// when it came, from whom and in which bytes, and so does a value that a correction has
// replaced.
//
// # Rules
//
// Each exported method is one transaction, but for erasing and pruning, which go step
// by step: it happens whole or not at all, also when the process is killed half-way. Readers see what is committed and never
// wait for writers. All methods may be called by several goroutines at once. Time
// comes from [Options].Now alone.
package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// Errors that callers tell apart.
var (
	ErrInvalid        = errors.New("invalid")         // what can never be right: outside a format or its bounds
	ErrNotFound       = errors.New("not found")       // no such entry, batch, subscription
	ErrConflict       = folder.ErrConflict            // it exists, or something else happened first
	ErrErased         = errors.New("erased")          // it was, and its time to be kept is over
	ErrWaiting        = errors.New("not anchored")    // its batch is not known to be on the chain yet
	ErrReplayed       = errors.New("seen before")     // a nonce that was taken
	ErrTooOld         = errors.New("too old")         // a signature that ended, or may have been seen before the ledger was opened
	ErrTooNew         = errors.New("from the future") // a signature whose signer's clock is ahead by more than Options.Skew
	ErrQuota          = errors.New("quota used up")   // see QuotaError
	ErrUnacknowledged = errors.New("too many answers are not acknowledged")
	ErrRestored       = errors.New("restored from an archive") // open it under a log's name that was never used
	ErrBroken         = errors.New("the disk failed")          // nothing is written until the ledger is opened again
	ErrClosed         = errors.New("the ledger is closed")
	ErrLocked         = folder.ErrLocked  // another process has the folder open
	ErrDamaged        = folder.ErrDamaged // bytes that do not match what is known of them
	ErrNewer          = folder.ErrNewer   // a database or archive this program does not know
	ErrKey            = folder.ErrKey     // an archive that no given identity opens
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	dbName   = "ledger.db"
	lockName = "lock"
)

// Options say where a ledger is, whose it is, and its bounds. Zero bounds take the
// defaults stated.
type Options struct {
	Dir   string           // the folder; made (mode 0700) if there is none
	Party cityid.Code      // whose gateway it is
	Log   string           // name of the gateway instance: 1 to 32 of a-z, 0-9 and "-"
	Now   func() time.Time // nil: time.Now

	BatchAge  time.Duration // a batch is closed this long after its first leaf; 60 s
	BatchSize int           // or once it has so many leaves, at most cityid.MaxBatch; 10,000
	Skew      time.Duration // by which clocks of signers may be ahead, whole seconds; 5 s
}

// Ledger is an open folder. All its methods are safe for concurrent use.
type Ledger struct {
	opts   Options
	dir    string
	lock   *os.File
	writes *sql.DB // one connection, which the writer holds
	reads  *sql.DB
	writer *writer
	opened cityid.Time
	trees  treeCache

	closing sync.Once
	closed  error

	tallying sync.Mutex // while a tally is read

	mu        sync.Mutex // guards what follows
	stats     Stats
	openSince int64                                // ms: the first leaf that is in no batch
	pending   map[account]map[cityid.Digest]uint64 // entries that await an acknowledgement
	held      map[cityid.Digest]int                // reservations that are open, by agreement
	tallies   map[tallyKey]*tally
	nonces    nonceMemory
}

// account is one direction of an agreement.
type account struct {
	agreement cityid.Digest
	direction Direction
}

// Direction says which side of a fetch the ledger's gateway was on.
type Direction uint8

// The directions.
const (
	DirectionServed  Direction = 1 // it was the provider
	DirectionFetched Direction = 2 // it was the consumer
)

// String returns "served" or "fetched".
func (d Direction) String() string {
	switch d {
	case DirectionServed:
		return "served"
	case DirectionFetched:
		return "fetched"
	}
	return fmt.Sprintf("direction-%d", uint8(d))
}

// MarshalText returns "served" or "fetched".
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Open opens the folder, makes what is missing in a new one, and brings its
// database up to date. It returns [ErrLocked] if another process has it open,
// [ErrNewer] if a later version has written to it, [ErrRestored] if it comes from an
// archive and the log's name was used before, [ErrConflict] if the name was used
// before the present one, [ErrDamaged] if entries are missing.
func Open(ctx context.Context, opts Options) (_ *Ledger, err error) {
	if opts, err = opts.complete(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{opts: opts, dir: opts.Dir, pending: map[account]map[cityid.Digest]uint64{}, held: map[cityid.Digest]int{}, tallies: map[tallyKey]*tally{}}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if l.lock, err = folder.Lock(filepath.Join(l.dir, lockName)); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", l.dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open ledger %s: %w", l.dir, err), l.Close())
		}
	}()
	if err := l.clearSnapshots(); err != nil {
		return nil, err
	}
	path := filepath.Join(l.dir, dbName)
	if err := folder.MakeDatabase(path); err != nil {
		return nil, err
	}
	if l.writes, err = folder.OpenDatabase(path, "_pragma=wal_autocheckpoint(4000)"); err != nil {
		return nil, err
	}
	l.writes.SetMaxOpenConns(1)
	if err := folder.Migrate(ctx, l.writes, migrations, l.now().UnixMilli()); err != nil {
		return nil, err
	}
	if l.reads, err = folder.OpenDatabase(path, "_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	l.reads.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	l.opened = cityid.TimeOf(l.now())
	state, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	if l.writer, err = startWriter(ctx, l, state); err != nil {
		return nil, err
	}
	return l, nil
}

// complete checks options and fills in the defaults.
func (o Options) complete() (Options, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BatchAge <= 0 {
		o.BatchAge = time.Minute
	}
	if o.BatchSize <= 0 {
		o.BatchSize = 10_000
	}
	if o.Skew <= 0 {
		o.Skew = 5 * time.Second
	}
	dir, err := filepath.Abs(o.Dir)
	switch {
	case o.Dir == "" || err != nil:
		return o, fmt.Errorf("%w: the ledger needs a folder", ErrInvalid)
	case o.Party.IsZero():
		return o, fmt.Errorf("%w: the ledger needs the code of the party whose gateway it is", ErrInvalid)
	case o.BatchSize > cityid.MaxBatch:
		return o, fmt.Errorf("%w: a batch has at most %d leaves", ErrInvalid, cityid.MaxBatch)
	}
	o.Dir = dir
	return o, checkLog(o.Log)
}

// Close waits for what is under way and lets go of the folder. Methods called later
// fail; to close again does nothing.
func (l *Ledger) Close() error {
	l.closing.Do(func() { l.closed = l.close() })
	return l.closed
}

func (l *Ledger) close() error {
	var errs []error
	if l.writer != nil {
		errs = append(errs, l.writer.stop())
	}
	for _, db := range []*sql.DB{l.reads, l.writes} { // the writer last: it folds the log into the database
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

// Party returns whose gateway it is.
func (l *Ledger) Party() cityid.Code { return l.opts.Party }

// Log returns the name of the log that is written.
func (l *Ledger) Log() string { return l.opts.Log }

func (l *Ledger) now() time.Time { return l.opts.Now() }

// at is the inverse of [time.Time.UnixMilli], in UTC; 0 is the zero Time.
func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// ms is how times are stored: milliseconds since 1970, 0 for the zero Time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// found turns the database's "no rows" into [ErrNotFound] about something.
func found(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return err
}

// position is how the database is asked for a number that others may have chosen.
func position(n uint64) int64 { return int64(min(n, MaxPosition)) }

// optional is how the database holds a digest that may be none.
func optional(d cityid.Digest) []byte {
	if d.IsZero() {
		return []byte{}
	}
	return d[:]
}

// digest is the inverse of optional.
func digest(b []byte) (d cityid.Digest) {
	copy(d[:], b)
	return d
}
