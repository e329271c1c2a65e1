// SPDX-License-Identifier: Apache-2.0

package office

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cityid"
)

var (
	labelHolder = cityid.MustParse("MA.156.1301.02")
	labelKey    = cityid.PublicKey("a key")
)

func labelCodes(n int) []cityid.Code {
	var out []cityid.Code
	for i := 1; i <= n; i++ {
		out = append(out, cityid.MustParse(fmt.Sprintf("%s/20.010501/%06d", labelHolder, i)))
	}
	return out
}

func TestPrintRuns(t *testing.T) {
	c := newClock()
	o := open(t, t.TempDir(), c)
	ctx := t.Context()
	codes := labelCodes(3)
	options := PrintOptions{Template: "pole", Distance: 250, Contact: "12319"}
	id, err := o.NewSelection(ctx, Selection{Creator: labelKey, Holder: labelHolder, Codes: codes, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Selection(ctx, id, "another key"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another key's selection: %v", err)
	}
	emblem, err := o.PutBytes(ctx, []byte("emblem"))
	if err != nil {
		t.Fatal(err)
	}
	options.Emblem = emblem
	if err := o.SetSelectionOptions(ctx, id, "another key", options); !errors.Is(err, ErrNotFound) {
		t.Errorf("set another key's options: %v", err)
	}
	if err := o.SetSelectionOptions(ctx, id, labelKey, options); err != nil {
		t.Fatal(err)
	}
	s, err := o.Selection(ctx, id, labelKey)
	if err != nil || !slices.Equal(s.Codes, codes) || s.Options != options || s.Holder != labelHolder {
		t.Fatalf("the selection is %+v: %v", s, err)
	}
	sheet, err := o.PutBytes(ctx, []byte("sheet"))
	if err != nil {
		t.Fatal(err)
	}
	run := PrintRun{Holder: labelHolder, Creator: labelKey, Options: options, Pages: 1, Level: "Q", Module: .9, Distance: 250, Side: 26, Sheet: sheet, Size: 5}
	if _, err := o.AddPrintRun(ctx, PrintRun{Holder: labelHolder, Creator: labelKey, Sheet: cityid.Digest{1}}, codes, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a run without its file: %v", err)
	}
	n, err := o.AddPrintRun(ctx, run, codes, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.AddPrintRun(ctx, run, codes, id); !errors.Is(err, ErrConflict) {
		t.Errorf("a selection was printed again: %v", err)
	}
	got, err := o.PrintRun(ctx, n)
	run.ID, run.Created, run.Labels = n, c.now().UTC(), 3
	if err != nil || got != run {
		t.Errorf("the run is %+v, want %+v: %v", got, run, err)
	}
	if list, err := o.RunCodes(ctx, n); err != nil || !slices.Equal(list, codes) {
		t.Errorf("the codes are %v: %v", list, err)
	}
	printed, err := o.Printed(ctx, labelCodes(4))
	if err != nil || len(printed) != 3 || printed[codes[0]] != n {
		t.Errorf("printed are %v: %v", printed, err)
	}
	// What a selection or a run refers to stays; what has expired goes.
	lost, err := o.NewSelection(ctx, Selection{Creator: labelKey, Holder: labelHolder, Codes: codes})
	if err != nil {
		t.Fatal(err)
	}
	c.pass(8 * 24 * time.Hour)
	if _, err := o.Selection(ctx, lost, labelKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("a selection after its time: %v", err)
	}
	if swept, err := o.Sweep(ctx); err != nil || swept.Rows != 1 || swept.Files != 0 {
		t.Errorf("swept %+v: %v", swept, err)
	}
	if _, err := o.NewSelection(ctx, Selection{Creator: labelKey, Holder: labelHolder, Codes: make([]cityid.Code, MaxRun+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a selection of too many: %v", err)
	}
}

func TestInstallations(t *testing.T) {
	c := newClock()
	o := open(t, t.TempDir(), c)
	ctx := t.Context()
	entry := func(n int) Installation {
		return Installation{
			ID: fmt.Sprintf("%032x", n), Digest: cityid.Digest{byte(n)}, Code: labelCodes(1)[0], Holder: labelHolder, Event: LabelInstalled, Noted: c.now(), Creator: labelKey,
			Location: &cityid.Location{Lat: 380000000, Lon: 1145000000}, Accuracy: 5, Note: "north side",
		}
	}
	for n := 1; n <= 3; n++ {
		for _, fresh := range []bool{true, false} {
			if added, err := o.AddInstallation(ctx, entry(n)); err != nil || added != fresh {
				t.Fatalf("entry %d: added %v, want %v: %v", n, added, fresh, err)
			}
		}
	}
	other := entry(1)
	other.Digest = cityid.Digest{99}
	if _, err := o.AddInstallation(ctx, other); !errors.Is(err, ErrConflict) {
		t.Errorf("another entry under a known id: %v", err)
	}
	for name, change := range map[string]func(*Installation){
		"id": func(e *Installation) { e.ID = "x" }, "event": func(e *Installation) { e.Event = 9 }, "note": func(e *Installation) { e.Note = "a\nb" }, "photo": func(e *Installation) { e.Photo = cityid.Digest{7} },
	} {
		e := entry(9)
		change(&e)
		if _, err := o.AddInstallation(ctx, e); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	list, err := o.Installations(ctx, labelHolder, true, 0, 2)
	if err != nil || len(list) != 2 || list[0].Seq != 3 || *list[0].Location != *entry(3).Location || list[0].Note != "north side" {
		t.Fatalf("the entries are %+v: %v", list, err)
	}
	file, err := o.PutBytes(ctx, []byte("table"))
	if err != nil {
		t.Fatal(err)
	}
	s := Statement{Holder: labelHolder, File: file, Size: 5, Creator: labelKey}
	if _, err := o.AddStatement(ctx, s, []int64{1, 77}); !errors.Is(err, ErrConflict) {
		t.Errorf("a statement about what is not there: %v", err)
	}
	id, err := o.AddStatement(ctx, s, []int64{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if all, open, err := o.InstallationCount(ctx, labelHolder); err != nil || all != 3 || open != 1 {
		t.Errorf("%d entries, %d open: %v", all, open, err)
	}
	for _, height := range []uint64{12, 13} { // the first stays
		if err := o.AnchorStatement(ctx, file, cityid.Digest{byte(height)}, height); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := o.Statement(ctx, id); err != nil || got.Height != 12 || got.Entries != 2 || got.Tx != (cityid.Digest{12}) {
		t.Errorf("the statement is %+v: %v", got, err)
	}
	if latest, err := o.LatestInstallations(ctx, labelCodes(2)); err != nil || len(latest) != 1 || latest[labelCodes(1)[0]] != LabelInstalled {
		t.Errorf("the latest are %v: %v", latest, err)
	}
}

func TestScanLogs(t *testing.T) {
	c := newClock()
	o := open(t, t.TempDir(), c)
	ctx := t.Context()
	file, err := o.PutBytes(ctx, []byte("log"))
	if err != nil {
		t.Fatal(err)
	}
	codes := labelCodes(2)
	scans := []Scan{{Code: codes[0], Seen: c.now()}, {Code: codes[0], Seen: c.now()}, {Code: codes[1], Seen: c.now(), Location: &cityid.Location{Lat: 1, Lon: 2}}}
	log := ScanLog{Holder: labelHolder, Creator: labelKey, Name: "a.csv", File: file, Rows: 4, Foreign: 1, Unknown: []string{"MA.156.9"}}
	for round, duplicates := range []int{1, 3} {
		id, err := o.AddScanLog(ctx, log, scans)
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.ScanLog(ctx, id)
		if err != nil || got.Duplicates != duplicates || got.Foreign != 1 || !slices.Equal(got.Unknown, log.Unknown) {
			t.Errorf("log %d is %+v: %v", round, got, err)
		}
	}
	list, err := o.ScansOf(ctx, 1, cityid.Code{}, 1)
	if err != nil || len(list) != 1 || list[0].Code != codes[0] {
		t.Errorf("the scans are %+v: %v", list, err)
	}
	if list, err = o.ScansOf(ctx, 1, codes[0], 10); err != nil || len(list) != 1 || *list[0].Location != (cityid.Location{Lat: 1, Lon: 2}) {
		t.Errorf("the scans that follow are %+v: %v", list, err)
	}
	if seen, err := o.LastSeen(ctx, codes); err != nil || len(seen) != 2 || seen[codes[0]] != c.now().UnixMilli() {
		t.Errorf("last seen are %v: %v", seen, err)
	}
}
