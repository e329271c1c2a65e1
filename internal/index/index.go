// SPDX-License-Identifier: Apache-2.0

// Package index finds records: by words of their names, by the beginning of a
// code, by a mistyped code, by a crosswalk value, by place and on the map. It is
// one SQLite file beside the node's data, made from the registry's state and
// never a source of truth: a file that is foreign, of another version or broken
// is thrown away and made anew while the node serves.
//
// # What matches a text
//
// A text that has a dot and otherwise only characters of codes is a code, with
// check characters after "*" or without; so is the address on a label. Any other
// text is words. From the best to the least:
//
//  1. the record of the code, if the text is one;
//  2. records with a name that equals the text;
//  3. records with a crosswalk value, of whatever scheme, that equals it;
//  4. of a code without check characters: records whose code begins with it;
//  5. records with a crosswalk value that begins with it, from three characters on;
//  6. of words: records of which every word is found in some name.
//
// Names and texts are compared without regard to case, accents and width (NFKD
// without marks). A word is found at the beginning of a word of a name; a run of
// Chinese, or of another script without spaces, anywhere in such a run, from one
// character on. What stands between words is ignored, and so is all after the
// 24th. So "石家庄 lamp 12" finds the record with the names "石家庄市路灯" and "Lamp
// 123". A sealed record has no names and is found by its code alone.
//
// Within one of the six, hits come by kind, from authorities and provinces to
// classes and objects, then by depth of the code; then codes that begin with a
// text by code, and all others in the order in which this index met them: after a
// build that is the order of codes. With
// [cityid.SearchQuery.Near] they come by distance instead, only records with a
// location are hits, and a code stands for itself and all below it.
//
// A code that does not exist, or does not fit its check characters, brings
// suggestions: codes that exist and differ by one wrong, missing or extra
// character or by two that changed places. If some of them have the check
// characters that were typed, only these are suggested.
//
// # How
//
// All but the codes' beginnings is one full-text table (FTS5) of tokens made here,
// without positions or text. The trigram tokenizer that SQLite has would not do:
// it finds nothing for two characters, which is how long most Chinese words are,
// and nothing about a record but its text. So a name gives its single characters
// and pairs of them, or the beginnings of its words; and kind, status, ancestors,
// crosswalk values and cells of six grids become tokens too, so that any
// combination of conditions is one intersection of sorted lists. The number of a
// row is its rank: kind, depth, and a counter. So the best hits are simply the
// first, and half a million lamp posts called "lamp" are never sorted or scored.
// What tokens say only roughly (three characters in a row, the border of a box)
// is checked on the row.
//
// Nearest is a box that grows until it holds enough: in an R*Tree of 32-bit
// integers if there is no other condition, and otherwise in the cells.
//
// One page looks at 20,000 rows at most. A page may therefore hold fewer hits
// than asked for and still name a next one.
package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cityid"
)

// schema is the version of the file's layout and of the tokens in it.
const schema = 1

// Source is the registry: a node in the same process, or a client of one. Its
// errors are temporary, except [cityid.ErrNotFound].
type Source interface {
	Status(ctx context.Context) (*cityid.NodeStatus, error)
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error)
	// Await returns the committed height once it exceeds after.
	Await(ctx context.Context, after uint64) (uint64, error)
	// Changes lists the codes whose records changed after a height.
	Changes(ctx context.Context, after uint64) (*cityid.Changes, error)
}

// Options configures [Open].
type Options struct {
	Chain   string       // chain id the file must be of; "": Follow finds out, and until then it is believed
	Log     *slog.Logger // nil: silent
	Readers int          // queries answered at a time; 0: 8
}

// Index is a search index. All methods may be called from several goroutines at
// once.
type Index struct {
	path string
	o    Options

	mu      sync.RWMutex // held by readers; exclusively while the file is replaced
	read    *sql.DB
	write   *sql.DB
	closed  bool
	running sync.Mutex // held by Follow

	height atomic.Uint64 // last block seen by a complete index; 0 while it is built
	built  atomic.Bool
	done   atomic.Uint64 // records written by the build under way
	total  atomic.Uint64 // what the build expects
	broken atomic.Bool   // the file was found to be corrupt: make it anew

	advanced struct {
		sync.Mutex
		c chan struct{} // closed and replaced when height grows
	}
}

// ErrClosed is what a closed index answers, with [cityid.ErrUnavailable] in its
// chain.
var ErrClosed = cityid.Errorf(cityid.ErrUnavailable, "the index is closed")

// Open opens the index in the file, which only one process may do at a time. A
// file that is no index, of another chain or version, or broken is replaced by an
// empty one. It answers from what is there until [Index.Follow] brings it up to date.
func Open(path string, o Options) (*Index, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Readers == 0 {
		o.Readers = 8
	}
	x := &Index{path: path, o: o}
	x.advanced.c = make(chan struct{})
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("index: %s is not a folder", filepath.Dir(path))
	}
	err := x.open()
	if err != nil {
		o.Log.Info("index is made anew", "file", path, "reason", err.Error())
		err = x.replace()
	}
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", path, err)
	}
	return x, nil
}

// Close ends the index. Queries under way finish first; Follow must have been
// ended.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	return x.closeFile()
}

func (x *Index) closeFile() error {
	var err error
	for _, db := range []*sql.DB{x.read, x.write} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	x.read, x.write = nil, nil
	return err
}

const tables = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE docs(id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, code TEXT NOT NULL, parent TEXT NOT NULL, status INTEGER NOT NULL,
	lat INTEGER, lon INTEGER, names TEXT, aliases TEXT);
CREATE UNIQUE INDEX docs_code ON docs(grp, code);
CREATE TABLE groups(grp INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE VIRTUAL TABLE fts USING fts5(t, content='', contentless_delete=1, detail=none, tokenize='ascii');
CREATE VIRTUAL TABLE geo USING rtree_i32(id, south, north, west, east);
CREATE TABLE counts(below INTEGER, kind INTEGER, n INTEGER NOT NULL, PRIMARY KEY(below, kind)) WITHOUT ROWID;
CREATE TABLE bins(below INTEGER, level INTEGER, y INTEGER, x INTEGER, kind INTEGER, n INTEGER NOT NULL,
	PRIMARY KEY(below, level, y, x, kind)) WITHOUT ROWID;
CREATE TABLE keys(key BLOB, id INTEGER, member INTEGER, roles INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
	PRIMARY KEY(key, id, member)) WITHOUT ROWID;
CREATE INDEX keys_id ON keys(id);
`

// open opens the file and checks that it is an index of this version; an empty
// file becomes one.
func (x *Index) open() (err error) {
	defer func() {
		if err != nil {
			x.closeFile()
		}
	}()
	dsn := func(rest string) string {
		return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(x.path)}).String() + "?_pragma=busy_timeout(10000)" + rest
	}
	if x.write, err = sql.Open("sqlite", dsn("&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-65536)&_pragma=journal_size_limit(67108864)")); err != nil {
		return err
	}
	x.write.SetMaxOpenConns(1)
	var version int
	if err := x.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	var found int
	if err := x.write.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&found); err != nil {
		return err
	}
	if version != schema && (version != 0 || found != 0) {
		return fmt.Errorf("layout %d, where this program has %d", version, schema)
	}
	if found == 0 {
		if _, err := x.write.Exec(tables); err != nil {
			return err
		}
		if _, err := x.write.Exec(fmt.Sprintf("PRAGMA user_version = %d", schema)); err != nil {
			return err
		}
	}
	if x.read, err = sql.Open("sqlite", dsn("&_pragma=query_only(1)&_pragma=cache_size(-16384)&_pragma=mmap_size(1073741824)")); err != nil {
		return err
	}
	x.read.SetMaxOpenConns(x.o.Readers)
	x.read.SetMaxIdleConns(x.o.Readers)
	return x.restore()
}

// restore reads how far the file is. One whose build was not finished is as good
// as none.
func (x *Index) restore() error {
	m, err := readMeta(x.write)
	if err != nil {
		return err
	}
	if m.chain != "" && !m.built {
		return errors.New("its making was interrupted")
	}
	if m.chain != "" && x.o.Chain != "" && m.chain != x.o.Chain {
		return fmt.Errorf("it is of chain %s", m.chain)
	}
	if _, err := x.write.Exec("SELECT 1 FROM docs, fts, geo, groups, counts, bins, keys LIMIT 0"); err != nil {
		return err
	}
	x.built.Store(m.built)
	x.height.Store(m.height)
	x.broken.Store(false)
	return nil
}

// replace throws the file away and opens an empty one. The caller holds mu, or
// nobody else knows x yet.
func (x *Index) replace() error {
	if err := x.closeFile(); err != nil {
		x.o.Log.Warn("closing the old index", "error", err)
	}
	x.built.Store(false)
	x.height.Store(0)
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(x.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return x.open()
}

// meta is what the file says about itself.
type meta struct {
	chain  string // "": empty
	apex   string
	height uint64
	built  bool
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func readMeta(q queryer) (meta, error) {
	var m meta
	rows, err := q.QueryContext(context.Background(), "SELECT name, value FROM meta")
	if err != nil {
		return m, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var value sql.RawBytes
		if err := rows.Scan(&name, &value); err != nil {
			return m, err
		}
		switch name {
		case "chain":
			m.chain = string(value)
		case "apex":
			m.apex = string(value)
		case "height":
			if _, err := fmt.Sscan(string(value), &m.height); err != nil {
				return m, err
			}
		case "built":
			m.built = string(value) == "1"
		}
	}
	return m, rows.Err()
}

// Progress says whether the index is being built, how many records of about how
// many it has written, and the last block it has seen: 0 until it is complete.
func (x *Index) Progress() (building bool, done, total, height uint64) {
	return !x.built.Load(), x.done.Load(), x.total.Load(), x.height.Load()
}

// reader begins a reading transaction, which sees one state of the index. The
// caller must call end, with the error it will return, and return what it returns.
func (x *Index) reader(ctx context.Context) (tx *sql.Tx, end func(error) error, err error) {
	x.mu.RLock()
	if x.closed || x.read == nil {
		x.mu.RUnlock()
		return nil, nil, ErrClosed
	}
	tx, err = x.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		x.mu.RUnlock()
		return nil, nil, x.explain(ctx, err)
	}
	return tx, func(err error) error {
		tx.Rollback()
		x.mu.RUnlock()
		return x.explain(ctx, err)
	}, nil
}

// explain turns an error of the database into one for the asker, and notes that
// the file is broken.
func (x *Index) explain(ctx context.Context, err error) error {
	var refusal cityid.ErrorCode
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if isCorrupt(err) || errors.Is(err, errRebuild) {
		x.o.Log.Error("the index is broken and will be made anew", "error", err)
		x.broken.Store(true)
		x.wake()
	}
	return cityid.Errorf(cityid.ErrUnavailable, "the index can not answer now: %v", err)
}

// isCorrupt reports whether an error says that the file is no sound database.
func isCorrupt(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR:
		return true
	}
	return false
}

// wake tells those who wait that the index has seen a block, or is broken.
func (x *Index) wake() {
	x.advanced.Lock()
	defer x.advanced.Unlock()
	close(x.advanced.c)
	x.advanced.c = make(chan struct{})
}

// awaken returns what the next wake closes.
func (x *Index) awaken() <-chan struct{} {
	x.advanced.Lock()
	defer x.advanced.Unlock()
	return x.advanced.c
}

// wait returns once the index has seen a block, or ctx ends.
func (x *Index) wait(ctx context.Context, height uint64) error {
	for {
		woken := x.awaken()
		seen := x.height.Load()
		if seen >= height {
			return nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Cause(ctx)
			}
			return cityid.Errorf(cityid.ErrUnavailable, "the index has seen block %d, not %d yet: ask again", seen, height)
		}
	}
}
