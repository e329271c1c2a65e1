// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
)

var (
	gatewayCity = cityid.MustParse("MA.156.1301")
	pointTime   = cityid.Time(1_790_000_040)
	zeroes      = strings.Repeat("0", 63)
)

// answering returns the gateways of one city whose gateway answers so.
func answering(t testing.TB, h http.HandlerFunc) *HTTPGateways {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	g, err := NewHTTPGateways(map[cityid.Code]string{gatewayCity: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Answers that are right. Tests change them.
const (
	goodObservation = `{"dataset":"MA.156.1301/30.990101/A","indicator":"37120:2018:8.1","source":"MA.156.1301/30.080001/000001","unit":"ug/m3","time":"2026-09-21T14:14:00Z","value":"64.70","entry":"ENTRY"}`
	goodFeed        = `{"agreement":"ENTRY","path":"/observations","events":7,"every":"10s"}`
	goodLatest      = `{"observations":[` + goodObservation + `],"feeds":[` + goodFeed + `],"now":"2026-09-21T14:15:00Z"}`
	goodSeries      = `{"lines":[{"dataset":"MA.156.1301/30.990101/A","indicator":"37120:2018:8.1","source":"MA.156.1301/30.080001/000001","sources":1,"unit":"ug/m3","first":"2026-09-21T14:14:00Z","last":"2026-09-21T14:14:00Z","points":[{"time":"2026-09-21T14:14:00Z","value":"64.70","mean":64.7,"min":64.7,"max":64.7,"count":1,"entry":"ENTRY"}]}],"feeds":[],"now":"2026-09-21T14:15:00Z"}`
	goodReceipt     = `{"version":1,"agreement":"ENTRY","dataset":"MA.156.1301/30.990101/A","provider":"MA.156.1301","log":"gw-1","number":7,"request":"ENTRY","status":200,"size":9,"content":"ENTRY","time":"2026-09-21T14:14:05Z","height":9}`
	goodReplay      = `{"minute":"2026-09-21T14:14:00Z","observations":[` + goodObservation + `],"fetches":[{"entry":"ENTRY","agreement":"ENTRY","provider":"MA.156.1301","receipt":` + goodReceipt + `,"acknowledged":true}],"now":"2026-09-21T14:15:00Z"}`
)

func answerText(s string) string { return strings.ReplaceAll(s, "ENTRY", zeroes+"1") }

// ask reads one kind of answer.
func askGateway(ctx context.Context, g Gateways, kind string) error {
	var err error
	switch kind {
	case "latest":
		_, err = g.Latest(ctx, gatewayCity, LineQuery{})
	case "series":
		_, err = g.Series(ctx, gatewayCity, LineQuery{Points: 10})
	case "replay":
		_, err = g.Replay(ctx, gatewayCity, cityid.TimeOf(mustTime("2026-09-21T14:14:00Z")), LineQuery{})
	case "status":
		_, err = g.Status(ctx, gatewayCity)
	}
	return err
}

// TestGatewayLies reads answers that can not be. None is passed on.
func TestGatewayLies(t *testing.T) {
	good := map[string]string{"latest": goodLatest, "series": goodSeries, "replay": goodReplay}
	var answer string
	g := answering(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
	for kind, text := range good {
		if answer = answerText(text); askGateway(t.Context(), g, kind) != nil {
			t.Fatalf("%s: %v", kind, askGateway(t.Context(), g, kind))
		}
	}
	for _, c := range []struct{ kind, old, new string }{
		{"latest", `"64.70"`, `"1e5"`}, {"latest", `"64.70"`, `"NaN"`}, {"latest", `"64.70"`, `64.70`}, {"latest", `"64.70"`, `"` + strings.Repeat("9", 41) + `"`}, {"latest", `"64.70"`, `"<b>"`},
		{"latest", `37120:2018:8.1`, `<script>`}, {"latest", `37120:2018:8.1`, ``}, {"latest", `37120:2018:8.1`, strings.Repeat("1", 65)},
		{"latest", `"ug/m3"`, `"µg"`}, {"latest", `"ug/m3"`, `"a b"`}, {"latest", `"ug/m3"`, `"` + strings.Repeat("x", 65) + `"`}, {"latest", `"ug/m3"`, `"=1+1\u0000"`},
		{"latest", `2026-09-21T14:14:00Z`, ``}, {"latest", `2026-09-21T14:14:00Z`, `1969-01-01T00:00:00Z`}, {"latest", `2026-09-21T14:14:00Z`, `yesterday`},
		{"latest", `MA.156.1301/30.990101/A`, ``}, {"latest", `MA.156.1301/30.990101/A`, `../../etc`},
		{"latest", goodObservation, goodObservation + "," + goodObservation}, {"latest", `"time"`, `"value":"1","time"`}, {"latest", `"time"`, `"Time":"2026-09-21T14:14:00Z","time"`},
		{"latest", `"time"`, `"colour":"red","time"`}, {"latest", `"10s"`, `"often"`}, {"latest", `"/observations"`, `"observations"`}, {"latest", `"events":7`, `"events":7,"failed":"why"`},
		{"latest", `"now"`, `"now":"2026-09-21T14:15:00Z","now"`}, {"latest", goodLatest, goodLatest + "x"}, {"latest", goodLatest, goodLatest + goodLatest}, {"latest", goodLatest, ""}, {"latest", goodLatest, "null x"},
		{"latest", goodLatest, goodLatest[:len(goodLatest)-9]}, {"latest", `"ug/m3"`, "\"\xff\""}, {"latest", `ENTRY`, `12`},
		{"series", `"count":1`, `"count":0`}, {"series", `"mean":64.7`, `"mean":65`}, {"series", `"max":64.7`, `"max":1e999`}, {"series", `"min":64.7`, `"min":null,"min":99`}, {"series", `"min":64.7`, `"min":64.8`},
		{"series", `"value":"64.70",`, ``}, {"series", `"sources":1`, `"sources":0`}, {"series", `"sources":1`, `"sources":2`}, {"series", `"value":"64.70"`, `"value":"64,70"`},
		{"series", `"points":[`, `"points":[{"time":"2026-09-21T14:14:00Z","value":"64.70","mean":64.7,"min":64.7,"max":64.7,"count":1},`},
		{"replay", `"minute":"2026-09-21T14:14:00Z"`, `"minute":"2026-09-21T14:13:00Z"`}, {"replay", `"time":"2026-09-21T14:14:00Z"`, `"time":"2026-09-21T14:15:00Z"`}, {"replay", `"status":200`, `"status":99`},
		{"replay", `"log":"gw-1"`, `"log":"GW 1"`}, {"replay", `"acknowledged":true`, `"acknowledged":true,"peer_log":"` + strings.Repeat("x", 99) + `"`}, {"replay", `{"entry":"ENTRY","agreement"`, `{"agreement"`},
		{"status", "", `{}`}, {"status", "", `{"party":"MA.156.1302"}`}, {"status", "", `[]`},
	} {
		if c.kind == "status" {
			answer = c.new
		} else if answer = answerText(strings.Replace(good[c.kind], c.old, c.new, 1)); answer == answerText(good[c.kind]) {
			t.Errorf("%s: %q is nowhere", c.kind, c.old)
		}
		err := askGateway(t.Context(), g, c.kind)
		var bad *GatewayError
		if !errors.As(err, &bad) || !bad.Lies || bad.Party != gatewayCity || !errors.Is(err, cityid.ErrUnavailable) {
			t.Errorf("%s with %q for %q: %v", c.kind, c.new, c.old, err)
		}
	}
}

// TestGatewayUnasked refuses answers to other questions.
func TestGatewayUnasked(t *testing.T) {
	var query string
	g := answering(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		if r.URL.Path == "/v1/series" {
			fmt.Fprint(w, answerText(goodSeries))
		} else {
			fmt.Fprint(w, answerText(goodLatest))
		}
	})
	for _, q := range []LineQuery{
		{Indicator: "37120:2018:8.2"}, {Dataset: gatewayCity}, {Source: gatewayCity}, {From: pointTime + 60}, {To: pointTime - 60}, {Combine: true},
	} {
		if _, err := g.Series(t.Context(), gatewayCity, q); err == nil || !strings.Contains(err.Error(), "can not be") {
			t.Errorf("%+v: %v", q, err)
		}
	}
	q := LineQuery{Indicator: "37120:2018:8.1", From: pointTime - 3600, To: pointTime + 3600, Points: 5}
	if s, err := g.Series(t.Context(), gatewayCity, q); err != nil || s.Lines[0].Points[0].Value != "64.70" || !strings.Contains(query, "points=5") || strings.Contains(query, "combine") {
		t.Errorf("%v, asked for %s", err, query)
	}
	if _, err := g.Latest(t.Context(), gatewayCity, LineQuery{Indicator: "x"}); err == nil {
		t.Error("another indicator is passed on")
	}
}

// TestGatewaySilent tells what is wrong without telling addresses.
func TestGatewaySilent(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"status 500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		},
		"breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			fmt.Fprint(w, "{")
		},
		"a login": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "<html>")
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			b := make([]byte, 1<<20)
			for range maxGatewayAnswer>>20 + 1 {
				w.Write(b)
			}
		},
	} {
		g := answering(t, h)
		err := askGateway(t.Context(), g, "latest")
		var bad *GatewayError
		if !errors.As(err, &bad) || bad.Lies != (name == "too long") || strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "169.254") {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"code":"not-found","detail":"no entry is kept here"}`)
	})
	if _, err := g.Evidence(t.Context(), gatewayCity, cityid.Digest{1}); !errors.Is(err, cityid.ErrNotFound) || !strings.Contains(err.Error(), "no entry") {
		t.Error(err)
	}
	if _, err := g.Status(t.Context(), cityid.MustParse("MA.156.1302")); !errors.Is(err, cityid.ErrNotFound) {
		t.Error(err)
	}
	g = answering(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if _, err := g.Evidence(t.Context(), gatewayCity, cityid.Digest{1}); err == nil || !strings.Contains(err.Error(), "type") {
		t.Error(err)
	}
}

func TestNewHTTPGateways(t *testing.T) {
	other := cityid.MustParse("MA.156.12")
	for _, address := range []string{"127.0.0.1:9102", "ftp://127.0.0.1", "http://gateway.example", "http://user@127.0.0.1", "http://127.0.0.1/path", "http://127.0.0.1?x=1", "http://", ":"} {
		if _, err := NewHTTPGateways(map[cityid.Code]string{other: address}); err == nil || !strings.Contains(err.Error(), "MA.156.12") {
			t.Errorf("%s: %v", address, err)
		}
	}
	g, err := NewHTTPGateways(map[cityid.Code]string{gatewayCity: "http://localhost:1", other: "http://[::1]:9102/"})
	if err != nil || !slices.Equal(g.Parties(), []cityid.Code{other, gatewayCity}) {
		t.Errorf("%v %v", g, err)
	}
}

// FuzzGatewayAnswer feeds answers: what is taken is within bounds, whatever it was.
func FuzzGatewayAnswer(f *testing.F) {
	for _, s := range []string{goodLatest, goodSeries, goodReplay, `{"observations":null}`, `{"a":{"a":[]},"A":1}`} {
		f.Add([]byte(answerText(s)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l Latest
		if parseAnswer(data, &l) == nil && l.check(&LineQuery{}) == nil {
			for _, o := range l.Observations {
				if o.Dataset.IsZero() || len(o.Value) > maxDecimal || strings.ContainsAny(o.Indicator+o.Unit+o.Value, " \n") || o.Time <= 0 {
					t.Errorf("%+v", o)
				}
			}
		}
		var s Series
		q := LineQuery{Points: 3}
		if parseAnswer(data, &s) == nil && s.check(&q) == nil {
			for _, l := range s.Lines {
				if len(l.Points) > 3 || !slices.IsSortedFunc(l.Points, func(a, b LinePoint) int { return int(a.Time - b.Time) }) {
					t.Errorf("%+v", l)
				}
			}
		}
		var r Replay
		if parseAnswer(data, &r) == nil {
			_ = r.check(pointTime, &q)
		}
	})
}

func mustTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}
