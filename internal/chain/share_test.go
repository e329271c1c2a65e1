// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// shared is the n-th dataset of the city 1001, and the one of its department 01.
func shared(n int) cityid.Code {
	if n == 0 {
		return cityid.MustParse("MA.156.1001.01/40.010101/1")
	}
	return cityid.MustParse(fmt.Sprintf("MA.156.1001/40.010101/%d", n))
}

// share allocates the datasets and two other cities.
func share(t testing.TB, e *chain.Engine) {
	t.Helper()
	list := []cityid.Allocation{
		chaintest.Allocation("MA.156.1001.01", cityid.KindDepartment), chaintest.Allocation("MA.156.1001/40.010101", cityid.KindClass),
		chaintest.Allocation("MA.156.1001.01/40.010101", cityid.KindClass), chaintest.Allocation("MA.156.1002.01", cityid.KindDepartment),
	}
	for n := range 3 {
		a := chaintest.Allocation(shared(n).String(), cityid.KindDataset)
		a.Content.Dataset = &cityid.Dataset{Class: cityid.DatasetConditional, Document: cityid.Digest{1}}
		list = append(list, a)
	}
	submit(t, e, city(1), city(2), city(3), chaintest.Allocate(list...))
}

// terms are the n-th of a consumer, to be answered within so many hours and in
// force as long again.
func terms(e *chain.Engine, dataset cityid.Code, consumer string, n, hours int) cityid.Terms {
	now := cityid.TimeOf(e.Now())
	t := cityid.Terms{
		Dataset: dataset, Consumer: cityid.MustParse(consumer), Document: cityid.Digest{1}, Purpose: cityid.Digest{2}, Staleness: 30,
		From: now, Respond: now + cityid.Time(hours*3600), Until: now + cityid.Time(2*hours*3600),
	}
	binary.BigEndian.PutUint64(t.Nonce[:], uint64(n)+1)
	return t
}

func request(t *cityid.Terms) cityid.Operation {
	return cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: *t}}
}

func grant(t *cityid.Terms) cityid.Operation {
	return cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: t.Dataset, Agreement: t.ID()}}
}

func TestAgreements(t *testing.T) {
	e := newEngine(t, "")
	share(t, e)
	var all []cityid.Terms
	for n, x := range []struct {
		dataset  int
		consumer string
		hours    int
	}{{0, "MA.156.1002", 1}, {0, "MA.156.1003", 100}, {1, "MA.156.1002", 100}, {2, "MA.156.1002.01", 100}, {2, "MA.156.1002", 1}, {2, "MA.156.1002", 100}} {
		all = append(all, terms(e, shared(x.dataset), x.consumer, n, x.hours))
		submit(t, e, request(&all[n]))
	}
	submit(t, e, grant(&all[1]), grant(&all[3]), grant(&all[4]))
	submit(t, e, cityid.Operation{AgreementRefuse: &cityid.AgreementDecision{Dataset: all[2].Dataset, Agreement: all[2].ID(), Note: "no"}})
	submit(t, e, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: all[3].Dataset, Agreement: all[3].ID()}})

	states := func(want ...cityid.AgreementState) {
		t.Helper()
		for n := range all {
			a, err := e.Agreement(ctx, all[n].ID())
			if err != nil || a.ID != all[n].ID() || a.Agreement.Terms != all[n] {
				t.Fatalf("agreement %d: %+v, %v", n, a, err)
			}
			if a.State != want[n] || a.InForce != (want[n] == cityid.AgreementGranted) || a.AsOf.Height == 0 {
				t.Errorf("agreement %d is %s, in force %v, want %s", n, a.State, a.InForce, want[n])
			}
		}
	}
	states(cityid.AgreementRequested, cityid.AgreementGranted, cityid.AgreementRefused, cityid.AgreementRevoked, cityid.AgreementGranted, cityid.AgreementRequested)
	// What follows from the time needs a block, but no transaction.
	e.Advance(3 * time.Hour)
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	states(cityid.AgreementLapsed, cityid.AgreementGranted, cityid.AgreementRefused, cityid.AgreementRevoked, cityid.AgreementExpired, cityid.AgreementRequested)

	for _, c := range []struct {
		q    cityid.AgreementQuery
		want []int
	}{
		{cityid.AgreementQuery{Dataset: shared(0)}, []int{0, 1}},
		{cityid.AgreementQuery{Dataset: shared(2)}, []int{3, 4, 5}},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156.1001.01")}, []int{0, 1}},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156.1001")}, []int{0, 1, 2, 3, 4, 5}},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156")}, []int{0, 1, 2, 3, 4, 5}},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156.1002")}, nil},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156.100")}, nil},
		{cityid.AgreementQuery{Consumer: cityid.MustParse("MA.156.1002")}, []int{0, 2, 3, 4, 5}},
		{cityid.AgreementQuery{Consumer: cityid.MustParse("MA.156.1002.01")}, []int{3}},
		{cityid.AgreementQuery{Consumer: cityid.MustParse("MA.156")}, []int{0, 1, 2, 3, 4, 5}},
		{cityid.AgreementQuery{Consumer: cityid.MustParse("MA.156.1002"), State: cityid.AgreementLapsed}, []int{0}},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156.1001"), State: cityid.AgreementGranted}, []int{1}},
		{cityid.AgreementQuery{Dataset: cityid.MustParse("MA.156.1001"), State: cityid.AgreementExpired}, []int{4}},
	} {
		var want []string
		for _, n := range c.want {
			want = append(want, all[n].ID().String())
		}
		slices.Sort(want)
		for _, limit := range []int{1, 2, 200} {
			q := c.q
			q.Limit = limit
			var got []string
			for page := range pages(t, e, q) {
				got = append(got, page...)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%+v: %v, want %v", q, got, want)
			}
		}
	}
	_, err := e.Agreement(ctx, cityid.Digest{9})
	wantCode(t, err, cityid.ErrNotFound)
}

// pages yields the ids on each page of a list.
func pages(t *testing.T, e *chain.Engine, q cityid.AgreementQuery) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for {
			page, err := e.Agreements(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Agreements) > q.Limit || page.Agreements == nil {
				t.Fatalf("%d agreements on a page of %d", len(page.Agreements), q.Limit)
			}
			var ids []string
			for _, a := range page.Agreements {
				ids = append(ids, a.ID.String())
			}
			if !yield(ids) || page.Next == "" {
				return
			}
			if page.Next == q.After {
				t.Fatal("a page leads to itself")
			}
			q.After = page.Next
		}
	}
}

func TestAgreementQueriesRefused(t *testing.T) {
	e := newEngine(t, "")
	share(t, e)
	x := terms(e, shared(1), "MA.156.1002", 0, 5)
	submit(t, e, request(&x))
	city := cityid.MustParse("MA.156.1001")
	for _, c := range []struct {
		q    cityid.AgreementQuery
		want cityid.ErrorCode
	}{
		{cityid.AgreementQuery{Limit: 5}, cityid.ErrInvalid}, {cityid.AgreementQuery{Dataset: city, Consumer: city, Limit: 5}, cityid.ErrInvalid},
		{cityid.AgreementQuery{Dataset: city}, cityid.ErrInvalid}, {cityid.AgreementQuery{Dataset: city, Limit: 201}, cityid.ErrInvalid},
		{cityid.AgreementQuery{Dataset: city, Limit: 5, After: "x"}, cityid.ErrMalformed}, {cityid.AgreementQuery{Dataset: city, Limit: 5, After: "00"}, cityid.ErrMalformed},
		{cityid.AgreementQuery{Dataset: city, Limit: 5, After: fmt.Sprintf("%x", cityid.ConsumerKey(city, x.ID()))}, cityid.ErrMalformed},
		{cityid.AgreementQuery{Dataset: city, Limit: 5, After: fmt.Sprintf("%x", cityid.AgreementKey(cityid.MustParse("MA.156.1002"), x.ID()))}, cityid.ErrMalformed},
		{cityid.AgreementQuery{Dataset: city, Limit: 5, After: fmt.Sprintf("%x", cityid.RecordKey(city))}, cityid.ErrMalformed},
	} {
		_, err := e.Agreements(ctx, c.q)
		wantCode(t, err, c.want)
	}
}

// A page looks at so many agreements at a time, and the pages together are
// complete.
func TestAgreementsLookInPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 21,000 agreements")
	}
	e := newEngine(t, "")
	share(t, e)
	const number, each = 21_000, 500
	for n := 0; n < number; n += each {
		var ops []cityid.Operation
		for i := range each {
			x := terms(e, shared(1), "MA.156.1002", n+i, 5)
			ops = append(ops, request(&x), grant(&x))
		}
		submit(t, e, ops...)
	}
	left := terms(e, shared(2), "MA.156.1002", 0, 5) // behind the others, by its dataset
	submit(t, e, request(&left))
	for _, q := range []cityid.AgreementQuery{{Dataset: cityid.MustParse("MA.156.1001")}, {Consumer: cityid.MustParse("MA.156.1002")}} {
		q.State, q.Limit = cityid.AgreementRequested, 10
		var got []string
		n := 0
		for page := range pages(t, e, q) {
			got = append(got, page...)
			n++
		}
		if n != 2 || !slices.Equal(got, []string{left.ID().String()}) {
			t.Errorf("%+v: %d pages, %v", q, n, got)
		}
	}
}

func TestAnchors(t *testing.T) {
	e := newEngine(t, "")
	share(t, e)
	party, other := cityid.MustParse("MA.156.1002"), cityid.MustParse("MA.156.1002.01")
	anchor := func(party cityid.Code, log string, n byte) cityid.Operation {
		a := &cityid.AnchorReceipts{Party: party, Log: log, Sequence: uint64(n), Root: cityid.Digest{n}, Bucket: n}
		if n > 1 {
			a.Prev = cityid.Digest{n - 1}
		}
		return cityid.Operation{AnchorReceipts: a}
	}
	for n := byte(1); n <= 5; n++ {
		submit(t, e, anchor(party, "main", n))
	}
	submit(t, e, anchor(party, "a", 1), anchor(party, "mai", 1), anchor(party, "main-2", 1), anchor(other, "main", 1))

	var logs []string
	q := cityid.AnchorQuery{Party: party, Limit: 2}
	for {
		page, err := e.Anchors(ctx, q)
		if err != nil || len(page.Logs) > 2 || page.Anchors != nil || page.Next != 0 {
			t.Fatalf("%+v, %v", page, err)
		}
		for _, l := range page.Logs {
			logs = append(logs, fmt.Sprint(l.Log, " ", l.Sequence, " ", l.Root[0]))
		}
		if q.AfterLog = page.NextLog; q.AfterLog == "" {
			break
		}
	}
	if want := []string{"a 1 1", "mai 1 1", "main 5 5", "main-2 1 1"}; !slices.Equal(logs, want) {
		t.Errorf("logs %q, want %q", logs, want)
	}
	var got []uint64
	q = cityid.AnchorQuery{Party: party, Log: "main", Limit: 2}
	for {
		page, err := e.Anchors(ctx, q)
		if err != nil || len(page.Anchors) > 2 || page.Logs != nil || page.NextLog != "" {
			t.Fatalf("%+v, %v", page, err)
		}
		for _, a := range page.Anchors {
			if a.Party != party || a.Log != "main" || a.Root != (cityid.Digest{byte(a.Sequence)}) || a.Key != chaintest.Key(0).Key {
				t.Errorf("%+v", a)
			}
			got = append(got, a.Sequence)
		}
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	if !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
		t.Errorf("anchors %v", got)
	}
	for _, c := range []struct {
		q    cityid.AnchorQuery
		want int
	}{
		{cityid.AnchorQuery{Party: party, Log: "main", After: 3, Limit: 1000}, 2}, {cityid.AnchorQuery{Party: party, Log: "main", After: 1<<64 - 1, Limit: 5}, 0},
		{cityid.AnchorQuery{Party: party, Log: "none", Limit: 5}, 0}, {cityid.AnchorQuery{Party: other, Limit: 5}, 1}, {cityid.AnchorQuery{Party: shared(1), Limit: 5}, 0},
		{cityid.AnchorQuery{Party: cityid.MustParse("MA.156.9"), Limit: 5}, 0},
	} {
		if page, err := e.Anchors(ctx, c.q); err != nil || len(page.Anchors)+len(page.Logs) != c.want {
			t.Errorf("%+v: %+v, %v", c.q, page, err)
		}
	}
	for _, c := range []struct {
		q    cityid.AnchorQuery
		want cityid.ErrorCode
	}{
		{cityid.AnchorQuery{Limit: 5}, cityid.ErrInvalid}, {cityid.AnchorQuery{Party: party}, cityid.ErrInvalid}, {cityid.AnchorQuery{Party: party, Limit: 1001}, cityid.ErrInvalid},
		{cityid.AnchorQuery{Party: party, Log: "Main", Limit: 5}, cityid.ErrMalformed}, {cityid.AnchorQuery{Party: party, AfterLog: "a\x00", Limit: 5}, cityid.ErrMalformed},
	} {
		_, err := e.Anchors(ctx, c.q)
		wantCode(t, err, c.want)
	}
}

// TestBundleOfEntries: several keys under one header, now and in the past.
func TestBundleOfEntries(t *testing.T) {
	e := newEngine(t, "")
	share(t, e)
	x := terms(e, shared(1), "MA.156.1002", 0, 5)
	party := cityid.MustParse("MA.156.1002")
	submit(t, e, request(&x),
		cityid.Operation{AnchorReceipts: &cityid.AnchorReceipts{Party: party, Log: "main", Sequence: 1, Root: cityid.Digest{1}}},
		cityid.Operation{Attest: &cityid.Attest{Source: party, Digest: cityid.Digest{7}, Leaves: 3}})
	asked := e.Now()
	before := submit(t, e, cityid.Operation{Amend: &cityid.Amend{Code: party, Revision: 1, Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Second"}}}}})
	submit(t, e, grant(&x))
	submit(t, e, city(9))
	keys := [][]byte{
		cityid.AgreementKey(x.Dataset, x.ID()), cityid.AgreementKey(x.Dataset, cityid.Digest{9}), cityid.RecordKey(x.Dataset), cityid.RecordKey(party),
		cityid.HistoryKey(party, 1), cityid.AnchorKey(party, "main", 1), cityid.AnchorKey(party, "main", 2), cityid.AttestationKey(party, cityid.Digest{7}),
	}
	slices.SortFunc(keys, bytes.Compare)
	for _, c := range []struct {
		q    cityid.BundleQuery
		want cityid.AgreementState
	}{
		{cityid.BundleQuery{}, cityid.AgreementGranted}, {cityid.BundleQuery{From: 1}, cityid.AgreementGranted},
		{cityid.BundleQuery{At: before.Height}, cityid.AgreementRequested}, {cityid.BundleQuery{At: before.Height, Log: true}, cityid.AgreementRequested},
	} {
		c.q.Kind, c.q.Keys = cityid.AnswerEntries, keys
		r := bundle(t, e, c.q)
		var a cityid.Agreement
		if ok, err := r.Entry(cityid.AgreementKey(x.Dataset, x.ID()), &a); !ok || err != nil || a.State != c.want || a.Requested.Time > cityid.TimeOf(asked) {
			t.Errorf("%+v: %v, %v, %+v", c.q, ok, err, a)
		}
		there := 0
		for _, entry := range r.Entries {
			if entry.Value != nil {
				there++
			}
		}
		if len(r.Entries) != 8 || there != 6 || len(r.Records) != 2 {
			t.Errorf("%+v: %d entries, %d there, %d records", c.q, len(r.Entries), there, len(r.Records))
		}
	}
	var many [][]byte
	for i := range verify.MaxEntries + 1 {
		many = append(many, cityid.AgreementKey(x.Dataset, cityid.Digest{byte(i)}))
	}
	for _, c := range []struct {
		keys [][]byte
		want cityid.ErrorCode
	}{
		{nil, cityid.ErrInvalid}, {many, cityid.ErrTooLarge}, {[][]byte{cityid.ParamsKey}, cityid.ErrInvalid},
		{[][]byte{many[1], many[0]}, cityid.ErrInvalid}, {[][]byte{many[0], many[0]}, cityid.ErrInvalid}, {[][]byte{{}}, cityid.ErrInvalid},
	} {
		_, err := e.Bundle(ctx, cityid.BundleQuery{Kind: cityid.AnswerEntries, Keys: c.keys})
		wantCode(t, err, c.want)
	}
	bundle(t, e, cityid.BundleQuery{Kind: cityid.AnswerEntries, Keys: many[:verify.MaxEntries]})
}
