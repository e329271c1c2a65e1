// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"html"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/feed"
	"cityid/internal/portal"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

// sharing is two cities that share with each other and with themselves: real
// gateways on loopback, platforms behind them, one chain.
type sharing struct {
	*world
	cities []*sharer
}

type sharer struct {
	code        cityid.Code
	officer     cityid.Signer
	key         *keys.Private
	peer, local *httptest.Server
	feed        *feed.Feed
	gateway     *share.Gateway
	cfg         share.Config
}

func (c *sharer) dataset() cityid.Code {
	return cityid.MustParse(c.code.String() + "/30.990101/INDICATORS")
}

// newSharing starts everything. The gateways' clock is the engine's.
func newSharing(t *testing.T) *sharing {
	t.Helper()
	s := &sharing{}
	addresses := map[cityid.Code]string{}
	for i, code := range []cityid.Code{sjz, neighbour} {
		secret := sha256.Sum256(fmt.Appendf(nil, "gateway %d", i))
		key, err := keys.NewPrivate(keys.Ed25519, secret[:])
		if err != nil {
			t.Fatal(err)
		}
		c := &sharer{code: code, officer: chaintest.Key(10 + i), key: key, peer: httptest.NewUnstartedServer(nil), local: httptest.NewUnstartedServer(nil)}
		addresses[code] = "http://" + c.local.Listener.Addr().String()
		s.cities = append(s.cities, c)
	}
	gateways, err := portal.NewHTTPGateways(addresses)
	if err != nil {
		t.Fatal(err)
	}
	began := cityid.TimeOf(time.Now().Add(-time.Minute))
	s.world = newWorldOf(t, chaintest.Genesis("portal-share", began, chain.EngineValidator()), func(c *portal.Config) { c.Gateways = gateways })
	s.found()
	agreements := s.agree()
	for _, c := range s.cities {
		for _, id := range agreements[c.code] {
			c.cfg.Feeds = append(c.cfg.Feeds, share.FeedConfig{Agreement: id, Path: "/observations", Every: share.Duration(time.Second), Series: true})
		}
	}
	s.serve()
	return s
}

// settled records operations and makes their effect provable.
func (s *sharing) settled(by cityid.Signer, ops ...cityid.Operation) {
	s.Helper()
	s.record([]cityid.Signer{by}, ops...)
	if err := s.engine.Settle(); err != nil {
		s.Fatal(err)
	}
}

// found allocates the cities with their keys, links and datasets.
func (s *sharing) found() {
	s.Helper()
	r, err := s.engine.Record(s.Context(), chaintest.Apex)
	if err != nil {
		s.Fatal(err)
	}
	content := r.Record.Content
	content.Hosts = []string{"127.0.0.1"}
	s.settled(chaintest.Key(0), cityid.Operation{Amend: &cityid.Amend{Code: chaintest.Apex, Revision: r.Record.Revision, Content: content}})
	now := s.engine.Now()
	for i, c := range s.cities {
		if c.feed, err = feed.New(feed.Config{City: c.code, Seed: uint64(i), Stations: 2, Begin: now.Add(-2 * time.Hour), Now: func() time.Time { return now }}); err != nil {
			s.Fatal(err)
		}
		address := "http://" + c.peer.Listener.Addr().String()
		a := chaintest.Allocation(c.code.String(), cityid.KindCity)
		a.Policy = chaintest.Policy(c.officer)
		a.Policy.Members[0].Keys = append(a.Policy.Members[0].Keys, cityid.Key{Public: cityid.PublicKey(c.key.Public().Raw()), Roles: cityid.RoleGateway})
		a.Content.Links = []cityid.Link{{Rel: share.RelGateway, Href: address}}
		s.settled(chaintest.Key(0), chaintest.Allocate(a))
		document, file := fmt.Appendf(nil, `{"title":"city %d"}`, i), filepath.Join(s.TempDir(), "document.json")
		if err := os.WriteFile(file, document, 0o600); err != nil {
			s.Fatal(err)
		}
		dataset := chaintest.Allocation(c.dataset().String(), cityid.KindDataset)
		dataset.Content.Dataset = &cityid.Dataset{Class: cityid.DatasetConditional, Document: sha256.Sum256(document)}
		items := []cityid.Allocation{chaintest.Allocation(c.code.String()+"/30.990101", cityid.KindClass), dataset, chaintest.Allocation(c.code.String()+"/30.080001", cityid.KindClass)}
		station := chaintest.Allocation(c.code.String()+"/30.080001/000001", cityid.KindObject)
		station.Content.Location = &cityid.Location{Lat: 380_428_000, Lon: 1_145_149_000}
		s.settled(c.officer, chaintest.Allocate(append(items, station)...))
		platform := httptest.NewServer(c.feed.Handler())
		s.Cleanup(platform.Close)
		c.cfg = share.Config{
			Party: c.code, Log: "gw-1", URL: address, Listen: "unused", Local: "127.0.0.1:0", Data: s.TempDir(), Key: "unused", Trust: "unused",
			Nodes: []string{"unused"}, PrivatePeers: true, PublicDashboard: true,
			Datasets: []share.DatasetConfig{{
				Code: c.dataset(), Document: file, Backend: share.Backend{HTTP: platform.URL},
				Paths: []share.PathRule{{Path: "/observations", Query: map[string]string{"after": "word", "limit": "integer"}}},
			}},
		}.WithDefaults()
	}
}

// agree has each city use the data of each, and returns the agreements of a consumer.
func (s *sharing) agree() map[cityid.Code][]cityid.Digest {
	s.Helper()
	out, now := map[cityid.Code][]cityid.Digest{}, cityid.TimeOf(s.engine.Now())
	for i, give := range s.cities {
		for j, take := range s.cities {
			r, err := s.engine.Record(s.Context(), give.dataset())
			if err != nil {
				s.Fatal(err)
			}
			t := cityid.Terms{
				Dataset: give.dataset(), Consumer: take.code, Document: r.Record.Content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
				Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{byte(1 + i), byte(1 + j)},
			}
			s.settled(take.officer, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: t}})
			s.settled(give.officer, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: t.Dataset, Agreement: t.ID()}})
			out[take.code] = append(out[take.code], t.ID())
		}
	}
	return out
}

// serve opens the gateways. They follow their feeds once all of them take signatures.
func (s *sharing) serve() {
	s.Helper()
	for _, c := range s.cities {
		trust := s.trust()
		var err error
		c.gateway, err = share.Open(s.Context(), c.cfg, share.Parts{
			Trust: trust, Nodes: []share.Node{s.engine}, Key: c.key, Peers: web.NewOutward(true, nil), Log: slog.New(slog.DiscardHandler), Now: s.engine.Now,
		})
		if err != nil {
			s.Fatal(err)
		}
		c.peer.Config.Handler, c.local.Config.Handler = web.Wrap(c.gateway.Peer(), web.WrapConfig{}), web.Wrap(c.gateway.Local(), web.WrapConfig{})
		c.peer.Start()
		c.local.Start()
	}
	s.engine.Advance(12 * time.Second) // a new gateway does not know what it has seen before
	if err := s.engine.MakeBlock(); err != nil {
		s.Fatal(err)
	}
	for _, c := range s.cities {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { c.gateway.Run(ctx); close(done) }()
		s.Cleanup(func() {
			cancel()
			<-done
			c.peer.Close()
			c.local.Close()
			if err := c.gateway.Close(); err != nil {
				s.Error(err)
			}
		})
	}
}

func (s *sharing) trust() *verify.TrustFile {
	s.Helper()
	trusts, err := s.engine.Trust(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	f, err := verify.NewTrustFile(trusts[0])
	if err != nil {
		s.Fatal(err)
	}
	return f
}

// await waits until a page holds a text, and returns the page.
func (b *browser) await(path, text string) string {
	b.Helper()
	for end := time.Now().Add(90 * time.Second); ; {
		body := html.UnescapeString(b.get(path).body)
		if strings.Contains(body, text) {
			return body
		}
		if time.Now().After(end) {
			_, main, _ := strings.Cut(body, "<main")
			b.Fatalf("%s never holds %q: %.1500s", path, text, main)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var replayEvidence = regexp.MustCompile(`href="(/en/dashboard/[^"]*/evidence/[0-9a-f]{64})"`)

// TestSharedDashboard reads what real gateways have fetched from each other: the values
// are those of the platforms, and the evidence of a minute holds.
func TestSharedDashboard(t *testing.T) {
	s := newSharing(t)
	b := s.browser()
	own, theirs := s.cities[0], s.cities[1]
	at := "/en/dashboard/" + own.code.String()
	for _, c := range s.cities {
		page, err := c.feed.Latest(pm25)
		if err != nil {
			t.Fatal(err)
		}
		o := page.Items[0]
		query := "?indicator=" + pm25 + "&dataset=" + c.dataset().String() + "&station=" + o.Source.String()
		body := b.await(at+query, "<strong>"+string(o.Value)+"</strong>")
		for _, want := range []string{o.Source.String(), "Verified", "Stations", "<svg"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", at+query, want)
			}
		}
		rows := b.table(at + "/data.csv" + query + "&table=stations")
		for i, row := range rows {
			if x := page.Items[i]; len(rows) != len(page.Items) || row[6] != string(x.Value) || row[5] != x.Time.String() || row[4] != x.Source.String() || len(row[11]) != 64 || row[8] != map[bool]string{true: "yes", false: "no"}[c == own] {
				t.Errorf("%q, want %+v", row, x)
			}
		}
	}
	b.holds(at, 200, "Streams of Test city", "Shared by Test city", "Where the stations are", "One station has a registered place")
	body := b.holds("/en/compare?cities="+own.code.String()+","+theirs.code.String()+"&indicator="+pm25, 200, "2 stations")
	if n := strings.Count(body, `class="mark line-`); n != 2*3 {
		t.Errorf("%d lines with marks", n)
	}

	// A past minute of what the neighbour shared: its fetch, and evidence that holds.
	for _, c := range s.cities {
		if err := c.gateway.Anchor(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.engine.Settle(); err != nil {
		t.Fatal(err)
	}
	minute := s.engine.Now().Add(-time.Hour).UTC().Truncate(time.Minute)
	page, err := theirs.feed.Minute(minute, pm25)
	if err != nil || len(page.Items) == 0 {
		t.Fatalf("%v %v", page, err)
	}
	replay := at + "/replay?minute=" + minute.Format(time.RFC3339) + "&indicator=" + pm25 + "&dataset=" + theirs.dataset().String()
	body = b.holds(replay, 200, string(page.Items[0].Value), "Acknowledged", "Anchored by the consumer", "is asked when evidence is made")
	m := replayEvidence.FindStringSubmatch(body)
	if m == nil {
		t.Fatal("the replay links to no evidence")
	}
	e, err := share.DecodeEvidence([]byte(b.get(m[1]).body))
	if err != nil {
		t.Fatal(err)
	}
	r := share.CheckEvidence(e, s.trust(), s.engine.Now())
	if r.Verdict != verify.Valid || r.Facts.Outcome != share.Acknowledged || r.Facts.Provider != theirs.code || len(e.Sides) != 2 {
		t.Errorf("%+v", r)
	}
	b.holds(replay, 200, "Anchored by the provider")
	b.holds(at+"/evidence/"+strings.Repeat("7", 64), 404)
}
