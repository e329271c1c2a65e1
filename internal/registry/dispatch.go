// SPDX-License-Identifier: Apache-2.0

package registry

import "cityid"

// operation permits and carries out one operation of a transaction.
func (w *work) operation(op *cityid.Operation, actor cityid.KeySet, signers []cityid.PublicKey) error {
	switch {
	case op.Apply != nil:
		return w.apply(op.Apply, actor, signers)
	case op.Revise != nil:
		return w.revise(op.Revise, actor)
	case op.Return != nil:
		return w.giveBack(op.Return, signers)
	case op.Propose != nil:
		return w.propose(op.Propose, signers)
	case op.Approve != nil:
		return w.approve(op.Approve, signers)
	case op.Reject != nil:
		return w.reject(op.Reject, signers)
	case op.Withdraw != nil:
		return w.withdraw(op.Withdraw, actor)
	case op.SetTrust != nil:
		return w.setTrust(op.SetTrust)
	case op.Checkpoint != nil:
		return w.checkpoint(op.Checkpoint)
	case op.ReportFork != nil:
		return w.reportFork(op.ReportFork)
	case op.Follow != nil:
		return w.follow(op.Follow, actor)
	}
	how, err := w.permitted(op, actor)
	if err != nil {
		return err
	}
	return w.carryOut(op, how, actor, signers)
}

// carryOut does what an operation says, once it is permitted.
func (w *work) carryOut(op *cityid.Operation, how wayKind, actor cityid.KeySet, signers []cityid.PublicKey) error {
	switch {
	case op.Allocate != nil:
		if err := w.allocate(op.Allocate); err != nil {
			return err
		}
		return w.closeContests(op.Allocate.Items)
	case op.Amend != nil:
		return w.amend(op.Amend)
	case op.SetStatus != nil:
		return w.setStatus(op.SetStatus, how)
	case op.Rekey != nil:
		return w.rekey(op.Rekey, how)
	case op.Veto != nil:
		return w.veto(op.Veto)
	case op.Map != nil:
		return w.mapAlias(op.Map)
	case op.Attest != nil:
		return w.attest(op.Attest, actor, signers)
	case op.AgreementRequest != nil:
		return w.requestAgreement(op.AgreementRequest)
	case op.AgreementGrant != nil:
		return w.decideAgreement(op.AgreementGrant, cityid.AgreementGranted)
	case op.AgreementRefuse != nil:
		return w.decideAgreement(op.AgreementRefuse, cityid.AgreementRefused)
	case op.AgreementRevoke != nil:
		return w.revokeAgreement(op.AgreementRevoke, actor)
	case op.AnchorReceipts != nil:
		return w.anchorReceipts(op.AnchorReceipts, actor, signers)
	case op.Seal != nil:
		return w.seal(op.Seal)
	case op.Unseal != nil:
		return w.unseal(op.Unseal)
	case op.SetParams != nil:
		return w.setParams(op.SetParams)
	case op.SetValidators != nil:
		return w.setValidators(op.SetValidators)
	case op.SetUpgrade != nil:
		return w.setUpgrade(op.SetUpgrade)
	case op.Delegate != nil:
		return w.delegate(op.Delegate)
	case op.Unfreeze != nil:
		return w.unfreeze(op.Unfreeze)
	}
	return cityid.Errorf(cityid.ErrUnsupported, "%s is not applied by this version", op.Name())
}
