// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"slices"

	"cityid"
)

// An application is a proposal that somebody who is nobody here yet brings: a
// single allocation with the policy of the new code. It enters with an intake
// key of a member of the policy that will decide, within that member's limit.
// Several may compete for a code; when it is allocated, the others are closed.

// maxContest is how many open applications one member may have brought for one
// code. It bounds what closing a contest costs.
const maxContest = 8

// apply turns an application into a proposal. The allocation is held against
// every rule now, so that reviewers see only what could be carried out.
func (w *work) apply(op *cityid.Apply, actor cityid.KeySet, signers []cityid.PublicKey) error {
	ops := applicationOperations(op)
	decider, err := w.decider(ops)
	if err != nil {
		return err
	}
	p := &cityid.Proposal{Operations: ops, Possessions: op.Possessions, Evidence: op.Evidence, Proposer: signers}
	if p.Member, p.Intake, err = w.intakeMember(decider, actor); err != nil {
		return err
	}
	x, err := w.checkApplication(op, ops)
	if err != nil {
		return err
	}
	p.Expires = w.block.Time + cityid.Time(w.params.ProposalLifetime)
	if n := w.countIntake(p, 1); n > uint64(w.params.IntakeLimit) {
		return cityid.Errorf(cityid.ErrQuota, "the institution that brought this application has %d open ones already: let it decide or withdraw some first", w.params.IntakeLimit)
	}
	w.number(p, x)
	if err := w.joinContest(p); err != nil {
		return err
	}
	return w.save(p)
}

// applicationOperations is what an application asks for.
func applicationOperations(op *cityid.Apply) []cityid.Operation {
	return []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{op.Allocation}}}}
}

// decider returns the code whose policy decides an application.
func (w *work) decider(ops []cityid.Operation) (cityid.Code, error) {
	list, err := w.ways(&ops[0])
	if err != nil {
		return cityid.Code{}, err
	}
	return list[0].claims[0].code, nil
}

// appliedFor is the code that an application asks for.
func appliedFor(p *cityid.Proposal) cityid.Code { return p.Operations[0].Allocate.Items[0].Code }

// checkApplication holds an application against every rule.
func (w *work) checkApplication(op *cityid.Apply, ops []cityid.Operation) (*assessment, error) {
	a := &op.Allocation
	if a.Policy == nil {
		return nil, cityid.Errorf(cityid.ErrPolicy, "an application carries the policy of the new code")
	}
	if err := a.Policy.Check(); err != nil {
		return nil, err
	}
	if len(op.Evidence) > cityid.MaxEvidence {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%d evidence digests: at most %d", len(op.Evidence), cityid.MaxEvidence)
	}
	if k := w.rule.ForKind(a.Kind); k != nil && len(op.Evidence) < int(k.Evidence) {
		return nil, cityid.Errorf(cityid.ErrRule, "an application for a code of kind %s names at least %d evidence documents", a.Kind, k.Evidence)
	}
	x, err := w.assess(ops)
	if err == nil {
		err = x.failed
	}
	if err != nil {
		return nil, err
	}
	return x, w.checkPossessions(a, op.Possessions)
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
		d := cityid.PossessionDigest(w.block.Chain, a.Code, a.Policy, p.Key)
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
	q := w.anyOf(p, holder, cityid.RoleIntake)
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

// reviseApplication puts what op asks for in the place of what p does. Code and
// decider stay.
func (w *work) reviseApplication(p *cityid.Proposal, op *cityid.Apply) (*assessment, error) {
	if op.Allocation.Code != appliedFor(p) {
		return nil, cityid.Errorf(cityid.ErrInvalid, "a revision keeps the code applied for: withdraw, and apply for the other one")
	}
	ops := applicationOperations(op)
	was, err := w.decider(p.Operations)
	if err != nil {
		return nil, err
	}
	if is, err := w.decider(ops); err != nil || is != was {
		return nil, cityid.Errorf(cityid.ErrInvalid, "another policy than that of %s decides what the revision asks for: withdraw, and apply there", was)
	}
	x, err := w.checkApplication(op, ops)
	if err != nil {
		return nil, err
	}
	p.Operations, p.Possessions, p.Evidence = ops, op.Possessions, op.Evidence
	return x, nil
}

// mayChangeApplication permits the applicant, by the policy applied for, and
// the intake keys of the member that brought the application.
func (w *work) mayChangeApplication(p *cityid.Proposal, actor cityid.KeySet) error {
	if w.quorum(p.Operations[0].Allocate.Items[0].Policy, appliedFor(p)).Met(actor) {
		return nil
	}
	if decider, err := w.decider(p.Operations); err == nil {
		if _, id, err := w.intakeMember(decider, actor); err == nil && id == p.Intake {
			return nil
		}
	}
	return cityid.Errorf(cityid.ErrNotPermitted, "application %d can be changed by its applicant and by the member that brought it", p.Number)
}

// countIntake adds delta to the open applications of the member that brought p
// and returns how many it has.
func (w *work) countIntake(p *cityid.Proposal, delta int) uint64 {
	return w.countDays(cityid.IntakeKey(p.Intake), p.Expires, delta)
}

// openDay counts what is open and lapses on one day.
type openDay struct {
	_    struct{} `cbor:",toarray"`
	Day  int64    // days since 1970-01-01 UTC
	Open uint64
}

const day = 86400

// countDays adds delta to the number, at key, of open things that lapse on the
// day of a time, and returns how many are open. What lapses counts until that
// day is over, so it needs nobody to clear it away.
func (w *work) countDays(key []byte, lapses cityid.Time, delta int) uint64 {
	var list []openDay
	w.load(key, &list)
	today, last := int64(w.block.Time/day), int64(lapses/day)
	list = slices.DeleteFunc(list, func(d openDay) bool { return d.Day < today })
	i, found := slices.BinarySearchFunc(list, last, func(d openDay, t int64) int { return int(d.Day - t) })
	if !found && delta > 0 {
		list = slices.Insert(list, i, openDay{Day: last})
	}
	if found || delta > 0 {
		list[i].Open += uint64(delta)
	}
	list = slices.DeleteFunc(list, func(d openDay) bool { return d.Open == 0 })
	if len(list) == 0 {
		w.delete(key)
		return 0
	}
	w.set(key, list)
	var sum uint64
	for _, d := range list {
		sum += d.Open
	}
	return sum
}

// contest returns the numbers of the applications for code that were not
// decided, lapsed ones among them.
func (w *work) contest(code cityid.Code) []uint64 {
	var numbers []uint64
	w.Scan(cityid.ContestKey(code, 0), cityid.ContestKey(code, 1<<64-1), func(key, _ []byte) bool {
		numbers = append(numbers, cityid.NumberOfContestKey(key))
		return true
	})
	return numbers
}

// joinContest enters an application into the contest for its code, which those
// that have lapsed leave.
func (w *work) joinContest(p *cityid.Proposal) error {
	mine := 0
	for _, n := range w.contest(appliedFor(p)) {
		other, err := w.proposal(n)
		if err != nil {
			return err
		}
		if !other.StateAt(w.block.Time).Open() {
			w.leaveContest(other)
		} else if other.Intake == p.Intake {
			mine++
		}
	}
	if mine >= maxContest {
		return cityid.Errorf(cityid.ErrQuota, "the institution that brought this application has %d open ones for %s: let it withdraw some first", mine, appliedFor(p))
	}
	w.set(cityid.ContestKey(appliedFor(p), p.Number), true)
	c := w.counters()
	c.Applications++
	w.set(cityid.CountersKey, &c)
	return nil
}

func (w *work) leaveContest(p *cityid.Proposal) {
	w.delete(cityid.ContestKey(appliedFor(p), p.Number))
	c := w.counters()
	c.Applications--
	w.set(cityid.CountersKey, &c)
}

// closeContests closes all other applications for codes that are now allocated.
func (w *work) closeContests(items []cityid.Allocation) error {
	if w.counters().Applications == 0 {
		return nil // as a rule in bulk, which must not look for each code
	}
	for i := range items {
		if err := w.closeContest(items[i].Code); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) closeContest(code cityid.Code) error {
	for _, n := range w.contest(code) {
		p, err := w.proposal(n)
		if err != nil {
			return err
		}
		if !p.StateAt(w.block.Time).Open() {
			w.leaveContest(p)
		} else if err := w.end(p, cityid.ProposalClosed); err != nil {
			return err
		}
	}
	return nil
}
