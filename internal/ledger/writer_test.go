// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cityid"
)

// TestSynced holds the writer's connection to what makes a commit durable.
func TestSynced(t *testing.T) {
	f := newFixture(t)
	for pragma, value := range map[string]string{"synchronous": "2", "journal_mode": "wal", "secure_delete": "1", "foreign_keys": "1"} {
		var got string
		do(t, f.writer.conn.QueryRowContext(t.Context(), `PRAGMA `+pragma).Scan(&got))
		if got != value {
			t.Errorf("%s is %s, want %s", pragma, got, value)
		}
	}
	if _, err := f.reads.Exec(`DELETE FROM entry`); err == nil {
		t.Error("the connections for reading write")
	}
}

// limitPages lets the database have no more pages than it has, as a full disk does,
// or lifts that.
func limitPages(t *testing.T, f *fixture, full bool) {
	t.Helper()
	pages := 1 << 30
	if full {
		do(t, f.writer.conn.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages))
	}
	ok(f.writer.conn.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)))(t)
}

// TestDiskFull fills the disk while many append: all of a group fail or none, nobody
// waits for ever, and once there is room the ledger goes on where it was.
func TestDiskFull(t *testing.T) {
	f := newFixture(t)
	a := agreement(1)
	for range 3 {
		f.serve(a)
	}
	limitPages(t, f, true)
	before := f.Stats()
	var wg sync.WaitGroup
	var mu sync.Mutex
	written := 0
	for w := range 8 {
		wg.Go(func() {
			for i := range 5 {
				_, err := f.AppendFetched(t.Context(), fetched(t, a, uint64(100*w+i+1)))
				mu.Lock()
				if err == nil {
					written++
				} else if errors.Is(err, ErrBroken) || errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				mu.Unlock()
			}
			for i := range 6 { // some can not sign, so that others have to sign again
				s := Served{Agreement: a, Request: message(t, fmt.Sprint("full ", w, " ", i))}
				_, err := f.AppendServed(t.Context(), s, func(n uint64) (Answer, error) {
					if (w+i)%3 == 0 {
						return Answer{}, errors.New("no key")
					}
					return f.answer(&s, n, 403)
				})
				mu.Lock()
				if err == nil {
					written++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if written > 68 {
		t.Fatalf("the disk took %d entries", written)
	}
	if s := f.Stats(); s.Entries != before.Entries+uint64(written) {
		t.Errorf("%d entries, %d before and %d written", s.Entries, before.Entries, written)
	}
	limitPages(t, f, false)
	if e := f.serve(a); e.ID != before.Entries+uint64(written)+1 {
		t.Errorf("%+v after %d", e, before.Entries+uint64(written))
	}
	f.reopen()
	anchorAll(t, f)
	ok(f.Proof(t.Context(), f.Stats().Entries))(t)
}

// TestDiskBroken overwrites the database: the first write that finds out is the last
// one tried.
func TestDiskBroken(t *testing.T) {
	f := newFixture(t)
	for range 50 {
		f.serve(agreement(1))
	}
	do(t, f.foldLog(t.Context()))
	path := filepath.Join(f.opts.Dir, dbName)
	whole := ok(os.ReadFile(path))(t)
	file := ok(os.OpenFile(path, os.O_WRONLY, 0))(t)
	ok(file.WriteAt(bytes.Repeat([]byte{0xa5}, len(whole)-4096), 4096))(t)
	ok(f.writer.conn.ExecContext(t.Context(), `PRAGMA shrink_memory`))(t) // forgets what it has read
	for range 2 {
		_, err := f.AppendFetched(t.Context(), fetched(t, agreement(1), 1))
		want(t, "on a broken disk", err, ErrBroken)
		ok(file.WriteAt(whole, 0))(t) // too late
	}
	do(t, file.Close())
	f.reopen()
	if e := f.serve(agreement(1)); e.ID != 51 {
		t.Errorf("%+v", e)
	}
}

// TestOwnProvider logs both sides of a fetch that a gateway makes from itself.
func TestOwnProvider(t *testing.T) {
	f := newFixture(t)
	a := agreement(1)
	s := f.served(a, "own")
	var answer Answer
	e := ok(f.AppendServed(t.Context(), s, func(n uint64) (_ Answer, err error) {
		answer, err = f.answer(&s, n, 200)
		return answer, err
	}))(t)
	g := ok(f.AppendFetched(t.Context(), Fetched{Request: s.Request, Response: answer.Response, Receipt: ok(answer.Receipt.Encode())(t)}))(t)
	if g.ID != 2 || g.Hash != e.Hash {
		t.Errorf("%+v, %+v", e, g)
	}
	anchorAll(t, f)
	p, q := ok(f.Proof(t.Context(), 1))(t), ok(f.Proof(t.Context(), 2))(t)
	if p.Salt == q.Salt || p.Salt == (cityid.Digest{}) {
		t.Error("two leaves have one salt")
	}
}
