// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityid"
)

// The notation of the scenarios in testdata. An operation is a verb, its
// subject, and options NAME=VALUE; a value with spaces stands in quotes; several
// operations are joined by "&&", and those inside a proposal stand in braces.
//
//	allocate CODE KIND [CONTENT] [alias=SCHEME:VALUE[/from=TIME][/until=TIME]]... [policy=POLICY]
//	         [parent=CODE] [reserved] [sealed=SALT] [recovery=POLICY] [; CODE KIND ...]...
//	apply    CODE KIND ... [evidence=N] [without=KEY]       with a proof of possession by each key but one
//	amend    CODE CONTENT
//	seal     CODE sealed=SALT CONTENT | unseal CODE salt=SALT CONTENT
//	status   CODE STATUS reason=REASON [note=TEXT] [heir=CODE] [successor=CODE]...
//	rekey    CODE policy=POLICY|inherit [recovery=POLICY]
//	veto     CODE [override]
//	map      CODE SCHEME:VALUE[/from=TIME][/until=TIME] [remove]
//	attest   CODE TEXT [leaves=N] [from=TIME] [until=TIME]
//	request  DATASET CONSUMER as=NAME [describes=TEXT] [odrl=TEXT] [from=TIME] [until=TIME] [respond=TIME] [staleness=N]
//	grant    NAME | refuse NAME [note=TEXT] | revoke NAME [note=TEXT]
//	anchor   CODE LOG TEXT [seq=N] [prev=TEXT|none] [bucket=N]   the root being the hash of TEXT
//	propose  [expires=TIME] [note=TEXT] { OPERATION && ... }
//	revise   NUMBER { apply ... | OPERATION && ... }
//	approve  NUMBER [shown] | reject NUMBER note=TEXT [shown] | return NUMBER note=TEXT [shown]
//	withdraw NUMBER | withdraw CODE TEXT
//	params   NAME=NUMBER... | rule KIND quota=N | scheme NAME [owner=CODE] [pattern=PATTERN]...
//	validators KEY=POWER...
//	delegate CODE chain=NAME [height=N] [places] [at=URL]... [goes-on]      the checkpoint being that of the height, or none
//	checkpoint CODE chain=NAME [height=N] | fork CODE chain=NAME and=NAME height=N | unfreeze CODE fork=N chain=NAME height=N
//	trust    by=KEY,KEY... [version=N]                      the next trust root, signed by the keys
//
// CONTENT is any of zh=TEXT en=TEXT link=URL host=HOST at=LAT,LON doc=TEXT, and for a dataset
// class=CLASS describes=TEXT [schema=TEXT] [odrl=TEXT].
// POLICY is THRESHOLD(MEMBER,...), a member being a code or keys joined by "|",
// a key NAME[/ROLE+ROLE][/from=TIME][/until=TIME][/compromised=TIME]. TIME is
// counted from the genesis, as 48h. Where a revision belongs, the current one is
// put, or that of rev=N. An approval names the digest of the proposal as it is,
// or with "shown" as it was last shown.
type notation struct {
	*world
	shown map[uint64]cityid.Digest
	terms map[string]*cityid.Terms // by the names they were given

	chains map[string]*foreign // likewise
}

// options are the words after a verb.
type options struct {
	words  []string
	values map[string][]string
}

func (o *options) word(i int) string {
	if i < len(o.words) {
		return o.words[i]
	}
	return ""
}

func (o *options) has(word string) bool { return slices.Contains(o.words, word) }

func (o *options) value(name string) string {
	if v := o.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (o *options) number(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(o.value(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// tokens splits a line at blanks outside quotes and drops the quotes.
func tokens(line string) []string {
	var out []string
	var cur strings.Builder
	quoted, any := false, false
	for _, c := range line + " " {
		switch {
		case c == '"':
			quoted, any = !quoted, true
		case !quoted && (c == ' ' || c == '\t' || c == '\n'):
			if any {
				out = append(out, cur.String())
				cur.Reset()
				any = false
			}
		default:
			cur.WriteRune(c)
			any = true
		}
	}
	return out
}

// split cuts tokens at each sep outside braces.
func split(list []string, sep string) [][]string {
	out, depth, start := [][]string{}, 0, 0
	for i, t := range list {
		switch t {
		case "{":
			depth++
		case "}":
			depth--
		case sep:
			if depth == 0 {
				out = append(out, list[start:i])
				start = i + 1
			}
		}
	}
	return append(out, list[start:])
}

func parseOptions(list []string) *options {
	o := &options{values: map[string][]string{}}
	for _, t := range list {
		name, value, ok := strings.Cut(t, "=")
		if ok && !strings.ContainsAny(name, ":/(") {
			o.values[name] = append(o.values[name], value)
		} else {
			o.words = append(o.words, t)
		}
	}
	return o
}

// sinceGenesis parses a time such as "48h"; empty is none.
func sinceGenesis(s string) (cityid.Time, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	return genesisTime.Add(d), err
}

// showTime is the inverse of sinceGenesis.
func showTime(t cityid.Time) string {
	if t == 0 {
		return "never"
	}
	s := (time.Duration(t-genesisTime) * time.Second).String()
	return strings.TrimSuffix(strings.TrimSuffix(s, "0s"), "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m0s")]
}

func parsePolicy(tb testing.TB, ring *keyring, spec string) (*cityid.Policy, error) {
	threshold, rest, ok := strings.Cut(strings.TrimSuffix(spec, ")"), "(")
	n, err := strconv.Atoi(threshold)
	if !ok || err != nil {
		return nil, fmt.Errorf("policy %q", spec)
	}
	p := &cityid.Policy{Threshold: uint8(n)}
	for m := range strings.SplitSeq(rest, ",") {
		if c, err := cityid.ParseCanonical(m); err == nil {
			p.Members = append(p.Members, cityid.Member{Code: c})
			continue
		}
		var member cityid.Member
		for k := range strings.SplitSeq(m, "|") {
			key, err := parseKey(tb, ring, k)
			if err != nil {
				return nil, err
			}
			member.Keys = append(member.Keys, key)
		}
		p.Members = append(p.Members, member)
	}
	return p, nil
}

func parseKey(tb testing.TB, ring *keyring, spec string) (cityid.Key, error) {
	parts := strings.Split(spec, "/")
	k := cityid.Key{Public: ring.key(tb, parts[0]), Roles: cityid.RoleControl}
	for _, part := range parts[1:] {
		name, value, timed := strings.Cut(part, "=")
		t, err := sinceGenesis(value)
		if err != nil {
			return k, err
		}
		switch {
		case name == "from":
			k.From = t
		case name == "until":
			k.Until = t
		case name == "compromised":
			k.Compromised = t
		case timed:
			return k, fmt.Errorf("key option %q", part)
		default:
			if err := k.Roles.UnmarshalText([]byte(strings.ReplaceAll(part, "+", ","))); err != nil {
				return k, err
			}
		}
	}
	return k, nil
}

func parseAlias(spec string) (cityid.Alias, error) {
	parts := strings.Split(spec, "/")
	var a cityid.Alias
	a.Scheme, a.Value, _ = strings.Cut(parts[0], ":")
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		t, err := sinceGenesis(value)
		if err != nil {
			return a, err
		}
		if name == "from" {
			a.From = t
		} else {
			a.Until = t
		}
	}
	return a, nil
}

func parseContent(o *options) (cityid.Content, error) {
	var c cityid.Content
	m := map[string]string{}
	for _, lang := range []string{"zh", "en"} {
		if v, ok := o.values[lang]; ok {
			m[lang] = v[0]
		}
	}
	c.Names = cityid.NamesOf(m)
	for _, href := range o.values["link"] {
		c.Links = append(c.Links, cityid.Link{Rel: "about", Href: href})
	}
	c.Hosts = o.values["host"]
	for _, label := range o.values["doc"] {
		c.Documents = append(c.Documents, cityid.Document{Label: label, Digest: sha256.Sum256([]byte(label))})
	}
	if class := o.value("class"); class != "" {
		c.Dataset = &cityid.Dataset{Document: hashOption(o, "describes"), Schema: hashOption(o, "schema"), Policy: hashOption(o, "odrl")}
		if err := c.Dataset.Class.UnmarshalText([]byte(class)); err != nil {
			return c, err
		}
	}
	if at := o.value("at"); at != "" {
		lat, lon, _ := strings.Cut(at, ",")
		var l cityid.Location
		var err, err2 error
		l.Lat, err = cityid.ParseDegrees(lat, 90)
		l.Lon, err2 = cityid.ParseDegrees(lon, 180)
		c.Location = &l
		return c, errors.Join(err, err2)
	}
	return c, nil
}

// hashOption is the hash of an option's value, or none.
func hashOption(o *options, name string) cityid.Digest {
	if v := o.value(name); v != "" {
		return sha256.Sum256([]byte(v))
	}
	return cityid.Digest{}
}

func salt(name string) cityid.Digest { return sha256.Sum256([]byte("salt " + name)) }

func parseCodes(list []string) ([]cityid.Code, error) {
	var out []cityid.Code
	for _, s := range list {
		c, err := cityid.ParseCanonical(s)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (n *notation) policyOption(o *options, name string) (*cityid.Policy, error) {
	if v := o.value(name); v != "" && v != "inherit" {
		return parsePolicy(n.tb, n.ring, v)
	}
	return nil, nil
}

func (n *notation) allocation(list []string) (cityid.Allocation, *options, error) {
	o := parseOptions(list)
	var a cityid.Allocation
	var errs [6]error
	a.Code, errs[0] = cityid.ParseCanonical(o.word(0))
	errs[1] = a.Kind.UnmarshalText([]byte(o.word(1)))
	a.Content, errs[2] = parseContent(o)
	a.Policy, errs[3] = n.policyOption(o, "policy")
	a.Recovery, errs[4] = n.policyOption(o, "recovery")
	if p := o.value("parent"); p != "" {
		a.Parent, errs[5] = cityid.ParseCanonical(p)
	}
	a.Reserved = o.has("reserved")
	for _, spec := range o.values["alias"] {
		alias, err := parseAlias(spec)
		if err != nil {
			return a, o, err
		}
		a.Aliases = append(a.Aliases, alias)
	}
	if s := o.value("sealed"); s != "" {
		a.Sealed, a.Content = cityid.SealDigest(salt(s), a.Content), cityid.Content{}
	}
	return a, o, errors.Join(errs[:]...)
}

func (n *notation) application(list []string) (*cityid.Apply, error) {
	a, o, err := n.allocation(list)
	if err != nil {
		return nil, err
	}
	op := &cityid.Apply{Allocation: a}
	for i := range o.number("evidence", 1) {
		op.Evidence = append(op.Evidence, sha256.Sum256(fmt.Appendf(nil, "evidence %d for %s", i, a.Code)))
	}
	if a.Policy == nil {
		return op, nil
	}
	for _, m := range a.Policy.Members {
		for _, k := range m.Keys {
			name := n.ring.names[k.Public]
			if !k.Public.Signs() || name == o.value("without") {
				continue
			}
			d := cityid.PossessionDigest(testChain, a.Code, a.Policy, k.Public)
			sig, err := n.ring.signer(n.tb, name).Sign(d[:])
			if err != nil {
				return nil, err
			}
			op.Possessions = append(op.Possessions, cityid.Possession{Key: k.Public, Signature: sig})
		}
	}
	slices.SortFunc(op.Possessions, func(a, b cityid.Possession) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return op, nil
}

// operations parses operations joined by "&&".
func (n *notation) operations(list []string) ([]cityid.Operation, error) {
	var out []cityid.Operation
	for _, words := range split(list, "&&") {
		if len(words) == 0 {
			return nil, errors.New("empty operation")
		}
		op, err := n.operation(words[0], words[1:])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(words, " "), err)
		}
		out = append(out, op)
	}
	return out, nil
}

func (n *notation) operation(verb string, rest []string) (op cityid.Operation, err error) {
	switch verb {
	case "allocate":
		op.Allocate = &cityid.Allocate{}
		for _, words := range split(rest, ";") {
			a, _, err := n.allocation(words)
			if err != nil {
				return op, err
			}
			op.Allocate.Items = append(op.Allocate.Items, a)
		}
		return op, nil
	case "apply":
		op.Apply, err = n.application(rest)
		return op, err
	case "propose", "revise", "approve", "reject", "return":
		return n.onProposal(verb, rest)
	case "params", "rule", "scheme", "validators", "trust", "upgrade":
		return n.onZone(verb, parseOptions(rest))
	case "request", "grant", "refuse", "revoke", "anchor":
		return n.onSharing(verb, parseOptions(rest))
	case "delegate", "checkpoint", "fork", "unfreeze":
		return n.onZones(verb, parseOptions(rest))
	}
	return n.onRecord(verb, parseOptions(rest))
}

func (n *notation) onRecord(verb string, o *options) (op cityid.Operation, err error) {
	if number, err := strconv.ParseUint(o.word(0), 10, 64); err == nil && verb == "withdraw" {
		op.Withdraw = &cityid.Withdraw{Proposal: number}
		return op, nil
	}
	code, err := cityid.ParseCanonical(o.word(0))
	if err != nil {
		return op, err
	}
	var current uint64
	if r := Record(n.state, code); r != nil {
		current = uint64(r.Revision)
	}
	revision := uint32(o.number("rev", current))
	content, err := parseContent(o)
	if err != nil {
		return op, err
	}
	switch verb {
	case "amend":
		op.Amend = &cityid.Amend{Code: code, Revision: revision, Content: content}
	case "seal":
		op.Seal = &cityid.Seal{Code: code, Revision: revision, Sealed: cityid.SealDigest(salt(o.value("sealed")), content)}
	case "unseal":
		op.Unseal = &cityid.Unseal{Code: code, Revision: revision, Salt: salt(o.value("salt")), Content: content}
	case "status":
		x := &cityid.SetStatus{Code: code, Revision: revision, Note: o.value("note")}
		op.SetStatus = x
		err = errors.Join(x.Status.UnmarshalText([]byte(o.word(1))), x.Reason.UnmarshalText([]byte(o.value("reason"))))
		if h := o.value("heir"); h != "" {
			x.Heir = cityid.MustParse(h)
		}
		if x.Successors, _ = parseCodes(o.values["successor"]); len(x.Successors) != len(o.values["successor"]) {
			err = errors.New("successor")
		}
	case "rekey":
		op.Rekey = &cityid.Rekey{Code: code, Revision: revision}
		if op.Rekey.Policy, err = n.policyOption(o, "policy"); err == nil {
			op.Rekey.Recovery, err = n.policyOption(o, "recovery")
		}
	case "veto":
		op.Veto = &cityid.Veto{Code: code, Override: o.has("override")}
	case "map":
		op.Map = &cityid.Map{Code: code, Revision: revision, Remove: o.has("remove")}
		// The entry looks like an option when it carries a time.
		op.Map.Alias, err = parseAlias(o.word(1))
	case "attest":
		op.Attest = &cityid.Attest{Source: code, Digest: sha256.Sum256([]byte(o.word(1))), Label: o.word(1), Leaves: o.number("leaves", 0)}
		var err2 error
		op.Attest.From, err = sinceGenesis(o.value("from"))
		op.Attest.Until, err2 = sinceGenesis(o.value("until"))
		err = errors.Join(err, err2)
	case "withdraw":
		op.Withdraw = &cityid.Withdraw{Source: code, Digest: sha256.Sum256([]byte(o.word(1)))}
	default:
		err = fmt.Errorf("no verb %q", verb)
	}
	return op, err
}

func braces(list []string) ([]string, []string, error) {
	i := slices.Index(list, "{")
	if i < 0 || list[len(list)-1] != "}" {
		return nil, nil, errors.New("want operations in braces")
	}
	return list[:i], list[i+1 : len(list)-1], nil
}

func (n *notation) onProposal(verb string, rest []string) (op cityid.Operation, err error) {
	var inner []string
	if verb == "propose" || verb == "revise" {
		if rest, inner, err = braces(rest); err != nil {
			return op, err
		}
	}
	o := parseOptions(rest)
	if verb == "propose" {
		op.Propose = &cityid.Propose{Note: o.value("note")}
		if op.Propose.Expires, err = sinceGenesis(o.value("expires")); err == nil {
			op.Propose.Operations, err = n.operations(inner)
		}
		return op, err
	}
	number, err := strconv.ParseUint(o.word(0), 10, 64)
	if err != nil {
		return op, err
	}
	p, err := Proposal(n.state, n.block, number)
	if err != nil {
		p = &cityid.ProposalAnswer{}
	}
	if verb == "revise" {
		op.Revise = &cityid.Revise{Proposal: number, Revision: uint32(o.number("rev", uint64(p.Proposal.Revision)))}
		if inner[0] == "apply" {
			op.Revise.Apply, err = n.application(inner[1:])
		} else {
			op.Revise.Operations, err = n.operations(inner)
		}
		return op, err
	}
	digest := p.Digest
	if o.has("shown") {
		digest = n.shown[number]
	}
	switch verb {
	case "approve":
		op.Approve = &cityid.Approve{Proposal: number, Digest: digest}
	case "reject":
		op.Reject = &cityid.Reject{Proposal: number, Digest: digest, Note: o.value("note")}
	case "return":
		op.Return = &cityid.Return{Proposal: number, Digest: digest, Note: o.value("note")}
	}
	return op, nil
}

func (n *notation) onZone(verb string, o *options) (op cityid.Operation, err error) {
	now, err := Settings(n.state)
	if err != nil {
		return op, err
	}
	revision := uint32(o.number("rev", uint64(now.Params.Revision)))
	switch verb {
	case "params":
		p := now.Params
		for name, field := range map[string]*uint32{"tx_lifetime": &p.TxLifetime, "recovery_delay": &p.RecoveryDelay,
			"proposal_lifetime": &p.ProposalLifetime, "intake_limit": &p.IntakeLimit, "upgrade_notice": &p.UpgradeNotice, "checkpoint_spacing": &p.CheckpointSpacing} {
			*field = uint32(o.number(name, uint64(*field)))
		}
		op.SetParams = &cityid.SetParams{Revision: revision, Params: &p}
	case "rule":
		var k cityid.Kind
		if err := k.UnmarshalText([]byte(o.word(0))); err != nil {
			return op, err
		}
		entry := now.Rule.ForKind(k)
		entry.Quota = uint32(o.number("quota", uint64(entry.Quota)))
		if s, ok := o.values["scheme"]; ok {
			entry.Schemes = s
		}
		op.SetParams = &cityid.SetParams{Revision: revision, Rule: &now.Rule}
	case "scheme":
		s := cityid.Scheme{Name: o.word(0), Titles: names(o.word(0), o.word(0)), Patterns: o.values["pattern"]}
		if c := o.value("owner"); c != "" {
			s.Owner = cityid.MustParse(c)
		}
		op.SetParams = &cityid.SetParams{Revision: revision, Schemes: []cityid.Scheme{s}}
	case "validators":
		set := Validators(n.state)
		x := &cityid.SetValidators{Revision: uint32(o.number("rev", uint64(set.Revision)))}
		for name := range o.values {
			if name != "rev" {
				x.Validators = append(x.Validators, cityid.Validator{Key: n.ring.key(n.tb, name), Power: int64(o.number(name, 0))})
			}
		}
		slices.SortFunc(x.Validators, func(a, b cityid.Validator) int { return strings.Compare(string(a.Key), string(b.Key)) })
		op.SetValidators = x
	case "trust":
		op.SetTrust, err = n.nextTrust(o)
	case "upgrade":
		x := &cityid.SetUpgrade{Revision: uint32(o.number("rev", uint64(Ruleset(n.state, n.block.Height).Revision)))}
		if !o.has("cancel") {
			x.Plan = &cityid.Upgrade{Version: uint32(o.number("version", 2)), Height: o.number("height", 0), Release: "cityid 2", Href: o.value("href")}
			if v, ok := o.values["release"]; ok {
				x.Plan.Release = v[0]
			}
			if o.value("digest") != "" {
				x.Plan.Digest = hashOption(o, "digest")
			}
		}
		op.SetUpgrade = x
	}
	return op, err
}

// nextTrust makes the next version of the trust root and signs it.
func (n *notation) nextTrust(o *options) (*cityid.SetTrust, error) {
	all, err := Trusts(n.state)
	if err != nil {
		return nil, err
	}
	last := all[len(all)-1].Statement
	q, err := ApexQuorum(n.state, n.block)
	if err != nil {
		return nil, err
	}
	s := last
	s.Version, s.Prev, s.Quorum = uint32(o.number("version", uint64(last.Version)+1)), last.Hash(), *q
	s.Height = o.number("height", n.block.Height-1)
	s.Header, s.Time = sha256.Sum256(fmt.Appendf(nil, "header %d", s.Height)), n.block.Time-1
	s.Validators = TrustPowers(Validators(n.state).Validators)
	out := &cityid.SetTrust{Trust: cityid.Trust{Statement: s}}
	d := s.SigningDigest()
	for name := range strings.SplitSeq(o.value("by"), ",") {
		signer := n.ring.signer(n.tb, name)
		sig, err := signer.Sign(d[:])
		if err != nil {
			return nil, err
		}
		out.Trust.Signatures = append(out.Trust.Signatures, cityid.KeySignature{Key: signer.Key, Signature: sig})
	}
	slices.SortFunc(out.Trust.Signatures, func(a, b cityid.KeySignature) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return out, nil
}
