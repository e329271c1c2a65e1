// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"archive/zip"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/verify"
)

// form makes a form from names and values.
func workForm(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

func (w *world) rec(code cityid.Code) *cityid.Record {
	w.Helper()
	a, err := w.engine.Record(w.Context(), code)
	if err != nil {
		w.Fatal(err)
	}
	return &a.Record
}

func (b *browser) work(path string, status int, want ...string) answer {
	b.Helper()
	a := b.get(path)
	b.workHolds(path, a, status, want...)
	return a
}

func (b *browser) send(path string, form url.Values, status int, want ...string) answer {
	b.Helper()
	a := b.post(path, form)
	b.workHolds("POST "+path, a, status, want...)
	return a
}

func (b *browser) workHolds(path string, a answer, status int, want ...string) {
	b.Helper()
	if a.status != status {
		b.Errorf("%s: status %d, want %d: %s", path, a.status, status, mainOf(a.body))
	}
	for _, s := range want {
		if !strings.Contains(a.body, s) {
			b.Errorf("%s lacks %q: %s", path, s, mainOf(a.body))
		}
	}
	if i := strings.Index(a.body, "⟦"); i >= 0 {
		b.Errorf("%s lacks a text: %.60s", path, a.body[i:])
	}
}

var nextCodePattern = regexp.MustCompile(`name="code" value="([^"]*)"`)

// TestWorkLooking shows the workspace to those who may do nothing there.
func TestWorkLooking(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.work("/en/work", 200, "Sign in")
	b.work("/zh/work", 200, "城市工作台", "登录")
	b.work("/en/work/MA.156.1301", 200, "Urban Management", "MA.156.1301.03", "There is one member only", "You may look")
	b.work("/en/work/ma.156.1301", 308)
	b.work("/en/work/MA.156.1301/moon", 404)
	b.work("/en/work/MA.156.9999", 404)
	b.work("/en/work/MA.156.1301?kind=moon", 400)
	b.work("/en/work/MA.156.1301?after=!", 400)
	b.work("/en/work/MA.156.1301?q=Traffic", 200, "MA.156.1301.02")
	b.work("/en/work/MA.156.1301?q=nothing-like-it", 200, "Nothing found")
	for _, step := range []string{"allocate", "many", "amend", "links", "hosts", "aliases", "status"} {
		b.work("/en/work/MA.156.1301.01/"+step, 403, "Sign in with a key")
		b.send("/en/work/MA.156.1301.01/"+step, workForm("kind", "class", "code", "20.010501"), 403, "Sign in with a key")
	}
	b.signIn(strangerKey)
	b.work("/en/work", 200, "Your key stands in no policy yet")
	b.send("/en/work/MA.156.1301.01/amend", workForm("name-zh", "我的"), 403, "your key does not stand")
	b.send("/en/work/MA.156.1301.01/links", workForm("link-href", "https://a.example/"), 403, "your key does not stand")
	b.send("/en/work/MA.156.1301.01/status", workForm("to", "suspended", "reason", "misuse"), 403)
	b.send("/en/work/MA.156.1301.01/veto", nil, 404)
	b.send("/en/work/MA.156.1301.01/withdraw", workForm("proposal", "x"), 400)
	b.send("/en/work/MA.156.1301.01", nil, 404)
}

// TestWorkAllocate allocates a department, a class and objects.
func TestWorkAllocate(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(cityKey)
	b.work("/en/work", 200, "Shijiazhuang", "control")
	b.work("/en/work/MA.156.1301/allocate", 200, "Department", "Class")
	page := b.work("/en/work/MA.156.1301/allocate?kind=department", 200, "Name in Chinese")
	if m := nextCodePattern.FindStringSubmatch(page.body); m == nil || m[1] != "MA.156.1301.03" {
		t.Errorf("the next department is suggested as %v", m)
	}
	path := "/en/work/MA.156.1301/allocate"
	b.send(path, workForm("kind", "department", "code", "05", "name-zh", "水务局"), 422, "the next is MA.156.1301.03", `value="水务局"`)
	b.send(path, workForm("kind", "department", "code", "01", "name-zh", "水务局"), 422, "is allocated to", "Urban Management")
	b.send(path, workForm("kind", "department", "code", "0A", "name-zh", "水务局"), 422, "does not fit the rule")
	b.send(path, workForm("kind", "department", "code", "MA.156.1302.01", "name-zh", "水务局"), 422, "does not lie below")
	b.send(path, workForm("kind", "department", "code", "03"), 422, "needs a name in this language", `href="#name-zh"`)
	b.send(path, workForm("kind", "department", "code", "", "name-zh", "x"), 422, "Give the code")
	b.send(path, workForm("kind", "object", "code", "1"), 422, "Choose what the code stands for")
	b.send(path, workForm("kind", "department", "code", "03", "name-zh", "<script>alert(1)</script>\x07"), 422, "&lt;script&gt;")
	b.send(path, workForm("kind", "department", "code", "03", "name-zh", "水务局", "lat", "38.1", "lon", "x"), 422, "degrees between")
	b.send(path, workForm("kind", "department", "code", "03", "name-zh", "水务局", "lat", "-38.1", "lon", "10", "crs", "GCJ-02"), 422, "inside China")
	b.send(path, workForm("kind", "department", "code", "03", "name-zh", "水务局", "keys", "ed25519:nonsense"), 422, "no public key")
	b.send(path, workForm("kind", "department", "code", "03", "name-zh", "水务局", "link-href", "https://evil.example/"), 422, "approves the host evil.example")
	b.send(path, workForm("kind", "department", "code", "03", "name-zh", "水务局", "alias-gb2260", "12"), 422, "An identifier has the form")
	water := cityid.MustParse("MA.156.1301.03")
	form := workForm("kind", "department", "code", "03", "name-zh", "水务局", "name-en", "Water", "lat", "38.05", "lon", "114.5", "crs", "GCJ-02", "keys", strangerKey.Key.String())
	if next := b.signRequest(b.post(path, form), cityKey); !strings.HasPrefix(next, "/en/work/MA.156.1301?done=") {
		t.Errorf("after signing the visitor comes to %s", next)
	}
	r := w.rec(water)
	if r.Content.Names.Get("zh") != "水务局" || r.Policy == nil || r.Content.Location == nil || r.Content.Location.Lat == 38_0500000 || r.Content.Location.Lat/100_000 != 3804 {
		t.Errorf("allocated %+v", r)
	}
	// Its own key now allocates below it; the city's does not.
	b.send("/en/work/MA.156.1301.03/allocate", workForm("kind", "class", "code", "20.010501"), 403)
	own := w.browser()
	own.signIn(strangerKey)
	own.signRequest(own.post("/en/work/MA.156.1301.03/allocate", workForm("kind", "class", "code", "20.010501")), strangerKey)
	class := "/en/work/MA.156.1301.03/20.010501"
	own.work(class, 200, "000001")
	own.signRequest(own.post(class+"/many", workForm("kind", "object", "rows", "000001,路灯一号,Lamp 1,38.04,114.5\n000002\t路灯二号\n")), strangerKey)
	own.work(class, 200, "路灯一号", "000003")
	own.send(class+"/many", workForm("kind", "object", "rows", "000003,a\n000003,b\n,c\n000001,d,e,99,1"), 422, "Line 2:", "stands in line 1", "Line 3: Give the code", "Line 4:")
	own.send(class+"/many", workForm("kind", "object", "rows", " \n"), 422, "The table is empty")
	own.send(class+"/many", workForm("kind", "object", "rows", strings.Repeat("1,x\n", 300)), 422, "")
	page = own.work(class+"/allocate?kind=object", 200)
	if m := nextCodePattern.FindStringSubmatch(page.body); m == nil || m[1] != "MA.156.1301.03/20.010501/000003" {
		t.Errorf("the next object is suggested as %v", m)
	}
	own.send(class+"/allocate", workForm("kind", "object", "code", strings.Repeat("9", 2<<20)), http.StatusRequestEntityTooLarge)
	// Kinds that the apex decides become a proposal of the institutes.
	b.send("/en/work/MA.156.13/allocate", workForm("kind", "city", "code", "1302"), 403)
}

// TestWorkAllocateFromAbove leaves kinds that the apex decides to its members,
// as a proposal, and tells others so.
func TestWorkAllocateFromAbove(t *testing.T) {
	w := newWorld(t)
	path := "/en/work/MA.156.13/allocate"
	tangshan := workForm("kind", "city", "code", "1302", "name-zh", "唐山市", "name-en", "Tangshan", "alias-gb2260", "130200")
	b := w.browser()
	b.signIn(provinceKey)
	b.work(path+"?kind=city", 403, "Root zone for trials decides this")
	b.send(path, tangshan, 403, "Root zone for trials decides this")
	b.work(path+"?kind=county", 200)
	a := w.browser()
	a.signIn(officer(0, 0))
	a.work(path+"?kind=city", 200, "decided by the institutes")
	a.work(path+"?kind=county", 403)
	a.send(path, workForm("kind", "city", "code", "1302", "name-zh", "唐山市", "name-en", "Tangshan"), 422, "is needed")
	a.signRequest(a.post(path, tangshan), officer(0, 0))
	city := cityid.MustParse("MA.156.1302")
	if _, err := w.engine.Record(t.Context(), city); err == nil {
		t.Fatal("one institute alone allocated a city")
	}
	p, err := w.engine.Proposal(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w.record([]cityid.Signer{officer(1, 0)}, cityid.Operation{Approve: &cityid.Approve{Proposal: 1, Digest: p.Digest}})
	if r := w.rec(city); r.Parent != hebei {
		t.Errorf("allocated %+v", r)
	}
}

// TestWorkDisclosure takes no open content for sealed classes, and rounds
// locations of coarse ones.
func TestWorkDisclosure(t *testing.T) {
	w := newWorld(t)
	class := func(code string) cityid.Operation {
		return cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{{Code: cityid.MustParse(code), Kind: cityid.KindClass}}}}
	}
	w.record([]cityid.Signer{urbanKey}, class("MA.156.1301.01/20.020101"), class("MA.156.1301.01/20.030101"))
	b := w.browser()
	b.signIn(urbanKey)
	sealed, coarse := "/en/work/MA.156.1301.01/20.020101/allocate", "/en/work/MA.156.1301.01/20.030101/allocate"
	b.work(sealed+"?kind=object", 200, "registered sealed only")
	b.send(sealed, workForm("kind", "object", "code", "000001", "name-zh", "秘密"), 422, "registered sealed only")
	b.work(coarse+"?kind=object", 200, "the location is rounded")
	b.signRequest(b.post(coarse, workForm("kind", "object", "code", "000001", "lat", "38.04567", "lon", "114.51234")), urbanKey)
	if l := w.rec(cityid.MustParse("MA.156.1301.01/20.030101/000001")).Content.Location; l == nil || l.Lat != 38_0500000 || l.Lon != 114_5100000 {
		t.Errorf("location %+v", l)
	}
}

// TestWorkHead answers a request for headers as one for the page, whatever the
// address: it changes nothing.
func TestWorkHead(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(cityKey)
	for _, step := range []string{"", "/allocate", "/status", "/veto", "/withdraw", "/audit"} {
		if a := b.do("HEAD", "/en/work/MA.156.1301.01"+step, "", nil); a.status != 200 && a.status != 403 && a.header.Get("Location") != "/en/work/MA.156.1301.01" {
			t.Errorf("HEAD %s: %d to %s", step, a.status, a.header.Get("Location"))
		}
	}
}

// TestWorkAmend changes names and documents, and notices who came first.
func TestWorkAmend(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(urbanKey)
	path := "/en/work/MA.156.1301.01/amend"
	b.work(path, 200, `value="城市管理局"`, `name="revision" value="1"`)
	b.send(path, workForm("revision", "1", "name-zh", "城市管理局", "name-en", "Urban Management"), 422, "Nothing was changed")
	b.send(path, workForm("revision", "1", "name-zh", ""), 422, "needs a name in this language")
	b.send(path, workForm("revision", "1", "name-zh", "x", "document-label", "Letter"), 422, "Choose a file")
	b.send(path, workForm("revision", "1", "name-zh", "x", "document-label", "Letter", "document-digest", "12"), 422, "64 hexadecimal")
	b.signRequest(b.post(path, workForm("revision", "1", "name-zh", "城管局", "name-en", "Urban", "document-label", "Letter", "document-digest", strings.Repeat("ab", 32))), urbanKey)
	r := w.rec(urban)
	if r.Revision != 2 || r.Content.Names.Get("zh") != "城管局" || len(r.Content.Documents) != 1 {
		t.Errorf("amended to %+v", r)
	}
	b.send(path, workForm("revision", "1", "name-zh", "另一个"), 409, "it is at revision 2 now", `value="另一个"`, `name="revision" value="2"`)
	b.signRequest(b.post(path, workForm("revision", "2", "name-zh", "城管局", "remove", "0")), urbanKey)
	if r := w.rec(urban); len(r.Content.Documents) != 0 || r.Content.Names.Has("en") {
		t.Errorf("amended to %+v", r)
	}
}

// TestWorkLinks refuses a link to a host that nobody above approves, and shows
// the way out: a proposal that has the host approved together with the link.
func TestWorkLinks(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(urbanKey)
	path := "/en/work/MA.156.1301.01/links"
	link := func(action string) url.Values {
		return workForm("action", action, "revision", "1", "link-href", "https://www.sjz.example/urban", "link-title", "Urban <b>office</b>", "link-rel", "about")
	}
	b.work(path, 200, "There are no links yet", "No host is approved")
	b.send(path, link("preview"), 200, "www.sjz.example", "nobody above approves", "Shijiazhuang has to approve it", "Urban &lt;b&gt;office")
	b.send(path, link("add"), 200, "nobody above approves") // adding without approval shows why not
	for _, href := range []string{"javascript:alert(1)", "https://u:p@a.example/", "ftp://a.example/", "https://A.example/", "//a.example", strings.Repeat("https://a.example/", 100)} {
		b.send(path, workForm("link-href", href), 422, "Give a whole http or https address")
	}
	b.send(path, workForm("link-href", ""), 422, "Give an address")
	b.signRequest(b.post(path, link("ask")), urbanKey)
	if r := w.rec(urban); len(r.Content.Links) != 0 {
		t.Fatal("the link stands before its host is approved")
	}
	b.work("/en/work/MA.156.1301.01", 200, "/en/review/1", "Approve the host www.sjz.example", "Withdraw")
	city := w.browser()
	city.signIn(cityKey)
	city.work("/en/work", 200, "Proposals that wait for you", "/en/review/1")
	p, err := w.engine.Proposal(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w.record([]cityid.Signer{cityKey}, cityid.Operation{Approve: &cityid.Approve{Proposal: 1, Digest: p.Digest}})
	if r := w.rec(urban); len(r.Content.Links) != 1 || len(w.rec(sjz).Content.Hosts) != 1 {
		t.Fatalf("after approval: %+v", r)
	}
	// From now on the host is approved.
	form := link("preview")
	form.Set("revision", "2")
	form.Set("link-href", "https://www.sjz.example/2")
	b.send(path, form, 200, "by Shijiazhuang", "Add it")
	form.Set("action", "add")
	b.signRequest(b.post(path, form), urbanKey)
	b.signRequest(b.post(path, workForm("revision", "3", "remove", "about https://www.sjz.example/urban")), urbanKey)
	if r := w.rec(urban); len(r.Content.Links) != 1 || r.Content.Links[0].Href != "https://www.sjz.example/2" {
		t.Errorf("links: %+v", r.Content.Links)
	}
	hosts := "/en/work/MA.156.1301/hosts"
	city.work(hosts, 200, "www.sjz.example")
	for _, host := range []string{"", "https://a.example", "a example", "*.", "www.sjz.example"} {
		city.send(hosts, workForm("host", host), 422)
	}
	city.signRequest(city.post(hosts, workForm("host", "*.SJZ.example.cn")), cityKey)
	if r := w.rec(sjz); len(r.Content.Hosts) != 2 || r.Content.Hosts[0] != "*.sjz.example.cn" {
		t.Errorf("hosts: %v", r.Content.Hosts)
	}
}

// TestWorkStatus suspends and restores from above, and retires with a successor
// that has to consent.
func TestWorkStatus(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(cityKey)
	path := "/en/work/MA.156.1301.02/status"
	b.work(path, 200, "Suspend it", "Retire it")
	b.work(path+"?to=suspended", 200, "misuse")
	b.send(path, workForm("to", "suspended"), 422, "Choose a reason")
	b.send(path, workForm("to", "suspended", "reason", "closed"), 422, "Choose a reason")
	b.send(path, workForm("to", "active", "reason", "resolved"), 422, "Choose what to do")
	b.signRequest(b.post(path, workForm("to", "suspended", "reason", "dispute", "note", "Under review", "revision", "1")), cityKey)
	if w.rec(traffic).Status != cityid.StatusSuspended {
		t.Fatal("not suspended")
	}
	own := w.browser()
	own.signIn(trafficKey)
	own.work("/en/work/MA.156.1301.02", 200, "is not active")
	own.work("/en/work/MA.156.1301.02/amend", 403, "is not active")
	own.work(path, 403)
	b.signRequest(b.post(path, workForm("to", "active", "reason", "resolved", "revision", "2")), cityKey)
	if w.rec(traffic).Status != cityid.StatusActive {
		t.Fatal("not restored")
	}
	retire := workForm("to", "retired", "reason", "merged", "revision", "3", "confirm", "MA.156.1301.02", "successors", urban.String())
	wrong := func(change func(url.Values), want string) {
		t.Helper()
		v := url.Values{}
		for k, x := range retire {
			v[k] = append([]string{}, x...)
		}
		change(v)
		b.send(path, v, 422, want)
	}
	wrong(func(v url.Values) { v.Set("confirm", "") }, "Type MA.156.1301.02 in full")
	wrong(func(v url.Values) { v.Set("confirm", "MA.156.1301.01") }, "in full")
	wrong(func(v url.Values) { v.Set("successors", "MA.156.1301.77") }, "is not allocated")
	wrong(func(v url.Values) { v.Set("successors", "MA.156.1301.02") }, "can not take over")
	wrong(func(v url.Values) { v.Set("heir", "!") }, "no valid code")
	search := workForm("to", "retired", "action", "search", "q", "Urban", "confirm", "kept")
	b.send(path, search, 200, `name="successor" value="MA.156.1301.01"`, `value="kept"`)
	b.signRequest(b.post(path, retire), cityKey)
	if w.rec(traffic).Status != cityid.StatusActive {
		t.Fatal("retired without its successor's consent")
	}
	p, err := w.engine.Proposal(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Approve: &cityid.Approve{Proposal: 1, Digest: p.Digest}})
	if r := w.rec(traffic); r.Status != cityid.StatusRetired || len(r.Successors) != 1 {
		t.Fatalf("after consent: %+v", r)
	}
	b.work(path, 403, "retired for good")
}

// TestWorkWaiting retires as the holder, which waits, and vetoes it from above.
func TestWorkWaiting(t *testing.T) {
	w := newWorld(t)
	own := w.browser()
	own.signIn(trafficKey)
	path := "/en/work/MA.156.1301.02"
	own.work(path+"/status", 200, "decided from above")
	own.work(path+"/status?to=retired", 200, "after 7 days")
	own.signRequest(own.post(path+"/status", workForm("to", "retired", "reason", "closed", "confirm", "MA.156.1301.02")), trafficKey)
	own.work(path, 200, "A change is waiting")
	own.send(path+"/veto", nil, 403)
	own.send(path+"/complete", nil, 403)
	b := w.browser()
	b.signIn(cityKey)
	b.work(path, 200, "Veto it")
	b.signRequest(b.post(path+"/veto", nil), cityKey)
	if a, err := w.engine.Record(t.Context(), traffic); err != nil || a.Waiting != nil {
		t.Fatalf("still waiting: %+v %v", a, err)
	}
}

// TestWorkAliases adds, ends and removes entries; a scheme's owner has to agree.
func TestWorkAliases(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(urbanKey)
	path := "/en/work/MA.156.1301.01/aliases"
	b.work(path, 200, "There are none yet", "its owner agrees")
	b.send(path, workForm("scheme", "asset", "value", ""), 422, "Give an identifier")
	b.send(path, workForm("scheme", "moon", "value", "1"), 422, "Choose a system")
	b.send(path, workForm("scheme", "gb2260", "value", "12"), 422, "An identifier has the form")
	b.send(path, workForm("scheme", "asset", "value", "1", "from", "yesterday"), 422, "Give a day")
	b.send(path, workForm("entry", "asset:none"), 404)
	b.signRequest(b.post(path, workForm("revision", "1", "scheme", "asset", "value", "CG-1", "from", "2020-01-01")), urbanKey)
	b.send(path, workForm("scheme", "asset", "value", "CG-1"), 422, "there already")
	b.signRequest(b.post(path, workForm("revision", "2", "entry", "asset:CG-1", "action", "end")), urbanKey)
	if a := w.rec(urban).Aliases; len(a) != 1 || a[0].Until == 0 {
		t.Fatalf("ended: %+v", a)
	}
	b.signRequest(b.post(path, workForm("revision", "3", "entry", "asset:CG-1", "action", "remove")), urbanKey)
	b.signRequest(b.post(path, workForm("revision", "4", "scheme", "gb2260", "value", "130199")), urbanKey)
	if a := w.rec(urban).Aliases; len(a) != 0 {
		t.Fatalf("removed, and without the owner's consent: %+v", a)
	}
	b.work("/en/work/MA.156.1301.01", 200, "/en/review/1")
	b.signRequest(b.post("/en/work/MA.156.1301.01/withdraw", workForm("proposal", "1")), urbanKey)
	if p, err := w.engine.Proposal(t.Context(), 1); err != nil || p.State != cityid.ProposalWithdrawn {
		t.Errorf("withdrawn: %+v %v", p, err)
	}
	b.send("/en/work/MA.156.1301.01/withdraw", workForm("proposal", "1"), 403)
}

// TestWorkAudit exports what changed below a city as a file to download.
func TestWorkAudit(t *testing.T) {
	w := newWorld(t)
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Amend: &cityid.Amend{Code: urban, Revision: 1, Content: named("=1+1", "Urban")}})
	path := "/en/work/MA.156.1301/audit"
	b := w.browser()
	b.work(path, 403, "cityid audit export --code MA.156.1301")
	b.send(path, workForm("from", "2020-01-01", "to", "2099-12-31"), 403)
	b.signIn(cityKey)
	b.work(path, 200, `name="from"`, "cityid audit export")
	b.send(path, workForm("from", "2020-01-01", "to", ""), 422, "Give a day")
	b.send(path, workForm("from", "2020-01-01", "to", "2019-01-01"), 422, "ends before it begins")
	a := b.send(path, workForm("from", "2020-01-01", "to", "2099-12-31", "proofs", "1"), 200)
	if got := a.header.Get("Content-Disposition"); got != `attachment; filename="cityid-audit-MA.156.1301-2020-01-01-2099-12-31.zip"` {
		t.Errorf("Content-Disposition: %s", got)
	}
	z, err := zip.NewReader(strings.NewReader(a.body), int64(len(a.body)))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		f, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := read("changes.csv"); !strings.Contains(text, "'=1+1") || !strings.Contains(text, "MA.156.1301.02") {
		t.Errorf("changes.csv: %s", text)
	}
	trust, err := verify.ParseTrustFile([]byte(read("trust.json")))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(read("proofs.tsv")) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		at, err := time.Parse(time.RFC3339, cells[2])
		if err != nil {
			t.Fatal(err)
		}
		o := verify.Options{Now: time.Now(), At: at, Code: cityid.MustParse(cells[1]), Kind: cityid.AnswerHistory}
		if r := verify.CheckEncoded(trust.Latest(), []byte(read(cells[0])), o); r.Verdict != verify.Valid {
			t.Errorf("%s: %s: %s", cells[0], r.Verdict, r.Message)
		}
		n++
	}
	if n != 3 { // the city and its departments
		t.Errorf("%d proofs, want 3", n)
	}
}
