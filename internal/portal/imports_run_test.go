// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/portal"
	"cityid/internal/web"
)

// lamps returns a table of n rows that has nothing wrong.
func lamps(class string, n int) []byte {
	var b bytes.Buffer
	b.WriteString("class,serial,name:zh,lat,lon\n")
	for i := range n {
		fmt.Fprintf(&b, "%s,%06d,%d号路灯,38.%06d,114.500000\n", class, i+1, i+1, 40_000+i)
	}
	return b.Bytes()
}

// readyImport hands in a sound table and goes to its last step before signing.
func (b *browser) readyImport(table []byte) string {
	b.Helper()
	where := b.beginImport(traffic, "lamps.csv", table)
	b.goOn(where+"columns", "rows", "do", "next")
	b.shows(where+"rows", "No problems")
	return where
}

// TestImportResumes stops an import at every point where somebody may, closes
// the portal in between, and expects every row once.
func TestImportResumes(t *testing.T) {
	w := newWorld(t, withTestKey)
	b := w.browser()
	b.signIn(trafficKey)
	where := b.readyImport(lamps("20.010501", 1200)) // the class and three batches
	b.startImport(where)
	if x := b.signBatches(where, trafficKey, 1); x.State != "sign" || x.Words == "" {
		t.Fatalf("after the class: %+v", x)
	}
	b.goOn(where+"stop", "run")
	if x := b.nextBatch(where); x.State != "stopped" || x.Done != 0 {
		t.Fatalf("after it was stopped: %+v", x)
	}
	b.shows(where+"run", "Go on")
	b.shows("/en/work/imports", "Paused")
	if a := b.get(where + "columns"); a.status != http.StatusConflict {
		t.Errorf("the columns of an import that has begun: %d", a.status)
	}
	if a := b.post(where+"rows", url.Values{"do": {"undo"}}); a.status != http.StatusConflict {
		t.Errorf("a correction of an import that has begun: %d", a.status)
	}

	b.startImport(where)
	b.startImport(where) // twice is once
	if x := b.signBatches(where, trafficKey, 1); x.State != "sign" || x.Done != 500 {
		t.Fatalf("after the first batch: %+v", x)
	}
	// The portal is closed and another opened over the same office.
	again, err := portal.New(portal.Config{
		Source: w.engine, Index: w.index, Office: w.office, Origin: w.url, Limits: portal.NewLimits(), Demo: true,
		TestKeys: []portal.TestKey{{Name: "traffic", Title: map[string]string{"en": "Traffic"}, Signer: trafficKey}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(web.Wrap(again, web.WrapConfig{MaxBody: portal.MaxBody}))
	defer server.Close()
	b.goOn(where+"stop", "run") // a process that dies lets go of the checkpoint's lock, as this does
	second := *b
	second.world = &world{T: t, engine: w.engine, index: w.index, office: w.office, chain: w.chain, url: server.URL}
	for _, c := range b.client.Jar.Cookies(mustURL(t, w.url)) {
		second.client.Jar.SetCookies(mustURL(t, server.URL), []*http.Cookie{c})
	}
	second.startImport(where)
	if x := second.signBatches(where, trafficKey, 100); x.State != "done" {
		t.Fatalf("the end: %+v", x)
	}
	second.shows(where+"done", "1,200 codes are allocated")
	for _, n := range []int{1, 500, 501, 1000, 1001, 1200} {
		r, err := w.engine.Record(t.Context(), cityid.MustParse(fmt.Sprintf("%s/%06d", lampClass, n)))
		if err != nil || r.Record.Revision != 1 {
			t.Errorf("row %d: %v", n, err)
		}
	}
	// The same table again: all of it is there.
	where = b.beginImport(traffic, "again.csv", lamps("20.010501", 1200))
	b.goOn(where+"columns", "rows", "do", "next")
	b.shows(where+"rows", "1,200 rows may be duplicates", "the code is allocated")
	b.startImport(where)
	if x := b.signBatches(where, trafficKey, 100); x.State != "done" {
		t.Fatalf("the same again: %+v", x)
	}
	b.shows(where+"done", "0 codes are allocated", "<dd>1,200</dd>")
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestImportOthers: an import is its department's, and a signature is the key's.
func TestImportOthers(t *testing.T) {
	w := newWorld(t, withTestKey)
	b := w.browser()
	b.signIn(trafficKey)
	where := b.readyImport(lamps("20.010501", 3))
	for name, visitor := range map[string]*browser{"urban": w.browser(), "stranger": w.browser(), "nobody": w.browser()} {
		want := http.StatusForbidden
		switch name {
		case "urban":
			visitor.signIn(urbanKey)
		case "stranger":
			visitor.signIn(strangerKey)
		default:
			want = http.StatusSeeOther // to sign in
		}
		for _, path := range []string{"columns", "rows", "plan", "run", "next", "done", "errors.csv", "table.csv", ""} {
			if a := visitor.get(where + path); a.status != want || strings.Contains(a.body, "lamps.csv") {
				t.Errorf("%s gets %s with %d", name, path, a.status)
			}
		}
		for _, path := range []string{"columns", "rows", "run", "signature", "stop", "delete"} {
			if a := visitor.post(where+path, url.Values{"do": {"undo"}}); a.status != want || strings.HasPrefix(a.header.Get("Location"), where) {
				t.Errorf("%s posts %s with %d", name, path, a.status)
			}
		}
		if name != "nobody" {
			if a := visitor.handTable(traffic, "x.csv", lamps("20.010501", 1)); a.status != http.StatusForbidden {
				t.Errorf("%s hands a table in with %d", name, a.status)
			}
			if a := visitor.get("/en/work/imports"); strings.Contains(a.body, "lamps.csv") {
				t.Errorf("%s sees the import in the list", name)
			}
			visitor.shows("/en/work/"+traffic.String()+"/import", "does not decide", "cityid code import")
		}
	}
	if a := b.script(where+"run", map[string]string{"plan": strings.Repeat("0", 64)}, nil); a.status != http.StatusConflict {
		t.Errorf("another plan begins with %d", a.status)
	}
	b.startImport(where)
	x := b.signBatches(where, trafficKey, 0)
	b.signBatch(where, urbanKey, x.Digest, http.StatusForbidden)
	b.signBatch(where, trafficKey, cityid.Digest{1}, http.StatusConflict)
	if a := b.script(where+"signature", map[string]any{"key": trafficKey.Key, "signature": cityid.Bytes{1, 2, 3}, "digest": x.Digest}, nil); a.status < 400 {
		t.Errorf("a bad signature is taken: %d", a.status)
	}
	b.signBatch(where, trafficKey, x.Digest, http.StatusOK)
	b.signBatch(where, trafficKey, x.Digest, http.StatusConflict)
	if x := b.signBatches(where, trafficKey, 10); x.State != "done" {
		t.Errorf("the end: %+v", x)
	}
	// A department of two officers who decide together imports on the command line.
	two := cityid.MustParse("MA.156.1301.03")
	w.record([]cityid.Signer{cityKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{{
		Code: two, Kind: cityid.KindDepartment, Content: named("园林局", "Parks"),
		Policy: &cityid.Policy{Threshold: 2, Members: []cityid.Member{
			{Keys: []cityid.Key{{Public: trafficKey.Key, Roles: cityid.RoleControl}}}, {Keys: []cityid.Key{{Public: chaintest.Key(30).Key, Roles: cityid.RoleControl}}},
		}},
	}}}})
	b.shows("/en/work/"+two.String()+"/import", "several decide together", "--suggest")
	if a := b.handTable(two, "x.csv", lamps("20.010501", 1)); a.status != http.StatusForbidden {
		t.Errorf("one of two hands a table in with %d", a.status)
	}
}

// TestImportSealed: what is sealed stays in the office, and nothing of it is on
// the chain or in files.
func TestImportSealed(t *testing.T) {
	w := newWorld(t, withTestKey)
	b := w.browser()
	b.signIn(trafficKey)
	where := b.readyImport(lamps("20.020101", 2))
	b.shows(where+"plan", "the chain gets digests only", "--sealed")
	b.startImport(where)
	if x := b.signBatches(where, trafficKey, 10); x.State != "done" {
		t.Fatalf("the end: %+v", x)
	}
	code := cityid.MustParse("MA.156.1301.02/20.020101/000002")
	r, err := w.engine.Record(t.Context(), code)
	if err != nil || r.Record.Sealed.IsZero() || len(r.Record.Content.Names) > 0 {
		t.Fatalf("the record is %+v, %v", r, err)
	}
	s, err := w.office.Sealed(t.Context(), code, r.Record.Sealed)
	if err != nil || s.Content.Names.Get("zh") != "2号路灯" {
		t.Errorf("the office has %+v, %v", s, err)
	}
}

// TestImportHostile hands in what is no table, or one that wants to do harm.
func TestImportHostile(t *testing.T) {
	w := newWorld(t, withTestKey)
	b := w.browser()
	b.signIn(trafficKey)
	for name, data := range map[string]string{
		"empty": "", "binary": "\x7fELF\x00\x00", "workbook": "PK\x03\x04 and no more", "old": "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
		"wide": strings.Repeat("a,", 100) + "a\n1\n", "cell": "a\n" + strings.Repeat("x", 40<<10) + "\n", "quote": "a,b\n\"1,2\n", "header": "\n\n",
	} {
		if a := b.handTable(traffic, name+".csv", []byte(data)); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s is taken with %d", name, a.status)
		}
	}
	formula := `=HYPERLINK("http://evil.example","x")`
	table := "class,serial,name:zh,备注<script>alert(1)</script>\n20.010501,1,<img src=x onerror=alert(1)>,x\n20.010501,\"" + strings.ReplaceAll(formula, `"`, `""`) + "\",乙,y\n"
	where := b.beginImport(traffic, "<b>\u202eevil/../../<i>name.csv", []byte(table))
	page := b.shows(where+"columns", "&lt;script&gt;")
	if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<i>") || strings.Contains(page.body, "\u202e") {
		t.Errorf("the page repeats what the table holds: %s", page.body)
	}
	b.goOn(where+"columns", "rows", "col-1", "serial", "do", "next")
	if page := b.get(where + "rows"); strings.Contains(page.body, "<img src=x") {
		t.Errorf("the page repeats what the table holds: %s", page.body)
	}
	if file := b.get(where + "errors.csv"); strings.Contains(file.body, ",=HYPER") || strings.Contains(file.body, `"=HYPER`) || !strings.Contains(file.body, "'=HYPER") {
		t.Errorf("the list of errors carries a formula out: %s", file.body)
	}
	for _, form := range []url.Values{
		{"cell-2-99": {"x"}}, {"cell-999-1": {"x"}}, {"cell-x-y": {"x"}}, {"cell--1--1": {"x"}}, {"do": {"skip-x"}}, {"do": {"width"}, "width": {"99"}},
		{"cell-2-1": {strings.Repeat("x", 40<<10)}},
	} {
		if a := b.post(where+"rows", form); a.status < 400 || a.status >= 500 {
			t.Errorf("%.60v is answered with %d", form, a.status)
		}
	}
	for _, form := range []url.Values{{"col-0": {"colour"}}, {"col-1": {strings.Repeat("x", 100)}}, {"crs": {"mars"}}} {
		if a := b.post(where+"columns", form); a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
			t.Errorf("%.60v is answered with %d", form, a.status)
		}
	}
	// A column given twice is a problem, not a defect.
	b.goOn(where+"columns", "rows", "col-0", "name:zh", "class", "20.010501", "do", "next")
	b.shows(where+"rows", "the same as column")
	b.goOn(where+"columns", "rows", "col-0", "ignore", "class", "20.010501", "do", "next")
	for _, path := range []string{"rows?from=-1", "rows?from=x", "rows?from=999999"} {
		b.shows(where + path)
	}
	if a := b.get("/en/work/import/nope/columns"); a.status != http.StatusNotFound {
		t.Errorf("an import that is not there: %d", a.status)
	}
	if a := b.get("/en/work/not-a-code/import"); a.status != http.StatusNotFound {
		t.Errorf("a place that is no code: %d", a.status)
	}
}

// TestImportGuessesCRS compares old numbers with what is registered.
func TestImportGuessesCRS(t *testing.T) {
	w := newWorld(t, withTestKey)
	w.allocateLamps()
	b := w.browser()
	b.signIn(trafficKey)
	table := "资产编号,名称,经度,纬度\n"
	for _, line := range strings.Split(string(oldTable(t)), "\r\n") {
		if cells := strings.Split(line, ","); strings.HasPrefix(cells[min(1, len(cells)-1)], "SJZ-LD-") {
			table += cells[1] + ",灯" + cells[0] + "," + cells[4] + "," + cells[5] + "\n"
		}
	}
	where := b.beginImport(traffic, "shifted.csv", []byte(table))
	b.shows(where+"columns", "Compared with things that are registered, coordinates are GCJ-02", `value="GCJ-02" checked`)
}
