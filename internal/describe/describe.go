// SPDX-License-Identifier: Apache-2.0

// Package describe says in plain words, in Chinese or English, what a
// transaction or a proposal does, who controls what, and why something was
// refused. Officers read these words before they sign, and compare them and the
// digest between portals and the command, so everything takes them from here.
//
// The words are complete: two values that are signed differently are described
// differently, in each language. Fields that say nothing (an empty note, no
// recovery policy) are left out; a signature is shown by the SHA-256 of its
// octets, a key by its fingerprint. Digests and times are written alike in both
// languages, digests in full and times in UTC.
//
// What others wrote is shown by [Text], so that it can neither reverse nor hide
// the words around it. Free text stands at the end of its line or in quotation
// marks; no line of it looks like two.
//
// A language is "zh" or "en"; a tag such as "zh-CN" counts as its first part,
// anything else as English. The functions keep nothing and may be called
// concurrently.
package describe

import (
	"strings"

	"cityid"
)

// Line is one sentence, at a depth from 0 that says which line above it
// belongs to.
type Line struct {
	Depth int    `json:"depth"`
	Text  string `json:"text"`
}

// String returns the text, indented by two blanks for each step of depth.
func (l Line) String() string { return strings.Repeat("  ", l.Depth) + l.Text }

// Operation says what an operation does.
func Operation(lang string, op *cityid.Operation) []Line {
	s := in(lang)
	s.operation(op)
	return s.lines
}

// Operations says what several operations do, each led by its number if there
// are more than one. The first is number 0, as in errors.
func Operations(lang string, ops []cityid.Operation) []Line {
	s := in(lang)
	s.operations(ops)
	return s.lines
}

// Proposal says what a proposal would do and where it stands. Up to "evidence"
// it is what the digest covers, which is computed here; if the node named
// another one, the first line warns.
func Proposal(lang string, a *cityid.ProposalAnswer) []Line {
	s := in(lang)
	p := &a.Proposal
	if d := p.Digest(); d != a.Digest {
		s.say("wrong-digest", a.Digest, d)
	}
	s.say("proposal-digest", p.Number, p.Revision, p.Digest())
	s.under(func() { s.operations(p.Operations) }, "would")
	for _, t := range p.Targets {
		if t.Revision == 0 {
			s.say("target-new", t.Code)
		} else {
			s.say("target", t.Code, t.Revision)
		}
	}
	s.digest("policies", p.Policies)
	s.say("until", p.Expires)
	for i, d := range p.Evidence {
		s.say("evidence", i+1, d)
	}
	s.standing(a)
	return s.lines
}

// standing says what a proposal's digest does not cover.
func (s *speech) standing(a *cityid.ProposalAnswer) {
	p := &a.Proposal
	s.say("state", a.State)
	s.text("note", p.Note)
	s.code("intake-member", p.Member)
	for _, k := range p.Proposer {
		s.say("proposer", k)
	}
	for i := range p.Possessions {
		s.possession(&p.Possessions[i])
	}
	s.say("made", p.Created, p.Edited)
	for _, n := range a.Needs {
		s.under(func() { s.need(&n) }, "needs", n.Threshold, len(n.Members), n.Code, n.Votes)
	}
	for _, v := range p.Approvals {
		s.say("approved-by", v.Time, v.Key)
	}
	for _, v := range p.Rejections {
		s.say("rejected-by", v.Time, v.Key, v.Note)
	}
	s.text("stale", a.Stale)
	for _, n := range a.Competing {
		s.say("competes", n)
	}
}

func (s *speech) need(n *cityid.Need) {
	for _, m := range n.Members {
		vote := "vote-open"
		switch {
		case m.Approved:
			vote = "vote-approved"
		case m.Rejected:
			vote = "vote-rejected"
		}
		var who []string
		if !m.Code.IsZero() {
			who = append(who, m.Code.String())
		}
		for _, k := range m.Keys {
			who = append(who, s.key(k))
		}
		s.say("member-vote", plain(strings.Join(who, s.words("or"))), plain(s.words(vote)))
	}
}

// Policy says who controls a record; nil is a policy inherited from above.
func Policy(lang string, p *cityid.Policy) []Line {
	s := in(lang)
	s.policy(p)
	return s.lines
}

// Allocation says what is allocated, beginning with its code.
func Allocation(lang string, a *cityid.Allocation) []Line {
	s := in(lang)
	s.under(func() { s.allocation(a) }, "allocate", a.Code)
	return s.lines
}

// Waiting says what change a delay holds back.
func Waiting(lang string, w *cityid.Waiting) []Line {
	s := in(lang)
	if w.Rekey != nil {
		s.under(func() { s.rekey(w.Rekey) }, "waiting-rekey", w.Code)
	}
	if w.Retire != nil {
		s.under(func() { s.setStatus(w.Retire) }, "waiting-retire", w.Code)
	}
	s.say("waiting-from", w.Started, w.Effective)
	s.flag("vetoed", w.Vetoed)
	s.flag("overruled", w.Overruled)
	return s.lines
}

// Summary says in one short sentence what operations do, for lists.
func Summary(lang string, ops []cityid.Operation) string {
	s := in(lang)
	if len(ops) == 0 {
		return s.words("nothing")
	}
	first, more := s.short(&ops[0]), len(ops)-1
	if a := ops[0].Allocate; a != nil {
		more += max(0, len(a.Items)-1)
	}
	if more > 0 {
		return s.words("and-more", plain(first), more)
	}
	return first
}

// short is an operation in a few words.
func (s *speech) short(op *cityid.Operation) string {
	allocation := func(key string, a *cityid.Allocation) string {
		name := a.Content.Names.Get(s.lang())
		if !a.Sealed.IsZero() && name == "" {
			name = s.words("sealed-short")
		}
		return strings.TrimSpace(s.words(key, a.Code, a.Kind, name))
	}
	switch {
	case op.Allocate != nil && len(op.Allocate.Items) > 0:
		return allocation("short-allocate", &op.Allocate.Items[0])
	case op.Apply != nil:
		return allocation("short-apply", &op.Apply.Allocation)
	case op.SetParams != nil:
		return s.words("short-params")
	}
	t := in(s.lang())
	t.operation(op)
	if len(t.lines) == 0 {
		return s.words("nothing")
	}
	return strings.TrimRight(t.lines[0].Text, ":：")
}
