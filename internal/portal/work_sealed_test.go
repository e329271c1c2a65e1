// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/internal/office"
	"cityid/internal/portal"
)

// sealedHomes has sealed records under two departments, whose contents the
// office keeps, and returns them in order of code: three of the traffic
// department, of which the last was open before, and one of urban management.
func (w *world) sealedHomes() []cityid.SealedContent {
	w.Helper()
	home := func(code, name string, salt byte) cityid.SealedContent {
		return cityid.SealedContent{Code: cityid.MustParse(code), Salt: cityid.Digest{salt}, Content: named("密"+name, "Hidden "+name)}
	}
	list := []cityid.SealedContent{
		home("MA.156.1301.01/20.020101/1", "U1", 1),
		home("MA.156.1301.02/20.020101/1", "T1", 2), home("MA.156.1301.02/20.020101/2", "T2", 3), home("MA.156.1301.02/20.010501/9", "T9", 4),
	}
	list[1].Content.Location = &cityid.Location{Lat: 38_0454740, Lon: 114_5024610}
	item := func(s *cityid.SealedContent) cityid.Allocation {
		return cityid.Allocation{Code: s.Code, Kind: cityid.KindObject, Sealed: s.Digest()}
	}
	class := func(code string) cityid.Allocation {
		return cityid.Allocation{Code: cityid.MustParse(code), Kind: cityid.KindClass}
	}
	open := cityid.Allocation{Code: list[3].Code, Kind: cityid.KindObject, Content: named("从前公开", "Once open")}
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{class("MA.156.1301.01/20.020101"), item(&list[0])}}})
	w.record([]cityid.Signer{trafficKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{
		class("MA.156.1301.02/20.020101"), item(&list[1]), item(&list[2]), class("MA.156.1301.02/20.010501"), open,
	}}})
	w.record([]cityid.Signer{trafficKey}, cityid.Operation{Seal: &cityid.Seal{Code: open.Code, Revision: 1, Sealed: list[3].Digest()}})
	// What is not recorded, or no longer shown, is kept too.
	old := list[1]
	old.Salt = cityid.Digest{9}
	if err := w.office.PutSealed(w.Context(), append(list, old, home("MA.156.1301.02/20.020101/3", "T3", 5))...); err != nil {
		w.Fatal(err)
	}
	return list
}

// TestSealedIsForMembers shows a sealed content to those who govern the record,
// and to nobody else, whatever they ask for.
func TestSealedIsForMembers(t *testing.T) {
	w := newWorld(t)
	list := w.sealedHomes()
	work := "/en/work/" + list[1].Code.String()
	b := w.browser()
	b.signIn(trafficKey)
	a := b.work(work, 200, "Hidden T1", "密T1", "38.045474", "your key stands in the policy of Traffic Management", "never open")
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a sealed content is sent with Cache-Control %q", a.header.Get("Cache-Control"))
	}
	b.work("/zh/work/"+list[1].Code.String(), 200, "密T1", "交通管理局", "密封不溯及既往")
	b.work("/en/work/"+list[3].Code.String(), 200, "Hidden T9", "was open before", "view=history")
	others := map[string]*browser{"a visitor": w.browser()}
	for who, key := range map[string]cityid.Signer{"a stranger": strangerKey, "the other department": urbanKey, "the city": cityKey, "an institute": officer(0, 0)} {
		o := w.browser()
		o.signIn(key)
		others[who] = o
	}
	for who, o := range others {
		for _, path := range []string{work, "/en/code/" + list[1].Code.String()} {
			a := o.work(path, 200, "holds only a digest", "Traffic Management", "under an agreement", "kind=dataset&amp;below=MA.156.1301.02", "not retroactive")
			if strings.Contains(a.body, "Hidden") || strings.Contains(a.body, "38.045474") {
				t.Errorf("%s sees the content on %s", who, path)
			}
		}
		for _, path := range []string{work + "/sealed", "/en/work/MA.156.1301.02/sealed"} {
			for _, a := range []answer{o.get(path), o.post(path, nil), o.post(path, url.Values{"rest": {"1"}})} {
				if a.status/100 == 2 || strings.Contains(a.body, "Hidden") {
					t.Errorf("%s gets %d from %s: %.200s", who, a.status, path, a.body)
				}
			}
		}
	}
	// Everybody is led to what an earlier revision shows.
	code := "/en/code/" + list[3].Code.String()
	w.browser().work(code, 200, "was open before", code+"?view=history")
	w.browser().work(code+"?view=history", 200, "Once open", "It was sealed or unsealed")
}

// TestSealedDownload takes along what lies below a code, for a gateway.
func TestSealedDownload(t *testing.T) {
	dir := t.TempDir()
	o, err := office.Open(t.Context(), office.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	w := newWorld(t, func(c *portal.Config) { c.Office = o })
	w.office = o
	list := w.sealedHomes()
	b := w.browser()
	b.signIn(trafficKey)
	b.work("/en/work/MA.156.1301.02", 200, "/en/work/MA.156.1301.02/sealed")
	below := "/en/work/MA.156.1301.02/sealed"
	b.work(below, 200, "not encrypted", "Traffic Management")
	got := b.post(below, nil)
	if got.status != 200 || got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Disposition") != `attachment; filename="sealed-MA.156.1301.02.jsonl"` {
		t.Fatalf("%d %v", got.status, got.header)
	}
	w.holdsSealed(got.body, list[3], list[1], list[2])
	w.holdsSealed(b.post("/en/work/MA.156.1301.02/20.020101/sealed", nil).body, list[1], list[2])
	w.holdsSealed(b.post("/en/work/"+list[2].Code.String()+"/sealed", nil).body, list[2])
	// The city governs itself, not what its departments hold.
	city := w.browser()
	city.signIn(cityKey)
	city.send("/en/work/MA.156.1301/sealed", nil, http.StatusConflict, "keeps no sealed content here", "4 contents are under policies")

	// The content of one record in place of another's is told, and not shown.
	db, err := folder.OpenDatabase(filepath.Join(dir, "office.db"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d1, d2 := list[1].Digest(), list[2].Digest()
	if _, err := db.Exec(`UPDATE sealed SET box = (SELECT box FROM sealed WHERE digest = ?) WHERE digest = ?`, d2[:], d1[:]); err != nil {
		t.Fatal(err)
	}
	a := b.work("/en/work/"+list[1].Code.String(), 200, "is damaged")
	if strings.Contains(a.body, "Hidden") {
		t.Error("a damaged content is shown")
	}
	a = b.send(below, nil, http.StatusConflict, "1 content is damaged", list[1].Code.String(), "Download the other 2 contents")
	if strings.Contains(a.body, "Hidden") {
		t.Error("contents stand on the page that tells of the damage")
	}
	w.holdsSealed(b.post(below, url.Values{"rest": {"1"}}).body, list[3], list[2])
	if _, err := db.Exec(`DELETE FROM sealed WHERE digest = ?`, d1[:]); err != nil {
		t.Fatal(err)
	}
	b.work("/en/work/"+list[1].Code.String(), 200, "does not keep the content")
}

// holdsSealed checks that a file has these contents, in this order, each as its
// record shows it.
func (w *world) holdsSealed(file string, want ...cityid.SealedContent) {
	w.Helper()
	lines := strings.SplitAfter(file, "\n")
	if len(lines) != len(want)+1 || lines[len(want)] != "" {
		w.Fatalf("%d lines, want %d: %s", len(lines)-1, len(want), file)
	}
	for i := range want {
		s, err := cityid.ParseSealedContent([]byte(lines[i]))
		if err != nil {
			w.Fatal(err)
		}
		if err := s.Opens(w.rec(want[i].Code)); err != nil || s.Content.Names.Get("zh") != want[i].Content.Names.Get("zh") {
			w.Errorf("line %d: %s: %v", i+1, lines[i], err)
		}
	}
}
