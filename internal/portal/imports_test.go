// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/portal"
)

// handTable hands in a table and returns the address of the import.
func (b *browser) handTable(below cityid.Code, name string, data []byte) answer {
	b.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	f, err := m.CreateFormFile("file", name)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = m.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	return b.do("POST", "/en/work/"+below.String()+"/import", m.FormDataContentType(), &body)
}

// beginImport hands in a table that can be read, and returns the address of its
// import, without a step.
func (b *browser) beginImport(below cityid.Code, name string, data []byte) string {
	b.Helper()
	a := b.handTable(below, name, data)
	where, ok := strings.CutSuffix(a.header.Get("Location"), "columns")
	if a.status != http.StatusSeeOther || !ok {
		b.Fatalf("upload: %d to %q: %s", a.status, a.header.Get("Location"), a.body)
	}
	return where
}

// goOn posts a form and expects to be sent to a step.
func (b *browser) goOn(path, step string, form ...string) {
	b.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		v.Add(form[i], form[i+1])
	}
	a := b.post(path, v)
	if a.status != http.StatusSeeOther || !strings.HasSuffix(a.header.Get("Location"), "/"+step) {
		b.Fatalf("%s %v: %d to %q: %s", path, form, a.status, a.header.Get("Location"), a.body)
	}
}

// shows fails the test unless a page holds all texts.
func (b *browser) shows(path string, texts ...string) answer {
	b.Helper()
	a := b.get(path)
	if a.status != http.StatusOK {
		b.Fatalf("%s: %d to %q: %s", path, a.status, a.header.Get("Location"), a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			b.Errorf("%s: no %q in %s", path, text, a.body)
		}
	}
	if i := strings.Index(a.body, "⟦"); i >= 0 {
		b.Errorf("%s: missing text %s", path, a.body[i:i+60])
	}
	return a
}

// nextStep is what the portal says is next.
type nextStep struct {
	State  string        `json:"state"`
	Digest cityid.Digest `json:"digest"`
	Words  string        `json:"words"`
	Text   string        `json:"text"`
	Done   int           `json:"done"`
	Next   string        `json:"next"`
}

func (b *browser) nextBatch(where string) nextStep {
	b.Helper()
	var n nextStep
	a := b.get(where + "next")
	if err := json.Unmarshal([]byte(a.body), &n); err != nil || a.status != http.StatusOK {
		b.Fatalf("next: %d %s", a.status, a.body)
	}
	return n
}

var planPattern = regexp.MustCompile(`data-plan="([0-9a-f]{64})"`)

// startImport begins to sign an import.
func (b *browser) startImport(where string) {
	b.Helper()
	m := planPattern.FindStringSubmatch(b.get(where + "run").body)
	if m == nil {
		b.Fatalf("the page shows no plan: %s", b.get(where+"run").body)
	}
	if a := b.script(where+"run", map[string]string{"plan": m[1]}, nil); a.status != http.StatusOK {
		b.Fatalf("start: %d %s", a.status, a.body)
	}
}

// signBatches signs up to so many batches and returns what came next.
func (b *browser) signBatches(where string, s cityid.Signer, most int) nextStep {
	b.Helper()
	for n := 0; ; {
		switch x := b.nextBatch(where); x.State {
		case "sign":
			if n == most {
				return x
			}
			n++
			b.signBatch(where, s, x.Digest, http.StatusOK)
		case "work":
		default:
			return x
		}
	}
}

func (b *browser) signBatch(where string, s cityid.Signer, digest cityid.Digest, want int) {
	b.Helper()
	signature, err := s.Sign(digest[:])
	if err != nil {
		b.Fatal(err)
	}
	a := b.script(where+"signature", map[string]any{"key": s.Key, "signature": cityid.Bytes(signature), "digest": digest}, nil)
	if a.status != want {
		b.Fatalf("signature: %d, want %d: %s", a.status, want, a.body)
	}
}

// withTestKey makes the portal a demonstration in which the traffic department's
// key is offered.
func withTestKey(c *portal.Config) {
	c.Demo = true
	c.TestKeys = []portal.TestKey{{Name: "traffic", Title: map[string]string{"zh": "交通", "en": "Traffic"}, Signer: trafficKey}}
}

func oldTable(t *testing.T) []byte {
	t.Helper()
	table, err := bulk.OldTable()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// allocateLamps registers the three lamp posts of the old table that a city
// knows already.
func (w *world) allocateLamps() {
	w.Helper()
	items := []cityid.Allocation{{Code: lampClass, Kind: cityid.KindClass, Content: named("路灯", "Lamp posts")}}
	for i := range 3 {
		items = append(items, cityid.Allocation{
			Code: cityid.MustParse(fmt.Sprintf("%s/%06d", lampClass, 10*i+1)), Kind: cityid.KindObject,
			Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": fmt.Sprintf("和平路%d号路灯", 10*i+1)}),
				Location: &cityid.Location{Lat: 38_0577000 - int32(80*i), Lon: 114_4310000 + int32(22400*i)}},
			Aliases: []cityid.Alias{{Scheme: "asset", Value: fmt.Sprintf("SJZ-LD-%05d", 70_000+10*i)}},
		})
	}
	w.record([]cityid.Signer{trafficKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: items}})
}

// TestAfternoonMigration takes a department's old table from upload to codes.
func TestAfternoonMigration(t *testing.T) {
	w := newWorld(t, withTestKey)
	w.allocateLamps()
	b := w.browser()
	b.signIn(trafficKey)
	b.shows("/en/work/"+traffic.String()+"/import", "Traffic Management", "sample.csv")
	sample := b.get("/zh/work/import/sample.csv")
	if sample.status != http.StatusOK || sample.body != string(oldTable(t)) {
		t.Fatalf("the sample: %d, %d octets", sample.status, len(sample.body))
	}
	where := b.beginImport(traffic, `C:\台账\路灯 2019.csv`, []byte(sample.body))
	b.shows(where+"columns", "路灯 2019.csv", "GB18030", "1,000 rows", "only counts the rows", "by its header", "GCJ-02", "<svg", "000022", "20.010501")
	b.shows(strings.Replace(where, "/en/", "/zh/", 1)+"columns", "只是行号")
	b.goOn(where+"columns", "rows", "class", "20.010501", "do", "next", "crs", "GCJ-02")

	page := b.shows(where+"rows", "Take all 20 suggestions", "Exchange latitude and longitude in 5 rows", "38°2′30″", "The latitude is missing", "may be duplicates")
	if !strings.Contains(page.body, "was 31119") {
		t.Errorf("no lost zeros: %s", page.body)
	}
	b.shows(strings.Replace(where, "/en/", "/zh/", 1)+"rows", "前导零可能丢失", "应为十进制度数")
	errors := b.get(where + "errors.csv")
	if errors.status != http.StatusOK || !strings.Contains(errors.body, "资产编号") || strings.Count(errors.body, "\n") != 28 {
		t.Errorf("errors.csv: %d %s", errors.status, errors.body)
	}
	b.goOn(where+"rows", "rows", "do", "mend")
	b.goOn(where+"rows", "rows", "do", "swap")
	b.shows(where+"rows", "2 problems", "30 cells", "13 rows may be duplicates", "SJZ-LD-70000")
	m := regexp.MustCompile(`name="(cell-\d+-\d+)" value="38°2′30″"`).FindStringSubmatch(b.get(where + "rows").body)
	if m == nil {
		t.Fatal("no input for the degrees and minutes")
	}
	b.goOn(where+"rows", "rows", m[1], "38.0417", "do", "cells")
	b.goOn(where+"rows", "rows", "do", "skip-bad")
	b.goOn(where+"rows", "rows", "do", "skip-known")
	b.shows(where+"rows", "No problems", "14 rows left out")

	b.shows(where+"plan", "986", "MA.156.1301.02/20.010501/000022", "MA.156.1301.02/20.010501/001007", "<svg", "翠屏路1号路灯", "cityid code import import-", "--crs GCJ-02", "986 places")
	b.shows(where+"plan?from=950&box=38,114,38.1,114.6", "合作路")
	b.shows(where+"run", "Allocates 986 codes", "986 old codes")
	b.startImport(where)
	x := b.signBatches(where, trafficKey, 100)
	if x.State != "done" {
		t.Fatalf("the import ended as %+v", x)
	}
	b.shows(where+"done", "986 codes are allocated", "/en/labels?import=", "MA.156.1301.02/20.010501/000022")
	record, err := w.engine.Record(t.Context(), cityid.MustParse(lampClass.String()+"/000022"))
	if err != nil {
		t.Fatal(err)
	}
	c := record.Record.Content
	if c.Names.Get("zh") != "翠屏路1号路灯" || record.Record.Aliases[0].Value != "0031000" || c.Location.Lat < 38_0300000 || c.Location.Lat > 38_0302000 || c.Location.Lon > 114_4311000 {
		t.Errorf("the first lamp post is %+v %+v", c, record.Record.Aliases)
	}
	b.shows("/en/work/imports", "路灯 2019.csv", "Done")
	testSameByCommand(b, where)
	b.goOn(where+"delete", "imports?gone")
	if a := b.get(where + "done"); a.status != http.StatusNotFound {
		t.Errorf("a deleted import answers %d", a.status)
	}
}

// testSameByCommand reads the corrected table as the command does, and expects
// the same plan.
func testSameByCommand(b *browser, where string) {
	b.Helper()
	page := b.get(where + "done").body
	table, err := bulk.ReadTable(strings.NewReader(b.get(where+"table.csv").body), "corrected.csv", bulk.ReadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := b.engine.Settings(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	plan, err := bulk.NewPlan(table, bulk.Options{Parent: traffic, Settings: s, CRS: bulk.GCJ02})
	if err != nil {
		b.Fatal(err)
	}
	if !strings.Contains(page, plan.Digest.String()) {
		b.Errorf("the command plans %s: %s", plan.Digest, page)
	}
}
