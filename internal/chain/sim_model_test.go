// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/header"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// simTx is a transaction of a simulation, and what is to become of it.
type simTx struct {
	raw     []byte
	id      cityid.Digest // zero: it can not be decoded
	expires cityid.Time
	bad     cityid.ErrorCode // what is wrong with it, whenever it comes; OK: nothing
	city    int              // that it allocates; 0: something else
	attest  bool             // it attests, which version 1 of the rules does not have
	upgrade *cityid.SetUpgrade
}

// handedOut is a bundle that somebody was given.
type handedOut struct {
	data []byte
	at   time.Time // of the header that answers
	code cityid.Code
	kind cityid.AnswerKind
}

// model is what the registry of a simulation is known to hold.
type model struct {
	*sim
	known     []*simTx // all transactions that were made
	byRaw     map[string]*simTx
	applied   map[cityid.Digest]uint64 // by id: the block
	cities    map[int]uint64           // by number: the block that allocated it
	made      int                      // numbers of cities that are taken
	proposals uint64
	trust     *cityid.Trust // what everybody pins
	revision  uint32        // of the plan of upgrades
	planned   uint64        // from which block on version 2 is in force; 0: none
}

const twoOfTwo = "MA.156.1000" // a city that needs both of its keys

func newModel(s *sim) model {
	p := &cityid.Policy{Threshold: 2}
	for _, k := range []int{2, 3} {
		p.Members = append(p.Members, cityid.Member{Keys: []cityid.Key{{Public: chaintest.Key(k).Key, Roles: cityid.RoleControl}}})
	}
	slices.SortFunc(p.Members, func(a, b cityid.Member) int { return bytes.Compare([]byte(a.Keys[0].Public), []byte(b.Keys[0].Public)) })
	a := chaintest.Allocation(twoOfTwo, cityid.KindCity)
	a.Policy = p
	s.genesis.State.Records = append(s.genesis.State.Records, a)
	s.genesis.State.Params.UpgradeNotice = simNotice
	return model{sim: s, byRaw: map[string]*simTx{}, applied: map[cityid.Digest]uint64{}, cities: map[int]uint64{}}
}

// simNotice is how many blocks before its height an upgrade is decided.
const simNotice = 2

// version is that of the rules which a block falls under.
func (m *model) version(height uint64) uint32 {
	if m.planned > 0 && height >= m.planned {
		return 2
	}
	return 1
}

// plan makes an upgrade that fits, or not.
func (m *model) plan() *cityid.SetUpgrade {
	u := &cityid.SetUpgrade{Revision: m.revision - min(m.revision, uint32(m.r.IntN(8)/7))}
	if m.r.IntN(4) > 0 {
		u.Plan = &cityid.Upgrade{Version: 2, Height: uint64(len(m.decided) + 2 + m.r.IntN(4)), Release: fmt.Sprint("release ", m.made)}
	}
	return u
}

// upgraded returns what becomes of an upgrade in a block.
func (m *model) upgraded(u *cityid.SetUpgrade, height uint64) cityid.ErrorCode {
	switch {
	case u.Revision != m.revision:
		return cityid.ErrConflict
	case u.Plan == nil && (m.planned == 0 || height >= m.planned):
		return cityid.ErrConflict
	case u.Plan != nil && (m.version(height) > 1 || u.Plan.Height < height+simNotice):
		return cityid.ErrInvalid
	}
	return cityid.OK
}

func cityCode(n int) cityid.Code { return cityid.MustParse(fmt.Sprintf("MA.156.%04d", 1000+n)) }

// fresh makes a transaction, good or bad.
func (m *model) fresh() *simTx {
	now := m.now
	x := &simTx{}
	name, signers := engineChain, []cityid.Signer{chaintest.Key(0)}
	var op cityid.Operation
	m.made++
	switch kind := m.r.IntN(20); {
	case kind < 5:
		x.city = m.made
		op = city(x.city)
	case kind < 7: // signed by one of two: a proposal each time
		signers = []cityid.Signer{chaintest.Key(2)}
		op = cityid.Operation{Propose: &cityid.Propose{
			Operations: []cityid.Operation{chaintest.Allocate(chaintest.Allocation(twoOfTwo+".01", cityid.KindDepartment))},
			Note:       fmt.Sprint(m.made),
		}}
	case (kind == 7 || kind >= 18) && len(m.cities) > 0: // what is there, perhaps, once more
		x.city = 1 + m.r.IntN(m.made)
		op = city(x.city)
	case kind == 8:
		x.bad, signers, op = cityid.ErrNotPermitted, []cityid.Signer{chaintest.Key(9)}, city(8000)
	case kind == 9:
		x.bad, name, op = cityid.ErrWrongChain, "foreign", city(m.made)
	case kind == 10:
		x.city, now = m.made, now.Add(-20*time.Minute)
		op = city(x.city)
	case kind == 11:
		x.city, now = m.made, now.Add(55*time.Minute) // too long a life, for a while
		op = city(x.city)
	case kind == 12:
		x.raw, x.bad = fmt.Append(nil, "nonsense ", m.made), cityid.ErrMalformed
		return m.note(x)
	case kind < 15:
		x.attest = true
		op = cityid.Operation{Attest: &cityid.Attest{Source: chaintest.Apex, Digest: cityid.Digest{byte(m.made), byte(m.made >> 8), 1}}}
	case kind < 17:
		x.upgrade = m.plan()
		op = cityid.Operation{SetUpgrade: x.upgrade}
	default:
		x.bad, op = cityid.ErrSignature, city(m.made)
	}
	x.expires = cityid.TimeOf(now).Add(10 * time.Minute)
	x.raw = chaintest.TxBy(name, now, signers, op)
	tx, _, err := cityid.DecodeTx(x.raw)
	if err != nil {
		m.fatalf("%v", err)
	}
	x.id = tx.ID()
	if x.bad == cityid.ErrSignature {
		x.raw[len(x.raw)-1] ^= 1
	}
	return m.note(x)
}

func (m *model) note(x *simTx) *simTx {
	if old := m.byRaw[string(x.raw)]; old != nil {
		return old
	}
	m.known, m.byRaw[string(x.raw)] = append(m.known, x), x
	return x
}

// some returns a transaction: a new one, or one of those made before.
func (m *model) some() *simTx {
	if len(m.known) == 0 || m.r.IntN(3) > 0 {
		return m.fresh()
	}
	return m.known[m.r.IntN(len(m.known))]
}

// any returns what a proposer puts into a block that heeds no rule; nothing for
// one that does.
func (m *model) any(byzantine bool) (raws [][]byte) {
	for range m.r.IntN(6) {
		if byzantine {
			raws = append(raws, m.some().raw)
		}
	}
	return raws
}

// submit brings transactions to some of the replicas, one way or the other.
func (s *sim) submit() {
	for _, p := range s.replicas {
		s.prepare(p)
	}
	for range s.r.IntN(6) {
		x := s.some()
		for _, p := range s.replicas {
			p.e.SetClock(s.now.Add(p.skew))
			if height, _ := p.e.Head(); height == 0 || s.r.IntN(3) == 0 {
				continue
			}
			height, _ := p.e.Head()
			_, err := p.e.Local.Submit(ctx, x.raw, false)
			switch code := cityid.CodeOf(err); {
			case x.attest && s.version(height+1) == 1:
				if code != cityid.ErrMalformed {
					s.fatalf("submitted before the rules have it, and the answer was %v", err)
				}
			case x.upgrade != nil && (code == cityid.ErrConflict || code == cityid.ErrInvalid): // it was refused in a block before
			case code == cityid.OK && (x.bad == cityid.OK || x.bad == cityid.ErrNotPermitted || s.applied[x.id] > 0):
			case code == cityid.ErrExpired && x.bad != cityid.ErrMalformed && x.bad != cityid.ErrWrongChain:
			case code == cityid.ErrFull, code == x.bad && code != cityid.OK:
			case code == cityid.ErrExists && s.cities[x.city] > 0: // it was refused in a block before
			case code == cityid.OK && x.bad == cityid.ErrSignature && s.waitsAt(p, x):
			default:
				s.fatalf("submitted, and the answer was %v; wrong with it is %q", err, x.bad)
			}
		}
	}
}

// waitsAt reports whether the good half of a badly signed transaction waits: the
// signature is not looked at then.
func (s *sim) waitsAt(p *replica, x *simTx) bool {
	r, err := p.e.Transaction(ctx, x.id)
	return err == nil && r.Height == 0
}

// proper reports whether an honest validator votes for a block.
func (m *model) proper(b *types.Block) bool {
	seen := map[cityid.Digest]bool{}
	for _, raw := range b.Txs {
		x := m.byRaw[string(raw)]
		if x.attest && m.version(uint64(b.Height)) == 1 || x.bad == cityid.ErrMalformed || x.bad == cityid.ErrWrongChain || seen[x.id] {
			return false
		}
		seen[x.id] = true
	}
	return true
}

// verdict returns what becomes of a transaction in a block.
func (m *model) verdict(x *simTx, height uint64, at cityid.Time) cityid.ErrorCode {
	switch {
	case x.attest && m.version(height) == 1:
		return cityid.ErrMalformed
	case x.bad == cityid.ErrMalformed || x.bad == cityid.ErrWrongChain:
		return x.bad
	case x.expires <= at || x.expires > at+cityid.Time(cityid.DefaultParams.TxLifetime):
		return cityid.ErrExpired
	case x.bad == cityid.ErrSignature:
		return x.bad
	case m.applied[x.id] > 0:
		return cityid.ErrReplayed
	case x.bad != cityid.OK:
		return x.bad
	case x.city > 0 && m.cities[x.city] > 0:
		return cityid.ErrExists
	case x.upgrade != nil:
		return m.upgraded(x.upgrade, height)
	}
	return cityid.OK
}

// apply carries out a block in the model, and compares.
func (m *model) apply(b *types.Block, r *abci.ResponseFinalizeBlock) {
	height := uint64(b.Height)
	if want := m.version(height); b.Version.App != uint64(want) {
		m.fatalf("header %d carries version %d, want %d", height, b.Version.App, want)
	}
	for i, raw := range b.Txs {
		x := m.byRaw[string(raw)]
		want := m.verdict(x, height, cityid.TimeOf(b.Time))
		if got := cityid.ErrorCode(r.TxResults[i].Code); got != want {
			m.fatalf("transaction %d of block %d: %s (%s), want %s", i, height, got, r.TxResults[i].Log, want)
		}
		m.happened["code/"+want.String()]++
		if want != cityid.OK {
			continue
		}
		m.applied[x.id] = height
		switch {
		case x.city > 0:
			m.cities[x.city] = height
		case x.upgrade != nil:
			m.happened["planned"]++
			if m.revision, m.planned = m.revision+1, 0; x.upgrade.Plan != nil {
				m.planned = x.upgrade.Plan.Height
			}
		case x.attest:
			m.happened["attested"]++
		default:
			m.proposals++
		}
	}
}

// wantResponse compares what carrying a block out gave here with elsewhere.
func (s *sim) wantResponse(height uint64, r *abci.ResponseFinalizeBlock) {
	s.t.Helper()
	raw, err := r.Marshal()
	if err != nil {
		s.fatalf("%v", err)
	}
	if !bytes.Equal(raw, s.responses[height-1]) {
		s.fatalf("block %d gives another result than elsewhere: %v", height, r)
	}
}

// ask asks a replica for receipts and for a bundle, and compares with the model.
func (s *sim) ask() {
	p := s.replicas[s.r.IntN(len(s.replicas))]
	for range min(3, len(s.known)) {
		s.receipt(p, s.known[s.r.IntN(len(s.known))])
	}
	q := cityid.BundleQuery{Code: cityCode(1 + s.r.IntN(s.made+1)), Kind: cityid.AnswerRecord}
	if s.r.IntN(4) == 0 {
		q = cityid.BundleQuery{Code: chaintest.Apex, Kind: cityid.AnswerChildren}
	}
	// After a start there may be no proof before the next block.
	ctx, cancel := context.WithTimeoutCause(ctx, time.Millisecond, cityid.Errorf(cityid.ErrUnavailable, "not yet"))
	defer cancel()
	data, err := p.e.Bundle(ctx, q)
	if cityid.CodeOf(err) == cityid.ErrUnavailable {
		return
	}
	if err != nil {
		s.fatalf("bundle: %v", err)
	}
	if s.trust == nil {
		trust, err := p.e.Trust(ctx)
		if err != nil {
			s.fatalf("trust root: %v", err)
		}
		s.trust = &trust[0]
	}
	at, err := verify.AnsweredAt(data)
	if err != nil {
		s.fatalf("bundle: %v", err)
	}
	s.happened["bundles"]++
	h := handedOut{data, at, q.Code, q.Kind}
	s.wantBundle(h, data, at.Add(time.Second))
	s.handed = append(s.handed, h)
}

// wantBundle verifies a bundle as of then, and compares what it says with the model.
func (s *sim) wantBundle(h handedOut, data []byte, now time.Time) {
	s.t.Helper()
	v := verify.CheckEncoded(s.trust, data, verify.Options{Now: now, At: h.at, Code: h.code, Kind: h.kind})
	if v.Verdict != verify.Valid {
		s.fatalf("a bundle about %s is %s: %s", h.code, v.Verdict, v.Message)
	}
	b, err := verify.Decode(h.data)
	if err != nil {
		s.fatalf("bundle: %v", err)
	}
	head, err := b.Answering()
	if err != nil {
		s.fatalf("bundle: %v", err)
	}
	if head.Height > int64(len(s.decided)) {
		s.fatalf("a bundle rests on a header of height %d", head.Height)
	}
	// What the bundle leaves out follows from the trust root and the proof.
	block := s.decided[head.Height-1].Block()
	head.ChainID, head.AppHash, head.ValidatorsHash = block.ChainID, header.Hash(block.AppHash), header.Hash(block.ValidatorsHash)
	if hash := head.Hash(); !bytes.Equal(hash[:], block.Hash()) {
		s.fatalf("a bundle rests on header %s of height %d, which is not of this chain", hash, head.Height)
	}
	state := uint64(head.Height) - 1
	there := func(n int) bool { return s.cities[n] > 0 && s.cities[n] <= state }
	if h.kind == cityid.AnswerRecord {
		for n := range s.made + 2 {
			if cityCode(n) == h.code && n > 0 && v.Allocated != there(n) {
				s.fatalf("a bundle under header %d says of %s: %v", head.Height, h.code, v.Allocated)
			}
		}
		return
	}
	want := 1 // the city of the genesis
	for n := range s.cities {
		if there(n) {
			want++
		}
	}
	if len(v.Records) != want {
		s.fatalf("a bundle under header %d lists %d cities, want %d", head.Height, len(v.Records), want)
	}
}

// receipt asks a replica what became of a transaction.
func (s *sim) receipt(p *replica, x *simTx) {
	height, _ := p.e.Head()
	if x.id.IsZero() || height == 0 {
		return
	}
	r, err := p.e.Transaction(ctx, x.id)
	if err != nil && cityid.CodeOf(err) != cityid.ErrNotFound {
		s.fatalf("receipt: %v", err)
	}
	at := s.applied[x.id]
	switch shown := err == nil && r.Height > 0 && r.Code == cityid.OK; {
	case at > 0 && at <= height && (!shown || r.Height != at):
		s.fatalf("a transaction of block %d has at height %d the receipt %+v, %v", at, height, r, err)
	case shown && (at == 0 || at > height):
		s.fatalf("a transaction is said to be in block %d: %+v", r.Height, r)
	}
}

// finish brings all replicas up to date, with two blocks more, and asks for
// everything.
func (s *sim) finish() {
	for range 2 {
		s.now = s.now.Add(10 * time.Second)
		s.decide()
	}
	for s.decided[len(s.decided)-1].Block().Txs.Len() > 0 || len(s.decided) < 3 {
		s.now = s.now.Add(20 * time.Minute) // whatever waits expires
		s.decide()
	}
	for _, p := range s.replicas {
		for height, _ := p.e.Head(); height < uint64(len(s.decided)); height, _ = p.e.Head() {
			s.carryOut(p, s.decided[height])
		}
		s.finishAt(p)
	}
	s.archive(s.replicas[s.r.IntN(len(s.replicas))])
}

// finishAt compares all that a replica holds with the model.
func (s *sim) finishAt(p *replica) {
	for _, x := range s.known {
		s.receipt(p, x)
	}
	for n := 1; n <= s.made; n++ {
		h, err := p.e.History(ctx, cityCode(n))
		if at := s.cities[n]; at == 0 && cityid.CodeOf(err) != cityid.ErrNotFound {
			s.fatalf("%s: %v, but it was never allocated", cityCode(n), err)
		} else if at > 0 && (err != nil || len(h.Revisions) != 1 || h.Revisions[0].Changed.Height != at) {
			s.fatalf("%s was allocated in block %d: %+v, %v", cityCode(n), at, h, err)
		}
	}
	status, err := p.e.Status(ctx)
	if err != nil {
		s.fatalf("status: %v", err)
	}
	if status.HeadersFrom != 1 || p.keeps == 0 && status.BlocksFrom != 1 || p.keeps > 0 && status.BlocksFrom+p.keeps > status.Height+1 {
		s.fatalf("of %d blocks it was to keep %d, and has those from %d on, and headers from %d", status.Height, p.keeps, status.BlocksFrom, status.HeadersFrom)
	}
	if status.BlocksFrom > 1 {
		s.happened["blocks let go"]++
	}
	s.headersAt(p, status)
	s.wantHash(status.Height, status.AppHash)
	if r := status.Rules; r.Version != s.version(status.Height+1) || r.Revision != s.revision {
		s.fatalf("rules %+v after block %d, want version %d at revision %d", r, status.Height, s.version(status.Height+1), s.revision)
	}
	if s.proposals > 0 {
		if _, err := p.e.Proposal(ctx, s.proposals); err != nil {
			s.fatalf("proposal %d: %v", s.proposals, err)
		}
	}
	if _, err := p.e.Proposal(ctx, s.proposals+1); cityid.CodeOf(err) != cityid.ErrNotFound {
		s.fatalf("proposal %d, which nobody made: %v", s.proposals+1, err)
	}
}

// headersAt compares all headers that a replica has with the blocks, and asks it for
// the blocks.
func (s *sim) headersAt(p *replica, status *cityid.NodeStatus) {
	for i, d := range s.decided {
		height := uint64(i + 1)
		raw, err := p.e.SignedHeader(ctx, height)
		if err != nil {
			s.fatalf("header %d: %v", height, err)
		}
		h, err := verify.DecodeSignedHeader(raw)
		if err != nil || len(h.Validators) == 0 || len(h.Commit.Votes) == 0 {
			s.fatalf("header %d: %+v, %v", height, h, err)
		}
		if hash := h.Header.Hash(); string(hash[:]) != string(d.Block().Hash()) {
			s.fatalf("header %d has another hash", height)
		}
		b, err := p.e.Block(ctx, height)
		if gone := height < status.BlocksFrom; gone != (cityid.CodeOf(err) == cityid.ErrNotFound) || !gone && (err != nil || len(b.Txs) != len(d.Block().Txs)) {
			s.fatalf("it keeps blocks from %d on, and block %d is %+v, %v", status.BlocksFrom, height, b, err)
		}
	}
}

// archive connects all bundles that were handed out with the end of the chain.
func (s *sim) archive(p *replica) {
	for _, h := range s.handed {
		s.wantBundle(h, h.data, h.at.Add(time.Second))
		b, err := verify.Decode(h.data)
		if err != nil {
			s.fatalf("bundle: %v", err)
		}
		head, err := b.Answering()
		if err != nil {
			s.fatalf("bundle: %v", err)
		}
		raw, err := p.e.Link(ctx, uint64(head.Height), 0)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			continue // no block with transactions since
		}
		if err != nil {
			s.fatalf("link of header %d: %v", head.Height, err)
		}
		l, err := verify.DecodeLink(raw)
		if err != nil {
			s.fatalf("link: %v", err)
		}
		a, err := verify.Archive(b, l)
		if err != nil {
			s.fatalf("archive: %v", err)
		}
		data, err := a.Encode()
		if err != nil {
			s.fatalf("archive: %v", err)
		}
		s.happened["archived"]++
		end := s.decided[len(s.decided)-1].Block().Time.Add(time.Second)
		s.wantBundle(h, data, end)
	}
}
