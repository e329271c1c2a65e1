// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/chain/chaintest"
	"cityid/internal/share"
	"cityid/verify"
)

var dwelling = cityid.MustParse("MA.156.1301/20.020101/1")

// sealedWorld has a sealed record on the chain, whose content the provider's
// gateway serves from a file as imports and portals write it.
func sealedWorld(t *testing.T) (w *world, file string, kept cityid.SealedContent) {
	kept = cityid.SealedContent{Code: dwelling, Salt: cityid.Digest{7}, Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "一号楼"})}}
	file = filepath.Join(t.TempDir(), "sealed.jsonl")
	// An earlier content of the same code comes first: the last one counts.
	earlier := kept
	earlier.Salt = cityid.Digest{6}
	keep(t, file, earlier, kept)
	w = newWorld(t, func(w *world) {
		class := chaintest.Allocation("MA.156.1301/20.020101", cityid.KindClass)
		home := cityid.Allocation{Code: dwelling, Kind: cityid.KindObject, Sealed: kept.Digest()}
		w.submit([]cityid.Signer{w.give.officer}, chaintest.Allocate(class, home))
		d := &w.give.cfg.Datasets[0]
		d.Backend, d.Paths = share.Backend{Sealed: file}, []share.PathRule{{Path: "/*"}}
	})
	return w, file, kept
}

func keep(t *testing.T, file string, list ...cityid.SealedContent) {
	t.Helper()
	var b bytes.Buffer
	if err := bulk.WriteSealed(&b, list); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// proven returns a record as a consumer proves it, with its trust root alone.
func (w *world) proven(code cityid.Code) *cityid.Record {
	w.t.Helper()
	trusts, err := w.engine.Trust(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := w.engine.Bundle(w.t.Context(), cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord})
	if err != nil {
		w.t.Fatal(err)
	}
	r := verify.CheckEncoded(&trusts[0], b, verify.Options{Now: w.engine.Now(), Code: code, Kind: cityid.AnswerRecord})
	if r.Verdict != verify.Valid || r.Record == nil {
		w.t.Fatalf("%+v", r)
	}
	return r.Record
}

// TestSealedThroughGateways fetches a sealed content under an agreement, and
// checks it against the record as the consumer proves it.
func TestSealedThroughGateways(t *testing.T) {
	w, file, kept := sealedWorld(t)
	url := func(id cityid.Digest, code string) string {
		return w.take.local.URL + "/fetch/" + id.String() + "/" + strings.ReplaceAll(code, "/", "~")
	}
	if status, body, _ := w.get(url(cityid.Digest{1}, dwelling.String())); status < 400 || strings.Contains(body, "一号楼") {
		t.Errorf("without an agreement: %d %s", status, body)
	}
	id := w.agree(nil)
	status, body, h := w.get(url(id, dwelling.String()))
	if status != 200 || h.Get("Content-Type") != "application/json" || h.Get("Cityid-Receipt") == "" {
		t.Fatalf("%d %s", status, body)
	}
	got, err := cityid.ParseSealedContent([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	record := w.proven(dwelling)
	if err := got.Opens(record); err != nil || got.Content.Names.Get("zh") != "一号楼" {
		t.Errorf("%s: %v", body, err)
	}
	if status, _, _ := w.get(url(id, "MA.156.1301/20.020101/2")); status != 404 {
		t.Errorf("a code of which nothing is kept: %d", status)
	}
	if status, _, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/~root"); status != 400 {
		t.Errorf("a path that begins with ~: %d", status)
	}
	// Whatever the provider signs and sends, only what the record commits to opens it.
	salt, content, code := kept, kept, kept
	salt.Salt[0]++
	content.Content = cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "二号楼"})}
	code.Code = cityid.MustParse("MA.156.1301/20.020101/3")
	for what, s := range map[string]cityid.SealedContent{"salt": salt, "content": content, "code": code} {
		keep(t, file, s)
		status, body, _ := w.get(url(id, s.Code.String()))
		if status != 200 {
			t.Fatalf("%s: %d %s", what, status, body)
		}
		got, err := cityid.ParseSealedContent([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got.Opens(record) == nil {
			t.Errorf("another %s opens the record", what)
		}
	}
	// A file that is none is the provider's fault, and nothing of it goes out.
	if err := os.WriteFile(file, []byte("{\"code\":\"一号楼\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := w.get(url(id, dwelling.String())); status < 500 || strings.Contains(body, "一号楼") {
		t.Errorf("a broken file: %d %s", status, body)
	}
	keep(t, file, kept)
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	w.engine.Advance(31 * time.Second)
	if err := w.engine.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := w.get(url(id, dwelling.String())); status != 403 || strings.Contains(body, "一号楼") {
		t.Errorf("after the agreement was revoked: %d %s", status, body)
	}
}
