// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"context"
	"testing"
)

// TestStood asks of one key at several times what it was to an institution, whose
// policy changed, and whose officers stand in a code that is its member.
func TestStood(t *testing.T) {
	intake, other := PublicKey("\x01intake"), PublicKey("\x01other")
	institute, lab, below, apex := MustParse("MA.156.9001"), MustParse("MA.156.9001.01"), MustParse("MA.156.9001.02"), MustParse("MA.156")
	policy := func(k Key, members ...Code) *Policy {
		p := &Policy{Threshold: 1, Members: []Member{{Keys: []Key{{Public: other, Roles: RoleControl}, k}}}}
		for _, c := range members {
			p.Members = append(p.Members, Member{Code: c})
		}
		return p
	}
	rev := func(code, parent Code, n uint32, at Time, s Status, p *Policy) Record {
		return Record{Code: code, Parent: parent, Kind: KindOrganisation, Status: s, Revision: n, Changed: Change{Time: at}, Policy: p}
	}
	key := Key{Public: intake, Roles: RoleIntake}
	nobody := Key{Public: "\x01nobody", Roles: RoleIntake}
	histories := map[Code][]Record{
		apex: {rev(apex, Code{}, 1, 10, StatusActive, policy(nobody))},
		institute: {
			rev(institute, apex, 4, 400, StatusSuspended, policy(key)),
			rev(institute, apex, 3, 300, StatusActive, policy(nobody, lab)),
			rev(institute, apex, 2, 200, StatusActive, policy(key)),
			rev(institute, apex, 1, 100, StatusActive, policy(nobody)),
		},
		lab:   {rev(lab, institute, 1, 100, StatusActive, policy(Key{Public: intake, Roles: RoleIntake, From: 310, Until: 350}, institute))},
		below: {rev(below, institute, 1, 100, StatusActive, nil)},
	}
	history := func(_ context.Context, c Code) ([]Record, error) {
		if h := histories[c]; h != nil {
			return h, nil
		}
		return nil, Errorf(ErrNotFound, "%s is not allocated", c)
	}
	for _, c := range []struct {
		code  Code
		at    Time
		roles Roles
		want  Code
	}{
		{institute, 50, RoleIntake, Code{}},  // before there was one
		{institute, 100, RoleIntake, Code{}}, // not yet
		{institute, 200, RoleIntake, institute},
		{institute, 299, RoleIntake, institute},
		{institute, 299, RoleControl, Code{}}, // not for that
		{institute, 305, RoleIntake, Code{}},  // the lab's key does not count yet
		{institute, 310, RoleIntake, lab},
		{institute, 350, RoleIntake, Code{}},
		{institute, 400, RoleIntake, Code{}}, // suspended
		{below, 250, RoleIntake, institute},  // inherited
		{below, 450, RoleIntake, Code{}},
		{apex, 250, RoleIntake, Code{}},
	} {
		s, err := Stood(t.Context(), c.code, intake, c.roles, c.at, history)
		if err != nil || s.Holder != c.want || s.Compromised != 0 {
			t.Errorf("%s at %d: %+v, %v, want %s", c.code, c.at, s, err, c.want)
		}
	}

	// It came out later that the key was stolen.
	h := histories[institute]
	histories[institute] = append([]Record{rev(institute, apex, 5, 500, StatusActive, policy(Key{Public: intake, Roles: RoleIntake, Compromised: 240}))}, h...)
	if s, err := Stood(t.Context(), institute, intake, RoleIntake, 220, history); err != nil || s.Holder != institute || s.Compromised != 240 {
		t.Errorf("stolen: %+v, %v", s, err)
	}

	// Who knows the latest revision alone can not tell what was before.
	histories[institute] = histories[institute][:1]
	if _, err := Stood(t.Context(), institute, intake, RoleIntake, 220, history); CodeOf(err) != ErrUnavailable {
		t.Errorf("not known: %v", err)
	}
	if s, err := Stood(t.Context(), institute, intake, RoleIntake, 600, history); err != nil || s.Holder != institute {
		t.Errorf("known: %+v, %v", s, err)
	}
	if _, err := Stood(t.Context(), MustParse("MA.156.9999"), intake, RoleIntake, 600, history); CodeOf(err) != ErrNotFound {
		t.Errorf("not allocated: %v", err)
	}
}
