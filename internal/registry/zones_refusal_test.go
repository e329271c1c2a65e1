// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"

	"cityid"
	"cityid/header"
)

// TestDelegateRefusals: who may give what to which chain.
func TestDelegateRefusals(t *testing.T) {
	z := newZones(t)
	first := z.city.genesis
	with := func(change func(op *cityid.Delegate)) cityid.Operation {
		op := z.delegation(shijiazhuang, cityChain, &first)
		change(op)
		return delegate(op)
	}
	both := "governor mayor"
	sound := with(func(*cityid.Delegate) {})
	z.refused(cityid.ErrNotPermitted, "the policy of MA.156.1301 is not met", "governor", sound)
	z.refused(cityid.ErrNotPermitted, "the policy of MA.156.13 is not met", "mayor", sound)
	for _, c := range []struct {
		code   cityid.ErrorCode
		why    string
		change func(op *cityid.Delegate)
	}{
		{cityid.ErrConflict, "is at revision 1, not 7", func(op *cityid.Delegate) { op.Revision = 7 }},
		{cityid.ErrInvalid, "give the first checkpoint", func(op *cityid.Delegate) { op.Checkpoint = nil }},
		{cityid.ErrInvalid, "is that of this zone", func(op *cityid.Delegate) { op.Delegation.Chain = testChain }},
		{cityid.ErrInvalid, "the hash of the genesis file", func(op *cityid.Delegate) { op.Delegation.Genesis = cityid.Digest{} }},
		{cityid.ErrInvalid, "the chain id", func(op *cityid.Delegate) { op.Delegation.Chain = "a b" }},
		{cityid.ErrInvalid, "given twice", func(op *cityid.Delegate) {
			op.Delegation.Endpoints = []string{"https://a.cn", "https://a.cn"}
		}},
		{cityid.ErrInvalid, "no user, query", func(op *cityid.Delegate) { op.Delegation.Endpoints = []string{"https://a.cn/?x"} }},
		{cityid.ErrInvalid, "a time and the next validators", func(op *cityid.Delegate) { op.Checkpoint = &cityid.Checkpoint{} }},
		{cityid.ErrInvalid, "a height goes with", func(op *cityid.Delegate) { c := first; c.Height = 3; op.Checkpoint = &c }},
		{cityid.ErrInvalid, "can not hold a block log", func(op *cityid.Delegate) {
			c := first
			c.Height, c.Header, c.Validators, c.Log = 3, cityid.Digest{1}, c.Next, cityid.BlockLog{First: 1, Size: 3, Root: cityid.Digest{1}}
			op.Checkpoint = &c
		}},
		{cityid.ErrInvalid, "ahead of this zone's time", func(op *cityid.Delegate) { c := first; c.Time = z.block.Time + 21; op.Checkpoint = &c }},
		{cityid.ErrExpired, "more than 14 days ago", func(op *cityid.Delegate) { c := first; c.Time = z.block.Time - 14*day - 1; op.Checkpoint = &c }},
	} {
		z.refused(c.code, c.why, both, with(c.change))
	}
	z.refused(cityid.ErrNotPermitted, "is the apex of this zone", "an bo", delegate(z.delegation("MA.156", cityChain, &first)))
	z.refused(cityid.ErrNotFound, "MA.156.1309 is not allocated", both, delegate(z.delegation("MA.156.1309", cityChain, &first)))

	// A code with records in its range, without a policy of its own, or with one
	// that names codes.
	z.do("mayor", z.line("allocate MA.156.1301.01 department zh=交通局 ; MA.156.1301.01/40.010101 class zh=数据集 ; MA.156.1301.02 department zh=水务局")...)
	z.refused(cityid.ErrStatus, "the first is MA.156.1301.01", both, sound)
	z.refused(cityid.ErrPolicy, "needs a policy of its own", "mayor", delegate(z.delegation("MA.156.1301.02", cityChain, &first)))
	z.refused(cityid.ErrInvalid, "a code of kind class", "mayor", delegate(z.delegation("MA.156.1301.01/40.010101", cityChain, &first)))
	z.do("tangshan", z.line("rekey MA.156.1302 policy=1(tangshan,MA.156.9001)")...)
	z.refused(cityid.ErrPolicy, "has the code MA.156.9001 as a member", "governor tangshan", delegate(z.delegation("MA.156.1302", cityChain, &first)))
	z.do("tangshan", z.line("rekey MA.156.1302 policy=1(tangshan)")...)
	z.do("governor tangshan", delegate(z.delegation("MA.156.1302", "cn-1302", &first)))
	z.refused(cityid.ErrPolicy, "needs a policy of its own", "tangshan", z.line("rekey MA.156.1302 policy=inherit")...)
	z.refused(cityid.ErrPolicy, "has the code MA.156.9001", "tangshan", z.line("rekey MA.156.1302 policy=1(tangshan,MA.156.9001)")...)
	z.do("tangshan", z.line("rekey MA.156.1302 policy=1(tangshan2)")...)

	// A province with cities in the zone keeps them unless it gives its places away.
	province := z.delegation("MA.156.13", "cn-13", &first)
	province.Delegation.Places = true
	z.refused(cityid.ErrStatus, "the first is MA.156.1301", "an bo governor", delegate(province))
	province.Delegation.Places = false
	z.refused(cityid.ErrInvalid, "chain cn-1302 is that of MA.156.1302", "an bo governor", delegate(z.delegation("MA.156.13", "cn-1302", &first)))
	z.do("an bo governor", delegate(province))
	z.do("an bo governor", z.line("allocate MA.156.1303 city zh=秦皇岛市 en=Qinhuangdao alias=gb2260:130300 policy=1(qin)")...)
	z.refused(cityid.ErrDelegated, "chain cn-13, at https://id.sjz.example.cn", "governor", z.line("allocate MA.156.13.01 department zh=厅")...)
}

// TestDelegatedAgain: other addresses, anchoring again, another chain.
func TestDelegatedAgain(t *testing.T) {
	z := newZones(t)
	z.delegate()
	first := z.city.genesis
	move := z.delegation(shijiazhuang, cityChain, nil)
	z.refused(cityid.ErrInvalid, "nothing would change", "mayor", delegate(move))
	move.Delegation.Endpoints = []string{"http://10.0.0.1:8080", "https://id.sjz.example.cn/x"}
	z.refused(cityid.ErrNotPermitted, "the policy of MA.156.1301", "governor", delegate(move))
	z.do("mayor", delegate(move))
	if z.zone().Anchors != 1 {
		t.Error("addresses anchor nothing")
	}
	move = z.delegation(shijiazhuang, cityChain, nil)
	move.Delegation.Endpoints, move.Delegation.Genesis = nil, cityid.Digest{9}
	z.refused(cityid.ErrInvalid, "another takes a checkpoint", "mayor", delegate(move))
	again := z.delegation(shijiazhuang, cityChain, &first)
	again.Delegation.Genesis = cityid.Digest{9}
	z.refused(cityid.ErrInvalid, "takes a chain id of its own", "governor mayor", delegate(again))
	again = z.delegation(shijiazhuang, cityChain, &first)
	z.refused(cityid.ErrNotPermitted, "MA.156.13", "mayor", delegate(again))
	z.do("governor mayor", delegate(again))
	z.refused(cityid.ErrConflict, "revision", "governor mayor", delegate(again)) // the same once more
	if z.zone().Anchors != 2 {
		t.Errorf("%+v", z.zone())
	}
	z.city.empty(3)
	z.catchUp()
	z.mustPost(3, founders)
	other := z.delegation(shijiazhuang, "cn-1301-new", &first)
	z.do("governor mayor", delegate(other))
	if got := z.zone(); got.Anchors != 3 || got.Chain != "cn-1301-new" || got.Checkpoint != first {
		t.Errorf("%+v", got)
	}
	z.begin(60)
	z.refused(cityid.ErrInvalid, "wrong signature", "nobody", cityid.Operation{Checkpoint: z.city.post(shijiazhuang, first, founders, 3)})

	// What is retired stays so, and its zone with it; nothing below needs an heir.
	z.do("governor", z.line("status MA.156.1301 suspended reason=dispute")...)
	z.refused(cityid.ErrStatus, "suspended", "governor mayor", delegate(z.delegation(shijiazhuang, cityChain, &first)))
	z.do("governor", z.line("status MA.156.1301 retired reason=merged")...)
	z.refused(cityid.ErrStatus, "retired", "governor mayor", delegate(z.delegation(shijiazhuang, cityChain, &first)))
	z.refused(cityid.ErrStatus, "and its zone with it", "nobody", cityid.Operation{Checkpoint: z.city.post(shijiazhuang, first, founders, 3)})
}

// TestDelegatedScope: what belongs to the zone is refused, with where to go, and
// what is decided above is not.
func TestDelegatedScope(t *testing.T) {
	z := newZones(t)
	z.do("tangshan", z.line("allocate MA.156.1302/40.010101 class zh=数据 ; MA.156.1302/40.010101/1 dataset zh=公交 class=conditional describes=buses")...)
	z.do("mayor", z.line("request MA.156.1302/40.010101/1 MA.156.1301 as=before describes=buses && attest MA.156.1301 old")...)
	z.delegate()
	const where = "chain cn-1301-b3x9, at https://id.sjz.example.cn"
	for _, c := range []string{
		"allocate MA.156.1301.01 department zh=局",
		"allocate MA.156.1302.01 department zh=局 ; MA.156.1301.01 department zh=局",
		"allocate MA.156.1301.01.02.03 department zh=局",
		"allocate MA.156.1301/40.010101 class zh=类",
		"allocate MA.156.1301.01/40.010101/1.L2 object zh=物",
		"apply MA.156.1301.01 department zh=局 policy=1(p256-x)",
		"propose { allocate MA.156.1301.01 department zh=局 }",
		"amend MA.156.1301 zh=石 en=S", "amend MA.156.1301.01 zh=局",
		"seal MA.156.1301 sealed=x", "unseal MA.156.1301 salt=x",
		"map MA.156.1301.01 house:1", "rekey MA.156.1301.01 policy=1(x)", "veto MA.156.1301.01",
		"status MA.156.1301.01 suspended reason=dispute",
		"attest MA.156.1301 words", "attest MA.156.1301.01 words", "withdraw MA.156.1301 old",
		"request MA.156.1302/40.010101/1 MA.156.1301 as=a describes=buses",
		"request MA.156.1301/40.010101/1 MA.156.1302 as=b describes=buses",
		"anchor MA.156.1301 log root", "anchor MA.156.1301.01 log root",
		"status MA.156.1302 retired reason=merged successor=MA.156.1301.01",
	} {
		z.refused(cityid.ErrDelegated, where, "mayor governor tangshan an bo", z.line(c)...)
	}
	z.refused(cityid.ErrPolicy, where, "tangshan", z.line("rekey MA.156.1302 policy=2(tangshan,MA.156.1301.01)")...)
	z.refused(cityid.ErrCrosswalk, where, "an bo", z.line("scheme mine owner=MA.156.1301.01")...)
	z.do("mayor an bo", z.line("map MA.156.1301 gb2260:130101")...)
	z.do("mayor", z.line("rekey MA.156.1301 policy=1(mayor,deputy)")...)
	z.do("governor", z.line("status MA.156.1301 suspended reason=dispute")...)
	z.do("governor", z.line("status MA.156.1301 active reason=resolved")...)
	z.do("an bo", z.line("scheme mine owner=MA.156.1301")...)
	z.do("tangshan", z.line("rekey MA.156.1302 policy=1(tangshan,MA.156.1301)")...)

	apex := cityid.MustParse("MA.156")
	for code, want := range map[string]bool{
		"MA.156": false, "MA.156.13": false, shijiazhuang: true, "MA.156.1301.01": true, "MA.156.1301/20.010101/1": true,
		"MA.156.130102": false, "MA.156.1302": false, "MA.156.1302.01": false,
	} {
		c, r, x, ok := Delegated(z.state, apex, cityid.MustParse(code))
		if ok != want || ok && (c.String() != shijiazhuang || r.Code != c || x.Chain != cityChain) {
			t.Errorf("%s: %v %v", code, c, ok)
		}
	}
	n := 0
	if err := Zones(z.state, func(apex cityid.Code, x *cityid.Zone) bool { n++; return apex.String() == shijiazhuang }); err != nil || n != 1 {
		t.Errorf("%d zones, %v", n, err)
	}
	if Upstream(z.state) != nil || Zone(z.state, apex) != nil {
		t.Error("the national zone has none above and is not delegated")
	}
}

// TestPlaces: with its places, a province's zone has its cities and what is below.
func TestPlaces(t *testing.T) {
	z := newZones(t)
	z.do("an bo", z.line("allocate MA.156.42 province zh=湖北省 en=Hubei policy=1(hubei)")...)
	op := z.delegation("MA.156.42", "cn-42", &z.city.genesis)
	op.Delegation.Places = true
	z.do("an bo hubei", delegate(op))
	for _, c := range []string{
		"allocate MA.156.4201 city zh=武汉市 en=Wuhan alias=gb2260:420100 policy=1(wuhan)",
		"allocate MA.156.420102 county zh=江岸区", "allocate MA.156.420102.01 department zh=局", "allocate MA.156.42.01 department zh=局",
	} {
		z.refused(cityid.ErrDelegated, "belongs to the zone of MA.156.42: ask and submit on chain cn-42", "an bo hubei", z.line(c)...)
	}
	z.do("an bo", z.line("allocate MA.156.43 province zh=湖南省 en=Hunan policy=1(hunan)")...)
}

// TestCheckpointRefusals changes one thing at a time in a checkpoint that would
// be accepted.
func TestCheckpointRefusals(t *testing.T) {
	z := newZones(t)
	z.refused(cityid.ErrNotFound, "has no zone of its own", "nobody", cityid.Operation{Checkpoint: &cityid.PostCheckpoint{Zone: cityid.MustParse(shijiazhuang)}})
	z.delegate()
	z.city.empty(2)
	z.city.block(10, nil, note("one")) // 3
	z.city.empty(2)
	old := z.city.clone()
	z.city.block(10, nil, note("two")) // 6
	z.city.empty(2)
	z.catchUp()
	z.mustPost(8, founders)
	last := z.zone().Checkpoint
	z.city.empty(1)
	z.city.block(10, nil, note("three")) // 10
	z.city.empty(2)
	z.catchUp()
	c := z.city
	flip := func(b cityid.Bytes) cityid.Bytes {
		b = append(cityid.Bytes{}, b...)
		b[len(b)-1] ^= 1
		return b
	}
	vals := c.must(founders.validators().MarshalBinary())
	for _, x := range []struct {
		why    string
		change func(op *cityid.PostCheckpoint)
	}{
		{"wrong signature", func(op *cityid.PostCheckpoint) { op.Log.Proof = flip(op.Log.Proof) }},
		{"wrong signature", func(op *cityid.PostCheckpoint) { op.Log.Proof = c.proof(11, cityid.ParamsKey) }},
		{"wrong signature", func(op *cityid.PostCheckpoint) { op.Descent.Head.Commit = flip(op.Descent.Head.Commit) }},
		{"header", func(op *cityid.PostCheckpoint) { op.Descent.Head.Header = op.Descent.Head.Header[1:] }},
		{"proof", func(op *cityid.PostCheckpoint) { op.Log.Proof = append(op.Log.Proof, 0) }},
		{"not on", func(op *cityid.PostCheckpoint) { op.Log.Path = flip(op.Log.Path); op.Consistency = nil }},
		{"block log", func(op *cityid.PostCheckpoint) { op.Consistency = flip(op.Consistency) }},
		{"block log", func(op *cityid.PostCheckpoint) { op.Consistency = nil }},
		{"neither contain", func(op *cityid.PostCheckpoint) { op.Log.Size = 7; op.Log.Path = nil }},
		{"may be of another state", func(op *cityid.PostCheckpoint) { op.Log.Size++ }},
		{"path", func(op *cityid.PostCheckpoint) { op.Log.Size = 100 }},
		{"no log", func(op *cityid.PostCheckpoint) { op.Log.First = 0 }},
		{"no log", func(op *cityid.PostCheckpoint) { op.Log.Size = 1<<64 - 1 }},
		{"it begins at height 2", func(op *cityid.PostCheckpoint) { op.Log.First = 2 }},
		{"after a genesis, and nowhere else", func(op *cityid.PostCheckpoint) { op.Log.Root = c.stored.Root }},
		{"give them with it, and not apart", func(op *cityid.PostCheckpoint) {
			op.Descent.Validators, op.Descent.Head.Validators = vals, nil
		}},
		{"leave them out", func(op *cityid.PostCheckpoint) { op.Descent.Validators = vals }},
		{"none are known", func(op *cityid.PostCheckpoint) { op.Descent.Head.Validators = nil }},
		{"the checkpoint at height 8 names", func(op *cityid.PostCheckpoint) {
			op.Descent.Validators = c.must(validatorsNamed("x y").validators().MarshalBinary())
		}},
		{"one third or less", func(op *cityid.PostCheckpoint) { forge(c, op, 12, validatorsNamed("w x y z")) }},
		{"superfluous", func(op *cityid.PostCheckpoint) {
			full := c.set.sign(c.at(12).header)
			op.Descent.Head.Commit = c.must(full.MarshalBinary())
		}},
		{"not more than two thirds", func(op *cityid.PostCheckpoint) {
			few := c.set.sign(c.at(12).header)
			few.Votes = few.Votes[:2]
			op.Descent.Head.Commit = c.must(few.MarshalBinary())
		}},
		{"of no use", func(op *cityid.PostCheckpoint) {
			t, _ := trustedSince(c.id, &last, nil)
			op.Descent.Transitions = []cityid.LightBlock{*c.light(t, 9, true), *c.light(t, 10, true)}
			op.Descent.Transitions[1].Validators = nil
			op.Descent.Head.Validators = nil
		}},
		{"leads nowhere", func(op *cityid.PostCheckpoint) {
			t, _ := trustedSince(c.id, &last, nil)
			op.Descent.Transitions = []cityid.LightBlock{*c.light(t, 12, true)}
		}},
		{"app hash", func(op *cityid.PostCheckpoint) {
			op.Descent.Head.Header = c.must(header.EncodeStripped(c.at(12).header, true))
		}},
		{"not above", func(op *cityid.PostCheckpoint) { *op = *c.post(shijiazhuang, c.checkpoint(5), founders, 8) }},
	} {
		op := c.post(shijiazhuang, last, founders, 12)
		x.change(op)
		err := z.try("nobody", cityid.Operation{Checkpoint: op})
		if cityid.CodeOf(err) != cityid.ErrInvalid {
			t.Errorf("%s: %v", x.why, err)
		} else if !strings.Contains(err.Error(), x.why) && x.why != "not on" && x.why != "not above" {
			t.Errorf("%v\nwant %s", err, x.why)
		}
	}
	many := c.post(shijiazhuang, last, founders, 12)
	many.Descent.Transitions = make([]cityid.LightBlock, cityid.MaxDescentTransitions+1)
	z.refused(cityid.ErrTooLarge, "at most 16", "nobody", cityid.Operation{Checkpoint: many})
	z.refused(cityid.ErrInvalid, "want one operation on records", "mayor", cityid.Operation{Propose: &cityid.Propose{
		Operations: []cityid.Operation{{Checkpoint: c.post(shijiazhuang, last, founders, 12)}},
	}})

	// The validators restore what they had at height 5 and go on from there, with
	// and without transactions.
	old.block(10, nil, note("another"))
	old.empty(4)
	old.block(10, nil, note("more")) // 11
	old.empty(3)
	z.refused(cityid.ErrInvalid, "may be of another state", "nobody", cityid.Operation{Checkpoint: old.post(shijiazhuang, last, founders, 10)})
	z.refused(cityid.ErrInvalid, "so a state was restored that is older", "nobody", cityid.Operation{Checkpoint: old.post(shijiazhuang, last, founders, 14)})
	z.city = c
	z.mustPost(12, founders)
}

// forge has other validators sign the header of a height.
func forge(c *foreign, op *cityid.PostCheckpoint, height uint64, by powers) {
	h := *c.at(height).header
	h.ValidatorsHash, h.ProposerAddress = by.validators().Hash(), by.validators()[0].Address()
	commit := by.sign(&h)
	commit.Votes = header.Minimal(by.validators(), commit.Votes)
	op.Descent.Validators = c.must(founders.validators().MarshalBinary())
	op.Descent.Head = cityid.LightBlock{
		Header: c.must(header.EncodeStripped(&h, false)), Validators: c.must(by.validators().MarshalBinary()), Commit: c.must(commit.MarshalBinary()),
	}
}

// TestCheckpointTimes: spacing, clocks, and the trusting period.
func TestCheckpointTimes(t *testing.T) {
	z := newZones(t)
	z.delegate()
	z.city.empty(4)
	z.begin(59)
	z.refused(cityid.ErrRetry, "the next one from", "nobody", z.op(2))
	z.begin(1)
	z.mustPost(2, founders)
	z.begin(10)
	z.refused(cityid.ErrRetry, "the next one from", "nobody", z.op(3))
	z.city.block(10, validatorsNamed("a b c e")) // 5
	z.mustPost(5, founders)                      // names other validators
	z.city.block(200, validatorsNamed("a b c f"))
	z.refused(cityid.ErrRetry, "ahead of this zone's time", "nobody", z.opBy(6, validatorsNamed("a b c e")))
	z.begin(z.city.now - z.block.Time - 21)
	z.refused(cityid.ErrRetry, "ahead of this zone's time", "nobody", z.opBy(6, validatorsNamed("a b c e")))
	z.begin(1)
	z.mustPost(6, validatorsNamed("a b c e"))

	set := validatorsNamed("a b c f")
	z.city.block(14*day-1, nil)
	z.begin(z.city.now + 1 - z.block.Time)
	z.mustPost(7, set)
	z.city.block(100, nil)
	z.begin(14*day + 1 + z.city.now - 100 - z.block.Time)
	z.refused(cityid.ErrExpired, "anchor the zone again", "nobody", z.opBy(8, set))
	z.refused(cityid.ErrExpired, "anchor the zone again", "nobody", cityid.Operation{ReportFork: fork(shijiazhuang, z.city, z.city, z.zone().Checkpoint, set, 8)})
	again := z.city.checkpoint(8)
	z.do("governor mayor", delegate(z.delegation(shijiazhuang, cityChain, &again)))
	z.city.block(z.block.Time-z.city.now, nil)
	z.begin(60)
	z.mustPost(9, set)

	// A suspended code's zone is still followed.
	z.do("governor", z.line("status MA.156.1301 suspended reason=dispute")...)
	z.city.empty(1)
	z.begin(60)
	z.mustPost(10, set)
	z.do("an bo", z.line("params checkpoint_spacing=3600")...)
	z.city.empty(1)
	z.begin(3599)
	z.refused(cityid.ErrRetry, "the next one from", "nobody", z.opBy(11, set))
	z.begin(1)
	z.mustPost(11, set)
}

func (z *zones) op(height uint64) cityid.Operation { return z.opBy(height, founders) }

func (z *zones) opBy(height uint64, trusted powers) cityid.Operation {
	z.t.Helper()
	return cityid.Operation{Checkpoint: z.city.post(shijiazhuang, z.zone().Checkpoint, trusted, height)}
}
