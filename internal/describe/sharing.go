// SPDX-License-Identifier: Apache-2.0

package describe

import "cityid"

// sharing describes what concerns agreements and receipts.
func (s *speech) sharing(op *cityid.Operation) {
	if r := op.AgreementRequest; r != nil {
		s.under(func() { s.terms(&r.Terms) }, "agreement-request", r.Terms.Consumer, r.Terms.Dataset)
	}
	s.decision("agreement-grant", op.AgreementGrant)
	s.decision("agreement-refuse", op.AgreementRefuse)
	s.decision("agreement-revoke", op.AgreementRevoke)
	if a := op.AnchorReceipts; a != nil {
		s.under(func() {
			s.say("anchor-root", a.Root, a.Bucket)
			s.digest("anchor-prev", a.Prev)
		}, "anchor-receipts", a.Party, a.Log, a.Sequence)
	}
}

func (s *speech) decision(key string, d *cityid.AgreementDecision) {
	if d != nil {
		s.under(func() { s.text("note", d.Note) }, key, d.Dataset, d.Agreement)
	}
}

// terms says every term, and what both parties sign.
func (s *speech) terms(t *cityid.Terms) {
	s.say("terms-id", t.ID())
	s.say("terms-document", t.Document)
	s.digest("dataset-policy", t.Policy)
	s.time("from", t.From)
	s.time("holds-until", t.Until)
	s.say("terms-staleness", t.Staleness)
	if t.Requests != 0 {
		s.say("terms-requests", t.Requests)
	}
	if t.Octets != 0 {
		s.say("terms-octets", t.Octets)
	}
	s.say("terms-purpose", t.Purpose)
	s.time("terms-respond", t.Respond)
	s.say("terms-nonce", t.Nonce)
}

// Terms says everything that terms hold, and their digest, by which the agreement
// is known.
func Terms(lang string, t *cityid.Terms) []Line {
	s := in(lang)
	s.under(func() { s.terms(t) }, "agreement-request", t.Consumer, t.Dataset)
	return s.lines
}

// Agreement says what an agreement holds and what has become of it at a time.
func Agreement(lang string, a *cityid.Agreement, now cityid.Time) []Line {
	s := in(lang)
	s.under(func() {
		s.flag("agreement-in-force", a.InForce(now))
		s.terms(&a.Terms)
		s.place("agreement-requested", a.Requested)
		s.place("agreement-decided", a.Decided)
		s.place("agreement-ended", a.Ended)
		s.code("agreement-ended-by", a.EndedBy)
		s.text("note", a.Note)
	}, "agreement", a.Provider, a.Terms.Consumer, a.Terms.Dataset, a.StateAt(now))
	return s.lines
}

// Attestation says what a source vouched for, and when.
func Attestation(lang string, a *cityid.Attestation) []Line {
	s := in(lang)
	inside := func() {
		s.text("attest-label", a.Label)
		if a.Size != 0 {
			s.say("attest-size", a.Size)
		}
		s.time("attestation-from", a.From)
		s.time("attestation-until", a.Until)
		s.place("attestation-at", a.Changed)
		s.say("attestation-key", a.Key)
		s.time("withdrawn", a.Withdrawn)
	}
	if a.Leaves > 0 {
		s.under(inside, "attestation-batch", a.Source, a.Leaves, a.Digest)
	} else {
		s.under(inside, "attestation", a.Source, a.Digest)
	}
	return s.lines
}

// AttestationMeans says what an attestation proves of bytes, and what it does
// not.
func AttestationMeans(lang string) []Line {
	s := in(lang)
	s.say("attest-proves")
	s.say("attest-proves-not")
	return s.lines
}

// Anchor says what an anchor commits its party to.
func Anchor(lang string, a *cityid.Anchor) []Line {
	s := in(lang)
	s.under(func() {
		s.say("anchor-root", a.Root, a.Bucket)
		s.digest("anchor-prev", a.Prev)
		s.place("attestation-at", a.Changed)
		s.say("attestation-key", a.Key)
	}, "anchor", a.Party, a.Sequence, a.Log)
	return s.lines
}

// place says where and when something was written, if it was.
func (s *speech) place(key string, c cityid.Change) {
	if c.Height != 0 {
		s.say(key, c.Time, c.Height, c.Chain)
	}
}
