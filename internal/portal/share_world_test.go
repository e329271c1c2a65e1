// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/portal"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

// What is shared: data of Shijiazhuang itself, and of its traffic department,
// which decides alone.
var (
	airData     = cityid.MustParse("MA.156.1301/30.000001/AIR")
	parkingData = cityid.MustParse("MA.156.1301.02/30.000001/PARKING")
	closedData  = cityid.MustParse("MA.156.1301/30.000001/CLOSED")
	bareData    = cityid.MustParse("MA.156.1301/30.000001/BARE")

	tangshanKey  = chaintest.Key(30)
	tangshanKey2 = chaintest.Key(31)
	airDocument  = []byte(`{"title":"air"}`)
)

// shareWorld is a portal at which officers of two cities work, each city behind a
// gateway of its own.
type shareWorld struct {
	*world
	gateways  map[cityid.Code]*share.Gateway
	locals    map[cityid.Code]string // addresses for the city's own programs
	addresses map[cityid.Code]string
	reader    *keys.Private // opens what is encrypted to Shijiazhuang
}

func gatewayKey(n byte) *keys.Private {
	k, err := keys.NewPrivate(keys.Ed25519, bytes.Repeat([]byte{n}, 32))
	if err != nil {
		panic(err)
	}
	return k
}

func publicOf(k *keys.Private) cityid.PublicKey { return cityid.PublicKey(k.Public().Raw()) }

// newShareWorld starts everything. change may alter the portal's configuration.
func newShareWorld(t *testing.T, change ...func(*portal.Config)) *shareWorld {
	t.Helper()
	w := &shareWorld{gateways: map[cityid.Code]*share.Gateway{}, locals: map[cityid.Code]string{}, addresses: map[cityid.Code]string{}}
	servers := map[cityid.Code][2]*httptest.Server{}
	for _, code := range []cityid.Code{sjz, tangshan} {
		peer, local := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
		servers[code] = [2]*httptest.Server{peer, local}
		w.addresses[code], w.locals[code] = "http://"+peer.Listener.Addr().String(), "http://"+local.Listener.Addr().String()
	}
	var err error
	if w.reader, err = keys.NewPrivate(keys.X25519, bytes.Repeat([]byte{77}, 32)); err != nil {
		t.Fatal(err)
	}
	known, err := portal.NewHTTPGateways(w.locals)
	if err != nil {
		t.Fatal(err)
	}
	change = append([]func(*portal.Config){func(c *portal.Config) { c.Gateways, c.EvidenceKey, c.Limits = known, w.reader, nil }}, change...)
	zone := genesis("portal-test")
	w.found(zone)
	w.world = newWorldOf(t, zone, change...)
	document := filepath.Join(t.TempDir(), "air.json")
	if err := os.WriteFile(document, airDocument, 0o600); err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, `{"path":%q}`, r.URL.Path) }))
	t.Cleanup(service.Close)
	for n, code := range []cityid.Code{sjz, tangshan} {
		cfg := share.Config{
			Party: code, Log: "gw-1", URL: w.addresses[code], Listen: "unused", Local: "127.0.0.1:0", Data: t.TempDir(), Key: "unused", Trust: "unused",
			Nodes: []string{"unused"}, PrivatePeers: true,
		}.WithDefaults()
		if code == sjz {
			cfg.Datasets = []share.DatasetConfig{{Code: airData, Document: document, Backend: share.Backend{HTTP: service.URL}, Paths: []share.PathRule{{Path: "/latest"}}}}
		}
		w.open(cfg, gatewayKey(byte(60+n)), servers[code])
	}
	w.pass(12 * time.Second) // a new gateway does not know what it has seen before
	return w
}

// found adds what the cities share to the zone.
func (w *shareWorld) found(g *chain.Genesis) {
	shared := func(code cityid.Code, zh, en string, class cityid.DatasetClass) cityid.Allocation {
		a := cityid.Allocation{Code: code, Kind: cityid.KindDataset, Content: named(zh, en)}
		if class != 0 {
			a.Content.Dataset = &cityid.Dataset{Class: class, Document: sha256.Sum256(airDocument)}
		}
		return a
	}
	for i := range g.State.Records {
		a := &g.State.Records[i]
		switch a.Code {
		case apex:
			a.Content.Hosts = []string{"127.0.0.1"}
		case sjz:
			a.Policy.Members[0].Keys = append(a.Policy.Members[0].Keys,
				cityid.Key{Public: publicOf(gatewayKey(60)), Roles: cityid.RoleGateway}, cityid.Key{Public: publicOf(w.reader), Roles: cityid.RoleEncrypt})
			a.Content.Links = []cityid.Link{{Rel: share.RelGateway, Href: w.addresses[sjz]}}
		}
	}
	other := cityid.Allocation{
		Code: tangshan, Parent: hebei, Kind: cityid.KindCity, Content: named("唐山市", "Tangshan"), Policy: control(tangshanKey), Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130200"}},
	}
	other.Policy.Members[0].Keys = append(other.Policy.Members[0].Keys, cityid.Key{Public: publicOf(gatewayKey(61)), Roles: cityid.RoleGateway})
	other.Content.Links = []cityid.Link{{Rel: share.RelGateway, Href: w.addresses[tangshan]}}
	g.State.Records = append(g.State.Records, other,
		cityid.Allocation{Code: airData.Parent(), Kind: cityid.KindClass}, cityid.Allocation{Code: parkingData.Parent(), Kind: cityid.KindClass},
		shared(airData, "空气质量", "Air quality", cityid.DatasetConditional), shared(parkingData, "停车", "Parking", cityid.DatasetOpen),
		shared(closedData, "内部", "Internal", cityid.DatasetClosed), shared(bareData, "未说明", "Undescribed", 0))
}

// open opens a gateway and serves it.
func (w *shareWorld) open(cfg share.Config, key *keys.Private, servers [2]*httptest.Server) {
	w.Helper()
	trusts, err := w.engine.Trust(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	trust, err := verify.NewTrustFile(trusts[0])
	if err != nil {
		w.Fatal(err)
	}
	g, err := share.Open(w.Context(), cfg, share.Parts{
		Trust: trust, Nodes: []share.Node{w.engine}, Key: key, Peers: web.NewOutward(true, nil), Log: slog.New(slog.DiscardHandler), Now: w.engine.Now,
	})
	if err != nil {
		w.Fatal(err)
	}
	w.gateways[cfg.Party] = g
	w.Cleanup(func() {
		for _, s := range servers {
			s.Close()
		}
		if err := g.Close(); err != nil {
			w.Error(err)
		}
	})
	for i, h := range []http.Handler{g.Peer(), g.Local()} {
		servers[i].Config.Handler = web.Wrap(h, web.WrapConfig{})
		servers[i].Start()
	}
}

// pass lets time pass, and has a signed header say so.
func (w *shareWorld) pass(d time.Duration) {
	w.Helper()
	w.engine.Advance(d)
	if err := w.engine.MakeBlock(); err != nil {
		w.Fatal(err)
	}
	w.indexed()
}

// as is a browser of whoever signs with a key.
func (w *shareWorld) as(key cityid.Signer) *browser {
	b := w.browser()
	b.signIn(key)
	return b
}

// documents is a catalogue of usage policies alone.
type documents map[cityid.Code][]byte

func (documents) Datasets(context.Context, cityid.DatasetQuery) (*cityid.DatasetPage, error) {
	return new(cityid.DatasetPage), nil
}

func (documents) Dataset(context.Context, cityid.Code) (*cityid.DatasetAnswer, error) {
	return nil, cityid.Errorf(cityid.ErrNotFound, "no such dataset")
}

func (d documents) DatasetDocument(_ context.Context, dataset cityid.Code, part cityid.DatasetPart) ([]byte, error) {
	if b := d[dataset]; b != nil && part == cityid.PartPolicy {
		return b, nil
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "no such document")
}

// settle has the portal do a round of what it does about requests.
func (w *shareWorld) settle() {
	w.Helper()
	if err := w.portal.SettleAgreements(w.Context()); err != nil {
		w.Fatal(err)
	}
}

var (
	hiddenValue = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)"`)
	agreementID = regexp.MustCompile(`/agreements/([0-9a-f]{64})`)
)

// askForm is the form that asks for a dataset, filled in.
func (b *browser) askForm(code, dataset cityid.Code, pairs ...string) url.Values {
	b.Helper()
	page := b.get("/en/work/" + code.String() + "/agreements/new?dataset=" + url.QueryEscape(dataset.String()))
	if page.status != http.StatusOK {
		b.Fatalf("the form: %d %s", page.status, mainOf(page.body))
	}
	form := url.Values{
		"from": {time.Now().AddDate(0, 0, -1).Format(time.DateOnly)}, "until": {time.Now().AddDate(0, 3, 0).Format(time.DateOnly)},
		"purpose": {"To plan car parks\r\nwhere they are missing"}, "basis": {"Traffic Act, art. 33"}, "stale": {"30"}, "requests": {"3"}, "octets": {"1"}, "unit": {"MB"}, "respond": {"5"},
	}
	for _, m := range hiddenValue.FindAllStringSubmatch(page.body, -1) {
		form.Set(m[1], m[2])
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// ask asks for a dataset and signs, and returns the agreement's id.
func (b *browser) ask(code, dataset cityid.Code, by cityid.Signer, pairs ...string) string {
	b.Helper()
	next := b.signRequest(b.post("/en/work/"+code.String()+"/agreements/new", b.askForm(code, dataset, pairs...)), by)
	m := agreementID.FindStringSubmatch(next)
	if m == nil {
		b.Fatalf("after signing the visitor comes to %q", next)
	}
	return m[1]
}

// decide decides about an agreement and signs.
func (b *browser) decide(code cityid.Code, id string, by cityid.Signer, act, note string) {
	b.Helper()
	b.signRequest(b.post("/en/work/"+code.String()+"/agreements/"+id, url.Values{"act": {act}, "note": {note}}), by)
}

// fetch fetches through the consumer's gateway, as a program of the city would.
func (w *shareWorld) fetch(id, path string) (int, string) {
	w.Helper()
	a, err := http.Get(w.locals[tangshan] + "/fetch/" + id + path)
	if err != nil {
		w.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		w.Fatal(err)
	}
	return a.StatusCode, string(b)
}

// has fails unless a page holds all texts.
func (b *browser) has(path string, texts ...string) string {
	b.Helper()
	a := b.get(path)
	b.workHolds(path, a, http.StatusOK, texts...)
	return a.body
}

// lacks fails if a page holds one of the texts.
func (b *browser) lacks(path string, texts ...string) {
	b.Helper()
	body := mainOf(b.get(path).body)
	for _, s := range texts {
		if strings.Contains(body, s) {
			b.Errorf("%s holds %q: %s", path, s, body)
		}
	}
}
