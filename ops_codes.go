// SPDX-License-Identifier: Apache-2.0

package cityid

// Codes returns the codes an operation names, each once, in the order in which
// its fields name them: the one it is about comes first. These include parents,
// heirs and successors, members of policies, owners of schemes and validators,
// and whatever the operations of a proposal name. Codes that it concerns without
// naming them, such as those of a proposal it approves, are not among them.
func (o *Operation) Codes() []Code {
	var l codeList
	l.operation(o)
	return l.codes
}

// Proposal returns the number of the proposal an operation is about, or 0. One
// that makes a proposal has no number for it yet; see [Receipt.Proposals].
func (o *Operation) Proposal() uint64 {
	switch {
	case o.Revise != nil:
		return o.Revise.Proposal
	case o.Return != nil:
		return o.Return.Proposal
	case o.Approve != nil:
		return o.Approve.Proposal
	case o.Reject != nil:
		return o.Reject.Proposal
	case o.Withdraw != nil:
		return o.Withdraw.Proposal
	}
	return 0
}

// codeList collects codes.
type codeList struct {
	codes []Code
	seen  map[Code]bool
}

func (l *codeList) add(codes ...Code) {
	for _, c := range codes {
		if c.IsZero() || l.seen[c] {
			continue
		}
		if l.seen == nil {
			l.seen = make(map[Code]bool)
		}
		l.seen[c] = true
		l.codes = append(l.codes, c)
	}
}

func (l *codeList) operation(o *Operation) {
	switch {
	case o.Apply != nil:
		l.allocation(&o.Apply.Allocation)
	case o.Revise != nil:
		if o.Revise.Apply != nil {
			l.allocation(&o.Revise.Apply.Allocation)
		}
		l.operations(o.Revise.Operations)
	case o.Propose != nil:
		l.operations(o.Propose.Operations)
	case o.Withdraw != nil:
		l.add(o.Withdraw.Source)
	case o.Allocate != nil:
		for i := range o.Allocate.Items {
			l.allocation(&o.Allocate.Items[i])
		}
	case o.Amend != nil:
		l.add(o.Amend.Code)
	case o.SetStatus != nil:
		l.add(o.SetStatus.Code, o.SetStatus.Heir)
		l.add(o.SetStatus.Successors...)
	case o.Rekey != nil:
		l.add(o.Rekey.Code)
		l.policy(o.Rekey.Policy)
		l.policy(o.Rekey.Recovery)
	case o.AgreementRequest != nil:
		l.add(o.AgreementRequest.Terms.Dataset, o.AgreementRequest.Terms.Consumer)
	case o.AgreementGrant != nil:
		l.add(o.AgreementGrant.Dataset)
	case o.AgreementRefuse != nil:
		l.add(o.AgreementRefuse.Dataset)
	case o.AgreementRevoke != nil:
		l.add(o.AgreementRevoke.Dataset)
	case o.AnchorReceipts != nil:
		l.add(o.AnchorReceipts.Party)
	case o.Veto != nil:
		l.add(o.Veto.Code)
	case o.Map != nil:
		l.add(o.Map.Code)
	case o.Attest != nil:
		l.add(o.Attest.Source)
	case o.Seal != nil:
		l.add(o.Seal.Code)
	case o.Unseal != nil:
		l.add(o.Unseal.Code)
	case o.SetParams != nil:
		for i := range o.SetParams.Schemes {
			l.add(o.SetParams.Schemes[i].Owner)
		}
	case o.SetValidators != nil:
		for i := range o.SetValidators.Validators {
			l.add(o.SetValidators.Validators[i].Owner)
		}
	case o.Delegate != nil:
		l.add(o.Delegate.Code)
	case o.Checkpoint != nil:
		l.add(o.Checkpoint.Zone)
	case o.ReportFork != nil:
		l.add(o.ReportFork.Zone)
	case o.Unfreeze != nil:
		l.add(o.Unfreeze.Zone)
	case o.SetTrust != nil:
		l.add(o.SetTrust.Trust.Statement.Zone)
		l.quorum(&o.SetTrust.Trust.Statement.Quorum)
	}
}

func (l *codeList) operations(ops []Operation) {
	for i := range ops {
		l.operation(&ops[i])
	}
}

func (l *codeList) allocation(a *Allocation) {
	l.add(a.Code, a.Parent)
	l.policy(a.Policy)
	l.policy(a.Recovery)
}

func (l *codeList) policy(p *Policy) {
	if p == nil {
		return
	}
	for i := range p.Members {
		l.add(p.Members[i].Code)
	}
}

func (l *codeList) quorum(q *Quorum) {
	for i := range q.Members {
		m := &q.Members[i]
		l.add(m.Code)
		if m.Quorum != nil {
			l.quorum(m.Quorum)
		}
	}
}
