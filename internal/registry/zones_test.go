// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"cityid"
)

const (
	shijiazhuang = "MA.156.1301"
	cityChain    = "cn-1301-b3x9"
)

var founders = validatorsNamed("a b c d")

// zones is the national zone under test beside the chain of one city.
type zones struct {
	*world
	t    testing.TB
	city *foreign
	last cityid.Checkpoint
	sent int
}

// newZones founds the national zone with a province, two cities and what they
// need, and the chain of one of them, which is not delegated yet.
func newZones(t testing.TB) *zones {
	z := &zones{world: newWorld(t), t: t}
	if err := z.found(standardGenesis(t, z.ring)); err != nil {
		t.Fatal(err)
	}
	n := notation{world: z.world}
	ops, err := n.operations(tokens(`allocate MA.156.13 province zh=河北省 en=Hebei policy=1(governor)
		; MA.156.1301 city zh=石家庄市 en=Shijiazhuang alias=gb2260:130100 policy=1(mayor)
		; MA.156.1302 city zh=唐山市 en=Tangshan alias=gb2260:130200 policy=1(tangshan)`))
	if err != nil {
		t.Fatal(err)
	}
	z.do("an bo governor", ops...)
	z.city = newForeign(t, cityChain, genesisTime, founders)
	z.last = z.city.genesis
	return z
}

// try submits operations signed by the named keys.
func (z *zones) try(signers string, ops ...cityid.Operation) error {
	z.t.Helper()
	z.sent++
	b := cityid.Body{Chain: z.block.Chain, Expires: z.block.Time + 300 + cityid.Time(z.sent%300), Operations: ops}
	var list []cityid.Signer
	for _, n := range strings.Fields(signers) {
		list = append(list, z.ring.signer(z.t, n))
	}
	tx, err := cityid.SignTx(b, list...)
	if err != nil {
		z.t.Fatal(err)
	}
	before := z.state.clone()
	_, err = z.apply(cityid.MustMarshal(tx))
	if err != nil && !maps.EqualFunc(before.values, z.state.values, bytes.Equal) {
		z.t.Errorf("the refusal changed the state: %v", err)
	}
	if what := broken(z.state, z.block.Time); what != "" {
		z.t.Fatalf("%s", what)
	}
	return err
}

func (z *zones) do(signers string, ops ...cityid.Operation) {
	z.t.Helper()
	if err := z.try(signers, ops...); err != nil {
		z.t.Fatal(err)
	}
}

// refused demands that operations are refused with a code and for a reason.
func (z *zones) refused(want cityid.ErrorCode, why, signers string, ops ...cityid.Operation) {
	z.t.Helper()
	err := z.try(signers, ops...)
	if cityid.CodeOf(err) != want || !strings.Contains(err.Error(), why) {
		z.t.Errorf("%v\nwant %s: … %s", err, want, why)
	}
}

// line parses operations in the notation of the scenarios.
func (z *zones) line(text string) []cityid.Operation {
	z.t.Helper()
	n := notation{world: z.world}
	ops, err := n.operations(tokens(text))
	if err != nil {
		z.t.Fatal(err)
	}
	return ops
}

// delegation returns the operation that gives a code a zone of its own.
func (z *zones) delegation(code, chain string, c *cityid.Checkpoint) *cityid.Delegate {
	op := &cityid.Delegate{
		Code: cityid.MustParse(code), Checkpoint: c,
		Delegation: cityid.Delegation{Chain: chain, Genesis: cityid.Digest{1}, Endpoints: []string{"https://id.sjz.example.cn"}},
	}
	if r := Record(z.state, op.Code); r != nil {
		op.Revision = r.Revision
	}
	return op
}

func delegate(op *cityid.Delegate) cityid.Operation { return cityid.Operation{Delegate: op} }

func (z *zones) zone() *cityid.Zone { return Zone(z.state, cityid.MustParse(shijiazhuang)) }

// delegated gives the city its zone.
func (z *zones) delegate() {
	z.t.Helper()
	c := z.city.genesis
	z.do("governor mayor", delegate(z.delegation(shijiazhuang, cityChain, &c)))
}

// post submits the header of a height of the city's chain.
func (z *zones) post(height uint64, trusted powers) error {
	z.t.Helper()
	return z.try("nobody", cityid.Operation{Checkpoint: z.city.post(shijiazhuang, z.zone().Checkpoint, trusted, height)})
}

func (z *zones) mustPost(height uint64, trusted powers) {
	z.t.Helper()
	if err := z.post(height, trusted); err != nil {
		z.t.Fatalf("height %d: %v", height, err)
	}
	if got, want := z.zone().Checkpoint, z.city.checkpoint(height); got != want {
		z.t.Fatalf("checkpoint %+v, want %+v", got, want)
	}
}

// catchUp lets the national zone's time reach that of the city's chain.
func (z *zones) catchUp() {
	z.begin(max(z.city.now-z.block.Time, 60))
}

// TestRanges delegates random codes and holds what is refused, and who is said to
// answer, against what the ranges say.
func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	apex := cityid.MustParse("MA.156")
	refusals, allocated, delegations := 0, 0, 0
	for round := range 6 {
		z := newWorldOfPlaces(t)
		given := map[cityid.Code]bool{} // with its places or not
		for n := range 60 {
			place := []string{"13", "1301", "1302", "130102", "42", "4201", "420102"}[r.IntN(7)]
			code := cityid.MustParse("MA.156." + place + []string{"", "", ".01", ".01.01", "/40.010101", ".01/40.010101"}[r.IntN(6)])
			inside := cityid.Code{}
			for c, places := range given {
				if c != code && cityid.InZone(c, places, code) {
					inside = c
				}
			}
			exists := Record(z.state, code) != nil
			if exists && code.Depth() == 3 && r.IntN(3) == 0 {
				op := z.delegation(code.String(), fmt.Sprintf("cn-%d-%d", round, n), &z.city.genesis)
				op.Delegation.Places = r.IntN(2) == 0
				if err := z.try("boss", delegate(op)); err == nil {
					given[code] = op.Delegation.Places
				}
				continue
			}
			kind := cityid.KindClass
			if code.Class() == "" {
				kind = cityid.KindDepartment
			}
			if code.Depth() == 3 && code.Class() == "" {
				kind = cityid.KindOrganisation
			}
			err := z.try("boss", cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{{
				Code: code, Kind: kind, Policy: z.policy(), Content: cityid.Content{Names: names("名", "Name")},
			}}}})
			if (cityid.CodeOf(err) == cityid.ErrDelegated) != !inside.IsZero() {
				t.Fatalf("round %d: %s, inside %s: %v", round, code, inside, err)
			}
			_, own := given[code]
			if _, _, _, ok := Delegated(z.state, apex, code); ok != (own || !inside.IsZero()) {
				t.Fatalf("%s: delegated %v, inside %s", code, ok, inside)
			}
			if err == nil {
				allocated++
			} else {
				refusals++
			}
		}
		delegations += len(given)
	}
	if allocated < 50 || refusals < 50 || delegations < 5 {
		t.Errorf("%d allocated, %d refused, %d delegated: too few to show anything", allocated, refusals, delegations)
	}
}

// newWorldOfPlaces founds a zone with few rules and one boss.
func newWorldOfPlaces(t testing.TB) *zones {
	z := &zones{world: newWorld(t), t: t}
	g := standardGenesis(t, z.ring)
	all := []cityid.Kind{cityid.KindAuthority, cityid.KindOrganisation, cityid.KindDepartment, cityid.KindClass}
	g.Rule = cityid.Rule{Kinds: []cityid.KindRule{
		{Kind: cityid.KindDepartment, Parents: all}, {Kind: cityid.KindOrganisation, Parents: all}, {Kind: cityid.KindClass, Parents: all},
	}}
	g.Schemes, g.Records = nil, g.Records[:1]
	g.Records[0].Policy, g.Records[0].Recovery = z.policy(), nil
	if err := z.found(g); err != nil {
		t.Fatal(err)
	}
	z.city = newForeign(t, cityChain, genesisTime, founders)
	return z
}

// policy is the boss's.
func (z *zones) policy() *cityid.Policy {
	p, err := parsePolicy(z.t, z.ring, "1(boss)")
	if err != nil {
		z.t.Fatal(err)
	}
	return p
}

// TestBranches: of a chain that forked, each branch's headers are accepted as long
// as they do not take back what the last checkpoint covers. A second, naive rule
// says which those are.
func TestBranches(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	accepted, refused := 0, 0
	for round := range 12 {
		z := newZones(t)
		z.delegate()
		z.city.empty(1)
		grow := func(f *foreign, n int, name string) {
			for i := range n {
				if r.IntN(5) == 0 {
					f.block(10, nil, note(fmt.Sprint(name, i)))
				} else {
					f.block(10+cityid.Time(len(name)), nil) // branches differ in time
				}
			}
		}
		grow(z.city, r.IntN(6), "")
		branches := [2]*foreign{z.city.clone(), z.city.clone()}
		grow(branches[0], 12, "a")
		grow(branches[1], 12, "bb")
		z.begin(300)
		on, height := branches[0], uint64(0) // of the last checkpoint
		for range 12 {
			f := branches[r.IntN(2)]
			h := 1 + uint64(r.IntN(len(f.blocks)))
			last := z.zone().Checkpoint
			if h <= height || height > 0 && f.at(h).header.Time.Before(last.Time.Std().Add(1)) {
				continue
			}
			// The branch has the checkpoint's block, or nothing was written since
			// both were the same.
			want := height == 0 || f.at(height).header.Hash() == on.at(height).header.Hash() || f.at(h).log == last.Log
			err := z.try("nobody", cityid.Operation{Checkpoint: f.post(shijiazhuang, last, founders, h)})
			if (err == nil) != want {
				t.Fatalf("round %d: height %d after %d, same branch %v: %v", round, h, height, f == on, err)
			}
			if err == nil {
				on, height = f, h
				accepted++
			} else {
				refused++
			}
			z.begin(60)
		}
	}
	if accepted < 20 || refused < 10 {
		t.Errorf("%d accepted, %d refused: too few of either to show anything", accepted, refused)
	}
}

// TestCheckpoints follows a chain from its genesis on: empty blocks, then some
// with transactions, over changes of the validators.
func TestCheckpoints(t *testing.T) {
	z := newZones(t)
	z.delegate()
	z.city.empty(3)
	z.catchUp()
	z.mustPost(2, founders) // no block log yet
	z.catchUp()
	z.mustPost(3, founders)
	z.city.block(10, nil, note("one")) // 4
	z.city.empty(4)
	z.city.block(10, nil, note("two")) // 9
	z.city.empty(1)
	z.catchUp()
	z.mustPost(6, founders)
	z.catchUp()
	z.mustPost(8, founders) // the same log
	z.catchUp()
	z.mustPost(10, founders) // the log goes on
	second, third := validatorsNamed("c d e f"), validatorsNamed("e f g h")
	z.city.block(10, second, note("three")) // 11
	z.city.empty(2)
	z.city.block(10, third) // 14
	z.city.empty(2)
	z.catchUp()
	z.mustPost(16, founders)
	z.city.block(10, nil, note("four"))
	z.city.empty(1)
	z.catchUp()
	z.mustPost(18, third)
	if got := z.zone(); got.Anchors != 1 || got.Anchored == got.Accepted.Time || got.Fork != nil {
		t.Errorf("%+v", got)
	}

	// From a genesis right to a state with a log.
	n := newZones(t)
	n.delegate()
	n.city = z.city
	n.catchUp()
	n.mustPost(9, founders)
}

func contains(err error, why string) bool { return strings.Contains(err.Error(), why) }
