// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"cityid"
)

// walk is a small real crosswalk: the records it holds, under their codes and
// their entries.
type walk struct {
	records map[cityid.Code]cityid.Record
	history map[cityid.Code][]cityid.Record

	mu    sync.Mutex
	asked map[string]int
	fail  func(question string) error // may be nil
}

func (w *walk) question(format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := fmt.Sprintf(format, args...)
	w.asked[q]++
	if w.fail != nil {
		return w.fail(q)
	}
	return nil
}

func (w *walk) Lookup(_ context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error) {
	if err := w.question("%s:%s", scheme, value); err != nil {
		return nil, err
	}
	a := &cityid.CrosswalkAnswer{}
	for c, r := range w.records {
		for _, x := range r.Aliases {
			if x.Scheme == scheme && x.Value == value {
				a.Entries = append(a.Entries, cityid.CrosswalkEntry{Code: c, Alias: x})
			}
		}
	}
	if len(a.Entries) == 0 {
		return nil, cityid.Errorf(cityid.ErrNotFound, "nothing")
	}
	// As a node does, in order of code.
	for i := range a.Entries {
		for k := range i {
			if a.Entries[i].Code.Compare(a.Entries[k].Code) < 0 {
				a.Entries[i], a.Entries[k] = a.Entries[k], a.Entries[i]
			}
		}
	}
	return a, nil
}

func (w *walk) Record(_ context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	if err := w.question("%s", code); err != nil {
		return nil, err
	}
	r, ok := w.records[code]
	if !ok {
		return nil, cityid.Errorf(cityid.ErrNotFound, "nothing")
	}
	return &cityid.RecordAnswer{Record: r}, nil
}

func (w *walk) History(_ context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	if err := w.question("history of %s", code); err != nil {
		return nil, err
	}
	return &cityid.HistoryAnswer{Revisions: w.history[code]}, nil
}

// newWalk returns a crosswalk of lamp posts 1 to 9 below one class; entries hold at
// 500 where nothing else is said.
func newWalk() *walk {
	w := &walk{records: map[cityid.Code]cityid.Record{}, history: map[cityid.Code][]cityid.Record{}, asked: map[string]int{}}
	add := func(n int, status cityid.Status, aliases ...cityid.Alias) *cityid.Record {
		r := cityid.Record{Code: lamp(n), Status: status, Aliases: aliases}
		w.records[r.Code] = r
		return &r
	}
	old := func(value string, from, until cityid.Time) cityid.Alias {
		return cityid.Alias{Scheme: "asset", Value: value, From: from, Until: until}
	}
	gb := func(value string) cityid.Alias { return cityid.Alias{Scheme: "gb", Value: value} }
	add(1, cityid.StatusActive, old("A1", 0, 0), gb("000001"))
	add(2, cityid.StatusActive, old("A2", 0, 400), old("A2B", 400, 0))
	add(3, cityid.StatusActive, old("TWO", 0, 0))
	add(4, cityid.StatusActive, old("TWO", 0, 0), gb("000004"), gb("000044"))
	add(5, cityid.StatusSuspended, old("A5", 0, 0), gb("000005"))
	gone := add(6, cityid.StatusRetired, old("A6", 0, 0), old("MOVED", 0, 0), gb("000006"))
	gone.Reason, gone.Changed.Time = cityid.ReasonReplaced, 450
	gone.Successors, gone.Heir = []cityid.Code{lamp(7), lamp(8)}, lamp(7)
	w.records[gone.Code] = *gone
	w.history[gone.Code] = []cityid.Record{*gone, {Code: gone.Code, Status: cityid.StatusActive, Changed: cityid.Change{Time: 10}}}
	add(7, cityid.StatusActive, old("MOVED", 0, 0))
	add(8, cityid.StatusRetired, old("BOTH", 0, 0))
	add(9, cityid.StatusRetired, old("BOTH", 0, 0))
	return w
}

func lamp(n int) cityid.Code {
	return cityid.MustParse(fmt.Sprintf("MA.156.1301.01/20.010203/%06d", n))
}

func translating500(from, to string) TranslateOptions {
	return TranslateOptions{
		From: from, To: to, At: 500, Backoff: time.Microsecond,
		Settings: &cityid.Settings{Schemes: []cityid.Scheme{{Name: "asset"}, {Name: "gb", Patterns: []string{"######"}}}},
	}
}

func TestTranslate(t *testing.T) {
	l1, l4, l7 := lamp(1).String(), lamp(4).String(), lamp(7).String()
	const via = "MA.156.1301.01/20.010203/00000"
	for _, test := range []struct {
		from, to, value string
		at              cityid.Time
		want            Outcome
		result, note    string
	}{
		{"asset", "code", "A1", 0, Translated, l1, ""},
		{"asset", "code", "　Ａ１ ", 0, Translated, l1, ""},
		{"asset", "code", "a1", 0, Unmatched, "", "mapped to no code"},
		{"asset", "code", " ", 0, Unmatched, "", "blank"},
		{"asset", "code", "1.2E+11", 0, Unmatched, "", "scientific notation"},
		{"asset", "code", strings.Repeat("x", 65), 0, Unmatched, "", "at most 64"},
		{"asset", "code", "A2", 0, Expired, "", via + "2 until 1970-01-01T00:06:40Z"},
		{"asset", "code", "A2", 399, Translated, lamp(2).String(), ""},
		{"asset", "code", "A2B", 399, Expired, "", "from 1970-01-01T00:06:40Z"},
		{"asset", "code", "TWO", 0, Ambiguous, "", "one of " + lamp(3).String() + ", " + l4},
		{"asset", "code", "A5", 0, Translated, lamp(5).String(), "suspended"},
		{"asset", "code", "A6", 0, Retired, lamp(6).String(), "retired (replaced); succeeded by " + l7 + ", " + lamp(8).String() + "; heir " + l7},
		{"asset", "code", "A6", 449, Translated, lamp(6).String(), ""},
		{"asset", "code", "A6", 5, Translated, lamp(6).String(), ""},
		{"asset", "code", "A6", 450, Retired, lamp(6).String(), "succeeded by"},
		{"asset", "code", "MOVED", 0, Translated, l7, ""},
		{"asset", "code", "MOVED", 449, Ambiguous, "", "one of"},
		{"asset", "code", "BOTH", 0, Ambiguous, "", "one of"},
		{"gb", "code", "1", 0, Unmatched, "", "leading zeros look lost: scheme gb has 6 digits here"},
		{"gb", "code", "x", 0, Unmatched, "", "scheme gb wants ######"},
		{"code", "gb", l1, 0, Translated, "000001", ""},
		{"code", "gb", strings.ToLower(l1), 0, Translated, "000001", ""},
		{"code", "gb", "MA..1", 0, Unmatched, "", "offset"},
		{"code", "gb", via + "99", 0, Unmatched, "", "no such code"},
		{"code", "gb", l4, 0, Ambiguous, "", "one of 000004, 000044"},
		{"code", "gb", l7, 0, Unmatched, "", "no entry of scheme gb"},
		{"code", "gb", lamp(6).String(), 0, Retired, "000006", "succeeded by " + l7},
		{"code", "asset", lamp(2).String(), 0, Translated, "A2B", ""},
		{"code", "asset", lamp(2).String(), 399, Translated, "A2", ""},
		{"asset", "gb", "A1", 0, Translated, "000001", ""},
		{"asset", "gb", "A5", 0, Translated, "000005", via + "5: suspended"},
		{"asset", "gb", "TWO", 0, Ambiguous, "", "one of"},
		{"asset", "gb", "A2B", 0, Unmatched, "", via + "2: no entry of scheme gb"},
		{"asset", "gb", "A6", 0, Retired, "000006", via + "6: retired (replaced)"},
		{"gb", "asset", "000044", 0, Translated, "TWO", ""},
	} {
		o := translating500(test.from, test.to)
		if test.at != 0 {
			o.At = test.at
		}
		table := readText(t, "v,w\n"+test.value+",x\n")
		rows, err := Translate(t.Context(), table, newWalk(), o)
		if err != nil {
			t.Fatalf("%+v: %v", test, err)
		}
		r := rows[0]
		if r.Outcome != test.want || r.To != test.result || !strings.Contains(r.Note, test.note) || (test.note == "") != (r.Note == "") {
			t.Errorf("%s %q to %s at %d: %s %q, %q; want %s %q, %q", test.from, test.value, test.to, test.at, r.Outcome, r.To, r.Note, test.want, test.result, test.note)
		}
		for _, f := range r.Found {
			if !strings.Contains(r.Note, f) {
				t.Errorf("%q: the note %q does not name %s", test.value, r.Note, f)
			}
		}
	}
}

func TestTranslateOptions(t *testing.T) {
	table := readText(t, "v\n1\n")
	for want, change := range map[string]func(*TranslateOptions){
		"it has asset, gb": func(o *TranslateOptions) { o.From = "cjt" },
		"changes nothing":  func(o *TranslateOptions) { o.To = "asset" },
		"column 2":         func(o *TranslateOptions) { o.Column = 1 },
		"width 26":         func(o *TranslateOptions) { o.Width = 26 },
	} {
		o := translating500("asset", CodeScheme)
		change(&o)
		if _, err := Translate(t.Context(), table, newWalk(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	o := translating500("asset", CodeScheme)
	_, err := Translate(t.Context(), readText(t, "v\n1,2\n1\n3,4\n"), newWalk(), o)
	var list Problems
	if !errors.As(err, &list) || len(list) != 2 || list[1].Line != 4 {
		t.Errorf("rows longer than the header: %v", err)
	}
	o.From, o.Width = "gb", 6
	if rows, err := Translate(t.Context(), readText(t, "v\n1\n"), newWalk(), o); err != nil || rows[0].To != lamp(1).String() || rows[0].Value != "000001" {
		t.Errorf("padded: %+v, %v", rows, err)
	}
}

// TestTranslateAsks counts the questions, and lets some of them fail.
func TestTranslateAsks(t *testing.T) {
	table := readText(t, "v\n"+strings.Repeat("A1\nA6\nTWO\nnone\n", 1000))
	o := translating500("asset", "gb")
	var last, total int
	o.Progress = func(d, n int) {
		if d != last+1 || d > n {
			t.Errorf("progress %d of %d after %d", d, n, last)
		}
		last, total = d, n
	}
	w := newWalk()
	failures := map[string]int{}
	w.fail = func(q string) error {
		if failures[q]++; failures[q] < 3 {
			return cityid.Errorf(cityid.ErrFull, "full")
		}
		return nil
	}
	rows, err := Translate(t.Context(), table, w, o)
	if err != nil || len(rows) != 4000 || rows[3997].Outcome != Retired || rows[3997].Line != 3999 {
		t.Fatalf("%v, %d rows", err, len(rows))
	}
	if last != total || total != 8 { // four values, four codes
		t.Errorf("progress ended with %d of %d", last, total)
	}
	for q, n := range w.asked {
		if n != 3 {
			t.Errorf("%s was asked %d times", q, n)
		}
	}
	refused := errors.New("no")
	for name, fail := range map[string]func(q string) error{
		"a node out of reach": func(q string) error { return refused },
		"a refusal": func(q string) error {
			if q == lamp(4).String() {
				return cityid.Errorf(cityid.ErrInternal, "broken")
			}
			return nil
		},
	} {
		w := newWalk()
		w.fail = fail
		o := translating500("asset", "gb")
		if rows, err := Translate(t.Context(), table, w, o); err == nil || rows != nil {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w = newWalk()
	w.fail = func(string) error { cancel(); return nil }
	if _, err := Translate(ctx, table, w, translating500("asset", "gb")); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestTranslatedTable checks that what a table held is written as it was.
func TestTranslatedTable(t *testing.T) {
	write := func(table *Table) (csv string, objects []string) {
		t.Helper()
		rows, err := Translate(t.Context(), table, newWalk(), translating500("asset", "gb"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := table.Translated(rows, "gb")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteCSV(&b, out.Header(), out.Rows()); err != nil {
			t.Fatal(err)
		}
		list, err := out.Objects()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			objects = append(objects, string(o))
		}
		return b.String(), objects
	}
	csv, objects := write(readText(t, "旧码,,备注\nA1,,\"第一行\n<第二行>\"\n\n'=A1,x,0012\n"))
	want := "\ufeff旧码,,备注,gb,gb:status,gb:note\r\n" +
		"A1,,\"第一行\n<第二行>\",\"\t000001\",translated,\r\n" +
		"'=A1,x,\"\t0012\",,unmatched,mapped to no code\r\n"
	if d := cmp.Diff(want, csv); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		`{"旧码":"A1","2":"","备注":"第一行\n<第二行>","gb":"000001","gb:status":"translated","gb:note":""}`,
		`{"旧码":"=A1","2":"x","备注":"0012","gb":"","gb:status":"unmatched","gb:note":"mapped to no code"}`,
	}, objects); d != "" {
		t.Error(d)
	}
	csv, objects = write(readText(t, `{"v":"A1","n":1.50,"x":null}`+"\n"+`{"v":7,"y":[1, 2],"s":" '=1 "}`))
	if d := cmp.Diff([]string{
		`{"v":"A1","n":1.50,"x":null,"gb":"000001","gb:status":"translated","gb:note":""}`,
		`{"v":7,"y":[1, 2],"s":" '=1 ","gb":"","gb:status":"unmatched","gb:note":"mapped to no code"}`,
	}, objects); d != "" {
		t.Error(d)
	}
	if !strings.Contains(csv, "A1,\"\t1.50\",,,,\"\t000001\"") {
		t.Errorf("as CSV: %q", csv)
	}
	if _, err := readText(t, "v,gb:note\nA1,\n").Translated(nil, "gb"); err == nil || !strings.Contains(err.Error(), "gb:note") {
		t.Errorf("a column that is there already: %v", err)
	}
	twice, err := readText(t, "v,v\nA1,\n").Translated(nil, "gb")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := twice.Objects(); err == nil || !strings.Contains(err.Error(), "two columns named") {
		t.Errorf("two columns of one name: %v", err)
	}
}

// TestTranslateWorkbook checks which of what a cell stores and shows is taken.
func TestTranslateWorkbook(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	date, errDate := f.NewStyle(&excelize.Style{NumFmt: 14})
	rounded, errRounded := f.NewStyle(&excelize.Style{NumFmt: 1})
	err := errors.Join(errDate, errRounded,
		f.SetSheetRow("Sheet1", "A1", &[]any{"v", "date", "size"}),
		f.SetSheetRow("Sheet1", "A2", &[]any{"A1", 45000, 1.25}),
		f.SetSheetRow("Sheet1", "A3", &[]any{45000, nil, 7}),
		f.SetCellStyle("Sheet1", "B2", "B2", date), f.SetCellStyle("Sheet1", "A3", "A3", date), f.SetCellStyle("Sheet1", "C2", "C2", rounded))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	table := readText(t, b.String())
	rows, err := Translate(t.Context(), table, newWalk(), translating500("asset", "code"))
	if err != nil {
		t.Fatal(err)
	}
	if rows[0].Outcome != Translated || rows[1].Outcome != Unmatched || !strings.Contains(rows[1].Note, "shows other than it stores") {
		t.Errorf("%+v", rows)
	}
	for k, want := range []string{"A1", "03-15-23", "1.25"} {
		if got, _ := table.Text(0, k); got != want {
			t.Errorf("column %d is %q, want %q", k, got, want)
		}
	}
}
