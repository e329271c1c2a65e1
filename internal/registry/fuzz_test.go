// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"
	"testing"

	"cityid"
)

// FuzzApply hands arbitrary bytes to a registry that holds a few hundred
// records, first as an encoded transaction, then as the operations of one that
// is signed by those who decide most. Nothing may panic, a refusal may write
// nothing, and the state must hold together.
func FuzzApply(f *testing.F) {
	s := newStorm(f, 7)
	s.run(1500)
	keys := slices.Clone(s.keys)
	base, block := s.state, s.block
	seeds := 0
	for range 200 {
		op, about := s.operation(0)
		b := cityid.Body{Chain: testChain, Expires: block.Time + 60, Operations: []cityid.Operation{op}}
		raw := fakeTx(b, s.signers(about))
		if tx, _, err := cityid.DecodeTx(raw); err == nil && seeds < 60 {
			f.Add(raw)
			f.Add([]byte(tx.Body))
			seeds++
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		offer := func(raw []byte) {
			tx, body, err := cityid.DecodeTx(raw)
			if err != nil {
				return
			}
			state, writes := base.clone(), 0
			state.hook = func(_, _ []byte) { writes++ }
			x := NewExecutor(state, block, func(cityid.Digest) bool { return false }, fakeVerify)
			if _, err := x.Apply(tx, body); err != nil {
				if writes > 0 {
					t.Errorf("%v, after %d writes", err, writes)
				}
				if len(err.Error()) > 4096 {
					t.Errorf("a message of %d octets", len(err.Error()))
				}
				return
			}
			if err := x.End(); err != nil {
				t.Error(err)
			}
			if what := broken(state, block.Time); what != "" {
				t.Error(what)
			}
		}
		offer(data)
		if b, err := cityid.DecodeBody(data); err == nil {
			b.Chain, b.Expires = testChain, block.Time+60
			offer(fakeTx(*b, append(b.Signers, keys...)))
		}
	})
}
