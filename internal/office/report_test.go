// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

var (
	reportedLamp = cityid.MustParse("MA.156.1301.02/20.010501/000045")
	trafficDesk  = cityid.MustParse("MA.156.1301.02")
	urbanDesk    = cityid.MustParse("MA.156.1301.01")
)

// receiptSigner signs receipts as an institution does.
func receiptSigner(t testing.TB) ReportSigner {
	k, public := privateKey(t, keys.Ed25519, 9)
	return func(number uint64, at time.Time, digest cityid.Digest) (*cityid.ReportFile, error) {
		return cityid.SignReport(cityid.ReportReceipt{
			Institution: cityid.MustParse("MA.156.9001"), Number: number, Code: reportedLamp, Department: trafficDesk, Digest: digest, Time: cityid.TimeOf(at),
		}, cityid.Signer{Key: public, Sign: k.Sign})
	}
}

func reportID(n int) string { return fmt.Sprintf("%032x", n) }

func sampleNew(n int) NewReport {
	return NewReport{ID: reportID(n), Code: reportedLamp, Department: trafficDesk, Category: cityid.ReportBroken, Text: "it does not shine\n不亮", Contact: "li@example.cn", Photo: []byte("\xff\xd8\xff the picture")}
}

func report(t testing.TB, o *Office, n NewReport) (Report, string) {
	t.Helper()
	r, token, added, err := o.AddReport(t.Context(), n, receiptSigner(t))
	if err != nil || !added {
		t.Fatalf("report: %v, %v", added, err)
	}
	return r, token
}

// TestReport hands a report in, and follows it to its end.
func TestReport(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	_, officer := privateKey(t, keys.Ed25519, 3)
	r, token := report(t, o, sampleNew(1))
	if r.Number != 1 || r.State != cityid.ReportReceived || len(token) != 26 || !r.Photo || r.Opening.Report.Photo != cityid.Digest(hashOf(sampleNew(1).Photo)) {
		t.Fatalf("%+v, %q", r, token)
	}
	f := ok(cityid.DecodeReportFile(cityid.MustMarshal(r.File())))(t)
	do(t, f.Verify(keys.Verify))

	mine := ok(o.ReportByToken(ctx, 1, strings.ToLower(token[:13])+"-"+token[13:]))(t)
	if mine.Opening.Report.Text != "it does not shine\n不亮" || mine.Contact != "li@example.cn" || mine.Receipt.Receipt != r.Receipt.Receipt {
		t.Errorf("%+v", mine)
	}
	if b := ok(o.ReportPhoto(ctx, 1))(t); !bytes.Equal(b, sampleNew(1).Photo) {
		t.Errorf("the photograph is %q", b)
	}
	other, otherToken := report(t, o, sampleNew(2))
	for _, x := range []struct {
		number uint64
		token  string
	}{{1, otherToken}, {2, token}, {3, token}, {1, ""}, {1, token[:25]}, {1, token + "0"}, {1, "U" + token[1:]}, {1 << 63, token}} {
		if _, err := o.ReportByToken(ctx, x.number, x.token); !errors.Is(err, ErrNotFound) {
			t.Errorf("report %d with %q: %v", x.number, x.token, err)
		}
	}

	c.pass(time.Hour)
	do(t, o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportAssigned, Department: urbanDesk}, officer))
	want(t, "as it was", o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportFixed, Note: "done"}, officer), ErrConflict)
	want(t, "without a note", o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportFixed}, officer), ErrInvalid)
	want(t, "by nobody", o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportFixed, Note: "done"}, ""), ErrInvalid)
	want(t, "of nobody", o.ChangeReport(ctx, 9, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportFixed, Note: "done"}, officer), ErrNotFound)
	c.pass(time.Hour)
	do(t, o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportFixed, Note: "换了灯泡"}, officer))
	want(t, "closed", o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportFixed, To: cityid.ReportDeclined, Note: "x"}, officer), ErrInvalid)
	steps := ok(o.ReportSteps(ctx, 1))(t)
	if len(steps) != 3 || steps[0].Key != "" || steps[1].Department != urbanDesk || steps[2].Note != "换了灯泡" || steps[2].Key != officer || steps[2].Time != cityid.TimeOf(c.now()) {
		t.Errorf("%+v", steps)
	}
	if r := ok(o.Report(ctx, 1))(t); r.State != cityid.ReportFixed || r.Department != urbanDesk || !r.Closed.Equal(c.now()) {
		t.Errorf("%+v", r)
	}
	if r := ok(o.Report(ctx, other.Number))(t); r.State != cityid.ReportReceived || r.Department != trafficDesk {
		t.Errorf("another one changed too: %+v", r)
	}
}

// TestReportSecret looks for what was reported, and what opens it, in the folder.
func TestReportSecret(t *testing.T) {
	o, c := newOffice(t)
	_, token := report(t, o, sampleNew(1))
	copied := crash(t, o, c)
	scan(t, copied.dir, "does not shine", "不亮", "li@example.cn", "the picture", token, reportID(1))
	if r := ok(copied.ReportByToken(t.Context(), 1, token))(t); r.Contact != "li@example.cn" {
		t.Errorf("after the power failed: %+v", r)
	}
}

// TestReportTwice sends a report again, as after a broken connection, and from
// many windows at once: it is stored once, and everybody has the same receipt.
func TestReportTwice(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	first, token := report(t, o, sampleNew(1))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, same, added, err := o.AddReport(ctx, sampleNew(1), receiptSigner(t))
			if err != nil || added || same != token || again.Receipt.Receipt != first.Receipt.Receipt {
				t.Errorf("again: %v, %v, %+v", added, err, again.Receipt)
			}
		})
		wg.Go(func() {
			if _, _, _, err := o.AddReport(ctx, sampleNew(2), receiptSigner(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := ok(o.Reports(ctx, ReportFilter{Departments: []cityid.Code{trafficDesk}, Limit: 100}))(t); len(got) != 2 {
		t.Errorf("%d reports", len(got))
	}
	for name, change := range map[string]func(*NewReport){
		"text": func(n *NewReport) { n.Text = "another" }, "category": func(n *NewReport) { n.Category = cityid.ReportDirty },
		"photo": func(n *NewReport) { n.Photo = nil }, "code": func(n *NewReport) { n.Code = trafficDesk },
	} {
		n := sampleNew(1)
		change(&n)
		_, leaked, _, err := o.AddReport(ctx, n, receiptSigner(t))
		if want(t, "another "+name, err, ErrConflict); leaked != "" {
			t.Errorf("another %s: the token is told", name)
		}
	}
}

func TestReportRefused(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	for name, c := range map[string]struct {
		change func(*NewReport)
		want   error
	}{
		"id":         {func(n *NewReport) { n.ID = "../../etc/passwd" }, ErrInvalid},
		"code":       {func(n *NewReport) { n.Code = cityid.Code{} }, ErrInvalid},
		"department": {func(n *NewReport) { n.Department = cityid.Code{} }, ErrInvalid},
		"category":   {func(n *NewReport) { n.Category = 0 }, ErrInvalid},
		"text":       {func(n *NewReport) { n.Text = strings.Repeat("a", 2001) }, ErrInvalid},
		"hidden":     {func(n *NewReport) { n.Text = "a\u202eb" }, ErrInvalid},
		"contact":    {func(n *NewReport) { n.Contact = "a\nb" }, ErrInvalid},
		"long":       {func(n *NewReport) { n.Contact = strings.Repeat("a", 201) }, ErrInvalid},
		"photo":      {func(n *NewReport) { n.Photo = make([]byte, MaxReportPhoto+1) }, ErrTooLarge},
	} {
		n := sampleNew(1)
		c.change(&n)
		_, _, _, err := o.AddReport(ctx, n, receiptSigner(t))
		want(t, name, err, c.want)
	}
	// A report whose receipt can not be signed is not stored, and leaves no gap.
	broken := errors.New("the key is gone")
	_, _, _, err := o.AddReport(ctx, sampleNew(1), func(uint64, time.Time, cityid.Digest) (*cityid.ReportFile, error) { return nil, broken })
	want(t, "without a signature", err, broken)
	if r, _ := report(t, o, sampleNew(1)); r.Number != 1 {
		t.Errorf("the first report has the number %d", r.Number)
	}
}

// TestReportLists lists reports by department, state and category, in pages.
func TestReportLists(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	_, officer := privateKey(t, keys.Ed25519, 3)
	for i := 1; i <= 7; i++ {
		n := sampleNew(i)
		n.Photo = nil
		if i%2 == 0 {
			n.Department = urbanDesk
		}
		if i > 5 {
			n.Category = cityid.ReportDirty
		}
		report(t, o, n)
	}
	do(t, o.ChangeReport(ctx, 3, cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportDeclined, Note: "no"}, officer))
	do(t, o.ChangeReport(ctx, 5, cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportAssigned}, officer))
	both := []cityid.Code{trafficDesk, urbanDesk}
	for name, c := range map[string]struct {
		filter ReportFilter
		want   string
	}{
		"all":      {ReportFilter{Departments: both, Limit: 10}, "7 6 5 4 3 2 1"},
		"nobody's": {ReportFilter{Limit: 10}, ""},
		"one's":    {ReportFilter{Departments: both[:1], Limit: 10}, "7 5 3 1"},
		"open":     {ReportFilter{Departments: both[:1], Open: true, Limit: 10}, "7 5 1"},
		"assigned": {ReportFilter{Departments: both, State: cityid.ReportAssigned, Limit: 10}, "5"},
		"dirty":    {ReportFilter{Departments: both, Category: cityid.ReportDirty, Limit: 10}, "7 6"},
		"page":     {ReportFilter{Departments: both, Limit: 2}, "7 6"},
		"next":     {ReportFilter{Departments: both, Before: 6, Limit: 2}, "5 4"},
	} {
		var got []string
		for _, r := range ok(o.Reports(ctx, c.filter))(t) {
			got = append(got, fmt.Sprint(r.Number))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q", name, s, c.want)
		}
	}
	if got := ok(o.ReportDepartments(ctx))(t); len(got) != 2 || got[trafficDesk] != 3 || got[urbanDesk] != 3 {
		t.Errorf("%v", got)
	}
	do(t, o.ChangeReport(ctx, 5, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportAssigned}, officer))
	var err error
	for range maxReportSteps + 1 {
		if err = o.ChangeReport(ctx, 5, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportAssigned}, officer); err != nil {
			break
		}
	}
	want(t, "assigned for ever", err, ErrTooLarge)
	do(t, o.ChangeReport(ctx, 5, cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportFixed, Note: "at last"}, officer))
}

// TestReportErased waits until what names people is to go, and the rest stays.
func TestReportErased(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	_, officer := privateKey(t, keys.Ed25519, 3)
	_, token := report(t, o, sampleNew(1))
	report(t, o, sampleNew(2)) // stays open
	do(t, o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportFixed, Note: "done"}, officer))
	sweep := func(d time.Duration) (Report, Report) {
		t.Helper()
		c.pass(d)
		ok(o.Sweep(ctx))(t)
		return ok(o.ReportByToken(ctx, 1, token))(t), ok(o.Report(ctx, 2))(t)
	}
	const day = 24 * time.Hour
	if r, open := sweep(29 * day); r.Contact == "" || open.Contact == "" {
		t.Error("a contact is gone too early")
	}
	if r, open := sweep(2 * day); r.Contact != "" || r.Opening == nil || open.Contact == "" {
		t.Errorf("a month after it was closed: %+v; open: %+v", r, open)
	}
	if _, open := sweep(340 * day); open.Contact != "" || open.Opening == nil {
		t.Errorf("a year after it came: %+v", open)
	}
	r, open := sweep(366 * day)
	if r.Opening != nil || r.Photo || open.Opening == nil || !open.Photo {
		t.Errorf("two years after it was closed: %+v; open: %+v", r, open)
	}
	if r.State != cityid.ReportFixed || r.Code != reportedLamp || r.Receipt.Verify(keys.Verify) != nil || r.File().Opening != nil {
		t.Errorf("what stays: %+v", r)
	}
	_, err := o.ReportPhoto(ctx, 1)
	want(t, "the photograph", err, ErrNotFound)
	var files int
	do(t, o.reads.QueryRow(`SELECT count(*) FROM file`).Scan(&files))
	if files != 1 {
		t.Errorf("%d files are kept, want that of the open report", files)
	}
	_, _, _, err = o.AddReport(ctx, sampleNew(1), receiptSigner(t))
	want(t, "sent again after all that time", err, ErrConflict)
}

// TestRoomForReports bounds how much strangers may report.
func TestRoomForReports(t *testing.T) {
	ctx := t.Context()
	o, _ := smallOffice(t, Options{Reports: 3, ReportSpace: 5000})
	_, officer := privateKey(t, keys.Ed25519, 3)
	with := func(n, size int) NewReport {
		r := sampleNew(n)
		if r.Photo = nil; size > 0 {
			r.Photo = bytes.Repeat([]byte{byte(n)}, size)
		}
		return r
	}
	report(t, o, with(1, 3000))
	_, _, _, err := o.AddReport(ctx, with(2, 3000), receiptSigner(t))
	want(t, "no room for the photograph", err, ErrFull)
	var files int
	do(t, o.reads.QueryRow(`SELECT count(*) FROM file`).Scan(&files))
	if files != 1 {
		t.Errorf("%d files: one was written that there was no room for", files)
	}
	report(t, o, with(2, 0))
	report(t, o, with(3, 1000))
	_, _, _, err = o.AddReport(ctx, with(4, 0), receiptSigner(t))
	want(t, "a fourth report", err, ErrFull)
	do(t, o.ChangeReport(ctx, 1, cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportFixed, Note: "done"}, officer))
	report(t, o, with(4, 0))
}

// addReportUntilKilled stores a report in the process that is killed, and says
// so.
func addReportUntilKilled(ctx context.Context, o *Office, id string, sign ReportSigner) error {
	n := sampleNew(1)
	n.ID = id
	r, token, _, err := o.AddReport(ctx, n, sign)
	if err == nil {
		fmt.Println("report", r.Number, token)
	}
	return err
}

// checkReports checks what must hold at any time: numbers have no gap, and each
// report has its receipt, its first step and its photograph.
func checkReports(t *testing.T, o *Office) {
	t.Helper()
	ctx := t.Context()
	list := ok(o.Reports(ctx, ReportFilter{Departments: []cityid.Code{trafficDesk}, Limit: maxReports}))(t)
	for i, r := range list {
		if i > 0 && r.Number != list[i-1].Number-1 {
			t.Errorf("report %d follows %d", list[i-1].Number, r.Number)
		}
		if r.Receipt.Receipt.Number != r.Number || r.Receipt.Verify(keys.Verify) != nil || r.Opening.Digest() != r.Receipt.Receipt.Digest {
			t.Errorf("report %d has the receipt %+v", r.Number, r.Receipt)
		}
		if _, err := o.ReportPhoto(ctx, r.Number); err != nil {
			t.Error(err)
		}
		if steps := ok(o.ReportSteps(ctx, r.Number))(t); len(steps) != 1 {
			t.Errorf("report %d has the steps %v", r.Number, steps)
		}
	}
}
