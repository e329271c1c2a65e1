// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
)

func TestEntryDetail(t *testing.T) {
	f := newFixture(t)
	ctx, a := t.Context(), agreement(1)
	e := f.serve(a)
	in := fetched(t, a, 3)
	g := ok(f.AppendFetched(ctx, in))(t)
	d := ok(f.Entry(ctx, e.ID))(t)
	if d.Direction != DirectionServed || d.Agreement != a || d.Peer != consumer || d.Hash != e.Hash || !bytes.Equal(d.Entry, e.Entry) || d.Status != 200 || d.Size != 1000 ||
		!d.Awaits || d.Acknowledged || d.Acknowledgement != nil || d.PeerProof != nil || d.Batch != 0 || !d.Stored.Equal(f.clock.now()) ||
		d.Receipt.Number != 1 || d.Receipt.Request != d.Request.Hash() || string(d.Request.Base) != "request 1" || d.Path != "/data/x?1" {
		t.Errorf("%+v", d)
	}
	m := message(t, "ack")
	body := acknowledgementOf(t, f, a, g.Hash)
	ok(f.Acknowledge(ctx, DirectionFetched, body, m, nil))(t)
	anchorAll(t, f)
	d = ok(f.Entry(ctx, g.ID))(t)
	if d.Direction != DirectionFetched || d.Peer != consumer || d.Path != in.Path || d.Awaits || !d.Acknowledged || !bytes.Equal(d.Acknowledgement.Body, body) ||
		d.Acknowledgement.Message.Hash() != m.Hash() || d.Batch != 1 || d.Anchored != f.clock.second() || d.Response.Hash() != in.Response.Hash() {
		t.Errorf("%+v", d)
	}
	if id := ok(f.ByHash(ctx, DirectionFetched, g.Hash))(t); id != 2 {
		t.Errorf("entry %d", id)
	}
	_, err := f.ByHash(ctx, DirectionServed, g.Hash)
	want(t, "the other direction", err, ErrNotFound)
	for _, id := range []uint64{0, 3, 1 << 63} {
		_, err := f.Entry(ctx, id)
		want(t, fmt.Sprint("entry ", id), err, ErrNotFound)
	}
	ok(f.writer.conn.ExecContext(ctx, `UPDATE content SET encoded = x'00' WHERE entry = 1`))(t)
	_, err = f.Entry(ctx, 1)
	want(t, "changed on the disk", err, ErrDamaged)
}

func TestByNumber(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	for range 3 {
		f.serve(agreement(1))
	}
	f.reopen(func(o *Options) { o.Log = "second" })
	for range 2 {
		f.serve(agreement(1))
	}
	for log, ids := range map[string][]uint64{"main": {1, 2, 3}, "second": {4, 5}, "third": nil} {
		for i, id := range ids {
			if got := ok(f.ByNumber(ctx, log, uint64(i+1)))(t); got != id {
				t.Errorf("number %d of %s is entry %d", i+1, log, got)
			}
		}
		_, err := f.ByNumber(ctx, log, uint64(len(ids)+1))
		want(t, log, err, ErrNotFound)
	}
	_, err := f.ByNumber(ctx, "main", 0)
	want(t, "number 0", err, ErrInvalid)
}

func TestPeerProof(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	in := fetched(t, agreement(1), 3)
	e := ok(f.AppendFetched(ctx, in))(t)
	prove := func(entry []byte, party cityid.Code) []byte {
		p := LeafProof{Salt: fill(8), Entry: entry, Party: party, Log: "other", Sequence: 4, Size: 1}
		p.Root = BatchRoot(LeafHash(p.Salt, p.Entry), 1)
		return ok(p.Encode())(t)
	}
	want(t, "for another entry", f.StorePeerProof(ctx, e.ID, ok(exampleProofs(t, 1)[0].Encode())(t)), ErrInvalid)
	want(t, "of another party", f.StorePeerProof(ctx, e.ID, prove(e.Entry, provider)), ErrInvalid)
	want(t, "one that does not hold", f.StorePeerProof(ctx, e.ID, prove(e.Entry, consumer)[1:]), ErrInvalid)
	want(t, "for no entry", f.StorePeerProof(ctx, 9, prove(e.Entry, consumer)), ErrNotFound)
	for _, party := range []cityid.Code{consumer, consumer.Parent()} {
		proof := prove(e.Entry, party)
		do(t, f.StorePeerProof(ctx, e.ID, proof))
		if d := ok(f.Entry(ctx, e.ID))(t); !bytes.Equal(d.PeerProof, proof) {
			t.Errorf("%x", d.PeerProof)
		}
	}
}

// TestEntries lists with random filters, page by page, and compares with a list that
// is filtered here. The clock jumps.
func TestEntries(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []Summary
	for i := range 60 {
		f.clock.pass(time.Duration(rnd.IntN(100)-30) * time.Minute)
		a := agreement(rnd.IntN(3))
		s := Summary{Stored: f.clock.now(), Agreement: a, Peer: consumer}
		if rnd.IntN(2) == 0 {
			s.ID, s.Direction = ok(f.AppendFetched(ctx, fetched(t, a, uint64(i+1))))(t).ID, DirectionFetched
		} else {
			s.ID, s.Direction = f.serve(a).ID, DirectionServed
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Summary) int {
		if c := b.Stored.Compare(a.Stored); c != 0 {
			return c
		}
		return int(b.ID) - int(a.ID)
	})
	for range 200 {
		filter := Filter{Limit: 1 + rnd.IntN(20), Direction: Direction(rnd.IntN(3))}
		if rnd.IntN(2) == 0 {
			filter.Agreement = agreement(rnd.IntN(4))
		}
		if rnd.IntN(2) == 0 {
			filter.Peer = []cityid.Code{consumer, provider}[rnd.IntN(2)]
		}
		if rnd.IntN(2) == 0 {
			filter.From = all[rnd.IntN(len(all))].Stored
		}
		if rnd.IntN(2) == 0 {
			filter.To = all[rnd.IntN(len(all))].Stored
		}
		var wanted []uint64
		for _, s := range all {
			if (filter.Direction == 0 || s.Direction == filter.Direction) && (filter.Agreement.IsZero() || s.Agreement == filter.Agreement) &&
				(filter.Peer.IsZero() || s.Peer == filter.Peer) && (filter.From.IsZero() || !s.Stored.Before(filter.From)) && (filter.To.IsZero() || s.Stored.Before(filter.To)) {
				wanted = append(wanted, s.ID)
			}
		}
		var got []uint64
		for {
			list, next, err := f.Entries(ctx, filter)
			do(t, err)
			if len(list) > filter.Limit || next != (Cursor{}) && len(list) != filter.Limit {
				t.Fatalf("a page of %d, limit %d", len(list), filter.Limit)
			}
			for _, s := range list {
				got = append(got, s.ID)
			}
			if next == (Cursor{}) {
				break
			}
			filter.After = ok(ParseCursor(next.String()))(t)
		}
		if !slices.Equal(got, wanted) {
			t.Fatalf("%+v: %v, want %v", filter, got, wanted)
		}
	}
	if list, _, err := f.Entries(ctx, Filter{}); err != nil || len(list) != 60 || !strings.HasPrefix(list[0].Path, "/data/") {
		t.Errorf("%d without a filter, %v", len(list), err)
	}
	for _, text := range []string{"x", "1", "1-", "1-2-3", "01-2", "1-02", "-", "1--2", "99999999999999999999-1", "1-4611686018427387904", "1-2 "} {
		_, err := ParseCursor(text)
		want(t, text, err, ErrInvalid)
	}
}

// TestListingUsesIndexes keeps lists from reading all entries.
func TestListingUsesIndexes(t *testing.T) {
	f := newFixture(t)
	for _, filter := range []Filter{
		{}, {Agreement: agreement(1)}, {Peer: consumer}, {Agreement: agreement(1), Peer: consumer}, {From: f.clock.now()},
		{Peer: consumer, To: f.clock.now(), After: Cursor{1, 1}},
	} {
		query, args := filter.query()
		rows := ok(f.reads.Query(`EXPLAIN QUERY PLAN `+query, args...))(t)
		for rows.Next() {
			var id, parent, unused int
			var detail string
			do(t, rows.Scan(&id, &parent, &unused, &detail))
			if strings.Contains(detail, "TEMP B-TREE FOR ORDER BY") || detail == "SCAN e" || detail == "SCAN c" {
				t.Errorf("%+v: %s", filter, detail)
			}
		}
		do(t, rows.Close())
	}
}

// FuzzCursor feeds the parser of cursors.
func FuzzCursor(f *testing.F) {
	f.Add("1772352000000-17")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCursor(text); err == nil && c.String() != text {
			t.Errorf("%q is %+v", text, c)
		}
	})
}
