// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/web"
)

// serve returns a client of a server for s.
func serve(t *testing.T, s *source) *client.Client {
	t.Helper()
	server := httptest.NewServer(web.Wrap(api.Handler(api.Config{Source: s}), web.WrapConfig{}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// compare lets cmp look into all of this project's types, and takes an empty
// list for a missing one.
var compare = cmp.Options{
	cmp.Exporter(func(reflect.Type) bool { return true }),
	cmp.FilterValues(func(a, b any) bool {
		x, y := reflect.ValueOf(a), reflect.ValueOf(b)
		return x.Kind() == reflect.Slice && y.Kind() == reflect.Slice && x.Len()+y.Len() == 0
	}, cmp.Ignore()),
	cmp.Comparer(time.Time.Equal),
}

// same compares what the client returns with what the source does, for one
// method.
func same[T any](t *testing.T, what string, direct, remote func() (T, error)) {
	t.Helper()
	want, err := direct()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got, err := remote()
	if err != nil {
		t.Fatalf("%s by client: %v", what, err)
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("%s: source (-) and client (+) differ:\n%s", what, diff)
	}
}

func TestClientAnswersLikeTheSource(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	ctx := t.Context()
	for _, code := range []cityid.Code{city, lamp} {
		same(t, "record", func() (*cityid.RecordAnswer, error) { return s.Record(ctx, code) }, func() (*cityid.RecordAnswer, error) { return c.Record(ctx, code) })
		same(t, "history", func() (*cityid.HistoryAnswer, error) { return s.History(ctx, code) }, func() (*cityid.HistoryAnswer, error) { return c.History(ctx, code) })
	}
	for _, q := range []cityid.ChildrenQuery{
		{Code: city, Limit: 1}, {Code: city, Limit: 1000, Deep: true}, {Code: city, Limit: 5, Deep: true, Kind: cityid.KindObject},
		{Code: city, Limit: 2, After: cityid.MustParse("MA.156.1301.01")},
	} {
		same(t, "children", func() (*cityid.RecordPage, error) { return s.Children(ctx, q) }, func() (*cityid.RecordPage, error) { return c.Children(ctx, q) })
	}
	for _, q := range []cityid.ProposalQuery{{Limit: 2}, {Limit: 200, Before: 4, State: cityid.ProposalPending}, {Limit: 1, Code: city}} {
		same(t, "proposals", func() (*cityid.ProposalPage, error) { return s.Proposals(ctx, q) }, func() (*cityid.ProposalPage, error) { return c.Proposals(ctx, q) })
	}
	same(t, "proposal", func() (*cityid.ProposalAnswer, error) { return s.Proposal(ctx, 3) }, func() (*cityid.ProposalAnswer, error) { return c.Proposal(ctx, 3) })
	for _, value := range []string{"130100", "a/b c?#%2F", "..", ".", "石", "+ &="} {
		same(t, "lookup of "+value, func() (*cityid.CrosswalkAnswer, error) { return s.Lookup(ctx, "gbt2260", value) },
			func() (*cityid.CrosswalkAnswer, error) { return c.Lookup(ctx, "gbt2260", value) })
	}
	same(t, "attestation", func() (*cityid.Attestation, error) { return s.Attestation(ctx, city, digest) },
		func() (*cityid.Attestation, error) { return c.Attestation(ctx, city, digest) })
	vouched := cityid.AttestationQuery{Source: city, Limit: 1}
	same(t, "attestations", func() (*cityid.AttestationPage, error) { return s.Attestations(ctx, vouched) },
		func() (*cityid.AttestationPage, error) { return c.Attestations(ctx, vouched) })
	below := cityid.ZoneQuery{After: city, Limit: 1}
	same(t, "zones", func() (*cityid.ZonePage, error) { return s.Zones(ctx, below) }, func() (*cityid.ZonePage, error) { return c.Zones(ctx, below) })
	same(t, "settings", func() (*cityid.Settings, error) { return s.Settings(ctx) }, func() (*cityid.Settings, error) { return c.Settings(ctx) })
	same(t, "status", func() (*cityid.NodeStatus, error) { return s.Status(ctx) }, func() (*cityid.NodeStatus, error) { return c.Status(ctx) })
	same(t, "trust", func() ([]cityid.Trust, error) { return s.Trust(ctx) }, func() ([]cityid.Trust, error) { return c.Trust(ctx) })
	same(t, "next trust", func() (*cityid.TrustStatement, error) { return s.NextTrust(ctx) }, func() (*cityid.TrustStatement, error) { return c.NextTrust(ctx) })
	q := cityid.BundleQuery{Code: lamp, Kind: cityid.AnswerDescendants, From: 1, Base: 2, At: 3, Log: true}
	same(t, "bundle", func() ([]byte, error) { return s.Bundle(ctx, q) }, func() ([]byte, error) { return c.Bundle(ctx, q) })
	if !reflect.DeepEqual(s.bundle, q) {
		t.Errorf("bundle asked for: %+v", s.bundle)
	}
	if _, err := c.Bundle(ctx, cityid.BundleQuery{Code: lamp}); err != nil || s.bundle.Kind != cityid.AnswerRecord {
		t.Errorf("default bundle: %+v, %v", s.bundle, err)
	}

	same(t, "link", func() ([]byte, error) { return s.Link(ctx, 7, 2) }, func() ([]byte, error) { return c.Link(ctx, 7, 2) })
	if s.link != [2]uint64{7, 2} {
		t.Errorf("link asked for: %v", s.link)
	}

	for _, q := range []cityid.BlockQuery{{Limit: 2}, {Limit: 100, Before: 4, Busy: true}} {
		same(t, "blocks", func() (*cityid.BlockPage, error) { return s.Blocks(ctx, q) }, func() (*cityid.BlockPage, error) { return c.Blocks(ctx, q) })
		if s.blocks != q {
			t.Errorf("blocks asked for: %+v", s.blocks)
		}
	}
	same(t, "block", func() (*cityid.Block, error) { return s.Block(ctx, 7) }, func() (*cityid.Block, error) { return c.Block(ctx, 7) })
	for _, after := range []uint64{0, 3, 7} {
		same(t, "changes", func() (*cityid.Changes, error) { return s.Changes(ctx, after) }, func() (*cityid.Changes, error) { return c.Changes(ctx, after) })
	}
	for _, after := range []uint64{0, 6} {
		same(t, "await", func() (uint64, error) { return s.Await(ctx, after) }, func() (uint64, error) { return c.Await(ctx, after) })
	}

	tx, raw := newTx(t, "")
	for _, wait := range []bool{true, false} {
		same(t, "submit", func() (*cityid.Receipt, error) { return s.Submit(ctx, raw, wait) }, func() (*cityid.Receipt, error) { return c.Submit(ctx, raw, wait) })
		same(t, "submit a Tx", func() (*cityid.Receipt, error) { return s.Submit(ctx, raw, wait) }, func() (*cityid.Receipt, error) { return c.SubmitTx(ctx, tx, wait) })
	}
	same(t, "transaction", func() (*cityid.Receipt, error) { return s.Transaction(ctx, tx.ID()) }, func() (*cityid.Receipt, error) { return c.Transaction(ctx, tx.ID()) })
}

func TestClientReturnsEveryRefusal(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	ctx := t.Context()
	tx, raw := newTx(t, "")
	for code := cityid.ErrMalformed; !strings.HasPrefix(code.String(), "error-"); code++ {
		for _, operation := range []int{-1, 0, 7} {
			want := &cityid.Error{Code: code, Operation: operation, Message: "why, with \"quotes\" & <signs>"}
			s.fail = want
			if code == cityid.ErrInternal { // its text and place stay in the node's log
				want = &cityid.Error{Code: code, Operation: -1}
			}
			check := func(what string, err error) {
				t.Helper()
				var got *cityid.Error
				if !errors.As(err, &got) || got.Code != want.Code || got.Operation != want.Operation || want.Message != "" && got.Message != want.Message {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
				if errors.Is(err, client.ErrUnreachable) {
					t.Errorf("%s: %v counts as unreachable", what, err)
				}
			}
			_, err := c.Record(ctx, city)
			check("record", err)
			_, err = c.Bundle(ctx, cityid.BundleQuery{Code: city})
			check("bundle", err)
			_, err = c.Link(ctx, 7, 0)
			check("link", err)
			_, err = c.Submit(ctx, raw, true)
			check("submit", err)

			// The same refusal by a block is a receipt.
			receipt := cityid.Receipt{ID: tx.ID(), Height: 9, Time: 5, Code: code, Operation: operation, Message: want.Message}
			s.fail = nil
			s.submit = func(context.Context, []byte, bool) (*cityid.Receipt, error) { return &receipt, nil }
			got, err := c.SubmitTx(ctx, tx, true)
			if err != nil {
				t.Errorf("%s in a block: %v", code, err)
			} else if diff := cmp.Diff(&receipt, got, compare); diff != "" {
				t.Errorf("%s in a block:\n%s", code, diff)
			}
			s.submit = nil
		}
	}
}

func TestClientPages(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	var codes []string
	q := cityid.ChildrenQuery{Code: city, Deep: true, Limit: 2}
	for {
		page, err := c.Children(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			codes = append(codes, r.Code.String())
		}
		if q.After = page.Next; q.After.IsZero() {
			break
		}
	}
	want := []string{"MA.156.1301.01", lamp.String(), "MA.156.1301.02", "MA.156.1301.03"}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff)
	}
}
