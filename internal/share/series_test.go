// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/feed"
	"cityid/internal/share"
	"cityid/verify"
)

// following returns a world in which the consumer follows the observations of the
// provider's platform, and has them all. spoil may change what the platform answers.
func following(t *testing.T, spoil func(http.Handler) http.Handler) (*world, *feed.Feed) {
	t.Helper()
	var f *feed.Feed
	w := newWorld(t, func(w *world) {
		now := w.engine.Now()
		var err error
		f, err = feed.New(feed.Config{City: provider, Seed: 7, Stations: 3, Begin: now.Add(-3 * time.Hour), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		h := f.Handler()
		if spoil != nil {
			h = spoil(h)
		}
		platform := httptest.NewServer(h)
		t.Cleanup(platform.Close)
		d := &w.give.cfg.Datasets[0]
		d.Backend.HTTP = platform.URL
		d.Paths = []share.PathRule{{Path: "/observations", Query: map[string]string{"after": "word", "limit": "integer"}}}
		w.take.cfg.Feeds = []share.FeedConfig{{Agreement: w.agree(nil), Path: "/observations", Every: share.Duration(time.Second), Series: true}}
		w.take.cfg.PublicDashboard = true
	})
	return w, f
}

// ask reads an answer of the consumer's local side.
func ask[T any](w *world, path string, query url.Values) (out T) {
	w.t.Helper()
	status, body, _ := w.get(w.take.local.URL + path + "?" + query.Encode())
	if status != http.StatusOK {
		w.t.Fatalf("%s?%s: %d %s", path, query.Encode(), status, body)
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestSeries follows a platform and reads what came: lines, the latest, and a minute
// with the fetches that brought it.
func TestSeries(t *testing.T) {
	w, f := following(t, nil)
	const pm25 = "37120:2018:8.1"
	want, err := f.Latest(pm25)
	if err != nil {
		t.Fatal(err)
	}
	var latest share.Latest
	w.await("the latest observation", func() bool {
		latest = ask[share.Latest](w, "/v1/latest", url.Values{"indicator": {pm25}})
		return len(latest.Observations) == 3 && latest.Observations[0].Time == want.Items[0].Time
	})
	for i, o := range latest.Observations {
		x := want.Items[i]
		if o.Dataset != air || o.Source != x.Source || o.Value != string(x.Value) || o.Time != x.Time || o.Unit != x.Unit || o.Entry.IsZero() {
			t.Errorf("%+v, want %+v", o, x)
		}
	}
	if len(latest.Feeds) != 1 || latest.Feeds[0].Dataset != air || latest.Feeds[0].Failed != "" || !latest.Feeds[0].Since.IsZero() {
		t.Errorf("%+v", latest.Feeds)
	}
	if s := ask[share.Status](w, "/v1/status", nil); !s.Public || s.Party != consumer {
		t.Errorf("%+v", s)
	}
	source := latest.Observations[1].Source
	series := ask[share.Series](w, "/v1/series", url.Values{"indicator": {pm25}, "source": {source.String()}})
	if len(series.Lines) != 1 || series.Lines[0].Sources != 1 || len(series.Lines[0].Points) < 170 {
		t.Fatalf("%+v", series)
	}
	last := series.Lines[0].Points[len(series.Lines[0].Points)-1]
	if last.Value != latest.Observations[1].Value || last.Entry != latest.Observations[1].Entry || last.Count != 1 {
		t.Errorf("%+v", last)
	}
	all := ask[share.Series](w, "/v1/series", url.Values{"indicator": {pm25}, "combine": {"sources"}, "points": {"60"}})
	if len(all.Lines) != 1 || all.Lines[0].Sources != 3 || !all.Lines[0].Source.IsZero() || len(all.Lines[0].Points) > 60 || all.Lines[0].Points[0].Count < 3 || !all.Lines[0].Points[0].Entry.IsZero() {
		t.Errorf("%+v", all)
	}
	w.replayed(f, last.Time, pm25)
	for _, query := range []string{"?combine=all", "?combine=sources&combine=sources", "?points=0", "?points=2001", "?what=x", "?from=now", "?indicator=" + strings.Repeat("x", 65), "?source=moon"} {
		if status, body, _ := w.get(w.take.local.URL + "/v1/series" + query); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// replayed compares a minute as it is replayed with what the platform says of it, and
// checks the evidence of the fetches.
func (w *world) replayed(f *feed.Feed, at cityid.Time, indicator string) {
	w.t.Helper()
	w.anchored()
	replay := ask[share.Replay](w, "/v1/replay", url.Values{"minute": {at.String()}, "indicator": {indicator}})
	page, err := f.Minute(at.Std(), indicator)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(replay.Observations) != len(page.Items) || replay.More || len(replay.Fetches) < 1 {
		w.t.Fatalf("%+v, want %+v", replay, page)
	}
	for i, o := range replay.Observations {
		if x := page.Items[i]; o.Value != string(x.Value) || o.Source != x.Source || o.Entry != replay.Fetches[0].Entry && len(replay.Fetches) == 1 || o.Replaced {
			w.t.Errorf("%+v, want %+v", o, x)
		}
	}
	fetch := replay.Fetches[0]
	if fetch.Provider != provider || fetch.Receipt.Provider != provider || fetch.Receipt.Number == 0 || fetch.Anchored == 0 || fetch.Batch == 0 || fetch.PeerBatch != 0 {
		w.t.Errorf("%+v", fetch)
	}
	status, body, _ := w.get(w.take.local.URL + "/v1/evidence/" + fetch.Entry.String())
	e, err := share.DecodeEvidence([]byte(body))
	if status != http.StatusOK || err != nil {
		w.t.Fatalf("%d %v", status, err)
	}
	if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict != verify.Valid {
		w.t.Errorf("%s: %s", r.Verdict, r.Message)
	}
	// Whoever asked for evidence knows by then where the other side has anchored it.
	replay = ask[share.Replay](w, "/v1/replay", url.Values{"minute": {at.String()}, "indicator": {indicator}})
	if fetch := replay.Fetches[0]; fetch.PeerBatch == 0 || fetch.PeerLog != "gw-1" {
		w.t.Errorf("%+v", fetch)
	}
	if empty := ask[share.Replay](w, "/v1/replay", url.Values{"minute": {"2001-01-01T00:00:00Z"}}); len(empty.Observations) != 0 || len(empty.Fetches) != 0 {
		w.t.Errorf("%+v", empty)
	}
	for _, query := range []string{"", "?minute=now", "?minute=2026-03-01T00:00:00Z&minute=2026-03-01T00:00:00Z", "?minute=2026-03-01T00:00:00Z&what=x"} {
		if status, body, _ := w.get(w.take.local.URL + "/v1/replay" + query); status != http.StatusBadRequest {
			w.t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// TestFeedFails says since when a feed brings nothing, and why.
func TestFeedFails(t *testing.T) {
	w, _ := following(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, `{"items":[{"seq":"one"}],"next":"a"}`) })
	})
	var latest share.Latest
	w.await("the failure", func() bool {
		latest = ask[share.Latest](w, "/v1/latest", nil)
		return len(latest.Feeds) == 1 && latest.Feeds[0].Failed != ""
	})
	f := latest.Feeds[0]
	if len(latest.Observations) != 0 || f.Since.IsZero() || f.Since.After(w.engine.Now()) || !f.Changed.IsZero() || !strings.Contains(f.Failed, "seq") {
		t.Errorf("%+v", f)
	}
}
