// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cityid"
	"cityid/internal/dcat"
)

// layout is the version of the file.
const layout = 1

const tables = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE datasets(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, iri TEXT, row TEXT NOT NULL);
CREATE UNIQUE INDEX datasets_iri ON datasets(iri) WHERE iri IS NOT NULL;
CREATE TABLE line(code TEXT, id INTEGER, PRIMARY KEY(code, id)) WITHOUT ROWID;
CREATE INDEX line_id ON line(id);
CREATE TABLE documents(digest BLOB PRIMARY KEY, size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE holds(id INTEGER, part INTEGER, digest BLOB NOT NULL, PRIMARY KEY(id, part)) WITHOUT ROWID;
CREATE INDEX holds_digest ON holds(digest);
CREATE TABLE gateways(url TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE fts USING fts5(title, words, rest, content='', contentless_delete=1, tokenize='ascii');
`

// errAnew says that the file has to be made anew.
var errAnew = errors.New("the catalogue must be made anew")

// row is all that is kept of a dataset, but for the bytes of its documents.
type row struct {
	ID       int64               `json:"-"`
	Entry    cityid.DatasetEntry `json:"entry"` // without freshness, which the time tells
	IRI      string              `json:"iri,omitempty"`
	Gateways []string            `json:"gateways,omitempty"` // the first that answers is asked
	Above    []cityid.Code       `json:"above"`              // at and above the dataset, what retired codes there led to among them
	Over     []cityid.NamedCode  `json:"over,omitempty"`     // industries above it
	Line     []cityid.Code       `json:"line"`               // Above, the publisher and all industries: by these the dataset is found
	Words    []string            `json:"words,omitempty"`    // to find it by, besides what Entry has
	Parts    []part              `json:"parts,omitempty"`
	Failing  cityid.Time         `json:"failing,omitempty"` // since when attempts bring nothing; 0: they do
	Next     cityid.Time         `json:"next,omitempty"`    // of the next attempt; 0: none
}

// part is one document of a dataset.
type part struct {
	cityid.DatasetDocument
	ETag string `json:"etag,omitempty"` // that the gateway gave it
}

// find returns the part of a kind, or nil.
func (r *row) part(kind cityid.DatasetPart) *part {
	for i := range r.Parts {
		if r.Parts[i].Part == kind {
			return &r.Parts[i]
		}
	}
	return nil
}

// meta is what the file says about itself.
type meta struct {
	Chain    string      `json:"chain"`
	Zone     cityid.Code `json:"zone"`
	Height   uint64      `json:"height"`   // up to this block the registry was read
	AsOf     cityid.AsOf `json:"as_of"`    // that state, or one a little before
	Complete bool        `json:"complete"` // all datasets were read
}

// gatewayState is what is remembered of a gateway.
type gatewayState struct {
	Since  cityid.Time `json:"since"` // when it began to fail
	Next   cityid.Time `json:"next"`
	Detail string      `json:"detail"`
}

// store is the open file.
type store struct {
	read, write *sql.DB
}

func openStore(path string) (_ *store, err error) {
	s := &store{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	dsn := func(rest string) string {
		return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}).String() + "?_pragma=busy_timeout(10000)" + rest
	}
	if s.write, err = sql.Open("sqlite", dsn("&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-16384)&_pragma=journal_size_limit(67108864)")); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	var version, found int
	if err := s.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return nil, err
	}
	if err := s.write.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&found); err != nil {
		return nil, err
	}
	if version != layout && (version != 0 || found != 0) {
		return nil, fmt.Errorf("layout %d, where this program has %d", version, layout)
	}
	if found == 0 {
		if _, err := s.write.Exec("BEGIN;" + tables + "PRAGMA user_version = " + strconv.Itoa(layout) + ";COMMIT"); err != nil {
			return nil, err
		}
	}
	if s.read, err = sql.Open("sqlite", dsn("&_pragma=query_only(1)&_pragma=cache_size(-8192)&_pragma=mmap_size(268435456)")); err != nil {
		return nil, err
	}
	s.read.SetMaxOpenConns(8)
	s.read.SetMaxIdleConns(8)
	return s, nil
}

// Close closes the file.
func (s *store) Close() error {
	var err error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
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

// load calls each with every row, and gateway with what is remembered of each
// gateway.
func (s *store) load(each func(*row), gateway func(url string, g gatewayState)) error {
	ctx := context.Background()
	if err := s.rows(ctx, each, "SELECT id, row FROM datasets"); err != nil {
		return err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT url, state FROM gateways")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var address, state string
		if err := rows.Scan(&address, &state); err != nil {
			return err
		}
		var g gatewayState
		if err := json.Unmarshal([]byte(state), &g); err != nil {
			return fmt.Errorf("%w: gateway %s: %v", errAnew, address, err)
		}
		gateway(address, g)
	}
	return rows.Err()
}

func (s *store) rows(ctx context.Context, each func(*row), query string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := &row{}
		var raw sql.RawBytes
		if err := rows.Scan(&r.ID, &raw); err != nil {
			return err
		}
		if err := json.Unmarshal(raw, r); err != nil {
			return fmt.Errorf("%w: row %d: %v", errAnew, r.ID, err)
		}
		each(r)
	}
	return rows.Err()
}

// byID returns a row, nil if there is none.
func (s *store) byID(ctx context.Context, id int64) (out *row, err error) {
	err = s.rows(ctx, func(r *row) { out = r }, "SELECT id, row FROM datasets WHERE id = ?", id)
	return out, err
}

// byCode returns the row of a code, nil if there is none.
func (s *store) byCode(ctx context.Context, code cityid.Code) (out *row, err error) {
	err = s.rows(ctx, func(r *row) { out = r }, "SELECT id, row FROM datasets WHERE code = ?", code.String())
	return out, err
}

// byIDs returns rows in the order of ids; those that are gone are left out.
func (s *store) byIDs(ctx context.Context, ids []int64) ([]*row, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]*row, len(ids))
	if err := s.rows(ctx, func(r *row) { found[r.ID] = r }, "SELECT d.id, d.row FROM json_each(?) j CROSS JOIN datasets d ON d.id = j.value", string(list)); err != nil {
		return nil, err
	}
	out := make([]*row, 0, len(found))
	for _, id := range ids {
		if r := found[id]; r != nil {
			out = append(out, r)
		}
	}
	return out, nil
}

// ids returns the numbers that a query selects.
func (s *store) ids(ctx context.Context, query string, args ...any) ([]int64, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// onLine returns the datasets that are found by one of the codes.
func (s *store) onLine(ctx context.Context, codes []cityid.Code) ([]int64, error) {
	list, err := json.Marshal(codes)
	if err != nil {
		return nil, err
	}
	return s.ids(ctx, "SELECT DISTINCT l.id FROM json_each(?) j CROSS JOIN line l ON l.code = j.value", string(list))
}

// document returns the bytes with a digest, nil if they are not held.
func (s *store) document(ctx context.Context, digest cityid.Digest) ([]byte, error) {
	var size int
	var body []byte
	err := s.read.QueryRowContext(ctx, "SELECT size, body FROM documents WHERE digest = ?", digest[:]).Scan(&size, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body)), int64(size)+1))
	if err != nil || len(out) != size || dcat.Digest(out) != digest {
		return nil, fmt.Errorf("%w: document %s is broken: %v", errAnew, digest, err)
	}
	return out, nil
}

func (s *store) meta(ctx context.Context) (m meta, err error) {
	var raw string
	err = s.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'meta'").Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(raw), &m)
	}
	return m, err
}

// batch is a transaction of writing.
type batch struct {
	ctx context.Context
	tx  *sql.Tx
}

func (s *store) begin(ctx context.Context) (*batch, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &batch{ctx, tx}, nil
}

func (b *batch) exec(query string, args ...any) error {
	_, err := b.tx.ExecContext(b.ctx, query, args...)
	return err
}

func (b *batch) setMeta(m meta) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return b.exec("INSERT OR REPLACE INTO meta(name, value) VALUES('meta', ?)", string(raw))
}

func (b *batch) setGateway(address string, g gatewayState) error {
	if g == (gatewayState{}) {
		return b.exec("DELETE FROM gateways WHERE url = ?", address)
	}
	raw, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return b.exec("INSERT OR REPLACE INTO gateways(url, state) VALUES(?, ?)", address, string(raw))
}

// byCode returns the row of a code as the transaction sees it, nil if there is
// none.
func (b *batch) byCode(code cityid.Code) (*row, error) {
	return b.one("SELECT id, row FROM datasets WHERE code = ?", code.String())
}

func (b *batch) byID(id int64) (*row, error) {
	return b.one("SELECT id, row FROM datasets WHERE id = ?", id)
}

func (b *batch) one(query string, arg any) (*row, error) {
	r := &row{}
	var raw []byte
	err := b.tx.QueryRowContext(b.ctx, query, arg).Scan(&r.ID, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%w: row %d: %v", errAnew, r.ID, err)
	}
	return r, nil
}

// put writes a row; a new one, which has no ID, gets one. before is the row as it
// was, nil for a new one: what did not change is not written again.
func (b *batch) put(r, before *row, texts *[3]string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	iri := sql.NullString{String: r.IRI, Valid: r.IRI != ""}
	if before == nil {
		res, err := b.tx.ExecContext(b.ctx, "INSERT INTO datasets(code, iri, row) VALUES(?, ?, ?)", r.Entry.Code.String(), iri, string(raw))
		if err != nil {
			return err
		}
		if r.ID, err = res.LastInsertId(); err != nil {
			return err
		}
	} else if err := b.exec("UPDATE datasets SET iri = ?, row = ? WHERE id = ?", iri, string(raw), r.ID); err != nil {
		return err
	}
	if before == nil || !slices.Equal(before.Line, r.Line) {
		if err := b.setLine(r); err != nil {
			return err
		}
	}
	if texts == nil {
		return nil
	}
	if before != nil {
		if err := b.exec("DELETE FROM fts WHERE rowid = ?", r.ID); err != nil {
			return err
		}
	}
	return b.exec("INSERT INTO fts(rowid, title, words, rest) VALUES(?, ?, ?, ?)", r.ID, texts[0], texts[1], texts[2])
}

func (b *batch) setLine(r *row) error {
	if err := b.exec("DELETE FROM line WHERE id = ?", r.ID); err != nil {
		return err
	}
	for _, code := range r.Line {
		if err := b.exec("INSERT OR IGNORE INTO line(code, id) VALUES(?, ?)", code.String(), r.ID); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a row and what only it held.
func (b *batch) remove(id int64) error {
	for _, kind := range []cityid.DatasetPart{cityid.PartDescription, cityid.PartSchema, cityid.PartPolicy} {
		if err := b.hold(id, kind, cityid.Digest{}, nil); err != nil {
			return err
		}
	}
	for _, query := range []string{"DELETE FROM fts WHERE rowid = ?", "DELETE FROM line WHERE id = ?", "DELETE FROM datasets WHERE id = ?"} {
		if err := b.exec(query, id); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps a document for a dataset in place of the one before; a zero digest
// keeps none.
func (b *batch) hold(id int64, kind cityid.DatasetPart, digest cityid.Digest, body []byte) error {
	var old []byte
	err := b.tx.QueryRowContext(b.ctx, "SELECT digest FROM holds WHERE id = ? AND part = ?", id, int(kind)).Scan(&old)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if old == nil && digest.IsZero() || bytes.Equal(old, digest[:]) {
		return nil
	}
	if digest.IsZero() {
		err = b.exec("DELETE FROM holds WHERE id = ? AND part = ?", id, int(kind))
	} else {
		if err = b.keep(digest, body); err == nil {
			err = b.exec("INSERT OR REPLACE INTO holds(id, part, digest) VALUES(?, ?, ?)", id, int(kind), digest[:])
		}
	}
	if err != nil || old == nil {
		return err
	}
	return b.exec("DELETE FROM documents WHERE digest = ?1 AND NOT EXISTS(SELECT 1 FROM holds WHERE digest = ?1)", old)
}

// keep stores a document unless it is there: many datasets may share a schema.
func (b *batch) keep(digest cityid.Digest, body []byte) error {
	var one int
	err := b.tx.QueryRowContext(b.ctx, "SELECT 1 FROM documents WHERE digest = ?", digest[:]).Scan(&one)
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return b.exec("INSERT INTO documents(digest, size, body) VALUES(?, ?, ?)", digest[:], len(body), deflate(body))
}

// deflaters are costly to make.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level exists
	}
	return w
}}

func deflate(body []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	if _, err := w.Write(body); err != nil {
		panic(err) // writing to memory
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func (b *batch) commit() error { return b.tx.Commit() }

func (b *batch) abort() { b.tx.Rollback() }

// unix returns a time as the registry writes it; 0 for none.
func unix(t time.Time) cityid.Time {
	if t.IsZero() {
		return 0
	}
	return cityid.TimeOf(t)
}
