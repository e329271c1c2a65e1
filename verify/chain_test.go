// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
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
	"cityid/verify"
)

// This file makes chains: blocks with real headers, votes, state and block log,
// always the same from the same calls.

// secret returns the key that a name stands for.
func secret(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("cityid/verify test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// public returns the encoded public key that a name stands for.
func public(name string) cityid.PublicKey {
	return cityid.PublicKey("\x01" + string(secret(name).Public().(ed25519.PublicKey)))
}

// set is validators by name, each with its power.
type set map[string]int64

func names(list string) set {
	s := set{}
	for _, n := range strings.Fields(list) {
		s[n] = 10
	}
	return s
}

// validators returns the set in canonical order.
func (s set) validators() header.Validators {
	var vals header.Validators
	for n, p := range s {
		vals = append(vals, header.Validator{PublicKey: [32]byte(secret(n).Public().(ed25519.PublicKey)), Power: p})
	}
	vals.Sort()
	return vals
}

// sign returns the votes of those validators of the set whom who accepts.
func (s set) sign(h *header.Header, who func(name string) bool) *header.Commit {
	byKey := map[[32]byte]string{}
	for n := range s {
		byKey[[32]byte(secret(n).Public().(ed25519.PublicKey))] = n
	}
	block := h.Hash()
	c := &header.Commit{PartsTotal: 1, PartsHash: sha256.Sum256(block[:])}
	for i, v := range s.validators() {
		name := byKey[v.PublicKey]
		if !who(name) {
			continue
		}
		vote := header.Vote{Index: uint(i), Time: h.Time.Add(time.Duration(i+1) * time.Millisecond)}
		copy(vote.Signature[:], ed25519.Sign(secret(name), c.SignBytes(h.ChainID, h.Height, block, vote.Time)))
		c.Votes = append(c.Votes, vote)
	}
	return c
}

func everyone(string) bool { return true }

// block is a block and the states around it.
type block struct {
	header *header.Header
	from   state // before it
	set    set
	commit *header.Commit
	state  state // after it
}

func (b *block) signed() verify.SignedHeader {
	return verify.SignedHeader{Header: b.header, Validators: b.set.validators(), Commit: b.commit}
}

// state is one version of a chain's state.
type state struct {
	tree   merkle.Tree
	values map[string][]byte
	log    cityid.BlockLog
}

// chain is a chain in the making.
type chain struct {
	id      string
	zone    cityid.Code
	now     time.Time // of the next block
	genesis time.Time
	set     set // of the next block
	founded set
	blocks  []*block
	state   state // after the last block

	log     merkle.Log
	pending []header.Hash // blocks since the log was last extended
	nodes   map[[2]uint64]merkle.Hash
	trusts  []cityid.Trust
}

func newChain(id string, zone cityid.Code, founders set) *chain {
	genesis := time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)
	c := &chain{
		id: id, zone: zone, now: genesis, genesis: genesis, set: founders, founded: founders,
		state: state{values: map[string][]byte{}}, nodes: map[[2]uint64]merkle.Hash{},
	}
	c.trusts = []cityid.Trust{{Statement: cityid.TrustStatement{
		Version: 1, Zone: zone, Chain: id, Time: cityid.TimeOf(genesis), Validators: powers(founders), Quorum: quorum("zhao", "qian", "sun"),
	}}}
	return c
}

func powers(s set) []cityid.TrustPower {
	var out []cityid.TrustPower
	for _, v := range s.validators() {
		out = append(out, cityid.TrustPower{Key: cityid.PublicKey("\x01" + string(v.PublicKey[:])), Power: v.Power})
	}
	return out
}

// quorum returns two of the named officers.
func quorum(officers ...string) cityid.Quorum {
	q := cityid.Quorum{Threshold: 2}
	for _, o := range officers {
		q.Members = append(q.Members, cityid.QuorumMember{Keys: []cityid.PublicKey{public(o)}})
	}
	return q
}

// signTrust returns a statement with the officers' signatures.
func signTrust(s cityid.TrustStatement, officers ...string) cityid.Trust {
	t := cityid.Trust{Statement: s}
	d := s.SigningDigest()
	for _, o := range officers {
		t.Signatures = append(t.Signatures, cityid.KeySignature{Key: public(o), Signature: ed25519.Sign(secret(o), d[:])})
	}
	slices.SortFunc(t.Signatures, func(a, b cityid.KeySignature) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return t
}

// nextTrust returns the next version of the trust root, which names a block.
func (c *chain) nextTrust(height int) cityid.TrustStatement {
	last := &c.trusts[len(c.trusts)-1].Statement
	b := c.at(height)
	next := c.set
	if height < len(c.blocks) {
		next = c.at(height + 1).set
	}
	return cityid.TrustStatement{
		Version: last.Version + 1, Zone: c.zone, Chain: c.id, Height: uint64(height), Header: cityid.Digest(b.header.Hash()),
		Time: cityid.TimeOf(b.header.Time), Validators: powers(next), Quorum: last.Quorum, Prev: last.Hash(),
	}
}

func (c *chain) publish(height int) {
	c.trusts = append(c.trusts, signTrust(c.nextTrust(height), "zhao", "qian", "sun"))
}

// at returns the block of a height.
func (c *chain) at(height int) *block { return c.blocks[height-1] }

// write sets a value of the state before the first block, or in a block.
func (c *chain) write(key, value []byte) {
	e := c.state.tree.Edit()
	if _, err := e.Put(key, merkle.ValueHash(value)); err != nil {
		panic(err)
	}
	c.state.tree = e.Tree()
	c.state.values = maps.Clone(c.state.values)
	c.state.values[string(key)] = value
}

// put writes the next revision of a record. It is of the block that the next
// call of block makes.
func (c *chain) put(code string, kind cityid.Kind, name string) {
	k := cityid.MustParse(code)
	r := cityid.Record{Code: k, Kind: kind, Status: cityid.StatusActive, Revision: 1, Parent: k.Parent()}
	if old := c.state.values[string(cityid.RecordKey(k))]; old != nil {
		if err := cityid.Unmarshal(old, &r); err != nil {
			panic(err)
		}
		r.Revision, r.Prev = r.Revision+1, r.Hash()
		c.write(cityid.HistoryKey(k, r.Revision-1), old)
	}
	r.Changed = cityid.Change{Chain: c.id, Height: uint64(len(c.blocks) + 1), Time: cityid.TimeOf(c.now)}
	if len(c.blocks) == 0 {
		r.Changed.Height = 0
	}
	r.Content = cityid.Content{
		Names:    cityid.NamesOf(map[string]string{"zh": name, "en": "Record of " + name}),
		Location: &cityid.Location{Lat: 380454740, Lon: 1145024610},
	}
	c.write(cityid.RecordKey(k), cityid.MustMarshal(&r))
}

// block makes the next block, with what was written since the last as its
// transactions, and next as the validators of the block after it (nil: the
// same).
func (c *chain) block(before state, wrote bool, next set, who func(string) bool) *block {
	if next == nil {
		next = c.set
	}
	empty := header.Hash(sha256.Sum256(nil))
	h := &header.Header{
		Version: header.Version{Block: header.BlockProtocol, App: 1}, ChainID: c.id, Height: int64(len(c.blocks) + 1), Time: c.now,
		LastCommitHash: empty, DataHash: empty, ValidatorsHash: c.set.validators().Hash(), NextValidatorsHash: next.validators().Hash(),
		ConsensusHash: sha256.Sum256([]byte("params")), AppHash: header.Hash(before.tree.Root()), LastResultsHash: empty, EvidenceHash: empty,
		ProposerAddress: c.set.validators()[0].Address(),
	}
	if n := len(c.blocks); n > 0 {
		prev := c.blocks[n-1]
		h.LastBlockID = header.BlockID{Hash: prev.header.Hash(), PartsTotal: 1, PartsHash: prev.commit.PartsHash}
		h.LastCommitHash = sha256.Sum256(prev.commit.Votes[0].Signature[:])
	}
	if wrote {
		h.DataHash = sha256.Sum256(fmt.Appendf(nil, "transactions of %d", h.Height))
	}
	c.pending = append(c.pending, h.Hash())
	if wrote {
		c.extendLog()
	}
	b := &block{header: h, from: before, set: c.set, commit: c.set.sign(h, who), state: c.state}
	c.blocks, c.set, c.now = append(c.blocks, b), next, c.now.Add(10*time.Second+123456789*time.Nanosecond)
	return b
}

// extendLog appends the pending blocks to the block log and writes its leaf.
func (c *chain) extendLog() {
	for _, hash := range c.pending {
		c.log.Append(merkle.LogLeafHash(hash[:]), func(level uint8, index uint64, h merkle.Hash) {
			c.nodes[[2]uint64{uint64(level), index}] = h
		})
	}
	c.pending = nil
	c.state.log = cityid.BlockLog{First: 1, Size: c.log.Size(), Root: cityid.Digest(c.log.Root())}
	c.write(cityid.BlockLogKey, cityid.MustMarshal(&c.state.log))
}

// quiet makes n blocks without transactions.
func (c *chain) quiet(n int) {
	for range n {
		c.block(c.state, false, nil, everyone)
	}
}

// change makes a block with the writes that do makes.
func (c *chain) change(do func()) {
	before := c.state
	do()
	c.block(before, true, nil, everyone)
}

// validators makes a block that names other validators as the next.
func (c *chain) validators(next set) { c.block(c.state, false, next, everyone) }

// before returns the state that the header of a height commits to.
func (c *chain) before(height int) state { return c.at(height).from }

// way returns the way from a version of the trust root to a height, carrying
// the versions up to another.
func (c *chain) way(t testing.TB, from, to, height int) *verify.Way {
	t.Helper()
	w := &verify.Way{Trust: &c.trusts[from-1], Versions: c.trusts[from:to], Head: c.at(height).signed()}
	var err error
	w.Transitions, err = verify.Transitions(&c.trusts[to-1], w.Head, func(h int64) (verify.SignedHeader, error) {
		return c.at(int(h)).signed(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// link adds a log link to an older height to a way.
func (c *chain) link(t testing.TB, w *verify.Way, height int) *verify.Way {
	t.Helper()
	s := c.before(int(w.Head.Header.Height))
	path, err := merkle.ProveInclusion(uint64(height)-s.log.First, s.log.Size, func(level uint8, index uint64) (merkle.Hash, error) {
		return c.nodes[[2]uint64{uint64(level), index}], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := s.tree.Prove(cityid.BlockLogKey)
	if err != nil {
		t.Fatal(err)
	}
	w.Log = &verify.LogInclusion{Header: c.at(height).header, Log: s.log, Path: path, Proof: proof}
	return w
}

// prove proves what stands at a key of a state.
func (s state) prove(key []byte) (merkle.Proof, []byte, error) {
	p, err := s.tree.Prove(key)
	return p, s.values[string(key)], err
}

// record returns a bundle for a record in a state.
func record(t testing.TB, w *verify.Way, s state, code string) *verify.Bundle {
	t.Helper()
	w.Prove = s.prove
	key := cityid.RecordKey(cityid.MustParse(code))
	proof, err := s.tree.Prove(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := verify.NewRecord(w, cityid.MustParse(code), proof, s.values[string(key)])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func listing(t testing.TB, w *verify.Way, s state, code string, kind cityid.AnswerKind) *verify.Bundle {
	t.Helper()
	w.Prove = s.prove
	proof, entries, err := s.tree.ProveRange(verify.Range(cityid.MustParse(code), kind))
	if err != nil {
		t.Fatal(err)
	}
	var values [][]byte
	for _, e := range entries {
		values = append(values, s.values[string(e.Key)])
	}
	b, err := verify.NewListing(w, cityid.MustParse(code), kind, proof, values)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func history(t testing.TB, w *verify.Way, s state, code string) *verify.Bundle {
	t.Helper()
	w.Prove = s.prove
	k := cityid.MustParse(code)
	proof, err := s.tree.Prove(cityid.RecordKey(k))
	if err != nil {
		t.Fatal(err)
	}
	var values [][]byte
	if v := s.values[string(cityid.RecordKey(k))]; v != nil {
		var r cityid.Record
		if err := cityid.Unmarshal(v, &r); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
		for n := r.Revision - 1; n > 0; n-- {
			values = append(values, s.values[string(cityid.HistoryKey(k, n))])
		}
	}
	b, err := verify.NewHistory(w, k, proof, values)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encode(t testing.TB, b *verify.Bundle) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := verify.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if twice, err := again.Encode(); err != nil || !bytes.Equal(data, twice) {
		t.Fatalf("a bundle does not survive decoding: %v", err)
	}
	return data
}

// story is the chain of most tests:
//
//	height 1-4    the founding records; validators a b c d
//	height 5, 9   the city is amended: revisions 2 and 3
//	height 12     names a b c e as the next validators
//	height 15     trust root version 2
//	height 19     names e f g h as the next validators
//	height 22     a department is allocated
//	height 25     trust root version 3
//	height 30     five years later
//	height 31     trust root version 4
//	height 32     a transaction, which extends the block log to it
//	height 35     data is shared: a dataset, agreements, anchors, an attestation
//	height 37     the attestation is withdrawn
//	height 38     the last
func story() *chain {
	c := newChain("cityid-7Kq2", cityid.MustParse("MA"), names("a b c d"))
	c.write(cityid.ParamsKey, []byte{0xa0})
	c.put("MA", cityid.KindAuthority, "代码机构")
	c.put("MA.156", cityid.KindAuthority, "国家")
	c.put("MA.156.13", cityid.KindProvince, "河北")
	c.put("MA.156.1301", cityid.KindCity, "石家庄")
	for i := 2; i < 60; i++ {
		c.put(fmt.Sprintf("MA.156.13%02d", i), cityid.KindCity, fmt.Sprintf("城市%d", i))
	}
	for i := 1; i < 6; i++ {
		c.put(fmt.Sprintf("MA.156.1301.%02d", i), cityid.KindDepartment, fmt.Sprintf("部门%d", i))
	}
	c.put("MA.156.1301.01/20.010203", cityid.KindClass, "路灯")
	for i := 1; i < 9; i++ {
		c.put(fmt.Sprintf("MA.156.1301.01/20.010203/%06d", i), cityid.KindObject, fmt.Sprintf("路灯%d号", i))
	}
	c.quiet(4)
	c.change(func() { c.put("MA.156.1301", cityid.KindCity, "石家庄市") })
	c.quiet(3)
	c.change(func() { c.put("MA.156.1301", cityid.KindCity, "石家庄市人民政府") })
	c.quiet(2)
	c.validators(names("a b c e"))
	c.quiet(3)
	c.publish(15)
	c.quiet(3)
	c.validators(names("e f g h"))
	c.quiet(2)
	c.change(func() { c.put("MA.156.1301.06", cityid.KindDepartment, "部门6") })
	c.quiet(3)
	c.publish(25)
	c.quiet(4)
	c.now = c.now.AddDate(5, 0, 0)
	c.quiet(2)
	c.publish(31)
	c.change(func() { c.put("MA.156.1301.07", cityid.KindDepartment, "部门7") })
	c.quiet(2)
	c.change(c.share)
	c.quiet(1)
	c.change(func() { c.attest(c.now) })
	c.quiet(1)
	return c
}

// foreign is another chain of the same name, by other validators.
func foreign() *chain {
	c := newChain("cityid-7Kq2", cityid.MustParse("MA"), names("w x y z"))
	c.write(cityid.ParamsKey, []byte{0xa0})
	c.put("MA", cityid.KindAuthority, "假的机构")
	c.put("MA.156.1301", cityid.KindCity, "假的石家庄")
	c.quiet(8)
	return c
}
