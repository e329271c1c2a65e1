// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"
	"time"

	"cityid"
	"cityid/header"
	"cityid/merkle"
	"cityid/verify"
)

// The tests of this file have the validators themselves sign what can not be:
// all signatures and proofs are good, and the answer contradicts itself.

func liars() *chain {
	c := newChain("liars-1", cityid.MustParse("MA"), names("a b c d"))
	c.write(cityid.ParamsKey, []byte{0xa0})
	c.put("MA", cityid.KindAuthority, "代码机构")
	c.put(city, cityid.KindCity, "石家庄")
	c.quiet(3)
	return c
}

func TestRecordsThatCanNotBe(t *testing.T) {
	code := cityid.MustParse(city)
	for name, change := range map[string]func(old, r *cityid.Record){
		"":                 func(_, r *cityid.Record) {},
		"another chain":    func(_, r *cityid.Record) { r.Changed.Chain = "elsewhere" },
		"height to come":   func(_, r *cityid.Record) { r.Changed.Height = 5 },
		"time to come":     func(_, r *cityid.Record) { r.Changed.Time += 60 },
		"before the last":  func(old, r *cityid.Record) { r.Changed.Time = old.Changed.Time - 1 },
		"below the last":   func(old, r *cityid.Record) { old.Changed.Height = 4; r.Changed.Height = 3; r.Prev = old.Hash() },
		"revision skipped": func(_, r *cityid.Record) { r.Revision++ },
		"another parent":   func(_, r *cityid.Record) { r.Parent = cityid.MustParse("MA") },
		"another code":     func(_, r *cityid.Record) { r.Code = cityid.MustParse("MA.156.1302") },
		"no link":          func(_, r *cityid.Record) { r.Prev = cityid.Digest{} },
		"no kind":          func(_, r *cityid.Record) { r.Kind = 0 },
		"first of two":     func(_, r *cityid.Record) { r.Revision = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := liars()
			var old, r cityid.Record
			if err := cityid.Unmarshal(c.state.values[string(cityid.RecordKey(code))], &old); err != nil {
				t.Fatal(err)
			}
			r = old
			r.Revision, r.Prev = 2, old.Hash()
			r.Changed = cityid.Change{Chain: c.id, Height: 4, Time: cityid.TimeOf(c.now)}
			change(&old, &r)
			c.change(func() { c.write(cityid.RecordKey(code), cityid.MustMarshal(&r)) })
			c.quiet(1)
			proof := must(c.before(5).tree.Prove(cityid.RecordKey(code)))
			b := must(verify.NewHistory(c.way(t, 1, 1, 5), code, proof, [][]byte{cityid.MustMarshal(&r), cityid.MustMarshal(&old)}))
			got := verify.Check(&c.trusts[0], b, verify.Options{Now: c.now})
			if name == "" && got.Verdict != verify.Valid || name != "" && got.Reason != verify.ReasonRecord {
				t.Errorf("%s %q: %s", got.Verdict, got.Reason, got.Message)
			}
		})
	}
}

func TestBlockLogsThatCanNotBe(t *testing.T) {
	for name, x := range map[string]struct {
		change  func(*header.Header)
		size    uint64
		verdict verify.Verdict
		reason  verify.Reason
	}{
		"the chain's own header":         {func(h *header.Header) {}, 4, verify.Valid, ""},
		"a header at the head's height":  {func(h *header.Header) { h.Height = 5 }, 5, verify.Invalid, verify.ReasonProof},
		"a log beyond the head":          {func(h *header.Header) {}, 5, verify.Invalid, verify.ReasonProof},
		"a header later than the head":   {func(h *header.Header) { h.Time = h.Time.Add(time.Minute) }, 4, verify.Invalid, verify.ReasonFork},
		"another than the trust root's":  {func(h *header.Header) { h.Height = 2 }, 4, verify.Invalid, verify.ReasonFork},
		"another chain's, so never read": {func(h *header.Header) { h.ChainID = "elsewhere" }, 4, verify.Invalid, verify.ReasonSignature},
	} {
		t.Run(name, func(t *testing.T) {
			c := liars()
			c.publish(2)
			forged := *c.at(3).header
			x.change(&forged)
			var log merkle.Log
			nodes := map[[2]uint64]merkle.Hash{}
			for i := range x.size {
				leaf := merkle.Hash{byte(i)}
				if i == uint64(forged.Height)-1 {
					hash := forged.Hash()
					leaf = merkle.LogLeafHash(hash[:])
				}
				log.Append(leaf, func(level uint8, index uint64, h merkle.Hash) { nodes[[2]uint64{uint64(level), index}] = h })
			}
			lie := cityid.BlockLog{First: 1, Size: x.size, Root: cityid.Digest(log.Root())}
			before := c.state
			c.write(cityid.BlockLogKey, cityid.MustMarshal(&lie))
			c.block(before, false, nil, everyone)
			c.quiet(1)

			w := c.way(t, 2, 2, 5)
			path := must(merkle.ProveInclusion(uint64(forged.Height)-1, x.size, func(level uint8, index uint64) (merkle.Hash, error) {
				return nodes[[2]uint64{uint64(level), index}], nil
			}))
			w.Log = &verify.LogInclusion{Header: &forged, Log: lie, Path: path, Proof: must(c.before(5).tree.Prove(cityid.BlockLogKey))}
			got := verify.Check(&c.trusts[1], record(t, w, c.before(3), city), verify.Options{Now: c.now})
			if got.Verdict != x.verdict || got.Reason != x.reason {
				t.Errorf("%s %q: %s", got.Verdict, got.Reason, got.Message)
			}
		})
	}
}
