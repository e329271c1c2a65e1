// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"

	"cityid"
	"cityid/keys"
)

// maxResolved bounds what one code, standing as a member of a policy, may bring
// with it: its policy's members and keys and those of the codes below them. It
// keeps small the work of deciding anything, and it is counted for each member
// apart, so that no member can make the others' votes too dear to count.
const maxResolved = 300

// resolver turns policies into quorums at the block's time. Code members stand
// for the policy that governs each; one that is not active, leads back to a code
// it came from, nests too deeply or brings more than maxResolved has no vote.
type resolver struct {
	*work
	counts func(*cityid.Key) bool // which keys count
	left   int                    // of maxResolved
}

// policy resolves p. path names the codes whose policies led here.
func (r *resolver) policy(p *cityid.Policy, path []cityid.Code) *cityid.Quorum {
	q := &cityid.Quorum{Threshold: p.Threshold, Members: make([]cityid.QuorumMember, 0, len(p.Members))}
	for i := range p.Members {
		m := &p.Members[i]
		out := cityid.QuorumMember{Code: m.Code}
		if len(path) == 1 {
			r.left = maxResolved
		}
		r.left -= 1 + len(m.Keys)
		for j := range m.Keys {
			if k := &m.Keys[j]; r.counts(k) {
				out.Keys = append(out.Keys, k.Public)
			}
		}
		if !m.Code.IsZero() && len(path) <= cityid.MaxPolicyDepth && r.left > 0 {
			if inner, holder, err := r.governing(m.Code); err == nil && !slices.Contains(path, holder) {
				out.Quorum = r.policy(inner, append(path[:len(path):len(path)], holder))
			}
		}
		if len(path) == 1 && r.left < 0 && !m.Code.IsZero() {
			out.Quorum = nil
		}
		q.Members = append(q.Members, out)
	}
	return q
}

// quorum resolves the policy p of holder: the control keys that count now.
func (w *work) quorum(p *cityid.Policy, holder cityid.Code) *cityid.Quorum {
	r := resolver{work: w, counts: func(k *cityid.Key) bool { return k.Holds(cityid.RoleControl, w.block.Time) }}
	return r.policy(p, []cityid.Code{holder})
}

// anyOf returns a quorum met by a single key with one of the roles, anywhere in
// the policy or the policies of its code members.
func (w *work) anyOf(p *cityid.Policy, holder cityid.Code, roles cityid.Roles) *cityid.Quorum {
	r := resolver{work: w, counts: func(k *cityid.Key) bool { return k.Holds(roles, w.block.Time) }}
	return anyMember(r.policy(p, []cityid.Code{holder}))
}

func anyMember(q *cityid.Quorum) *cityid.Quorum {
	q.Threshold = 1
	for i := range q.Members {
		if q.Members[i].Quorum != nil {
			anyMember(q.Members[i].Quorum)
		}
	}
	return q
}

// checkPolicy refuses a policy for code that is malformed, names codes that do
// not exist or lead back to the code, nests too deeply, or can not be met by
// the control keys that have no end.
func (w *work) checkPolicy(p *cityid.Policy, code cityid.Code) error {
	if err := p.Check(); err != nil {
		return err
	}
	for i := range p.Members {
		for _, k := range p.Members[i].Keys {
			if _, err := keys.ParsePublic([]byte(k.Public)); err != nil {
				return cityid.Errorf(cityid.ErrPolicy, "key %s: %v", k.Public, err)
			}
		}
	}
	if err := w.checkMembers(p, code); err != nil {
		return err
	}
	lasting := cityid.KeySet{}
	r := resolver{work: w, counts: func(k *cityid.Key) bool {
		ok := k.Until == 0 && k.Compromised == 0 && k.Holds(cityid.RoleControl, w.block.Time)
		if ok {
			lasting[k.Public] = true
		}
		return ok
	}}
	if !r.policy(p, []cityid.Code{code}).Met(lasting) {
		return cityid.Errorf(cityid.ErrPolicy, "the control keys that have no end can not meet the threshold of %d (passkeys of a single site can not meet one of two or more)", p.Threshold)
	}
	return nil
}

// checkMembers walks the codes that stand behind the members of code's policy
// p, refusing the first that no vote could come from.
func (w *work) checkMembers(p *cityid.Policy, code cityid.Code) error {
	for i := range p.Members {
		left := maxResolved
		if err := w.checkMember(p.Members[i].Code, []cityid.Code{code}, &left); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) checkMember(c cityid.Code, path []cityid.Code, left *int) error {
	if c.IsZero() {
		return nil
	}
	if slices.Contains(path, c) {
		return cityid.Errorf(cityid.ErrPolicy, "member %s leads back to itself", c)
	}
	if len(path) > cityid.MaxPolicyDepth {
		return cityid.Errorf(cityid.ErrPolicy, "member %s: codes may stand as members of one another %d deep", c, cityid.MaxPolicyDepth)
	}
	inner, holder, err := w.governing(c)
	if err != nil {
		return cityid.Errorf(cityid.ErrPolicy, "member %s: %s", c, because(err))
	}
	if slices.Contains(path, holder) {
		return cityid.Errorf(cityid.ErrPolicy, "member %s is governed by %s, which leads back to itself", c, holder)
	}
	path = append(path[:len(path):len(path)], holder)
	for i := range inner.Members {
		if *left -= 1 + len(inner.Members[i].Keys); *left < 0 {
			return cityid.Errorf(cityid.ErrPolicy, "member %s brings more than %d members and keys", c, maxResolved)
		}
		if err := w.checkMember(inner.Members[i].Code, path, left); err != nil {
			return err
		}
	}
	return nil
}
