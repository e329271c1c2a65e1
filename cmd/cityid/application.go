// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/describe"
)

func applicationCommand() *command {
	return &command{
		name: "application", short: "apply for a code, and decide applications and proposals",
		sub: []*command{
			{
				name: "create", args: "CODE", short: "write an application to a file, with the proof that each officer holds their key",
				examples: []string{"cityid application create MA.156.1301 --kind city --name zh=石家庄市 --name en=Shijiazhuang --alias gb2260:130100 --officer wang --officer li --threshold 2 -o sjz.json"},
				setup:    applicationCreate,
			},
			{
				name: "prove", args: "FILE", short: "add the proof that you hold a key of the policy applied for",
				long:     "The file may come from a portal, where the application is written. It is changed in place, unless -o\nnames another. A change of the code or the policy voids all proofs.",
				examples: []string{"cityid application prove cityid-MA.156.1331.json --key officer"},
				setup:    applicationProve,
			},
			{
				name: "submit", args: "FILE", short: "bring an application onto the chain with an intake key",
				examples: []string{"cityid application submit sjz.json --key intake"},
				setup:    applicationSubmit,
			},
			{name: "list", short: "list applications and proposals, latest first", setup: applicationList},
			{name: "show", args: "NUMBER", short: "show a proposal, what it would do, and what it still needs", setup: applicationShow},
			{
				name: "approve", args: "NUMBER", short: "approve a proposal as you have seen it",
				examples: []string{"cityid application show 17", "cityid application approve 17 --key officer --digest 5f1c…"},
				setup:    vote("approve"),
			},
			{name: "return", args: "NUMBER", short: "return an application for changes", setup: vote("return")},
			{name: "revise", args: "NUMBER FILE", short: "replace an application by a changed one", setup: applicationRevise},
			{name: "reject", args: "NUMBER", short: "reject a proposal", setup: vote("reject")},
			{name: "withdraw", args: "NUMBER", short: "take your application or proposal back", setup: applicationWithdraw},
		},
	}
}

func applicationCreate(f *flags) func(context.Context, []string) error {
	var s secrets
	s.flags(f)
	var item allocationFlags
	item.setup(f, "city")
	chain := f.String("chain", "", "chain `id`, when no node can be asked")
	threshold := f.Int("threshold", 1, "how many officers must sign together")
	policyFile := f.String("policy", "", "take the policy from this JSON `file` instead of --officer")
	var officers, evidence, agents list
	f.Var(&officers, "officer", "key (`name` or file) of an officer; several times")
	f.Var(&agents, "assert", "`key` that may attest for the code, in the first officer's hands")
	f.Var(&evidence, "evidence", "a document for the reviewers (`file`); only a salted digest is published")
	return func(ctx context.Context, args []string) error {
		a, err := item.allocation(ctx, args)
		if err != nil {
			return err
		}
		file := &cityid.ApplicationFile{Version: cityid.ApplicationFileVersion, Chain: *chain}
		if file.Chain == "" {
			if file.Chain, err = f.chainID(ctx); err != nil {
				return err
			}
		}
		signers, policy, err := f.officers(ctx, officers, agents, *threshold, *policyFile, &s)
		if err != nil {
			return err
		}
		a.Policy = policy
		file.Apply = cityid.Apply{Allocation: *a}
		if err := proveAll(file, signers); err != nil {
			return err
		}
		if err := addEvidence(ctx, file, evidence); err != nil {
			return err
		}
		b, err := json.MarshalIndent(file, "", "  ")
		if err != nil {
			return err
		}
		if err := f.write(append(b, '\n')); err != nil {
			return err
		}
		f.talk("application for %s, controlled by %d of %d members", a.Code.Display(), policy.Threshold, len(policy.Members))
		f.talk("  hand the file to an institution: cityid application submit FILE --key INTAKE")
		return nil
	}
}

func (f *flags) chainID(ctx context.Context) (string, error) {
	c, err := f.connect()
	if err != nil {
		return "", err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return "", hint(err, "without a node, give --chain ID")
	}
	return s.Chain, nil
}

// officers returns the signers given and the policy: one member for each
// officer, or what the policy file says.
func (f *flags) officers(ctx context.Context, names, agents list, threshold int, file string, s *secrets) ([]cityid.Signer, *cityid.Policy, error) {
	signers, err := f.signers(ctx, names, s)
	if err != nil {
		return nil, nil, err
	}
	if file != "" {
		p, err := readPolicy(ctx, file)
		return signers, p, err
	}
	if len(signers) == 0 {
		return nil, nil, usagef("who controls the code? give --officer KEY, several times for several officers, or --policy FILE")
	}
	if threshold < 1 || threshold > len(signers) {
		return nil, nil, usagef("--threshold %d: want 1 to %d, the number of officers", threshold, len(signers))
	}
	p := &cityid.Policy{Threshold: uint8(threshold)}
	for _, k := range signers {
		p.Members = append(p.Members, cityid.Member{Keys: []cityid.Key{{Public: k.Key, Roles: cityid.RoleControl}}})
	}
	asserting, err := f.signers(ctx, agents, s)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range asserting {
		p.Members[0].Keys = append(p.Members[0].Keys, cityid.Key{Public: k.Key, Roles: cityid.RoleAssert})
	}
	if err := p.Check(); err != nil {
		return nil, nil, usageError{err}
	}
	return append(signers, asserting...), p, nil
}

// readPolicy reads a policy in JSON.
func readPolicy(ctx context.Context, path string) (*cityid.Policy, error) {
	b, err := readBounded(ctx, path, 1<<20)
	if err != nil {
		return nil, err
	}
	var p cityid.Policy
	if err := strictJSON(b, &p); err != nil {
		return nil, fmt.Errorf("%s is not a policy: %w", path, err)
	}
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &p, nil
}

// proveAll adds a proof of possession for every signing key of the policy.
func proveAll(a *cityid.ApplicationFile, signers []cityid.Signer) error {
	for _, k := range a.Apply.Allocation.Policy.SigningKeys() {
		i := slices.IndexFunc(signers, func(s cityid.Signer) bool { return s.Key == k })
		if i < 0 {
			return exitError{exitNotPermitted, fmt.Errorf("key %s stands in the policy but is not here to prove that it is held: name its file with --officer", describe.Fingerprint(k))}
		}
		if err := proveBy(a, signers[i]); err != nil {
			return err
		}
	}
	return nil
}

// proveBy adds a signer's proof, in the place of an earlier one. Proofs by keys
// that no longer stand in the policy are dropped.
func proveBy(a *cityid.ApplicationFile, s cityid.Signer) error {
	d := cityid.PossessionDigest(a.Chain, a.Apply.Allocation.Code, a.Apply.Allocation.Policy, s.Key)
	sig, err := s.Sign(d[:])
	if err != nil {
		return err
	}
	want := a.Apply.Allocation.Policy.SigningKeys()
	a.Apply.Possessions = slices.DeleteFunc(a.Apply.Possessions, func(p cityid.Possession) bool { return !slices.Contains(want, p.Key) })
	a.Prove(cityid.Possession{Key: s.Key, Signature: sig})
	return nil
}

func applicationProve(f *flags) func(context.Context, []string) error {
	var s secrets
	s.flags(f)
	var names list
	f.Var(&names, "key", "prove that this key (`name` or file) is held; several times for several keys")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || len(names) == 0 {
			return usagef("want one application file and --key NAME")
		}
		a, err := readApplication(ctx, args[0])
		if err != nil {
			return err
		}
		policy := a.Apply.Allocation.Policy
		if policy == nil || !cityid.ValidChainID(a.Chain) {
			return fmt.Errorf("%s is not an application: it names no policy or no chain", args[0])
		}
		if err := policy.Check(); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		f.talk("chain %s", a.Chain)
		for _, line := range describe.Allocation(f.lang, &a.Apply.Allocation) {
			f.talk("%s", line)
		}
		signers, err := f.signers(ctx, names, &s)
		if err != nil {
			return err
		}
		for i, k := range signers {
			if !slices.Contains(policy.SigningKeys(), k.Key) {
				return exitError{exitNotPermitted, fmt.Errorf("key %s does not stand in the policy of this application", names[i])}
			}
			if err := proveBy(a, k); err != nil {
				return err
			}
		}
		b, err := json.MarshalIndent(a, "", "  ")
		if err != nil {
			return err
		}
		if f.out == "" {
			f.out = args[0]
		}
		if err := f.write(append(b, '\n')); err != nil {
			return err
		}
		f.talk("%s holds %d of %d proofs", f.out, len(a.Apply.Possessions), len(policy.SigningKeys()))
		return nil
	}
}

func addEvidence(ctx context.Context, a *cityid.ApplicationFile, paths list) error {
	for _, path := range paths {
		b, err := readBounded(ctx, path, 10<<20)
		if err != nil {
			return err
		}
		e := cityid.EvidenceName{Name: filepath.Base(path)}
		if _, err := rand.Read(e.Salt[:]); err != nil {
			return err
		}
		a.Evidence = append(a.Evidence, e)
		a.Apply.Evidence = append(a.Apply.Evidence, cityid.EvidenceDigest(e.Salt, b))
	}
	return nil
}

func readApplication(ctx context.Context, path string) (*cityid.ApplicationFile, error) {
	b, err := readBounded(ctx, path, maxTxFile)
	if err != nil {
		return nil, err
	}
	var a cityid.ApplicationFile
	if err := strictJSON(b, &a); err != nil {
		return nil, fmt.Errorf("%s is not an application: %w", path, err)
	}
	if a.Version != cityid.ApplicationFileVersion {
		return nil, fmt.Errorf("%s: version %d of the application file is unknown", path, a.Version)
	}
	return &a, nil
}

func applicationSubmit(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one application file")
		}
		a, err := readApplication(ctx, args[0])
		if err != nil {
			return err
		}
		if w.chain == "" {
			w.chain = a.Chain
		}
		r, err := w.send(ctx, cityid.Operation{Apply: &a.Apply})
		if err != nil || r == nil {
			return err
		}
		if len(r.Proposals) == 1 {
			w.talk("application %d for %s is before the reviewers; cityid application show %d tells how it stands", r.Proposals[0], a.Apply.Allocation.Code, r.Proposals[0])
		}
		return w.print(receiptTable(r))
	}
}

func applicationList(f *flags) func(context.Context, []string) error {
	state := f.String("state", "", "only `pending`, returned, executed, rejected, withdrawn, closed or expired ones")
	code := f.String("code", "", "only those that concern this `code`")
	limit := f.Int("limit", 50, "how many at most")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		var q cityid.ProposalQuery
		if *state != "" {
			if err := q.State.UnmarshalText([]byte(*state)); err != nil {
				return usageError{err}
			}
		}
		if *code != "" {
			c, err := parseCode(*code)
			if err != nil {
				return err
			}
			q.Code = c
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		t := &table{head: []string{"number", "state", "what", "approvals", "created", "expires"}}
		if *limit < 1 {
			return usagef("--limit %d: want 1 or more", *limit)
		}
		for len(t.rows) < *limit {
			q.Limit = min(200, *limit-len(t.rows))
			page, err := c.Proposals(ctx, q)
			if err != nil {
				return err
			}
			for i := range page.Proposals {
				p := &page.Proposals[i]
				t.add(p, fmt.Sprint(p.Proposal.Number), p.State.String(), summary(f.lang, &p.Proposal), votes(p), p.Proposal.Created.String(), p.Proposal.Expires.String())
			}
			if q.Before = page.Next; q.Before == 0 {
				break
			}
		}
		return f.print(t)
	}
}

// summary says in a few words what a proposal is about.
func summary(lang string, p *cityid.Proposal) string {
	if p.Application() {
		a := &p.Operations[0].Allocate.Items[0]
		return fmt.Sprintf("%s %s %s", a.Code, describe.Kind(lang, a.Kind), a.Content.Names.Get("zh"))
	}
	return describe.Summary(lang, p.Operations)
}

func votes(p *cityid.ProposalAnswer) string {
	var out []string
	for _, n := range p.Needs {
		out = append(out, fmt.Sprintf("%d of %d for %s", n.Votes, n.Threshold, n.Code))
	}
	return strings.Join(out, ", ")
}

func applicationShow(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		n, err := numberArg(args, 1)
		if err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		p, err := c.Proposal(ctx, n)
		if err != nil {
			return err
		}
		return f.print(proposalTable(f.lang, p))
	}
}

func numberArg(args []string, want int) (uint64, error) {
	if len(args) != want {
		return 0, usagef("want %d arguments, the first the number of a proposal", want)
	}
	n, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return 0, usagef("%q is not the number of a proposal", args[0])
	}
	return n, nil
}

func proposalTable(lang string, a *cityid.ProposalAnswer) *table {
	p := &a.Proposal
	t := fields(a, "number", fmt.Sprint(p.Number), "state", a.State.String(), "note", p.Note, "digest", a.Digest.String())
	row := func(name, value string) {
		if value != "" {
			t.rows = append(t.rows, []string{name, value})
		}
	}
	for _, line := range describe.Operations(lang, p.Operations) {
		row("would", line.String())
	}
	for _, n := range a.Needs {
		row("needs", fmt.Sprintf("%d of %d members of %s: %d have approved", n.Threshold, len(n.Members), n.Code, n.Votes))
		for _, m := range n.Members {
			who := m.Code.String()
			if who == "" && len(m.Keys) > 0 {
				who = describe.Fingerprint(m.Keys[0])
			}
			switch {
			case m.Approved:
				row("  member", who+": approved")
			case m.Rejected:
				row("  member", who+": rejected")
			default:
				row("  member", who+": open")
			}
		}
	}
	for _, v := range p.Rejections {
		row("rejected", v.Time.String()+" by "+describe.Fingerprint(v.Key)+": "+v.Note)
	}
	row("can not go on", a.Stale)
	for _, n := range a.Competing {
		row("competes with", fmt.Sprint(n))
	}
	row("brought by", p.Member.String())
	for _, d := range p.Evidence {
		row("evidence", d.String())
	}
	row("created", p.Created.String())
	row("expires", p.Expires.String())
	return t
}

// vote returns the set-up of approve, return and reject, which all name the
// digest of what the voter has seen.
func vote(verb string) func(*flags) func(context.Context, []string) error {
	return func(f *flags) func(context.Context, []string) error {
		w := &writing{}
		w.setup(f)
		digest := f.String("digest", "", "the proposal's `digest` as you have seen it; without it, the one the node shows now")
		if verb != "approve" {
			f.StringVar(&w.note, "note", "", "why; it is published")
		}
		return func(ctx context.Context, args []string) error {
			n, err := numberArg(args, 1)
			if err != nil {
				return err
			}
			if verb != "approve" && w.note == "" {
				return usagef("say why with --note")
			}
			d, err := w.seen(ctx, n, *digest)
			if err != nil {
				return err
			}
			var op cityid.Operation
			switch verb {
			case "approve":
				op.Approve = &cityid.Approve{Proposal: n, Digest: d}
			case "return":
				op.Return = &cityid.Return{Proposal: n, Digest: d, Note: w.note}
			case "reject":
				op.Reject = &cityid.Reject{Proposal: n, Digest: d, Note: w.note}
			}
			return w.submit(ctx, op)
		}
	}
}

// seen returns the digest a vote names, telling the voter in words what the
// node says it stands for.
func (w *writing) seen(ctx context.Context, number uint64, given string) (cityid.Digest, error) {
	if given != "" {
		d, err := cityid.ParseDigest(given)
		if err != nil {
			return d, usageError{err}
		}
		return d, nil
	}
	c, err := w.connect()
	if err != nil {
		return cityid.Digest{}, err
	}
	p, err := c.Proposal(ctx, number)
	if err != nil {
		return cityid.Digest{}, err
	}
	if d := p.Proposal.Digest(); d != p.Digest {
		return d, exitError{exitInvalid, fmt.Errorf("the node says proposal %d has digest %s, but what it shows has %s", number, p.Digest, d)}
	}
	w.talk("proposal %d, digest %s:", number, p.Digest)
	for _, line := range describe.Operations(w.lang, p.Proposal.Operations) {
		w.talk("  %s", line)
	}
	for i, d := range p.Proposal.Evidence {
		w.talk("  evidence %d: %s", i+1, d)
	}
	return p.Digest, nil
}

func applicationRevise(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setup(f)
	revision := f.Uint("revision", 0, "the `revision` of the proposal you have seen; without it, the one the node shows now")
	return func(ctx context.Context, args []string) error {
		n, err := numberArg(args, 2)
		if err != nil {
			return err
		}
		a, err := readApplication(ctx, args[1])
		if err != nil {
			return err
		}
		if *revision > math.MaxUint32 {
			return usagef("--revision %d is out of range", *revision)
		}
		if *revision == 0 {
			c, err := w.connect()
			if err != nil {
				return err
			}
			p, err := c.Proposal(ctx, n)
			if err != nil {
				return err
			}
			*revision = uint(p.Proposal.Revision)
		}
		if w.chain == "" {
			w.chain = a.Chain
		}
		return w.submit(ctx, cityid.Operation{Revise: &cityid.Revise{Proposal: n, Revision: uint32(*revision), Apply: &a.Apply}})
	}
}

func applicationWithdraw(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setup(f)
	return func(ctx context.Context, args []string) error {
		n, err := numberArg(args, 1)
		if err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{Withdraw: &cityid.Withdraw{Proposal: n}})
	}
}
