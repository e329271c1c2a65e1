// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cityid"
)

// fakeSign and fakeVerify stand for signatures where the tests make very many:
// the registry takes its verification rule as an argument.
func fakeSign(key cityid.PublicKey, msg []byte) []byte {
	h := sha256.Sum256(append([]byte(key), msg...))
	return append(h[:], h[:]...)
}

func fakeVerify(pub, msg, sig []byte) error {
	if string(fakeSign(cityid.PublicKey(pub), msg)) != string(sig) {
		return errors.New("not signed by this key")
	}
	return nil
}

// fakeTx encodes a transaction with such signatures.
func fakeTx(b cityid.Body, signers []cityid.PublicKey) []byte {
	b.Signers = slices.Compact(slices.Sorted(slices.Values(signers)))
	tx := cityid.Tx{Body: cityid.MustMarshal(&b)}
	d := cityid.SigningDigest(tx.Body)
	for _, k := range b.Signers {
		tx.Signatures = append(tx.Signatures, fakeSign(k, d[:]))
	}
	return cityid.MustMarshal(&tx)
}

const week = 7 * 86400

// model is a second, naive registry, written from the rules and sharing no code
// with the first: records in a map, policies as lists of names.
type model struct {
	now       cityid.Time
	records   map[string]*modelRecord
	proposals []*modelProposal
	modelSharing
}

type modelRecord struct {
	parent, kind, status, heir string
	revision                   int
	policy                     *modelPolicy
	names                      string
	aliases                    map[string]bool
	since                      cityid.Time // of the policy; 0: from the beginning
	waiting                    string      // policy of a waiting recovery
	started                    cityid.Time
}

type modelPolicy struct {
	threshold int
	members   []string // names of keys, or codes
}

func (p *modelPolicy) String() string {
	if p == nil {
		return "inherit"
	}
	return fmt.Sprintf("%d(%s)", p.threshold, strings.Join(p.members, ","))
}

type modelProposal struct {
	code, names string
	revision    int
	approvals   map[string]bool
	policy      string // that decides, when the approvals were given
	done        bool
}

// above returns who stands over a code.
func (m *model) above(code string) string {
	up := m.records[code].parent
	for up != "" && m.records[up].status == "retired" {
		up = m.records[up].heir
	}
	return up
}

// governing returns the policy that decides for a code, "" if none acts.
func (m *model) governing(code string) *modelPolicy {
	var policy *modelPolicy
	for ; code != ""; code = m.above(code) {
		r := m.records[code]
		if r == nil || r.status != "active" {
			return nil
		}
		if policy == nil {
			policy = r.policy
		}
	}
	return policy
}

func (m *model) met(code string, signers []string) bool {
	p := m.governing(code)
	if p == nil {
		return false
	}
	votes := 0
	for _, x := range p.members {
		if slices.Contains(signers, x) || strings.Contains(x, ".") && m.met(x, signers) {
			votes++
		}
	}
	return votes >= p.threshold
}

// voice reports whether somebody stands in the policy for a code.
func (m *model) voice(code, name string) bool {
	p := m.governing(code)
	return p != nil && slices.ContainsFunc(p.members, func(x string) bool {
		return x == name || strings.Contains(x, ".") && m.voice(x, name)
	})
}

func (m *model) changeable(code string, revision int) bool {
	r := m.records[code]
	return r != nil && r.revision == revision && r.status != "retired"
}

func (m *model) livesBelow(code string) bool {
	for c, r := range m.records {
		if r.status != "retired" && c != "MA.156" && m.above(c) == code {
			return true
		}
	}
	return false
}

// step is one random operation, in the words of the model and of the registry.
type step struct {
	what  string
	code  string
	names string // content, alias, status or policy, by what
	rev   int
	heir  string
	n     int
	by    []string
	terms cityid.Terms // of a request
}

// apply says whether the registry will accept a step, and does it.
func (m *model) apply(s step) bool {
	r := m.records[s.code]
	switch s.what {
	case "allocate":
		parent := s.heir
		if r != nil || m.records[parent] == nil || !m.met(parent, s.by) {
			return false
		}
		if n := s.code[len(s.code)-1]; n > '1' && m.records[s.code[:len(s.code)-1]+string(n-1)] == nil {
			return false // numbers go in sequence
		}
		m.records[s.code] = &modelRecord{parent: parent, status: "active", revision: 1, names: s.names, aliases: map[string]bool{}}
	case "amend":
		if !m.changeable(s.code, s.rev) || !m.met(s.code, s.by) {
			return false
		}
		r.names = s.names
		r.revision++
	case "map":
		if !m.changeable(s.code, s.rev) || !m.met(s.code, s.by) {
			return false
		}
		r.aliases[s.names] = true
		r.revision++
	case "rekey":
		return m.rekey(s, r)
	case "status":
		return m.status(s, r)
	case "propose":
		if !m.changeable(s.code, s.rev) || m.governing(s.code) == nil {
			return false
		}
		p := &modelProposal{code: s.code, names: s.names, revision: s.rev, approvals: map[string]bool{}, policy: m.deciding(s.code)}
		m.proposals = append(m.proposals, p)
		if !m.approve(p, s.by) {
			m.proposals = m.proposals[:len(m.proposals)-1]
			return false
		}
	case "approve":
		return s.n <= len(m.proposals) && m.approve(m.proposals[s.n-1], s.by)
	default:
		return m.share(s)
	}
	return true
}

// deciding tells the deciding policy and its holder apart from others.
func (m *model) deciding(code string) string {
	for c := code; c != ""; c = m.above(c) {
		if p := m.records[c].policy; p != nil {
			return c + " " + p.String()
		}
	}
	return ""
}

func (m *model) approve(p *modelProposal, by []string) bool {
	if p.done || !m.changeable(p.code, p.revision) || m.governing(p.code) == nil {
		return false
	}
	approvals, policy := map[string]bool{}, m.deciding(p.code)
	if policy == p.policy {
		approvals = maps.Clone(p.approvals)
	}
	fresh := false
	for _, name := range by {
		if m.voice(p.code, name) && !approvals[name] {
			approvals[name], fresh = true, true
		}
	}
	if !fresh {
		return false // and the proposal stays as it was
	}
	p.policy, p.approvals = policy, approvals
	all := slices.Collect(maps.Keys(approvals))
	if m.met(p.code, all) {
		p.done = true
		m.records[p.code].names = p.names
		m.records[p.code].revision++
	}
	return true
}

func (m *model) rekey(s step, r *modelRecord) bool {
	if !m.changeable(s.code, s.rev) {
		return false
	}
	policy := parseModelPolicy(s.names)
	if m.met(s.code, s.by) {
		if r.since == 0 || r.since+week <= r.started {
			r.waiting = ""
		}
		r.policy, r.since = policy, m.now
		r.revision++
		return true
	}
	if !m.met(m.above(s.code), s.by) {
		return false
	}
	if r.waiting != s.names {
		r.waiting, r.started = s.names, m.now
		return true
	}
	if m.now < r.started+week {
		return false
	}
	r.policy, r.waiting, r.since = policy, "", m.now
	r.revision++
	return true
}

func (m *model) status(s step, r *modelRecord) bool {
	moves := map[string]bool{"active suspended": true, "suspended active": true, "active retired": true, "suspended retired": true}
	if r == nil || r.revision != s.rev || !moves[r.status+" "+s.names] || !m.met(m.above(s.code), s.by) {
		return false
	}
	if s.names == "retired" {
		if s.heir != "" {
			h := m.records[s.heir]
			if h == nil || h.status != "active" || !m.met(s.heir, s.by) {
				return false
			}
			for c := s.heir; c != ""; c = m.above(c) {
				if c == s.code {
					return false
				}
			}
		} else if m.livesBelow(s.code) {
			return false
		}
		r.heir, r.waiting = s.heir, ""
	} else if s.heir != "" {
		return false
	}
	r.status = s.names
	r.revision++
	return true
}

func parseModelPolicy(spec string) *modelPolicy {
	if spec == "inherit" {
		return nil
	}
	n, list, _ := strings.Cut(strings.TrimSuffix(spec, ")"), "(")
	return &modelPolicy{int(n[0] - '0'), strings.Split(list, ",")}
}

// generator draws steps that are neither all refused nor all accepted.
type generator struct {
	*rand.Rand
	m *model
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

var modelKeys = []string{"an", "ao", "bo", "bi", "cy", "k0", "k1", "k2", "k3", "k4"}

// codes are the codes the model plays with: a city, what may stand below it, and
// what below that.
func (g *generator) code() string {
	c := pick(g.Rand, []string{"MA.156.1301", "MA.156.1302"})
	if g.IntN(5) > 0 {
		c += fmt.Sprintf(".0%d", 1+g.IntN(5))
		if g.IntN(2) > 0 {
			c += fmt.Sprintf(".0%d", 1+g.IntN(3))
		}
	}
	return c
}

// signers draws who signs: at times just those who may.
func (g *generator) signers(codes ...string) []string {
	var out []string
	if g.IntN(4) > 0 {
		for _, c := range codes {
			if p := g.m.governing(c); p != nil {
				out = append(out, p.members...)
			}
		}
		if slices.Contains(out, "MA.156.9001") {
			out = append(slices.DeleteFunc(out, func(s string) bool { return strings.Contains(s, ".") }), "an", "bo")
		}
	}
	for range g.IntN(3) {
		out = append(out, pick(g.Rand, modelKeys))
	}
	if len(out) == 0 {
		out = []string{pick(g.Rand, modelKeys)}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (g *generator) step() step {
	s := step{code: g.code(), n: 1 + g.IntN(len(g.m.proposals)+1)}
	if last := len(s.code) - 1; g.m.records[s.code] == nil && g.IntN(3) > 0 {
		for s.code[last] > '1' && g.m.records[s.code[:last]+string(s.code[last]-1)] == nil {
			s.code = s.code[:last] + string(s.code[last]-1)
		}
	}
	parent := s.code[:strings.LastIndex(s.code, ".")]
	up := parent
	if r := g.m.records[s.code]; r != nil {
		s.rev, up = r.revision, g.m.above(s.code)
	}
	if g.IntN(12) == 0 {
		s.rev++
	}
	if r := g.m.records[s.code]; r != nil && r.status == "suspended" && g.IntN(2) > 0 {
		s.what, s.names, s.by = "status", "active", g.signers(up)
		return s
	}
	if g.IntN(4) == 0 {
		return g.sharing()
	}
	s.what = pick(g.Rand, []string{"allocate", "allocate", "allocate", "amend", "amend", "map", "rekey", "rekey", "status", "propose", "propose", "approve", "approve"})
	s.by = g.signers(s.code)
	switch s.what {
	case "allocate":
		s.heir, s.names = parent, fmt.Sprintf("名%d", g.IntN(1000))
		s.by = g.signers(parent)
	case "amend", "propose":
		s.names = fmt.Sprintf("名%d", g.IntN(1000))
		if s.what == "propose" && len(s.by) > 1 {
			s.by = s.by[:1]
		}
	case "map":
		s.names = fmt.Sprint("v", g.IntN(5))
	case "rekey":
		s.names = "inherit"
		if g.IntN(4) > 0 {
			list := slices.Clone(modelKeys[5:])
			g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			list = list[:1+g.IntN(3)]
			s.names = (&modelPolicy{1 + g.IntN(len(list)), list}).String()
		}
		if g.IntN(3) == 0 {
			s.by = g.signers(up)
			if r := g.m.records[s.code]; r != nil && r.waiting != "" && g.IntN(2) == 0 {
				s.names = r.waiting
			}
		}
	case "status":
		s.names = pick(g.Rand, []string{"active", "active", "active", "suspended", "retired"})
		if s.names == "retired" && (len(s.code) == len("MA.156.1301") || g.IntN(3) > 0) {
			s.names = "active"
		}
		s.by = g.signers(up)
		if s.names == "retired" && g.IntN(3) > 0 {
			s.heir = g.code()
			s.by = g.signers(up, s.heir)
		}
	}
	return s
}

// text is the step in the notation of the scenarios.
func (s *step) text() string {
	switch s.what {
	case "allocate":
		kind := "department"
		return fmt.Sprintf("allocate %s %s zh=%s", s.code, kind, s.names)
	case "amend":
		return fmt.Sprintf("amend %s rev=%d zh=%s en=x", s.code, s.rev, s.names)
	case "map":
		return fmt.Sprintf("map %s house:%s rev=%d", s.code, s.names, s.rev)
	case "rekey":
		return fmt.Sprintf("rekey %s rev=%d policy=%s", s.code, s.rev, s.names)
	case "status":
		heir := ""
		if s.heir != "" {
			heir = "heir=" + s.heir
		}
		return fmt.Sprintf("status %s %s rev=%d reason=dispute %s", s.code, s.names, s.rev, heir)
	case "propose":
		return fmt.Sprintf("propose { amend %s rev=%d zh=%s en=x }", s.code, s.rev, s.names)
	case "approve":
		return fmt.Sprintf("approve %d", s.n)
	default:
		return s.sharingText()
	}
}

func newModel() *model {
	m := &model{now: genesisTime + 1, records: map[string]*modelRecord{}}
	add := func(code, parent, policy string) {
		m.records[code] = &modelRecord{parent: parent, status: "active", revision: 1, policy: parseModelPolicy(policy), aliases: map[string]bool{}}
	}
	add("MA.156", "", "2(MA.156.9001,MA.156.9002,MA.156.9003)")
	add("MA.156.9001", "MA.156", "1(an,ao)")
	add("MA.156.9002", "MA.156", "1(bo,bi)")
	add("MA.156.9003", "MA.156", "1(cy,cu)")
	add("MA.156.1301", "MA.156", "1(k0,k1)")
	add("MA.156.1302", "MA.156", "2(k2,k3,k4)")
	for city, code := range modelDatasets {
		class, _, _ := strings.Cut(code, "/1")
		m.records[class] = &modelRecord{parent: city, status: "active", revision: 1}
		m.records[code] = &modelRecord{parent: class, status: "active", revision: 1, kind: "dataset", names: "集"}
	}
	return m
}

// TestModel compares the registry with the model over random transactions.
func TestModel(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			runModel(t, seed, 500)
		})
	}
}

func runModel(t *testing.T, seed uint64, steps int) {
	w := newWorld(t)
	w.check = fakeVerify
	if err := w.found(standardGenesis(t, w.ring)); err != nil {
		t.Fatal(err)
	}
	n := notation{world: w, shown: map[uint64]cityid.Digest{}, terms: map[string]*cityid.Terms{}}
	send := func(text string, by ...string) error {
		ops, err := n.operations(tokens(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var signers []cityid.PublicKey
		for _, name := range by {
			signers = append(signers, w.ring.key(t, name))
		}
		_, err = w.apply(fakeTx(cityid.Body{Chain: testChain, Expires: w.block.Time + 600, Operations: ops}, signers))
		return err
	}
	for _, city := range []string{"MA.156.1301 city zh=一 en=x alias=gb2260:130100 policy=1(k0,k1)", "MA.156.1302 city zh=二 en=x alias=gb2260:130200 policy=2(k2,k3,k4)"} {
		if err := send("allocate "+city, "an", "bo"); err != nil {
			t.Fatal(err)
		}
	}
	for city, code := range modelDatasets {
		class, _, _ := strings.Cut(code, "/1")
		if err := send(fmt.Sprintf("allocate %s class zh=类 ; %s dataset zh=集", class, code), newModel().records[city].policy.members...); err != nil {
			t.Fatal(err)
		}
	}
	g := &generator{rand.New(rand.NewPCG(seed, 1)), newModel()}
	accepted := 0
	for i := range steps {
		d := cityid.Time(g.IntN(3600))
		if g.IntN(100) == 0 {
			d = 8 * 86400
		}
		if g.m.now+d < genesisTime+29*86400 { // before any proposal expires
			g.m.now += d
		} else {
			d = 1
			g.m.now++
		}
		w.begin(d)
		writes := 0
		w.state.hook = func(_, _ []byte) { writes++ }
		s := g.step()
		for s.names == "retired" && g.m.met(s.code, s.by) {
			s = g.step() // retirement by the holder is left to the scenarios
		}
		want := g.m.apply(s)
		err := send(s.text(), s.by...)
		if want != (err == nil) || err != nil && writes > 0 {
			t.Fatalf("step %d: %v: %s\nthe model accepts: %v; the registry: %v, with %d writes", i, s.by, s.text(), want, err, writes)
		}
		if want {
			accepted++
		}
		if i%35 == 0 || i == steps-1 {
			if what := broken(w.state, w.block.Time); what != "" {
				t.Fatalf("step %d: %s", i, what)
			}
		}
		if what := g.m.differs(w.state); what != "" {
			t.Fatalf("step %d: %v: %s\n%s", i, s.by, s.text(), what)
		}
	}
	if accepted < steps/8 {
		t.Errorf("only %d of %d steps were accepted", accepted, steps)
	}
}

// differs compares all records with those of the registry.
func (m *model) differs(r Reader) string {
	for code, want := range m.records {
		got := Record(r, cityid.MustParse(code))
		if got == nil {
			return code + " is missing"
		}
		if got.Parent.String() != want.parent || got.Status.String() != want.status || int(got.Revision) != want.revision || got.Heir.String() != want.heir {
			return fmt.Sprintf("%s is %s %s %d %s, not %+v", code, got.Parent, got.Status, got.Revision, got.Heir, want)
		}
		if (got.Policy == nil) != (want.policy == nil) || want.names != "" && got.Content.Names.Get("zh") != want.names {
			return fmt.Sprintf("%s has other names or policy than %+v", code, want)
		}
		for _, a := range got.Aliases {
			if a.Scheme == "house" && !want.aliases[a.Value] {
				return fmt.Sprintf("%s has alias %s", code, a.Value)
			}
		}
		if x := WaitingFor(r, cityid.MustParse(code)); (x != nil) != (want.waiting != "") {
			return fmt.Sprintf("%s waits for %v, not %q", code, x, want.waiting)
		}
	}
	return m.sharingDiffers(r)
}
