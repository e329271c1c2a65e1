// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"
)

// TestVerifyInBrowser checks codes, a certificate and files by the verifier in
// the browser, with a trust root that a visitor pins.
func TestVerifyInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	chromium(t)
	d := startDemo(t)
	b := startBrowser(t)
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
