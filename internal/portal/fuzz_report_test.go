// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cityid"
)

// FuzzReportText cleans what somebody wrote: what is left can be kept, unless it
// is too long, and cleaning it again changes nothing.
func FuzzReportText(f *testing.F) {
	for _, s := range []string{"it does not shine", " a\r\nb\rc\td ", "e\u0301\u202e\u2028x", "\xff\xfe", "\ufeff", "👨\u200d👩", "\u0344\u2000", "\n\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := plainText(s)
		r := cityid.Report{Category: cityid.ReportBroken, Text: text}
		if err := r.Check(); err != nil && cityid.CodeOf(err) != cityid.ErrTooLarge {
			t.Fatalf("%q is kept as %q: %v", s, text, err)
		}
		if again := plainText(text); again != text {
			t.Fatalf("%q is cleaned to %q, and that to %q", s, text, again)
		}
	})
}

// FuzzReportField reads the fields of a report: what is taken can be stored.
func FuzzReportField(f *testing.F) {
	f.Add(strings.Repeat("0", 32), "broken", "x", "a@b.cn")
	f.Add("x", "other", "", "+86 311 1234567")
	f.Add(strings.Repeat("f", 32), "dirty", "\u202e", "a\x00@b.cn")
	pg := &page{portal: &portal{}, ctx: context.Background()}
	f.Fuzz(func(t *testing.T, id, category, text, contact string) {
		n, err := pg.readReport(cityid.MustParse("MA.156.1301"), reportInput{ID: id, Category: category, Text: text, Contact: contact})
		if err != nil {
			if cityid.CodeOf(err) == cityid.ErrInternal {
				t.Fatalf("%q, %q, %q, %q: %v has no code", id, category, text, contact, err)
			}
			return
		}
		if cityid.CheckText("contact", n.Contact, false) != nil || len(n.ID) != 32 {
			t.Fatalf("%q, %q, %q, %q is taken as %+v", id, category, text, contact, n)
		}
	})
}

// FuzzReportForm reads a form of any kind.
func FuzzReportForm(f *testing.F) {
	f.Add("application/x-www-form-urlencoded", "id=1&category=broken&text=%zz")
	f.Add("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\n\r\nJPEG\r\n--x--")
	f.Add("multipart/form-data", "")
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest("POST", "/en/report/MA.156.1301", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		in, err := reportForms(httptest.NewRecorder(), r)
		if err == nil && len(in.Photo) > len(body) {
			t.Fatalf("%q: a photograph of %d octets", body, len(in.Photo))
		}
	})
}

// FuzzReportQuery reads what lists are asked for.
func FuzzReportQuery(f *testing.F) {
	for _, s := range []string{"at=MA.156.1301&open=true&limit=5", "show=all&category=dirty&before=7", "show=%00", "before=-1", "state=7", "limit=1e3", "at=&at="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		if q, err := apiQuery(v); err == nil && (q.At.IsZero() || q.Limit < 1 || q.Limit > 200 || q.Before > 1<<62) {
			t.Fatalf("%q is taken as %+v", s, q)
		} else if err != nil && cityid.CodeOf(err) != cityid.ErrMalformed {
			t.Fatalf("%q: %v", s, err)
		}
		if d, err := parseDesk(v); err == nil && (d.State != 0 && !d.State.Valid() || d.Category != 0 && !d.Category.Valid()) {
			t.Fatalf("%q is taken as %+v", s, d)
		}
	})
}
