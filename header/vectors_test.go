// SPDX-License-Identifier: Apache-2.0

package header_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid/header"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew from CometBFT")

const vectorsFile = "testdata/vectors.json"

// vectors are for other implementations. All byte strings are hexadecimal. The hashes
// and sign bytes come from CometBFT, the compact encodings from this package.
type vectors struct {
	About   string      `json:"about"`
	Blocks  []vecBlock  `json:"blocks"`
	Refused []vecRefuse `json:"refused"`
}

type vecBlock struct {
	Name string `json:"name"`

	Header struct {
		BlockVersion       uint64 `json:"block_version"`
		AppVersion         uint64 `json:"app_version"`
		ChainID            string `json:"chain_id"`
		Height             int64  `json:"height"`
		Time               string `json:"time"`
		LastBlockHash      string `json:"last_block_hash"`
		LastPartsTotal     uint32 `json:"last_parts_total"`
		LastPartsHash      string `json:"last_parts_hash"`
		LastCommitHash     string `json:"last_commit_hash"`
		DataHash           string `json:"data_hash"`
		ValidatorsHash     string `json:"validators_hash"`
		NextValidatorsHash string `json:"next_validators_hash"`
		ConsensusHash      string `json:"consensus_hash"`
		AppHash            string `json:"app_hash"`
		LastResultsHash    string `json:"last_results_hash"`
		EvidenceHash       string `json:"evidence_hash"`
		ProposerAddress    string `json:"proposer_address"`
	} `json:"header"`
	HeaderHash          string `json:"header_hash"`
	HeaderEncoded       string `json:"header_encoded"`
	Stripped            string `json:"header_stripped"`
	StrippedWithAppHash string `json:"header_stripped_with_app_hash"`

	Validators        []vecValidator `json:"validators"`
	ValidatorsHash    string         `json:"validators_hash"`
	ValidatorsEncoded string         `json:"validators_encoded"`

	Round         int32     `json:"round"`
	PartsTotal    uint32    `json:"parts_total"`
	PartsHash     string    `json:"parts_hash"`
	Votes         []vecVote `json:"votes"`
	CommitEncoded string    `json:"commit_encoded"`
}

type vecValidator struct {
	PublicKey string `json:"public_key"`
	Address   string `json:"address"`
	Power     int64  `json:"power"`
}

type vecVote struct {
	Index     uint   `json:"index"`
	Time      string `json:"time"`
	SignBytes string `json:"sign_bytes"`
	Signature string `json:"signature"`
}

// vecRefuse is an encoding that the named decoder must refuse.
type vecRefuse struct {
	Decoder string `json:"decoder"`
	Why     string `json:"why"`
	Encoded string `json:"encoded"`
}

func newVecBlock(name string, h *header.Header, z zone, c *header.Commit) vecBlock {
	b := vecBlock{Name: name}
	ref, vals, commit := cmtHeader(h), cmtValidators(z.vals), cmtCommit(h, z.vals, c)
	v := &b.Header
	v.BlockVersion, v.AppVersion = ref.Version.Block, ref.Version.App
	v.ChainID, v.Height, v.Time = ref.ChainID, ref.Height, ref.Time.Format(time.RFC3339Nano)
	v.LastBlockHash = hex.EncodeToString(ref.LastBlockID.Hash)
	v.LastPartsTotal = ref.LastBlockID.PartSetHeader.Total
	v.LastPartsHash = hex.EncodeToString(ref.LastBlockID.PartSetHeader.Hash)
	v.LastCommitHash = hex.EncodeToString(ref.LastCommitHash)
	v.DataHash = hex.EncodeToString(ref.DataHash)
	v.ValidatorsHash = hex.EncodeToString(ref.ValidatorsHash)
	v.NextValidatorsHash = hex.EncodeToString(ref.NextValidatorsHash)
	v.ConsensusHash = hex.EncodeToString(ref.ConsensusHash)
	v.AppHash = hex.EncodeToString(ref.AppHash)
	v.LastResultsHash = hex.EncodeToString(ref.LastResultsHash)
	v.EvidenceHash = hex.EncodeToString(ref.EvidenceHash)
	v.ProposerAddress = hex.EncodeToString(ref.ProposerAddress)
	b.HeaderHash = hex.EncodeToString(ref.Hash())
	b.HeaderEncoded = hex.EncodeToString(must(h.MarshalBinary()))
	b.Stripped = hex.EncodeToString(must(header.EncodeStripped(h, false)))
	b.StrippedWithAppHash = hex.EncodeToString(must(header.EncodeStripped(h, true)))

	for _, val := range vals.Validators {
		b.Validators = append(b.Validators, vecValidator{
			PublicKey: hex.EncodeToString(val.PubKey.Bytes()),
			Address:   hex.EncodeToString(val.Address),
			Power:     val.VotingPower,
		})
	}
	b.ValidatorsHash = hex.EncodeToString(vals.Hash())
	b.ValidatorsEncoded = hex.EncodeToString(must(z.vals.MarshalBinary()))

	b.Round, b.PartsTotal, b.PartsHash = c.Round, c.PartsTotal, c.PartsHash.String()
	for i, sig := range commit.Signatures {
		if len(sig.Signature) == 0 {
			continue
		}
		b.Votes = append(b.Votes, vecVote{
			Index:     uint(i),
			Time:      sig.Timestamp.Format(time.RFC3339Nano),
			SignBytes: hex.EncodeToString(commit.VoteSignBytes(h.ChainID, int32(i))),
			Signature: hex.EncodeToString(sig.Signature),
		})
	}
	b.CommitEncoded = hex.EncodeToString(must(c.MarshalBinary()))
	return b
}

// newVectors makes the vectors; it is a function of nothing.
func newVectors() vectors {
	r := newRand(30)
	out := vectors{About: "CometBFT v0.38 header hashes, validator-set hashes and commit sign bytes, with the compact encodings of package header"}
	for _, tt := range []struct {
		name string
		n    int
		edit func(h *header.Header, c *header.Commit)
	}{
		{"one validator", 1, func(*header.Header, *header.Commit) {}},
		{"four validators, round 0", 4, func(_ *header.Header, c *header.Commit) { c.Round = 0 }},
		{"first block, without transactions", 4, func(h *header.Header, _ *header.Commit) {
			h.Height, h.LastBlockID, h.Version.App = 1, header.BlockID{}, 0
			h.LastCommitHash = header.Validators(nil).Hash() // the hash of the empty list
			h.DataHash, h.LastResultsHash, h.EvidenceHash = h.LastCommitHash, h.LastCommitHash, h.LastCommitHash
		}},
		{"whole seconds, and times before 1970", 7, func(h *header.Header, c *header.Commit) {
			h.Time = time.Date(2026, 11, 8, 12, 0, 0, 0, time.UTC)
			c.Votes[0].Time = time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC)
			c.Votes[1].Time = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)
		}},
		{"largest numbers", 2, func(h *header.Header, c *header.Commit) {
			h.Height, h.Version.App = 1<<63-1, 1<<64-1
			h.ChainID = "12345678901234567890123456789012345678901234567890"
			h.Time = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
			c.Round, c.PartsTotal = 1<<31-1, header.MaxParts
		}},
		{"twenty-one validators", 21, func(*header.Header, *header.Commit) {}},
	} {
		h, z := randHeader(r), newZone(r, 0, tt.n)
		h.ValidatorsHash = z.vals.Hash()
		h.ProposerAddress = z.vals[0].Address()
		c := z.sign(r, h, all)
		c.Votes = header.Minimal(z.vals, c.Votes)
		tt.edit(h, c)
		z.resign(h, c)
		out.Blocks = append(out.Blocks, newVecBlock(tt.name, h, z, c))
	}
	out.Refused = append(refusedVectors(out.Blocks[1]), refusedFirst(out.Blocks[2])...)
	return out
}

func refusedVectors(b vecBlock) []vecRefuse {
	full, stripped := must(hex.DecodeString(b.HeaderEncoded)), must(hex.DecodeString(b.Stripped))
	commit, vals := must(hex.DecodeString(b.CommitEncoded)), must(hex.DecodeString(b.ValidatorsEncoded))
	set := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	long := func(b []byte) []byte { // the first number with a needless byte
		return append([]byte{b[0] | 0x80, 0}, b[1:]...)
	}
	var out []vecRefuse
	for _, v := range []struct {
		decoder, why string
		b            []byte
	}{
		{"header", "empty", nil},
		{"header", "trailing byte", append(bytes.Clone(full), 0)},
		{"header", "cut short", full[:len(full)-1]},
		{"header", "stripped", stripped},
		{"header", "unknown flag 0x40", set(full, 0, full[0]|0x40)},
		{"header", "flag 0x02 without 0x01", set(full, 0, full[0]&^1)},
		{"stripped", "not stripped", full},
		{"stripped", "unknown flag 0x80", set(stripped, 0, stripped[0]|0x80)},
		{"stripped", "app hash announced but missing", set(stripped, 0, stripped[0]|1)},
		{"commit", "round not in its shortest form", long(commit)},
		{"commit", "trailing byte", append(bytes.Clone(commit), 0)},
		{"validators", "none", []byte{0}},
		{"validators", "129", []byte{0x81, 0x01}},
		{"validators", "count not in its shortest form", long(vals)},
		{"validators", "power 0", append(bytes.Clone(append([]byte{1}, vals[1:33]...)), 0)},
		{"validators", "twice", append(append([]byte{2}, append(bytes.Clone(vals[1:33]), 1)...), append(bytes.Clone(vals[1:33]), 1)...)},
	} {
		out = append(out, vecRefuse{v.decoder, v.why, hex.EncodeToString(v.b)})
	}
	return out
}

// refusedFirst spoils the first block of a chain, which omits all that may be omitted.
func refusedFirst(b vecBlock) []vecRefuse {
	stripped, withAppHash := must(hex.DecodeString(b.Stripped)), must(hex.DecodeString(b.StrippedWithAppHash))
	proposer := len(stripped) - 20
	lastCommit := proposer - 3*32
	insert := func(flag byte, at int, v []byte) string {
		out := slices.Insert(bytes.Clone(stripped), at, v...)
		out[0] |= flag
		return hex.EncodeToString(out)
	}
	empty := header.Validators(nil).Hash().Bytes()
	zeroAppHash := append(bytes.Clone(withAppHash[:len(withAppHash)-32]), make([]byte, 32)...)
	wholeSecond := bytes.Clone(stripped)
	binary.BigEndian.PutUint32(wholeSecond[lastCommit-4:], 1e9)
	return []vecRefuse{
		{"stripped", "data hash of the empty list written out", insert(0x08, lastCommit+32, empty)},
		{"stripped", "last results hash of the empty list written out", insert(0x10, proposer, empty)},
		{"stripped", "evidence hash of the empty list written out", insert(0x20, proposer, empty)},
		{"stripped", "last block id zero written out", insert(0x04, lastCommit, make([]byte, 65))},
		{"stripped", "time of 1,000,000,000 nanoseconds", hex.EncodeToString(wholeSecond)},
		{"stripped", "app hash zero written out", hex.EncodeToString(zeroAppHash)},
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVectorsAreCometBFTs makes the vectors from CometBFT and compares the file.
func TestVectorsAreCometBFTs(t *testing.T) {
	want := newVectors()
	if *update {
		b := append(must(json.MarshalIndent(want, "", "\t")), '\n')
		if err := os.WriteFile(vectorsFile, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, readVectors(t)); diff != "" {
		t.Errorf("%s differs from what CometBFT says (-want +got):\n%s", vectorsFile, diff)
	}
}

// TestVectors reads the vectors as another implementation would: from the compact
// encodings, without CometBFT.
func TestVectors(t *testing.T) {
	v := readVectors(t)
	unhex := func(s string) []byte { return must(hex.DecodeString(s)) }
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
	for _, b := range v.Blocks {
		var vals header.Validators
		var c header.Commit
		if err := errors.Join(vals.UnmarshalBinary(unhex(b.ValidatorsEncoded)), c.UnmarshalBinary(unhex(b.CommitEncoded))); err != nil {
			t.Errorf("%s: %v", b.Name, err)
			continue
		}
		h := must(header.DecodeStripped(unhex(b.Stripped)))
		h.ChainID, h.ValidatorsHash, h.AppHash = b.Header.ChainID, vals.Hash(), header.Hash(unhex(b.Header.AppHash))
		equal(b.Name+": header hash", h.Hash().String(), b.HeaderHash)
		equal(b.Name+": validators hash", vals.Hash().String(), b.ValidatorsHash)
		equal(b.Name+": header", hex.EncodeToString(must(h.MarshalBinary())), b.HeaderEncoded)
		for i, vote := range c.Votes {
			equal(b.Name+": sign bytes", hex.EncodeToString(c.SignBytes(h.ChainID, h.Height, h.Hash(), vote.Time)), b.Votes[i].SignBytes)
		}
		if err := header.VerifyCommit(h.ChainID, vals, h, &c, zip215); err != nil {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
	for _, b := range v.Refused {
		if _, err := decoders[b.Decoder](unhex(b.Encoded)); !errors.Is(err, header.ErrInvalid) {
			t.Errorf("%s, %s: got %v, want it refused", b.Decoder, b.Why, err)
		}
	}
}
