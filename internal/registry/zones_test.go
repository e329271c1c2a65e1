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
