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
