// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"

	"cityid"
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
// and all above it are active. "The parent" is what stands above a code: its
// parent, or the heir of a retired one.
//
//	operation        consent of
//	allocate         each item's decider (below), the owners of its schemes, its pre-approver
//	amend            the code
//	seal, unseal     the code
//	map              the code and the scheme's owner
//	attest           the source, or one of its assert or field keys
//	agreement-request           the consumer
//	agreement-grant, -refuse    the dataset
//	agreement-revoke            the dataset, or the consumer; of a request, the consumer
//	anchor-receipts  the party, or one of its gateway keys
//	set-status       the parent, and for a retirement the heir and each successor;
//	                 or, to retire, the code itself (with successors, and the heir unless that is
//	                 the parent, which can veto) after the recovery delay
//	rekey            the code; or the parent after the recovery delay (of an apex: its recovery policy
//	                 after the long delay). To replace a recovery policy takes that policy and the apex's
//	veto             a recovery: the code; with override, the parent's parent. A holder's retirement: the parent
//	delegate         the parent and the code; where only endpoints change, the code
//	unfreeze         the parent and the code
//	set-params       the apex
//	set-validators   the apex
//	set-upgrade      the apex
//
// The decider of an allocation is the parent, or the apex where the
// distribution rule says so. Applications and proposals are in proposals.go:
// bringing an application takes one intake key of the decider's policy,
// deciding it takes the same consent as the allocation. set-trust proves itself,
// and so do checkpoint, report-fork and follow (after the trusting period follow
// takes the consent of the apex besides).
//
// Of a code that is delegated, only rekey, veto, set-status, map, delegate and
// unfreeze are done here, and of what its zone has nothing. Of an apex with a
// zone above, these are done there.
func (w *work) ways(op *cityid.Operation) ([]way, error) {
	if err := w.decidedHere(op); err != nil {
		return nil, err
	}
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
	case op.AgreementRequest != nil:
		return only(claim{code: op.AgreementRequest.Terms.Consumer}), nil
	case op.AgreementGrant != nil:
		return only(claim{code: op.AgreementGrant.Dataset}), nil
	case op.AgreementRefuse != nil:
		return only(claim{code: op.AgreementRefuse.Dataset}), nil
	case op.AgreementRevoke != nil:
		return w.waysToRevoke(op.AgreementRevoke)
	case op.AnchorReceipts != nil:
		party := op.AnchorReceipts.Party
		return []way{{direct, []claim{{code: party, roles: cityid.RoleGateway}}}, {direct, []claim{{code: party}}}}, nil
	case op.SetStatus != nil:
		return w.waysToSetStatus(op.SetStatus)
	case op.Rekey != nil:
		return w.waysToRekey(op.Rekey)
	case op.Veto != nil:
		return w.waysToVeto(op.Veto)
	case op.Delegate != nil:
		return w.waysToDelegate(op.Delegate.Code, op.Delegate.Checkpoint == nil)
	case op.Unfreeze != nil:
		return w.waysToDelegate(op.Unfreeze.Zone, false)
	case op.SetParams != nil, op.SetValidators != nil, op.SetUpgrade != nil:
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
	var items map[cityid.Code]bool // the codes of those before, once one is asked for
	for i := range op.Items {
		a := &op.Items[i]
		parent := w.parentOf(a)
		// Where the parent is allocated by this very operation, who may allocate
		// it decides here too.
		born := w.record(parent) == nil
		if born && items == nil {
			items = map[cityid.Code]bool{}
			for j := range i {
				items[op.Items[j].Code] = true
			}
		}
		born = born && items[parent]
		if items != nil {
			items[a.Code] = true
		}
		if k := w.rule.ForKind(a.Kind); k != nil && k.Apex {
			claims = append(claims, claim{code: w.apex})
		} else if !born {
			claims = append(claims, claim{code: parent})
		}
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
		claims = distinct(claims)
	}
	return only(claims...), nil
}

func (w *work) waysToSetStatus(op *cityid.SetStatus) ([]way, error) {
	r, err := w.existing(op.Code)
	if err != nil {
		return nil, err
	}
	parent := w.above(r)
	if parent == nil {
		return nil, cityid.Errorf(cityid.ErrNotPermitted, "%s is the apex of this zone: nobody above it is here to change its status", op.Code)
	}
	byParent, byHolder := []claim{{code: parent.Code}}, []claim{{code: op.Code}}
	if !op.Heir.IsZero() {
		byParent = append(byParent, claim{code: op.Heir})
		if op.Heir != parent.Code {
			byHolder = append(byHolder, claim{code: op.Heir})
		}
	}
	for _, s := range op.Successors {
		byParent, byHolder = append(byParent, claim{code: s}), append(byHolder, claim{code: s})
	}
	out := only(distinct(byParent)...)
	if op.Status == cityid.StatusRetired {
		out = append(out, way{delayed, distinct(byHolder)})
	}
	return out, nil
}

func (w *work) waysToRekey(op *cityid.Rekey) ([]way, error) {
	r, err := w.existing(op.Code)
	if err != nil {
		return nil, err
	}
	parent := w.above(r)
	if parent != nil {
		return append(only(claim{code: op.Code}), way{delayed, []claim{{code: parent.Code}}}), nil
	}
	byRecovery := claim{code: op.Code, recovery: true}
	out := only(claim{code: op.Code})
	if op.Recovery != nil && r.Recovery != nil {
		// Else whoever steals the apex's keys could end its recovery as well.
		out = only(claim{code: op.Code}, byRecovery)
	}
	return append(out, way{delayed, []claim{byRecovery}}), nil
}

func (w *work) waysToVeto(op *cityid.Veto) ([]way, error) {
	r, err := w.existing(op.Code)
	if err != nil {
		return nil, err
	}
	x, parent := w.waiting(op.Code), w.above(r)
	switch {
	case x == nil:
		return nil, cityid.Errorf(cityid.ErrNotFound, "nothing waits for %s", op.Code)
	case x.Retire != nil && !op.Override:
		return only(claim{code: parent.Code}), nil
	case x.Retire != nil:
		return nil, cityid.Errorf(cityid.ErrInvalid, "the parent's veto of a retirement can not be overridden")
	case !op.Override:
		return only(claim{code: op.Code}), nil
	}
	if parent != nil {
		if next := w.above(parent); next != nil {
			return only(claim{code: next.Code}), nil
		}
	}
	return nil, cityid.Errorf(cityid.ErrNotPermitted, "%s has nobody above its parent that could override a veto", op.Code)
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
		what := "the policy of"
		if c.roles != 0 {
			what = "the need for a key with role " + c.roles.String() + " of"
		} else if c.recovery {
			what = "the recovery policy of"
		}
		if holder != c.code {
			return cityid.Errorf(cityid.ErrNotPermitted, "%s %s, which governs %s, is not met by the keys that signed", what, holder, c.code)
		}
		return cityid.Errorf(cityid.ErrNotPermitted, "%s %s is not met by the keys that signed", what, holder)
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
		return w.quorum(r.Recovery, c.code), c.code, nil
	}
	p, holder, err := w.governing(c.code)
	if err != nil {
		return nil, holder, err
	}
	key := claim{code: holder, roles: c.roles}
	q := w.quorums[key]
	if q == nil {
		if c.roles != 0 {
			q = w.anyOf(p, holder, c.roles)
		} else {
			q = w.quorum(p, holder)
		}
		w.quorums[key] = q
	}
	return q, holder, nil
}
