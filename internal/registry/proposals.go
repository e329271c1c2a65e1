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
// three.

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

// assess tries the operations with every consent granted.
func (w *work) assess(ops []cityid.Operation) *assessment {
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
	return a
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

// blocked reports whether some operation can no longer be permitted in any way.
func (a *assessment) blocked(rejecting cityid.KeySet) bool {
	for _, o := range a.ops {
		if !slices.ContainsFunc(o.quorums, func(qs []*cityid.Quorum) bool {
			return !slices.ContainsFunc(qs, func(q *cityid.Quorum) bool { return q == nil || q.Blocked(rejecting) })
		}) {
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

// apply turns an application into a proposal. Its transaction is signed with an
// intake key of the policy that will decide, within that member's limit of open
// applications. The allocation is held against every rule now, so that
// reviewers see only what could be carried out.
func (w *work) apply(op *cityid.Apply, actor cityid.KeySet, signers []cityid.PublicKey) error {
	ops := []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{op.Allocation}}}}
	decider, err := w.checkApplication(op, ops)
	if err != nil {
		return err
	}
	member, id, err := w.intakeMember(decider, actor)
	if err != nil {
		return err
	}
	if n := w.count(cityid.IntakeKey(id), 1); n > int64(w.params.IntakeLimit) {
		return cityid.Errorf(cityid.ErrQuota, "the institution that brought this application has %d open ones already: let it decide or withdraw some first", w.params.IntakeLimit)
	}
	p := &cityid.Proposal{Operations: ops, Possessions: op.Possessions, Evidence: op.Evidence, Member: member, Intake: id, Proposer: signers}
	p.Expires = w.block.Time + cityid.Time(w.params.ProposalLifetime)
	if err := w.open(p); err != nil {
		return err
	}
	w.set(cityid.ContestKey(op.Allocation.Code, p.Number), true)
	c := w.counters()
	c.Applications++
	w.set(cityid.CountersKey, &c)
	return nil
}

// checkApplication returns the code whose policy decides the application.
func (w *work) checkApplication(op *cityid.Apply, ops []cityid.Operation) (cityid.Code, error) {
	a := &op.Allocation
	if a.Policy == nil {
		return cityid.Code{}, cityid.Errorf(cityid.ErrPolicy, "an application carries the policy of the new code")
	}
	if err := w.checkPossessions(a, op.Possessions); err != nil {
		return cityid.Code{}, err
	}
	if len(op.Evidence) > cityid.MaxEvidence {
		return cityid.Code{}, cityid.Errorf(cityid.ErrTooLarge, "%d evidence digests: at most %d", len(op.Evidence), cityid.MaxEvidence)
	}
	if k := w.rule.ForKind(a.Kind); k != nil && len(op.Evidence) < int(k.Evidence) {
		return cityid.Code{}, cityid.Errorf(cityid.ErrRule, "an application for a %s names at least %d evidence documents", a.Kind, k.Evidence)
	}
	if x := w.assess(ops); x.failed != nil {
		return cityid.Code{}, x.failed
	}
	list, err := w.ways(&ops[0])
	if err != nil {
		return cityid.Code{}, err
	}
	return list[0].claims[0].code, nil
}

// checkPossessions demands a signature by every signing key of the policy that
// the key's holder agreed to stand in it.
func (w *work) checkPossessions(a *cityid.Allocation, list []cityid.Possession) error {
	var want []cityid.PublicKey
	for i := range a.Policy.Members {
		for _, k := range a.Policy.Members[i].Keys {
			if k.Public.Signs() {
				want = append(want, k.Public)
			}
		}
	}
	slices.Sort(want)
	if len(want) == 0 {
		return cityid.Errorf(cityid.ErrPolicy, "the first policy of an applicant has at least one signing key")
	}
	if len(list) != len(want) {
		return cityid.Errorf(cityid.ErrPossession, "%d proofs of possession for %d signing keys", len(list), len(want))
	}
	for i, p := range list {
		if p.Key != want[i] {
			return cityid.Errorf(cityid.ErrPossession, "proofs of possession must be one for each signing key, in byte order: want %s", want[i])
		}
		d := cityid.PossessionDigest(w.block.Chain, a.Code, p.Key)
		if err := w.verify([]byte(p.Key), d[:], p.Signature); err != nil {
			return cityid.Errorf(cityid.ErrPossession, "proof of possession by %s: %v", p.Key, err)
		}
	}
	return nil
}

// intakeMember finds the member of the policy that governs decider which one of
// the actor's keys brings applications for. A member that is no code is known
// by the hash of its first key.
func (w *work) intakeMember(decider cityid.Code, actor cityid.KeySet) (cityid.Code, cityid.Digest, error) {
	p, holder, err := w.governing(decider)
	if err != nil {
		return cityid.Code{}, cityid.Digest{}, err
	}
	q := w.anyOf(p, cityid.RoleIntake)
	for i := range q.Members {
		one := cityid.Quorum{Threshold: 1, Members: q.Members[i : i+1]}
		if !one.Met(actor) {
			continue
		}
		if m := &p.Members[i]; m.Code.IsZero() {
			return cityid.Code{}, sha256.Sum256([]byte(m.Keys[0].Public)), nil
		} else {
			return m.Code, sha256.Sum256([]byte(m.Code.String())), nil
		}
	}
	return cityid.Code{}, cityid.Digest{}, cityid.Errorf(cityid.ErrNotPermitted, "an application reaches the chain with an intake key of %s: hand it to one of its members", holder)
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
	x := w.assess(op.Operations)
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
	if err := w.open(p); err != nil {
		return err
	}
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
		if o.Name() == "" || o.Apply != nil || o.Revise != nil || o.Return != nil || o.Propose != nil || o.Approve != nil || o.Reject != nil || o.Withdraw != nil || o.SetTrust != nil {
			return cityid.Errorf(cityid.ErrInvalid, "place %d of the proposal: want one operation on records, parameters or validators", i)
		}
	}
	if weight > cityid.MaxOperations {
		return cityid.Errorf(cityid.ErrTooLarge, "%d operations: at most %d", weight, cityid.MaxOperations)
	}
	return nil
}

// open numbers a new proposal and stores it.
func (w *work) open(p *cityid.Proposal) error {
	c := w.counters()
	c.Proposals++
	w.set(cityid.CountersKey, &c)
	p.Number, p.Revision, p.State = c.Proposals, 1, cityid.ProposalPending
	p.Created, p.Edited = w.block.Time, w.block.Time
	x := w.assess(p.Operations)
	p.Targets, p.Policies = x.targets, x.policies
	w.proposals = append(w.proposals, p.Number)
	return w.save(p)
}

// maxProposal bounds an encoded proposal in octets: a whole transaction.
const maxProposal = cityid.MaxTx + 64<<10

func (w *work) save(p *cityid.Proposal) error {
	b := cityid.MustMarshal(p)
	if len(b) > maxProposal {
		return cityid.Errorf(cityid.ErrTooLarge, "a proposal of %d octets: at most %d", len(b), maxProposal)
	}
	w.writes[string(cityid.ProposalKey(p.Number))] = b
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

// refresh brings a proposal up to the present: if a record it concerns or a
// deciding policy has changed, its approvals and rejections are void.
func (p *proposalView) refresh() {
	x := p.assessment
	if p.Policies == x.policies && slices.Equal(p.Targets, x.targets) {
		return
	}
	p.Policies, p.Targets = x.policies, x.targets
	p.Approvals, p.Rejections = nil, nil
}

type proposalView struct {
	*cityid.Proposal
	*assessment
}

// seen returns the proposal for a vote that names digest, brought up to the
// present.
func (w *work) seen(number uint64, digest cityid.Digest) (*proposalView, error) {
	p, err := w.openProposal(number)
	if err != nil {
		return nil, err
	}
	v := &proposalView{p, w.assess(p.Operations)}
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
	if err := w.vote(v, &v.Approvals, signers, ""); err != nil {
		return err
	}
	v.State = cityid.ProposalPending
	return w.conclude(v.Proposal, v.assessment)
}

// vote adds those signers that have a voice and have not voted.
func (w *work) vote(v *proposalView, votes *[]cityid.Vote, signers []cityid.PublicKey, note string) error {
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
	for i := range p.Operations {
		how, err := w.permitted(&p.Operations[i], approving)
		if err != nil {
			return err
		}
		if err := w.carryOut(&p.Operations[i], how, approving, p.Proposer); err != nil {
			return cityid.Errorf(cityid.CodeOf(err), "proposal %d: %v", p.Number, atOperation(err, i))
		}
	}
	return nil
}

// end closes a proposal and frees what an application holds.
func (w *work) end(p *cityid.Proposal, s cityid.ProposalState) error {
	p.State, p.Edited = s, w.block.Time
	if p.Application() {
		w.delete(cityid.ContestKey(p.Operations[0].Allocate.Items[0].Code, p.Number))
		c := w.counters()
		c.Applications--
		w.set(cityid.CountersKey, &c)
		w.count(cityid.IntakeKey(p.Intake), -1)
	}
	return w.save(p)
}

// closeContest closes all other applications for a code that is now allocated.
func (w *work) closeContest(code cityid.Code) error {
	if w.counters().Applications == 0 {
		return nil
	}
	var numbers []uint64
	w.Scan(cityid.ContestKey(code, 0), cityid.ContestKey(code, 1<<64-1), func(key, _ []byte) bool {
		numbers = append(numbers, cityid.NumberOfContestKey(key))
		return true
	})
	for _, n := range numbers {
		p, err := w.proposal(n)
		if err != nil {
			return err
		}
		if err := w.end(p, cityid.ProposalClosed); err != nil {
			return err
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
	if err := w.vote(v, &v.Rejections, signers, op.Note); err != nil {
		return err
	}
	if v.blocked(keysOf(v.Rejections)) {
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
	switch {
	case p.Application() != (op.Apply != nil) || (op.Apply != nil) == (len(op.Operations) > 0):
		return cityid.Errorf(cityid.ErrInvalid, "an application is revised by an application, any other proposal by operations")
	case op.Apply != nil:
		if op.Apply.Allocation.Code != p.Operations[0].Allocate.Items[0].Code {
			return cityid.Errorf(cityid.ErrInvalid, "a revision keeps the code applied for: withdraw, and apply for the other one")
		}
		ops := []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{op.Apply.Allocation}}}}
		if _, err := w.checkApplication(op.Apply, ops); err != nil {
			return err
		}
		p.Operations, p.Possessions, p.Evidence = ops, op.Apply.Possessions, op.Apply.Evidence
	default:
		if err := checkProposable(op.Operations); err != nil {
			return err
		}
		p.Operations = op.Operations
	}
	x := w.assess(p.Operations)
	if x.failed != nil {
		return x.failed
	}
	p.Revision, p.State, p.Edited, p.Note = p.Revision+1, cityid.ProposalPending, w.block.Time, ""
	p.Targets, p.Policies, p.Approvals, p.Rejections = x.targets, x.policies, nil, nil
	return w.save(p)
}

// mayChange permits the applicant, by the policy applied for, and whoever
// brought the proposal.
func (w *work) mayChange(p *cityid.Proposal, actor cityid.KeySet) error {
	if slices.ContainsFunc(p.Proposer, func(k cityid.PublicKey) bool { return actor[k] }) {
		return nil
	}
	if p.Application() {
		if w.quorum(p.Operations[0].Allocate.Items[0].Policy).Met(actor) {
			return nil
		}
		if !p.Member.IsZero() && w.met(claim{code: p.Member, roles: cityid.RoleIntake}, actor) == nil {
			return nil
		}
	}
	return cityid.Errorf(cityid.ErrNotPermitted, "proposal %d can be changed by those who brought it, and an application by its applicant", p.Number)
}

// withdraw takes back a proposal or an attestation. Expired proposals too can
// be withdrawn, which frees their place in a member's limit.
func (w *work) withdraw(op *cityid.Withdraw, actor cityid.KeySet) error {
	if op.Proposal == 0 {
		return w.withdrawAttestation(op, actor)
	}
	if !op.Source.IsZero() || !op.Digest.IsZero() {
		return cityid.Errorf(cityid.ErrInvalid, "want either a proposal or an attestation")
	}
	p, err := w.proposal(op.Proposal)
	if err != nil {
		return err
	}
	if !p.State.Open() {
		return cityid.Errorf(cityid.ErrClosed, "proposal %d is %s", op.Proposal, p.State)
	}
	if err := w.mayChange(p, actor); err != nil {
		return err
	}
	return w.end(p, cityid.ProposalWithdrawn)
}

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
		for i := range op.Allocate.Items {
			if err := w.closeContest(op.Allocate.Items[i].Code); err != nil {
				return err
			}
		}
		return nil
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
	case op.Seal != nil:
		return w.seal(op.Seal)
	case op.Unseal != nil:
		return w.unseal(op.Unseal)
	case op.SetParams != nil:
		return w.setParams(op.SetParams)
	case op.SetValidators != nil:
		return w.setValidators(op.SetValidators)
	}
	return cityid.Errorf(cityid.ErrUnsupported, "%s is not applied by this version", op.Name())
}
