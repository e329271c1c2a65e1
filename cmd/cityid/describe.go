// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"cityid"
	"cityid/keys"
)

// describe says in plain words what an operation does, one sentence a line. It
// is what a signer reads before signing, so it leaves out nothing that matters.
func describe(op *cityid.Operation) []string {
	switch {
	case op.Apply != nil:
		return append([]string{fmt.Sprintf("apply for %s with %d documents of evidence", op.Apply.Allocation.Code, len(op.Apply.Evidence))}, describeAllocation(&op.Apply.Allocation)...)
	case op.Revise != nil && op.Revise.Apply != nil:
		return append([]string{fmt.Sprintf("revise application %d (revision %d)", op.Revise.Proposal, op.Revise.Revision)}, describeAllocation(&op.Revise.Apply.Allocation)...)
	case op.Revise != nil:
		return append([]string{fmt.Sprintf("revise proposal %d (revision %d) to:", op.Revise.Proposal, op.Revise.Revision)}, describeAll(op.Revise.Operations)...)
	case op.Return != nil:
		return []string{fmt.Sprintf("return proposal %d for changes: %s", op.Return.Proposal, op.Return.Note), "as seen: " + op.Return.Digest.String()}
	case op.Propose != nil:
		return append([]string{"propose: " + op.Propose.Note}, describeAll(op.Propose.Operations)...)
	case op.Approve != nil:
		return []string{fmt.Sprintf("approve proposal %d", op.Approve.Proposal), "as seen: " + op.Approve.Digest.String()}
	case op.Reject != nil:
		return []string{fmt.Sprintf("reject proposal %d: %s", op.Reject.Proposal, op.Reject.Note), "as seen: " + op.Reject.Digest.String()}
	case op.Withdraw != nil && op.Withdraw.Proposal != 0:
		return []string{fmt.Sprintf("withdraw proposal %d", op.Withdraw.Proposal)}
	case op.Withdraw != nil:
		return []string{fmt.Sprintf("withdraw the attestation of %s by %s", op.Withdraw.Digest, op.Withdraw.Source)}
	case op.Allocate != nil:
		var out []string
		for i := range op.Allocate.Items {
			out = append(out, "allocate "+op.Allocate.Items[i].Code.String())
			out = append(out, describeAllocation(&op.Allocate.Items[i])...)
		}
		return out
	}
	return describeChange(op)
}

func describeAll(ops []cityid.Operation) []string {
	var out []string
	for i := range ops {
		for _, line := range describe(&ops[i]) {
			out = append(out, "  "+line)
		}
	}
	return out
}

func describeChange(op *cityid.Operation) []string {
	switch {
	case op.Amend != nil:
		return append([]string{fmt.Sprintf("amend %s (revision %d) so that it says:", op.Amend.Code, op.Amend.Revision)}, describeContent(&op.Amend.Content)...)
	case op.SetStatus != nil:
		s := op.SetStatus
		out := []string{fmt.Sprintf("make %s (revision %d) %s because of %s %s", s.Code, s.Revision, s.Status, s.Reason, s.Note)}
		if !s.Heir.IsZero() {
			out = append(out, "  codes below it are governed by "+s.Heir.String()+" from now on")
		}
		for _, c := range s.Successors {
			out = append(out, "  succeeded by "+c.String())
		}
		return out
	case op.Rekey != nil:
		return append([]string{fmt.Sprintf("put %s (revision %d) under this policy:", op.Rekey.Code, op.Rekey.Revision)}, append(describePolicy(op.Rekey.Policy), describeRecovery(op.Rekey.Recovery)...)...)
	case op.Veto != nil && op.Veto.Override:
		return []string{"lift the veto against the recovery of " + op.Veto.Code.String()}
	case op.Veto != nil:
		return []string{"veto the change that waits for " + op.Veto.Code.String()}
	case op.Map != nil:
		verb := "map"
		if op.Map.Remove {
			verb = "remove the mapping of"
		}
		a := op.Map.Alias
		return []string{fmt.Sprintf("%s %s:%s to %s (revision %d), from %q until %q", verb, a.Scheme, a.Value, op.Map.Code, op.Map.Revision, a.From, a.Until)}
	case op.Attest != nil:
		return []string{fmt.Sprintf("vouch as %s for the bytes with digest %s (%d octets) %s", op.Attest.Source, op.Attest.Digest, op.Attest.Size, op.Attest.Label)}
	case op.Seal != nil:
		return []string{fmt.Sprintf("seal %s (revision %d) under digest %s", op.Seal.Code, op.Seal.Revision, op.Seal.Sealed)}
	case op.Unseal != nil:
		return append([]string{fmt.Sprintf("unseal %s (revision %d), publishing:", op.Unseal.Code, op.Unseal.Revision)}, describeContent(&op.Unseal.Content)...)
	case op.SetParams != nil:
		return describeParams(op.SetParams)
	case op.SetValidators != nil:
		out := []string{fmt.Sprintf("replace validator set %d by:", op.SetValidators.Revision)}
		for _, v := range op.SetValidators.Validators {
			out = append(out, fmt.Sprintf("  %s with power %d, run by %s", v.Key, v.Power, v.Owner))
		}
		return out
	case op.SetTrust != nil:
		s := &op.SetTrust.Trust.Statement
		return []string{fmt.Sprintf("publish version %d of the trust root of %s: chain %s, height %d, %d validators, hash %s", s.Version, s.Zone, s.Chain, s.Height, len(s.Validators), s.Hash())}
	}
	return []string{"an operation this version does not know"}
}

func describeParams(op *cityid.SetParams) []string {
	out := []string{fmt.Sprintf("change the settings (revision %d):", op.Revision)}
	if p := op.Params; p != nil {
		out = append(out, fmt.Sprintf("  transaction lifetime %ds, recovery delay %ds, apex delay %ds, proposal lifetime %ds, intake limit %d, service level %ds",
			p.TxLifetime, p.RecoveryDelay, p.ApexDelay, p.ProposalLifetime, p.IntakeLimit, p.ServiceLevel))
	}
	if op.Rule != nil {
		for i := range op.Rule.Kinds {
			k := &op.Rule.Kinds[i]
			out = append(out, fmt.Sprintf("  rule for %s: below %v, patterns %v, sequence %t, schemes %v, languages %v, evidence %d, pre-approver %d, quota %d, apex decides %t",
				k.Kind, k.Parents, k.Patterns, k.Sequence, k.Schemes, k.Languages, k.Evidence, k.PreApprover, k.Quota, k.Apex))
		}
		for _, c := range op.Rule.Classes {
			out = append(out, fmt.Sprintf("  class %s* is published %s", c.Prefix, c.Disclosure))
		}
	}
	for _, s := range op.Schemes {
		out = append(out, fmt.Sprintf("  crosswalk scheme %s, owner %s, patterns %v", s.Name, s.Owner, s.Patterns))
	}
	return out
}

func describeAllocation(a *cityid.Allocation) []string {
	state := "active"
	if a.Reserved {
		state = "reserved"
	}
	out := []string{fmt.Sprintf("  a %s, %s", a.Kind, state)}
	if !a.Parent.IsZero() {
		out[0] += ", below " + a.Parent.String()
	}
	if !a.Sealed.IsZero() {
		out = append(out, "  sealed under digest "+a.Sealed.String())
	}
	out = append(out, describeContent(&a.Content)...)
	for _, x := range a.Aliases {
		out = append(out, fmt.Sprintf("  %s:%s", x.Scheme, x.Value))
	}
	if a.Policy != nil {
		out = append(out, describePolicy(a.Policy)...)
	}
	return append(out, describeRecovery(a.Recovery)...)
}

func describeContent(c *cityid.Content) []string {
	var out []string
	for _, n := range c.Names {
		out = append(out, fmt.Sprintf("  name (%s): %s", n.Lang, n.Text))
	}
	for _, l := range c.Links {
		out = append(out, fmt.Sprintf("  link %s: %s", l.Rel, l.Href))
	}
	if len(c.Hosts) > 0 {
		out = append(out, "  links below may use "+strings.Join(c.Hosts, ", "))
	}
	if c.Location != nil {
		b, _ := c.Location.MarshalJSON() // never fails
		out = append(out, "  location: "+string(b))
	}
	for _, d := range c.Documents {
		out = append(out, fmt.Sprintf("  document %s: %s", d.Label, d.Digest))
	}
	return out
}

func describeRecovery(p *cityid.Policy) []string {
	if p == nil {
		return nil
	}
	return append([]string{"  and this recovery policy:"}, describePolicy(p)...)
}

func describePolicy(p *cityid.Policy) []string {
	if p == nil {
		return []string{"  none of its own: the one above governs it"}
	}
	out := []string{fmt.Sprintf("  controlled by %d of %d members:", p.Threshold, len(p.Members))}
	for i, m := range p.Members {
		if !m.Code.IsZero() {
			out = append(out, fmt.Sprintf("    %d. %s, by its own policy", i+1, m.Code))
			continue
		}
		for _, k := range m.Keys {
			out = append(out, fmt.Sprintf("    %d. %s %s (%s)%s", i+1, k.Public.Algorithm(), fingerprint(k.Public), k.Roles, validity(&k)))
		}
	}
	return out
}

func validity(k *cityid.Key) string {
	s := ""
	if k.From != 0 {
		s += " from " + k.From.String()
	}
	if k.Until != 0 {
		s += " until " + k.Until.String()
	}
	if k.Compromised != 0 {
		s += " compromised since " + k.Compromised.String()
	}
	return s
}

// fingerprint returns the form of a key that people compare.
func fingerprint(k cityid.PublicKey) string {
	p, err := keys.ParsePublic([]byte(k))
	if err != nil {
		return k.String()
	}
	return p.Fingerprint()
}
