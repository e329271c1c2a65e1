// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/light"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/header"
	"cityid/verify"
)

func cmtBlockID(id header.BlockID) types.BlockID {
	if id == (header.BlockID{}) {
		return types.BlockID{}
	}
	return types.BlockID{Hash: id.Hash.Bytes(), PartSetHeader: types.PartSetHeader{Total: id.PartsTotal, Hash: id.PartsHash.Bytes()}}
}

func cmtValidators(vals header.Validators) *types.ValidatorSet {
	var out []*types.Validator
	for _, v := range vals {
		out = append(out, types.NewValidator(ed25519.PubKey(v.PublicKey[:]), v.Power))
	}
	return types.NewValidatorSet(out)
}

// cmtSigned returns a block as CometBFT has it.
func cmtSigned(b *block, votes []header.Vote) *types.SignedHeader {
	h, vals := b.header, b.set.validators()
	commit := &types.Commit{
		Height: h.Height, BlockID: cmtBlockID(header.BlockID{Hash: h.Hash(), PartsTotal: b.commit.PartsTotal, PartsHash: b.commit.PartsHash}),
		Signatures: make([]types.CommitSig, len(vals)),
	}
	for i := range commit.Signatures {
		commit.Signatures[i] = types.NewCommitSigAbsent()
	}
	for _, v := range votes {
		addr := vals[v.Index].Address()
		commit.Signatures[v.Index] = types.CommitSig{
			BlockIDFlag: types.BlockIDFlagCommit, ValidatorAddress: crypto.Address(addr[:]), Timestamp: v.Time, Signature: v.Signature[:],
		}
	}
	return &types.SignedHeader{Commit: commit, Header: &types.Header{
		Version: cmtversion.Consensus{Block: h.Version.Block, App: h.Version.App}, ChainID: h.ChainID, Height: h.Height, Time: h.Time,
		LastBlockID: cmtBlockID(h.LastBlockID), LastCommitHash: h.LastCommitHash.Bytes(), DataHash: h.DataHash.Bytes(),
		ValidatorsHash: h.ValidatorsHash.Bytes(), NextValidatorsHash: h.NextValidatorsHash.Bytes(), ConsensusHash: h.ConsensusHash.Bytes(),
		AppHash: h.AppHash.Bytes(), LastResultsHash: h.LastResultsHash.Bytes(), EvidenceHash: h.EvidenceHash.Bytes(), ProposerAddress: h.ProposerAddress[:],
	}}
}

// randomChain is a chain whose validators, powers and signers change all the
// time, with hours between blocks.
func randomChain(r *rand.Rand, n int) *chain {
	pool := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	draw := func(old set) set {
		s := set{}
		for name, p := range old {
			s[name] = p
		}
		for len(s) == 0 || r.IntN(2) == 0 {
			name := pool[r.IntN(len(pool))]
			if _, ok := s[name]; ok && len(s) > 1 {
				delete(s, name)
			} else {
				s[name] = 1 + r.Int64N(5)
			}
		}
		return s
	}
	c := newChain("random", cityid.MustParse("MA"), draw(set{"a": 3, "b": 2, "c": 4, "d": 1}))
	c.put("MA", cityid.KindAuthority, "代码机构")
	c.put("MA.156", cityid.KindAuthority, "国家")
	for range n {
		next := c.set
		if r.IntN(3) == 0 {
			next = draw(c.set)
		}
		c.block(c.state, false, next, everyone)
		c.now = c.now.Truncate(time.Second).Add(time.Duration(1+r.IntN(50)) * time.Hour)
	}
	return c
}

// TestLightClient compares verdicts with those of CometBFT's light client, over
// trust roots, heads, signers and clocks drawn at random.
func TestLightClient(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 38))
		c := randomChain(r, 24)
		for range 40 {
			k := 1 + r.IntN(22)
			j := k + 1 + r.IntN(24-k)
			now := c.at(j).header.Time.Add(time.Duration(r.IntN(60)-15) * time.Second)
			if r.IntN(4) == 0 {
				now = now.Add(time.Duration(r.IntN(600)) * time.Hour)
			}
			var votes []header.Vote
			for _, v := range c.at(j).commit.Votes {
				if r.IntN(6) > 0 {
					votes = append(votes, v)
				}
			}
			got, want := ours(t, c, k, j, votes, now), theirs(c, k, j, votes, now)
			if (want == nil) != (got.Verdict == verify.Valid) {
				t.Fatalf("seed %d, trust at %d, head at %d: %s, CometBFT says %v", seed, k, j, got.Message, want)
			}
			var unknown light.ErrNewValSetCantBeTrusted
			var expired light.ErrOldHeaderExpired
			switch {
			case want == nil:
				seen["valid"]++
			case errors.As(want, &unknown):
				seen["not connected"]++
				// CometBFT looks at the trusted validators first, before it finds that
				// too few of the header's own signed.
				few := header.Minimal(c.at(j).set.validators(), votes) == nil
				if got.Reason != verify.ReasonNotConnected && !(few && got.Verdict == verify.Invalid) {
					t.Fatalf("seed %d, trust at %d, head at %d: %s, CometBFT says %v", seed, k, j, got.Reason, want)
				}
			case errors.As(want, &expired):
				seen["expired"]++
				if got.Verdict == verify.Undecided && got.Reason != verify.ReasonTrustExpired && got.Reason != verify.ReasonNotConnected {
					t.Fatalf("seed %d, trust at %d, head at %d: %s, CometBFT says %v", seed, k, j, got.Reason, want)
				}
			default:
				seen["invalid or ahead"]++
				if got.Verdict != verify.Invalid && got.Reason != verify.ReasonClock && got.Reason != verify.ReasonNotConnected {
					t.Fatalf("seed %d, trust at %d, head at %d: %s %s, CometBFT says %v", seed, k, j, got.Verdict, got.Reason, want)
				}
			}
		}
	}
	for _, what := range []string{"valid", "not connected", "expired", "invalid or ahead"} {
		if seen[what] < 10 {
			t.Errorf("only %d cases are %s", seen[what], what)
		}
	}
}

// ours judges a bundle that goes from the trust root at height k straight to
// height j, signed by votes.
func ours(t *testing.T, c *chain, k, j int, votes []header.Vote, now time.Time) verify.Result {
	s := c.nextTrust(k)
	trust := &cityid.Trust{Statement: s}
	head, next := c.at(j), c.at(k+1).set.validators()
	vals := head.set.validators()
	commit := *head.commit
	commit.Votes = header.MinimalSkipping(next, vals, votes)
	if commit.Votes == nil {
		commit.Votes = header.Minimal(vals, votes)
	}
	if commit.Votes == nil {
		commit.Votes = votes
	}
	if len(votes) == 0 {
		commit.Votes = head.commit.Votes[:1]
		commit.Votes[0].Signature[0] ^= 1
		defer func() { commit.Votes[0].Signature[0] ^= 1 }()
	}
	code := cityid.MustParse("MA.156")
	proof := must(c.before(j).tree.Prove(cityid.RecordKey(code)))
	light := cityid.LightBlock{Header: must(header.EncodeStripped(head.header, false)), Commit: must(commit.MarshalBinary())}
	if head.header.ValidatorsHash != next.Hash() {
		light.Validators = must(vals.MarshalBinary())
	}
	b := &verify.Bundle{
		Version: verify.Version, Kind: cityid.AnswerRecord, Code: code, Trust: verify.TagOf(trust, cityid.AnswerRecord, code),
		Steps:  []verify.Step{{Head: light, Proof: must(proof.MarshalBinary())}},
		Values: []cityid.Bytes{c.state.values[string(cityid.RecordKey(code))]},
	}
	return verify.CheckEncoded(trust, encode(t, b), verify.Options{Now: now, MaxAge: 100 * 24 * time.Hour})
}

func theirs(c *chain, k, j int, votes []header.Vote, now time.Time) error {
	trusted, next := cmtSigned(c.at(k), nil), cmtValidators(c.at(k+1).set.validators())
	head, vals := cmtSigned(c.at(j), votes), cmtValidators(c.at(j).set.validators())
	return light.Verify(trusted, next, head, vals, verify.DefaultTrustingPeriod, now, verify.DefaultClockDrift, light.DefaultTrustLevel)
}
