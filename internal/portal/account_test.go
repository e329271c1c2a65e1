// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cityid"
)

func sessionCookie(b *browser) string {
	u, err := url.Parse(b.url)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "cityid-session" {
			return c.Value
		}
	}
	return ""
}

// TestSignIn shows who has signed in, and gives the session a new name then.
func TestSignIn(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	if a := b.get("/en/account"); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/en/sign-in?next=") {
		t.Fatalf("a stranger's account: %d to %s", a.status, a.header.Get("Location"))
	}
	b.get("/en/sign-in")
	before := sessionCookie(b)
	b.signIn(cityKey)
	if after := sessionCookie(b); after == before || after == "" {
		t.Error("signing in kept the session's token: whoever planted it would be signed in as well")
	}
	a := b.get("/en/account")
	if !strings.Contains(a.body, "Shijiazhuang") || !strings.Contains(a.body, "control") {
		t.Errorf("the account does not say what the key may do: %s", a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("a private page may be stored")
	}
	b.post("/en/sign-out", nil)
	if a := b.get("/en/account"); a.status != http.StatusSeeOther {
		t.Errorf("after signing out the account answers %d", a.status)
	}
}

// TestSignInRefused refuses answers that prove nothing.
func TestSignInRefused(t *testing.T) {
	w := newWorld(t)
	try := func(what string, change func(challenge *string, digest *cityid.Digest), by cityid.Signer, as cityid.PublicKey, want int) {
		b := w.browser()
		m := challengePattern.FindStringSubmatch(b.get("/en/sign-in").body)
		challenge := m[1]
		raw, err := base64.RawURLEncoding.DecodeString(challenge)
		if err != nil {
			t.Fatal(err)
		}
		digest := cityid.SignInDigest(b.url, raw)
		change(&challenge, &digest)
		signature, err := by.Sign(digest[:])
		if err != nil {
			t.Fatal(err)
		}
		reply := map[string]any{"challenge": challenge, "key": as, "signature": cityid.Bytes(signature)}
		if a := b.script("/en/sign-in", reply, nil); a.status != want {
			t.Errorf("%s: %d, want %d", what, a.status, want)
		}
		if want == 200 {
			if a := b.script("/en/sign-in", reply, nil); a.status == 200 {
				t.Errorf("%s: a challenge was good twice", what)
			}
		}
	}
	keep := func(*string, *cityid.Digest) {}
	try("good", keep, cityKey, cityKey.Key, 200)
	try("another's key", keep, strangerKey, cityKey.Key, 403)
	try("for another site", func(c *string, d *cityid.Digest) {
		raw, _ := base64.RawURLEncoding.DecodeString(*c)
		*d = cityid.SignInDigest("https://other.example", raw)
	}, cityKey, cityKey.Key, 403)
	try("made-up challenge", func(c *string, d *cityid.Digest) {
		*c = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		*d = cityid.SignInDigest(w.url, make([]byte, 32))
	}, cityKey, cityKey.Key, 422)
}

// TestOtherSites refuses forms that another site sent, and never sends a
// visitor there.
func TestOtherSites(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(cityKey)
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
		if a := b.post("/en/sign-out", nil, headers...); a.status != http.StatusForbidden {
			t.Errorf("a post with %v: %d, want 403", headers, a.status)
		}
	}
	if a := b.get("/en/account"); a.status != 200 {
		t.Error("a refused post signed the visitor out")
	}
	for _, next := range []string{"https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\tx"} {
		if a := w.browser().get("/en/sign-in?next=" + url.QueryEscape(next)); !strings.Contains(a.body, `data-next="/en/account"`) {
			t.Errorf("next=%q is followed", next)
		}
	}
}
