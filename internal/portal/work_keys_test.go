// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
)

// policyOf returns a code's own policy and revision.
func (w *world) policyOf(code cityid.Code) (*cityid.Policy, string) {
	w.Helper()
	a, err := w.engine.Record(w.Context(), code)
	if err != nil {
		w.Fatal(err)
	}
	return a.Record.Policy, strconv.FormatUint(uint64(a.Record.Revision), 10)
}

// TestWorkPolicy changes who decides for a city, as its officer would: a second
// credential, another officer, two who must agree, a key that ends.
func TestWorkPolicy(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.signIn(cityKey)
	at := "/en/work/" + sjz.String() + "/policy"
	send := func(v url.Values) answer {
		_, revision := w.policyOf(sjz)
		v.Set("revision", revision)
		return b.post(at, v)
	}
	spare, deputy := chaintest.Key(40), chaintest.Key(41)
	b.signRequest(send(url.Values{"do": {"add"}, "key": {spare.Key.String()}, "member": {"0"}, "role": {"control", "assert"}}), cityKey)
	if p, _ := w.policyOf(sjz); len(p.Members) != 1 || len(p.Members[0].Keys) != 2 || p.Members[0].Keys[1].Roles != cityid.RoleControl|cityid.RoleAssert {
		t.Fatalf("after the second credential: %+v", p)
	}
	b.signRequest(send(url.Values{"do": {"add"}, "key": {deputy.Key.String()}, "member": {"new"}, "role": {"control"}}), cityKey)
	b.signRequest(send(url.Values{"do": {"threshold"}, "threshold": {"2"}}), cityKey)
	if p, _ := w.policyOf(sjz); p.Threshold != 2 || len(p.Members) != 2 {
		t.Fatalf("after the second officer: %+v", p)
	}
	// From now on nobody changes it alone: the change becomes a proposal.
	page := b.get(send(url.Values{"do": {"end"}, "which": {spare.Key.String()}}).header.Get("Location"))
	if !strings.Contains(page.body, "propose") {
		t.Errorf("one of two officers alone may end a key: %s", page.body)
	}
	for what, v := range map[string]url.Values{
		"no key":              {"do": {"add"}, "member": {"new"}, "role": {"control"}},
		"no role":             {"do": {"add"}, "member": {"new"}, "key": {chaintest.Key(42).Key.String()}},
		"a key twice":         {"do": {"add"}, "member": {"new"}, "key": {deputy.Key.String()}, "role": {"control"}},
		"a role and its key":  {"do": {"add"}, "member": {"new"}, "key": {chaintest.Key(42).Key.String()}, "role": {"encrypt"}},
		"no such member":      {"do": {"add"}, "member": {"9"}, "key": {chaintest.Key(42).Key.String()}, "role": {"control"}},
		"a threshold of none": {"do": {"threshold"}, "threshold": {"3"}},
		"an unknown key":      {"do": {"end"}, "which": {strangerKey.Key.String()}},
		"nothing":             {"do": {"fly"}},
		"markup":              {"do": {"add"}, "member": {"new"}, "key": {"<script>alert(1)</script>"}, "role": {"control"}},
	} {
		if a := send(v); a.status != 422 || !strings.Contains(a.body, "error-summary") || strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s: %d", what, a.status)
		}
	}
	if a := b.post(at, url.Values{"do": {"threshold"}, "threshold": {"1"}, "revision": {"1"}}); a.status != 409 {
		t.Errorf("a form made for an older revision: %d", a.status)
	}
	stranger := w.browser()
	stranger.signIn(strangerKey)
	if a := stranger.get(at); a.status != 403 {
		t.Errorf("a stranger sees the form: %d", a.status)
	}
	if a := stranger.post(at, url.Values{"do": {"inherit"}}); a.status != 403 {
		t.Errorf("a stranger's form is taken: %d", a.status)
	}
}
