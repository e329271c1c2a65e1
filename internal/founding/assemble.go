// SPDX-License-Identifier: Apache-2.0

package founding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cityid"
)

// Founding is what a network begins with.
type Founding struct {
	Chain      string
	Time       cityid.Time
	Params     cityid.Params
	Rule       cityid.Rule
	Schemes    []cityid.Scheme
	Records    []cityid.Allocation // the apex, then the owners in order of their codes
	Validators []cityid.Validator  // in byte order of their keys
}

// Problems are all reasons for which a network can not be assembled, in a fixed
// order.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "; ") }

// Assemble joins a plan and the part of each of its owners. Both have passed
// their Check. The error is a [Problems].
func Assemble(plan *Plan, parts []*Part) (*Founding, error) {
	owners := slices.SortedFunc(slices.Values(plan.Owners), func(a, b Owner) int { return a.Code.Compare(b.Code) })
	parts = slices.SortedStableFunc(slices.Values(parts), func(a, b *Part) int { return a.Owner.Compare(b.Owner) })
	var found Problems
	problem := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	of := map[cityid.Code]*Part{}
	for _, p := range parts {
		switch _, ok := plan.Owner(p.Owner); {
		case !ok:
			problem("the part of %s belongs to no owner of the plan", p.Owner)
		case of[p.Owner] != nil:
			problem("there are two parts of %s", p.Owner)
		case p.Chain != plan.Chain:
			problem("the part of %s is for chain %s, not for %s: it has to be made anew", p.Owner, p.Chain, plan.Chain)
		default:
			of[p.Owner] = p
		}
	}
	for _, o := range owners {
		if of[o.Code] == nil && !slices.ContainsFunc(parts, func(p *Part) bool { return p.Owner == o.Code }) {
			problem("the part of %s is missing", o.Code)
		}
	}
	for _, o := range owners {
		p := of[o.Code]
		if p == nil {
			continue
		}
		if missing := p.Missing(); len(missing) > 0 {
			problem("the part of %s is not signed by %s", o.Code, joined(missing))
		}
		if err := CheckAddress(p.Address, plan.PrivateAddresses); err != nil {
			problem("the part of %s: %v", o.Code, err)
		}
	}
	found = append(found, sharedKeys(owners, of)...)
	for _, r := range plan.Risks() {
		if !slices.Contains(plan.Accept, r.Risk) {
			problem("%s; founders who accept that write \"accept\": [%q] into the plan", r.Text, r.Risk)
		}
	}
	if len(found) > 0 {
		return nil, found
	}
	return founding(plan, owners, of), nil
}

func joined(list []cityid.PublicKey) string {
	var out []string
	for _, k := range list {
		out = append(out, k.String())
	}
	return strings.Join(out, ", ")
}

// sharedKeys finds keys and addresses that stand in two places: whoever holds
// such a key would have two votes, and of two nodes at one address only one can be
// reached.
func sharedKeys(owners []Owner, of map[cityid.Code]*Part) (found Problems) {
	seen := map[string]string{}
	use := func(what, value, where string) {
		if first, twice := seen[what+value]; twice {
			found = append(found, fmt.Sprintf("%s %s stands in two places: %s, and %s", what, value, first, where))
			return
		}
		seen[what+value] = where
	}
	for _, o := range owners {
		p := of[o.Code]
		if p == nil {
			continue
		}
		use("key", p.Validator.String(), "validator of "+o.Code.String())
		use("key", p.NodeKey.String(), "node of "+o.Code.String())
		use("address", p.Address, o.Code.String())
		for i := range p.Policy.Members {
			for _, k := range p.Policy.Members[i].Keys {
				use("key", k.Public.String(), "policy of "+o.Code.String())
			}
		}
	}
	return found
}

// founding is what follows once nothing is wrong.
func founding(plan *Plan, owners []Owner, of map[cityid.Code]*Part) *Founding {
	apex := cityid.Allocation{
		Code: plan.Zone, Kind: cityid.KindAuthority, Content: cityid.Content{Names: plan.Names},
		Policy: &cityid.Policy{Threshold: uint8(plan.Threshold)}, Recovery: plan.Recovery,
	}
	out := &Founding{
		Chain: plan.Chain, Time: plan.Time, Params: plan.Params, Rule: plan.Rule, Schemes: plan.Schemes,
		Records: []cityid.Allocation{apex},
	}
	for _, o := range owners {
		p := of[o.Code]
		if o.Seat {
			apex.Policy.Members = append(apex.Policy.Members, cityid.Member{Code: o.Code})
		}
		if o.Power > 0 {
			out.Validators = append(out.Validators, cityid.Validator{Key: p.Validator, Power: o.Power, Owner: o.Code})
		}
		policy := p.Policy
		out.Records = append(out.Records, cityid.Allocation{
			Code: o.Code, Parent: plan.Zone, Kind: o.Kind, Content: cityid.Content{Names: p.Names}, Policy: &policy,
		})
	}
	slices.SortFunc(out.Validators, func(a, b cityid.Validator) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return out
}

// Finding is something that founders should know of a plan.
type Finding struct {
	Risk Risk // "": worth knowing, but no reason to refuse
	Text string
}

// Risks are the findings for which a network is not assembled unless the plan
// accepts them.
func (p *Plan) Risks() (out []Finding) {
	with := p.withPower()
	if n := len(with); n < 4 {
		out = append(out, Finding{FewOwners, fmt.Sprintf("%s: the network stops when one is away, and one dishonest owner can not be told from the others: want four or more", counted(n, "owner has a validator", "owners have validators"))})
	}
	total := p.power()
	for _, o := range with {
		if 3*o.Power >= total {
			out = append(out, Finding{Third, fmt.Sprintf("%s holds %d of %d power, a third or more: it can stop the network by itself", o.Code, o.Power, total)})
		}
	}
	return out
}

// Notes are what founders should know besides.
func (p *Plan) Notes() (out []Finding) {
	note := func(format string, args ...any) { out = append(out, Finding{Text: fmt.Sprintf(format, args...)}) }
	with, total := p.withPower(), p.power()
	var away int64
	spare := 0
	for _, o := range with {
		if away += o.Power; 3*away >= total {
			break
		}
		spare++
	}
	switch spare {
	case 0:
		note("blocks are made only while all of the largest validators run: none of them can be spared, not even for an update")
	case 1:
		note("blocks go on while any one owner's validator is away, and stop when two are")
	default:
		note("blocks go on while any %d owners' validators are away", spare)
	}
	seats := 0
	for _, o := range p.Owners {
		if o.Seat {
			seats++
		}
	}
	switch {
	case seats > 1 && p.Threshold == 1:
		note("threshold 1 of %d seats: any one institution decides alone, also who else has a seat", seats)
	case seats > 1 && p.Threshold == seats:
		note("threshold %d of %d seats: when one institution loses its keys, nothing can be decided any more", p.Threshold, seats)
	case 2*p.Threshold <= seats:
		note("threshold %d of %d seats: two groups can decide opposite things", p.Threshold, seats)
	}
	if p.Recovery == nil {
		note("there is no recovery policy: when the apex policy can not be met any more, nobody can replace it")
	}
	return out
}

// withPower returns the owners who have validators, the most powerful first.
func (p *Plan) withPower() []Owner {
	out := slices.DeleteFunc(slices.Clone(p.Owners), func(o Owner) bool { return o.Power == 0 })
	slices.SortFunc(out, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(b.Power, a.Power), a.Code.Compare(b.Code))
	})
	return out
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
