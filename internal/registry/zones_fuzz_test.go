// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"cityid"
	"cityid/keys"
)

// fuzzZones has a zone whose chain may go on or be reported.
func fuzzZones(f *testing.F) (*mapState, Block, []cityid.Operation) {
	z := newZones(f)
	z.delegate()
	z.city.empty(3)
	other := z.city.clone()
	z.city.block(10, validatorsNamed("c d e f"), note("one"))
	z.city.empty(3)
	z.city.block(10, validatorsNamed("e f g h"))
	z.city.empty(2)
	other.block(11, nil, note("another"))
	other.empty(6)
	z.catchUp()
	z.mustPost(2, founders)
	z.catchUp()
	last := z.zone().Checkpoint
	c := &child{zones: z, root: newForeign(f, rootChain, genesisTime, founders)}
	c.record = cityid.Record{Code: cityid.MustParse(shijiazhuang), Kind: cityid.KindCity, Status: cityid.StatusActive, Revision: 1}
	c.root.put(10, &c.record)
	c.root.empty(1)
	return z.state, z.block, []cityid.Operation{
		{Checkpoint: z.city.post(shijiazhuang, last, founders, 10)}, {Checkpoint: z.city.post(shijiazhuang, last, founders, 3)},
		report(fork(shijiazhuang, z.city, other, last, founders, 6)), report(alone(other, 2)),
		{Follow: c.root.tell(c.record.Code, c.root.genesis, founders, 2)},
		{Unfreeze: &cityid.Unfreeze{Zone: cityid.MustParse(shijiazhuang), Fork: 6, Checkpoint: last}},
		delegate(z.delegation(shijiazhuang, cityChain, &last)), delegate(z.delegation("MA.156.1302", "cn-1302", &last)),
	}
}

// FuzzZones hands arbitrary proofs to a zone: as what they are, and with every
// consent given. Nothing may panic, a refusal writes nothing, and what is
// accepted leaves a checkpoint that is sound and of one encoding.
func FuzzZones(f *testing.F) {
	base, block, seeds := fuzzZones(f)
	for i := range seeds {
		f.Add(cityid.MustMarshal(&seeds[i]))
	}
	apex := cityid.MustParse(shijiazhuang)
	before := Zone(base, apex)
	f.Fuzz(func(t *testing.T, data []byte) {
		var op cityid.Operation
		if err := cityid.Unmarshal(data, &op); err != nil {
			return
		}
		if op.Checkpoint == nil && op.ReportFork == nil && op.Follow == nil && op.Unfreeze == nil && op.Delegate == nil {
			return
		}
		state := base.clone()
		for _, upstream := range []*cityid.Upstream{nil, {Zone: cityid.MustParse("MA"), Chain: rootChain, Checkpoint: before.Checkpoint}} {
			set, err := loadSettings(state)
			if err != nil {
				t.Fatal(err)
			}
			set.upstream = upstream
			w := newWork(state, block, set, keys.Verify)
			if provesItself(&op) {
				err = w.operation(&op, cityid.KeySet{}, nil)
			} else if _, err = w.ways(&op); err == nil {
				err = w.carryOut(&op, direct, cityid.KeySet{}, nil)
			}
			if err != nil {
				if len(err.Error()) > 4096 {
					t.Errorf("a message of %d octets", len(err.Error()))
				}
				continue
			}
			w.commit(state)
			z := Zone(state, apex)
			if z == nil || z.Checkpoint.Check() != nil || op.Checkpoint != nil && z.Checkpoint.Height <= before.Checkpoint.Height {
				t.Errorf("%+v", z)
			}
			if op.ReportFork != nil && (z.Fork == nil || z.Fork.Headers[0].String() >= z.Fork.Headers[1].String()) {
				t.Errorf("%+v", z.Fork)
			}
		}
	})
}
