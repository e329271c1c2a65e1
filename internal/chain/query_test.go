// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"fmt"
	"slices"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
)

func TestLookup(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, city(1), city(2))
	alias := func(value string) cityid.Alias { return cityid.Alias{Scheme: chaintest.Scheme, Value: value} }
	submit(t, e,
		cityid.Operation{Map: &cityid.Map{Code: cityid.MustParse("MA.156.1001"), Revision: 1, Alias: alias("130100")}},
		cityid.Operation{Map: &cityid.Map{Code: cityid.MustParse("MA.156.1002"), Revision: 1, Alias: alias("1301")}},
	)
	got, err := e.Lookup(ctx, chaintest.Scheme, "1301")
	if err != nil || len(got.Entries) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if x := got.Entries[0]; x.Code != cityid.MustParse("MA.156.1002") || !x.Holds || x.Names.Get("en") == "" || got.Scheme.Name != chaintest.Scheme {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		scheme, value string
		want          cityid.ErrorCode
	}{
		{chaintest.Scheme, "130", cityid.ErrNotFound},
		{"nothing", "1301", cityid.ErrNotFound},
		{"", "1301", cityid.ErrInvalid},
		{chaintest.Scheme, "13\x0001", cityid.ErrInvalid},
	} {
		_, err := e.Lookup(ctx, c.scheme, c.value)
		wantCode(t, err, c.want)
	}
}

func TestAttestation(t *testing.T) {
	e := newEngine(t, "")
	digest := cityid.Digest{1, 2, 3}
	submit(t, e, cityid.Operation{Attest: &cityid.Attest{Source: chaintest.Apex, Digest: digest, Size: 5}})
	got, err := e.Attestation(ctx, chaintest.Apex, digest)
	if err != nil || got.Size != 5 || got.Key != chaintest.Key(0).Key {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = e.Attestation(ctx, chaintest.Apex, cityid.Digest{9})
	wantCode(t, err, cityid.ErrNotFound)
}

func TestAttestations(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1001", cityid.KindCity)))
	source := cityid.MustParse("MA.156.1001")
	var want []cityid.Digest
	for n := range 7 {
		d := cityid.Digest{byte(200 - 9*n), byte(n)}
		want = append(want, d)
		submit(t, e, cityid.Operation{Attest: &cityid.Attest{Source: source, Digest: d, Size: uint64(n + 1)}})
	}
	submit(t, e, cityid.Operation{Attest: &cityid.Attest{Source: chaintest.Apex, Digest: want[0], Size: 99}})
	submit(t, e, cityid.Operation{Withdraw: &cityid.Withdraw{Source: source, Digest: want[3]}})
	slices.SortFunc(want, func(a, b cityid.Digest) int { return slices.Compare(a[:], b[:]) })
	for limit := 1; limit <= 8; limit++ {
		var got []cityid.Digest
		withdrawn, q := 0, cityid.AttestationQuery{Source: source, Limit: limit}
		for more := true; more; more = !q.After.IsZero() {
			page, err := e.Attestations(ctx, q)
			if err != nil || len(page.Attestations) == 0 || len(page.Attestations) > limit || page.AsOf.Height == 0 {
				t.Fatalf("limit %d: %+v, %v", limit, page, err)
			}
			for _, a := range page.Attestations {
				got = append(got, a.Digest)
				if a.Source != source || a.Size == 99 {
					t.Errorf("an attestation of another source: %+v", a)
				}
				if a.Withdrawn != 0 {
					withdrawn++
				}
			}
			q.After = page.Next
		}
		if !slices.Equal(got, want) || withdrawn != 1 {
			t.Errorf("limit %d: %v with %d withdrawn, want %v with 1", limit, got, withdrawn, want)
		}
	}
	if page, err := e.Attestations(ctx, cityid.AttestationQuery{Source: cityid.MustParse("MA.156.9"), Limit: 5}); err != nil || len(page.Attestations) != 0 || !page.Next.IsZero() {
		t.Errorf("of nobody: %+v, %v", page, err)
	}
	for _, q := range []cityid.AttestationQuery{{Limit: 1}, {Source: source}, {Source: source, Limit: 201}} {
		_, err := e.Attestations(ctx, q)
		wantCode(t, err, cityid.ErrInvalid)
	}
}

func TestProposalQueries(t *testing.T) {
	e := newEngine(t, "")
	// A city that two decide together.
	a := chaintest.Allocation("MA.156.1001", cityid.KindCity)
	a.Policy = chaintest.Policy(chaintest.Key(2))
	a.Policy.Threshold = 2
	a.Policy.Members = append(a.Policy.Members, chaintest.Policy(chaintest.Key(3)).Members...)
	submit(t, e, chaintest.Allocate(a))
	by := func(n int, ops ...cityid.Operation) *cityid.Receipt {
		t.Helper()
		r, err := e.Submit(ctx, chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(n)}, ops...), true)
		if err != nil || r.Err() != nil {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	var numbers []uint64
	for _, unit := range []string{"01", "02", "03", "04", "05"} {
		r := by(2, cityid.Operation{Propose: &cityid.Propose{Operations: []cityid.Operation{
			chaintest.Allocate(chaintest.Allocation("MA.156.1001."+unit, cityid.KindDepartment)),
		}}})
		numbers = append(numbers, r.Proposals...)
	}
	if !slices.Equal(numbers, []uint64{1, 2, 3, 4, 5}) {
		t.Fatalf("proposals %v", numbers)
	}
	p, err := e.Proposal(ctx, 3)
	if err != nil || p.State != cityid.ProposalPending || len(p.Needs) != 1 || p.AsOf.Height == 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	by(3, cityid.Operation{Approve: &cityid.Approve{Proposal: 3, Digest: p.Digest}})
	for _, c := range []struct {
		q    cityid.ProposalQuery
		want []uint64
	}{
		{cityid.ProposalQuery{}, []uint64{5, 4, 3, 2, 1}},
		{cityid.ProposalQuery{State: cityid.ProposalPending}, []uint64{5, 4, 2, 1}},
		{cityid.ProposalQuery{State: cityid.ProposalExecuted}, []uint64{3}},
		{cityid.ProposalQuery{Code: cityid.MustParse("MA.156.1001.02")}, []uint64{2}},
		{cityid.ProposalQuery{Before: 3}, []uint64{2, 1}},
	} {
		for _, limit := range []int{1, 2, 200} {
			q := c.q
			q.Limit = limit
			var got []uint64
			for {
				page, err := e.Proposals(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Proposals) > limit {
					t.Fatalf("%d proposals on a page of %d", len(page.Proposals), limit)
				}
				for _, p := range page.Proposals {
					got = append(got, p.Proposal.Number)
				}
				if page.Next == 0 {
					break
				}
				q.Before = page.Next
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v, want %v", q, got, c.want)
			}
		}
	}
	_, err = e.Proposal(ctx, 99)
	wantCode(t, err, cityid.ErrNotFound)
	_, err = e.Proposals(ctx, cityid.ProposalQuery{})
	wantCode(t, err, cityid.ErrInvalid)
}

// Listing a kind of which there is little looks at so many records at a time,
// and the pages together are complete.
func TestChildrenLooksInPieces(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, chaintest.Allocate(
		chaintest.Allocation("MA.156.1301", cityid.KindCity),
		chaintest.Allocation("MA.156.1301.01", cityid.KindDepartment),
		chaintest.Allocation("MA.156.1301.01/20.010501", cityid.KindClass),
	))
	const objects = 21_000
	for n := 0; n < objects; n += 500 {
		var items []cityid.Allocation
		for i := range 500 {
			items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.1301.01/20.010501/%06d", n+i), cityid.KindObject))
		}
		submit(t, e, chaintest.Allocate(items...))
	}
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1301.02", cityid.KindDepartment)))
	q := cityid.ChildrenQuery{Code: cityid.MustParse("MA.156.1301"), Deep: true, Kind: cityid.KindDepartment, Limit: 10}
	var got []string
	pages := 0
	for {
		page, err := e.Children(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		got = append(got, codesOf(page.Records)...)
		if q.After = page.Next; q.After.IsZero() {
			break
		}
	}
	if want := []string{"MA.156.1301.01", "MA.156.1301.02"}; pages != 2 || !slices.Equal(got, want) {
		t.Errorf("%d pages: %s", pages, got)
	}
	q = cityid.ChildrenQuery{Code: cityid.MustParse("MA.156.1301.01/20.010501"), Kind: cityid.KindCity, Limit: 10}
	page, err := e.Children(ctx, q)
	if err != nil || len(page.Records) != 0 || page.Next.IsZero() {
		t.Fatalf("%+v, %v", page, err)
	}
	q.After = page.Next
	if page, err = e.Children(ctx, q); err != nil || len(page.Records) != 0 || !page.Next.IsZero() {
		t.Errorf("%+v, %v", page, err)
	}
}
