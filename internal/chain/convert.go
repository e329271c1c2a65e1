// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"

	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/header"
)

// headerOf returns a CometBFT header in the form of package header. The error
// says that it is not one a chain of this program can have.
func headerOf(h *types.Header) (*header.Header, error) {
	out := &header.Header{
		Version: header.Version{Block: h.Version.Block, App: h.Version.App},
		ChainID: h.ChainID, Height: h.Height, Time: h.Time,
	}
	for _, f := range []struct {
		name string
		from []byte
		to   *header.Hash
	}{
		{"last commit", h.LastCommitHash, &out.LastCommitHash},
		{"data", h.DataHash, &out.DataHash},
		{"validators", h.ValidatorsHash, &out.ValidatorsHash},
		{"next validators", h.NextValidatorsHash, &out.NextValidatorsHash},
		{"consensus", h.ConsensusHash, &out.ConsensusHash},
		{"app", h.AppHash, &out.AppHash},
		{"last results", h.LastResultsHash, &out.LastResultsHash},
		{"evidence", h.EvidenceHash, &out.EvidenceHash},
	} {
		if len(f.from) != len(f.to) {
			return nil, fmt.Errorf("header %d: %s hash of %d octets", h.Height, f.name, len(f.from))
		}
		copy(f.to[:], f.from)
	}
	if len(h.ProposerAddress) != len(out.ProposerAddress) {
		return nil, fmt.Errorf("header %d: proposer address of %d octets", h.Height, len(h.ProposerAddress))
	}
	copy(out.ProposerAddress[:], h.ProposerAddress)
	if !h.LastBlockID.IsZero() {
		id := h.LastBlockID
		if len(id.Hash) != len(out.LastBlockID.Hash) || len(id.PartSetHeader.Hash) != len(out.LastBlockID.PartsHash) {
			return nil, fmt.Errorf("header %d: incomplete last block id", h.Height)
		}
		copy(out.LastBlockID.Hash[:], id.Hash)
		copy(out.LastBlockID.PartsHash[:], id.PartSetHeader.Hash)
		out.LastBlockID.PartsTotal = id.PartSetHeader.Total
	}
	return out, out.Check()
}

// commitOf returns the votes for the block in a CometBFT commit, all of them;
// [header.Minimal] chooses the ones to pass on.
func commitOf(c *types.Commit) (*header.Commit, error) {
	out := &header.Commit{Round: c.Round, PartsTotal: c.BlockID.PartSetHeader.Total}
	if len(c.BlockID.PartSetHeader.Hash) != len(out.PartsHash) {
		return nil, fmt.Errorf("commit %d: incomplete block id", c.Height)
	}
	copy(out.PartsHash[:], c.BlockID.PartSetHeader.Hash)
	for i, s := range c.Signatures {
		if s.BlockIDFlag != types.BlockIDFlagCommit {
			continue
		}
		v := header.Vote{Index: uint(i), Time: s.Timestamp}
		if len(s.Signature) != len(v.Signature) {
			return nil, fmt.Errorf("commit %d: signature %d has %d octets", c.Height, i, len(s.Signature))
		}
		copy(v.Signature[:], s.Signature)
		out.Votes = append(out.Votes, v)
	}
	return out, nil
}

// validatorsOf returns a CometBFT validator set in the form of package header.
func validatorsOf(set *types.ValidatorSet) (header.Validators, error) {
	out := make(header.Validators, len(set.Validators))
	for i, v := range set.Validators {
		key := v.PubKey.Bytes()
		if len(key) != len(out[i].PublicKey) {
			return nil, fmt.Errorf("validator %d has a %s key of %d octets", i, v.PubKey.Type(), len(key))
		}
		copy(out[i].PublicKey[:], key)
		out[i].Power = v.VotingPower
	}
	return out, out.Check()
}

// digestOf returns a hash of CometBFT's as a digest.
func digestOf(hash []byte) (cityid.Digest, error) {
	var d cityid.Digest
	if len(hash) != len(d) {
		return d, fmt.Errorf("hash of %d octets", len(hash))
	}
	copy(d[:], hash)
	return d, nil
}
