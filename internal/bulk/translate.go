// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/unicode/norm"

	"cityid"
)

// Crosswalk is the part of a node that a translation asks. Its methods are called
// by several goroutines at once and return refusals as a [cityid.Error], above all
// [cityid.ErrNotFound].
type Crosswalk interface {
	// Lookup returns the entries of a value of a scheme.
	Lookup(ctx context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error)
	// Record returns the latest record of a code.
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
	// History returns all revisions of a code's record, latest first.
	History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error)
}

// CodeScheme stands for codes where a scheme is named.
const CodeScheme = "code"

// Outcome says what became of a row's translation.
type Outcome uint8

// The outcomes. Only that of a translated row is good.
const (
	Translated Outcome = iota + 1 // to exactly one
	Unmatched                     // to nothing: unknown, damaged or blank
	Ambiguous                     // to several, of which none is chosen
	Expired                       // to nothing at the time; there are entries for another
	Retired                       // the code is retired: To is given all the same, where there is one
)

var outcomeNames = []string{Translated: "translated", Unmatched: "unmatched", Ambiguous: "ambiguous", Expired: "expired", Retired: "retired"}

// Outcomes are all outcomes in order.
var Outcomes = []Outcome{Translated, Unmatched, Ambiguous, Expired, Retired}

// String returns the outcome's name.
func (o Outcome) String() string { return outcomeNames[o] }

// Translation is what became of one row.
type Translation struct {
	Line    int      // of the row
	Value   string   // what was translated: without blanks, folded to ASCII, normal form C
	To      string   // what it became; "": nothing, or not one thing
	Outcome Outcome  //
	Found   []string // candidates among which none is chosen, successors of a retired code, or entries of another time
	Note    string   // why it is not translated, or what else to know; names what Found holds; "": nothing
}

// TranslateOptions say how to translate a column.
type TranslateOptions struct {
	From, To string      // [CodeScheme], or a scheme's name
	Column   int         // index of the column
	At       cityid.Time // when entries must hold and codes must not be retired
	Width    int         // pad values of digits with leading zeros to this length; 0: do not

	Settings *cityid.Settings // the registry's, for its schemes

	InFlight int                   // questions under way at a time; 0: 8
	Attempts int                   // tries of one question while the node is full or out of reach; 0: 8
	Backoff  time.Duration         // pause after the first try, doubled each time up to 10 s; 0: 100 ms
	Progress func(done, total int) // called after every question, one call at a time; total grows once; nil: not
}

// Check reports what is wrong with the options for a table.
func (o *TranslateOptions) Check(t *Table) error {
	for _, name := range []string{o.From, o.To} {
		if name != CodeScheme && schemeOf(o.Settings, name) == nil {
			return fmt.Errorf("the registry has no crosswalk scheme %.40q; it has %s", name, schemeNames(o.Settings))
		}
	}
	switch {
	case o.From == o.To:
		return fmt.Errorf("from %s to %s changes nothing: name two schemes, or one and %q", o.From, o.To, CodeScheme)
	case o.Column < 0 || o.Column >= len(t.Header):
		return fmt.Errorf("column %d: the table has %d", o.Column+1, len(t.Header))
	case o.Width < 0 || o.Width > 25:
		return fmt.Errorf("width %d: want 0 to 25", o.Width)
	}
	return nil
}

// Translate translates a column and returns what became of each row, in order. It
// asks for each value once, however many rows have it, and judges all by the same
// moment, o.At. An error means that the node could not be asked to the end, or that
// the table has rows longer than its header; then nothing is returned.
//
// From a scheme, the code is the one whose entry of that value holds. Codes that
// are retired at the moment count only if no other is left. To a scheme, it is the
// value of the one entry of that scheme in the code's record that holds.
func Translate(ctx context.Context, t *Table, from Crosswalk, o TranslateOptions) ([]Translation, error) {
	if err := o.Check(t); err != nil {
		return nil, err
	}
	if err := t.checkWidth(); err != nil {
		return nil, err
	}
	o.InFlight, o.Attempts, o.Backoff = cmp.Or(o.InFlight, 8), cmp.Or(o.Attempts, 8), cmp.Or(o.Backoff, 100*time.Millisecond)
	x := &translating{TranslateOptions: o, node: from, entries: map[string][]cityid.CrosswalkEntry{}, records: map[cityid.Code]*cityid.Record{}}
	rows := make([]Translation, len(t.Rows))
	codes := make([]cityid.Code, len(t.Rows)) // of rows with a code to begin with
	for i := range rows {
		rows[i].Line = t.Rows[i].Line
		x.read(t, i, &rows[i], &codes[i])
	}
	if err := x.ask(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Outcome == 0 {
			x.translate(&rows[i], codes[i])
		}
	}
	return rows, nil
}

// checkWidth reports the rows that have more cells than the header.
func (t *Table) checkWidth() error {
	var list Problems
	for i := range t.Rows {
		if n := len(t.Rows[i].Cells); n > len(t.Header) {
			list = append(list, problemf(t.Rows[i].Line, "it has %d cells but the header %d: check the quotes and separators", n, len(t.Header)))
		}
	}
	if list != nil {
		return list
	}
	return nil
}

// translating is one translation under way. What was answered is kept for all rows.
type translating struct {
	TranslateOptions
	node Crosswalk

	mu      sync.Mutex // guards what follows while questions are under way
	done    int
	total   int
	entries map[string][]cityid.CrosswalkEntry // of values; none: mapped to nothing
	records map[cityid.Code]*cityid.Record     // as of At; nil: not allocated
}

// read takes the value out of row i. A row that can not be translated, whatever
// the node knows, has its outcome after that; others have their question noted.
func (x *translating) read(t *Table, i int, row *Translation, code *cityid.Code) {
	text, sure := t.Text(i, x.Column)
	text = norm.NFC.String(foldWidth(text))
	if n := x.Width - len(text); n > 0 && isDigits(text) {
		text = strings.Repeat("0", n) + text
	}
	row.Value = text
	fail := func(format string, args ...any) { row.Outcome, row.Note = Unmatched, fmt.Sprintf(format, args...) }
	switch {
	case text == "":
		fail("the cell is blank")
	case !sure:
		fail("the cell shows other than it stores: format the column as text and enter the value again")
	case scientific.MatchString(text):
		fail("scientific notation, in which digits are lost: format the column as text and enter the value again")
	case x.From == CodeScheme:
		c, err := cityid.Parse(text)
		if err != nil {
			fail("%v", reasonOf(err))
			return
		}
		*code = c
		x.records[c] = nil
	default:
		if err := cityid.CheckAliases([]cityid.Alias{{Scheme: x.From, Value: text}}); err != nil {
			fail("%v", reasonOf(err))
			return
		}
		x.entries[text] = nil
	}
}

// ask asks the node for the values and then for the codes.
func (x *translating) ask(ctx context.Context) error {
	x.total = len(x.entries) + len(x.records)
	values := sortedKeys(x.entries, strings.Compare)
	if err := each(ctx, x, values, x.lookup); err != nil {
		return err
	}
	for _, v := range values {
		for _, e := range x.entries[v] {
			x.records[e.Code] = nil
		}
	}
	x.total = len(x.entries) + len(x.records)
	return each(ctx, x, sortedKeys(x.records, cityid.Code.Compare), x.record)
}

func sortedKeys[K comparable, V any](m map[K]V, order func(a, b K) int) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.SortFunc(list, order)
	return list
}

// each asks one question for each of list, several at a time, and stops all at the
// first error.
func each[K any](ctx context.Context, x *translating, list []K, ask func(context.Context, K) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan K)
	var workers sync.WaitGroup
	for range min(x.InFlight, len(list)) {
		workers.Go(func() {
			for k := range queue {
				if err := x.patiently(ctx, func() error { return ask(ctx, k) }); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, k := range list {
		if ctx.Err() != nil {
			break
		}
		select {
		case queue <- k:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// patiently asks until there is an answer, for a while.
func (x *translating) patiently(ctx context.Context, ask func() error) error {
	pause := x.Backoff
	for try := 1; ; try++ {
		err := ask()
		switch {
		case err == nil:
			x.mu.Lock()
			defer x.mu.Unlock()
			x.done++
			if x.Progress != nil {
				x.Progress(x.done, x.total)
			}
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !worthRetrying(err):
			return err
		case try >= x.Attempts:
			return fmt.Errorf("the node can not be reached, or takes nothing now; nothing was written: %w", err)
		}
		if err := sleep(ctx, pause); err != nil {
			return context.Cause(ctx)
		}
		pause = min(2*pause, 10*time.Second)
	}
}

func (x *translating) lookup(ctx context.Context, value string) error {
	a, err := x.node.Lookup(ctx, x.From, value)
	if reasonCode(err) == cityid.ErrNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s %.80q: %w", x.From, value, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entries[value] = a.Entries
	return nil
}

// record asks for a code's record. One that was retired after the moment counts as
// it stood then.
func (x *translating) record(ctx context.Context, code cityid.Code) error {
	a, err := x.node.Record(ctx, code)
	if reasonCode(err) == cityid.ErrNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the record of %s: %w", code, err)
	}
	r := &a.Record
	if r.Status == cityid.StatusRetired && r.Changed.Time > x.At {
		h, err := x.node.History(ctx, code)
		if err != nil {
			return fmt.Errorf("read the history of %s: %w", code, err)
		}
		r = livingAt(r, h.Revisions, x.At)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.records[code] = r
	return nil
}

// livingAt returns record r with the status that its latest revision up to a moment
// shows; if there is none so old, its first. What else r says, such as its
// entries, which have times of their own, stays.
func livingAt(r *cityid.Record, revisions []cityid.Record, at cityid.Time) *cityid.Record {
	out := *r
	for i := range revisions {
		out.Status = revisions[i].Status
		if revisions[i].Changed.Time <= at {
			break
		}
	}
	return &out
}
