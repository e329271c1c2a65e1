// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid/label"
)

const jsonType = "application/json"

// exifPhoto is a photograph that says where it was taken.
func exifPhoto(t testing.TB, width, height int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	plain := b.Bytes()
	secret := "Exif\x00\x00 N38.0454 E114.5024 serial 4711"
	segment := append([]byte{0xff, 0xe1, byte((len(secret) + 2) >> 8), byte(len(secret) + 2)}, secret...)
	return slices.Concat(plain[:2], segment, plain[2:])
}

func entryForm(id, code, event string) map[string]string {
	return map[string]string{
		"id": id, "code": code, "event": event, "noted": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), "lat": "38.0400100", "lon": "114.5", "accuracy": "8", "note": "北侧 灯杆",
	}
}

func entryID(n int) string { return fmt.Sprintf("%032x", n) }

// TestField notes installations as the field app does, and has them attested.
func TestField(t *testing.T) {
	w := newWorld(t)
	w.plantLamps(3)
	b := w.browser()
	b.signIn(parksField)
	page := b.get("/en/field")
	b.must(page, 200, "Parks", `id="field-data"`, `name="id" value="`)
	worker := b.get("/en/field/sw.mjs")
	b.must(worker, 200, `"page":"/en/field"`, "field.mjs", "addEventListener")
	if worker.header.Get("Service-Worker-Allowed") != "/en/field" || !strings.Contains(worker.header.Get("Content-Type"), "javascript") {
		t.Errorf("the service worker's headers are %v", worker.header)
	}
	for _, m := range regexp.MustCompile(`/static/[^"]+`).FindAllString(worker.body, -1) {
		file := b.get(m)
		b.must(file, 200)
		for _, imports := range regexp.MustCompile(`from "\./([a-z]+\.mjs)"`).FindAllStringSubmatch(file.body, -1) {
			if !strings.Contains(worker.body, "/"+imports[1]+`"`) {
				t.Errorf("%s imports %s, which the service worker does not keep", m, imports[1])
			}
		}
	}

	form := entryForm(entryID(1), "HTTPS://ID.EXAMPLE/"+lamp(1).String(), "installed")
	photo := exifPhoto(t, 2000, 1500)
	first := b.sendForm("/en/field/entries", form, map[string][]byte{"photo": photo}, "Accept", jsonType)
	b.must(first, 200, `"new":true`, lamp(1).String())
	for range 2 { // the answer got lost
		b.must(b.sendForm("/en/field/entries", form, map[string][]byte{"photo": photo}, "Accept", jsonType), 200, `"new":false`)
	}
	changed := maps.Clone(form)
	changed["event"] = "damaged"
	b.must(b.sendForm("/en/field/entries", changed, nil, "Accept", jsonType), http.StatusConflict, "detail")

	// A form without scripts, with a photograph of the label instead of its code.
	u, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	symbol, err := label.FieldSymbol(u, lamp(2))
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := symbol.PNG(8)
	if err != nil {
		t.Fatal(err)
	}
	noted := b.sendForm("/en/field/entries", map[string]string{"id": entryID(2), "event": "damaged", "note": "=HYPERLINK(1)"}, map[string][]byte{"scan": drawn})
	b.must(noted, http.StatusSeeOther)
	b.must(b.get(noted.header.Get("Location")), 200, "Noted:", lamp(2).String())

	log := b.get("/en/field/log")
	b.must(log, 200, "2 entries", lamp(1).String(), "Attest these 2 entries", "<svg", "0 m from its registered place", "北侧 灯杆")
	kept := b.get("/en/field/entries/" + entryID(1) + "/photo")
	b.must(kept, 200)
	c, format, err := image.DecodeConfig(strings.NewReader(kept.body))
	if err != nil || format != "jpeg" || c.Width != 1600 || c.Height != 1200 {
		t.Errorf("the photograph is kept as %s of %d x %d: %v", format, c.Width, c.Height, err)
	}
	if strings.Contains(kept.body, "Exif") || strings.Contains(kept.body, "4711") {
		t.Error("the photograph still says where and with what it was taken")
	}
	table := b.get("/en/field/log/csv?holder=" + parks.String())
	b.must(table, 200, "'=HYPERLINK(1)", lamp(1).String(), "38.04001")

	// One attestation for both, by the field key.
	next := b.signRequest(b.post("/en/field/attest", url.Values{"holder": {parks.String()}}), parksField)
	b.must(b.get(next), 200, "anchored in block")
	b.must(b.post("/en/field/attest", url.Values{"holder": {parks.String()}}), http.StatusConflict)
	statement := b.get("/en/field/statements/1")
	b.must(statement, 200, entryID(1), entryID(2))
	sum := sha256.Sum256([]byte(statement.body))
	if !strings.Contains(b.get("/en/field/log").body, hex.EncodeToString(sum[:])) {
		t.Error("the log shows another digest than that of the statement")
	}

	stranger := w.browser()
	stranger.signIn(trafficKey)
	for _, path := range []string{"/en/field/entries/" + entryID(1) + "/photo", "/en/field/statements/1", "/en/field?sent=" + entryID(1)} {
		if a := stranger.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s is shown to another department: %d", path, a.status)
		}
	}
	for _, path := range []string{"/en/field/log?holder=", "/en/field/log/csv?holder="} {
		if a := stranger.get(path + parks.String()); a.status != http.StatusForbidden {
			t.Errorf("%s is shown to another department: %d", path, a.status)
		}
	}
	if a := stranger.sendForm("/en/field/entries", entryForm(entryID(3), lamp(3).String(), "removed"), nil, "Accept", jsonType); a.status != http.StatusForbidden {
		t.Errorf("another department notes something: %d", a.status)
	}
	if a := w.browser().get("/en/field/entries/" + entryID(1) + "/photo"); a.status != http.StatusSeeOther {
		t.Errorf("a photograph is shown to everybody: %d", a.status)
	}
}

// TestFieldRefused sends entries that no field app makes.
func TestFieldRefused(t *testing.T) {
	w := newWorld(t)
	w.plantLamps(1)
	b := w.browser()
	b.signIn(parksField)
	for name, change := range map[string]map[string]string{
		"id": {"id": "../../etc/passwd"}, "event": {"event": "stolen"}, "code": {"code": "<script>"}, "absent": {"code": lamp(9).String()}, "foreign": {"code": traffic.String()},
		"future": {"noted": "2099-01-01T00:00:00Z"}, "time": {"noted": "yesterday"}, "lat": {"lat": "91"}, "half": {"lat": ""}, "nan": {"lat": "NaN"}, "accuracy": {"accuracy": "-1"},
		"hidden": {"note": "a\u202eb"}, "long": {"note": strings.Repeat("x", 300)},
	} {
		form := entryForm(entryID(1), lamp(1).String(), "installed")
		maps.Copy(form, change)
		if a := b.sendForm("/en/field/entries", form, nil, "Accept", jsonType); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, "detail") {
			t.Errorf("%s: status %d: %s", name, a.status, content(a.body))
		}
	}
	bomb := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x06\x00\x00\x00\xb4\xe5\xd7\x4c")
	for name, photo := range map[string][]byte{"bomb": bomb, "svg": []byte("<svg onload=alert(1)>"), "cut": exifPhoto(t, 50, 50)[:200], "large": bytes.Repeat([]byte("x"), 13<<20)} {
		if a := b.sendForm("/en/field/entries", entryForm(entryID(1), lamp(1).String(), "installed"), map[string][]byte{"photo": photo}, "Accept", jsonType); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
	b.must(b.sendForm("/en/field/entries", map[string]string{"id": entryID(1), "code": `"><script>alert(1)</script>`, "event": "installed"}, nil), 422, `value="&#34;&gt;&lt;script&gt;`)
	if a := b.get("/en/field/log"); strings.Contains(a.body, "entries-head") {
		t.Error("something that was refused was noted")
	}
}

// TestScanLog imports what a handheld has scanned.
func TestScanLog(t *testing.T) {
	w := newWorld(t)
	w.plantLamps(2)
	b := w.browser()
	b.signIn(parksField)
	send := func(table string) answer {
		return b.sendForm("/en/field/scans", map[string]string{"holder": parks.String()}, map[string][]byte{"file": []byte(table)})
	}
	b.must(b.sendForm("/en/field/entries", entryForm(entryID(1), lamp(1).String(), "installed"), nil, "Accept", jsonType), 200)
	table := "代码,时间,纬度,经度\nHTTPS://ID.EXAMPLE/" + lamp(1).String() + ",2026-11-24 08:30:00,38.04001,114.5\n" +
		lamp(1).Display() + ",2026-11-24 08:30,38.04001,114.5\n" + // the same moment
		lamp(2).String() + ",2026-11-24T09:00:00+08:00,38.1,114.5\n" + lamp(9).String() + ",2026-11-24 09:01:00,,\n" + traffic.String() + ",2026-11-24 09:02:00,,\n"
	done := send(table)
	b.must(done, http.StatusSeeOther)
	b.must(b.get(done.header.Get("Location")), 200, "<strong>5</strong> rows", "<strong>1</strong> known before", "<strong>1</strong> codes not allocated", "<strong>1</strong> of other holders",
		"Lamp 1", "Installed", "no installation noted", lamp(9).String(), "m from its registered place")
	again := send(table)
	b.must(b.get(again.header.Get("Location")), 200, "<strong>3</strong> known before")
	for _, bad := range []string{
		"", "code\n" + lamp(1).String(), "code,time\n", "code,time\nx y,2026-11-24 08:30:00", "code,time\n" + lamp(1).String() + ",24.11.26", "code,time,lat\n" + lamp(1).String() + ",2026-11-24 08:30:00,1",
		"code,time,lat,lon\n" + lamp(1).String() + ",2026-11-24 08:30:00,1e1,5", "PK\x03\x04 no workbook",
	} {
		if a := send(bad); a.status != 422 {
			t.Errorf("%.40q: status %d", bad, a.status)
		}
	}
	stranger := w.browser()
	stranger.signIn(trafficKey)
	if a := stranger.get(done.header.Get("Location")); a.status != http.StatusNotFound {
		t.Errorf("a scan log is shown to another department: %d", a.status)
	}
	if a := stranger.sendForm("/en/field/scans", map[string]string{"holder": parks.String()}, map[string][]byte{"file": []byte(table)}); a.status != http.StatusForbidden {
		t.Errorf("another department adds a scan log: %d", a.status)
	}
}
