// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cityid"
	"cityid/keys"
)

func reportKey(t *testing.T) cityid.Signer {
	t.Helper()
	k, err := keys.NewPrivate(keys.Ed25519, bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
}

// TestSendReport sends a report to portals that answer with receipts of all
// kinds, of which one is to be relied on.
func TestSendReport(t *testing.T) {
	lamp := cityid.MustParse("MA.156.1301.02/20.010501/000045")
	for name, c := range map[string]struct {
		change func(*cityid.ReportReceipt, *cityid.ReportOpening, *cityid.ReportSent)
		after  func(*cityid.ReportFile)
		good   bool
	}{
		"good": {good: true},
		"other code": {change: func(r *cityid.ReportReceipt, _ *cityid.ReportOpening, _ *cityid.ReportSent) {
			r.Code = cityid.MustParse("MA.156")
		}},
		"other number": {change: func(_ *cityid.ReportReceipt, _ *cityid.ReportOpening, s *cityid.ReportSent) { s.Number = 18 }},
		"other report": {change: func(r *cityid.ReportReceipt, o *cityid.ReportOpening, _ *cityid.ReportSent) {
			o.Report.Category = cityid.ReportDirty
			r.Digest = o.Digest()
		}},
		"unsigned": {after: func(f *cityid.ReportFile) { f.Signature[7]++ }},
		"unopened": {after: func(f *cityid.ReportFile) { f.Opening = nil }},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var got cityid.ReportRequest
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil || len(got.ID) != 32 || r.Header.Get("Accept-Language") != "zh" {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			sent := cityid.ReportSent{Number: 17, Token: "x", Page: "https://id.example/zh/receipt/17?token=x", Department: cityid.MustParse("MA.156.1301.02")}
			opening := &cityid.ReportOpening{Salt: cityid.Digest{1}, Report: cityid.Report{Category: got.Category, Text: got.Text}}
			receipt := cityid.ReportReceipt{Institution: cityid.MustParse("MA.156.9001"), Number: 17, Code: got.Code, Department: sent.Department, Digest: opening.Digest(), Time: 1}
			if c.change != nil {
				c.change(&receipt, opening, &sent)
			}
			f, err := cityid.SignReport(receipt, reportKey(t))
			if err != nil {
				t.Error(err)
				return
			}
			f.Opening = opening
			if c.after != nil {
				c.after(f)
			}
			sent.Receipt = cityid.MustMarshal(f)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			json.NewEncoder(w).Encode(&sent)
		}))
		client, err := New(server.URL, WithLanguage("zh"))
		if err != nil {
			t.Fatal(err)
		}
		sent, err := client.SendReport(t.Context(), cityid.ReportRequest{Code: lamp, Category: cityid.ReportBroken, Text: "x"})
		if c.good != (err == nil) || c.good && sent.Number != 17 || !c.good && !strings.Contains(err.Error(), "not to be relied on") {
			t.Errorf("%s: %+v, %v", name, sent, err)
		}
		server.Close()
	}
}

// TestDeskSession signs in for the origin that the caller means and for no other,
// and keeps to the session that the portal gives.
func TestDeskSession(t *testing.T) {
	signer := reportKey(t)
	signed := 0
	sign := signer.Sign
	signer.Sign = func(b []byte) ([]byte, error) { signed++; return sign(b) }
	var origin string
	challenge := cityid.Bytes(bytes.Repeat([]byte{9}, 32))
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("POST /office/challenge", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "cityid-session", Value: "first"})
		answer(w, map[string]any{"challenge": challenge, "origin": origin})
	})
	mux.HandleFunc("POST /office/sign-in", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Challenge string
			Key       cityid.PublicKey
			Signature cityid.Bytes
		}
		d := cityid.SignInDigest("https://id.example", challenge)
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || keys.Verify([]byte(in.Key), d[:], in.Signature) != nil || r.Header.Get("Cookie") != "cityid-session=first" {
			t.Errorf("sign in: %+v, %v, %q", in, err, r.Header.Get("Cookie"))
		}
		http.SetCookie(w, &http.Cookie{Name: "__Host-cityid", Value: "second", Secure: true, Path: "/"}) // though this connection is plain
		answer(w, map[string]string{"next": "/"})
	})
	mux.HandleFunc("GET /office/reports", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "__Host-cityid=second" || r.URL.RawQuery != "at=MA.156&before=7&category=dirty&limit=5&open=true" {
			t.Errorf("%q, %q", r.Header.Get("Cookie"), r.URL.RawQuery)
		}
		answer(w, cityid.ReportPage{})
	})
	mux.HandleFunc("POST /office/sign-out", func(w http.ResponseWriter, r *http.Request) { answer(w, struct{}{}) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	client, err := New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	origin = "https://id.example"
	if _, err := client.SignIn(t.Context(), "", signer); cityid.CodeOf(err) != cityid.ErrNotPermitted || signed != 0 {
		t.Errorf("at another origin: %v, signed %d times", err, signed)
	}
	origin = "https://bank.example" // would pass the answer on
	if _, err := client.SignIn(t.Context(), "https://id.example", signer); cityid.CodeOf(err) != cityid.ErrNotPermitted || signed != 0 {
		t.Errorf("for another origin: %v, signed %d times", err, signed)
	}
	origin = "https://id.example"
	desk, err := client.SignIn(t.Context(), "https://id.example", signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Reports(t.Context(), cityid.ReportQuery{At: cityid.MustParse("MA.156"), Open: true, Category: cityid.ReportDirty, Before: 7, Limit: 5}); err != nil {
		t.Error(err)
	}
	if err := desk.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
