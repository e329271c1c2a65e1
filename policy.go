// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"slices"
	"strings"
)

// Limits on policies.
const (
	MaxMembers     = 16 // members of a policy
	MaxKeys        = 16 // keys of a member
	MaxPolicyDepth = 3  // codes that may stand as members of one another, from the first policy down
)

// Roles is a set of purposes a key may serve.
type Roles uint8

// The roles. A control key takes part in everything its policy decides; the
// others serve one purpose each.
const (
	RoleControl Roles = 1 << iota // counts towards the policy's threshold
	RoleAssert                    // attests for the code, and signs its certificates
	RoleGateway                   // signs messages of a gateway, and anchors receipts; no other role beside it
	RoleField                     // attests installation
	RoleIntake                    // brings applications onto the chain
	RoleEncrypt                   // receives encrypted evidence; never signs
)

var roleNames = []string{"control", "assert", "gateway", "field", "intake", "encrypt"}

const allRoles = 1<<6 - 1

// String returns the names of the roles, separated by commas.
func (r Roles) String() string {
	var out []string
	for i, n := range roleNames {
		if r&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// MarshalText returns the form of String.
func (r Roles) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses role names separated by commas.
func (r *Roles) UnmarshalText(text []byte) error {
	*r = 0
	for n := range strings.SplitSeq(string(text), ",") {
		i := slices.Index(roleNames, n)
		if i < 0 || *r&(1<<i) != 0 {
			return Errorf(ErrInvalid, "role %.40q: want some of %s, each once, separated by commas", n, strings.Join(roleNames, ", "))
		}
		*r |= 1 << i
	}
	return nil
}

// Key is a public key within a policy.
type Key struct {
	Public      PublicKey `cbor:"1,keyasint" json:"public"`
	Roles       Roles     `cbor:"2,keyasint" json:"roles"`
	From        Time      `cbor:"3,keyasint,omitempty" json:"from,omitempty"`        // first moment it counts; zero: always
	Until       Time      `cbor:"4,keyasint,omitempty" json:"until,omitempty"`       // first moment it no longer counts; zero: never ends
	Compromised Time      `cbor:"5,keyasint,omitempty" json:"compromised,omitempty"` // from this moment on it counts for nothing; zero: not known to be
}

// Holds reports whether the key has any of the roles and counts at t.
func (k *Key) Holds(roles Roles, t Time) bool {
	return k.Roles&roles != 0 && t >= k.From && (k.Until == 0 || t < k.Until) && (k.Compromised == 0 || t < k.Compromised)
}

// Member is one vote in a policy: a set of keys of which any one signs, or a
// code, which votes when its own policy is met. Exactly one of both is set.
type Member struct {
	Keys []Key `cbor:"1,keyasint,omitempty" json:"keys,omitempty"`
	Code Code  `cbor:"2,keyasint,omitzero" json:"code,omitzero"`
}

// Policy says who controls a record: Threshold of its members.
type Policy struct {
	Threshold uint8    `cbor:"1,keyasint" json:"threshold"` // 1 to the number of members
	Members   []Member `cbor:"2,keyasint" json:"members"`
}

// Hash returns the SHA-256 of the policy's encoding; of nil, the zero Digest.
func (p *Policy) Hash() Digest {
	if p == nil {
		return Digest{}
	}
	return hashOf(MustMarshal(p))
}

// Check reports what is wrong with the policy taken by itself: sizes, a key
// that appears twice, a threshold its members can not reach. Whether code
// members exist and can meet their own policies is for the registry to say.
func (p *Policy) Check() error {
	if len(p.Members) < 1 || len(p.Members) > MaxMembers {
		return Errorf(ErrPolicy, "a policy has 1 to %d members, not %d", MaxMembers, len(p.Members))
	}
	if p.Threshold < 1 || int(p.Threshold) > len(p.Members) {
		return Errorf(ErrPolicy, "threshold %d of %d members can not be met", p.Threshold, len(p.Members))
	}
	seen := map[string]bool{}
	for i := range p.Members {
		m := &p.Members[i]
		if m.Code.IsZero() == (len(m.Keys) == 0) {
			return Errorf(ErrPolicy, "member %d: want either keys or a code", i)
		}
		if !m.Code.IsZero() && seen[m.Code.String()] {
			return Errorf(ErrPolicy, "member %s appears twice", m.Code)
		}
		seen[m.Code.String()] = !m.Code.IsZero()
		if len(m.Keys) > MaxKeys {
			return Errorf(ErrPolicy, "member %d has %d keys: at most %d", i, len(m.Keys), MaxKeys)
		}
		for j := range m.Keys {
			if err := m.Keys[j].check(); err != nil {
				return err
			}
			if id := "key " + string(m.Keys[j].Public); seen[id] {
				return Errorf(ErrPolicy, "key %s appears twice", m.Keys[j].Public)
			} else {
				seen[id] = true
			}
		}
	}
	return nil
}

func (k *Key) check() error {
	if k.Public.Algorithm() == "" || k.Public.Algorithm() == "sm2" {
		return Errorf(ErrPolicy, "key %s: unknown algorithm", k.Public)
	}
	if k.Roles == 0 || k.Roles > allRoles {
		return Errorf(ErrPolicy, "key %s has no role", k.Public)
	}
	if k.Roles&RoleGateway != 0 && k.Roles != RoleGateway {
		return Errorf(ErrPolicy, "key %s: a gateway's key lies on a machine that faces the network, so it has no other role", k.Public)
	}
	if signs := k.Public.Signs(); signs && k.Roles&RoleEncrypt != 0 || !signs && k.Roles != RoleEncrypt {
		return Errorf(ErrPolicy, "key %s: role encrypt is for x25519 keys, all other roles for signing keys", k.Public)
	}
	if !k.From.Valid() || !k.Until.Valid() || !k.Compromised.Valid() || k.Until != 0 && k.Until <= k.From {
		return Errorf(ErrPolicy, "key %s: its end must come after its beginning", k.Public)
	}
	return nil
}

// Quorum is a policy with its code members resolved at one moment: what keys
// must sign for it to be met. Trust statements carry the apex's.
type Quorum struct {
	Threshold uint8          `cbor:"1,keyasint" json:"threshold"`
	Members   []QuorumMember `cbor:"2,keyasint" json:"members"`
}

// QuorumMember is one vote: any of Keys, or Quorum being met.
type QuorumMember struct {
	Code   Code        `cbor:"1,keyasint,omitzero" json:"code,omitzero"`
	Keys   []PublicKey `cbor:"2,keyasint,omitempty" json:"keys,omitempty"`
	Quorum *Quorum     `cbor:"3,keyasint,omitempty" json:"quorum,omitempty"`
}

// KeySet is a set of public keys.
type KeySet map[PublicKey]bool

// KeysOf returns the set of the given keys.
func KeysOf(keys ...PublicKey) KeySet {
	s := make(KeySet, len(keys))
	for _, k := range keys {
		s[k] = true
	}
	return s
}

// Met reports whether the keys reach the threshold at every level. At each
// level the votes counted come from as many different keys: a key that stands
// under two members gives one of them its vote, whichever helps. A threshold of
// two or more is not met if all that reaches it are passkeys of one relying
// party: whoever runs that web site could have asked for every signature.
func (q *Quorum) Met(keys KeySet) bool {
	_, ok := q.met(keys)
	return ok
}

// Blocked reports whether so many members reject that those left can no longer
// reach the threshold. A member rejects when the keys meet it; as in
// [Quorum.Met], no key speaks for two.
func (q *Quorum) Blocked(rejecting KeySet) bool {
	return len(q.Members)-distinctVotes(q.votes(rejecting)) < int(q.Threshold)
}

// Has reports whether key stands anywhere in the quorum.
func (q *Quorum) Has(key PublicKey) bool {
	return slices.ContainsFunc(q.Members, func(m QuorumMember) bool {
		return slices.Contains(m.Keys, key) || m.Quorum != nil && m.Quorum.Has(key)
	})
}

// vote is what met a member or a quorum: the keys that signed, and the relying
// party if they are all passkeys of that one, else "".
type vote struct {
	keys []PublicKey
	sole string
}

func (q *Quorum) met(keys KeySet) (vote, bool) {
	votes := q.votes(keys)
	if len(votes) == 0 || len(votes) < int(q.Threshold) {
		return vote{}, false
	}
	all := votes[0]
	for _, v := range votes[1:] {
		if v.sole != all.sole {
			all.sole = ""
		}
		all.keys = append(all.keys[:len(all.keys):len(all.keys)], v.keys...)
	}
	if q.Threshold >= 2 && (all.sole != "" || distinctVotes(votes) < int(q.Threshold)) {
		return vote{}, false
	}
	return all, true
}

// votes returns the votes of the members that the keys meet.
func (q *Quorum) votes(keys KeySet) []vote {
	var out []vote
	for i := range q.Members {
		if v, ok := q.Members[i].met(keys); ok {
			out = append(out, v)
		}
	}
	return out
}

func (m *QuorumMember) met(keys KeySet) (vote, bool) {
	if m.Quorum != nil {
		return m.Quorum.met(keys)
	}
	var v vote
	for _, k := range m.Keys {
		if !keys[k] {
			continue
		}
		if rp := k.RPID(); len(v.keys) == 0 {
			v.sole = rp
		} else if rp != v.sole {
			v.sole = ""
		}
		v.keys = append(v.keys, k)
	}
	return v, len(v.keys) > 0
}

// distinctVotes returns how many of the votes can be backed by a key of their
// own, no key backing two: a largest matching, found by augmenting paths.
func distinctVotes(votes []vote) int {
	backs := map[PublicKey]int{} // key -> vote it backs
	var tried KeySet
	var back func(i int) bool
	back = func(i int) bool {
		for _, k := range votes[i].keys {
			if tried[k] {
				continue
			}
			tried[k] = true
			if other, taken := backs[k]; !taken || back(other) {
				backs[k] = i
				return true
			}
		}
		return false
	}
	n := 0
	for i := range votes {
		tried = KeySet{}
		if back(i) {
			n++
		}
	}
	return n
}

// Check bounds the quorum's size and depth.
func (q *Quorum) Check() error { return q.check(0) }

func (q *Quorum) check(depth int) error {
	if depth > MaxPolicyDepth || len(q.Members) < 1 || len(q.Members) > MaxMembers || q.Threshold < 1 || int(q.Threshold) > len(q.Members) {
		return Errorf(ErrPolicy, "quorum: want 1 to %d members, a threshold they can reach, and at most %d levels", MaxMembers, MaxPolicyDepth)
	}
	for i := range q.Members {
		m := &q.Members[i]
		if len(m.Keys) > MaxKeys || m.Quorum != nil && len(m.Keys) > 0 {
			return Errorf(ErrPolicy, "quorum member %d: want at most %d keys or a quorum", i, MaxKeys)
		}
		if m.Quorum != nil {
			if err := m.Quorum.check(depth + 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// Possession proves that the holder of a key agreed to stand in a policy: a
// signature by the key over [PossessionDigest].
type Possession struct {
	Key       PublicKey `cbor:"1,keyasint" json:"key"`
	Signature Bytes     `cbor:"2,keyasint" json:"signature"`
}

// PossessionDigest is what a key signs to stand in the first policy of a code:
// SHA-256("cityid/possession/1" || CBOR [chain id, code, hash of the policy, key]).
// It names the policy so that nobody can take the proof into another one.
func PossessionDigest(chain string, code Code, policy *Policy, key PublicKey) Digest {
	return hashOf(append([]byte("cityid/possession/1"), MustMarshal([]any{chain, code, policy.Hash(), key})...))
}

// SigningKeys returns the keys of p that sign, in byte order, each of which an
// application proves to be held; none of a nil policy.
func (p *Policy) SigningKeys() []PublicKey {
	if p == nil {
		return nil
	}
	var out []PublicKey
	for i := range p.Members {
		for _, k := range p.Members[i].Keys {
			if k.Public.Signs() {
				out = append(out, k.Public)
			}
		}
	}
	slices.Sort(out)
	return out
}
