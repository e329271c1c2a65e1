// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/keys"
)

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)} }

func open(t testing.TB, dir string, c *clock) *Office {
	t.Helper()
	o, err := Open(t.Context(), Options{Dir: dir, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func newOffice(t testing.TB) (*Office, *clock) {
	t.Helper()
	c := newClock()
	return open(t, filepath.Join(t.TempDir(), "an office"), c), c
}

// crash copies the folder as it lies on the disk this moment, as a machine that
// lost its power would find it, and opens the copy.
func crash(t testing.TB, o *Office, c *clock) *Office {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, keyName), 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, c)
}

// scan fails the test if any file of the folder contains one of the texts.
func scan(t testing.TB, dir string, secrets ...string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		seen += len(b)
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s contains %q", path, s)
			}
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Fatalf("scanned %d bytes: %v", seen, err)
	}
}

func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func privateKey(t testing.TB, a keys.Algorithm, n byte) (*keys.Private, cityid.PublicKey) {
	t.Helper()
	k, err := keys.NewPrivate(a, bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k, cityid.PublicKey(k.Public().Raw())
}

func TestOpen(t *testing.T) {
	ctx, c := t.Context(), newClock()
	dir := filepath.Join(t.TempDir(), "a?b#c%41 门户")
	do(t, os.Mkdir(dir, 0o755)) // a folder that others may look into
	o := ok(Open(ctx, Options{Dir: dir, Now: c.now}))(t)
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second office in one folder: %v", err)
	}
	token := ok(o.NewSession(ctx, ""))(t)
	for name, v := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := o.writes.QueryRow(`PRAGMA ` + name).Scan(&got); err != nil || got != v {
			t.Errorf("%s is %q, want %q (%v)", name, got, v, err)
		}
	}
	if _, err := o.reads.Exec(`DELETE FROM session`); err == nil {
		t.Error("the connections for reading write")
	}
	for _, e := range ok(os.ReadDir(dir))(t) {
		if info := ok(e.Info())(t); info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %o", e.Name(), info.Mode().Perm())
		}
	}
	do(t, o.Close())
	if _, err := o.Session(ctx, token); err == nil {
		t.Error("a closed office answers")
	}
	for _, name := range []string{dbName, keyName} {
		info := ok(os.Stat(filepath.Join(dir, name)))(t)
		if name == keyName && (info.Mode().Perm() != 0o600 || info.Size() != 32) {
			t.Errorf("%s: mode %o, %d bytes", name, info.Mode().Perm(), info.Size())
		}
	}
	o = open(t, dir, c)
	ok(o.Session(ctx, token))(t)
}

func TestOfficeKey(t *testing.T) {
	ctx, c, dir := t.Context(), newClock(), t.TempDir()
	do(t, ok(Open(ctx, Options{Dir: dir, Now: c.now}))(t).Close())
	path := filepath.Join(dir, keyName)
	key := ok(os.ReadFile(path))(t)
	try := func(what string, target error) {
		t.Helper()
		o, err := Open(ctx, Options{Dir: dir, Now: c.now})
		if err == nil {
			do(t, o.Close())
		}
		want(t, what, err, target)
	}
	do(t, os.Remove(path))
	try("lost key", ErrKey)
	do(t, os.WriteFile(path, bytes.Repeat([]byte{1}, 32), 0o600))
	try("another key", ErrKey)
	do(t, os.WriteFile(path, key[:31], 0o600))
	try("cut key", ErrKey)
	do(t, os.WriteFile(path, key, 0o600))
	do(t, os.Chmod(path, 0o644))
	try("key for all to read", ErrKey)
	do(t, os.Chmod(path, 0o600))
	try("the key", nil)
}

func TestMigrations(t *testing.T) {
	ctx := t.Context()
	numbers := map[string]string{}
	files := ok(fs.Glob(migrations, "migrations/*"))(t)
	for _, f := range files {
		name := filepath.Base(f)
		if !folder.MigrationName.MatchString(name) || numbers[name[:4]] != "" {
			t.Errorf("migration %s is named wrongly, or has the number of %s", name, numbers[name[:4]])
		}
		numbers[name[:4]] = name
	}
	dir := t.TempDir()
	db := ok(folder.OpenDatabase(filepath.Join(dir, dbName), "_txlock=immediate"))(t)
	do(t, folder.Migrate(ctx, db, migrations, 1))
	do(t, db.Close())
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, ErrKey) {
		t.Errorf("a database without key: %v", err)
	}
}

func TestFiles(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	d, n, err := o.Put(ctx, strings.NewReader("bytes"), 5)
	if err != nil || n != 5 || d != cityid.Digest(hashOf([]byte("bytes"))) {
		t.Fatalf("put: %v %d %v", d, n, err)
	}
	_, _, err = o.Put(ctx, strings.NewReader("bytes!"), 5)
	want(t, "six bytes", err, ErrTooLarge)
	_, _, err = o.Put(ctx, errReader{}, 5)
	want(t, "a reader that fails", err, fs.ErrInvalid)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err = o.Put(ended, strings.NewReader("x"), 5)
	want(t, "a cancelled put", err, context.Canceled)
	if left := ok(os.ReadDir(filepath.Join(o.dir, filesDir, tempDir)))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if b := ok(o.ReadFile(ctx, d, 5))(t); string(b) != "bytes" {
		t.Errorf("read %q", b)
	}
	_, err = o.ReadFile(ctx, d, 4)
	want(t, "limit of four", err, ErrTooLarge)
	_, err = o.OpenFile(ctx, cityid.Digest{1})
	want(t, "unknown file", err, ErrNotFound)

	// After a crash everything is there, and what was unfinished is gone.
	do(t, os.WriteFile(filepath.Join(o.dir, filesDir, tempDir, "put-1"), []byte("half"), 0o600))
	o2 := crash(t, o, c)
	if b := ok(o2.ReadFile(ctx, d, 5))(t); string(b) != "bytes" {
		t.Errorf("after a crash: %q", b)
	}
	if left := ok(os.ReadDir(filepath.Join(o2.dir, filesDir, tempDir)))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}

	// Damage is found, and healed by putting the bytes again.
	do(t, os.WriteFile(o.path(d), []byte("Bytes"), 0o600))
	_, err = o.ReadFile(ctx, d, 5)
	want(t, "a changed byte", err, ErrDamaged)
	do(t, os.Remove(o.path(d)))
	_, err = o.ReadFile(ctx, d, 5)
	want(t, "a lost file", err, ErrDamaged)
	ok(o.PutBytes(ctx, []byte("bytes")))(t)
	ok(o.ReadFile(ctx, d, 5))(t)
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, fs.ErrInvalid }

func TestSweepFiles(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	// A table that somebody adds later counts as well.
	ok(o.writes.Exec(`CREATE TABLE "print run" (id INTEGER PRIMARY KEY, "sheet file" BLOB REFERENCES file (digest)) STRICT`))(t)
	kept, loose := ok(o.PutBytes(ctx, []byte("kept")))(t), ok(o.PutBytes(ctx, []byte("loose")))(t)
	ok(o.writes.Exec(`INSERT INTO "print run" ("sheet file") VALUES (?), (NULL)`, kept[:]))(t)
	orphan := cityid.Digest{0xab}
	do(t, os.MkdirAll(filepath.Dir(o.path(orphan)), 0o700))
	do(t, os.WriteFile(o.path(orphan), []byte("a crash left it"), 0o600))

	if s := ok(o.Sweep(ctx))(t); s.Files != 1 {
		t.Errorf("within the hour: %+v", s)
	}
	c.pass(fileGrace)
	o.files.RLock() // as a snapshot does
	if s := ok(o.Sweep(ctx))(t); s.Files != 0 {
		t.Errorf("during a snapshot: %+v", s)
	}
	o.files.RUnlock()
	if s := ok(o.Sweep(ctx))(t); s.Files != 1 {
		t.Errorf("after the hour: %+v", s)
	}
	ok(o.ReadFile(ctx, kept, 10))(t)
	_, err := o.ReadFile(ctx, loose, 10)
	want(t, "a swept file", err, ErrNotFound)
	ok(o.writes.Exec(`DELETE FROM "print run"`))(t)
	if s := ok(o.Sweep(ctx))(t); s.Files != 1 {
		t.Errorf("once nothing refers to it: %+v", s)
	}
	if _, err := os.Stat(o.path(kept)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestFilesConcurrently(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 20 {
				b := bytes.Repeat([]byte{byte(i % 5)}, 1000)
				d, err := o.PutBytes(ctx, b)
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := o.ReadFile(ctx, d, 1000); err != nil { // the clock stands still: nothing is old
					t.Error(err)
				}
				if _, err := o.Sweep(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c.pass(2 * fileGrace)
	if s := ok(o.Sweep(ctx))(t); s.Files != 5 {
		t.Errorf("swept %+v, want five files", s)
	}
}
