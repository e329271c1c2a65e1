// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/http"
	"net/url"
	"testing"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/portal"
)

// TestSharePolicy shows what a usage policy asks for, enforced and declared, and lets
// nobody ask for more than it permits. A policy that is not the one on the chain is
// none.
func TestSharePolicy(t *testing.T) {
	policy := dcat.Policy{ID: "https://gateway.example/policies/air", Requests: 10, NoDistribution: true}
	var err error
	if policy.Assigner, err = dcat.NewRef("id.example", sjz); err != nil {
		t.Fatal(err)
	}
	b, err := policy.Encode()
	if err != nil {
		t.Fatal(err)
	}
	have := documents{airData: b, parkingData: []byte("{}")}
	w := newShareWorld(t, func(c *portal.Config) { c.Catalogue = have })
	for code, key := range map[cityid.Code]cityid.Signer{airData: cityKey, parkingData: trafficKey} {
		content := w.rec(code).Content
		d := *content.Dataset
		d.Policy = dcat.Digest(b)
		content.Dataset = &d
		w.record([]cityid.Signer{key}, cityid.Operation{Amend: &cityid.Amend{Code: code, Revision: 1, Content: content}})
	}
	asker := w.as(tangshanKey)
	asker.has("/en/work/MA.156.1302/agreements/new?dataset="+url.QueryEscape(airData.String()), "at most 10 requests a day (UTC)", "enforced", "not to be passed on to others", "declared")
	asker.lacks("/en/work/MA.156.1302/agreements/new?dataset="+url.QueryEscape(parkingData.String()), "What the usage policy asks for")
	asker.send("/en/work/MA.156.1302/agreements/new", asker.askForm(tangshan, airData, "requests", "11"), http.StatusUnprocessableEntity, "permits at most 10 requests a day")
	asker.send("/zh/work/MA.156.1302/agreements/new", asker.askForm(tangshan, airData, "requests", ""), http.StatusUnprocessableEntity, "使用政策规定每日至多 10 次请求")
	id := asker.ask(tangshan, airData, tangshanKey)
	w.as(cityKey).has("/zh/work/MA.156.1301/agreements/"+id, "系统强制执行", "承诺遵守", "不得转给他人")
	have[airData] = append(b, ' ')
	w.as(cityKey).lacks("/zh/work/MA.156.1301/agreements/"+id, "不得转给他人")
}
