// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// naiveMet is Quorum.Met by trying everything: it returns who signed for the
// quorum, or nil if it is not met.
func naiveMet(q *Quorum, keys KeySet) []PublicKey {
	var votes [][]PublicKey
	for i := range q.Members {
		if v := naiveMember(&q.Members[i], keys); v != nil {
			votes = append(votes, v)
		}
	}
	if len(votes) == 0 || naiveDistinct(votes, KeySet{}) < int(q.Threshold) {
		return nil
	}
	var all []PublicKey
	for _, v := range votes {
		all = append(all, v...)
	}
	if q.Threshold >= 2 && oneSite(all) {
		return nil
	}
	return all
}

func naiveMember(m *QuorumMember, keys KeySet) []PublicKey {
	if m.Quorum != nil {
		return naiveMet(m.Quorum, keys)
	}
	var out []PublicKey
	for _, k := range m.Keys {
		if keys[k] {
			out = append(out, k)
		}
	}
	return out
}

// oneSite reports whether all keys are passkeys of one relying party.
func oneSite(keys []PublicKey) bool {
	for _, k := range keys {
		if k.RPID() == "" || k.RPID() != keys[0].RPID() {
			return false
		}
	}
	return true
}

// naiveDistinct tries every way to back votes by keys of their own.
func naiveDistinct(votes [][]PublicKey, used KeySet) int {
	if len(votes) == 0 {
		return 0
	}
	best := naiveDistinct(votes[1:], used)
	for _, k := range votes[0] {
		if !used[k] {
			used[k] = true
			best = max(best, 1+naiveDistinct(votes[1:], used))
			delete(used, k)
		}
	}
	return best
}

func naiveBlocked(q *Quorum, keys KeySet) bool {
	var votes [][]PublicKey
	for i := range q.Members {
		if v := naiveMember(&q.Members[i], keys); v != nil {
			votes = append(votes, v)
		}
	}
	return len(q.Members)-naiveDistinct(votes, KeySet{}) < int(q.Threshold)
}

func randomQuorum(r *rand.Rand, universe []PublicKey, depth int) *Quorum {
	n := 1 + r.IntN(4)
	q := &Quorum{Threshold: uint8(1 + r.IntN(n))}
	for range n {
		var m QuorumMember
		if depth > 0 && r.IntN(3) == 0 {
			m.Quorum = randomQuorum(r, universe, depth-1)
		} else {
			for range r.IntN(3) {
				m.Keys = append(m.Keys, universe[r.IntN(len(universe))])
			}
		}
		q.Members = append(q.Members, m)
	}
	return q
}

// TestQuorumAgainstNaive compares Met and Blocked with trying everything, over
// random quorums in which keys stand several times.
func TestQuorumAgainstNaive(t *testing.T) {
	universe := []PublicKey{
		sampleKey(1), sampleKey(2), sampleKey(3),
		samplePasskey(1, "a.cn"), samplePasskey(2, "a.cn"), samplePasskey(3, "a.cn"), samplePasskey(4, "b.cn"),
	}
	r := rand.New(rand.NewPCG(1, 1))
	met := 0
	for range 30_000 {
		q := randomQuorum(r, universe, 2)
		signed := KeySet{}
		for _, k := range universe {
			if r.IntN(2) == 0 {
				signed[k] = true
			}
		}
		got := q.Met(signed)
		if want := naiveMet(q, signed) != nil; got != want {
			t.Fatalf("met: %v, want %v\n%+v\n%v", got, want, q, signed)
		}
		if got, want := q.Blocked(signed), naiveBlocked(q, signed); got != want {
			t.Fatalf("blocked: %v, want %v\n%+v\n%v", got, want, q, signed)
		}
		if !got {
			continue
		}
		met++
		signed[universe[r.IntN(len(universe))]] = true
		if !q.Met(signed) {
			t.Fatalf("one more signature unmakes a quorum\n%+v\n%v", q, signed)
		}
	}
	if met < 3000 {
		t.Errorf("only %d quorums were met", met)
	}
}

func TestQuorumMet(t *testing.T) {
	a, b, c := sampleKey(1), sampleKey(2), sampleKey(3)
	pa, pb, pc := samplePasskey(1, "x.cn"), samplePasskey(2, "x.cn"), samplePasskey(3, "y.cn")
	one := func(list ...PublicKey) QuorumMember { return QuorumMember{Keys: list} }
	of := func(n uint8, m ...QuorumMember) *Quorum { return &Quorum{Threshold: n, Members: m} }
	inner := func(q *Quorum) QuorumMember { return QuorumMember{Quorum: q} }
	for _, x := range []struct {
		name string
		q    *Quorum
		keys KeySet
		met  bool
	}{
		{"none", of(1, one(a)), KeysOf(), false},
		{"a member without keys", of(1, one()), KeysOf(a), false},
		{"two officers of one member", of(2, one(a, b), one(c)), KeysOf(a, b), false},
		{"two members", of(2, one(a, b), one(c)), KeysOf(b, c), true},
		{"a key under two members", of(2, one(a), one(a)), KeysOf(a), false},
		{"a key under two members, and another", of(2, one(a), one(a, b)), KeysOf(a, b), true},
		{"another's keys in one's own", of(2, inner(of(1, one(a), one(b), one(c))), inner(of(1, one(b)))), KeysOf(a, b), true},
		{"passkeys of one site", of(2, one(pa), one(pb), one(pc)), KeysOf(pa, pb), false},
		{"passkeys of two sites", of(2, one(pa), one(pb), one(pc)), KeysOf(pa, pc), true},
		{"a passkey and a key", of(2, one(pa), one(a)), KeysOf(pa, a), true},
		{"a single passkey", of(1, one(pa)), KeysOf(pa), true},
		{"one site through two members", of(2, inner(of(1, one(pa))), inner(of(1, one(pb)))), KeysOf(pa, pb), false},
		{"both ways of one member", of(2, one(pa, a), one(pb)), KeysOf(pa, a, pb), true},
	} {
		if got := x.q.Met(x.keys); got != x.met {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}

func TestQuorumCheck(t *testing.T) {
	deep := &Quorum{Threshold: 1, Members: []QuorumMember{{Keys: []PublicKey{sampleKey(1)}}}}
	for range MaxPolicyDepth {
		if err := deep.Check(); err != nil {
			t.Error(err)
		}
		deep = &Quorum{Threshold: 1, Members: []QuorumMember{{Quorum: deep}}}
	}
	if err := deep.Check(); err != nil {
		t.Error(err)
	}
	for name, q := range map[string]*Quorum{
		"too deep":        {Threshold: 1, Members: []QuorumMember{{Quorum: deep}}},
		"no members":      {Threshold: 1},
		"no threshold":    {Members: []QuorumMember{{}}},
		"out of reach":    {Threshold: 2, Members: []QuorumMember{{}}},
		"keys and quorum": {Threshold: 1, Members: []QuorumMember{{Keys: []PublicKey{sampleKey(1)}, Quorum: deep.Members[0].Quorum}}},
		"too many keys":   {Threshold: 1, Members: []QuorumMember{{Keys: make([]PublicKey, MaxKeys+1)}}},
	} {
		if err := q.Check(); CodeOf(err) != ErrPolicy {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	key := func(n byte) Key { return Key{Public: sampleKey(n), Roles: RoleControl} }
	x25519 := PublicKey("\x04" + strings.Repeat("x", 32))
	if err := samplePolicy().Check(); err != nil {
		t.Error(err)
	}
	for name, p := range map[string]Policy{
		"no members":             {Threshold: 1},
		"too many members":       {Threshold: 1, Members: make([]Member, MaxMembers+1)},
		"threshold 0":            {Members: []Member{{Keys: []Key{key(1)}}}},
		"threshold out of reach": {Threshold: 2, Members: []Member{{Keys: []Key{key(1)}}}},
		"empty member":           {Threshold: 1, Members: []Member{{}}},
		"keys and code":          {Threshold: 1, Members: []Member{{Keys: []Key{key(1)}, Code: MustParse("MA")}}},
		"code twice":             {Threshold: 1, Members: []Member{{Code: MustParse("MA")}, {Code: MustParse("MA")}}},
		"key twice in a member":  {Threshold: 1, Members: []Member{{Keys: []Key{key(1), key(1)}}}},
		"key twice":              {Threshold: 2, Members: []Member{{Keys: []Key{key(1)}}, {Keys: []Key{key(1)}}}},
		"too many keys":          {Threshold: 1, Members: []Member{{Keys: make([]Key, MaxKeys+1)}}},
		"unknown algorithm":      {Threshold: 1, Members: []Member{{Keys: []Key{{Public: "\x09x", Roles: RoleControl}}}}},
		"sm2":                    {Threshold: 1, Members: []Member{{Keys: []Key{{Public: "\x05x", Roles: RoleControl}}}}},
		"no role":                {Threshold: 1, Members: []Member{{Keys: []Key{{Public: sampleKey(1)}}}}},
		"unknown role":           {Threshold: 1, Members: []Member{{Keys: []Key{{Public: sampleKey(1), Roles: 64}}}}},
		"signing key encrypts":   {Threshold: 1, Members: []Member{{Keys: []Key{{Public: sampleKey(1), Roles: RoleControl | RoleEncrypt}}}}},
		"x25519 key signs":       {Threshold: 1, Members: []Member{{Keys: []Key{{Public: x25519, Roles: RoleControl}}}}},
		"ends before it begins":  {Threshold: 1, Members: []Member{{Keys: []Key{{Public: sampleKey(1), Roles: RoleControl, From: 5, Until: 5}}}}},
		"before 1970":            {Threshold: 1, Members: []Member{{Keys: []Key{{Public: sampleKey(1), Roles: RoleControl, From: -1}}}}},
	} {
		if err := p.Check(); CodeOf(err) != ErrPolicy {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyHolds(t *testing.T) {
	k := Key{Roles: RoleControl | RoleAssert, From: 10, Until: 20, Compromised: 15}
	for at, want := range map[Time]bool{9: false, 10: true, 14: true, 15: false, 20: false} {
		if got := k.Holds(RoleAssert|RoleField, at); got != want {
			t.Errorf("at %d: %v", at, got)
		}
	}
	if k.Holds(RoleIntake, 12) || !(&Key{Roles: RoleIntake}).Holds(RoleIntake, 0) {
		t.Error("roles do not decide")
	}
}

func TestRolesText(t *testing.T) {
	for r := Roles(1); r <= allRoles; r++ {
		var back Roles
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r {
			t.Errorf("%s: %v %v", r, back, err)
		}
	}
	for _, bad := range []string{"", "control,", "control,control", "king", "Control", "control, assert"} {
		var r Roles
		if err := r.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is %s", bad, r)
		}
	}
}

func TestPossessionDigest(t *testing.T) {
	const want = "965e4e81b6de52e2887ff2c645c30bd76ce22819eba72a648e60efa92b68f9c1"
	if got := PossessionDigest("cn-root-7k2m", MustParse("MA.156.1301"), samplePolicy(), sampleKey(1)).String(); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	other := samplePolicy()
	other.Threshold++
	if PossessionDigest("c", MustParse("MA"), samplePolicy(), sampleKey(1)) == PossessionDigest("c", MustParse("MA"), other, sampleKey(1)) {
		t.Error("a proof of possession can be taken into another policy")
	}
	if (*Policy)(nil).Hash() != (Digest{}) || samplePolicy().Hash() == (Digest{}) {
		t.Error("the hash of a policy")
	}
}
