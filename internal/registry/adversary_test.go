// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cityid"
)

// stage is a founded zone with the notation of the scenarios, for what is too
// long or too large to be one.
func stage(t *testing.T) *scenario {
	s := &scenario{notation: notation{world: newWorld(t), shown: map[uint64]cityid.Digest{}}}
	if err := s.found(standardGenesis(t, s.ring)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scenario) must(format string, args ...any) {
	s.tb.Helper()
	line := fmt.Sprintf(format, args...)
	if _, err := s.transaction(line); err != nil {
		s.tb.Fatalf("%.200s: %v", line, err)
	}
}

func (s *scenario) refused(want cityid.ErrorCode, format string, args ...any) {
	s.tb.Helper()
	line := fmt.Sprintf(format, args...)
	if _, err := s.transaction(line); cityid.CodeOf(err) != want {
		s.tb.Fatalf("%.200s: %v, want %s", line, err, want)
	}
}

// TestMemberTooLarge: an institute that makes its policy enormous loses its own
// vote, and takes nobody else's.
func TestMemberTooLarge(t *testing.T) {
	s := stage(t)
	s.must("an bo: allocate MA.156.1301 city zh=一 en=x alias=gb2260:130100 policy=1(mayor)")
	var members []string
	for i := range 16 {
		var list []string
		for j := range 16 {
			list = append(list, fmt.Sprintf("k%d-%d", i, j))
		}
		members = append(members, strings.Join(list, "|"))
	}
	s.must("mayor: allocate MA.156.1301.01 department zh=一局 policy=1(%s) ; MA.156.1301.02 department zh=二局 policy=1(%s)",
		strings.Join(members, ","), strings.ReplaceAll(strings.Join(members, ","), "k", "l"))
	// Each alone may stand in a policy; one code that brings both may not, ...
	s.must("cy: rekey MA.156.9003 policy=1(cy,MA.156.1301.01)")
	s.refused(cityid.ErrPolicy, "mayor: rekey MA.156.1301 policy=1(mayor,MA.156.9003,MA.156.1301.03)")
	s.must("k0-0: amend MA.156.9003 zh=三")
	s.must("cy: rekey MA.156.9003 policy=1(cy,MA.156.1301.01,MA.156.1301.02)")
	// ... and so has no vote where it stands already. The others have theirs.
	s.refused(cityid.ErrNotPermitted, "an cy: amend MA.156 zh=一 en=x")
	s.refused(cityid.ErrPolicy, "an bo: rekey MA.156 policy=2(MA.156.9001,MA.156.9002,MA.156.9003)")
	s.must("an bo: amend MA.156 zh=一 en=x")
	s.must("cy: amend MA.156.9003 zh=三")
}

// TestTriedWork: a few octets can not ask for the work of many transactions.
func TestTriedWork(t *testing.T) {
	s := stage(t)
	s.must("an bo: allocate MA.156/20.010203 class zh=井盖")
	var items []string
	for i := range 900 {
		items = append(items, fmt.Sprintf("MA.156/20.010203/%d object", i))
	}
	s.must("an: propose { allocate %s }", strings.Join(items, " ; "))
	four := strings.TrimSuffix(strings.Repeat("return 1 note=x && ", 4), " && ")
	s.must("an: %s", four)
	s.refused(cityid.ErrTooLarge, "an: %s && return 1 note=x", four)
	s.must("bo: approve 1")
	if Record(s.state, cityid.MustParse("MA.156/20.010203/899")) == nil {
		t.Error("the proposal was not carried out")
	}
}

// TestRowOfHeirs: heirs may follow one another, but not without end, and the
// living stay governed.
func TestRowOfHeirs(t *testing.T) {
	s := stage(t)
	s.must("an bo: allocate MA.156.1301 city zh=一 en=x alias=gb2260:130100 policy=1(mayor)")
	for i := 1; i <= maxHeirs+3; i++ {
		s.must("mayor: allocate MA.156.1301.%02d department zh=局", i)
	}
	s.must("mayor: allocate MA.156.1301.01.01 department zh=队")
	for i := 1; i <= maxHeirs; i++ {
		s.must("mayor: status MA.156.1301.%02d retired reason=merged heir=MA.156.1301.%02d", i, i+1)
		s.must("mayor: amend MA.156.1301.01.01 zh=队%d", i)
	}
	s.refused(cityid.ErrStatus, "mayor: status MA.156.1301.%02d retired reason=merged heir=MA.156.1301.%02d", maxHeirs+1, maxHeirs+2)
	s.must("mayor: amend MA.156.1301.01.01 zh=队")
	if what := broken(s.state, s.block.Time); what != "" {
		t.Error(what)
	}
}

// TestVerifiesLittle: strangers can not make a node check many signatures
// beside those of their transaction.
func TestVerifiesLittle(t *testing.T) {
	s := stage(t)
	n := 0
	check := s.check
	s.check = func(pub, msg, sig []byte) error { n++; return check(pub, msg, sig) }
	s.begin(1)
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint("x", i))
	}
	s.refused(cityid.ErrTooLarge, "anybody: trust by=an,bo,%s", strings.Join(many, ","))
	n = 0
	s.refused(cityid.ErrNotPermitted, "anybody: trust by=%s", strings.Join(many[:20], ","))
	if n > 1 {
		t.Errorf("%d signatures were verified for a trust root nobody signed", n)
	}
	n = 0
	s.refused(cityid.ErrNotPermitted, "anybody: apply MA.156.1301 city zh=一 en=x alias=gb2260:130100 policy=1(%s)", strings.Join(many[:16], ","))
	if n > 1 {
		t.Errorf("%d signatures were verified for an application without intake key", n)
	}
}

// TestMessagesAreShort: what a refusal repeats of a transaction is bounded.
func TestMessagesAreShort(t *testing.T) {
	s := stage(t)
	long := strings.Repeat("x", 100_000)
	for _, op := range []string{
		"map MA.156.9001 " + long + ":v", "map MA.156.9001 house:" + long + " remove", "map MA.156.9001 house:" + long,
		"amend MA.156.9001 zh=" + long, "amend MA.156.9001 link=" + long, "amend MA.156.9001 host=" + long, "amend MA.156.9001 doc=" + long,
		"status MA.156.9001 suspended reason=dispute note=" + long, "propose note=" + long + " { amend MA.156.9001 zh=x }",
		"attest MA.156.9001 " + long, "anchor MA.156.9001 " + long + " x", "grant x dataset=MA.156.9001 note=" + long, "revoke x dataset=MA.156.9001 note=" + long, "scheme " + long, "scheme s pattern=" + long, "reject 1 note=" + long,
	} {
		if _, err := s.transaction("an bo: " + op); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.40s: %.100v", op, err)
		}
	}
}

// TestEmptyPlaces: operations that say nothing are refused, not crashed on.
func TestEmptyPlaces(t *testing.T) {
	s := stage(t)
	an := s.ring.signer(t, "an")
	for _, op := range []cityid.Operation{
		{Apply: &cityid.Apply{}}, {Revise: &cityid.Revise{}}, {Return: &cityid.Return{}}, {Propose: &cityid.Propose{}},
		{Approve: &cityid.Approve{}}, {Reject: &cityid.Reject{}}, {Withdraw: &cityid.Withdraw{}}, {Allocate: &cityid.Allocate{}},
		{Allocate: &cityid.Allocate{Items: make([]cityid.Allocation, 2)}}, {Amend: &cityid.Amend{}}, {SetStatus: &cityid.SetStatus{}},
		{Rekey: &cityid.Rekey{}}, {Veto: &cityid.Veto{}}, {Map: &cityid.Map{}}, {Attest: &cityid.Attest{}}, {Seal: &cityid.Seal{}},
		{Unseal: &cityid.Unseal{}}, {SetParams: &cityid.SetParams{}}, {SetValidators: &cityid.SetValidators{}}, {SetTrust: &cityid.SetTrust{}},
		{SetUpgrade: &cityid.SetUpgrade{}}, {SetUpgrade: &cityid.SetUpgrade{Plan: &cityid.Upgrade{}}},
		{AgreementRequest: &cityid.AgreementRequest{}}, {AgreementGrant: &cityid.AgreementDecision{}}, {AgreementRefuse: &cityid.AgreementDecision{}},
		{AgreementRevoke: &cityid.AgreementDecision{}}, {AnchorReceipts: &cityid.AnchorReceipts{}},
		{Propose: &cityid.Propose{Operations: []cityid.Operation{{}}}},
		{Propose: &cityid.Propose{Operations: []cityid.Operation{{Propose: &cityid.Propose{}}}}},
		{Propose: &cityid.Propose{Operations: []cityid.Operation{{Attest: &cityid.Attest{}}}}},
	} {
		for _, ops := range [][]cityid.Operation{{op}, {{Propose: &cityid.Propose{Operations: []cityid.Operation{op}}}}} {
			tx, err := cityid.SignTx(cityid.Body{Chain: testChain, Expires: s.block.Time + 9, Operations: ops}, an)
			if err != nil {
				t.Fatal(err)
			}
			var e *cityid.Error
			if _, err := s.submit(tx); !errors.As(err, &e) || e.Code == cityid.ErrInternal {
				t.Errorf("%s: %v", op.Name(), err)
			}
		}
	}
}

// TestOpenRequests: a consumer leaves so many requests to answer and no more,
// whosever datasets they are about. What is answered, taken back or lapsed makes
// room.
func TestOpenRequests(t *testing.T) {
	s := stage(t)
	s.must("an bo: allocate MA.156.1301 city zh=一 en=x alias=gb2260:130100 policy=1(mayor) ; MA.156.1302 city zh=二 en=x alias=gb2260:130200 policy=1(tangshan)")
	s.must("mayor: allocate MA.156.1301/40.010101 class zh=类 ; MA.156.1301/40.010101/1 dataset zh=甲 class=open describes=a ; MA.156.1301/40.010101/2 dataset zh=乙 class=open describes=a")
	s.must("tangshan: allocate MA.156.1302.01 department zh=局")
	for i := range cityid.MaxOpenRequests {
		s.must("tangshan: request MA.156.1301/40.010101/%d MA.156.1302 as=r%d describes=a respond=%dh", 1+i%2, i, 30+i)
	}
	full := func() {
		t.Helper()
		s.refused(cityid.ErrQuota, "tangshan: request MA.156.1301/40.010101/1 MA.156.1302 as=more describes=a")
	}
	again := 0
	room := func() {
		t.Helper()
		again++
		s.must("tangshan: request MA.156.1301/40.010101/1 MA.156.1302 as=again%d describes=a respond=2000h", again)
		full()
	}
	full()
	s.must("tangshan: request MA.156.1301/40.010101/1 MA.156.1302.01 as=department describes=a")
	s.must("mayor: grant r100")
	room()
	s.must("mayor: refuse r101")
	room()
	s.must("tangshan: revoke r102")
	room()
	s.must("tangshan: revoke r100")
	full() // it was granted, and made room then
	s.begin(31 * 3600)
	full() // r0 has lapsed, but its day is not over
	s.begin(17 * 3600)
	for range 18 { // those of the second day
		again++
		s.must("tangshan: request MA.156.1301/40.010101/1 MA.156.1302 as=again%d describes=a respond=2000h", again)
	}
	full()
	if what := broken(s.state, s.block.Time); what != "" {
		t.Error(what)
	}
	s.begin(90 * 24 * 3600)
	room2 := "tangshan: request MA.156.1301/40.010101/1 MA.156.1302 as=%s describes=a"
	s.must(room2, "first")
	s.must("tangshan: revoke first")
	if s.state.Get(cityid.RequestsKey(cityid.MustParse("MA.156.1302"))) != nil {
		t.Error("the count of a consumer without requests is kept")
	}
}

// TestAdmit: what a mempool can tell of a transaction.
func TestAdmit(t *testing.T) {
	s := stage(t)
	an := s.ring.signer(t, "an")
	for name, c := range map[string]struct {
		change func(b *cityid.Body)
		want   cityid.ErrorCode
	}{
		"sound":         {func(*cityid.Body) {}, cityid.OK},
		"another chain": {func(b *cityid.Body) { b.Chain = "other" }, cityid.ErrWrongChain},
		"expired":       {func(b *cityid.Body) { b.Expires = s.block.Time }, cityid.ErrExpired},
		"too long":      {func(b *cityid.Body) { b.Expires = s.block.Time + 3601 }, cityid.ErrExpired},
	} {
		b := cityid.Body{Chain: testChain, Expires: s.block.Time + 3600, Operations: []cityid.Operation{{Withdraw: &cityid.Withdraw{}}}}
		c.change(&b)
		tx, err := cityid.SignTx(b, an)
		if err != nil {
			t.Fatal(err)
		}
		_, body, err := cityid.DecodeTx(cityid.MustMarshal(tx))
		if err != nil {
			t.Fatal(err)
		}
		if err := Admit(s.state, s.block, tx, body, s.check); cityid.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Admit(newMapState(), s.block, &cityid.Tx{}, &cityid.Body{}, s.check); cityid.CodeOf(err) != cityid.ErrInternal {
		t.Errorf("a chain that was not founded: %v", err)
	}
}

// TestGenesis: what can not found a zone writes nothing.
func TestGenesis(t *testing.T) {
	ring := newKeyring()
	policy := func(spec string) *cityid.Policy {
		p, err := parsePolicy(t, ring, spec)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, change := range map[string]func(g *Genesis){
		"no records":                 func(g *Genesis) { g.Records = nil },
		"no validators":              func(g *Genesis) { g.Validators = nil },
		"validators out of order":    func(g *Genesis) { g.Validators[0], g.Validators[1] = g.Validators[1], g.Validators[0] },
		"validator that is no point": func(g *Genesis) { g.Validators[0].Key = "\x01" + cityid.PublicKey(strings.Repeat("\x00", 32)) },
		"parameters out of range":    func(g *Genesis) { g.Params.TxLifetime = 1 },
		"parameters at revision 2":   func(g *Genesis) { g.Params.Revision = 2 },
		"apex without policy":        func(g *Genesis) { g.Records[0].Policy = nil },
		"code twice":                 func(g *Genesis) { g.Records[2] = g.Records[1] },
		"child before its parent":    func(g *Genesis) { g.Records[0], g.Records[1] = g.Records[1], g.Records[0] },
		"member not allocated":       func(g *Genesis) { g.Records[0].Policy = policy("2(MA.156.9001,MA.156.9004)") },
		"members in a circle":        func(g *Genesis) { g.Records[1].Policy = policy("1(an,MA.156)") },
		"recovery of no apex":        func(g *Genesis) { g.Records[1].Recovery = policy("1(an)") },
		"sealed and open":            func(g *Genesis) { g.Records[1].Sealed = cityid.Digest{1} },
		"rule without its scheme":    func(g *Genesis) { g.Schemes = nil },
		"scheme of nobody":           func(g *Genesis) { g.Schemes[0].Owner = cityid.MustParse("MA.156.7") },
		"alias without scheme":       func(g *Genesis) { g.Records[1].Aliases = []cityid.Alias{{Scheme: "nosuch", Value: "1"}} },
		"alias out of form":          func(g *Genesis) { g.Records[1].Aliases = []cityid.Alias{{Scheme: "gb2260", Value: "1"}} },
		"kind that does not fit":     func(g *Genesis) { g.Records[1].Kind = cityid.KindObject },
	} {
		g := standardGenesis(t, ring)
		change(g)
		s := newMapState()
		if err := g.Init(s, Block{Chain: testChain, Time: genesisTime}, fakeVerify); err == nil || len(s.values) > 0 {
			t.Errorf("%s: %v, with %d keys", name, err, len(s.values))
		}
	}
	g := standardGenesis(t, ring)
	g.Records[1].Reserved = true
	s := newMapState()
	if err := g.Init(s, Block{Chain: testChain, Time: genesisTime}, fakeVerify); err == nil {
		t.Error("a reserved institute founds a zone in which it can not vote")
	}
	if err := standardGenesis(t, ring).Init(s, Block{Chain: "no spaces", Time: genesisTime}, fakeVerify); err == nil {
		t.Error("a chain id with a space founds a zone")
	}
}
