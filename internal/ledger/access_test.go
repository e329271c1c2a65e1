// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"cityid"
)

func TestAccess(t *testing.T) {
	f := newFixture(t)
	ctx, a := t.Context(), agreement(1)
	first := f.serve(a)
	f.serve(agreement(2))
	in := fetched(t, a, 3)
	second := ok(f.AppendFetched(ctx, in))(t)
	ok(f.Acknowledge(ctx, DirectionFetched, acknowledgementOf(t, f, a, second.Hash), message(t, "ack"), nil))(t)
	anchorAll(t, f)
	anchored := f.clock.second()
	f.clock.pass(time.Hour)
	third := f.serve(a)

	page := ok(f.Access(ctx, AccessQuery{Agreement: a}))(t)
	if len(page.Entries) != 3 || page.Next != "" || page.Party != f.Party() || page.Day != "2026-03-01" || page.Served.Requests != 2 || page.Served.Octets != 2000 || page.Fetched.Requests != 1 {
		t.Fatalf("%+v", page)
	}
	e := page.Entries[0]
	if e.Entry != third.Hash || e.Direction != DirectionServed || e.Batch != 0 || e.Anchored != 0 || e.Height != 0 || !e.Awaits || e.Number != 4 || e.Log != "main" || e.Status != 200 || e.Octets != 1000 || e.Peer != consumer {
		t.Errorf("latest: %+v", e)
	}
	e = page.Entries[1]
	if e.Entry != second.Hash || e.Direction != DirectionFetched || !e.Acknowledged || e.Batch != 1 || e.Anchored != anchored || e.Height == 0 || e.Path != in.Path {
		t.Errorf("fetched: %+v", e)
	}
	if b := ok(json.Marshal(page))(t); true {
		again := ok(DecodeAccessPage(b))(t)
		if !bytes.Equal(ok(json.Marshal(again))(t), b) {
			t.Errorf("%s is read as %+v", b, again)
		}
	}
	for what, q := range map[string]AccessQuery{
		"served":  {Agreement: a, Direction: DirectionServed},
		"late":    {Agreement: a, From: f.clock.now()},
		"early":   {Agreement: a, To: f.clock.now()},
		"one":     {Agreement: a, Limit: 1},
		"another": {Agreement: agreement(9)},
	} {
		page := ok(f.Access(ctx, q))(t)
		if want := map[string]int{"served": 2, "late": 1, "early": 2, "one": 1}[what]; len(page.Entries) != want {
			t.Errorf("%s: %+v", what, page)
		}
	}
	q := AccessQuery{Agreement: a, Limit: 1}
	for _, want := range []cityid.Digest{third.Hash, second.Hash, first.Hash} {
		page := ok(f.Access(ctx, q))(t)
		if len(page.Entries) != 1 || page.Entries[0].Entry != want {
			t.Errorf("%+v", page)
		}
		q.After = ok(ParseCursor(page.Next))(t)
	}
	if q.After != (Cursor{}) {
		t.Errorf("more after the last: %v", q.After)
	}
	for _, q := range []AccessQuery{{}, {Agreement: a, Limit: MaxPage + 1}, {Agreement: a, Limit: -1}} {
		_, err := f.Access(ctx, q)
		want(t, fmt.Sprintf("%+v", q), err, ErrInvalid)
	}
	ok(f.writer.conn.ExecContext(ctx, `UPDATE content SET encoded = x'00' WHERE entry = 1`))(t)
	_, err := f.Access(ctx, AccessQuery{Agreement: a})
	want(t, "changed on the disk", err, ErrDamaged)
}

func TestAccessQuery(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, q := range []AccessQuery{
		{Agreement: agreement(1)},
		{Agreement: agreement(1), Direction: DirectionFetched, From: at, To: at.Add(time.Hour), After: Cursor{7, 8}, Limit: 500},
	} {
		if got := ok(ParseAccessQuery(q.Values()))(t); got != q {
			t.Errorf("%v is read as %+v", q.Values(), got)
		}
	}
	good := "agreement=" + agreement(1).String()
	for _, bad := range []string{
		"", "agreement=x", "agreement=" + strings.Repeat("0", 64), good + "&limit=0", good + "&limit=501", good + "&limit=01", good + "&limit=",
		good + "&direction=both", good + "&from=2026", good + "&to=2026-03-01T08:00:00.5Z", good + "&after=1", good + "&moon=1", good + "&" + good,
	} {
		_, err := ParseAccessQuery(ok(url.ParseQuery(bad))(t))
		want(t, bad, err, ErrInvalid)
	}
}

func FuzzParseAccessQuery(f *testing.F) {
	f.Add("agreement=" + agreement(1).String() + "&direction=served&from=2026-03-01T08:00:00Z&after=1-2&limit=5")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		q, err := ParseAccessQuery(v)
		if err != nil {
			return
		}
		if again, err := ParseAccessQuery(q.Values()); err != nil || again != q {
			t.Errorf("%q is read as %+v, and that as %+v, %v", s, q, again, err)
		}
	})
}

func FuzzDecodeAccessPage(f *testing.F) {
	p := AccessPage{Party: provider, Day: "2026-03-01", Entries: []AccessEntry{{Entry: agreement(1), Direction: DirectionServed, Provider: provider, Log: "main", Number: 1}}}
	f.Add(ok(json.Marshal(p))(f))
	f.Add([]byte(`{"party":"MA.156","entries":[],"day":"2026-03-01","served":{},"fetched":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeAccessPage(b)
		if err != nil {
			return
		}
		if _, err := DecodeAccessPage(ok(json.Marshal(p))(t)); err != nil {
			t.Errorf("%s: what it is written as is refused: %v", b, err)
		}
	})
}
