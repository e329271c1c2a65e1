// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/catalogue"
	"cityid/internal/dcat"
	"cityid/internal/portal"
)

var (
	lampData = cityid.MustParse("MA.156.1301.02/20.010501/LAMPS")
	roadData = cityid.MustParse("MA.156.1301.02/20.010501/ROADS")
)

// shop is a portal with a catalogue over a gateway on loopback.
type shop struct {
	*world
	catalogue *catalogue.Catalogue

	mu    sync.Mutex
	files map[string][]byte
	class cityid.DatasetClass
}

// ServeHTTP answers as a gateway.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.files[r.URL.Path]; b != nil {
		w.Write(b)
		return
	}
	http.NotFound(w, r)
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{files: map[string][]byte{}, class: cityid.DatasetConditional}
	gateway := httptest.NewServer(s)
	t.Cleanup(gateway.Close)
	done := make(chan struct{})
	s.world = newWorld(t, func(c *portal.Config) {
		var err error
		source := c.Source.(catalogue.Source)
		s.catalogue, err = catalogue.Open(filepath.Join(t.TempDir(), "catalogue.sqlite"), source, catalogue.Options{Base: c.Origin, Private: true, Retry: 10 * time.Millisecond, Pause: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		c.Catalogue = s.catalogue
		ctx, cancel := context.WithCancel(context.Background())
		go func() { defer close(done); s.catalogue.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done; s.catalogue.Close() })
	})
	s.amend(apex, []cityid.Signer{officer(0, 0), officer(1, 0)}, func(c *cityid.Content) { c.Hosts = []string{"127.0.0.1"} })
	s.amend(sjz, []cityid.Signer{cityKey}, func(c *cityid.Content) { c.Links = []cityid.Link{{Rel: "gateway", Href: gateway.URL}} })
	s.record([]cityid.Signer{trafficKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{
		{Code: lampClass, Kind: cityid.KindClass},
		{Code: lampData, Kind: cityid.KindDataset, Content: named("路灯数据", "Lamp data")},
		{Code: roadData, Kind: cityid.KindDataset, Content: named("道路数据", "Road data")},
	}}})
	return s
}

// amend changes what a record says.
func (s *shop) amend(code cityid.Code, signers []cityid.Signer, f func(*cityid.Content)) {
	s.Helper()
	a, err := s.engine.Record(s.Context(), code)
	if err != nil {
		s.Fatal(err)
	}
	next := a.Record.Content
	f(&next)
	s.record(signers, cityid.Operation{Amend: &cityid.Amend{Code: code, Revision: a.Record.Revision, Content: next}})
}

var lampSchema = []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["items"],"properties":{
 "items":{"type":"array","items":{"$ref":"#/$defs/lamp"}},"next":{"type":["string","null"],"title":"cursor"}},
 "$defs":{"lamp":{"type":"object","required":["code"],"properties":{"code":{"type":"string","description":"the <b>code</b> of a lamp"},"since":{"type":"string","format":"date"},"next":{"$ref":"#/$defs/lamp"}}}}}`)

// publish describes the lamps, and waits until the catalogue has a state.
func (s *shop) publish(want cityid.DatasetState, change ...func(*dcat.Dataset)) {
	s.Helper()
	ref := func(c cityid.Code) dcat.Ref {
		r, err := dcat.NewRef("id.example", c)
		if err != nil {
			s.Fatal(err)
		}
		return r
	}
	d := &dcat.Dataset{
		Coded: dcat.At(ref(lampData)), Title: cityid.NamesOf(map[string]string{"zh": "路灯<script>", "en": "Lamps <script>alert(1)</script>"}),
		Description: cityid.NamesOf(map[string]string{"zh": "全市路灯。", "en": "All lamps.\nOf the city."}), Keywords: dcat.Keywords{{Lang: "en", Words: []string{"lamps"}}, {Lang: "zh", Words: []string{"路灯"}}},
		Publisher: &dcat.Agent{Coded: dcat.At(ref(traffic)), Name: cityid.NamesOf(map[string]string{"en": "x"})}, Contact: &dcat.Contact{Name: cityid.NamesOf(map[string]string{"en": "Data office"}), Email: "mailto:data@sjz.example"},
		Themes: []dcat.Concept{{ID: dcat.EUTheme + "TRAN", Label: cityid.NamesOf(map[string]string{"zh": "交通", "en": "Transport"})}},
		Access: dcat.Access(s.class), Issued: 1_700_000_000, Modified: 1_700_000_000, Frequency: dcat.EUFrequency + "MONTHLY", Languages: []string{dcat.EULanguage + "ZHO"},
		Spatial: &dcat.Place{Coded: dcat.At(ref(sjz)), Box: &dcat.Box{West: 1143000000, South: 379000000, East: 1147000000, North: 382000000}}, Temporal: &dcat.Period{Start: "2026-01-01"},
		ConformsTo: []dcat.Standard{{ID: "https://id.example/schema", Checksum: &dcat.Checksum{Value: dcat.Digest(lampSchema)}}},
		Distributions: []dcat.Distribution{{
			AccessURL: "https://gateway.example/data", Format: dcat.EUFileType + "CSV", MediaType: dcat.IANAMediaType + "text/csv", Licence: dcat.EULicence + "CC_BY_4_0",
			Service: &dcat.Service{ID: "https://gateway.example/data", Title: cityid.NamesOf(map[string]string{"en": "Gateway"}), Endpoint: "https://gateway.example/data"},
		}},
		Indicators: []dcat.Indicator{{ID: "37122:2019:14.1"}},
	}
	if s.class == cityid.DatasetConditional {
		d.Policies = []dcat.Policy{{ID: "urn:example:policy", Assigner: ref(traffic), Requests: 5000, NoDistribution: true}}
	}
	for _, f := range change {
		f(d)
	}
	body, err := d.Encode()
	if err != nil {
		s.Fatal(err)
	}
	on, err := d.OnChain()
	if err != nil {
		s.Fatal(err)
	}
	name := strings.ReplaceAll(lampData.String(), "/", "~")
	s.mu.Lock()
	s.files["/datasets/"+name], s.files["/schemas/"+name] = body, lampSchema
	if p := d.Policy(); p != nil {
		if s.files["/policies/"+name], err = p.Encode(); err != nil {
			s.Fatal(err)
		}
	}
	s.mu.Unlock()
	s.amend(lampData, []cityid.Signer{trafficKey}, func(c *cityid.Content) { c.Dataset = &on })
	s.state(lampData, want, on.Document)
}

// state waits until the catalogue has read the record with a digest, and stands so
// to it.
func (s *shop) state(code cityid.Code, want cityid.DatasetState, digest cityid.Digest) {
	s.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		a, err := s.catalogue.Dataset(s.Context(), code)
		if err == nil && a.Dataset.State == want && a.Dataset.Published != nil && a.Dataset.Published.Document == digest {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s is never %s: %v %+v", code, want, err, a)
		}
	}
}

func (s *shop) has(a answer, texts ...string) {
	s.Helper()
	if a.status != http.StatusOK {
		s.Fatalf("status %d: %s", a.status, a.body)
	}
	for _, x := range texts {
		if !strings.Contains(a.body, x) {
			s.Errorf("the page lacks %q:\n%s", x, a.body)
		}
	}
	if strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "<b>code</b>") {
		s.Error("what a city wrote became part of the page")
	}
}

func TestDataPages(t *testing.T) {
	s := newShop(t)
	s.publish(cityid.DatasetCurrent)
	b := s.browser()
	s.has(b.get("/en/data"), "2 datasets", "Lamps &lt;script&gt;", "Road data", `href="/en/data/`+lampData.String()+`"`, "Conditional", "update overdue", "no description published",
		"Shijiazhuang", "Traffic Management", "/v1/catalogue")
	s.has(b.get("/zh/data"), "共 2 个数据集", "路灯&lt;script&gt;", "有条件共享", "更新超期", "说明质量")
	// Conditions are added and taken away by links.
	one := b.get("/en/data?class=conditional&q=lamps&sort=modified")
	s.has(one, "1 dataset", "Shared: Conditional", `aria-current="true"`, `<input type="hidden" name="class" value="conditional">`, `href="/en/data?q=lamps&amp;sort=modified"`)
	s.has(b.get("/en/data?format=CSV&quality=good&freshness=late&theme="+url.QueryEscape(dcat.EUTheme+"TRAN")), "1 dataset")
	s.has(b.get("/en/data?indicator=37122:2019:14.1"), "ISO 37122:2019 14.1", "1 dataset")
	s.has(b.get("/en/data?class=open"), "Nothing found", "0 datasets")
	s.has(b.get("/en/data?q=130100"), "130100 is, by “GB/T 2260”,", "2 datasets")
	s.has(b.get("/en/data?q="+traffic.String()), traffic.String()+" is", "2 datasets")
	s.has(b.get("/en/data?city=MA.156.1301"), "/v1/catalogue?city=MA.156.1301")
	for _, query := range []string{"class=secret", "city=x!", "freshness=old", "sort=size", "state=lost", "below=x!", "quality=best", "after=xyz", "q=%ff"} {
		if a := b.get("/en/data?" + query); a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d", query, a.status)
		}
	}

	page := b.get("/en/data/" + lampData.String())
	s.has(page, "Lamps &lt;script&gt;", "All lamps.", "Sign in to request access", "Traffic Management", "Data office", "data@sjz.example", "CC_BY_4_0",
		"at most 5000 requests a day", "enforced", "not to be passed on", "declared", "items[].code", "the &lt;b&gt;code&lt;/b&gt; of a lamp", "string date", "string | null",
		"has the digest that the registry holds", "/v1/bundles/"+lampData.String(), "?part=description", "?part=schema", "?part=policy", "of 100 points", "<svg", "Revision 2", "A new description was published",
		`<link rel="alternate"`, "counts as overdue from")
	s.has(b.get("/zh/data/"+lampData.String()), "系统强制执行", "承诺遵守", "完整性证明", "登录后申请使用", "公布了新的说明文件")
	s.has(b.get("/en/data/"+roadData.String()), "no description published", "Road data", "The catalogue holds no description")
	// Who has signed in asks on behalf of what they hold.
	b.signIn(urbanKey)
	s.has(b.get("/en/data/"+lampData.String()), `href="/en/work/`+urban.String()+`/agreements/new?dataset=`+lampData.String()+`"`, "Request access")
	holder := s.browser()
	holder.signIn(trafficKey)
	s.has(holder.get("/en/data/"+lampData.String()), "may not ask on anybody")

	// The way there and back.
	s.has(b.get("/en/code/"+lampData.String()), `href="/en/data/`+lampData.String()+`"`)
	s.has(b.get("/en/"), `href="/en/data"`, "Browse shared data")
	if a := b.get("/en/data/" + sjz.String()); a.status != http.StatusSeeOther || a.header.Get("Location") != "/en/code/"+sjz.String() {
		t.Errorf("a city: %d %s", a.status, a.header.Get("Location"))
	}
	if a := b.get("/en/data/MA.156.1999"); a.status != http.StatusNotFound {
		t.Errorf("no code: %d", a.status)
	}
	if a := b.get("/en/data/" + strings.ToLower(lampData.String())); a.status != http.StatusPermanentRedirect {
		t.Errorf("another form: %d", a.status)
	}
	s.class = cityid.DatasetOpen
	s.publish(cityid.DatasetCurrent)
	s.has(b.get("/en/data/"+lampData.String()), "shared openly", "It is now shared as: open")
}

// TestDataRefused shows what a city serves instead of what it published as refused.
func TestDataRefused(t *testing.T) {
	s := newShop(t)
	s.publish(cityid.DatasetCurrent)
	b := s.browser()
	s.amend(lampData, []cityid.Signer{trafficKey}, func(c *cityid.Content) {
		d := *c.Dataset
		d.Document = cityid.Digest{1}
		c.Dataset = &d
	})
	s.state(lampData, cityid.DatasetRefused, cityid.Digest{1})
	s.has(b.get("/en/data/"+lampData.String()), "The city serves another document than it published", "What you see below was published earlier", "Lamps &lt;script&gt;", "does not have the digest")
	s.has(b.get("/zh/data/"+lampData.String()), "城市提供的文件与它公布的不是同一份", "较早公布的说明")
	s.has(b.get("/en/data?state=refused"), "1 dataset", "not the document registered")
}

func TestNoCatalogue(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, path := range []string{"/en/data", "/en/data/" + sjz.String()} {
		if a := b.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, a.status)
		}
	}
	if a := b.get("/en/"); strings.Contains(a.body, "/en/data") {
		t.Error("the home page leads to pages that are not there")
	}
}
