// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"
	"time"
)

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMigrate(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "a.db")
	do(t, MakeDatabase(path))
	db, err := OpenDatabase(path, "_txlock=immediate")
	do(t, err)
	defer db.Close()
	old := fstest.MapFS{
		"migrations/0001_a.sql": {Data: []byte(`CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);`)},
		"migrations/0003_c.sql": {Data: []byte(`INSERT INTO a VALUES (3);`)},
	}
	next := fstest.MapFS{"migrations/0002_b.sql": {Data: []byte(`INSERT INTO a VALUES (2); INSERT INTO missing VALUES (1);`)}}
	for name, f := range old {
		next[name] = f
	}
	values := func() (s string) {
		t.Helper()
		do(t, db.QueryRow(`SELECT group_concat(x) FROM (SELECT x FROM a ORDER BY rowid)`).Scan(&s))
		return s
	}
	for range 2 { // the second time there is nothing to do
		do(t, Migrate(ctx, db, old, 1))
	}
	if values() != "1,3" {
		t.Errorf("after two migrations: %s", values())
	}
	if err := Migrate(ctx, db, next, 1); err == nil || values() != "1,3" {
		t.Errorf("a migration that fails half-way: %v, leaves %s", err, values())
	}
	next["migrations/0002_b.sql"] = &fstest.MapFile{Data: []byte(`INSERT INTO a VALUES (2);`)}
	do(t, Migrate(ctx, db, next, 1))
	if values() != "1,3,2" {
		t.Errorf("a migration with a lower number that came later: %s", values())
	}
	if err := Migrate(ctx, db, old, 1); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer database: %v", err)
	}
	if err := Migrate(ctx, db, fstest.MapFS{"migrations/a.sql": {}}, 1); err == nil {
		t.Error("a migration without a number")
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := Lock(path)
	do(t, err)
	if second, err := Lock(path); runtime.GOOS == "linux" && !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v, %v", second, err)
	}
	do(t, f.Close())
	f, err = Lock(path)
	do(t, err)
	do(t, f.Close())
}

// kind is a folder with the one file a.
var kind = Kind{
	Format: "test/1", Least: 1,
	Path: func(i int, e Entry) string {
		if i == 0 {
			return e.Name
		}
		return ""
	},
	Check: func(_ context.Context, dir string, entries []Entry) error {
		b, err := os.ReadFile(filepath.Join(dir, "a"))
		if err == nil && string(b) == "bad" {
			err = fmt.Errorf("it is bad: %w", ErrDamaged)
		}
		return err
	},
}

func TestArchive(t *testing.T) {
	archive := func(format, name, content string) []byte {
		var out bytes.Buffer
		m := Manifest{Format: format, Created: time.Unix(1, 5), Entries: []Entry{EntryOf(name, []byte(content))}}
		do(t, WriteArchive(t.Context(), &out, m, func(Entry) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(content))), nil }))
		return out.Bytes()
	}
	dir := filepath.Join(t.TempDir(), "x", "y")
	do(t, Restore(t.Context(), kind, dir, bytes.NewReader(archive("test/1", "a", "good"))))
	if b, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(b) != "good" {
		t.Errorf("restored %q, %v", b, err)
	}
	good := archive("test/1", "a", "good")
	flipped := bytes.Clone(good)
	flipped[bytes.LastIndex(good, []byte("good"))] ^= 1
	for what, c := range map[string]struct {
		archive []byte
		want    error
	}{
		"what the check refuses": {archive("test/1", "a", "bad"), ErrDamaged},
		"another format":         {archive("test/2", "a", "good"), ErrNewer},
		"a name upwards":         {archive("test/1", "../a", "good"), ErrDamaged},
		"an absolute name":       {archive("test/1", "/a", "good"), ErrDamaged},
		"changed":                {flipped, ErrDamaged},
		"cut off":                {good[:len(good)-1536], ErrDamaged},
	} {
		parent := t.TempDir()
		if err := Restore(t.Context(), kind, filepath.Join(parent, "x"), bytes.NewReader(c.archive)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind %v, %v", what, left, err)
		}
	}
	if err := Restore(t.Context(), kind, dir, bytes.NewReader(good)); !errors.Is(err, ErrConflict) {
		t.Errorf("over another folder: %v", err)
	}
	m := Manifest{Format: "test/1", Entries: []Entry{EntryOf("a", []byte("good"))}}
	for what, open := range map[string]func(Entry) (io.ReadCloser, error){
		"gone":    func(Entry) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, "b")) },
		"changed": func(Entry) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("Good"))), nil },
	} {
		if err := WriteArchive(t.Context(), io.Discard, m, open); !errors.Is(err, ErrDamaged) {
			t.Errorf("a file that is %s: %v", what, err)
		}
	}
}
