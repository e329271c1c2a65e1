// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/keys"
)

// check is one fact about a proposal that the system has looked up or computed
// for its reviewers. The registry refuses what it can not accept; the checks say
// why it accepted, and point at what people should look at.
type check struct {
	Class string // "good", "warn", "bad"
	Text  string
	More  []navItem // where to look
	Word  string    // Class in words
}

// checks holds a proposal against what a reviewer would look up by hand.
func (pg *page) checks(a *cityid.ProposalAnswer, d *proposalData) ([]check, error) {
	var out []check
	say := func(class, key string, args ...any) {
		out = append(out, check{Class: class, Text: pg.T("review.check."+key, args...)})
	}
	pick := func(ok bool, otherwise, key string, args ...any) {
		if ok {
			say("good", key+"-ok", args...)
		} else {
			say(otherwise, key+"-"+otherwise, args...)
		}
	}
	p := &a.Proposal
	pick(p.Digest() == a.Digest, "bad", "digest")
	if a.State.Open() {
		if a.Stale == "" {
			say("good", "rule-ok")
		} else {
			say("bad", "rule-bad", a.Stale)
		}
	}
	if p.Application() {
		list, err := pg.applicationChecks(a, d)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	if a.State.Open() {
		left := p.Expires.Std().Sub(a.AsOf.Time)
		pick(left > 72*time.Hour, "warn", "expiry", pg.Moment(p.Expires.Std()), int(left.Hours()/24))
	}
	for i := range out {
		out[i].Word = pg.T("review.check.word-" + out[i].Class)
	}
	return out, nil
}

// applicationChecks are the checks of an application for one code.
func (pg *page) applicationChecks(a *cityid.ProposalAnswer, d *proposalData) ([]check, error) {
	item := &a.Proposal.Operations[0].Allocate.Items[0]
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return nil, err
	}
	rule := settings.Rule.ForKind(item.Kind)
	var out []check
	add := func(list []check, err error) error {
		out = append(out, list...)
		return err
	}
	if err := errors.Join(
		add(pg.parentChecks(item, rule)),
		add(pg.nameChecks(item, rule)),
		add(pg.crosswalkChecks(a, item, rule, settings.Schemes)),
		add(pg.competitionCheck(a)),
		add(pg.evidenceCheck(a, rule, d)),
		add(pg.possessionCheck(a, item)),
		add(pg.policyChecks(item.Policy)),
	); err != nil {
		return nil, err
	}
	return out, nil
}

func (pg *page) one(class, key string, args ...any) []check {
	return []check{{Class: class, Text: pg.T("review.check."+key, args...)}}
}

// parentChecks looks at where the code is to stand.
func (pg *page) parentChecks(item *cityid.Allocation, rule *cityid.KindRule) ([]check, error) {
	parent, err := pg.parentOf(item)
	if err != nil {
		return nil, err
	}
	at, err := pg.Source.Record(pg.ctx, parent)
	if errors.Is(err, cityid.ErrNotFound) {
		return pg.one("bad", "parent-absent", parent), nil
	}
	if err != nil {
		return nil, err
	}
	rec := &at.Record
	name := pg.NameOf(rec.Content.Names, rec.Code)
	link := []navItem{{URL: pg.CodeURL(rec.Code), Text: rec.Code.String()}}
	if rec.Status != cityid.StatusActive {
		return []check{{Class: "bad", Text: pg.T("review.check.parent-bad", name, pg.StatusName(rec.Status)), More: link}}, nil
	}
	out := []check{{Class: "good", Text: pg.T("review.check.parent-ok", name, pg.StatusName(rec.Status)), More: link}}
	switch {
	case rule == nil:
		out = append(out, pg.one("bad", "kind-bad", pg.Kind(item.Kind))...)
	case !slices.Contains(rule.Parents, rec.Kind):
		out = append(out, pg.one("bad", "kind-parent", pg.Kind(item.Kind), pg.Kind(rec.Kind))...)
	case len(rule.Patterns) > 0 && !slices.ContainsFunc(rule.Patterns, func(p string) bool { return cityid.MatchPattern(p, item.Code.LastNode()) }):
		out = append(out, pg.one("bad", "pattern-bad", item.Code.LastNode(), strings.Join(rule.Patterns, ", "))...)
	default:
		out = append(out, pg.one("good", "kind-ok", pg.Kind(item.Kind), item.Code.LastNode())...)
	}
	return out, nil
}

// parentOf returns the parent an allocation names, or would get: of a place, the
// nearest place around it that is allocated.
func (pg *page) parentOf(item *cityid.Allocation) (cityid.Code, error) {
	if !item.Parent.IsZero() {
		return item.Parent, nil
	}
	place := item.Code.Place()
	if item.Code.Depth() == 3 {
		for n := len(place) - 1; n >= 2; n-- {
			c, err := cityid.ParseCanonical(item.Code.IAC() + "." + item.Code.Country() + "." + place[:n])
			if err != nil {
				continue
			}
			a, err := pg.Source.Record(pg.ctx, c)
			if err == nil && a.Record.Code.PlaceCovers(item.Code) {
				return c, nil
			}
			if err != nil && !errors.Is(err, cityid.ErrNotFound) {
				return c, err
			}
		}
	}
	return item.Code.Parent(), nil
}

// nameChecks looks at the languages of the name.
func (pg *page) nameChecks(item *cityid.Allocation, rule *cityid.KindRule) ([]check, error) {
	if !item.Sealed.IsZero() {
		return pg.one("warn", "names-sealed"), nil
	}
	var missing, have []string
	for _, n := range item.Content.Names {
		have = append(have, n.Lang)
	}
	if rule != nil {
		for _, l := range rule.Languages {
			if !item.Content.Names.Has(l) {
				missing = append(missing, l)
			}
		}
	}
	if len(missing) > 0 {
		return pg.one("bad", "names-bad", strings.Join(missing, ", ")), nil
	}
	return pg.one("good", "names-ok", strings.Join(have, ", ")), nil
}

// crosswalkChecks looks whether the identifiers of other schemes are of their
// form, belong to nobody else, and, for the divisions of GB/T 2260, are those of
// the place that the code names.
func (pg *page) crosswalkChecks(a *cityid.ProposalAnswer, item *cityid.Allocation, rule *cityid.KindRule, schemes []cityid.Scheme) ([]check, error) {
	var out []check
	if rule != nil {
		for _, name := range rule.Schemes {
			if !slices.ContainsFunc(item.Aliases, func(x cityid.Alias) bool { return x.Scheme == name }) {
				out = append(out, pg.one("bad", "crosswalk-absent", name)...)
			}
		}
	}
	for _, x := range item.Aliases {
		at := slices.IndexFunc(schemes, func(s cityid.Scheme) bool { return s.Name == x.Scheme })
		if at < 0 {
			out = append(out, pg.one("bad", "crosswalk-scheme", x.Scheme)...)
			continue
		}
		title := schemes[at].Titles.Get(pg.Lang)
		found, err := pg.Source.Lookup(pg.ctx, x.Scheme, x.Value)
		if errors.Is(err, cityid.ErrNotFound) {
			found, err = &cityid.CrosswalkAnswer{}, nil
		}
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(found.Entries, func(e cityid.CrosswalkEntry) bool { return e.Holds && e.Code != item.Code }); i >= 0 {
			e := found.Entries[i]
			out = append(out, check{
				Class: "warn", Text: pg.T("review.check.crosswalk-taken", title, x.Value, pg.NameOf(e.Names, e.Code)),
				More: []navItem{{URL: pg.CodeURL(e.Code), Text: e.Code.String()}},
			})
			continue
		}
		if x.Scheme != "gb2260" {
			out = append(out, pg.one("good", "crosswalk-free", title, x.Value)...)
			continue
		}
		if place := item.Code.Place(); x.Value == place+strings.Repeat("0", max(0, 6-len(place))) {
			out = append(out, pg.one("good", "crosswalk-ok", title, x.Value, place)...)
		} else {
			out = append(out, pg.one("warn", "crosswalk-warn", title, x.Value, place)...)
		}
	}
	return out, nil
}

func (pg *page) competitionCheck(a *cityid.ProposalAnswer) ([]check, error) {
	if !a.State.Open() {
		return nil, nil
	}
	if len(a.Competing) == 0 {
		return pg.one("good", "no-competing"), nil
	}
	c := check{Class: "warn", Text: pg.N("review.check.competing", len(a.Competing))}
	for _, n := range a.Competing {
		c.More = append(c.More, pg.proposalLink(n))
	}
	return []check{c}, nil
}

// evidenceCheck counts the documents that the application names, and those that
// are here.
func (pg *page) evidenceCheck(a *cityid.ProposalAnswer, rule *cityid.KindRule, d *proposalData) ([]check, error) {
	want := 0
	if rule != nil {
		want = int(rule.Evidence)
	}
	n := len(a.Proposal.Evidence)
	if n < want {
		return pg.one("bad", "evidence-bad", n, want), nil
	}
	out := pg.one("good", "evidence-ok", n, want)
	if n == 0 {
		out = pg.one("warn", "evidence-none")
	}
	missing, damaged := 0, 0
	for _, e := range d.Evidence {
		switch {
		case e.Refused != "":
			damaged++
		case !e.Here:
			missing++
		}
	}
	if d.Desk && damaged > 0 {
		out = append(out, pg.one("bad", "evidence-damaged", damaged)...)
	}
	if d.Desk && missing > 0 {
		out = append(out, pg.one("warn", "evidence-missing", missing)...)
	}
	return out, nil
}

// possessionCheck verifies that the holder of each signing key agreed to stand in
// the policy.
func (pg *page) possessionCheck(a *cityid.ProposalAnswer, item *cityid.Allocation) ([]check, error) {
	if item.Policy == nil {
		return pg.one("bad", "policy-absent"), nil
	}
	wrong, n := 0, 0
	for i := range item.Policy.Members {
		for _, k := range item.Policy.Members[i].Keys {
			if !k.Public.Signs() {
				continue
			}
			n++
			digest := cityid.PossessionDigest(a.AsOf.Chain, item.Code, item.Policy, k.Public)
			at := slices.IndexFunc(a.Proposal.Possessions, func(p cityid.Possession) bool { return p.Key == k.Public })
			if at < 0 || keys.Verify([]byte(k.Public), digest[:], a.Proposal.Possessions[at].Signature) != nil {
				wrong++
			}
		}
	}
	if wrong > 0 {
		return pg.one("bad", "possession-bad", wrong, n), nil
	}
	return pg.one("good", "possession-ok", n), nil
}

// policyChecks points at policies that work but are unwise: one officer alone, or
// passkeys of one site alone.
func (pg *page) policyChecks(policy *cityid.Policy) ([]check, error) {
	if policy == nil {
		return nil, nil
	}
	var out []check
	hosts, all, lonely := map[string]bool{}, 0, 0
	for i := range policy.Members {
		m := &policy.Members[i]
		if !m.Code.IsZero() {
			hosts["code "+m.Code.String()] = true
			continue
		}
		mine := map[string]bool{}
		for _, k := range m.Keys {
			if k.Roles&cityid.RoleControl == 0 {
				continue
			}
			all++
			host := k.Public.RPID()
			if host == "" {
				host = "key " + string(k.Public)
			}
			hosts[host], mine[host] = true, true
		}
		if len(mine) == 1 {
			lonely++
		}
	}
	switch {
	case len(policy.Members) == 1 && all <= 1:
		out = append(out, pg.one("warn", "policy-single")...)
	case policy.Threshold == 1:
		out = append(out, pg.one("warn", "policy-threshold", len(policy.Members))...)
	default:
		out = append(out, pg.one("good", "policy-ok", policy.Threshold, len(policy.Members))...)
	}
	if len(hosts) == 1 && all > 1 {
		for h := range hosts {
			out = append(out, pg.one("warn", "policy-host", h)...)
		}
	} else if lonely > 0 && all > 1 {
		out = append(out, pg.one("warn", "policy-lonely", lonely)...)
	}
	return out, nil
}
