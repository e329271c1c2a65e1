// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/keys"
)

// plain is the simplest state there is, which can not scan; allocating does not.
type plain map[string][]byte

func (p plain) Get(key []byte) []byte                      { return p[string(key)] }
func (p plain) Set(key, value []byte)                      { p[string(key)] = value }
func (p plain) Delete(key []byte)                          { delete(p, string(key)) }
func (p plain) Scan(_, _ []byte, _ func(_, _ []byte) bool) {}

// BenchmarkAllocate applies transactions of 500 objects each, or of one, signatures
// and decoding included, 10,000 objects or 1,000 transactions to a block.
func BenchmarkAllocate(b *testing.B) {
	for _, batch := range []int{1, 500} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) { benchmarkAllocateBatch(b, batch) })
	}
}

func benchmarkAllocateBatch(b *testing.B, batch int) {
	blockSize := min(1000, 10_000/batch)
	b.Run("map", func(b *testing.B) {
		p := plain{}
		benchmarkAllocate(b, batch, blockSize, func() (registry.State, func(uint64)) { return p, func(uint64) {} })
	})
	b.Run("store", func(b *testing.B) {
		s, err := store.OpenMemory(store.Options{ChainID: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		benchmarkAllocate(b, batch, blockSize, func() (registry.State, func(uint64)) {
			changes, err := s.Begin()
			if err != nil {
				b.Fatal(err)
			}
			return store.Must{ReadWriter: changes}, func(height uint64) {
				if err := changes.Commit(height); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func benchmarkAllocate(b *testing.B, batch, blockSize int, begin func() (registry.State, func(height uint64))) {
	seed := sha256.Sum256([]byte("bench"))
	k, err := keys.NewPrivate(keys.Ed25519, seed[:])
	if err != nil {
		b.Fatal(err)
	}
	signer := cityid.Signer{Key: cityid.PublicKey(k.Public().Raw()), Sign: k.Sign}
	policy := &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: signer.Key, Roles: cityid.RoleControl}}}}}
	class := cityid.MustParse("MA.156/20.010203")
	g := &registry.Genesis{
		Params: cityid.DefaultParams,
		Rule: cityid.Rule{Kinds: []cityid.KindRule{
			{Kind: cityid.KindClass, Parents: []cityid.Kind{cityid.KindAuthority}},
			{Kind: cityid.KindObject, Parents: []cityid.Kind{cityid.KindClass}, Languages: []string{"zh"}},
		}},
		Validators: []cityid.Validator{{Key: signer.Key, Power: 1}},
		Records: []cityid.Allocation{
			{Code: cityid.MustParse("MA.156"), Kind: cityid.KindAuthority, Policy: policy},
			{Code: class, Kind: cityid.KindClass},
		},
	}
	block := registry.Block{Chain: "bench", Time: 1767225600}
	state, commit := begin()
	if err := g.Init(state, block, keys.Verify); err != nil {
		b.Fatal(err)
	}
	commit(1)
	var raw [][]byte
	for i := range b.N {
		op := &cityid.Allocate{}
		for j := range batch {
			op.Items = append(op.Items, cityid.Allocation{
				Code: cityid.MustParse(fmt.Sprintf("%s/%09d", class, i*batch+j)), Kind: cityid.KindObject,
				Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": fmt.Sprint("井盖", j)}), Location: &cityid.Location{Lat: 380454740, Lon: 1145024610}},
			})
		}
		tx, err := cityid.SignTx(cityid.Body{Chain: "bench", Expires: block.Time + 600, Operations: []cityid.Operation{{Allocate: op}}}, signer)
		if err != nil {
			b.Fatal(err)
		}
		raw = append(raw, cityid.MustMarshal(tx))
	}
	b.ResetTimer()
	b.ReportAllocs()
	for i := 0; i < b.N; i += blockSize {
		block.Height = uint64(i/blockSize + 2)
		state, commit := begin()
		x := registry.NewExecutor(state, block, func(cityid.Digest) bool { return false }, keys.Verify)
		for _, r := range raw[i:min(i+blockSize, b.N)] {
			tx, body, err := cityid.DecodeTx(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := x.Apply(tx, body); err != nil {
				b.Fatal(err)
			}
		}
		if err := x.End(); err != nil {
			b.Fatal(err)
		}
		commit(block.Height)
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "codes/s")
}
