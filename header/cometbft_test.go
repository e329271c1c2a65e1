// SPDX-License-Identifier: Apache-2.0

package header_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"cityid/header"
)

// zip215 is the rule under which CometBFT verifies.
func zip215(pub, msg, sig []byte) bool {
	return voi.VerifyWithOptions(pub, msg, sig, &voi.Options{Verify: voi.VerifyOptionsZIP_215})
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 215)) }

func randHash(r *rand.Rand) (h header.Hash) {
	for i := 0; i < len(h); i += 8 {
		binary.LittleEndian.PutUint64(h[i:], r.Uint64())
	}
	return h
}

// randTime returns a time close to now, or now and then anywhere in the years 1 to 9999.
func randTime(r *rand.Rand) time.Time {
	if r.IntN(4) > 0 {
		return time.Unix(1.8e9+r.Int64N(1e8), r.Int64N(1e9)).UTC()
	}
	nanos := []int64{0, 1, 999999999, r.Int64N(1e9)}[r.IntN(4)]
	return time.Unix(-62135596800+1+r.Int64N(315537897599), nanos).UTC()
}

func randHeader(r *rand.Rand) *header.Header {
	h := &header.Header{
		Version:            header.Version{Block: header.BlockProtocol, App: r.Uint64() >> r.IntN(65)},
		ChainID:            "zone-" + randHash(r).String()[:1+r.IntN(45)],
		Height:             1 + r.Int64()>>r.IntN(63),
		Time:               randTime(r),
		LastCommitHash:     randHash(r),
		DataHash:           randHash(r),
		ValidatorsHash:     randHash(r),
		NextValidatorsHash: randHash(r),
		ConsensusHash:      randHash(r),
		AppHash:            randHash(r),
		LastResultsHash:    randHash(r),
		EvidenceHash:       randHash(r),
		ProposerAddress:    header.Address(randHash(r).Bytes()[:20]),
	}
	h.Height = max(h.Height, 1)
	if r.IntN(8) > 0 {
		h.LastBlockID = header.BlockID{Hash: randHash(r), PartsTotal: 1 + r.Uint32N(header.MaxParts), PartsHash: randHash(r)}
	}
	for _, p := range []*header.Hash{&h.DataHash, &h.LastResultsHash, &h.EvidenceHash} {
		if r.IntN(2) == 0 {
			*p = sha256.Sum256(nil)
		}
	}
	return h
}

// zone is a set of validators with their keys.
type zone struct {
	vals header.Validators
	keys map[[32]byte]ed25519.PrivKey
}

// newZone returns n validators whose keys derive from the numbers first, first+1, ...
// so that zones may overlap.
func newZone(r *rand.Rand, first, n int) zone {
	z := zone{keys: make(map[[32]byte]ed25519.PrivKey)}
	spread := []int64{1, 3, 1000, header.MaxTotalPower / int64(n)}[r.IntN(4)]
	for i := range n {
		key := ed25519.GenPrivKeyFromSecret(binary.BigEndian.AppendUint64(nil, uint64(first+i)))
		v := header.Validator{PublicKey: [32]byte(key.PubKey().Bytes()), Power: 1 + r.Int64N(spread)}
		z.vals = append(z.vals, v)
		z.keys[v.PublicKey] = key
	}
	z.vals.Sort()
	return z
}

// sign returns a commit for h with a vote of each validator that votes says.
func (z zone) sign(r *rand.Rand, h *header.Header, votes func(i int) bool) *header.Commit {
	c := &header.Commit{Round: r.Int32() >> r.IntN(32), PartsTotal: 1 + r.Uint32N(header.MaxParts), PartsHash: randHash(r)}
	for i := range z.vals {
		if votes(i) {
			c.Votes = append(c.Votes, header.Vote{Index: uint(i), Time: randTime(r)})
		}
	}
	z.resign(h, c)
	return c
}

// resign replaces the signatures in c by right ones.
func (z zone) resign(h *header.Header, c *header.Commit) { z.signFor(h.ChainID, h, c) }

// signFor replaces the signatures in c by such as are made for the given chain.
func (z zone) signFor(chainID string, h *header.Header, c *header.Commit) {
	for i := range c.Votes {
		v := &c.Votes[i]
		msg := c.SignBytes(chainID, h.Height, h.Hash(), v.Time)
		sig, err := z.keys[z.vals[v.Index].PublicKey].Sign(msg)
		if err != nil {
			panic(err)
		}
		v.Signature = [64]byte(sig)
	}
}

func all(int) bool { return true }

// The following express our values in CometBFT's types.

func cmtBlockID(id header.BlockID) types.BlockID {
	if id == (header.BlockID{}) {
		return types.BlockID{}
	}
	return types.BlockID{Hash: id.Hash.Bytes(), PartSetHeader: types.PartSetHeader{Total: id.PartsTotal, Hash: id.PartsHash.Bytes()}}
}

func cmtHeader(h *header.Header) *types.Header {
	return &types.Header{
		Version:            cmtversion.Consensus{Block: h.Version.Block, App: h.Version.App},
		ChainID:            h.ChainID,
		Height:             h.Height,
		Time:               h.Time,
		LastBlockID:        cmtBlockID(h.LastBlockID),
		LastCommitHash:     h.LastCommitHash.Bytes(),
		DataHash:           h.DataHash.Bytes(),
		ValidatorsHash:     h.ValidatorsHash.Bytes(),
		NextValidatorsHash: h.NextValidatorsHash.Bytes(),
		ConsensusHash:      h.ConsensusHash.Bytes(),
		AppHash:            h.AppHash.Bytes(),
		LastResultsHash:    h.LastResultsHash.Bytes(),
		EvidenceHash:       h.EvidenceHash.Bytes(),
		ProposerAddress:    h.ProposerAddress[:],
	}
}

func cmtValidators(vals header.Validators) *types.ValidatorSet {
	var out []*types.Validator
	for _, v := range vals {
		out = append(out, types.NewValidator(ed25519.PubKey(v.PublicKey[:]), v.Power))
	}
	return types.NewValidatorSet(out)
}

func cmtCommit(h *header.Header, vals header.Validators, c *header.Commit) *types.Commit {
	out := &types.Commit{
		Height:     h.Height,
		Round:      c.Round,
		BlockID:    cmtBlockID(header.BlockID{Hash: h.Hash(), PartsTotal: c.PartsTotal, PartsHash: c.PartsHash}),
		Signatures: make([]types.CommitSig, len(vals)),
	}
	for i := range out.Signatures {
		out.Signatures[i] = types.NewCommitSigAbsent()
	}
	for _, v := range c.Votes {
		addr := vals[v.Index].Address()
		out.Signatures[v.Index] = types.CommitSig{
			BlockIDFlag:      types.BlockIDFlagCommit,
			ValidatorAddress: crypto.Address(addr[:]),
			Timestamp:        v.Time,
			Signature:        v.Signature[:],
		}
	}
	return out
}

func cmtSigned(h *header.Header, vals header.Validators, c *header.Commit) *types.SignedHeader {
	return &types.SignedHeader{Header: cmtHeader(h), Commit: cmtCommit(h, vals, c)}
}

func TestHeaderHashIsCometBFTs(t *testing.T) {
	r := newRand(1)
	for i := range 5000 {
		h := randHeader(r)
		if err := h.Check(); err != nil {
			t.Fatalf("header %d: %v", i, err)
		}
		ref := cmtHeader(h)
		if err := ref.ValidateBasic(); err != nil {
			t.Fatalf("header %d: CometBFT refuses: %v", i, err)
		}
		if got := h.Hash(); !bytes.Equal(got.Bytes(), ref.Hash()) {
			t.Fatalf("header %d: hash %s, CometBFT says %x\n%+v", i, got, ref.Hash(), h)
		}
	}
}

func TestHeaderHashDependsOnZoneNotAtAll(t *testing.T) {
	h := randHeader(newRand(2))
	want := h.Hash()
	h.Time = h.Time.In(time.FixedZone("CST", 8*3600))
	if got := h.Hash(); got != want {
		t.Errorf("hash %s in another time zone, want %s", got, want)
	}
}

func TestValidatorsAreCometBFTs(t *testing.T) {
	r := newRand(3)
	for n := 1; n <= 100; n++ {
		z := newZone(r, r.IntN(1000), n)
		if err := z.vals.Check(); err != nil {
			t.Fatalf("%d validators: %v", n, err)
		}
		shuffled := slices.Clone(z.vals)
		r.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		ref := cmtValidators(shuffled)
		for i, v := range ref.Validators {
			addr := z.vals[i].Address()
			if !bytes.Equal(v.Address, addr[:]) || v.VotingPower != z.vals[i].Power {
				t.Fatalf("%d validators: number %d differs from CometBFT's", n, i)
			}
		}
		if got := z.vals.Hash(); !bytes.Equal(got.Bytes(), ref.Hash()) {
			t.Fatalf("%d validators: hash %s, CometBFT says %x", n, got, ref.Hash())
		}
		if got := z.vals.Total(); got != ref.TotalVotingPower() {
			t.Fatalf("%d validators: power %d, CometBFT says %d", n, got, ref.TotalVotingPower())
		}
	}
}

func TestSignBytesAreCometBFTs(t *testing.T) {
	r := newRand(4)
	for i := range 1000 {
		h, z := randHeader(r), newZone(r, i, 1+r.IntN(5))
		c := z.sign(r, h, func(int) bool { return r.IntN(3) > 0 })
		ref := cmtCommit(h, z.vals, c)
		for _, v := range c.Votes {
			got := c.SignBytes(h.ChainID, h.Height, h.Hash(), v.Time)
			if want := ref.VoteSignBytes(h.ChainID, int32(v.Index)); !bytes.Equal(got, want) {
				t.Fatalf("commit %d, vote %d:\n got %x\nwant %x", i, v.Index, got, want)
			}
		}
	}
}
