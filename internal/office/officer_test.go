// SPDX-License-Identifier: Apache-2.0

package office

import (
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

func TestOfficers(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	_, p1 := privateKey(t, keys.Ed25519, 1)
	_, p2 := privateKey(t, keys.P256, 2)
	_, encrypt := privateKey(t, keys.X25519, 3)
	member, start := cityid.MustParse("MA.156.9001"), c.now()
	wang := Officer{Name: "王丽", Staff: "0017", Key: p1, Member: member, From: start}
	id := ok(o.AddOfficer(ctx, wang))(t)
	_, err := o.AddOfficer(ctx, Officer{Name: "Li", Key: p1, Member: member, From: start.Add(time.Hour)})
	want(t, "one key, two people", err, ErrConflict)
	for what, f := range map[string]Officer{
		"no name": {Key: p2, Member: member, From: start}, "no key": {Name: "Li", Member: member, From: start}, "a key that does not sign": {Name: "Li", Key: encrypt, Member: member, From: start},
		"no member": {Name: "Li", Key: p2, From: start}, "an end before the beginning": {Name: "Li", Key: p2, Member: member, From: start, To: start},
	} {
		_, err := o.AddOfficer(ctx, f)
		want(t, what, err, ErrInvalid)
	}

	// A hand-over that fails leaves the one before in office.
	change := start.Add(24 * time.Hour)
	_, err = o.HandOver(ctx, id, change, Officer{Name: "", Key: p2})
	want(t, "to nobody", err, ErrInvalid)
	if f := ok(o.OfficerByKey(ctx, p1, change))(t); f.ID != id || !f.To.IsZero() {
		t.Errorf("after a hand-over that failed: %+v", f)
	}
	_, err = o.HandOver(ctx, id, start, Officer{Name: "Li", Key: p2})
	want(t, "before the beginning", err, ErrInvalid)
	_, err = o.HandOver(ctx, 99, change, Officer{Name: "Li", Key: p2})
	want(t, "from nobody", err, ErrNotFound)

	next := ok(o.HandOver(ctx, id, change, Officer{Name: "Li", Key: p2}))(t)
	o = crash(t, o, c)
	before, after := change.Add(-time.Millisecond), change
	if f := ok(o.OfficerByKey(ctx, p1, before))(t); f.Name != "王丽" || !f.To.Equal(change) || !f.At(before) || f.At(after) {
		t.Errorf("before: %+v", f)
	}
	_, err = o.OfficerByKey(ctx, p1, after)
	want(t, "the old key after", err, ErrNotFound)
	_, err = o.OfficerByKey(ctx, p2, before)
	want(t, "the new key before", err, ErrNotFound)
	if f := ok(o.OfficerByKey(ctx, p2, after))(t); f.ID != next || f.Member != member {
		t.Errorf("after: %+v", f)
	}
	want(t, "ending later what has ended", o.EndOfficer(ctx, id, change.Add(time.Hour)), ErrConflict)
	ok(o.AddOfficer(ctx, Officer{Name: "王丽", Key: p1, Member: member, From: change.Add(time.Hour)}))(t) // she returns
	do(t, o.EndOfficer(ctx, next, change.Add(time.Hour)))
	if list := ok(o.Officers(ctx))(t); len(list) != 3 || list[0].ID != id || list[1].ID != next {
		t.Errorf("officers %+v", list)
	}
	_, err = o.AddOfficer(ctx, Officer{Name: "Zhao", Key: p1, Member: member, From: start.Add(-time.Hour), To: start.Add(time.Hour)})
	want(t, "overlapping at its end", err, ErrConflict)
	ok(o.AddOfficer(ctx, Officer{Name: "Zhao", Key: p1, Member: member, From: start.Add(-time.Hour), To: start}))(t)
}
