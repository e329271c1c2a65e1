// SPDX-License-Identifier: Apache-2.0

package founding_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/founding"
	"cityid/keys"
)

// key returns a key that follows from its name.
func key(t testing.TB, name string) cityid.Signer {
	t.Helper()
	k, err := keys.Generate(keys.Ed25519, strings.NewReader(strings.Repeat(name+"...", 32)))
	if err != nil {
		t.Fatal(err)
	}
	return cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
}

func policy(t testing.TB, threshold int, names ...string) cityid.Policy {
	p := cityid.Policy{Threshold: uint8(threshold)}
	for _, n := range names {
		p.Members = append(p.Members, cityid.Member{Keys: []cityid.Key{{Public: key(t, n).Key, Roles: cityid.RoleControl}}})
	}
	return p
}

func code(i int) cityid.Code { return cityid.MustParse(fmt.Sprintf("MA.156.%d", 9001+i)) }

// newPlan returns a plan for owners with the powers given.
func newPlan(powers ...int64) *founding.Plan {
	zone := cityid.MustParse("MA.156")
	p := &founding.Plan{
		Version: 1, Chain: "cityid-test-1", Time: 1_800_000_000, Zone: zone, Threshold: len(powers)/2 + 1, PrivateAddresses: true,
		Names: cityid.NamesOf(map[string]string{"en": "China"}), Params: cityid.DefaultParams,
		Rule: cityid.Rule{Kinds: []cityid.KindRule{{Kind: cityid.KindCity, Parents: []cityid.Kind{cityid.KindAuthority}, Patterns: []string{"####"}}}},
	}
	for i, w := range powers {
		p.Owners = append(p.Owners, founding.Owner{Code: code(i), Kind: cityid.KindOrganisation, Seat: true, Power: w})
	}
	return p
}

// newPart returns the part of owner i, signed by all its keys but those named.
func newPart(t testing.TB, i int, without ...string) *founding.Part {
	t.Helper()
	n := fmt.Sprint(i)
	p := founding.NewPart(founding.PartContent{
		Chain: "cityid-test-1", Owner: code(i), Policy: policy(t, 1, "officer"+n, "deputy"+n),
		Validator: key(t, "validator"+n).Key, NodeKey: key(t, "node"+n).Key, Address: fmt.Sprintf("127.0.0.1:%d", 26000+i),
	})
	sign(t, p, n, without...)
	return p
}

func sign(t testing.TB, p *founding.Part, n string, without ...string) {
	t.Helper()
	p.Signatures = nil
	for _, name := range []string{"officer", "deputy", "validator", "node"} {
		if !slices.Contains(without, name) {
			if err := p.Sign(key(t, name+n)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func four(t testing.TB) (*founding.Plan, []*founding.Part) {
	var parts []*founding.Part
	for i := range 4 {
		parts = append(parts, newPart(t, i))
	}
	return newPlan(10, 10, 10, 10), parts
}

// TestOrder assembles parts and owners in any order and compares the octets.
func TestOrder(t *testing.T) {
	plan, parts := four(t)
	want, err := founding.Assemble(plan, parts)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Records) != 5 || len(want.Validators) != 4 || len(want.Records[0].Policy.Members) != 4 || want.Records[0].Policy.Threshold != 3 {
		t.Fatalf("founding %+v", want)
	}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		p, shuffled := *plan, slices.Clone(parts)
		p.Owners = slices.Clone(plan.Owners)
		r.Shuffle(4, func(i, j int) { p.Owners[i], p.Owners[j] = p.Owners[j], p.Owners[i] })
		r.Shuffle(4, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got, err := founding.Assemble(&p, shuffled)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Fatalf("%s\nin another order\n%s", a, b)
		}
	}
}

func TestAssembleRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(plan *founding.Plan, parts *[]*founding.Part)
		want   string
	}{
		"missing part":   {func(_ *founding.Plan, p *[]*founding.Part) { *p = (*p)[1:] }, "part of MA.156.9001 is missing"},
		"foreign part":   {func(_ *founding.Plan, p *[]*founding.Part) { *p = append(*p, newPart(t, 7)) }, "MA.156.9008 belongs to no owner"},
		"part twice":     {func(_ *founding.Plan, p *[]*founding.Part) { *p = append(*p, newPart(t, 2)) }, "two parts of MA.156.9003"},
		"other chain":    {func(plan *founding.Plan, _ *[]*founding.Part) { plan.Chain = "other" }, "is for chain cityid-test-1, not for other"},
		"unsigned":       {func(_ *founding.Plan, p *[]*founding.Part) { (*p)[1] = newPart(t, 1, "deputy") }, "part of MA.156.9002 is not signed by ed25519:"},
		"private":        {func(plan *founding.Plan, _ *[]*founding.Part) { plan.PrivateAddresses = false }, "a private address"},
		"same address":   {func(_ *founding.Plan, p *[]*founding.Part) { (*p)[1].Address = (*p)[0].Address; sign(t, (*p)[1], "1") }, "address 127.0.0.1:26000 stands in two places"},
		"same validator": {func(_ *founding.Plan, p *[]*founding.Part) { (*p)[1].Validator = (*p)[0].Validator }, "validator of MA.156.9001, and validator of MA.156.9002"},
		"same node": {func(_ *founding.Plan, p *[]*founding.Part) {
			(*p)[1].NodeKey, (*p)[1].Node = (*p)[0].NodeKey, (*p)[0].Node
		}, "node of MA.156.9001, and node of MA.156.9002"},
		"same officer": {func(_ *founding.Plan, p *[]*founding.Part) { (*p)[3].Policy = (*p)[2].Policy }, "policy of MA.156.9003, and policy of MA.156.9004"},
		"third":        {func(plan *founding.Plan, _ *[]*founding.Part) { plan.Owners[0].Power = 15 }, "MA.156.9001 holds 15 of 45 power, a third or more"},
		"few owners":   {func(plan *founding.Plan, _ *[]*founding.Part) { plan.Owners[0].Power = 0 }, "3 owners have validators"},
	} {
		plan, parts := four(t)
		c.change(plan, &parts)
		_, err := founding.Assemble(plan, parts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestAccept assembles networks whose founders accept their risks, and no others.
func TestAccept(t *testing.T) {
	plan, parts := newPlan(20, 10), []*founding.Part{newPart(t, 0), newPart(t, 1)}
	for _, accept := range [][]founding.Risk{nil, {founding.Third}, {founding.FewOwners}} {
		plan.Accept = accept
		if _, err := founding.Assemble(plan, parts); err == nil {
			t.Errorf("assembled, accepting %v alone", accept)
		}
	}
	plan.Accept = []founding.Risk{founding.Third, founding.FewOwners}
	if _, err := founding.Assemble(plan, parts); err != nil {
		t.Error(err)
	}
}

func TestSeatWithoutPower(t *testing.T) {
	plan, parts := four(t)
	plan.Owners = append(plan.Owners, founding.Owner{Code: code(4), Kind: cityid.KindOrganisation, Seat: true})
	plan.Owners[0].Seat = false
	parts = append(parts, newPart(t, 4))
	got, err := founding.Assemble(plan, parts)
	if err != nil {
		t.Fatal(err)
	}
	if members := got.Records[0].Policy.Members; len(members) != 4 || members[0].Code != code(1) || len(got.Validators) != 4 {
		t.Errorf("%d members, the first %s, and %d validators", len(members), members[0].Code, len(got.Validators))
	}
}

func TestPlanCheck(t *testing.T) {
	for name, change := range map[string]func(*founding.Plan){
		"version":            func(p *founding.Plan) { p.Version = 2 },
		"chain":              func(p *founding.Plan) { p.Chain = "with blanks" },
		"time":               func(p *founding.Plan) { p.Time = 0 },
		"zone":               func(p *founding.Plan) { p.Zone = cityid.Code{} },
		"no owners":          func(p *founding.Plan) { p.Owners = nil },
		"owner twice":        func(p *founding.Plan) { p.Owners[1] = p.Owners[0] },
		"owner elsewhere":    func(p *founding.Plan) { p.Owners[0].Code = cityid.MustParse("MA.157.1") },
		"owner is the apex":  func(p *founding.Plan) { p.Owners[0].Code = p.Zone },
		"kind":               func(p *founding.Plan) { p.Owners[0].Kind = 0 },
		"negative power":     func(p *founding.Plan) { p.Owners[0].Power = -1 },
		"too much power":     func(p *founding.Plan) { p.Owners[0].Power = cityid.MaxPower + 1 },
		"nothing":            func(p *founding.Plan) { p.Owners[0].Power, p.Owners[0].Seat = 0, false },
		"threshold 0":        func(p *founding.Plan) { p.Threshold = 0 },
		"threshold too high": func(p *founding.Plan) { p.Threshold = 5 },
		"unknown risk":       func(p *founding.Plan) { p.Accept = []founding.Risk{"all"} },
		"risk twice":         func(p *founding.Plan) { p.Accept = []founding.Risk{founding.Third, founding.Third} },
		"recovery":           func(p *founding.Plan) { p.Recovery = &cityid.Policy{Threshold: 1} },
		"parameters":         func(p *founding.Plan) { p.Params.ApexDelay = 1 },
		"no validator": func(p *founding.Plan) {
			for i := range p.Owners {
				p.Owners[i].Power = 0
			}
		},
	} {
		p, _ := four(t)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		if change(p); p.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, x := range []struct {
		powers []int64
		want   string
	}{
		{[]int64{10}, "none of them can be spared"}, {[]int64{10, 10, 10}, "none of them"},
		{[]int64{10, 10, 10, 10}, "while any one owner"}, {[]int64{10, 10, 10, 10, 10, 10, 10}, "any 2 owners"}, {[]int64{1, 1, 1, 9}, "none"},
	} {
		if got := newPlan(x.powers...).Notes(); !strings.Contains(got[0].Text, x.want) {
			t.Errorf("%v: %q, want %q", x.powers, got[0].Text, x.want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for address, want := range map[string]string{
		"node.example.cn:26656": "public", "203.0.113.7:1": "public", "[2001:db8::1]:65535": "public", "xn--fiq.cn:26656": "public",
		"127.0.0.1:26656": "private", "10.1.2.3:26656": "private", "[fd00::1]:26656": "private", "localhost:26656": "private", "node1:26656": "private",
		"a.local:1": "private", "[::ffff:10.0.0.1]:26656": "private",
		"0.0.0.0:26656": "", "[::]:26656": "", ":26656": "", "node.example.cn": "", "node.example.cn:0": "", "node.example.cn:65536": "", "node.example.cn:026": "",
		"224.0.0.1:26656": "", "169.254.1.1:26656": "", "[fe80::1%eth0]:26656": "", "Node.example.cn:26656": "", "a b:1": "", "1.2.3:26656": "", "a..b:1": "", "-a.cn:1": "",
		"255.255.255.255:1": "", strings.Repeat("a.", 130) + "cn:1": "", "tcp://a.cn:1": "", "": "",
	} {
		private, public := founding.CheckAddress(address, true) == nil, founding.CheckAddress(address, false) == nil
		if got := map[[2]bool]string{{true, true}: "public", {true, false}: "private", {false, false}: ""}[[2]bool{private, public}]; got != want {
			t.Errorf("%q is %q, want %q", address, got, want)
		}
	}
}

// TestPartChanged changes each thing that a part says and demands that its
// signatures no longer hold.
func TestPartChanged(t *testing.T) {
	if err := newPart(t, 0).Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*founding.Part){
		"chain":     func(p *founding.Part) { p.Chain += "x" },
		"owner":     func(p *founding.Part) { p.Owner = code(1) },
		"names":     func(p *founding.Part) { p.Names = cityid.NamesOf(map[string]string{"en": "x"}) },
		"policy":    func(p *founding.Part) { p.Policy.Threshold = 2 },
		"validator": func(p *founding.Part) { p.Validator = key(t, "validator1").Key },
		"node key":  func(p *founding.Part) { p.NodeKey = key(t, "node1").Key; p.Node = founding.NodeID(p.NodeKey) },
		"node":      func(p *founding.Part) { p.Node = strings.Repeat("0", 40) },
		"address":   func(p *founding.Part) { p.Address = "127.0.0.1:1" },
		"order":     func(p *founding.Part) { slices.Reverse(p.Signatures) },
		"twice":     func(p *founding.Part) { p.Signatures = append(p.Signatures, p.Signatures[len(p.Signatures)-1]) },
		"machine":   func(p *founding.Part) { p.Policy = policy(t, 1, "validator0"); p.Signatures = nil },
		"one key": func(p *founding.Part) {
			p.NodeKey = p.Validator
			p.Node = founding.NodeID(p.NodeKey)
			p.Signatures = nil
		},
		"version": func(p *founding.Part) { p.Version = 2 },
	} {
		p := newPart(t, 0)
		if change(p); p.Check() == nil {
			t.Errorf("%s changed, and still there is no error", name)
		}
	}
	if err := newPart(t, 0).Sign(key(t, "stranger")); err == nil {
		t.Error("a stranger signs")
	}
}

func TestStrict(t *testing.T) {
	plan, err := newPlan(10).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ old, new, want string }{
		{`"zone"`, `"zones"`, `line 5: there is no field "zones"`},
		{`"threshold": 1`, `"threshold": "1"`, "line 9: threshold: want int, not string"},
		{`"threshold": 1,`, `"threshold": 1`, "line 10:"},
		{`"threshold": 1`, `"threshold": 1, "threshold": 1`, "stands twice"},
		{"\n}\n", "\n}\n{}", "something follows"},
	} {
		if _, err := founding.ParsePlan([]byte(strings.Replace(string(plan), x.old, x.new, 1))); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.new, err, x.want)
		}
	}
	if _, err := founding.ParsePlan(append(plan, make([]byte, founding.MaxPlan)...)); err == nil || !strings.Contains(err.Error(), "octets") {
		t.Errorf("a large plan: %v", err)
	}
}

func FuzzParsePlan(f *testing.F) {
	b, err := newPlan(10, 10).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := founding.ParsePlan(text)
		if err != nil {
			return
		}
		p.Risks()
		p.Notes()
		roundTrip(t, p, p.Encode, founding.ParsePlan)
	})
}

func FuzzParsePart(f *testing.F) {
	b, err := newPart(f, 0).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1,"chain":"a","owner":"MA.156.1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := founding.ParsePart(text)
		if err != nil {
			return
		}
		p.Missing()
		roundTrip(t, p, p.Encode, founding.ParsePart)
	})
}

// roundTrip writes what was parsed and parses it again.
func roundTrip[T any](t *testing.T, v *T, encode func() ([]byte, error), parse func([]byte) (*T, error)) {
	b, err := encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	c, err := json.Marshal(again)
	d, _ := json.Marshal(v)
	if err != nil || !reflect.DeepEqual(c, d) {
		t.Fatalf("%s\nis, written and read again,\n%s", d, c)
	}
}
