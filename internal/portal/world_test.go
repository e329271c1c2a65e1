// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/index"
	"cityid/internal/office"
	"cityid/internal/portal"
	"cityid/internal/registry"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/label"
)

// Codes of the world, and the keys that sign for them: an institute's officers
// are officer(i, 0) and officer(i, 1).
var (
	apex       = cityid.MustParse("MA.156")
	institutes = []cityid.Code{cityid.MustParse("MA.156.9001"), cityid.MustParse("MA.156.9002"), cityid.MustParse("MA.156.9003")}
	hebei      = cityid.MustParse("MA.156.13")
	sjz        = cityid.MustParse("MA.156.1301")
	urban      = cityid.MustParse("MA.156.1301.01")
	traffic    = cityid.MustParse("MA.156.1301.02")
	lampClass  = cityid.MustParse("MA.156.1301.02/20.010501")

	provinceKey = chaintest.Key(20)
	cityKey     = chaintest.Key(21)
	urbanKey    = chaintest.Key(22)
	trafficKey  = chaintest.Key(23)
	strangerKey = chaintest.Key(29)
)

func officer(institute, n int) cityid.Signer { return chaintest.Key(1 + 2*institute + n) }

// evidenceKey is the key to which documents for an institute are encrypted.
func evidenceKey(institute int) *keys.Private {
	k, err := keys.NewPrivate(keys.X25519, bytes.Repeat([]byte{byte(200 + institute)}, 32))
	if err != nil {
		panic(err)
	}
	return k
}

func named(zh, en string) cityid.Content {
	return cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": zh, "en": en})}
}

func control(k cityid.Signer) *cityid.Policy {
	return &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: k.Key, Roles: cityid.RoleControl}}}}}
}

// world is a portal over a real chain, index and office.
type world struct {
	*testing.T
	engine *chain.Engine
	index  *index.Index
	office *office.Office
	portal *portal.Portal
	url    string
	chain  string
}

// genesis founds a zone that two of three institutes decide for, with a
// province, a city and two departments.
func genesis(name string) *chain.Genesis {
	root := cityid.Allocation{Code: apex, Kind: cityid.KindAuthority, Content: named("试验根区", "Root zone for trials"), Policy: &cityid.Policy{Threshold: 2}}
	records := []cityid.Allocation{root}
	for i, code := range institutes {
		root.Policy.Members = append(root.Policy.Members, cityid.Member{Code: code})
		first := []cityid.Key{
			{Public: officer(i, 0).Key, Roles: cityid.RoleControl | cityid.RoleIntake},
			{Public: cityid.PublicKey(evidenceKey(i).Public().Raw()), Roles: cityid.RoleEncrypt},
		}
		records = append(records, cityid.Allocation{
			Code: code, Parent: apex, Kind: cityid.KindOrganisation, Content: named("研究院"+[]string{"甲", "乙", "丙"}[i], "Institute "+"ABC"[i:i+1]),
			Policy: &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: first}, {Keys: []cityid.Key{{Public: officer(i, 1).Key, Roles: cityid.RoleControl}}}}},
		})
	}
	at := func(a cityid.Allocation, lat, lon int32) cityid.Allocation {
		a.Content.Location = &cityid.Location{Lat: lat, Lon: lon}
		return a
	}
	records = append(records,
		at(cityid.Allocation{Code: hebei, Parent: apex, Kind: cityid.KindProvince, Content: named("河北省", "Hebei"), Policy: control(provinceKey), Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130000"}}}, 38_0454740, 114_5024610),
		at(cityid.Allocation{Code: sjz, Parent: hebei, Kind: cityid.KindCity, Content: named("石家庄市", "Shijiazhuang"), Policy: control(cityKey), Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130100"}}}, 38_0454740, 114_5024610),
		cityid.Allocation{Code: urban, Parent: sjz, Kind: cityid.KindDepartment, Content: named("城市管理局", "Urban Management"), Policy: control(urbanKey)},
		cityid.Allocation{Code: traffic, Parent: sjz, Kind: cityid.KindDepartment, Content: named("交通管理局", "Traffic Management"), Policy: control(trafficKey)},
	)
	holders := []cityid.Kind{cityid.KindAuthority, cityid.KindProvince, cityid.KindCity, cityid.KindCounty, cityid.KindDepartment, cityid.KindOrganisation}
	both := []string{"en", "zh"}
	return &chain.Genesis{
		Chain: name, Time: cityid.TimeOf(time.Now().Add(-time.Minute)),
		State: registry.Genesis{
			Params: cityid.DefaultParams, Validators: []cityid.Validator{chain.EngineValidator()}, Records: records,
			Rule: cityid.Rule{
				Kinds: []cityid.KindRule{
					{Kind: cityid.KindProvince, Parents: []cityid.Kind{cityid.KindAuthority}, Patterns: []string{"##"}, Schemes: []string{"gb2260"}, Languages: both, Apex: true},
					{Kind: cityid.KindCity, Parents: []cityid.Kind{cityid.KindAuthority, cityid.KindProvince}, Patterns: []string{"####"}, Schemes: []string{"gb2260"}, Languages: both, Apex: true},
					{Kind: cityid.KindCounty, Parents: []cityid.Kind{cityid.KindProvince, cityid.KindCity}, Patterns: []string{"######"}, Schemes: []string{"gb2260"}, Languages: []string{"zh"}},
					{Kind: cityid.KindDepartment, Parents: holders, Patterns: []string{"##"}, Sequence: true, Languages: []string{"zh"}},
					{Kind: cityid.KindOrganisation, Parents: []cityid.Kind{cityid.KindAuthority}, Languages: []string{"zh"}},
					{Kind: cityid.KindClass, Parents: append(holders, cityid.KindClass)},
					{Kind: cityid.KindObject, Parents: []cityid.Kind{cityid.KindClass, cityid.KindObject}},
					{Kind: cityid.KindDataset, Parents: []cityid.Kind{cityid.KindClass, cityid.KindObject}},
				},
				Classes: []cityid.ClassRule{{Prefix: "20.0201", Disclosure: cityid.DisclosureSealed}, {Prefix: "20.0301", Disclosure: cityid.DisclosureCoarse}},
			},
			Schemes: []cityid.Scheme{
				{Name: "asset", Titles: cityid.NamesOf(map[string]string{"zh": "资产旧编号", "en": "Former asset number"})},
				{Name: "gb2260", Titles: cityid.NamesOf(map[string]string{"zh": "行政区划代码", "en": "GB/T 2260"}), Owner: apex, Patterns: []string{"######"}},
			},
		},
	}
}

// newWorld starts everything. change may alter the portal's configuration.
func newWorld(t *testing.T, change ...func(*portal.Config)) *world {
	t.Helper()
	return newWorldOf(t, genesis("portal-test"), change...)
}

// newWorldOf is newWorld for another genesis.
func newWorldOf(t *testing.T, g *chain.Genesis, change ...func(*portal.Config)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{T: t, chain: g.Chain}
	var err error
	if w.engine, err = chain.NewEngine(chain.EngineConfig{Genesis: g, Dir: filepath.Join(dir, "chain")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.engine.Close() })
	w.engine.Advance(time.Minute)
	if w.index, err = index.Open(filepath.Join(dir, "index.sqlite"), index.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.index.Close() })
	if w.office, err = office.Open(t.Context(), office.Options{Dir: filepath.Join(dir, "office")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.office.Close() })
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		w.index.Follow(t.Context(), w.engine)
	}()
	t.Cleanup(func() { <-followed }) // t.Context ends before the clean-up
	server := httptest.NewUnstartedServer(nil)
	w.url = "http://" + server.Listener.Addr().String()
	c := portal.Config{Source: w.engine, Index: w.index, Office: w.office, Origin: w.url, Limits: portal.NewLimits()}
	if c.Public, err = label.ParsePublicURL("https://id.example"); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&c)
	}
	h, err := portal.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.portal = h
	server.Config.Handler = web.Wrap(h, web.WrapConfig{MaxBody: portal.MaxBody})
	server.Start()
	t.Cleanup(server.Close)
	w.indexed()
	return w
}

// indexed waits until the index has seen the latest block.
func (w *world) indexed() {
	w.Helper()
	s, err := w.engine.Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.index.Search(w.Context(), cityid.SearchQuery{MinHeight: s.Height, Limit: 1}); err != nil {
		w.Fatal(err)
	}
}

// record has operations recorded, and the index see them.
func (w *world) record(signers []cityid.Signer, ops ...cityid.Operation) *cityid.Receipt {
	w.Helper()
	r, err := w.engine.Submit(w.Context(), chaintest.TxBy(w.chain, time.Now(), signers, ops...), true)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		w.Fatal(err)
	}
	w.indexed()
	return r
}

// browser is a visitor: it keeps cookies, and does not follow redirects.
type browser struct {
	*world
	client *http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.Fatal(err)
	}
	return &browser{w, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path, contentType string, body io.Reader, headers ...string) answer {
	b.Helper()
	if !strings.HasPrefix(path, "http") {
		path = b.url + path
	}
	r, err := http.NewRequestWithContext(b.Context(), method, path, body)
	if err != nil {
		b.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(text)}
}

func (b *browser) get(path string, headers ...string) answer {
	b.Helper()
	return b.do("GET", path, "", nil, headers...)
}

func (b *browser) post(path string, form url.Values, headers ...string) answer {
	b.Helper()
	return b.do("POST", path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), headers...)
}

// script posts JSON as a page's script does, and decodes the answer.
func (b *browser) script(path string, in, out any) answer {
	b.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	a := b.do("POST", path, "application/json", strings.NewReader(string(body)))
	if out != nil && a.status == http.StatusOK {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			b.Fatalf("%s: %v: %s", path, err, a.body)
		}
	}
	return a
}

var (
	challengePattern = regexp.MustCompile(`data-challenge="([^"]+)"`)
	digestPattern    = regexp.MustCompile(`id="digest">([0-9a-f]{64})<`)
)

// signIn signs in with a key.
func (b *browser) signIn(s cityid.Signer) {
	b.Helper()
	m := challengePattern.FindStringSubmatch(b.get("/en/sign-in").body)
	if m == nil {
		b.Fatal("the page to sign in has no challenge")
	}
	challenge, err := base64.RawURLEncoding.DecodeString(m[1])
	if err != nil {
		b.Fatal(err)
	}
	digest := cityid.SignInDigest(b.url, challenge)
	signature, err := s.Sign(digest[:])
	if err != nil {
		b.Fatal(err)
	}
	a := b.script("/en/sign-in", map[string]any{"challenge": m[1], "key": s.Key, "signature": cityid.Bytes(signature)}, nil)
	if a.status != http.StatusOK {
		b.Fatalf("sign in: %d %s", a.status, a.body)
	}
}

// signRequest signs what an answer redirects to, as the page's script does, and
// returns where the page goes on to.
func (b *browser) signRequest(a answer, s cityid.Signer) string {
	b.Helper()
	where := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(where, "/sign/") {
		b.Fatalf("want a redirect to a page to sign, got %d to %q: %s", a.status, where, a.body)
	}
	page := b.get(where)
	m := digestPattern.FindStringSubmatch(page.body)
	if m == nil {
		b.Fatalf("the page to sign shows no digest: %s", page.body)
	}
	digest, err := cityid.ParseDigest(m[1])
	if err != nil {
		b.Fatal(err)
	}
	signature, err := s.Sign(digest[:])
	if err != nil {
		b.Fatal(err)
	}
	var next struct{ Next string }
	a = b.script(where+"/signature", map[string]any{"key": s.Key, "signature": cityid.Bytes(signature)}, &next)
	if a.status != http.StatusOK {
		b.Fatalf("sign: %d %s", a.status, a.body)
	}
	b.indexed()
	return next.Next
}
