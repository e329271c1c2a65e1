// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"cityid"
)

func (s *speech) operations(ops []cityid.Operation) {
	if len(ops) == 1 {
		s.operation(&ops[0])
		return
	}
	s.numbered(ops)
}

func (s *speech) numbered(ops []cityid.Operation) {
	for i := range ops {
		s.under(func() { s.operation(&ops[i]) }, "operation", i)
	}
}

// operation describes every part that is set; in what a registry accepts, that
// is one.
func (s *speech) operation(op *cityid.Operation) {
	before := len(s.lines)
	s.proposing(op)
	s.changing(op)
	s.sharing(op)
	s.governing(op)
	s.zoning(op)
	if len(s.lines) == before {
		s.say("unknown-operation")
	}
}

// proposing describes what concerns proposals.
func (s *speech) proposing(op *cityid.Operation) {
	if a := op.Apply; a != nil {
		s.under(func() { s.application(a) }, "apply", a.Allocation.Code)
	}
	if r := op.Revise; r != nil {
		s.under(func() {
			if r.Apply != nil {
				s.under(func() { s.application(r.Apply) }, "apply", r.Apply.Allocation.Code)
			}
			if len(r.Operations) > 0 {
				s.numbered(r.Operations)
			}
		}, "revise", r.Proposal, r.Revision)
	}
	if r := op.Return; r != nil {
		s.say("return", r.Proposal, r.Note)
		s.say("as-seen", r.Digest)
	}
	if p := op.Propose; p != nil {
		s.under(func() {
			s.numbered(p.Operations)
			s.time("propose-until", p.Expires)
			s.text("note", p.Note)
		}, "propose")
	}
	if a := op.Approve; a != nil {
		s.say("approve", a.Proposal)
		s.say("as-seen", a.Digest)
	}
	if r := op.Reject; r != nil {
		s.say("reject", r.Proposal, r.Note)
		s.say("as-seen", r.Digest)
	}
	if w := op.Withdraw; w != nil {
		s.withdraw(w)
	}
}

func (s *speech) application(a *cityid.Apply) {
	s.allocation(&a.Allocation)
	for i := range a.Possessions {
		s.possession(&a.Possessions[i])
	}
	for i, d := range a.Evidence {
		s.say("evidence", i+1, d)
	}
}

func (s *speech) possession(p *cityid.Possession) { s.say("possession", p.Key, p.Signature) }

func (s *speech) withdraw(w *cityid.Withdraw) {
	if w.Proposal != 0 || w.Source.IsZero() && w.Digest.IsZero() {
		s.say("withdraw-proposal", w.Proposal)
	}
	if !w.Source.IsZero() || !w.Digest.IsZero() {
		s.say("withdraw-attestation", w.Source, w.Digest)
	}
}

// changing describes what concerns records.
func (s *speech) changing(op *cityid.Operation) {
	if a := op.Allocate; a != nil {
		for i := range a.Items {
			s.under(func() { s.allocation(&a.Items[i]) }, "allocate", a.Items[i].Code)
		}
		if len(a.Items) == 0 {
			s.say("allocate-nothing")
		}
	}
	if a := op.Amend; a != nil {
		s.under(func() { s.content(&a.Content) }, "amend", a.Code, a.Revision)
	}
	if c := op.SetStatus; c != nil {
		s.setStatus(c)
	}
	if r := op.Rekey; r != nil {
		s.rekey(r)
	}
	if v := op.Veto; v != nil && v.Override {
		s.say("override", v.Code)
	} else if v != nil {
		s.say("veto", v.Code)
	}
	if m := op.Map; m != nil {
		key := "map"
		if m.Remove {
			key = "unmap"
		}
		s.under(func() { s.alias(&m.Alias) }, key, m.Code, m.Revision)
	}
	if a := op.Attest; a != nil {
		s.under(func() {
			if a.Size != 0 {
				s.say("attest-size", a.Size)
			}
			s.text("attest-label", a.Label)
			if a.Leaves != 0 {
				s.say("attest-leaves", a.Leaves)
			}
			s.time("from", a.From)
			s.time("holds-until", a.Until)
		}, "attest", a.Source, a.Digest)
	}
	if x := op.Seal; x != nil {
		s.say("seal", x.Code, x.Revision, x.Sealed)
	}
	if u := op.Unseal; u != nil {
		s.under(func() {
			s.content(&u.Content)
			s.say("salt", u.Salt)
		}, "unseal", u.Code, u.Revision)
	}
}

func (s *speech) setStatus(c *cityid.SetStatus) {
	s.under(func() {
		if c.Reason != 0 {
			s.say("because", c.Reason)
		}
		s.text("note", c.Note)
		s.code("heir", c.Heir)
		for _, x := range c.Successors {
			s.say("successor", x)
		}
	}, "set-status", c.Code, c.Revision, c.Status)
}

func (s *speech) rekey(r *cityid.Rekey) {
	s.under(func() {
		s.policy(r.Policy)
		s.recovery(r.Recovery)
	}, "rekey", r.Code, r.Revision)
}

func (s *speech) allocation(a *cityid.Allocation) {
	key := "state-active"
	if a.Reserved {
		key = "state-reserved"
	}
	s.say(key, plain(s.article(a.Kind)))
	s.code("below", a.Parent)
	s.digest("sealed", a.Sealed)
	if !a.Content.IsZero() || a.Sealed.IsZero() {
		s.content(&a.Content)
	}
	for i := range a.Aliases {
		s.alias(&a.Aliases[i])
	}
	if a.Policy != nil {
		s.policy(a.Policy)
	}
	s.recovery(a.Recovery)
}

func (s *speech) alias(a *cityid.Alias) {
	s.under(func() {
		s.time("from", a.From)
		s.time("holds-until", a.Until)
	}, "alias", a.Scheme, a.Value)
}

func (s *speech) content(c *cityid.Content) {
	if c.IsZero() {
		s.say("no-content")
		return
	}
	for _, n := range c.Names {
		s.say("name", n.Lang, n.Text)
	}
	for _, l := range c.Links {
		s.under(func() {
			s.text("link-type", l.Type)
			s.quoted("link-languages", l.Hreflang)
			s.text("link-title", l.Title)
		}, "link", l.Rel, l.Href)
	}
	s.quoted("hosts", c.Hosts)
	if l := c.Location; l != nil {
		s.say("location", degrees(l.Lat), degrees(l.Lon))
	}
	for _, d := range c.Documents {
		s.say("document", d.Digest, d.Label)
	}
	if d := c.Dataset; d != nil {
		s.under(func() {
			s.digest("dataset-schema", d.Schema)
			s.digest("dataset-policy", d.Policy)
		}, "dataset", d.Class, d.Document)
	}
}

func (s *speech) recovery(p *cityid.Policy) {
	if p != nil {
		s.under(func() { s.policy(p) }, "recovery")
	}
}

func (s *speech) policy(p *cityid.Policy) {
	if p == nil {
		s.say("inherited")
		return
	}
	s.under(func() {
		for i := range p.Members {
			s.member(i+1, &p.Members[i])
		}
	}, "controlled", p.Threshold, len(p.Members))
}

func (s *speech) member(number int, m *cityid.Member) {
	if !m.Code.IsZero() {
		s.say("member-code", number, m.Code)
	}
	for i := range m.Keys {
		k := &m.Keys[i]
		s.under(func() {
			s.time("from", k.From)
			s.time("holds-until", k.Until)
			s.time("compromised", k.Compromised)
		}, "member-key", number, k.Public, k.Roles)
	}
	if m.Code.IsZero() && len(m.Keys) == 0 {
		s.say("member-nobody", number)
	}
}
