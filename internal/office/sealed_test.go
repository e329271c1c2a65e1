// SPDX-License-Identifier: Apache-2.0

package office

import (
	"fmt"
	"testing"

	"cityid"
)

func TestSealed(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	content := func(code, name string, salt byte) cityid.SealedContent {
		return cityid.SealedContent{Code: cityid.MustParse(code), Salt: cityid.Digest{salt}, Content: cityid.Content{Names: []cityid.Name{{Lang: "en", Text: name}}}}
	}
	a, b := content("MA.156.1301.01/20.010501/000001", "pump under the square", 1), content("MA.156.1301.01/20.010501/000001", "pump, renamed", 2)
	do(t, o.PutSealed(ctx, a, b))
	do(t, o.PutSealed(ctx, a))
	want(t, "no salt", o.PutSealed(ctx, content("MA.156.1301.01/20.010501/000003", "x", 3), content("MA.156.1301.01/20.010501/000004", "x", 0)), ErrInvalid)
	o = crash(t, o, c)
	scan(t, o.dir, "pump", "renamed")
	for _, s := range []cityid.SealedContent{a, b} {
		got := ok(o.Sealed(ctx, s.Code, s.Digest()))(t)
		if got.Digest() != s.Digest() || got.Salt != s.Salt || got.Content.Names[0] != s.Content.Names[0] {
			t.Errorf("got %+v", got)
		}
	}
	_, err := o.Sealed(ctx, a.Code, cityid.Digest{9})
	want(t, "another digest", err, ErrNotFound)

	for i := range 4 {
		do(t, o.PutSealed(ctx, content(fmt.Sprintf("MA.156.1301.01/20.010501/00001%d", i), "x", 5)))
	}
	var all []SealedEntry
	for after := (cityid.Code{}); ; {
		page := ok(o.SealedList(ctx, after, 1))(t)
		if len(page) == 0 {
			break
		}
		all, after = append(all, page...), page[len(page)-1].Code
	}
	if len(all) != 6 || all[0].Code != all[1].Code || all[5].Code.String() != "MA.156.1301.01/20.010501/000013" {
		t.Errorf("listed %+v", all)
	}

	// A box that was moved to another digest, or changed, is found out.
	da, db := a.Digest(), b.Digest()
	ok(o.writes.Exec(`UPDATE sealed SET box = (SELECT box FROM sealed WHERE digest = ?) WHERE digest = ?`, db[:], da[:]))(t)
	_, err = o.Sealed(ctx, a.Code, da)
	want(t, "a moved box", err, ErrDamaged)
	ok(o.writes.Exec(`UPDATE sealed SET box = x'' WHERE digest = ?`, db[:]))(t)
	_, err = o.Sealed(ctx, b.Code, db)
	want(t, "an empty box", err, ErrDamaged)
}
