// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/portal"
	"cityid/keys"
)

// takesReports makes the portal that of the first institute, with its intake key.
func takesReports(c *portal.Config) {
	intake := officer(0, 0)
	c.Member, c.Intake = institutes[0], &intake
}

var trafficLamp = cityid.MustParse(lampClass.String() + "/000001")

// newCity is a world that takes reports about a lamp post of the traffic
// department.
func newCity(t *testing.T, change ...func(*portal.Config)) *world {
	w := newWorld(t, append(change, takesReports)...)
	w.record([]cityid.Signer{trafficKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{
		{Code: lampClass, Kind: cityid.KindClass, Content: named("路灯", "Lamp posts")}, {Code: trafficLamp, Kind: cityid.KindObject, Content: named("路灯一号", "Lamp post 1")},
	}}})
	return w
}

// merge has the city retire the traffic department in favour of urban management.
func (w *world) merge() {
	w.Helper()
	w.record([]cityid.Signer{cityKey, urbanKey}, cityid.Operation{SetStatus: &cityid.SetStatus{
		Code: traffic, Revision: 1, Status: cityid.StatusRetired, Reason: cityid.ReasonMerged, Heir: urban, Successors: []cityid.Code{urban},
	}})
}

func reportForm(n int) map[string]string {
	return map[string]string{"id": entryID(n), "category": "broken", "text": "It does not shine.\r\n不亮", "contact": "li@example.cn"}
}

var (
	receiptPattern = regexp.MustCompile(`^/en/receipt/([0-9]+)\?token=([0-9A-Z]{26})$`)
	filePattern    = regexp.MustCompile(`/en/receipt/[0-9]+/file\?token=[0-9A-Z]{26}`)
)

// report hands the form in, and returns the page it leads to.
func (b *browser) report(form map[string]string, photo []byte) string {
	b.Helper()
	files := map[string][]byte{}
	if photo != nil {
		files["photo"] = photo
	}
	sent := b.sendForm("/en/report/"+trafficLamp.String(), form, files)
	b.must(sent, http.StatusSeeOther)
	where := sent.header.Get("Location")
	if !receiptPattern.MatchString(where) {
		b.Fatalf("the form leads to %q", where)
	}
	return where
}

func (b *browser) receipt(page string) *cityid.ReportFile {
	b.Helper()
	got := b.get(strings.Replace(page, "?", "/file?", 1))
	b.must(got, 200)
	if got.header.Get("Content-Type") != "application/vnd.cityid.receipt+cbor" || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment") {
		b.Errorf("the receipt's headers are %v", got.header)
	}
	f, err := cityid.DecodeReportFile([]byte(got.body))
	if err == nil {
		err = f.Verify(keys.Verify)
	}
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// TestReport is the whole way: a citizen reports a lamp post from its page, the
// department closes the report, and the citizen sees it. Nothing of it reaches the
// chain.
func TestReport(t *testing.T) {
	w := newCity(t)
	before, err := w.engine.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	citizen := w.browser()
	citizen.must(citizen.get("/en/code/"+trafficLamp.String()), 200, `href="/en/report/`+trafficLamp.String()+`"`, "Report a problem")
	citizen.must(citizen.get("/zh/report/"+trafficLamp.String()), 200, "上报问题", "交通管理局", `enctype="multipart/form-data"`, "隶属于")
	citizen.must(citizen.get("/en/report/"+trafficLamp.String()), 200, "Traffic Management", `name="id" value="`)
	page := citizen.report(reportForm(1), exifPhoto(t, 2000, 1500))
	shown := citizen.get(page)
	citizen.must(shown, 200, "Report 1", "It does not shine.<br>不亮", "Received", "Institute A", "Traffic Management", "<svg", page)
	if shown.header.Get("Referrer-Policy") != "no-referrer" || shown.header.Get("Cache-Control") != "no-store" || strings.Contains(shown.body, "li@example.cn") {
		t.Errorf("the page tells more than it should: %v", shown.header)
	}
	f := citizen.receipt(page)
	r := f.Receipt
	if r.Institution != institutes[0] || r.Number != 1 || r.Code != trafficLamp || r.Department != traffic || r.Key != officer(0, 0).Key || f.Opening.Report.Text != "It does not shine.\n不亮" {
		t.Errorf("the receipt says %+v", f)
	}
	photo := citizen.get(strings.Replace(page, "?", "/photo?", 1))
	citizen.must(photo, 200)
	if c, format, err := image.DecodeConfig(strings.NewReader(photo.body)); err != nil || format != "jpeg" || c.Width != 1600 {
		t.Errorf("the photograph is kept as %s of %d pixels: %v", format, c.Width, err)
	}
	if strings.Contains(photo.body, "Exif") || strings.Contains(photo.body, "4711") {
		t.Error("the photograph still says where and with what it was taken")
	}

	// Nobody else sees it: not without the token, and not with a key of elsewhere.
	for _, path := range []string{"/en/receipt/1", "/en/receipt/1?token=", page[:len(page)-1] + "0", "/en/receipt/1/file?token=0123456789ABCDEFGHJKMNPQRS", "/en/receipt/2" + page[len("/en/receipt/1"):]} {
		if a := citizen.get(path); path != page && a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	stranger := w.browser()
	if a := stranger.get("/en/reports/1"); a.status != http.StatusSeeOther {
		t.Errorf("a desk is shown to everybody: %d", a.status)
	}
	stranger.signIn(urbanKey)
	for path, status := range map[string]int{"/en/reports/1": 404, "/en/reports/1/photo": 404, "/en/reports/99": 404, "/en/work/" + traffic.String() + "/reports": 403, "/en/work/" + sjz.String() + "/reports": 403} {
		if a := stranger.get(path); a.status != status || strings.Contains(a.body, "shine") {
			t.Errorf("%s is shown to another department: %d", path, a.status)
		}
	}
	if a := stranger.post("/en/reports/1", url.Values{"from": {"received"}, "act": {"fixed"}, "note": {"ha"}}); a.status != http.StatusNotFound {
		t.Errorf("another department closes it: %d", a.status)
	}

	// The city counts it; the department deals with it.
	city := w.browser()
	city.signIn(cityKey)
	city.must(city.get("/en/work"), 200, "1 open report")
	city.must(city.get("/en/work/"+sjz.String()), 200, "1 open report", "/en/work/"+sjz.String()+"/reports")
	city.must(city.get("/en/work/"+sjz.String()+"/reports"), 200, "Lamp post 1", "/en/reports/1")
	desk := w.browser()
	desk.signIn(trafficKey)
	desk.must(desk.get("/en/work/"+traffic.String()+"/reports"), 200, "Lamp post 1", "It does not shine. 不亮", "with photograph")
	for query, has := range map[string]bool{"?show=fixed": false, "?show=received": true, "?category=dirty": false, "?category=broken&show=all": true, "?before=1": false} {
		if a := desk.get("/en/work/" + traffic.String() + "/reports" + query); a.status != 200 || strings.Contains(a.body, "/en/reports/1") != has {
			t.Errorf("%s: %d, listed: %v", query, a.status, !has)
		}
	}
	desk.must(desk.get("/en/reports/1"), 200, "li@example.cn", "It does not shine.<br>不亮", `src="/en/reports/1/photo"`)
	desk.must(desk.get("/en/reports/1/photo"), 200)
	desk.must(desk.post("/en/reports/1", url.Values{"from": {"received"}, "act": {"assigned"}}), http.StatusSeeOther)
	desk.must(desk.post("/en/reports/1", url.Values{"from": {"received"}, "act": {"fixed"}, "note": {"twice"}}), 422, "meanwhile")
	desk.must(desk.post("/en/reports/1", url.Values{"from": {"assigned"}, "act": {"fixed"}}), 422, "public note")
	desk.must(desk.post("/en/reports/1", url.Values{"from": {"assigned"}}), 422, "Choose what happens")
	desk.must(desk.post("/en/reports/1", url.Values{"from": {"assigned"}, "act": {"fixed"}, "note": {"New bulb <b>today</b>"}}), http.StatusSeeOther)
	if a := desk.get("/en/reports/1"); strings.Contains(a.body, `name="act"`) {
		t.Error("a closed report can be dealt with")
	}
	citizen.must(citizen.get(page), 200, "Fixed", "New bulb &lt;b&gt;today&lt;/b&gt;", "Being dealt with")
	city.must(city.get("/en/work"), 200, "0 open reports")

	after, err := w.engine.Status(t.Context())
	if err != nil || after.AppHash != before.AppHash || after.Records != before.Records {
		t.Errorf("the chain has changed: %+v, %v", after, err)
	}
}

// TestReportMerger has a department merged into another after something was
// reported: the new one deals with it, and what is reported later goes there too.
func TestReportMerger(t *testing.T) {
	w := newCity(t)
	citizen := w.browser()
	page := citizen.report(reportForm(1), nil)
	w.merge()
	citizen.must(citizen.get("/en/report/"+trafficLamp.String()), 200, "Urban Management", "which is retired; what it had went to", "<details open>")
	citizen.must(citizen.get("/en/report/"+traffic.String()), 200, "Urban Management")
	later := citizen.report(reportForm(2), nil)
	if f := citizen.receipt(later); f.Receipt.Department != urban || f.Receipt.Code != trafficLamp {
		t.Errorf("the later receipt says %+v", f.Receipt)
	}
	citizen.must(citizen.get(page), 200, "Traffic Management", "now with", "Urban Management")

	desk := w.browser()
	desk.signIn(urbanKey)
	desk.must(desk.get("/en/work/"+urban.String()+"/reports"), 200, "2 open reports", "/en/reports/1", "/en/reports/2")
	desk.must(desk.post("/en/reports/1", url.Values{"from": {"received"}, "act": {"fixed"}, "note": {"done by the new department"}}), http.StatusSeeOther)
	citizen.must(citizen.get(page), 200, "done by the new department")
	if f := citizen.receipt(page); f.Receipt.Department != traffic {
		t.Errorf("the receipt of old has changed: %+v", f.Receipt)
	}
	old := w.browser()
	old.signIn(trafficKey)
	if a := old.get("/en/reports/2"); a.status != http.StatusNotFound {
		t.Errorf("the department that is no more sees reports: %d", a.status)
	}
	city := w.browser()
	city.signIn(cityKey)
	city.must(city.get("/en/work/"+traffic.String()+"/reports"), 200, "is now dealt with by", "/en/work/"+urban.String()+"/reports")
	city.must(city.get("/en/work/"+sjz.String()+"/reports?show=all"), 200, "/en/reports/1", "/en/reports/2")

	// Suspended too, the city has them until it is restored.
	w.record([]cityid.Signer{cityKey}, cityid.Operation{SetStatus: &cityid.SetStatus{Code: urban, Revision: 1, Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute}})
	citizen.must(citizen.get("/en/report/"+trafficLamp.String()), 200, "Shijiazhuang", "not active now")
	city.must(city.get("/en/reports/2"), 200)
}

// TestReportPassedOn passes a report on to another department of the city, which
// then has it.
func TestReportPassedOn(t *testing.T) {
	w := newCity(t)
	other := cityid.MustParse("MA.156.1302")
	w.record([]cityid.Signer{officer(0, 0), officer(1, 0)}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{
		{Code: other, Parent: hebei, Kind: cityid.KindCity, Content: named("唐山市", "Tangshan"), Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130200"}}},
	}}})
	citizen := w.browser()
	page := citizen.report(reportForm(1), nil)
	desk := w.browser()
	desk.signIn(trafficKey)
	desk.must(desk.get("/en/reports/1"), 200, `<option value="`+urban.String()+`">Urban Management</option>`)
	send := func(to string) answer {
		return desk.post("/en/reports/1", url.Values{"from": {"received"}, "act": {"assigned"}, "department": {to}, "note": {"theirs"}})
	}
	for _, bad := range []string{"MA.156.1301.77", other.String(), lampClass.String(), hebei.String(), "<script>", institutes[0].String()} {
		desk.must(send(bad), 422, "of an active department of the same city")
	}
	desk.must(send(urban.Display()), http.StatusSeeOther)
	if a := desk.get("/en/reports/1"); a.status != http.StatusNotFound {
		t.Errorf("the first department still sees it: %d", a.status)
	}
	citizen.must(citizen.get(page), 200, "Passed on to", "Urban Management", "theirs")
	next := w.browser()
	next.signIn(urbanKey)
	next.must(next.get("/en/work/"+urban.String()+"/reports"), 200, "Lamp post 1")
}

// TestReportRefused sends what no page sends, and says beside the field what is
// wrong.
func TestReportRefused(t *testing.T) {
	w := newCity(t, noLimits)
	b := w.browser()
	at := "/en/report/" + trafficLamp.String()
	for name, c := range map[string]struct {
		change map[string]string
		status int
		says   string
	}{
		"id":          {map[string]string{"id": "../../etc/passwd"}, 400, "open it again"},
		"no category": {map[string]string{"category": ""}, 422, "Choose what is wrong"},
		"category":    {map[string]string{"category": "stolen"}, 422, "Choose what is wrong"},
		"long":        {map[string]string{"text": strings.Repeat("灯", 2001)}, 413, "Use at most 2000 characters"},
		"other":       {map[string]string{"category": "other", "text": " \n\u202e"}, 422, "Say in a few words"},
		"contact":     {map[string]string{"contact": "come and see"}, 422, "an e-mail address or a telephone number"},
		"contacts":    {map[string]string{"contact": "a@b.cn, c@d.cn"}, 422, "an e-mail address or a telephone number"},
	} {
		form := reportForm(1)
		maps.Copy(form, c.change)
		if a := b.sendForm(at, form, nil); a.status != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d, want %d and %q: %s", name, a.status, c.status, c.says, content(a.body))
		}
	}
	head := []byte("IHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x06\x00\x00\x00") // 65536 x 65536 pixels
	bomb := binary.BigEndian.AppendUint32(append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\r"), head...), crc32.ChecksumIEEE(head))
	for name, c := range map[string]struct {
		photo []byte
		says  string
	}{
		"bomb": {bomb, "24 million"}, "svg": {[]byte("<svg onload=alert(1)>"), "neither JPEG nor PNG"}, "cut": {exifPhoto(t, 50, 50)[:200], "neither JPEG nor PNG"},
		"large": {bytes.Repeat([]byte("x"), 9<<20), "larger than 8 MB"}, "huge": {bytes.Repeat([]byte("x"), 13<<20), ""},
	} {
		if a := b.sendForm(at, reportForm(1), map[string][]byte{"photo": c.photo}); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d: %s", name, a.status, content(a.body))
		}
	}
	for path, status := range map[string]int{"/en/report/MA.156.9999": 404, "/en/report/": 404, "/en/report/!": 404} {
		if a := b.sendForm(path, reportForm(1), nil); a.status != status {
			t.Errorf("%s: %d, want %d", path, a.status, status)
		}
	}
	// What somebody wrote is shown as text.
	evil := `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	form := reportForm(2)
	form["text"] = evil
	form["category"] = ""
	kept := b.sendForm(at, form, nil)
	form["category"] = "other"
	page := b.report(form, nil)
	desk := w.browser()
	desk.signIn(trafficKey)
	for _, a := range []answer{kept, b.get(page), desk.get("/en/reports/1"), desk.get("/en/work/" + traffic.String() + "/reports"), desk.get("/en/work/" + traffic.String() + "/reports?show=" + url.QueryEscape(evil))} {
		if strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "<img src=x") {
			t.Errorf("markup is let through: %s", content(a.body))
		}
	}
	// Sent again, it is the same report.
	if again := b.report(form, nil); again != page {
		t.Errorf("sent again it is %s, not %s", again, page)
	}
	form["text"] = "something else"
	if a := b.sendForm(at, form, nil); a.status != http.StatusConflict {
		t.Errorf("another report under the same id: %d", a.status)
	}
}

// TestReportFlood comes more often than people do.
func TestReportFlood(t *testing.T) {
	w := newCity(t)
	b := w.browser()
	for i := range 30 {
		b.report(reportForm(i+1), nil)
	}
	b.must(b.sendForm("/en/report/"+trafficLamp.String(), reportForm(31), nil), http.StatusTooManyRequests)
	if a := b.do("POST", "/office/reports", jsonType, strings.NewReader("{}")); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("by program: %d", a.status)
	}
}

// TestReportWithoutKey asks portals that can not sign receipts.
func TestReportWithoutKey(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	if a := b.get("/en/code/" + sjz.String()); strings.Contains(a.body, "/report/") {
		t.Error("a portal without intake key offers to report")
	}
	b.must(b.get("/en/report/"+sjz.String()), http.StatusServiceUnavailable)
	if a := b.do("POST", "/office/reports", jsonType, strings.NewReader("{}")); a.status != http.StatusServiceUnavailable {
		t.Errorf("by program: %d", a.status)
	}

	// The key is that of another institute: its receipts would prove nothing.
	w = newCity(t, func(c *portal.Config) {})
	foreign := newWorld(t, func(c *portal.Config) {
		intake := officer(1, 0)
		c.Member, c.Intake = institutes[0], &intake
	}).browser()
	foreign.must(foreign.sendForm("/en/report/"+traffic.String(), reportForm(1), nil), http.StatusServiceUnavailable, "does not stand in the policy")
}

// program speaks to /office/ as the command does.
func (b *browser) program(method, path string, in, out any, headers ...string) answer {
	b.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			b.Fatal(err)
		}
	}
	a := b.do(method, path, jsonType, bytes.NewReader(body), headers...)
	if out != nil && a.status/100 == 2 {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			b.Fatalf("%s: %v: %s", path, err, a.body)
		}
	}
	return a
}

// programSignIn signs in as a program does.
func (b *browser) programSignIn(s cityid.Signer) {
	b.Helper()
	var got struct{ Challenge, Origin string }
	b.must(b.program("POST", "/office/challenge", struct{}{}, &got), 200)
	var challenge cityid.Bytes
	if err := challenge.UnmarshalText([]byte(got.Challenge)); err != nil || got.Origin != b.url {
		b.Fatalf("%+v: %v", got, err)
	}
	digest := cityid.SignInDigest(b.url, challenge)
	signature, err := s.Sign(digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.must(b.program("POST", "/office/sign-in", map[string]any{"challenge": got.Challenge, "key": s.Key, "signature": cityid.Bytes(signature)}, nil), 200)
}

// TestReportPrograms reports and deals with reports as programs do.
func TestReportPrograms(t *testing.T) {
	w := newCity(t)
	citizen := w.browser()
	var sent cityid.ReportSent
	request := cityid.ReportRequest{ID: entryID(1), Code: trafficLamp, Category: cityid.ReportDangerous, Text: "a wire hangs out", Contact: "+86 311 0000 0000", Photo: exifPhoto(t, 40, 30)}
	citizen.must(citizen.program("POST", "/office/reports", &request, &sent, "Accept-Language", "en"), http.StatusCreated)
	if sent.Number != 1 || sent.Department != traffic || len(sent.Way) != 3 || sent.Page != fmt.Sprintf("%s/en/receipt/1?token=%s", w.url, sent.Token) {
		t.Errorf("%+v", sent)
	}
	f, err := cityid.DecodeReportFile(sent.Receipt)
	if err != nil || f.Verify(keys.Verify) != nil || f.Opening.Report.Category != cityid.ReportDangerous || f.Opening.Report.Photo.IsZero() {
		t.Errorf("%+v, %v", f, err)
	}
	var again cityid.ReportSent
	citizen.must(citizen.program("POST", "/office/reports", &request, &again), http.StatusCreated)
	if again.Token != sent.Token || again.Number != 1 {
		t.Errorf("sent again: %+v", again)
	}
	var status cityid.ReportStatus
	a := citizen.program("GET", "/office/reports/1?token="+sent.Token, nil, &status)
	citizen.must(a, 200)
	if status.State != cityid.ReportReceived || status.Responsible != traffic || len(status.Steps) != 1 || status.Text != "a wire hangs out" || strings.Contains(a.body, "+86") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%+v", status)
	}
	if a := citizen.get("/office/reports/1/receipt?token=" + sent.Token); a.body != string(sent.Receipt) {
		t.Errorf("the receipt by itself is another: %d", a.status)
	}

	// Without a key, with one of elsewhere, and from another site.
	for _, path := range []string{"/office/reports/1", "/office/reports?at=" + traffic.String(), "/office/reports/1/photo"} {
		if a := citizen.get(path); a.status != http.StatusForbidden || !strings.Contains(a.body, "not-permitted") {
			t.Errorf("%s without a key: %d %s", path, a.status, a.body)
		}
	}
	other := w.browser()
	other.programSignIn(urbanKey)
	for path, want := range map[string]int{"/office/reports/1": 404, "/office/reports/7": 404, "/office/reports?at=" + traffic.String(): 403, "/office/reports/1/photo": 404} {
		if a := other.get(path); a.status != want {
			t.Errorf("%s with a key of elsewhere: %d, want %d", path, a.status, want)
		}
	}
	for _, path := range []string{"/office/challenge", "/office/sign-in", "/office/reports", "/office/reports/1"} {
		for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
			if a := other.program("POST", path, struct{}{}, nil, headers...); a.status != http.StatusForbidden {
				t.Errorf("%s from another site: %d", path, a.status)
			}
		}
	}

	desk := w.browser()
	desk.programSignIn(trafficKey)
	var list cityid.ReportPage
	desk.must(desk.program("GET", "/office/reports?at="+traffic.String()+"&open=true", nil, &list), 200)
	if len(list.Reports) != 1 || list.Reports[0].Contact != "+86 311 0000 0000" || list.Next != 0 {
		t.Errorf("%+v", list)
	}
	for _, q := range []string{"", "?at=!", "?at=MA.156&open=perhaps", "?at=MA.156&limit=0", "?at=MA.156&limit=201", "?at=MA.156&before=0", "?at=MA.156&state=lost", "?at=MA.156&x=1", "?at=MA.156&at=MA.156"} {
		if a := desk.get("/office/reports" + q); a.status != http.StatusBadRequest {
			t.Errorf("%q: %d", q, a.status)
		}
	}
	var entry cityid.ReportEntry
	change := func(c cityid.ReportChange) answer { return desk.program("POST", "/office/reports/1", &c, &entry) }
	if a := change(cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportFixed}); a.status != 422 {
		t.Errorf("closed without a note: %d", a.status)
	}
	if a := change(cityid.ReportChange{From: cityid.ReportAssigned, To: cityid.ReportFixed, Note: "x"}); a.status != http.StatusConflict {
		t.Errorf("closed though it was never assigned: %d", a.status)
	}
	desk.must(change(cityid.ReportChange{From: cityid.ReportReceived, To: cityid.ReportDeclined, Note: "it is a rope"}), 200)
	if entry.State != cityid.ReportDeclined || entry.Closed == 0 || entry.Steps[1].Note != "it is a rope" {
		t.Errorf("%+v", entry)
	}
	desk.must(desk.get("/office/reports/1/photo"), 200)
	for name, body := range map[string]string{"unknown": `{"id":"` + entryID(2) + `","code":"MA.156.1301","category":"broken","admin":true}`, "two": `{}{}`, "none": ``, "list": `[]`,
		"code": `{"id":"` + entryID(2) + `","code":"nonsense","category":"broken"}`, "no code": `{"id":"` + entryID(2) + `","category":"broken"}`} {
		if a := citizen.do("POST", "/office/reports", jsonType, strings.NewReader(body)); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if a := citizen.do("POST", "/office/reports", jsonType, strings.NewReader(`{"photo":"`+strings.Repeat("A", 12<<20)+`"}`)); a.status != http.StatusRequestEntityTooLarge && a.status != http.StatusBadRequest {
		t.Errorf("a photograph that is far too large: %d", a.status)
	}
}
