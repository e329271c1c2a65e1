// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cityid"
)

// requestAgreement writes down what a consumer asks of a dataset's holder.
func (w *work) requestAgreement(op *cityid.AgreementRequest) error {
	t := &op.Terms
	if err := t.Check(); err != nil {
		return err
	}
	switch {
	case t.Respond <= w.block.Time:
		return cityid.Errorf(cityid.ErrExpired, "an answer by %s is asked for, which is over", t.Respond)
	case t.Respond > w.block.Time+cityid.MaxRespond*day:
		return cityid.Errorf(cityid.ErrInvalid, "an answer by %s is asked for: at most %d days from now", t.Respond, cityid.MaxRespond)
	}
	if err := w.checkParties(t); err != nil {
		return err
	}
	_, holder, err := w.governing(t.Dataset)
	if err != nil {
		return err
	}
	id := t.ID()
	if w.Get(cityid.AgreedKey(id)) != nil {
		return cityid.Errorf(cityid.ErrExists, "these very terms were asked for before: take a fresh nonce")
	}
	if w.countDays(cityid.RequestsKey(t.Consumer), t.Respond, 1) > cityid.MaxOpenRequests {
		return cityid.Errorf(cityid.ErrQuota, "%s has %d requests that wait already: let them be answered or take some back first", t.Consumer, cityid.MaxOpenRequests)
	}
	w.set(cityid.AgreedKey(id), t.Dataset)
	w.set(cityid.ConsumerKey(t.Consumer, id), t.Dataset)
	w.set(cityid.AgreementKey(t.Dataset, id), &cityid.Agreement{
		Terms: *t, State: cityid.AgreementRequested, Provider: holder, Requested: w.here(),
	})
	return nil
}

// checkParties checks that the terms speak of the dataset as it is, and of a
// consumer that can act. So it is when they are asked for, and again when they
// are granted.
func (w *work) checkParties(t *cityid.Terms) error {
	r, err := w.existing(t.Dataset)
	if err == nil {
		err = w.ours(t.Consumer)
	}
	if err != nil {
		return err
	}
	d := r.Content.Dataset
	switch {
	case r.Kind != cityid.KindDataset:
		return cityid.Errorf(cityid.ErrInvalid, "%s is a code of kind %s: agreements are about datasets", r.Code, r.Kind)
	case !r.Sealed.IsZero():
		return cityid.Errorf(cityid.ErrStatus, "%s is sealed, so nothing is known that could be agreed on: its holder must unseal it first", r.Code)
	case d == nil:
		return cityid.Errorf(cityid.ErrStatus, "%s does not say yet what it shares: its holder must publish its description first", r.Code)
	case d.Class == cityid.DatasetClosed:
		return cityid.Errorf(cityid.ErrNotPermitted, "%s is closed: it is not shared", r.Code)
	case d.Document != t.Document:
		return cityid.Errorf(cityid.ErrConflict, "the description of %s has digest %s, not %s: look at it again, and ask by terms that name it", r.Code, d.Document, t.Document)
	case d.Policy != t.Policy:
		return cityid.Errorf(cityid.ErrConflict, "the usage policy of %s has digest %s, not %s: look at it again, and ask by terms that name it", r.Code, orNone(d.Policy), orNone(t.Policy))
	}
	c, err := w.existing(t.Consumer)
	if err != nil {
		return err
	}
	if !isParty(c.Kind) {
		return cityid.Errorf(cityid.ErrInvalid, "%s is a code of kind %s: the consumer is an authority, a place, a department, an industry or an organisation", c.Code, c.Kind)
	}
	_, _, err = w.governing(t.Consumer)
	return err
}

func orNone(d cityid.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.String()
}

// isParty reports whether codes of a kind can be consumers. Things can not: a
// holder of very many would have as many voices.
func isParty(k cityid.Kind) bool {
	switch k {
	case cityid.KindClass, cityid.KindObject, cityid.KindDataset, cityid.KindSource:
		return false
	}
	return true
}

// agreement returns the agreement a decision is about.
func (w *work) agreement(op *cityid.AgreementDecision) (*cityid.Agreement, error) {
	if err := checkNote(op.Note); err != nil {
		return nil, err
	}
	var a cityid.Agreement
	if op.Dataset.IsZero() || !w.load(cityid.AgreementKey(op.Dataset, op.Agreement), &a) {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no agreement %s about %q", op.Agreement, op.Dataset)
	}
	return &a, nil
}

// decideAgreement grants or refuses a request.
func (w *work) decideAgreement(op *cityid.AgreementDecision, to cityid.AgreementState) error {
	a, err := w.agreement(op)
	if err != nil {
		return err
	}
	if s := a.StateAt(w.block.Time); s != cityid.AgreementRequested {
		return cityid.Errorf(cityid.ErrClosed, "the agreement is %s: only a request that waits can be decided", s)
	}
	if to == cityid.AgreementGranted {
		if err := w.checkParties(&a.Terms); err != nil {
			return err
		}
	}
	_, holder, err := w.governing(op.Dataset)
	if err != nil {
		return err
	}
	a.State, a.Provider, a.Decided, a.Note = to, holder, w.here(), op.Note
	w.set(cityid.AgreementKey(op.Dataset, op.Agreement), a)
	w.countDays(cityid.RequestsKey(a.Terms.Consumer), a.Terms.Respond, -1)
	return nil
}

// revokeAgreement ends an agreement, or takes a request back. Whoever could do
// it for both sides does it for the holder of the dataset.
func (w *work) revokeAgreement(op *cityid.AgreementDecision, actor cityid.KeySet) error {
	a, err := w.agreement(op)
	if err != nil {
		return err
	}
	endedBy := a.Terms.Consumer
	switch s := a.StateAt(w.block.Time); s {
	case cityid.AgreementRequested:
		w.countDays(cityid.RequestsKey(a.Terms.Consumer), a.Terms.Respond, -1)
	case cityid.AgreementGranted:
		if _, holder, err := w.quorumOf(claim{code: op.Dataset}); err == nil && w.met(claim{code: op.Dataset}, actor) == nil {
			endedBy = holder
		}
	default:
		return cityid.Errorf(cityid.ErrClosed, "the agreement is %s already", s)
	}
	a.State, a.Ended, a.EndedBy, a.Note = cityid.AgreementRevoked, w.here(), endedBy, op.Note
	w.set(cityid.AgreementKey(op.Dataset, op.Agreement), a)
	return nil
}

// waysToRevoke lets either side end an agreement. A request is the consumer's
// alone to take back: the holder refuses it instead.
func (w *work) waysToRevoke(op *cityid.AgreementDecision) ([]way, error) {
	a, err := w.agreement(op)
	if err != nil {
		return nil, err
	}
	consumer := way{direct, []claim{{code: a.Terms.Consumer}}}
	if a.State == cityid.AgreementRequested {
		return []way{consumer}, nil
	}
	return []way{{direct, []claim{{code: op.Dataset}}}, consumer}, nil
}

// anchorReceipts appends one batch to a party's receipt log.
func (w *work) anchorReceipts(op *cityid.AnchorReceipts, actor cityid.KeySet, signers []cityid.PublicKey) error {
	switch {
	case !cityid.ValidLogName(op.Log):
		return cityid.Errorf(cityid.ErrInvalid, "log name %.40q: want 1 to %d lower-case letters, digits and hyphens", op.Log, cityid.MaxLogName)
	case op.Root.IsZero():
		return cityid.Errorf(cityid.ErrInvalid, "no root is given")
	case op.Bucket > cityid.MaxBucket:
		return cityid.Errorf(cityid.ErrTooLarge, "size bucket %d: at most %d, for a batch has at most %d leaves", op.Bucket, cityid.MaxBucket, cityid.MaxBatch)
	}
	var head cityid.AnchorHead
	w.load(cityid.AnchorHeadKey(op.Party, op.Log), &head)
	if op.Sequence != head.Sequence+1 || op.Prev != head.Root {
		return cityid.Errorf(cityid.ErrConflict, "the log %s of %s ends with batch %d, root %s: batch %d after root %s does not follow", op.Log, op.Party, head.Sequence, orNone(head.Root), op.Sequence, orNone(op.Prev))
	}
	w.set(cityid.AnchorHeadKey(op.Party, op.Log), &cityid.AnchorHead{Sequence: op.Sequence, Root: op.Root})
	w.set(cityid.AnchorKey(op.Party, op.Log, op.Sequence), &cityid.Anchor{
		Party: op.Party, Log: op.Log, Sequence: op.Sequence, Prev: op.Prev, Root: op.Root, Bucket: op.Bucket,
		Key:     w.firstWith(op.Party, cityid.RoleGateway|cityid.RoleControl, actor, signers),
		Changed: w.here(),
	})
	return nil
}

// here is the place of a change in this block.
func (w *work) here() cityid.Change {
	return cityid.Change{Chain: w.block.Chain, Height: w.block.Height, Time: w.block.Time}
}
