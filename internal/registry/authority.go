// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"

	"cityid"
	"cityid/keys"
)

// claim is one consent an operation needs: that of the policy which governs
// code, or, if roles are given, of one key of that policy with such a role.
// With recovery set it is the consent of the code's recovery policy.
type claim struct {
	code     cityid.Code
	roles    cityid.Roles
	recovery bool
}

// way is one set of claims that together permit an operation. Where there are
// several ways, what the operation does depends on which was taken.
type way struct {
	kind   wayKind
	claims []claim
}

type wayKind uint8

const (
	direct  wayKind = iota // takes effect at once
	delayed                // starts a delay, or completes it
)

func only(claims ...claim) []way { return []way{{direct, claims}} }

// ways is the table of who may do what: the ways in which an operation on
// records can be permitted. Anything not listed is refused. "The policy of X"
// is the one that governs X, its own or an inherited one; it acts only while X
// and all its ancestors are active.
//
//	operation        consent of
//	allocate         each item's decider (below), the owners of its schemes, its pre-approver
//	amend            the code
//	seal, unseal     the code
//	map              the code and the scheme's owner
//	attest           the source, or one of its assert or field keys
//	set-status       the parent, and for a retirement the heir and each successor;
//	                 or, to retire, the code itself (with heir and successors) after the recovery delay
//	rekey            the code; or the parent after the recovery delay (of an apex: its recovery policy after the long delay)
//	veto             a recovery: the code; with override, the parent's parent. A holder's retirement: the parent
//	set-params       the apex
//	set-validators   the apex
//
// The decider of an allocation is the parent, or the apex where the
// distribution rule says so. Applications and proposals are in proposals.go:
// bringing an application takes one intake key of the decider's policy,
// deciding it takes the same consent as the allocation. set-trust proves itself.
func (w *work) ways(op *cityid.Operation) ([]way, error) {
	switch {
	case op.Allocate != nil:
		return w.waysToAllocate(op.Allocate)
	case op.Amend != nil:
		return only(claim{code: op.Amend.Code}), nil
	case op.Seal != nil:
		return only(claim{code: op.Seal.Code}), nil
	case op.Unseal != nil:
		return only(claim{code: op.Unseal.Code}), nil
	case op.Map != nil:
		s, err := w.scheme(op.Map.Alias.Scheme)
		if err != nil {
			return nil, err
		}
		return only(ownerClaim([]claim{{code: op.Map.Code}}, s)...), nil
	case op.Attest != nil:
		source := op.Attest.Source
		return []way{{direct, []claim{{code: source, roles: cityid.RoleAssert | cityid.RoleField}}}, {direct, []claim{{code: source}}}}, nil
	case op.SetStatus != nil:
		return w.waysToSetStatus(op.SetStatus)
	case op.Rekey != nil:
		return w.waysToRekey(op.Rekey)
	case op.Veto != nil:
		return w.waysToVeto(op.Veto)
	case op.SetParams != nil, op.SetValidators != nil:
		return only(claim{code: w.apex}), nil
	}
	return nil, cityid.Errorf(cityid.ErrInvalid, "%s can not stand here", op.Name())
}

func ownerClaim(claims []claim, s *cityid.Scheme) []claim {
	if !s.Owner.IsZero() {
		claims = append(claims, claim{code: s.Owner})
	}
	return claims
}

func (w *work) waysToAllocate(op *cityid.Allocate) ([]way, error) {
	var claims []claim
	items := map[cityid.Code]bool{}
	for i := range op.Items {
		a := &op.Items[i]
		items[a.Code] = true
		parent := w.parentOf(a)
		decider := parent
		if k := w.rule.ForKind(a.Kind); k != nil && k.Apex {
			decider = w.apex
		} else if items[parent] && w.record(parent) == nil {
			// The parent is allocated by this very operation: who may allocate
			// it decides here too, unless it comes with a policy of its own.
			continue
		}
		claims = append(claims, claim{code: decider})
		if pre := w.preApprover(a); !pre.IsZero() {
			claims = append(claims, claim{code: pre})
		}
		for _, alias := range a.Aliases {
			s, err := w.scheme(alias.Scheme)
			if err != nil {
				return nil, err
			}
			claims = ownerClaim(claims, s)
		}
	}
	return only(distinct(claims)...), nil
}

func (w *work) waysToSetStatus(op *cityid.SetStatus) ([]way, error) {
	r, err := w.existing(op.Code)
	if err != nil {
		return nil, err
	}
	if r.Parent.IsZero() {
		return nil, cityid.Errorf(cityid.ErrNotPermitted, "%s is the apex of this zone: nobody above it is here to change its status", op.Code)
	}
	var consents []claim
	if !op.Heir.IsZero() {
		consents = append(consents, claim{code: op.Heir})
	}
	for _, s := range op.Successors {
		consents = append(consents, claim{code: s})
	}
	out := only(distinct(append([]claim{{code: r.Parent}}, consents...))...)
	if op.Status == cityid.StatusRetired {
		out = append(out, way{delayed, distinct(append([]claim{{code: op.Code}}, consents...))})
	}
	return out, nil
}

func (w *work) waysToRekey(op *cityid.Rekey) ([]way, error) {
	r, err := w.existing(op.Code)
	if err != nil {
		return nil, err
	}
	out := only(claim{code: op.Code})
	if r.Parent.IsZero() {
		return append(out, way{delayed, []claim{{code: op.Code, recovery: true}}}), nil
	}
	return append(out, way{delayed, []claim{{code: r.Parent}}}), nil
}

func (w *work) waysToVeto(op *cityid.Veto) ([]way, error) {
	r, err := w.existing(op.Code)
	if err != nil {
		return nil, err
	}
	x := w.waiting(op.Code)
	switch {
	case x == nil:
		return nil, cityid.Errorf(cityid.ErrNotFound, "nothing waits for %s", op.Code)
	case x.Retire != nil && !op.Override:
		return only(claim{code: r.Parent}), nil
	case x.Retire != nil:
		return nil, cityid.Errorf(cityid.ErrInvalid, "the parent's veto of a retirement can not be overridden")
	case !op.Override:
		return only(claim{code: op.Code}), nil
	}
	parent := w.record(r.Parent)
	if parent == nil || parent.Parent.IsZero() {
		return nil, cityid.Errorf(cityid.ErrNotPermitted, "%s has no ancestor above its parent that could override a veto", op.Code)
	}
	return only(claim{code: parent.Parent}), nil
}

func distinct(claims []claim) []claim {
	var out []claim
	for _, c := range claims {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// permitted returns the first way whose claims are all met by the actor's keys,
// or an error that names what is missing.
func (w *work) permitted(op *cityid.Operation, actor cityid.KeySet) (wayKind, error) {
	list, err := w.ways(op)
	if err != nil {
		return 0, err
	}
	var first error
	for _, x := range list {
		err := w.allMet(x.claims, actor)
		if err == nil {
			return x.kind, nil
		}
		if first == nil {
			first = err
		}
	}
	return 0, first
}

func (w *work) allMet(claims []claim, actor cityid.KeySet) error {
	for _, c := range claims {
		if err := w.met(c, actor); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) met(c claim, actor cityid.KeySet) error {
	q, holder, err := w.quorumOf(c)
	if err != nil {
		return err
	}
	if !q.Met(actor) {
		what := "the policy"
		if c.roles != 0 {
			what = "no key with role " + c.roles.String() + " in the policy"
		}
		return cityid.Errorf(cityid.ErrNotPermitted, "%s of %s, which decides for %s, is not met by the %d signing keys", what, holder, c.code, len(actor))
	}
	return nil
}

// quorumOf returns what meets a claim, and the code that holds the policy.
func (w *work) quorumOf(c claim) (*cityid.Quorum, cityid.Code, error) {
	if c.recovery {
		r, err := w.existing(c.code)
		if err != nil {
			return nil, c.code, err
		}
		if r.Recovery == nil {
			return nil, c.code, cityid.Errorf(cityid.ErrNotPermitted, "%s names no recovery policy", c.code)
		}
		return w.quorum(r.Recovery), c.code, nil
	}
	p, holder, err := w.governing(c.code)
	if err != nil {
		return nil, holder, err
	}
	if c.roles != 0 {
		return w.anyOf(p, c.roles), holder, nil
	}
	return w.quorum(p), holder, nil
}

// governing returns the policy that governs code and the code that holds it:
// its own, or the nearest ancestor's that has one. It fails unless the code and
// all its ancestors are active.
func (w *work) governing(code cityid.Code) (*cityid.Policy, cityid.Code, error) {
	var policy *cityid.Policy
	holder := code
	r, err := w.existing(code)
	if err != nil {
		return nil, code, err
	}
	for r != nil {
		if r.Status != cityid.StatusActive {
			return nil, r.Code, cityid.Errorf(cityid.ErrStatus, "%s is %s, so no policy at or below it acts", r.Code, r.Status)
		}
		if policy == nil && r.Policy != nil {
			policy, holder = r.Policy, r.Code
		}
		r = w.above(r)
	}
	if policy == nil {
		return nil, code, cityid.Errorf(cityid.ErrNotPermitted, "no policy governs %s", code)
	}
	return policy, holder, nil
}

// above returns the record that stands above r: its parent, or, when that is
// retired, the heir (or the heir's heir) it names. Nil for the apex.
func (w *work) above(r *cityid.Record) *cityid.Record {
	const longest = 32 // heirs of heirs; a chain that long is a mistake
	p := w.record(r.Parent)
	for n := 0; p != nil && p.Status == cityid.StatusRetired && !p.Heir.IsZero() && n < longest; n++ {
		p = w.record(p.Heir)
	}
	return p
}

// quorum resolves a policy at the block's time: control keys that count now,
// and code members by the policy that governs each. A key that stands in
// several places counts in the first alone.
func (w *work) quorum(p *cityid.Policy) *cityid.Quorum {
	return w.resolve(p, cityid.KeySet{}, 0, func(k *cityid.Key) bool {
		return k.Holds(cityid.RoleControl, w.block.Time)
	})
}

func (w *work) resolve(p *cityid.Policy, seen cityid.KeySet, depth int, counts func(*cityid.Key) bool) *cityid.Quorum {
	q := &cityid.Quorum{Threshold: p.Threshold}
	for i := range p.Members {
		m := &p.Members[i]
		out := cityid.QuorumMember{Code: m.Code}
		for j := range m.Keys {
			if k := &m.Keys[j]; counts(k) && !seen[k.Public] {
				seen[k.Public] = true
				out.Keys = append(out.Keys, k.Public)
			}
		}
		if !m.Code.IsZero() && depth < cityid.MaxPolicyDepth {
			if inner, _, err := w.governing(m.Code); err == nil {
				out.Quorum = w.resolve(inner, seen, depth+1, counts)
			}
		}
		q.Members = append(q.Members, out)
	}
	return q
}

// anyOf returns a quorum met by a single key with one of the roles, anywhere in
// the policy or the policies of its code members.
func (w *work) anyOf(p *cityid.Policy, roles cityid.Roles) *cityid.Quorum {
	q := w.resolve(p, cityid.KeySet{}, 0, func(k *cityid.Key) bool { return k.Holds(roles, w.block.Time) })
	return anyMember(q)
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
	if err := w.checkMembers(p, []cityid.Code{code}); err != nil {
		return err
	}
	lasting := cityid.KeySet{}
	q := w.resolve(p, cityid.KeySet{}, 0, func(k *cityid.Key) bool {
		ok := k.Until == 0 && k.Holds(cityid.RoleControl, w.block.Time)
		if ok {
			lasting[k.Public] = true
		}
		return ok
	})
	if !q.Met(lasting) {
		return cityid.Errorf(cityid.ErrPolicy, "the control keys that have no end can not meet the threshold of %d (passkeys of a single site can not meet one of two or more)", p.Threshold)
	}
	return nil
}

func (w *work) checkMembers(p *cityid.Policy, path []cityid.Code) error {
	for i := range p.Members {
		c := p.Members[i].Code
		if c.IsZero() {
			continue
		}
		if slices.Contains(path, c) {
			return cityid.Errorf(cityid.ErrPolicy, "member %s leads back to itself", c)
		}
		if len(path) > cityid.MaxPolicyDepth {
			return cityid.Errorf(cityid.ErrPolicy, "member %s: codes may stand as members of one another %d deep", c, cityid.MaxPolicyDepth)
		}
		if _, err := w.existing(c); err != nil {
			return cityid.Errorf(cityid.ErrPolicy, "member %s is not allocated", c)
		}
		inner, holder, err := w.governing(c)
		if err != nil {
			return cityid.Errorf(cityid.ErrPolicy, "member %s: %v", c, err)
		}
		if slices.Contains(path, holder) {
			return cityid.Errorf(cityid.ErrPolicy, "member %s is governed by %s, which leads back to itself", c, holder)
		}
		if err := w.checkMembers(inner, append(slices.Clone(path), holder)); err != nil {
			return err
		}
	}
	return nil
}
