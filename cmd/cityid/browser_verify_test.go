// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestVerifyInBrowser checks codes, a certificate and files by the verifier in
// the browser, with a trust root that a visitor pins.
func TestVerifyInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	d := startDemo(t)
	b := startBrowser(t)
	marks := makeMarks(t, d)
	for lang, words := range map[string]struct{ valid, invalid, here, absent, good string }{
		"zh": {"真实有效", "无效，请勿采信", "由您的浏览器核验", "从未分配", "证书有效"},
		"en": {"Valid", "Invalid: do not rely on it", "Checked in your browser", "was never allocated", "The certificate is good"},
	} {
		v := b.tab("visitor in " + lang)
		v.open(d.url + "/" + lang + "/verify?code=MA.156.1301")
		v.has(words.here)
		v.has(words.valid)
		v.open(d.url + "/" + lang + "/verify?code=MA.156.9999")
		v.has(words.here)
		v.has(words.absent)

		// A photograph of a certificate is read by the server and judged here.
		v.open(d.url + "/" + lang + "/verify")
		v.upload("#photo", d.folder+"/"+demoLabels+"/"+demoCertificatePNG)
		v.submit(`form[action$="/verify/photo"]`)
		v.has(words.good)
		v.has(words.here)

		marks.inBrowser(t, v, d, lang)

		// A file is judged here; a changed one is not called valid.
		v.upload("#bundle", d.folder+"/"+demoBundleFile)
		v.submit("#bundle-form")
		v.has("MA.156.1301.01")
		v.has(words.valid)
		bundle, err := os.ReadFile(d.folder + "/" + demoBundleFile)
		if err != nil {
			t.Fatal(err)
		}
		bundle[len(bundle)-9] ^= 1
		changed := t.TempDir() + "/changed.cityid"
		if err := os.WriteFile(changed, bundle, 0o600); err != nil {
			t.Fatal(err)
		}
		v.upload("#bundle", changed)
		v.submit("#bundle-form")
		v.has(words.invalid)

		// Pinned, the trust root stays.
		v.click("#trust-pin")
		v.wait(`!document.getElementById("trust-forget").hidden`)
		v.open(d.url + "/" + lang + "/verify?code=MA.156.1301")
		v.has(words.valid)
		if eval[bool](v, `document.getElementById("trust-forget").hidden`) {
			t.Error("the pinned trust root is forgotten on the next page")
		}
	}
}

// markFiles are source marks of a department and the reports they are about.
type markFiles struct{ report, other, mark, plate, digest string }

// makeMarks has the department vouch for a report, on paper and on the chain.
func makeMarks(t *testing.T, d *runningDemo) *markFiles {
	t.Helper()
	folder := t.TempDir()
	m := &markFiles{filepath.Join(folder, "air.csv"), filepath.Join(folder, "other.csv"), filepath.Join(folder, "mark.png"), filepath.Join(folder, "plate.png"), ""}
	report := []byte("time,pm25\n2026-11-24T08:00:00Z,35\n")
	sum := sha256.Sum256(report)
	m.digest = hex.EncodeToString(sum[:])
	if err := errors.Join(os.WriteFile(m.report, report, 0o600), os.WriteFile(m.other, append(report, ' '), 0o600)); err != nil {
		t.Fatal(err)
	}
	key := []string{"--key", filepath.Join(d.folder, demoKeysDir, "urban-assert.key"), "--passphrase-file", filepath.Join(d.folder, demoKeysDir, demoPassphraseFile), "--node", d.url}
	for _, args := range [][]string{
		{"label", "source", demoUrban.String(), "--file", m.report, "--public-url", "https://id.example", "-o", m.mark},
		{"label", "source", demoUrban.String(), "--public-url", "https://id.example", "-o", m.plate},
		{"attest", m.report, "--source", demoUrban.String()},
	} {
		var talk lockedBuffer
		if code := run(t.Context(), append(args, key...), &terminal{out: &talk, err: &talk}); code != exitDone {
			t.Fatalf("%v: %d\n%s", args, code, talk.String())
		}
	}
	return m
}

// inBrowser has a visitor read the marks off photographs, and hold files against
// them that never leave the browser.
func (m *markFiles) inBrowser(t *testing.T, v *tab, d *runningDemo, lang string) {
	t.Helper()
	words := map[string]struct{ wanted, valid, other, plate, anchored, stands, same, differs string }{
		"zh": {"是否就是您手上的文件，还无法判断", "担保了这份文件，一字不差", "说的不是这份文件", "它只是一个标识", "来源担保同一数据，不晚于", "已担保", "就是这份文件", "是另一份文件"},
		"en": {"cannot be told yet", "for exactly these bytes", "not about this file", "That is an identifier and nothing more", "vouched for the same bytes no later than", "Vouched for", "is the very file", "is another file"},
	}[lang]
	v.open(d.url + "/" + lang + "/verify")
	v.upload("#photo", m.mark)
	v.submit(`form[action$="/verify/photo"]`)
	v.wait(`document.getElementById("checked-here")`)
	v.has(words.wanted)
	v.upload("#mark-file", m.other)
	v.has(words.other)
	v.upload("#mark-file", m.report)
	v.has(words.valid)
	v.has(words.anchored)

	v.click(`#mark a[href*="/attestation?"]`)
	v.has(words.stands)
	v.upload("#file", m.other)
	v.has(words.differs)
	v.upload("#file", m.report)
	v.has(words.same)

	v.open(d.url + "/" + lang + "/verify")
	v.upload("#photo", m.plate)
	v.submit(`form[action$="/verify/photo"]`)
	v.wait(`document.getElementById("checked-here")`)
	v.has(words.plate)
	v.open(d.url + "/" + lang + "/verify")
}
