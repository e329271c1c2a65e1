// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"cityid/header"
	"cityid/verify"
)

// TestFollow verifies three headers in a row on chains whose validators change all
// the time, and refuses what was changed in them.
func TestFollow(t *testing.T) {
	most := 0
	for seed := range uint64(30) {
		c := randomChain(rand.New(rand.NewPCG(seed, 5)), 24)
		load := func(h int64) (verify.SignedHeader, error) { return c.at(int(h)).signed(), nil }
		for j := 1; j+2 <= 24; j++ {
			three := func() []verify.SignedHeader {
				return []verify.SignedHeader{c.at(j).signed(), c.at(j + 1).signed(), c.at(j + 2).signed()}
			}
			now := c.trusts[0].Statement.Time.Std().Add(time.Hour)
			if last := c.at(j + 2).header.Time; last.After(now) {
				now = last
			}
			if !now.Before(c.trusts[0].Statement.Time.Std().Add(verify.DefaultTrustingPeriod)) {
				break
			}
			way, err := verify.Follow(&c.trusts[0], now, three(), load)
			if err != nil {
				t.Fatalf("seed %d, height %d: %v", seed, j, err)
			}
			most = max(most, len(way))
			// Who knows the way needs nothing else.
			lost := func(int64) (verify.SignedHeader, error) {
				return verify.SignedHeader{}, errors.New("pruned")
			}
			if again, err := verify.Transitions(&c.trusts[0], c.at(j).signed(), lost, way...); err != nil || len(again) != len(way) {
				t.Fatalf("seed %d, height %d: %d of %d transitions with those known: %v", seed, j, len(again), len(way), err)
			}
			for i := range 3 {
				for name, change := range map[string]func(*header.Header, *header.Commit){
					"app hash":  func(h *header.Header, _ *header.Commit) { h.AppHash[3] ^= 1 },
					"next":      func(h *header.Header, _ *header.Commit) { h.NextValidatorsHash[3] ^= 1 },
					"signature": func(_ *header.Header, c *header.Commit) { c.Votes[0].Signature[3] ^= 1 },
				} {
					list := three()
					h, commit := *list[i].Header, *list[i].Commit
					commit.Votes = append([]header.Vote(nil), commit.Votes...)
					change(&h, &commit)
					list[i].Header, list[i].Commit = &h, &commit
					if _, err := verify.Follow(&c.trusts[0], now, list, load); err == nil {
						t.Fatalf("seed %d, height %d: header %d with another %s follows", seed, j, i, name)
					}
				}
			}
			late := c.trusts[0].Statement.Time.Std().Add(verify.DefaultTrustingPeriod)
			if _, err := verify.Follow(&c.trusts[0], late, three(), load); !errors.Is(err, header.ErrNotConnected) {
				t.Fatalf("an expired trust root: %v", err)
			}
			if _, err := verify.Follow(&c.trusts[0], now, []verify.SignedHeader{c.at(j).signed(), c.at(j).signed()}, load); err == nil {
				t.Fatal("the same header twice follows")
			}
		}
	}
	if most < 1 {
		t.Error("no transitions occurred")
	}
}

func FuzzSignedHeader(f *testing.F) {
	f.Add([]byte{0xa3, 1, 0x40, 2, 0x40, 3, 0x40})
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := verify.DecodeSignedHeader(data)
		if err != nil {
			return
		}
		again, err := verify.EncodeSignedHeader(&s)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x decodes, and encodes to %x, %v", data, again, err)
		}
	})
}
