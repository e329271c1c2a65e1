// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"slices"

	"cityid"
)

// A proposal is operations that wait. What it still needs is found by trying:
// its operations are carried out, one after the other, on a copy that is thrown
// away, and the ways in which each is permitted are noted as the table in
// authority.go gives them. So a proposal may allocate a code and then something
// below it.
//
// Approvals are keys. They are counted anew, under the policies as they are,
// each time one is added: a key that has left its policy no longer counts. They
// fall away altogether when the content, the revision of a record concerned, or
// a deciding policy changes, because the digest an approval names covers all
// three. A key's latest vote is the one that counts.

// assessment is what trying a proposal showed.
type assessment struct {
	ops      []opWays
	targets  []cityid.Target
	policies cityid.Digest
	failed   error // why it can not be carried out as it is
}

type opWays struct {
	ways    []way
	quorums [][]*cityid.Quorum // of each claim of each way; nil where the policy does not act
	holders [][]cityid.Code
}

// maxTried bounds the operations a transaction may try for proposals. Trying
// costs as much as carrying out, and a few octets ask for it.
const maxTried = 4 * cityid.MaxOperations

// assess tries the operations with every consent granted.
func (w *work) assess(ops []cityid.Operation) (*assessment, error) {
	for i := range ops {
		w.tried += ops[i].Weight()
	}
	if w.tried > maxTried {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the transaction concerns proposals of more than %d operations together: split it", maxTried)
	}
	a := &assessment{}
	try := w.fork()
	var policies []any
	for i := range ops {
		list, err := try.ways(&ops[i])
		if err != nil {
			a.failed = atOperation(err, i)
			break
		}
		o := opWays{ways: list}
		for _, x := range list {
			var qs []*cityid.Quorum
			var hs []cityid.Code
			for _, c := range x.claims {
				q, holder, err := try.quorumOf(c)
				if err != nil {
					q = nil
				}
				qs, hs = append(qs, q), append(hs, holder)
				policies = append(policies, []any{c.code, holder, try.policyHash(c, holder)})
			}
			o.quorums, o.holders = append(o.quorums, qs), append(o.holders, hs)
		}
		a.ops = append(a.ops, o)
		a.targets = append(a.targets, w.targetsOf(&ops[i])...)
		if err := try.carryOut(&ops[i], list[0].kind, nil, nil); err != nil {
			a.failed = atOperation(err, i)
			break
		}
	}
	slices.SortFunc(a.targets, func(x, y cityid.Target) int { return x.Code.Compare(y.Code) })
	a.targets = slices.CompactFunc(a.targets, func(x, y cityid.Target) bool { return x.Code == y.Code })
	a.policies = sha256.Sum256(cityid.MustMarshal(policies))
	return a, nil
}

func (w *work) policyHash(c claim, holder cityid.Code) cityid.Digest {
	r := w.record(holder)
	switch {
	case r == nil:
		return cityid.Digest{}
	case c.recovery:
		return r.Recovery.Hash()
	}
	return r.Policy.Hash()
}

// targetsOf lists the records an operation changes, as they are now.
func (w *work) targetsOf(op *cityid.Operation) []cityid.Target {
	target := func(c cityid.Code) cityid.Target {
		t := cityid.Target{Code: c}
		if r := w.record(c); r != nil {
			t.Revision = r.Revision
		}
		return t
	}
	switch {
	case op.Allocate != nil:
		var out []cityid.Target
		for i := range op.Allocate.Items {
			out = append(out, target(op.Allocate.Items[i].Code))
		}
		return out
	case op.Amend != nil:
		return []cityid.Target{target(op.Amend.Code)}
	case op.SetStatus != nil:
		return []cityid.Target{target(op.SetStatus.Code)}
	case op.Rekey != nil:
		return []cityid.Target{target(op.Rekey.Code)}
	case op.Veto != nil:
		return []cityid.Target{target(op.Veto.Code)}
	case op.Map != nil:
		return []cityid.Target{target(op.Map.Code)}
	case op.Seal != nil:
		return []cityid.Target{target(op.Seal.Code)}
	case op.Unseal != nil:
		return []cityid.Target{target(op.Unseal.Code)}
	case op.Attest != nil:
		return []cityid.Target{target(op.Attest.Source)}
	case op.AgreementRequest != nil:
		return []cityid.Target{target(op.AgreementRequest.Terms.Dataset), target(op.AgreementRequest.Terms.Consumer)}
	case op.AgreementGrant != nil:
		return []cityid.Target{target(op.AgreementGrant.Dataset)}
	case op.AgreementRefuse != nil:
		return []cityid.Target{target(op.AgreementRefuse.Dataset)}
	case op.AgreementRevoke != nil:
		return []cityid.Target{target(op.AgreementRevoke.Dataset)}
	case op.AnchorReceipts != nil:
		return []cityid.Target{target(op.AnchorReceipts.Party)}
	case op.Delegate != nil:
		return []cityid.Target{target(op.Delegate.Code)}
	case op.Unfreeze != nil:
		return []cityid.Target{target(op.Unfreeze.Zone)}
	}
	return nil
}

// met reports whether the keys permit every operation in some way.
func (a *assessment) met(keys cityid.KeySet) bool {
	for _, o := range a.ops {
		if !slices.ContainsFunc(o.quorums, func(qs []*cityid.Quorum) bool {
			return !slices.ContainsFunc(qs, func(q *cityid.Quorum) bool { return q == nil || !q.Met(keys) })
		}) {
			return false
		}
	}
	return a.failed == nil
}

// blocked reports whether some operation can no longer be permitted: all the
// ways are blocked in which those who approve have a voice, or all there are if
// nobody approves yet.
func (a *assessment) blocked(approving, rejecting cityid.KeySet) bool {
	return slices.ContainsFunc(a.ops, func(o opWays) bool {
		taken := slices.DeleteFunc(slices.Clone(o.quorums), func(qs []*cityid.Quorum) bool { return !haveVoice(qs, approving) })
		if len(taken) == 0 {
			taken = o.quorums
		}
		return !slices.ContainsFunc(taken, func(qs []*cityid.Quorum) bool {
			return !slices.ContainsFunc(qs, func(q *cityid.Quorum) bool { return q != nil && q.Blocked(rejecting) })
		})
	})
}

// haveVoice reports whether some of the keys stand in some of the quorums.
func haveVoice(qs []*cityid.Quorum, keys cityid.KeySet) bool {
	voices := cityid.KeySet{}
	for _, q := range qs {
		addKeys(voices, q)
	}
	for k := range keys {
		if voices[k] {
			return true
		}
	}
	return false
}

// concerns returns those of the keys that have a voice in some policy.
func (a *assessment) concerns(keys []cityid.PublicKey) []cityid.PublicKey {
	voices := cityid.KeySet{}
	for _, o := range a.ops {
		for _, qs := range o.quorums {
			for _, q := range qs {
				addKeys(voices, q)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k cityid.PublicKey) bool { return !voices[k] })
}

func addKeys(into cityid.KeySet, q *cityid.Quorum) {
	if q == nil {
		return
	}
	for i := range q.Members {
		for _, k := range q.Members[i].Keys {
			into[k] = true
		}
		addKeys(into, q.Members[i].Quorum)
	}
}

func keysOf(votes []cityid.Vote) cityid.KeySet {
	s := make(cityid.KeySet, len(votes))
	for _, v := range votes {
		s[v.Key] = true
	}
	return s
}

// propose puts operations before the policies they need. Somebody with a voice
// there proposes, and approves by doing so.
func (w *work) propose(op *cityid.Propose, signers []cityid.PublicKey) error {
	if err := checkProposable(op.Operations); err != nil {
		return err
	}
	if err := checkNote(op.Note); err != nil {
		return err
	}
	longest := w.block.Time + cityid.Time(w.params.ProposalLifetime)
	expires := op.Expires
	if expires == 0 {
		expires = longest
	}
	if expires <= w.block.Time || expires > longest {
		return cityid.Errorf(cityid.ErrExpired, "a proposal expires within %d seconds from now", w.params.ProposalLifetime)
	}
	x, err := w.assess(op.Operations)
	if err != nil {
		return err
	}
	if x.failed != nil {
		return x.failed
	}
	voices := x.concerns(signers)
	if len(voices) == 0 {
		return cityid.Errorf(cityid.ErrNotPermitted, "none of the signing keys has a voice in what the operations need")
	}
	p := &cityid.Proposal{Operations: op.Operations, Expires: expires, Proposer: signers, Note: op.Note}
	for _, k := range voices {
		p.Approvals = append(p.Approvals, cityid.Vote{Key: k, Time: w.block.Time})
	}
	w.number(p, x)
	return w.conclude(p, x)
}

func checkProposable(ops []cityid.Operation) error {
	if len(ops) == 0 {
		return cityid.Errorf(cityid.ErrMalformed, "a proposal contains no operations")
	}
	weight := 0
	for i := range ops {
		o := &ops[i]
		weight += o.Weight()
		if o.Name() == "" || o.Apply != nil || o.Revise != nil || o.Return != nil || o.Propose != nil || o.Approve != nil || o.Reject != nil || o.Withdraw != nil || provesItself(o) {
			return cityid.Errorf(cityid.ErrInvalid, "place %d of the proposal: want one operation on records, parameters or validators", i)
		}
	}
	if weight > cityid.MaxOperations {
		return cityid.Errorf(cityid.ErrTooLarge, "%d operations: at most %d", weight, cityid.MaxOperations)
	}
	return nil
}

// provesItself reports whether an operation needs nobody's consent, so that it has
// no place in a proposal.
func provesItself(o *cityid.Operation) bool {
	return o.SetTrust != nil || o.Checkpoint != nil || o.ReportFork != nil || o.Follow != nil
}

// number makes p a new proposal.
func (w *work) number(p *cityid.Proposal, x *assessment) {
	c := w.counters()
	c.Proposals++
	w.set(cityid.CountersKey, &c)
	p.Number, p.Revision, p.State = c.Proposals, 1, cityid.ProposalPending
	p.Created, p.Edited = w.block.Time, w.block.Time
	p.Targets, p.Policies = x.targets, x.policies
	w.proposals = append(w.proposals, p.Number)
}

// maxProposal bounds an encoded proposal in octets: a whole transaction.
const maxProposal = cityid.MaxTx + 64<<10

func (w *work) save(p *cityid.Proposal) error {
	b := cityid.MustMarshal(p)
	if len(b) > maxProposal {
		return cityid.Errorf(cityid.ErrTooLarge, "a proposal of %d octets: at most %d", len(b), maxProposal)
	}
	w.write(cityid.ProposalKey(p.Number), b)
	return nil
}

func (w *work) proposal(number uint64) (*cityid.Proposal, error) {
	var p cityid.Proposal
	if !w.load(cityid.ProposalKey(number), &p) {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no proposal %d", number)
	}
	return &p, nil
}

func (w *work) openProposal(number uint64) (*cityid.Proposal, error) {
	p, err := w.proposal(number)
	if err != nil {
		return nil, err
	}
	if s := p.StateAt(w.block.Time); !s.Open() {
		return nil, cityid.Errorf(cityid.ErrClosed, "proposal %d is %s", number, s)
	}
	return p, nil
}

type proposalView struct {
	*cityid.Proposal
	*assessment
}

// refresh brings a proposal up to the present: if a record it concerns or a
// deciding policy has changed, its approvals and rejections are void.
func (v *proposalView) refresh() {
	if v.Policies == v.policies && slices.Equal(v.Targets, v.targets) {
		return
	}
	v.Policies, v.Targets = v.policies, v.targets
	v.Approvals, v.Rejections = nil, nil
}

// seen returns the proposal for a vote that names digest, brought up to the
// present.
func (w *work) seen(number uint64, digest cityid.Digest) (*proposalView, error) {
	p, err := w.openProposal(number)
	if err != nil {
		return nil, err
	}
	x, err := w.assess(p.Operations)
	if err != nil {
		return nil, err
	}
	v := &proposalView{p, x}
	v.refresh()
	if now := p.Digest(); now != digest {
		return nil, cityid.Errorf(cityid.ErrStale, "proposal %d is no longer what digest %s names: look at it again, its digest is now %s", number, digest, now)
	}
	return v, nil
}

// approve adds the signers to the approvals and carries the proposal out once
// they suffice.
func (w *work) approve(op *cityid.Approve, signers []cityid.PublicKey) error {
	v, err := w.seen(op.Proposal, op.Digest)
	if err != nil {
		return err
	}
	if v.failed != nil {
		return cityid.Errorf(cityid.CodeOf(v.failed), "proposal %d can not be carried out as it is: %v", op.Proposal, v.failed)
	}
	if err := w.vote(v, &v.Approvals, &v.Rejections, signers, ""); err != nil {
		return err
	}
	v.State = cityid.ProposalPending
	return w.conclude(v.Proposal, v.assessment)
}

// vote adds those signers that have a voice and have not voted so, and takes
// their votes to the contrary away.
func (w *work) vote(v *proposalView, votes, contrary *[]cityid.Vote, signers []cityid.PublicKey, note string) error {
	voices := v.concerns(signers)
	if len(voices) == 0 {
		return cityid.Errorf(cityid.ErrNotPermitted, "none of the signing keys has a voice in proposal %d", v.Number)
	}
	before := len(*votes)
	had := keysOf(*votes)
	for _, k := range voices {
		if !had[k] {
			*votes = append(*votes, cityid.Vote{Key: k, Time: w.block.Time, Note: note})
		}
	}
	if len(*votes) == before {
		return cityid.Errorf(cityid.ErrExists, "the signing keys have voted so on proposal %d already", v.Number)
	}
	*contrary = slices.DeleteFunc(*contrary, func(x cityid.Vote) bool { return slices.Contains(voices, x.Key) })
	return nil
}

// conclude carries a proposal out if its approvals suffice, and stores it.
func (w *work) conclude(p *cityid.Proposal, x *assessment) error {
	approving := keysOf(p.Approvals)
	if !x.met(approving) {
		return w.save(p)
	}
	if err := w.end(p, cityid.ProposalExecuted); err != nil {
		return err
	}
	if !w.block.rules().has(p.Operations) {
		return cityid.Errorf(cityid.ErrUnsupported, "proposal %d: the rules in force no longer have one of its operations", p.Number)
	}
	var approvers []cityid.PublicKey
	for _, v := range p.Approvals {
		approvers = append(approvers, v.Key)
	}
	for i := range p.Operations {
		how, err := w.permitted(&p.Operations[i], approving)
		if err != nil {
			return err
		}
		if err := w.carryOut(&p.Operations[i], how, approving, approvers); err != nil {
			return cityid.Errorf(cityid.CodeOf(err), "proposal %d: %v", p.Number, atOperation(err, i))
		}
	}
	return nil
}

// reject adds the signers to the rejections and closes the proposal once those
// left can no longer approve it.
func (w *work) reject(op *cityid.Reject, signers []cityid.PublicKey) error {
	if err := cityid.CheckText("reason", op.Note, true); err != nil {
		return err
	}
	v, err := w.seen(op.Proposal, op.Digest)
	if err != nil {
		return err
	}
	if err := w.vote(v, &v.Rejections, &v.Approvals, signers, op.Note); err != nil {
		return err
	}
	if v.blocked(keysOf(v.Approvals), keysOf(v.Rejections)) {
		v.Note = op.Note
		return w.end(v.Proposal, cityid.ProposalRejected)
	}
	return w.save(v.Proposal)
}

// giveBack returns a proposal for changes. It keeps its approvals until it is
// revised, and a quorum may still carry it out as it is.
func (w *work) giveBack(op *cityid.Return, signers []cityid.PublicKey) error {
	if err := cityid.CheckText("what is to change", op.Note, true); err != nil {
		return err
	}
	v, err := w.seen(op.Proposal, op.Digest)
	if err != nil {
		return err
	}
	if len(v.concerns(signers)) == 0 {
		return cityid.Errorf(cityid.ErrNotPermitted, "none of the signing keys has a voice in proposal %d", op.Proposal)
	}
	v.State, v.Note, v.Edited = cityid.ProposalReturned, op.Note, w.block.Time
	return w.save(v.Proposal)
}

// revise replaces what a proposal asks for. Its approvals are void.
func (w *work) revise(op *cityid.Revise, actor cityid.KeySet) error {
	p, err := w.openProposal(op.Proposal)
	if err != nil {
		return err
	}
	if p.Revision != op.Revision {
		return cityid.Errorf(cityid.ErrConflict, "proposal %d is at revision %d, not %d", op.Proposal, p.Revision, op.Revision)
	}
	if err := w.mayChange(p, actor); err != nil {
		return err
	}
	var x *assessment
	switch {
	case p.Application() != (op.Apply != nil) || (op.Apply != nil) == (len(op.Operations) > 0):
		return cityid.Errorf(cityid.ErrInvalid, "an application is revised by an application, any other proposal by operations")
	case op.Apply != nil:
		if x, err = w.reviseApplication(p, op.Apply); err != nil {
			return err
		}
	default:
		if err := checkProposable(op.Operations); err != nil {
			return err
		}
		if x, err = w.assess(op.Operations); err != nil {
			return err
		}
		if x.failed != nil {
			return x.failed
		}
		p.Operations = op.Operations
	}
	p.Revision, p.State, p.Edited, p.Note = p.Revision+1, cityid.ProposalPending, w.block.Time, ""
	p.Targets, p.Policies, p.Approvals, p.Rejections = x.targets, x.policies, nil, nil
	return w.save(p)
}

// mayChange permits those who brought a proposal and still have a voice in it;
// for an application, see [work.mayChangeApplication].
func (w *work) mayChange(p *cityid.Proposal, actor cityid.KeySet) error {
	if p.Application() {
		return w.mayChangeApplication(p, actor)
	}
	brought := slices.DeleteFunc(slices.Clone(p.Proposer), func(k cityid.PublicKey) bool { return !actor[k] })
	if len(brought) > 0 {
		x, err := w.assess(p.Operations)
		if err != nil {
			return err
		}
		if len(x.concerns(brought)) > 0 {
			return nil
		}
	}
	return cityid.Errorf(cityid.ErrNotPermitted, "proposal %d can be changed by those who brought it, while they have a voice in it", p.Number)
}

// withdraw takes back a proposal or an attestation.
func (w *work) withdraw(op *cityid.Withdraw, actor cityid.KeySet) error {
	if op.Proposal == 0 {
		return w.withdrawAttestation(op, actor)
	}
	if !op.Source.IsZero() || !op.Digest.IsZero() {
		return cityid.Errorf(cityid.ErrInvalid, "want either a proposal or an attestation")
	}
	p, err := w.openProposal(op.Proposal)
	if err != nil {
		return err
	}
	if err := w.mayChange(p, actor); err != nil {
		return err
	}
	return w.end(p, cityid.ProposalWithdrawn)
}

// end closes a proposal and frees what an application holds.
func (w *work) end(p *cityid.Proposal, s cityid.ProposalState) error {
	p.State, p.Edited = s, w.block.Time
	if p.Application() {
		w.leaveContest(p)
		w.countIntake(p, -1)
	}
	return w.save(p)
}
