// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/header"
	"cityid/merkle"
)

// foreign is another chain in the making: blocks with real headers, votes, state
// and block log, always the same from the same calls.
type foreign struct {
	tb      testing.TB
	id      string
	now     cityid.Time // of the next block
	set     powers      // of the next block
	blocks  []*foreignBlock
	tree    merkle.Tree
	values  map[string][]byte
	log     merkle.Log
	stored  cityid.BlockLog
	pending []header.Hash // blocks since the log was last extended
	nodes   map[[2]uint64]merkle.Hash
	genesis cityid.Checkpoint
}

type foreignBlock struct {
	header *header.Header
	set    powers
	before merkle.Tree // the state the header commits to
	log    cityid.BlockLog
	values map[string][]byte // of that state
}

// powers are validators by name.
type powers map[string]int64

func validatorsNamed(list string) powers {
	p := powers{}
	for _, n := range strings.Fields(list) {
		p[n] = 10
	}
	return p
}

func validatorKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("cityid test validator " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (p powers) validators() header.Validators {
	var out header.Validators
	for n, power := range p {
		out = append(out, header.Validator{PublicKey: [32]byte(validatorKey(n).Public().(ed25519.PublicKey)), Power: power})
	}
	out.Sort()
	return out
}

// sign returns the votes of all validators for a header.
func (p powers) sign(h *header.Header) *header.Commit {
	names := map[[32]byte]string{}
	for n := range p {
		names[[32]byte(validatorKey(n).Public().(ed25519.PublicKey))] = n
	}
	hash := h.Hash()
	c := &header.Commit{PartsTotal: 1, PartsHash: sha256.Sum256(hash[:])}
	for i, v := range p.validators() {
		vote := header.Vote{Index: uint(i), Time: h.Time.Add(time.Duration(i+1) * time.Millisecond)}
		copy(vote.Signature[:], ed25519.Sign(validatorKey(names[v.PublicKey]), c.SignBytes(h.ChainID, h.Height, hash, vote.Time)))
		c.Votes = append(c.Votes, vote)
	}
	return c
}

func newForeign(tb testing.TB, id string, at cityid.Time, set powers) *foreign {
	f := &foreign{tb: tb, id: id, now: at, set: set, values: map[string][]byte{}, nodes: map[[2]uint64]merkle.Hash{}}
	f.write(cityid.ParamsKey, []byte{0xa0})
	f.genesis = cityid.Checkpoint{Time: at, Next: cityid.Digest(set.validators().Hash())}
	return f
}

// clone returns a copy that goes its own way from here.
func (f *foreign) clone() *foreign {
	c := *f
	c.blocks, c.pending = slices.Clone(f.blocks), slices.Clone(f.pending)
	c.values, c.nodes, c.log = maps.Clone(f.values), maps.Clone(f.nodes), f.log.Clone()
	return &c
}

func (f *foreign) write(key, value []byte) {
	e := f.tree.Edit()
	if _, err := e.Put(key, merkle.ValueHash(value)); err != nil {
		f.tb.Fatal(err)
	}
	f.tree = e.Tree()
	f.values[string(key)] = value
}

// block makes the next block, d seconds after the one before, with a transaction
// that writes the values (none: an empty block), and next as the validators of
// the block after (nil: the same).
func (f *foreign) block(d cityid.Time, next powers, writes ...[2][]byte) {
	if next == nil {
		next = f.set
	}
	f.now += d
	empty := header.Hash(sha256.Sum256(nil))
	h := &header.Header{
		Version: header.Version{Block: header.BlockProtocol, App: 1}, ChainID: f.id, Height: int64(len(f.blocks) + 1), Time: f.now.Std(),
		LastCommitHash: empty, DataHash: empty, ValidatorsHash: f.set.validators().Hash(), NextValidatorsHash: next.validators().Hash(),
		ConsensusHash: sha256.Sum256([]byte("params")), AppHash: header.Hash(f.tree.Root()), LastResultsHash: empty, EvidenceHash: empty,
		ProposerAddress: f.set.validators()[0].Address(),
	}
	if n := len(f.blocks); n > 0 {
		hash := f.blocks[n-1].header.Hash()
		h.LastBlockID = header.BlockID{Hash: hash, PartsTotal: 1, PartsHash: sha256.Sum256(hash[:])}
		h.LastCommitHash = sha256.Sum256(hash[:])
	}
	if len(writes) > 0 {
		h.DataHash = sha256.Sum256(fmt.Appendf(nil, "%x", writes))
	}
	f.blocks = append(f.blocks, &foreignBlock{header: h, set: f.set, before: f.tree, log: f.stored, values: maps.Clone(f.values)})
	f.pending = append(f.pending, h.Hash())
	for _, w := range writes {
		f.write(w[0], w[1])
	}
	if len(writes) > 0 {
		for _, hash := range f.pending {
			f.log.Append(merkle.LogLeafHash(hash[:]), func(level uint8, index uint64, h merkle.Hash) {
				f.nodes[[2]uint64{uint64(level), index}] = h
			})
		}
		f.pending = nil
		f.stored = cityid.BlockLog{First: 1, Size: f.log.Size(), Root: cityid.Digest(f.log.Root())}
		f.write(cityid.BlockLogKey, cityid.MustMarshal(&f.stored))
	}
	f.set = next
}

// note is something a transaction writes.
func note(text string) [2][]byte { return [2][]byte{cityid.SchemeKey(text), []byte{0xf5}} }

// empty makes n blocks without transactions, ten seconds apart.
func (f *foreign) empty(n int) {
	for range n {
		f.block(10, nil)
	}
}

func (f *foreign) at(height uint64) *foreignBlock { return f.blocks[height-1] }

// checkpoint returns the checkpoint that the header of a height makes; of height
// 0, the genesis.
func (f *foreign) checkpoint(height uint64) cityid.Checkpoint {
	if height == 0 {
		return f.genesis
	}
	b := f.at(height)
	return checkpointOf(b.header, b.log)
}

// must returns the encoding of a proof or header.
func (f *foreign) must(b []byte, err error) cityid.Bytes {
	f.tb.Helper()
	if err != nil {
		f.tb.Fatal(err)
	}
	return b
}

// light returns a header as it follows from what is trusted, or nil.
func (f *foreign) light(t *header.Trusted, height uint64, withAppHash bool) *cityid.LightBlock {
	b := f.at(height)
	vals, c := b.set.validators(), b.set.sign(b.header)
	if c.Votes = t.Votes(b.header, vals, c.Votes); c.Votes == nil {
		return nil
	}
	out := &cityid.LightBlock{Header: f.must(header.EncodeStripped(b.header, withAppHash)), Commit: f.must(c.MarshalBinary())}
	if t.Set == nil || t.Set.Hash() != vals.Hash() {
		out.Validators = f.must(vals.MarshalBinary())
	}
	return out
}

// descent leads from a checkpoint to a height. trusted are the validators that
// the checkpoint names as the next.
func (f *foreign) descent(from cityid.Checkpoint, trusted powers, height uint64, withAppHash bool) cityid.Descent {
	f.tb.Helper()
	t, err := trustedSince(f.id, &from, nil)
	if err != nil {
		f.tb.Fatal(err)
	}
	var d cityid.Descent
	vals := trusted.validators()
	first := func(b *foreignBlock) {
		if len(d.Transitions) == 0 && len(d.Validators) == 0 && t.Set == nil && b.set.validators().Hash() != vals.Hash() {
			d.Validators, t.Set = f.must(vals.MarshalBinary()), vals
		}
	}
	low := from.Height
	for {
		first(f.at(height))
		if b := f.light(t, height, withAppHash); b != nil {
			d.Head = *b
			return d
		}
		mid := height - 1
		for ; mid > low; mid-- {
			try := *t
			if b := f.light(&try, mid, true); b != nil && try.Advance(f.at(mid).header, f.at(mid).set.validators()) {
				d.Transitions = append(d.Transitions, *b)
				*t = try
				break
			}
		}
		if mid <= low {
			f.tb.Fatalf("no way to height %d from %d", height, low)
		}
		low = mid
	}
}

func (f *foreign) read(level uint8, index uint64) (merkle.Hash, error) {
	return f.nodes[[2]uint64{uint64(level), index}], nil
}

// proof proves a key in the state that the header of a height commits to.
func (f *foreign) proof(height uint64, key []byte) cityid.Bytes {
	p, err := f.at(height).before.Prove(key)
	if err != nil {
		f.tb.Fatal(err)
	}
	return f.must(p.MarshalBinary())
}

// post brings the header of a height after a checkpoint.
func (f *foreign) post(zone string, from cityid.Checkpoint, trusted powers, height uint64) *cityid.PostCheckpoint {
	f.tb.Helper()
	log := f.at(height).log
	op := &cityid.PostCheckpoint{
		Zone: cityid.MustParse(zone), Descent: f.descent(from, trusted, height, false),
		Log: cityid.LogDescent{First: log.First, Size: log.Size, Proof: f.proof(height, cityid.BlockLogKey)},
	}
	switch {
	case from.Height == 0 && log.Size > 0:
		op.Log.Root = log.Root
	case log.Size > 0 && from.Height-log.First < log.Size:
		p, err := merkle.ProveInclusion(from.Height-log.First, log.Size, f.read)
		if err != nil {
			f.tb.Fatal(err)
		}
		op.Log.Path = f.must(p.MarshalBinary())
		if from.Log.Size > 0 {
			p, err := merkle.ProveConsistency(from.Log.Size, log.Size, f.read)
			if err != nil {
				f.tb.Fatal(err)
			}
			op.Consistency = f.must(p.MarshalBinary())
		}
	}
	return op
}

// fork returns two headers of one height of two chains.
func fork(zone string, one, other *foreign, from cityid.Checkpoint, trusted powers, height uint64) *cityid.ReportFork {
	op := &cityid.ReportFork{Zone: cityid.MustParse(zone), One: one.descent(from, trusted, height, true)}
	d := other.descent(from, trusted, height, true)
	op.Other = &d
	return op
}

// put writes a record as that chain has it, in a block of its own.
func (f *foreign) put(d cityid.Time, r *cityid.Record) {
	f.block(d, nil, [2][]byte{cityid.RecordKey(r.Code), cityid.MustMarshal(r)})
}

// tell brings what that chain says of a code at a height, after a checkpoint.
func (f *foreign) tell(code cityid.Code, from cityid.Checkpoint, trusted powers, height uint64) *cityid.Follow {
	from.Log = cityid.BlockLog{}
	key := cityid.RecordKey(code)
	return &cityid.Follow{Descent: f.descent(from, trusted, height, false), Record: f.at(height).values[string(key)], Proof: f.proof(height, key)}
}
