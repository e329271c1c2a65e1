// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
)

func TestImports(t *testing.T) {
	o, c := newOffice(t)
	below, other := cityid.MustParse("MA.156.1301.02"), cityid.MustParse("MA.156.1301.01")
	table, state := []byte("name\nsecret-of-the-table\n"), []byte(`{"cell":"secret-of-the-state"}`)
	id, err := o.NewImport(t.Context(), below, "", "lamps.csv", table, state)
	if err != nil {
		t.Fatal(err)
	}
	scan(t, o.dir, "secret-of-the-table", "secret-of-the-state")
	i, err := o.Import(t.Context(), id)
	if err != nil || i.Parent != below || i.Phase != ImportOpen || i.Revision != 1 || !bytes.Equal(i.State, state) || i.Title != "lamps.csv" {
		t.Fatalf("import %+v, %v", i, err)
	}
	if got, err := o.ImportTable(t.Context(), &i); err != nil || !bytes.Equal(got, table) {
		t.Errorf("table %q, %v", got, err)
	}
	all := func(cityid.Code) bool { return true }
	if list, err := o.ImportsBelow(t.Context(), all); err != nil || len(list) != 1 || len(list[0].State) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
	if list, err := o.ImportsBelow(t.Context(), func(p cityid.Code) bool { return p == other }); err != nil || len(list) != 0 {
		t.Errorf("another's list %v, %v", list, err)
	}

	c.pass(29 * 24 * time.Hour)
	if n, err := o.SaveImport(t.Context(), id, 1, ImportRunning, []byte("{}")); err != nil || n != 2 {
		t.Fatalf("save: %d, %v", n, err)
	}
	if _, err := o.SaveImport(t.Context(), id, 1, ImportOpen, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("an old revision is saved: %v", err)
	}
	if _, err := o.SaveImport(t.Context(), "nope", 1, ImportOpen, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not there is saved: %v", err)
	}
	if _, err := o.SaveImport(t.Context(), id, 2, ImportOpen, make([]byte, maxState+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large state: %v", err)
	}
	folder, err := o.ImportFolder(id)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "checkpoint"), []byte("x"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", ".", "..", "../" + id, strings.Repeat("A", 200)} {
		if _, err := o.ImportFolder(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("folder of %q: %v", bad, err)
		}
	}

	c.pass(29 * 24 * time.Hour) // a save began another life
	if _, err := o.Import(t.Context(), id); err != nil {
		t.Errorf("after 58 days: %v", err)
	}
	if _, err := o.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("its folder was swept: %v", err)
	}
	c.pass(2 * 24 * time.Hour)
	if _, err := o.Import(t.Context(), id); !errors.Is(err, ErrExpired) {
		t.Errorf("after 60 days: %v", err)
	}
	if _, err := o.SaveImport(t.Context(), id, 2, ImportOpen, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("an expired one is saved: %v", err)
	}
	s, err := o.Sweep(t.Context())
	if err != nil || s.Rows != 1 || s.Files != 1 {
		t.Errorf("swept %+v, %v", s, err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestDeleteImport(t *testing.T) {
	o, c := newOffice(t)
	below := cityid.MustParse("MA.156.1301.02")
	ids := []string{}
	for range maxImports {
		id, err := o.NewImport(t.Context(), below, "", "lamps.csv", []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := o.NewImport(t.Context(), below, "", "lamps.csv", []byte("x"), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one too many: %v", err)
	}
	folder, err := o.ImportFolder(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	// A table and a state belong to their import: exchanged they do not open.
	if _, err := o.writes.ExecContext(t.Context(), `UPDATE import SET state = (SELECT state FROM import WHERE id = ?) WHERE id = ?`, ids[1], ids[2]); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Import(t.Context(), ids[2]); !errors.Is(err, ErrDamaged) {
		t.Errorf("another's state: %v", err)
	}
	a, errA := o.Import(t.Context(), ids[0])
	b, errB := o.Import(t.Context(), ids[1])
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	a.File = b.File
	if _, err := o.ImportTable(t.Context(), &a); !errors.Is(err, ErrDamaged) {
		t.Errorf("another's table: %v", err)
	}
	if err := o.DeleteImport(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := o.DeleteImport(t.Context(), ids[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
	c.pass(2 * time.Hour)
	// The table of the one that was one too many goes as well.
	if s, err := o.Sweep(t.Context()); err != nil || s.Files != 2 {
		t.Errorf("swept %+v, %v", s, err)
	}
	for _, bad := range []string{"", "a\nb"} {
		if _, err := o.NewImport(t.Context(), below, "", bad, nil, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("title %q: %v", bad, err)
		}
	}
}
