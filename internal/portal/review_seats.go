// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// seatState is what a member of a deciding policy has done.
type seatState string

const (
	seatOpen     seatState = "open"
	seatPartly   seatState = "partly" // some of its officers agree, more must
	seatApproved seatState = "approved"
	seatReturned seatState = "returned"
	seatRejected seatState = "rejected"
)

// seatView is a member of a policy that decides.
type seatView struct {
	place
	Short string // for lists: the end of the name or code
	State seatState
	Tag   tag
	Time  time.Time
	Note  string
	Who   []string // the keys that acted
	Mine  bool     // the visitor's key speaks for it
}

// needView is a policy that decides, with its members.
type needView struct {
	place
	Threshold int
	Votes     int
	Of        int
	Seats     []seatView
}

// needs says who decides about a proposal and what they have done. With steps,
// it also says who returned it.
func (pg *page) needs(a *cityid.ProposalAnswer, steps []office.Step) ([]needView, error) {
	list := a.Needs
	if len(list) == 0 {
		var err error
		if list, err = pg.pastNeeds(a); err != nil {
			return nil, err
		}
	}
	var out []needView
	for _, n := range list {
		at, err := pg.placeAt(n.Code)
		if err != nil {
			return nil, err
		}
		v := needView{place: at, Threshold: n.Threshold, Votes: n.Votes, Of: len(n.Members)}
		for _, m := range n.Members {
			s, err := pg.seat(a, &m, steps)
			if err != nil {
				return nil, err
			}
			v.Seats = append(v.Seats, s)
		}
		out = append(out, v)
	}
	return out, nil
}

// pastNeeds says of a decided application who decides such a thing now, and how
// they voted. Of other decided proposals the chain does not say.
func (pg *page) pastNeeds(a *cityid.ProposalAnswer) ([]cityid.Need, error) {
	p := &a.Proposal
	if !p.Application() {
		return nil, nil
	}
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return nil, err
	}
	item := &p.Operations[0].Allocate.Items[0]
	decider, err := pg.parentOf(item)
	if err != nil {
		return nil, err
	}
	if k := settings.Rule.ForKind(item.Kind); k != nil && k.Apex {
		status, err := pg.Source.Status(pg.ctx)
		if err != nil {
			return nil, err
		}
		decider = status.Zone
	}
	rec, err := pg.Source.Record(pg.ctx, decider)
	if errors.Is(err, cityid.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if rec.Record.Policy == nil {
		if rec, err = pg.Source.Record(pg.ctx, rec.Holder); err != nil {
			return nil, err
		}
	}
	n := cityid.Need{Code: rec.Record.Code}
	if rec.Record.Policy == nil {
		return nil, nil
	}
	n.Threshold = int(rec.Record.Policy.Threshold)
	for _, m := range rec.Record.Policy.Members {
		v := cityid.MemberVote{Code: m.Code}
		for _, k := range m.Keys {
			if k.Roles&cityid.RoleControl != 0 {
				v.Keys = append(v.Keys, k.Public)
			}
		}
		voices, err := pg.voices(&v)
		if err != nil {
			return nil, err
		}
		has := func(list []cityid.Vote) bool {
			return slices.ContainsFunc(list, func(x cityid.Vote) bool { return voices[x.Key] })
		}
		if v.Approved, v.Rejected = has(p.Approvals), has(p.Rejections); v.Approved {
			n.Votes++
		}
		n.Members = append(n.Members, v)
	}
	return []cityid.Need{n}, nil
}

func (pg *page) seat(a *cityid.ProposalAnswer, m *cityid.MemberVote, steps []office.Step) (seatView, error) {
	p := &a.Proposal
	s := seatView{State: seatOpen}
	var err error
	if !m.Code.IsZero() {
		if s.place, err = pg.placeAt(m.Code); err != nil {
			return s, err
		}
	} else {
		names := make([]string, len(m.Keys))
		for i, k := range m.Keys {
			names[i] = describe.Fingerprint(k)
		}
		s.Name = strings.Join(names, " / ")
	}
	s.Short = s.Name
	voices, err := pg.voices(m)
	if err != nil {
		return s, err
	}
	s.Mine = pg.Key() != "" && voices[pg.Key()]
	take := func(state seatState, votes []cityid.Vote) {
		for _, v := range votes {
			if voices[v.Key] {
				s.State, s.Time, s.Note = state, v.Time.Std(), v.Note
				s.Who = append(s.Who, pg.officerName(v.Key, v.Time))
			}
		}
	}
	switch {
	case m.Approved:
		take(seatApproved, p.Approvals)
		s.State = seatApproved
	case m.Rejected:
		take(seatRejected, p.Rejections)
		s.State = seatRejected
	default:
		take(seatPartly, p.Approvals)
		take(seatRejected, p.Rejections)
	}
	if a.State == cityid.ProposalReturned && s.State == seatOpen {
		for i := len(steps) - 1; i >= 0 && steps[i].Act != office.ActRevise; i-- {
			if k := slices.IndexFunc(steps[i].Signers, func(k cityid.PublicKey) bool { return voices[k] }); steps[i].Act == office.ActReturn && k >= 0 {
				s.State, s.Time, s.Note = seatReturned, steps[i].Time.Std(), steps[i].Note
				s.Who = []string{pg.officerName(steps[i].Signers[k], steps[i].Time)}
				break
			}
		}
	}
	s.Tag = pg.seatTag(s.State)
	return s, nil
}

func (pg *page) seatTag(s seatState) tag {
	t := tag{Text: pg.T("review.seat." + string(s))}
	switch s {
	case seatApproved:
		t.Class, t.Icon = "good", "✓"
	case seatRejected:
		t.Class, t.Icon = "bad", "✕"
	case seatReturned:
		t.Class, t.Icon = "warn", "↩"
	case seatPartly:
		t.Class, t.Icon = "info", "◐"
	default:
		t.Class, t.Icon = "plain", "○"
	}
	return t
}

// voices returns the keys that speak for a member: its own, or those of the
// policy of its code, down to the codes in there.
func (pg *page) voices(m *cityid.MemberVote) (cityid.KeySet, error) {
	out := cityid.KeysOf(m.Keys...)
	return out, pg.addVoices(out, m.Code, 0)
}

func (pg *page) addVoices(into cityid.KeySet, code cityid.Code, depth int) error {
	if code.IsZero() || depth > cityid.MaxPolicyDepth {
		return nil
	}
	policy, now, err := pg.policyOf(code)
	if err != nil || policy == nil {
		return err
	}
	for i := range policy.Members {
		m := &policy.Members[i]
		for j := range m.Keys {
			if m.Keys[j].Holds(cityid.RoleControl, now) {
				into[m.Keys[j].Public] = true
			}
		}
		if err := pg.addVoices(into, m.Code, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// policyOf returns the policy that governs a code, and the time of the answer;
// pages ask for the same few again and again.
func (pg *page) policyOf(code cityid.Code) (*cityid.Policy, cityid.Time, error) {
	if a, ok := pg.policies[code]; ok {
		return a.policy, a.at, nil
	}
	a, err := pg.Source.Record(pg.ctx, code)
	if err == nil && a.Record.Policy == nil && !a.Holder.IsZero() && a.Holder != code {
		a, err = pg.Source.Record(pg.ctx, a.Holder)
	}
	if errors.Is(err, cityid.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if pg.policies == nil {
		pg.policies = map[cityid.Code]policyAt{}
	}
	pg.policies[code] = policyAt{a.Record.Policy, cityid.TimeOf(a.AsOf.Time)}
	return a.Record.Policy, cityid.TimeOf(a.AsOf.Time), nil
}

type policyAt struct {
	policy *cityid.Policy
	at     cityid.Time
}

// waitsForMe reports whether a member that has not acted can be spoken for by the
// visitor's key.
func (pg *page) waitsForMe(a *cityid.ProposalAnswer) (bool, error) {
	if pg.Key() == "" || a.State != cityid.ProposalPending {
		return false, nil
	}
	for _, n := range a.Needs {
		for i := range n.Members {
			m := &n.Members[i]
			if m.Approved || m.Rejected {
				continue
			}
			voices, err := pg.voices(m)
			if err != nil {
				return false, err
			}
			if voices[pg.Key()] && !votedBy(&a.Proposal, pg.Key()) {
				return true, nil
			}
		}
	}
	return false, nil
}

// votedBy reports whether a key has voted on a proposal.
func votedBy(p *cityid.Proposal, k cityid.PublicKey) bool {
	is := func(v cityid.Vote) bool { return v.Key == k }
	return slices.ContainsFunc(p.Approvals, is) || slices.ContainsFunc(p.Rejections, is)
}

// officerName names who has a key: the officer, to those who sign for the same
// institution, else the key's fingerprint.
func (pg *page) officerName(k cityid.PublicKey, at cityid.Time) string {
	if pg.atDesk() {
		if f, err := pg.Office.OfficerByKey(pg.ctx, k, at.Std()); err == nil {
			return f.Name
		}
	}
	return describe.Fingerprint(k)
}
