// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"slices"
	"strings"

	"cityid"
)

// amend replaces the content of an open record.
func (w *work) amend(op *cityid.Amend) error {
	r, err := w.changeable(op.Code, op.Revision)
	if err != nil {
		return err
	}
	if !r.Sealed.IsZero() {
		return cityid.Errorf(cityid.ErrStatus, "%s is sealed: seal its new content, or unseal it", op.Code)
	}
	next := *r
	next.Content = op.Content
	if err := w.checkContent(&next); err != nil {
		return err
	}
	return w.put(r, next)
}

// changeable returns the record of code at the expected revision unless it is
// retired.
func (w *work) changeable(code cityid.Code, revision uint32) (*cityid.Record, error) {
	r, err := w.at(code, revision)
	if err == nil && r.Status == cityid.StatusRetired {
		return nil, cityid.Errorf(cityid.ErrStatus, "%s is retired for good", code)
	}
	return r, err
}

// seal replaces the content by a digest and takes the crosswalk entries away.
// It hides nothing that earlier revisions have shown.
func (w *work) seal(op *cityid.Seal) error {
	r, err := w.changeable(op.Code, op.Revision)
	if err != nil {
		return err
	}
	if op.Sealed.IsZero() {
		return cityid.Errorf(cityid.ErrInvalid, "no digest is given")
	}
	for _, a := range r.Aliases {
		w.delete(cityid.CrosswalkKey(a.Scheme, a.Value, r.Code))
	}
	next := *r
	next.Content, next.Aliases, next.Sealed = cityid.Content{}, nil, op.Sealed
	return w.put(r, next)
}

// unseal publishes the content whose salted digest the record shows.
func (w *work) unseal(op *cityid.Unseal) error {
	r, err := w.changeable(op.Code, op.Revision)
	if err != nil {
		return err
	}
	if r.Sealed.IsZero() || cityid.SealDigest(op.Salt, op.Content) != r.Sealed {
		return cityid.Errorf(cityid.ErrInvalid, "salt and content do not give the digest that %s shows", op.Code)
	}
	next := *r
	next.Content, next.Sealed = op.Content, cityid.Digest{}
	if err := w.checkContent(&next); err != nil {
		return err
	}
	return w.put(r, next)
}

// transitions lists the changes of status there are.
var transitions = map[[2]cityid.Status]bool{
	{cityid.StatusReserved, cityid.StatusActive}:   true,
	{cityid.StatusReserved, cityid.StatusRetired}:  true,
	{cityid.StatusActive, cityid.StatusSuspended}:  true,
	{cityid.StatusSuspended, cityid.StatusActive}:  true,
	{cityid.StatusActive, cityid.StatusRetired}:    true,
	{cityid.StatusSuspended, cityid.StatusRetired}: true,
}

// setStatus moves a code through its life. A retirement by the holder waits for
// the recovery delay: the first operation starts it, an equal one completes it.
// A code that living codes stand below retires only with an heir.
func (w *work) setStatus(op *cityid.SetStatus, how wayKind) error {
	r, err := w.at(op.Code, op.Revision)
	if err != nil {
		return err
	}
	if !transitions[[2]cityid.Status{r.Status, op.Status}] {
		return cityid.Errorf(cityid.ErrStatus, "%s is %s and can not become %s", op.Code, r.Status, op.Status)
	}
	if err := w.checkStatusChange(op); err != nil {
		return err
	}
	if how == delayed {
		if done, err := w.wait(op.Code, nil, op); err != nil || !done {
			return err
		}
	}
	next := *r
	next.Status, next.Reason, next.Note = op.Status, op.Reason, op.Note
	next.Heir, next.Successors = op.Heir, op.Successors
	if op.Status == cityid.StatusRetired {
		w.delete(cityid.WaitingKey(op.Code))
		if err := w.passOn(r, op.Heir); err != nil {
			return err
		}
	}
	return w.put(r, next)
}

func (w *work) checkStatusChange(op *cityid.SetStatus) error {
	if !op.Reason.Valid() {
		return cityid.Errorf(cityid.ErrInvalid, "a change of status needs a reason")
	}
	if err := checkNote(op.Note); err != nil {
		return err
	}
	retire := op.Status == cityid.StatusRetired
	if !retire && (!op.Heir.IsZero() || len(op.Successors) > 0 || op.Reason == cityid.ReasonAllocatedInError) {
		return cityid.Errorf(cityid.ErrInvalid, "only a retirement names an heir or successors, or the reason %s", cityid.ReasonAllocatedInError)
	}
	if len(op.Successors) > cityid.MaxSuccessors {
		return cityid.Errorf(cityid.ErrTooLarge, "%d successors: at most %d", len(op.Successors), cityid.MaxSuccessors)
	}
	for i, s := range op.Successors {
		if i > 0 && op.Successors[i-1].Compare(s) >= 0 {
			return cityid.Errorf(cityid.ErrInvalid, "successors must be in byte order, each once")
		}
		x, err := w.existing(s)
		if err != nil {
			return err
		}
		if s == op.Code || x.Status == cityid.StatusRetired {
			return cityid.Errorf(cityid.ErrInvalid, "%s can not succeed %s", s, op.Code)
		}
	}
	if op.Heir.IsZero() {
		return nil
	}
	return w.checkHeir(op.Code, op.Heir)
}

// rekey replaces a record's policy. By its own policy, at once. By its parent's
// (or an apex's recovery policy), after the delay, completed by an equal
// operation.
func (w *work) rekey(op *cityid.Rekey, how wayKind) error {
	r, err := w.changeable(op.Code, op.Revision)
	if err != nil {
		return err
	}
	if op.Recovery != nil && !r.Parent.IsZero() {
		return cityid.Errorf(cityid.ErrPolicy, "only an apex names a recovery policy")
	}
	if op.Policy == nil && r.Parent.IsZero() {
		return cityid.Errorf(cityid.ErrPolicy, "an apex needs a policy")
	}
	if r.Delegation != nil {
		if err := checkZonePolicy(op.Code, op.Policy); err != nil {
			return err
		}
	}
	for _, p := range []*cityid.Policy{op.Policy, op.Recovery} {
		if p == nil {
			continue
		}
		if err := w.checkPolicy(p, op.Code); err != nil {
			return err
		}
	}
	if op.Policy == nil {
		// What governs the code from now on must not lead back to it.
		p, _, err := w.governing(w.above(r).Code)
		if err != nil {
			return err
		}
		if err := w.checkMembers(p, op.Code); err != nil {
			return err
		}
	}
	if how == delayed {
		if done, err := w.wait(op.Code, op, nil); err != nil || !done {
			return err
		}
		w.delete(cityid.WaitingKey(op.Code))
	} else if x := w.waiting(op.Code); x != nil && x.Rekey != nil && !x.Overruled && w.olderThan(r, x) {
		// The lawful holder is there after all: the recovery is moot. Not so
		// once a veto was overridden, which settles who the lawful holder is.
		w.delete(cityid.WaitingKey(op.Code))
	}
	next := *r
	next.Policy, next.PolicySince = op.Policy, w.block.Time
	if op.Recovery != nil {
		next.Recovery = op.Recovery
	}
	return w.put(r, next)
}

// olderThan reports whether r's policy was in force for the whole delay before
// the waiting change began. Only such a policy may veto or cancel a recovery:
// else a thief who has just replaced the keys could.
func (w *work) olderThan(r *cityid.Record, x *cityid.Waiting) bool {
	return r.PolicySince == 0 || r.PolicySince+w.delay(r) <= x.Started
}

// delay is how long a recovery or a holder's retirement of r waits.
func (w *work) delay(r *cityid.Record) cityid.Time {
	if r.Parent.IsZero() {
		return cityid.Time(w.params.ApexDelay)
	}
	return cityid.Time(w.params.RecoveryDelay)
}

// wait starts the delay of a change, or reports that the delay of an equal one
// has passed. Exactly one of rekey and retire is given.
func (w *work) wait(code cityid.Code, rekey *cityid.Rekey, retire *cityid.SetStatus) (done bool, err error) {
	x := w.waiting(code)
	if x == nil || !sameChange(x, rekey, retire) {
		if x != nil && x.Rekey != nil && retire != nil {
			return false, cityid.Errorf(cityid.ErrDelay, "a recovery of %s is waiting: only its end lets the holder retire the code", code)
		}
		r := w.record(code)
		w.set(cityid.WaitingKey(code), &cityid.Waiting{
			Code: code, Rekey: rekey, Retire: retire,
			Started: w.block.Time, Effective: w.block.Time + w.delay(r),
		})
		return false, nil
	}
	switch {
	case x.Vetoed:
		return false, cityid.Errorf(cityid.ErrDelay, "the change was vetoed: the parent's parent can lift the veto")
	case w.block.Time < x.Effective:
		return false, cityid.Errorf(cityid.ErrDelay, "the change waits until %s", x.Effective)
	}
	return true, nil
}

// sameChange compares what would come about, not for which revision it was
// asked: a change made in between must not be a way to stall a recovery.
func sameChange(x *cityid.Waiting, rekey *cityid.Rekey, retire *cityid.SetStatus) bool {
	switch {
	case x.Rekey != nil && rekey != nil:
		a, b := *x.Rekey, *rekey
		a.Revision, b.Revision = 0, 0
		return bytes.Equal(cityid.MustMarshal(&a), cityid.MustMarshal(&b))
	case x.Retire != nil && retire != nil:
		a, b := *x.Retire, *retire
		a.Revision, b.Revision = 0, 0
		return bytes.Equal(cityid.MustMarshal(&a), cityid.MustMarshal(&b))
	}
	return false
}

// veto stops a waiting change, or lifts such a veto.
func (w *work) veto(op *cityid.Veto) error {
	x := w.waiting(op.Code)
	r, err := w.existing(op.Code)
	if err != nil {
		return err
	}
	switch {
	case x == nil:
		return cityid.Errorf(cityid.ErrNotFound, "nothing waits for %s", op.Code)
	case x.Retire != nil:
		w.delete(cityid.WaitingKey(op.Code))
		return nil
	case op.Override && !x.Vetoed:
		return cityid.Errorf(cityid.ErrStatus, "the recovery of %s is not vetoed", op.Code)
	case op.Override:
		x.Vetoed, x.Overruled = false, true
	case x.Overruled:
		return cityid.Errorf(cityid.ErrDelay, "a veto against this recovery was overridden: no further one counts")
	case !w.olderThan(r, x):
		return cityid.Errorf(cityid.ErrDelay, "the policy of %s was replaced at %s, within the delay before the recovery began: it has no veto", op.Code, r.PolicySince)
	default:
		x.Vetoed = true
	}
	w.set(cityid.WaitingKey(op.Code), x)
	return nil
}

// mapAlias adds, replaces or removes one crosswalk entry of a record.
func (w *work) mapAlias(op *cityid.Map) error {
	r, err := w.changeable(op.Code, op.Revision)
	if err != nil {
		return err
	}
	if !r.Sealed.IsZero() {
		return cityid.Errorf(cityid.ErrStatus, "%s is sealed: it publishes no crosswalk entries", op.Code)
	}
	if err := cityid.CheckAliases([]cityid.Alias{op.Alias}); err != nil {
		return err
	}
	order := func(x, y cityid.Alias) int {
		if c := strings.Compare(x.Scheme, y.Scheme); c != 0 {
			return c
		}
		return strings.Compare(x.Value, y.Value)
	}
	next := *r
	next.Aliases = slices.Clone(r.Aliases)
	i, found := slices.BinarySearchFunc(next.Aliases, op.Alias, order)
	switch {
	case op.Remove && !found:
		return cityid.Errorf(cityid.ErrNotFound, "%s has no entry %s:%s", op.Code, op.Alias.Scheme, op.Alias.Value)
	case op.Remove:
		next.Aliases = slices.Delete(next.Aliases, i, i+1)
		w.delete(cityid.CrosswalkKey(op.Alias.Scheme, op.Alias.Value, op.Code))
		return w.put(r, next)
	case found:
		next.Aliases[i] = op.Alias
	default:
		next.Aliases = slices.Insert(next.Aliases, i, op.Alias)
	}
	if err := cityid.CheckAliases(next.Aliases); err != nil {
		return err
	}
	if err := w.setAlias(op.Code, op.Alias); err != nil {
		return err
	}
	return w.put(r, next)
}

// attest anchors a statement about bytes, once for each source and digest.
func (w *work) attest(op *cityid.Attest, actor cityid.KeySet, signers []cityid.PublicKey) error {
	r, err := w.existing(op.Source)
	if err != nil {
		return err
	}
	if op.Digest.IsZero() {
		return cityid.Errorf(cityid.ErrInvalid, "no digest is given")
	}
	if err := checkNote(op.Label); err != nil {
		return err
	}
	if err := checkBatch(op); err != nil {
		return err
	}
	key := cityid.AttestationKey(op.Source, op.Digest)
	if w.Get(key) != nil {
		return cityid.Errorf(cityid.ErrExists, "%s has already attested %s", r.Code, op.Digest)
	}
	w.set(key, &cityid.Attestation{
		Source: op.Source, Digest: op.Digest, Size: op.Size, Label: op.Label, Leaves: op.Leaves, From: op.From, Until: op.Until,
		Key:     w.firstWith(op.Source, cityid.RoleAssert|cityid.RoleField|cityid.RoleControl, actor, signers),
		Changed: w.here(),
	})
	return nil
}

// checkBatch checks what an attestation says about a batch.
func checkBatch(op *cityid.Attest) error {
	switch {
	case op.Leaves > cityid.MaxBatch:
		return cityid.Errorf(cityid.ErrTooLarge, "a batch of %d leaves: at most %d", op.Leaves, cityid.MaxBatch)
	case !op.From.Valid() || !op.Until.Valid() || op.From < 0 || op.Until < op.From:
		return cityid.Errorf(cityid.ErrInvalid, "the time a batch covers ends before it begins")
	case op.Leaves == 0 && (op.From != 0 || op.Until != 0):
		return cityid.Errorf(cityid.ErrInvalid, "only a batch says which time it covers")
	}
	return nil
}

// firstWith returns the first signer who holds one of the roles in the policy
// that governs code, or "".
func (w *work) firstWith(code cityid.Code, roles cityid.Roles, actor cityid.KeySet, signers []cityid.PublicKey) cityid.PublicKey {
	q, _, err := w.quorumOf(claim{code: code, roles: roles})
	for _, k := range signers {
		if err == nil && actor[k] && q.Met(cityid.KeysOf(k)) {
			return k
		}
	}
	return ""
}

// withdrawAttestation marks an attestation as taken back.
func (w *work) withdrawAttestation(op *cityid.Withdraw, actor cityid.KeySet) error {
	if err := w.ours(op.Source); err != nil {
		return err
	}
	permitted := w.met(claim{code: op.Source, roles: cityid.RoleAssert}, actor)
	if permitted != nil {
		permitted = w.met(claim{code: op.Source}, actor)
	}
	if permitted != nil {
		return permitted
	}
	key := cityid.AttestationKey(op.Source, op.Digest)
	var a cityid.Attestation
	switch {
	case !w.load(key, &a):
		return cityid.Errorf(cityid.ErrNotFound, "%s has not attested %s", op.Source, op.Digest)
	case a.Withdrawn != 0:
		return cityid.Errorf(cityid.ErrClosed, "the attestation was withdrawn at %s", a.Withdrawn)
	}
	a.Withdrawn = w.block.Time
	w.set(key, &a)
	return nil
}

func checkNote(s string) error { return cityid.CheckText("note", s, false) }
