// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityid"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scenarios in testdata")

// TestScenarios replays the scenarios in testdata. Each is commands, a line
// "----", and what they print. After every command the state must hold
// together, and a refusal must not have changed it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScenario(t, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(data) {
				t.Errorf("%s prints something else now; look at it, and if it is right run go test -update\n%s", file, firstDifference(string(data), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d:\n- %s\n+ %s", i+1, a[i], b[i])
		}
	}
	return "one is longer"
}

// runScenario replaces the output of each block of commands by what they print.
func runScenario(t *testing.T, text string) string {
	s := &scenario{notation: notation{world: newWorld(t), shown: map[uint64]cityid.Digest{}}}
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n\n") {
		input, _, _ := strings.Cut(block+"\n", "\n----\n")
		input = strings.TrimRight(input, "\n")
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		out.WriteString(input + "\n")
		if !strings.Contains(block, "\n----") {
			continue // a comment
		}
		out.WriteString("----\n")
		for _, line := range joinLines(input) {
			out.WriteString(s.run(line))
		}
	}
	return out.String()
}

// joinLines drops comments and joins lines that begin with blanks to the one
// before.
func joinLines(input string) []string {
	var out []string
	for line := range strings.SplitSeq(input, "\n") {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, " ") && len(out) > 0:
			out[len(out)-1] += line
		default:
			out = append(out, line)
		}
	}
	return out
}

type scenario struct {
	notation
	last  *cityid.Tx // the latest transaction
	count cityid.Time
}

// run carries out one command and returns what it prints.
func (s *scenario) run(line string) string {
	name, rest, _ := strings.Cut(line, " ")
	before := s.state.clone()
	text, err := s.command(name, strings.TrimSpace(rest))
	if err != nil {
		text = s.refusal(err) + "\n"
		if !maps.EqualFunc(before.values, s.state.values, bytes.Equal) {
			s.tb.Errorf("%s: the refusal changed the state", line)
		}
	}
	if what := broken(s.state, s.block.Time); what != "" {
		s.tb.Errorf("after %s: %s", line, what)
	}
	return s.named(text)
}

func (s *scenario) refusal(err error) string {
	var e *cityid.Error
	if !errors.As(err, &e) {
		s.tb.Errorf("not a scenario: %v", err)
		return err.Error()
	}
	where := ""
	if e.Operation > 0 {
		where = fmt.Sprintf(" operation %d:", e.Operation)
	}
	return fmt.Sprintf("refused: %s:%s %s", e.Code, where, e.Message)
}

// named writes names in the place of keys, and cuts digests short.
func (s *scenario) named(text string) string {
	for k, name := range s.ring.names {
		text = strings.ReplaceAll(text, k.String(), name)
	}
	for _, w := range strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == '\n' || c == ',' || c == ';' || c == ':' }) {
		if _, err := cityid.ParseDigest(w); err == nil && !strings.HasPrefix(text, "root ") {
			text = strings.ReplaceAll(text, w, w[:8]+"…")
		}
	}
	return text
}

func (s *scenario) command(name, rest string) (string, error) {
	words := tokens(rest)
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch name {
	case "genesis":
		return "ok\n", s.found(standardGenesis(s.tb, s.ring))
	case "time", "block":
		d := time.Second
		if name == "time" {
			var err error
			if d, err = time.ParseDuration(strings.TrimPrefix(arg(0), "+")); err != nil {
				return "", err
			}
		}
		s.begin(cityid.Time(d / time.Second))
		return fmt.Sprintf("block %d at %s\n", s.block.Height, showTime(s.block.Time)), nil
	case "tx":
		return s.transaction(rest)
	case "again", "re-signed", "reordered", "forged":
		return s.resubmit(name)
	case "get":
		return s.get(cityid.MustParse(arg(0)))
	case "proposal":
		return s.proposal(arg(0))
	case "waiting":
		return s.waitingFor(cityid.MustParse(arg(0))), nil
	case "lookup":
		return s.lookup(arg(0), arg(1)), nil
	case "attestation":
		return s.attestation(cityid.MustParse(arg(0)), arg(1)), nil
	case "agreement":
		return s.agreement(arg(0))
	case "logs":
		return s.receiptLogs(cityid.MustParse(arg(0)))
	case "zone":
		return s.zone()
	case "chain":
		return s.onForeign(words)
	case "delegation":
		return s.delegation(cityid.MustParse(arg(0))), nil
	case "remembered":
		n := 0
		err := Recorded(s.state, func(cityid.Digest, cityid.Time) { n++ })
		return fmt.Sprintf("%d transactions\n", n), err
	case "root":
		return fmt.Sprintf("root %s\n", s.state.root(s.tb)), nil
	}
	return "", fmt.Errorf("no command %q", name)
}

// transaction runs "tx KEY... [expires=TIME] [chain=ID] [memo=TEXT]: OPERATION && ...".
func (s *scenario) transaction(line string) (string, error) {
	head, tail, ok := strings.Cut(line, ": ")
	if !ok {
		return "", errors.New(`want "tx KEY...: OPERATION"`)
	}
	o := parseOptions(tokens(head))
	ops, err := s.operations(tokens(tail))
	if err != nil {
		return "", err
	}
	s.count++ // so that no two transactions are alike
	b := cityid.Body{Chain: testChain, Expires: s.block.Time + 300 + s.count%300, Operations: ops, Memo: o.value("memo")}
	if v := o.value("chain"); v != "" {
		b.Chain = v
	}
	if v := o.value("expires"); v != "" {
		if b.Expires, err = sinceGenesis(v); err != nil {
			return "", err
		}
	}
	var signers []cityid.Signer
	for _, name := range o.words {
		signers = append(signers, s.ring.signer(s.tb, name))
	}
	if s.last, err = cityid.SignTx(b, signers...); err != nil {
		return "", err
	}
	return s.submit(s.last)
}

func (s *scenario) submit(tx *cityid.Tx) (string, error) {
	result, err := s.apply(cityid.MustMarshal(tx))
	if err != nil {
		return "", err
	}
	text := "ok"
	for _, n := range result.Proposals {
		text += fmt.Sprintf(": proposal %d", n)
	}
	return text + "\n", nil
}

// resubmit hands in a copy of the latest transaction.
func (s *scenario) resubmit(how string) (string, error) {
	copied := cityid.Tx{Body: s.last.Body, Signatures: slices.Clone(s.last.Signatures)}
	b, err := cityid.DecodeBody(s.last.Body)
	if err != nil {
		return "", err
	}
	switch how {
	case "re-signed":
		d := cityid.SigningDigest(copied.Body)
		for i, k := range b.Signers {
			if copied.Signatures[i], err = s.ring.signer(s.tb, s.ring.names[k]).Sign(d[:]); err != nil {
				return "", err
			}
		}
	case "reordered":
		slices.Reverse(b.Signers)
		slices.Reverse(copied.Signatures)
		copied.Body = cityid.MustMarshal(b)
	case "forged":
		copied.Signatures[0] = append(cityid.Bytes{copied.Signatures[0][0] ^ 1}, copied.Signatures[0][1:]...)
	}
	return s.submit(&copied)
}

func (s *scenario) get(code cityid.Code) (string, error) {
	r := Record(s.state, code)
	if r == nil {
		return fmt.Sprintf("%s was never allocated\n", code), nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s, revision %d", r.Code, r.Kind, r.Status, r.Revision)
	if r.Reason != 0 {
		fmt.Fprintf(&b, ", %s", r.Reason)
	}
	if r.Note != "" {
		fmt.Fprintf(&b, " %q", r.Note)
	}
	fmt.Fprintf(&b, "\n  parent %s, governed by %s\n", r.Parent, Holder(s.state, code))
	for _, n := range r.Content.Names {
		fmt.Fprintf(&b, "  name %s: %s\n", n.Lang, n.Text)
	}
	for _, l := range r.Content.Links {
		fmt.Fprintf(&b, "  link %s\n", l.Href)
	}
	for _, h := range r.Content.Hosts {
		fmt.Fprintf(&b, "  approves links to %s\n", h)
	}
	if d := r.Content.Dataset; d != nil {
		fmt.Fprintf(&b, "  %s dataset, described by %s, schema %s, policy %s\n", d.Class, d.Document, orNone(d.Schema), orNone(d.Policy))
	}
	if l := r.Content.Location; l != nil {
		text, err := l.MarshalJSON()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "  location %s\n", text)
	}
	if !r.Sealed.IsZero() {
		fmt.Fprintf(&b, "  sealed %s\n", r.Sealed)
	}
	for _, a := range r.Aliases {
		fmt.Fprintf(&b, "  %s:%s%s\n", a.Scheme, a.Value, period(a.From, a.Until))
	}
	if r.Policy != nil {
		fmt.Fprintf(&b, "  policy %s%s\n", s.policyText(r.Policy), map[bool]string{true: ", since " + showTime(r.PolicySince)}[r.PolicySince != 0])
	}
	if r.Recovery != nil {
		fmt.Fprintf(&b, "  recovery %s\n", s.policyText(r.Recovery))
	}
	if !r.Heir.IsZero() {
		fmt.Fprintf(&b, "  heir %s\n", r.Heir)
	}
	for _, x := range r.Successors {
		fmt.Fprintf(&b, "  successor %s\n", x)
	}
	return b.String(), nil
}

func period(from, until cityid.Time) (text string) {
	if from != 0 {
		text += " from " + showTime(from)
	}
	if until != 0 {
		text += " until " + showTime(until)
	}
	return text
}

func (s *scenario) policyText(p *cityid.Policy) string {
	var members []string
	for _, m := range p.Members {
		if !m.Code.IsZero() {
			members = append(members, m.Code.String())
			continue
		}
		var list []string
		for _, k := range m.Keys {
			text := k.Public.String()
			if k.Roles != cityid.RoleControl {
				text += "/" + strings.ReplaceAll(k.Roles.String(), ",", "+")
			}
			list = append(list, text+period(k.From, k.Until))
		}
		members = append(members, strings.Join(list, "|"))
	}
	return fmt.Sprintf("%d of (%s)", p.Threshold, strings.Join(members, ", "))
}

func (s *scenario) proposal(number string) (string, error) {
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return "", err
	}
	a, err := Proposal(s.state, s.block, n)
	if err != nil {
		return "", err
	}
	s.shown[n] = a.Digest
	var b strings.Builder
	p := &a.Proposal
	fmt.Fprintf(&b, "proposal %d, revision %d: %s", n, p.Revision, a.State)
	if p.Note != "" {
		fmt.Fprintf(&b, " %q", p.Note)
	}
	fmt.Fprintf(&b, "\n  digest %s, expires %s", a.Digest, showTime(p.Expires))
	if !p.Member.IsZero() {
		fmt.Fprintf(&b, ", brought by %s", p.Member)
	}
	b.WriteString("\n")
	for _, t := range p.Targets {
		fmt.Fprintf(&b, "  concerns %s at revision %d\n", t.Code, t.Revision)
	}
	for _, need := range a.Needs {
		fmt.Fprintf(&b, "  needs %d of %s, has %d:", need.Threshold, need.Code, need.Votes)
		for _, m := range need.Members {
			text := m.Code.String()
			if m.Code.IsZero() {
				text = fmt.Sprint(m.Keys)
			}
			fmt.Fprintf(&b, " %s %s;", text, map[[2]bool]string{{true, false}: "yes", {false, true}: "no", {true, true}: "both"}[[2]bool{m.Approved, m.Rejected}])
		}
		b.WriteString("\n")
	}
	if a.Stale != "" {
		fmt.Fprintf(&b, "  can not be carried out: %s\n", a.Stale)
	}
	if len(a.Competing) > 0 {
		fmt.Fprintf(&b, "  competes with %v\n", a.Competing)
	}
	return b.String(), nil
}

func (s *scenario) waitingFor(code cityid.Code) string {
	x := WaitingFor(s.state, code)
	if x == nil {
		return "nothing waits\n"
	}
	what := "a retirement"
	if x.Rekey != nil {
		what = "a recovery to " + s.policyText(x.Rekey.Policy)
	}
	return fmt.Sprintf("%s waits since %s until %s%s%s\n", what, showTime(x.Started), showTime(x.Effective),
		map[bool]string{true: ", vetoed"}[x.Vetoed], map[bool]string{true: ", veto overridden"}[x.Overruled])
}

func (s *scenario) lookup(scheme, value string) string {
	prefix := cityid.CrosswalkPrefix(scheme, value)
	lo, hi := cityid.Range(prefix)
	var b strings.Builder
	s.state.Scan(lo, hi, func(key, raw []byte) bool {
		var a cityid.Alias
		code, ok := cityid.CodeOfCrosswalkKey(key, prefix)
		if err := cityid.Unmarshal(raw, &a); err != nil || !ok {
			s.tb.Errorf("crosswalk entry %q: %v", key, err)
		}
		fmt.Fprintf(&b, "%s%s, holds now: %v\n", code, period(a.From, a.Until), a.Holds(s.block.Time))
		return true
	})
	if b.Len() == 0 {
		return "no code\n"
	}
	return b.String()
}

func (s *scenario) attestation(source cityid.Code, text string) string {
	raw := s.state.Get(cityid.AttestationKey(source, sha256.Sum256([]byte(text))))
	if raw == nil {
		return "not attested\n"
	}
	var a cityid.Attestation
	if err := cityid.Unmarshal(raw, &a); err != nil {
		s.tb.Errorf("attestation: %v", err)
	}
	batch := ""
	if a.Leaves > 0 {
		batch = fmt.Sprintf(", a batch of %d%s", a.Leaves, period(a.From, a.Until))
	}
	return fmt.Sprintf("%q%s attested by %s with %s at %s, withdrawn %s\n", a.Label, batch, a.Source, a.Key, showTime(a.Changed.Time), showTime(a.Withdrawn))
}

// zone prints parameters, validators and versions of the trust root.
func (s *scenario) zone() (string, error) {
	now, err := Settings(s.state)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	p := now.Params
	fmt.Fprintf(&b, "parameters revision %d: transactions %ds, recovery %ds, proposals %ds, intake %d\n", p.Revision, p.TxLifetime, p.RecoveryDelay, p.ProposalLifetime, p.IntakeLimit)
	for _, x := range now.Schemes {
		fmt.Fprintf(&b, "scheme %s of %q: %s\n", x.Name, x.Owner, strings.Join(x.Patterns, " "))
	}
	set := Validators(s.state)
	fmt.Fprintf(&b, "validators revision %d:", set.Revision)
	var list []string
	for _, v := range set.Validators {
		list = append(list, fmt.Sprintf(" %s=%d", s.ring.names[v.Key], v.Power))
	}
	slices.Sort(list)
	fmt.Fprintf(&b, "%s\n", strings.Join(list, ""))
	all, err := Trusts(s.state)
	if err != nil {
		return "", err
	}
	last := all[len(all)-1].Statement
	fmt.Fprintf(&b, "trust root version %d at height %d\n", last.Version, last.Height)
	if r := Ruleset(s.state, s.block.Height); r.Revision > 0 {
		fmt.Fprintf(&b, "rules version %d since %d, revision %d\n", r.Version, r.Since, r.Revision)
		if r.Plan != nil {
			fmt.Fprintf(&b, "from block %d on: %s\n", r.Plan.Height, r.Plan)
		}
	}
	return b.String(), nil
}
