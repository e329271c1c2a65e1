// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/audit"
	"cityid/internal/bulk"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/registry"
	"cityid/verify"
)

var (
	zone  = cityid.MustParse("MA.156")
	city  = cityid.MustParse("MA.156.1301")
	other = cityid.MustParse("MA.156.1302")
	dept  = cityid.MustParse("MA.156.1301.01")
	class = cityid.MustParse("MA.156.1301.01/20.010501")
	key   = chaintest.Key(1)
)

func named(zh string) cityid.Content {
	return cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": zh})}
}

// newEngine starts a chain with two cities in a zone that one key controls.
func newEngine(t *testing.T) *chain.Engine {
	t.Helper()
	control := &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: key.Key, Roles: cityid.RoleControl}}}}}
	holders := []cityid.Kind{cityid.KindAuthority, cityid.KindCity, cityid.KindDepartment}
	e, err := chain.NewEngine(chain.EngineConfig{Dir: filepath.Join(t.TempDir(), "chain"), Genesis: &chain.Genesis{
		Chain: "audit-test", Time: cityid.TimeOf(time.Now().Add(-time.Minute)),
		State: registry.Genesis{
			Params: cityid.DefaultParams, Validators: []cityid.Validator{chain.EngineValidator()},
			Records: []cityid.Allocation{
				{Code: zone, Kind: cityid.KindAuthority, Content: named("根区"), Policy: control},
				{Code: city, Parent: zone, Kind: cityid.KindCity, Content: named("石家庄市")},
				{Code: other, Parent: zone, Kind: cityid.KindCity, Content: named("唐山市")},
			},
			Rule: cityid.Rule{Kinds: []cityid.KindRule{
				{Kind: cityid.KindCity, Parents: holders}, {Kind: cityid.KindDepartment, Parents: holders},
				{Kind: cityid.KindClass, Parents: holders}, {Kind: cityid.KindObject, Parents: []cityid.Kind{cityid.KindClass}},
			}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func record(t *testing.T, e *chain.Engine, ops ...cityid.Operation) *cityid.Receipt {
	t.Helper()
	e.Advance(time.Second)
	r, err := e.Submit(t.Context(), chaintest.TxBy("audit-test", time.Now(), []cityid.Signer{key}, ops...), true)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func allocate(items ...cityid.Allocation) cityid.Operation {
	return cityid.Operation{Allocate: &cityid.Allocate{Items: items}}
}

// options returns those of an export with the node's own trust root.
func options(t *testing.T, e *chain.Engine) audit.Options {
	t.Helper()
	versions, err := e.Trust(t.Context())
	if err != nil || len(versions) == 0 {
		t.Fatalf("trust: %v", err)
	}
	f, err := verify.NewTrustFile(versions[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := verify.FormatTrustFile(f)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Options{
		Code: city, From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(24 * time.Hour), Trust: b, CSV: bulk.WriteCSV,
		BundleTime: verify.AnsweredAt,
	}
}

// export returns the files of an archive.
func export(t *testing.T, e *chain.Engine, o audit.Options) (map[string][]byte, audit.Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := audit.Export(t.Context(), &b, e, o)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if out[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	return out, sum
}

func changes(t *testing.T, files map[string][]byte) []audit.Change {
	t.Helper()
	var out []audit.Change
	d := json.NewDecoder(bytes.NewReader(files["changes.jsonl"]))
	for d.More() {
		var c audit.Change
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// TestExport exports what happened below a city, and nothing else, and verifies
// each proof with the archive's own trust root.
func TestExport(t *testing.T) {
	e := newEngine(t)
	first := record(t, e, allocate(
		cityid.Allocation{Code: dept, Kind: cityid.KindDepartment, Content: named("=HYPERLINK(\"http://evil.example\")")},
		cityid.Allocation{Code: class, Kind: cityid.KindClass},
		cityid.Allocation{Code: cityid.MustParse(class.String() + "/000123"), Kind: cityid.KindObject, Content: named("路灯")},
	))
	record(t, e, cityid.Operation{Amend: &cityid.Amend{Code: other, Revision: 1, Content: named("唐山")}})
	middle := record(t, e, cityid.Operation{Amend: &cityid.Amend{Code: dept, Revision: 1, Content: named("城市管理局")}})
	proposed := record(t, e, cityid.Operation{Propose: &cityid.Propose{Operations: []cityid.Operation{
		{SetStatus: &cityid.SetStatus{Code: dept, Revision: 2, Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute, Note: "-1+1"}},
	}, Note: "@check"}})
	o := options(t, e)
	files, sum := export(t, e, o)

	all := changes(t, files)
	if sum.Changes != len(all) || sum.Records != 4 || sum.Proofs != 4 || sum.Decisions != 1 {
		t.Errorf("summary %+v of %d changes", sum, len(all))
	}
	var of []audit.Change // the department's
	for _, c := range all {
		if c.Code == other || c.Code == zone {
			t.Errorf("%s is no business of the city", c.Code)
		}
		if c.Code == dept {
			of = append(of, c)
		}
	}
	if len(of) != 3 || of[0].Changed[0] != "allocated" || of[1].Changed[0] != "names" || of[2].Changed[0] != "status" {
		t.Fatalf("the department's changes: %+v", of)
	}
	for i, r := range []*cityid.Receipt{first, middle, proposed} {
		if c := of[i]; c.Height != r.Height || len(c.Transactions) != 1 || c.Transactions[0] != r.ID || c.Time != r.Time {
			t.Errorf("change %d: %+v, want that of %+v", i, c, r)
		}
	}
	proofs := verifyAll(t, files)
	if proofs[dept][of[2].Hash] != 3 || proofs[dept][of[0].Hash] != 1 {
		t.Errorf("the proof of the department does not have what the list says: %v", proofs[dept])
	}

	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(files["changes.csv"], []byte("\ufeff")))).ReadAll()
	if err != nil || len(rows) != len(all)+1 {
		t.Fatalf("changes.csv: %d rows, %v", len(rows), err)
	}
	for _, name := range []string{"changes.csv", "proposals.csv"} {
		r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(files[name], []byte("\ufeff"))))
		rows, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+@") || strings.HasPrefix(cell, "-1+") {
					t.Errorf("%s: a spreadsheet would carry out %q", name, cell)
				}
			}
		}
	}
	if !bytes.Contains(files["proposals.jsonl"], []byte(`"state":"executed"`)) {
		t.Errorf("proposals.jsonl: %s", files["proposals.jsonl"])
	}
	for _, want := range []string{"如何核验", "How to check it", "MA.156.1301"} {
		if !bytes.Contains(files["README.txt"], []byte(want)) {
			t.Errorf("README.txt lacks %q", want)
		}
	}

	// Of a part of the period there is a part.
	o.From, o.To, o.NoProofs = middle.Time.Std(), proposed.Time.Std(), true
	files, sum = export(t, e, o)
	if part := changes(t, files); len(part) != 1 || part[0].Revision != 2 || sum.Proofs != 0 || files["proofs.tsv"] != nil {
		t.Errorf("of a part of the period: %+v, %+v", part, sum)
	}
}

// verifyAll verifies the proofs of an archive with nothing but the archive, and
// returns the revision of each hash they prove.
func verifyAll(t *testing.T, files map[string][]byte) map[cityid.Code]map[cityid.Digest]uint32 {
	t.Helper()
	trust, err := verify.ParseTrustFile(files["trust.json"])
	if err != nil {
		t.Fatal(err)
	}
	out := map[cityid.Code]map[cityid.Digest]uint32{}
	for line := range strings.Lines(string(files["proofs.tsv"])) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		code := cityid.MustParse(cells[1])
		at, err := time.Parse(time.RFC3339, cells[2])
		if err != nil {
			t.Fatal(err)
		}
		r := verify.CheckEncoded(trust.Latest(), files[cells[0]], verify.Options{Now: time.Now().Add(time.Hour), At: at, Code: code, Kind: cityid.AnswerHistory})
		if r.Verdict != verify.Valid {
			t.Errorf("%s: %s: %s", cells[0], r.Verdict, r.Message)
		}
		out[code] = map[cityid.Digest]uint32{}
		for i := range r.Records {
			out[code][r.Records[i].Hash()] = r.Records[i].Revision
		}
	}
	return out
}

// failing is a source whose bundles break off.
type failing struct{ audit.Source }

var errBroken = errors.New("broken")

func (failing) Bundle(context.Context, cityid.BundleQuery) ([]byte, error) {
	return nil, errBroken
}

// TestExportRefused fails as a whole when a part can not be had.
func TestExportRefused(t *testing.T) {
	e := newEngine(t)
	record(t, e, allocate(cityid.Allocation{Code: dept, Kind: cityid.KindDepartment, Content: named("城市管理局")}))
	o := options(t, e)
	if _, err := audit.Export(t.Context(), io.Discard, failing{e}, o); !errors.Is(err, errBroken) {
		t.Errorf("with a broken source: %v", err)
	}
	few := o
	few.MaxProofs = 1
	if _, err := audit.Export(t.Context(), io.Discard, e, few); !errors.Is(err, cityid.ErrTooLarge) {
		t.Errorf("with more proofs than allowed: %v", err)
	}
	o.To = o.From
	if _, err := audit.Export(t.Context(), io.Discard, e, o); !errors.Is(err, cityid.ErrInvalid) {
		t.Errorf("of no period: %v", err)
	}
	o.Code, o.To = cityid.MustParse("MA.156.9999"), time.Now()
	if _, err := audit.Export(t.Context(), io.Discard, e, o); !errors.Is(err, cityid.ErrNotFound) {
		t.Errorf("of a code that is not allocated: %v", err)
	}
}
