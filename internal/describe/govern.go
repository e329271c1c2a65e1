// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"fmt"
	"strings"

	"cityid"
)

// Settings says what the parameters, the distribution rule and the crosswalk
// schemes are. Params and rule may be nil.
func Settings(lang string, p *cityid.Params, r *cityid.Rule, schemes []cityid.Scheme) []Line {
	s := in(lang)
	s.settings(p, r, schemes)
	return s.lines
}

// governing describes what the apex decides for the whole zone.
func (s *speech) governing(op *cityid.Operation) {
	if p := op.SetParams; p != nil {
		s.under(func() { s.settings(p.Params, p.Rule, p.Schemes) }, "set-params", p.Revision)
	}
	if v := op.SetValidators; v != nil {
		s.under(func() {
			for i := range v.Validators {
				x := &v.Validators[i]
				s.say("validator", x.Key, x.Power)
				s.code("run-by", x.Owner)
			}
		}, "set-validators", v.Revision)
	}
	if t := op.SetTrust; t != nil {
		s.trust(&t.Trust)
	}
	if u := op.SetUpgrade; u != nil {
		if u.Plan == nil {
			s.say("upgrade-cancel", u.Revision)
			return
		}
		s.upgrade(u.Plan)
		s.depth++
		s.say("upgrade-revision", u.Revision)
		s.depth--
	}
}

// Upgrade says what is planned, and what to install.
func Upgrade(lang string, u *cityid.Upgrade) []Line {
	s := in(lang)
	s.upgrade(u)
	return s.lines
}

func (s *speech) upgrade(u *cityid.Upgrade) {
	s.under(func() {
		s.say("upgrade-release", u.Release)
		s.text("upgrade-href", u.Href)
		s.digest("upgrade-digest", u.Digest)
	}, "upgrade", u.Height, u.Version)
}

func (s *speech) settings(p *cityid.Params, r *cityid.Rule, schemes []cityid.Scheme) {
	if p != nil {
		s.under(func() { s.params(p) }, "params", p.Revision)
	}
	if r != nil {
		s.under(func() { s.rule(r) }, "rule")
	}
	for i := range schemes {
		x := &schemes[i]
		s.under(func() {
			for _, n := range x.Titles {
				s.say("name", n.Lang, n.Text)
			}
			s.code("scheme-owner", x.Owner)
			s.quoted("scheme-patterns", x.Patterns)
		}, "scheme", x.Name)
	}
}

func (s *speech) params(p *cityid.Params) {
	s.say("tx-lifetime", plain(s.duration(p.TxLifetime)))
	s.say("recovery-delay", plain(s.duration(p.RecoveryDelay)))
	s.say("apex-delay", plain(s.duration(p.ApexDelay)))
	s.say("proposal-lifetime", plain(s.duration(p.ProposalLifetime)))
	s.say("intake-limit", p.IntakeLimit)
	if p.ServiceLevel != 0 {
		s.say("service-level", plain(s.duration(p.ServiceLevel)))
	}
	if p.UpgradeNotice != 0 {
		s.say("upgrade-notice", p.UpgradeNotice)
	}
	if p.CheckpointSpacing != 0 {
		s.say("checkpoint-spacing", plain(s.duration(p.CheckpointSpacing)))
	}
}

// duration says seconds in the largest unit that divides them.
func (s *speech) duration(seconds uint32) string {
	for _, u := range []struct {
		key string
		n   uint32
	}{{"days", 86400}, {"hours", 3600}, {"minutes", 60}} {
		if seconds >= 2*u.n && seconds%u.n == 0 {
			return s.words(u.key, seconds/u.n)
		}
	}
	return s.words("seconds", seconds)
}

func (s *speech) rule(r *cityid.Rule) {
	for i := range r.Kinds {
		k := &r.Kinds[i]
		s.under(func() { s.kindRule(k) }, "rule-kind", k.Kind)
	}
	for _, c := range r.Classes {
		s.say("rule-class", c.Prefix, c.Disclosure)
	}
}

func (s *speech) kindRule(k *cityid.KindRule) {
	if len(k.Parents) > 0 {
		names := make([]string, len(k.Parents))
		for i, p := range k.Parents {
			names[i] = s.kind(p)
		}
		s.say("rule-parents", plain(strings.Join(names, s.words("or"))))
	}
	s.quoted("rule-patterns", k.Patterns)
	s.flag("rule-sequence", k.Sequence)
	s.quoted("rule-schemes", k.Schemes)
	s.quoted("rule-languages", k.Languages)
	if k.Evidence != 0 {
		s.say("rule-evidence", k.Evidence)
	}
	if k.PreApprover != 0 {
		s.say("rule-pre-approver", k.PreApprover)
	}
	s.flag("rule-apex", k.Apex)
	if k.Quota != 0 {
		s.say("rule-quota", k.Quota)
	}
}

func (s *speech) trust(t *cityid.Trust) {
	x := &t.Statement
	s.under(func() {
		s.say("trust-hash", x.Hash())
		s.say("chain", x.Chain)
		s.say("trust-height", x.Height)
		s.digest("trust-header", x.Header)
		s.say("trust-time", x.Time)
		for _, v := range x.Validators {
			s.say("validator", v.Key, v.Power)
		}
		s.quorum(&x.Quorum)
		s.digest("trust-prev", x.Prev)
		for _, k := range t.Signatures {
			s.say("trust-signature", k.Key, k.Signature)
		}
	}, "set-trust", x.Version, x.Zone)
}

func (s *speech) quorum(q *cityid.Quorum) {
	s.under(func() {
		for i := range q.Members {
			m := &q.Members[i]
			s.under(func() {
				s.code("quorum-code", m.Code)
				for _, k := range m.Keys {
					s.say("quorum-key", k)
				}
				if m.Quorum != nil {
					s.quorum(m.Quorum)
				}
			}, "quorum-member", i+1)
		}
	}, "quorum", q.Threshold, len(q.Members))
}

// degrees writes units of 1e-7 degrees as a decimal number.
func degrees(v int32) string {
	sign, u := "", int64(v)
	if u < 0 {
		sign, u = "-", -u
	}
	t := strings.TrimRight(fmt.Sprintf("%d.%07d", u/1e7, u%1e7), "0")
	return sign + strings.TrimSuffix(t, ".")
}
