// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"reflect"
	"testing"

	"cityid"
)

const rootChain = "cn-root-9p4d"

// child is a zone of its own under test, beside the chain of the zone above.
type child struct {
	*zones
	root   *foreign
	record cityid.Record // of the apex up there
}

// upstreamGenesis founds the zone of Shijiazhuang below a chain.
func upstreamGenesis(t *testing.T, ring *keyring, root *foreign) *Genesis {
	g := standardGenesis(t, ring)
	g.Schemes = g.Schemes[2:3] // house
	g.Rule.Kinds[1].Schemes = nil
	policy, err := parsePolicy(t, ring, "1(mayor)")
	if err != nil {
		t.Fatal(err)
	}
	g.Records = []cityid.Allocation{{
		Code: cityid.MustParse(shijiazhuang), Kind: cityid.KindCity, Policy: policy,
		Content: cityid.Content{Names: names("石家庄市", "Shijiazhuang"), Hosts: []string{"*.sjz.example.cn"}},
	}}
	g.Upstream = &cityid.Upstream{Zone: cityid.MustParse("MA.156"), Chain: root.id, Checkpoint: root.genesis}
	return g
}

func newChild(t *testing.T) *child {
	z := &zones{world: newWorld(t), t: t}
	c := &child{zones: z, root: newForeign(t, rootChain, genesisTime, founders)}
	if err := z.found(upstreamGenesis(t, z.ring, c.root)); err != nil {
		t.Fatal(err)
	}
	c.record = cityid.Record{
		Code: cityid.MustParse(shijiazhuang), Parent: cityid.MustParse("MA.156.13"), Kind: cityid.KindCity, Status: cityid.StatusActive, Revision: 2,
		Changed: cityid.Change{Chain: rootChain, Height: 1, Time: genesisTime}, Content: cityid.Content{Names: names("旧名", "Old name")},
		Aliases:    []cityid.Alias{{Scheme: "gb2260", Value: "130100"}},
		Policy:     Record(z.state, cityid.MustParse(shijiazhuang)).Policy,
		Delegation: &cityid.Delegation{Chain: testChain, Genesis: cityid.Digest{1}},
	}
	return c
}

// decide makes the next revision of the apex up there, and a header that proves it.
func (c *child) decide(change func(r *cityid.Record)) {
	c.record.Revision++
	change(&c.record)
	c.root.put(10, &c.record)
	c.root.empty(1)
	c.begin(max(c.root.now-c.block.Time, 1))
}

func (c *child) op() cityid.Operation {
	up := Upstream(c.state)
	return cityid.Operation{Follow: c.root.tell(c.record.Code, up.Checkpoint, founders, uint64(len(c.root.blocks)))}
}

func (c *child) apex() *cityid.Record { return Record(c.state, cityid.MustParse(shijiazhuang)) }

func (c *child) policyOf(spec string) *cityid.Policy {
	p, err := parsePolicy(c.t, c.ring, spec)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// TestFollow takes over policy, status, crosswalk entries and the end.
func TestFollow(t *testing.T) {
	c := newChild(t)
	c.do("mayor", c.line("allocate MA.156.1301.01 department zh=交通局")...)
	c.decide(func(*cityid.Record) {})
	c.do("nobody", c.op())
	if r := c.apex(); r.Revision != 2 || !reflect.DeepEqual(r.Aliases, c.record.Aliases) || r.Content.Names[0].Text != "Shijiazhuang" || r.PolicySince != 0 || !r.Parent.IsZero() {
		t.Errorf("%+v", r)
	}
	if up := Upstream(c.state); up.Revision != 3 || up.Checkpoint.Height != 2 || up.Checkpoint.Log.Size != 0 {
		t.Errorf("%+v", up)
	}
	// The same once more, and one before it.
	c.root.empty(1)
	c.refused(cityid.ErrRetry, "the same one again with a header from", "nobody", c.op())
	c.root.block(60, nil)
	c.begin(100)
	c.do("nobody", c.op())
	if r := c.apex(); r.Revision != 2 {
		t.Error("a later header alone makes no revision")
	}
	c.record.Revision -= 2
	c.decide(func(*cityid.Record) {})
	c.refused(cityid.ErrConflict, "revision 3 of MA.156.1301 was followed already, this is revision 2", "nobody", c.op())
	c.record.Revision = 3

	// Another policy; what the old one held is over.
	c.decide(func(r *cityid.Record) { r.Policy, r.Aliases = c.policyOf("2(deputy,clerk,mayor)"), nil })
	c.do("nobody", c.op())
	if r := c.apex(); r.PolicySince != c.block.Time || len(r.Aliases) != 0 {
		t.Errorf("%+v", r)
	}
	c.refused(cityid.ErrNotPermitted, "the policy of MA.156.1301", "mayor", c.line("allocate MA.156.1301.02 department zh=水务局")...)
	c.do("clerk deputy", c.line("allocate MA.156.1301.02 department zh=水务局")...)

	// Suspended: nothing acts, but what is decided above is still followed.
	c.decide(func(r *cityid.Record) {
		r.Status, r.Reason, r.Note = cityid.StatusSuspended, cityid.ReasonDispute, "who is mayor?"
	})
	c.do("nobody", c.op())
	c.refused(cityid.ErrStatus, "no policy at or below it acts", "clerk deputy", c.line("amend MA.156.1301 zh=石")...)
	c.decide(func(r *cityid.Record) { r.Status, r.Reason, r.Note = cityid.StatusActive, cityid.ReasonResolved, "" })
	c.do("nobody", c.op())
	c.do("clerk deputy", c.line("seal MA.156.1301 sealed=x zh=石")...)
	c.decide(func(r *cityid.Record) { r.Aliases = []cityid.Alias{{Scheme: "gb2260", Value: "130100"}} })
	c.do("nobody", c.op()) // a sealed record shows none

	// Retired: the heir is not here, the successors are known.
	c.decide(func(r *cityid.Record) {
		r.Status, r.Reason, r.Heir = cityid.StatusRetired, cityid.ReasonMerged, cityid.MustParse("MA.156.1302")
		r.Successors = []cityid.Code{cityid.MustParse("MA.156.1302")}
	})
	c.do("nobody", c.op())
	if r := c.apex(); r.Status != cityid.StatusRetired || !r.Heir.IsZero() || len(r.Successors) != 1 {
		t.Errorf("%+v", r)
	}
	c.refused(cityid.ErrStatus, "retired", "clerk deputy", c.line("amend MA.156.1301.01 zh=石")...)
	c.refused(cityid.ErrStatus, "retired", "clerk deputy", c.line("rekey MA.156.1301.01 policy=1(x)")...)
	c.decide(func(r *cityid.Record) { r.Status = cityid.StatusActive })
	c.refused(cityid.ErrStatus, "is retired for good", "nobody", c.op())
}

// TestFollowEnds: delegated to another chain, or to none.
func TestFollowEnds(t *testing.T) {
	for _, d := range []*cityid.Delegation{nil, {Chain: "cn-1301-new", Genesis: cityid.Digest{1}}} {
		c := newChild(t)
		c.decide(func(r *cityid.Record) { r.Delegation = d })
		c.do("nobody", c.op())
		if r := c.apex(); r.Status != cityid.StatusRetired || r.Reason != cityid.ReasonReplaced {
			t.Errorf("%+v", r)
		}
	}
	c := newChild(t)
	c.decide(func(r *cityid.Record) { r.Delegation.Places = true })
	c.refused(cityid.ErrConflict, "founded for another range", "nobody", c.op())
}

// TestFollowRefusals changes one thing at a time.
func TestFollowRefusals(t *testing.T) {
	c := newChild(t)
	c.decide(func(*cityid.Record) {})
	for _, x := range []struct {
		why    string
		change func(op *cityid.Follow)
	}{
		{"may be of another state", func(op *cityid.Follow) { op.Proof[len(op.Proof)-1] ^= 1 }},
		{"proof of the record", func(op *cityid.Follow) { op.Proof = nil }},
		{"proof of the record", func(op *cityid.Follow) { op.Proof = c.root.proof(2, cityid.RecordKey(cityid.MustParse("MA.156"))) }},
		{"may be of another state", func(op *cityid.Follow) {
			r := c.record
			r.Policy = c.policyOf("1(thief)")
			op.Record = cityid.MustMarshal(&r)
		}},
		{"record:", func(op *cityid.Follow) { op.Record = append(op.Record, 0) }},
		{"the record is that of MA.156.13", func(op *cityid.Follow) {
			r := c.record
			r.Code = cityid.MustParse("MA.156.13")
			op.Record = cityid.MustMarshal(&r)
		}},
		{"wrong signature", func(op *cityid.Follow) {
			other := newForeign(t, "cn-other", genesisTime, founders)
			other.put(10, &c.record)
			other.empty(1)
			*op = *other.tell(c.record.Code, other.genesis, founders, 2)
		}},
		{"the checkpoint at height 0 names", func(op *cityid.Follow) {
			op.Descent.Validators = c.root.must(validatorsNamed("x").validators().MarshalBinary())
		}},
	} {
		op := c.op()
		op.Follow.Record, op.Follow.Proof = append(cityid.Bytes{}, op.Follow.Record...), append(cityid.Bytes{}, op.Follow.Proof...)
		x.change(op.Follow)
		c.refused(cityid.ErrInvalid, x.why, "nobody", op)
	}
	big := c.op()
	big.Follow.Record = make(cityid.Bytes, cityid.MaxRecord+1)
	c.refused(cityid.ErrTooLarge, "a record of", "nobody", big)
	z := newZones(t)
	z.refused(cityid.ErrUnsupported, "has none above", "nobody", c.op())

	// What the zone above can not mean.
	for _, x := range []struct {
		code   cityid.ErrorCode
		why    string
		change func(r *cityid.Record)
	}{
		{cityid.ErrPolicy, "needs a policy of its own", func(r *cityid.Record) { r.Policy = nil }},
		{cityid.ErrPolicy, "has the code MA.156.9001", func(r *cityid.Record) {
			r.Policy = &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Code: cityid.MustParse("MA.156.9001")}}}
		}},
		{cityid.ErrPolicy, "can not meet the threshold", func(r *cityid.Record) { r.Policy = c.policyOf("1(mayor/until=1h)") }},
		{cityid.ErrInvalid, "is active, suspended or retired", func(r *cityid.Record) { r.Status = cityid.StatusReserved }},
	} {
		c := newChild(t)
		c.decide(x.change)
		c.refused(x.code, x.why, "nobody", c.op())
	}

	// After 14 days it takes the apex as well.
	c = newChild(t)
	c.begin(14 * day)
	c.root.now = c.block.Time - 20
	c.decide(func(*cityid.Record) {})
	c.refused(cityid.ErrNotPermitted, "takes the consent of the apex as well", "nobody", c.op())
	c.do("mayor", c.op())
	c.decide(func(*cityid.Record) {})
	c.do("nobody", c.op())
	c.root.block(1000, nil)
	c.refused(cityid.ErrRetry, "ahead of this zone's time", "nobody", c.op())
}

// TestChildApex: what is decided above, and what lies outside.
func TestChildApex(t *testing.T) {
	c := newChild(t)
	for _, line := range []string{
		"rekey MA.156.1301 policy=1(thief)", "status MA.156.1301 suspended reason=dispute", "map MA.156.1301 house:1",
		"propose { rekey MA.156.1301 policy=1(thief) }", "map MA.156.1301 house:1 remove",
	} {
		c.refused(cityid.ErrNotPermitted, "make the change in the zone of MA.156, chain cn-root-9p4d", "mayor", c.line(line)...)
	}
	c.refused(cityid.ErrNotPermitted, "make the change in the zone of MA.156", "mayor", delegate(c.delegation(shijiazhuang, "cn-x", &c.root.genesis)))
	c.do("mayor", c.line("allocate MA.156.1301.01 department zh=交通局 policy=1(traffic)")...)
	c.do("mayor", c.line("amend MA.156.1301 zh=石家庄 en=Shijiazhuang")...)
	for _, line := range []string{"allocate MA.156.1302 city zh=唐山市 en=Tangshan", "allocate MA.156.1302.01 department zh=局", "allocate MA.156.130102 county zh=长安区"} {
		c.refused(cityid.ErrParent, "lies outside this zone", "mayor", c.line(line)...)
	}
	// The zone above's chain, or this one, is nobody's down here.
	c.refused(cityid.ErrInvalid, "or the one above", "mayor traffic", delegate(c.delegation("MA.156.1301.01", rootChain, &c.root.genesis)))
	c.do("mayor traffic", delegate(c.delegation("MA.156.1301.01", "cn-1301-01", &c.root.genesis)))
}

// TestUpstreamGenesis: what a genesis may say of the zone above.
func TestUpstreamGenesis(t *testing.T) {
	for why, change := range map[string]func(g *Genesis){
		"":                                   func(*Genesis) {},
		"another than this zone's":           func(g *Genesis) { g.Upstream.Chain = testChain },
		"needs a chain id":                   func(g *Genesis) { g.Upstream.Chain = "" },
		"does not stand above":               func(g *Genesis) { g.Upstream.Zone = cityid.MustParse("MA.156.1302") },
		`"MA.156.1301" does not stand above`: func(g *Genesis) { g.Upstream.Zone = cityid.MustParse(shijiazhuang) },
		"upstream: checkpoint":               func(g *Genesis) { g.Upstream.Checkpoint = cityid.Checkpoint{} },
		"no revision followed":               func(g *Genesis) { g.Upstream.Revision = 1 },
		"names a recovery policy":            func(g *Genesis) { g.Records[0].Recovery = g.Records[0].Policy },
		"has the code MA.156.9001 as a member": func(g *Genesis) {
			g.Records[0].Policy.Members[0] = cityid.Member{Code: cityid.MustParse("MA.156.9001")}
		},
		"lies outside this zone": func(g *Genesis) {
			g.Records = append(g.Records, cityid.Allocation{Code: cityid.MustParse("MA.156.1302"), Kind: cityid.KindCity})
		},
		"only a place": func(g *Genesis) {
			g.Records[0].Code, g.Records[0].Kind, g.Upstream.Places = cityid.MustParse("MA.156.1301.01"), cityid.KindDepartment, true
		},
	} {
		w := newWorld(t)
		g := upstreamGenesis(t, w.ring, newForeign(t, rootChain, genesisTime, founders))
		change(g)
		err := w.found(g)
		if (err == nil) != (why == "") || err != nil && !contains(err, why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}
