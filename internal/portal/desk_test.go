// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/office"
	"cityid/internal/portal"
	"cityid/internal/web"
)

// TestIntake has a clerk bring what was handed in, and decline what should not
// have been; nobody else sees it.
func TestIntake(t *testing.T) {
	w := newWorld(t, desk(0))
	envelope, digest := sealed(t, office.EvidenceDocument{Name: "授权书.jpg", Document: photo(t)}, 0, 1)
	file, err := w.office.PutBytes(t.Context(), envelope)
	if err != nil {
		t.Fatal(err)
	}
	hand := func(a *cityid.Apply) string {
		s := office.Submission{Apply: *a, Contact: []byte(`{"name":"<b>李经办</b>","phone":"0311"}`)}
		if len(a.Evidence) > 0 {
			s.Evidence = []office.EvidenceFile{{Digest: digest, File: file}}
		}
		reference, err := w.office.Receive(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return reference
	}
	good, bad := hand(w.application(strangerKey, digest)), hand(w.application(trafficKey))

	for _, key := range []cityid.Signer{officer(1, 0), cityKey} {
		other := w.browser()
		other.signIn(key)
		for _, path := range []string{"/en/intake", "/en/intake/" + good, "/en/intake/" + good + "/evidence/" + digest.String(), "/en/officers"} {
			wantStatus(t, other.get(path), 404)
		}
		wantStatus(t, other.post("/en/intake/"+good, url.Values{"act": {"decline"}, "note": {"x"}}), 404)
	}
	if a := w.browser().get("/en/intake/" + good); a.status != 303 {
		t.Errorf("a stranger gets %d", a.status)
	}

	b := w.browser()
	b.signIn(officer(0, 0))
	wantStatus(t, b.get("/en/review"), 200, "Applications to bring")
	wantStatus(t, b.get("/en/intake"), 200, good, bad)
	page := b.get("/en/intake/" + good)
	wantStatus(t, page, 200, "<b>李经办</b>", "授权书.jpg", "apply for MA.156.1302")
	if strings.Contains(page.body, "<b>李") {
		t.Error("what the applicant wrote became markup")
	}
	wantStatus(t, b.get("/en/intake/"+good+"/evidence/"+digest.String()), 200)
	wantStatus(t, b.get("/en/intake/"+bad+"/evidence/"+digest.String()), 404)

	wantStatus(t, b.post("/en/intake/"+bad, url.Values{"act": {"decline"}, "note": {" "}}), 422, "Say why it is declined")
	wantStatus(t, b.post("/en/intake/"+bad, url.Values{"act": {"keep"}}), 400)
	if a := b.post("/en/intake/"+bad, url.Values{"act": {"decline"}, "note": {"不是城市"}}); a.status != 303 {
		t.Fatalf("decline: %d %s", a.status, a.body)
	}
	wantStatus(t, b.get("/en/intake/"+bad), 200, "Declined", "不是城市")
	wantStatus(t, b.post("/en/intake/"+bad, url.Values{"act": {"bring"}}), 409)

	next := b.signRequest(b.post("/en/intake/"+good, url.Values{"act": {"bring"}}), officer(0, 0))
	wantStatus(t, b.get(next), 200, "Proposal 1", "Brought")
	a, err := w.office.Application(t.Context(), good)
	if err != nil || a.State != office.ApplicationBrought || a.Proposal != 1 {
		t.Fatalf("application %+v, %v", a, err)
	}
	wantStatus(t, b.get("/en/review/1"), 200, "授权书.jpg")
	wantStatus(t, b.post("/en/intake/"+good, url.Values{"act": {"bring"}}), 409)
}

// TestOfficers enters who has which key, hands an office over, and adds a second
// credential; the list follows the chain.
func TestOfficers(t *testing.T) {
	w := newWorld(t, desk(0))
	b := w.browser()
	b.signIn(officer(0, 0))
	page := b.get("/en/officers")
	wantStatus(t, page, 200, "Keys that are nobody's yet", "The list is empty")
	enter := func(k cityid.PublicKey, name string) answer {
		return b.post("/en/officers", url.Values{"key": {k.String()}, "name": {name}, "staff": {"007"}})
	}
	wantStatus(t, enter(cityKey.Key, "外人"), 422, "This key does not stand in the institution's policy")
	wantStatus(t, enter(officer(0, 0).Key, ""), 422)
	if a := enter(officer(0, 0).Key, "<i>王一</i>"); a.status != 303 {
		t.Fatalf("enter: %d %s", a.status, a.body)
	}
	wantStatus(t, enter(officer(0, 0).Key, "王二"), 422, "somebody's already")
	if a := enter(officer(0, 1).Key, "王二"); a.status != 303 {
		t.Fatalf("enter: %d", a.status)
	}
	page = b.get("/en/officers")
	wantStatus(t, page, 200, "<i>王一</i>", "one credential", "in force")
	if strings.Contains(page.body, "<i>王") {
		t.Error("a name became markup")
	}

	// A second credential, beside the first in the same member.
	second := chaintest.Key(40)
	wantStatus(t, b.get("/en/account/credential"), 200, "Institute A")
	wantStatus(t, b.post("/en/account/credential", url.Values{"code": {sjz.String()}, "key": {second.Key.String()}}), 422)
	wantStatus(t, b.post("/en/account/credential", url.Values{"code": {institutes[0].String()}, "key": {officer(0, 1).Key.String()}}), 422, "stands in the policy already")
	wantStatus(t, b.post("/en/account/credential", url.Values{"code": {institutes[0].String()}, "key": {cityid.PublicKey(evidenceKey(2).Public().Raw()).String()}}), 422)
	next := b.signRequest(b.post("/en/account/credential", url.Values{"code": {institutes[0].String()}, "key": {second.Key.String()}}), officer(0, 0))
	if !strings.HasPrefix(next, "/en/officers") {
		t.Errorf("goes on to %s", next)
	}
	wantStatus(t, b.get(next), 200, "Recorded")
	f, err := w.office.OfficerByKey(t.Context(), second.Key, time.Now())
	if err != nil || f.Name != "<i>王一</i>" {
		t.Fatalf("second credential is %+v, %v", f, err)
	}

	// The second officer hands over.
	leaves, err := w.office.OfficerByKey(t.Context(), officer(0, 1).Key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(leaves.From.Truncate(time.Second).Add(time.Second))) // until the clock shows a second after the office began
	path := fmt.Sprintf("/en/officers/%d/hand-over", leaves.ID)
	comes := chaintest.Key(41)
	form := url.Values{"name": {"赵三"}, "staff": {"008"}, "key": {comes.Key.String()}}
	wantStatus(t, b.get(path), 200, "王二")
	wantStatus(t, b.get("/en/officers/99/hand-over"), 404)
	wantStatus(t, b.post(path, url.Values{"name": {"赵三"}}), 422, "Make a key or paste one")
	wantStatus(t, b.post(path, url.Values{"name": {"赵三"}, "key": {comes.Key.String()}, "from": {"2999-01-01"}}), 422, "Give a date within a year")
	if changes, err := w.office.OfficerChanges(t.Context()); err != nil || len(changes) != 0 {
		t.Fatalf("what was refused waits: %v, %v", changes, err)
	}
	to := b.post(path, form)
	wantStatus(t, b.get("/en/officers"), 200, "王二 hands over to 赵三")
	b.signRequest(to, officer(0, 0))
	wantStatus(t, b.get("/en/officers"), 200, "赵三", "Former officers")
	a, err := w.engine.Record(t.Context(), institutes[0])
	if err != nil {
		t.Fatal(err)
	}
	var ended, begun bool
	for _, m := range a.Record.Policy.Members {
		for _, k := range m.Keys {
			ended = ended || k.Public == officer(0, 1).Key && k.Until != 0
			begun = begun || k.Public == comes.Key && k.Roles == cityid.RoleControl && k.Until == 0
		}
	}
	if !ended || !begun {
		t.Errorf("policy %+v", a.Record.Policy)
	}
	if f, err := w.office.OfficerByKey(t.Context(), comes.Key, time.Now().Add(time.Second)); err != nil || f.Name != "赵三" {
		t.Errorf("who came is %+v, %v", f, err)
	}
}

// secondPortal serves another institute's portal over the same chain.
func (w *world) secondPortal(i int) (*office.Office, string) {
	w.Helper()
	o, err := office.Open(w.Context(), office.Options{Dir: filepath.Join(w.TempDir(), "office")})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { o.Close() })
	server := httptest.NewUnstartedServer(nil)
	at := "http://localhost:" + server.Listener.Addr().String()[strings.LastIndexByte(server.Listener.Addr().String(), ':')+1:]
	c := portal.Config{Source: w.engine, Index: w.index, Office: o, Origin: at, Limits: portal.NewLimits()}
	desk(i)(&c)
	h, err := portal.New(c)
	if err != nil {
		w.Fatal(err)
	}
	server.Config.Handler = web.Wrap(h, web.WrapConfig{MaxBody: portal.MaxBody})
	server.Start()
	w.Cleanup(server.Close)
	return o, at
}

// TestDelivery hands documents in at one portal, and finds them at another's. An
// address in a private network is not connected to unless that is allowed.
func TestDelivery(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		var mine portal.Config
		w := newWorld(t, desk(0), func(c *portal.Config) {
			if allowed {
				c.DeliverTo = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			mine = *c
		})
		other, at := w.secondPortal(1)
		two := []cityid.Signer{officer(0, 0), officer(1, 0)}
		root := named("试验根区", "Root zone for trials")
		root.Hosts = []string{"localhost"}
		w.record(two, cityid.Operation{Amend: &cityid.Amend{Code: apex, Revision: 1, Content: root}})
		content := named("研究院乙", "Institute B")
		content.Links = []cityid.Link{{Rel: portal.RelOffice, Href: at + "/"}}
		w.record([]cityid.Signer{officer(1, 0)}, cityid.Operation{Amend: &cityid.Amend{Code: institutes[1], Revision: 1, Content: content}})

		envelope, digest := sealed(t, office.EvidenceDocument{Name: "授权书.jpg", Document: photo(t)}, 0, 1, 2)
		if err := w.office.StoreEvidence(t.Context(), digest, "", envelope); err != nil {
			t.Fatal(err)
		}
		n := w.bring(w.application(strangerKey, digest))
		h, err := portal.New(mine)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		deadline := time.Now().Add(20 * time.Second)
		for {
			got, err := other.EvidenceOf(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			list, err := w.office.Deliveries(t.Context(), 0, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			if allowed && len(got) == 1 && len(list) == 1 && list[0].State == office.DeliveryDone {
				break
			}
			if !allowed && len(list) == 1 && list[0].State == office.DeliveryFailed {
				if len(got) != 0 || !strings.Contains(list[0].Error, "no public address") {
					t.Errorf("%d documents, %q", len(got), list[0].Error)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("allowed %v: documents %v, deliveries %+v", allowed, got, list)
			}
			time.Sleep(20 * time.Millisecond)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
