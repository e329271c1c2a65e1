// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cityid"
)

// storm throws random operations of every kind at a registry, sound and unsound
// ones, and hashes every write, every refusal and the final root.
type storm struct {
	*world
	*rand.Rand
	keys    []cityid.PublicKey
	codes   []cityid.Code
	halted  []cityid.Code // reserved or suspended
	sets    []cityid.Code // datasets
	terms   []cityid.Terms
	looked  *work // the state as it is, some of it decoded
	hash    hash.Hash
	counts  [32]int // by error code
	applied int
}

func newStorm(t testing.TB, seed uint64) *storm {
	s := &storm{world: newWorld(t), Rand: rand.New(rand.NewPCG(seed, 2)), hash: sha256.New()}
	s.check = fakeVerify
	if err := s.found(standardGenesis(t, s.ring)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"an", "bo", "cy", "desk1", "desk2", "desk3", "v1", "a@portal", "b@portal", "c@ministry", "p256-d", "e", "f", "g", "h"} {
		s.keys = append(s.keys, s.ring.key(t, n))
	}
	for _, c := range []string{"MA.156", "MA.156.9001", "MA.156.9002", "MA.156.9003"} {
		s.codes = append(s.codes, cityid.MustParse(c))
	}
	var n [8]byte
	s.state.hook = func(key, value []byte) {
		binary.BigEndian.PutUint32(n[:4], uint32(len(key)))
		binary.BigEndian.PutUint32(n[4:], uint32(len(value)))
		s.hash.Write(n[:])
		s.hash.Write(key)
		s.hash.Write(value)
	}
	return s
}

func (s *storm) view() *work {
	if s.looked == nil {
		s.looked = newWork(s.state, s.block, nil, nil)
	}
	return s.looked
}

func (s *storm) code() cityid.Code { return pick(s.Rand, s.codes) }

func (s *storm) digest() (d cityid.Digest) {
	d[0], d[31] = byte(s.IntN(200)), 1
	return d
}

// revision is mostly the right one.
func (s *storm) revision(c cityid.Code) uint32 {
	n := uint32(1)
	if r := s.view().record(c); r != nil {
		n = r.Revision
	}
	if s.IntN(20) == 0 {
		n += uint32(s.IntN(3))
	}
	return n
}

func (s *storm) content() cityid.Content {
	c := cityid.Content{Names: names(fmt.Sprint("名", s.IntN(50)), fmt.Sprint("Name ", s.IntN(50)))}
	switch s.IntN(8) {
	case 0:
		c.Links = []cityid.Link{{Rel: "about", Href: fmt.Sprintf("https://c%d.example.cn/x", s.IntN(3))}}
	case 1:
		c.Hosts = []string{"*.example.cn"}
	case 2:
		c.Location = &cityid.Location{Lat: int32(s.IntN(900)) * 100_000, Lon: int32(s.IntN(1800))*100_000 + int32(s.IntN(2))}
	}
	return c
}

func (s *storm) policy() *cityid.Policy {
	if s.IntN(4) == 0 {
		return nil
	}
	n := 1 + s.IntN(3)
	p := &cityid.Policy{Threshold: uint8(1 + s.IntN(n))}
	for i := range n {
		if s.IntN(6) == 0 {
			p.Members = append(p.Members, cityid.Member{Code: s.code()})
			continue
		}
		k := cityid.Key{Public: s.keys[(s.IntN(4)*4+i)%len(s.keys)], Roles: cityid.Roles(1 + s.IntN(31))}
		if k.Roles&cityid.RoleGateway != 0 && s.IntN(20) > 0 { // alone, or not at all
			if k.Roles &^= cityid.RoleGateway; k.Roles == 0 || s.IntN(4) == 0 {
				k.Roles = cityid.RoleGateway
			}
		}
		if s.IntN(8) == 0 {
			k.Until = s.block.Time + cityid.Time(s.IntN(100_000))
		}
		p.Members = append(p.Members, cityid.Member{Keys: []cityid.Key{k}})
	}
	return p
}

// fresh draws a code that may still be free, and its kind.
func (s *storm) fresh() (cityid.Code, cityid.Kind) {
	base := s.code().String()
	text, kind := "", cityid.KindDepartment
	switch s.IntN(8) {
	case 0:
		text, kind = fmt.Sprintf("MA.156.%d", 11+s.IntN(12)), cityid.KindProvince
	case 1:
		text, kind = fmt.Sprintf("MA.156.%d%02d", 11+s.IntN(12), 1+s.IntN(20)), cityid.KindCity
	case 2:
		text, kind = fmt.Sprintf("MA.156.%d%02d%02d", 11+s.IntN(12), 1+s.IntN(20), 1+s.IntN(20)), cityid.KindCounty
	case 3:
		text, kind = fmt.Sprintf("%s/%d.0%d0203", base, 20+10*s.IntN(2), 1+s.IntN(2)), cityid.KindClass
	case 4:
		text, kind = fmt.Sprintf("%s/%d", base, s.IntN(1000)), cityid.KindObject
	case 5:
		text, kind = fmt.Sprintf("%s/%d", base, s.IntN(1000)), cityid.KindDataset
	default:
		text = fmt.Sprintf("%s.%02d", base, 1+s.IntN(4))
	}
	c, err := cityid.ParseCanonical(text)
	if err != nil {
		return s.code(), kind
	}
	return c, kind
}

func (s *storm) allocation() cityid.Allocation {
	c, k := s.fresh()
	a := cityid.Allocation{Code: c, Kind: k, Content: s.content(), Policy: s.policy()}
	if k == cityid.KindDataset {
		a.Content.Dataset = s.dataset()
	}
	if k == cityid.KindCity {
		a.Aliases = []cityid.Alias{{Scheme: "gb2260", Value: (c.Place() + "0000")[:6]}}
	}
	if s.IntN(10) == 0 {
		a.Sealed, a.Content = cityid.SealDigest([32]byte{1}, a.Content), cityid.Content{}
	}
	a.Reserved = s.IntN(20) == 0
	return a
}

// batch is a class with objects, as an import has them.
func (s *storm) batch() []cityid.Allocation {
	class, err := cityid.ParseCanonical(fmt.Sprintf("%s/20.0%05d", s.code().Root(), s.IntN(100_000)))
	if err != nil {
		return nil
	}
	list := []cityid.Allocation{{Code: class, Kind: cityid.KindClass, Content: s.content()}}
	for i := range 5 + s.IntN(60) {
		c := cityid.MustParse(fmt.Sprintf("%s/%d", class, i))
		list = append(list, cityid.Allocation{Code: c, Kind: cityid.KindObject, Content: s.content(), Reserved: s.IntN(1000) == 0})
	}
	return list
}

// proposal draws the number and present digest of one of the last proposals.
func (s *storm) proposal() (uint64, cityid.Digest) {
	w := s.view()
	last := w.counters().Proposals
	n := uint64(0)
	for range 4 { // rather an open one
		n = last - min(last, uint64(s.IntN(20)))
		if p, err := w.proposal(n); err == nil && p.StateAt(s.block.Time).Open() {
			break
		}
	}
	if p, err := Proposal(s.state, s.block, n); err == nil && s.IntN(15) > 0 {
		return n, p.Digest
	}
	return n, s.digest()
}

func (s *storm) operation(depth int) (op cityid.Operation, about cityid.Code) {
	c := s.code()
	choice := s.IntN(40)
	if depth > 0 {
		if choice = s.IntN(24); choice >= 19 {
			choice += 11
		}
	}
	if choice >= 30 {
		return s.onSharing(choice)
	}
	switch choice {
	case 0, 1, 2, 3, 4, 5:
		op.Allocate = &cityid.Allocate{}
		for range 1 + s.IntN(3)*s.IntN(2) {
			op.Allocate.Items = append(op.Allocate.Items, s.allocation())
		}
		if s.IntN(8) == 0 {
			op.Allocate.Items = s.batch()
		}
		c = s.view().parentOf(&op.Allocate.Items[0])
	case 6, 7, 8:
		op.Amend = &cityid.Amend{Code: c, Revision: s.revision(c), Content: s.content()}
		if r := s.view().record(c); r != nil && r.Kind == cityid.KindDataset {
			op.Amend.Content.Dataset = s.dataset()
		}
	case 9, 10:
		x := &cityid.SetStatus{Status: cityid.Status(2 + s.IntN(3)), Reason: cityid.Reason(s.IntN(13))}
		if len(s.halted) > 0 && s.IntN(4) > 0 {
			c, x.Status = pick(s.Rand, s.halted), cityid.StatusActive
		} else if x.Status == cityid.StatusRetired && c.Depth() <= 3 {
			x.Status = cityid.StatusSuspended
		}
		x.Code, x.Revision = c, s.revision(c)
		if x.Status == cityid.StatusRetired && s.IntN(2) == 0 {
			x.Heir = s.code()
		}
		op.SetStatus = x
		if r := s.view().record(c); r != nil && s.IntN(3) > 0 {
			c = r.Parent
		}
	case 11, 12:
		op.Rekey = &cityid.Rekey{Code: c, Revision: s.revision(c), Policy: s.policy()}
		if r := s.view().record(c); r != nil && s.IntN(3) == 0 {
			c = r.Parent
		}
	case 13:
		op.Map = &cityid.Map{Code: c, Revision: s.revision(c), Alias: cityid.Alias{Scheme: "house", Value: fmt.Sprint(s.IntN(4))}, Remove: s.IntN(3) == 0}
	case 14:
		op.Attest = &cityid.Attest{Source: c, Digest: s.digest()}
	case 15:
		op.Seal = &cityid.Seal{Code: c, Revision: s.revision(c), Sealed: cityid.SealDigest([32]byte{2}, cityid.Content{})}
	case 16:
		op.Unseal = &cityid.Unseal{Code: c, Revision: s.revision(c), Salt: cityid.Digest{2}}
	case 17:
		op.Veto = &cityid.Veto{Code: c, Override: s.IntN(3) == 0}
	case 18:
		p := cityid.DefaultParams
		p.IntakeLimit = uint32(20 + s.IntN(20))
		op.SetParams, c = &cityid.SetParams{Revision: uint32(1 + s.IntN(20)), Params: &p}, s.codes[0]
	default:
		return s.onProposal(choice)
	}
	return op, c
}

func (s *storm) onProposal(choice int) (op cityid.Operation, about cityid.Code) {
	n, digest := s.proposal()
	about = s.codes[0]
	switch choice {
	case 19, 20:
		op.Propose = &cityid.Propose{}
		for range 1 + s.IntN(2) {
			inner, c := s.operation(1)
			op.Propose.Operations = append(op.Propose.Operations, inner)
			about = c
		}
	case 21, 22, 23:
		op.Apply = &cityid.Apply{Allocation: s.allocation(), Evidence: []cityid.Digest{s.digest()}}
		a := &op.Apply.Allocation
		a.Policy = &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: pick(s.Rand, s.keys), Roles: cityid.RoleControl}}}}}
		k := a.Policy.Members[0].Keys[0].Public
		d := cityid.PossessionDigest(testChain, a.Code, a.Policy, k)
		op.Apply.Possessions = []cityid.Possession{{Key: k, Signature: fakeSign(k, d[:])}}
	case 24, 25, 26:
		op.Approve = &cityid.Approve{Proposal: n, Digest: digest}
	case 27:
		op.Reject = &cityid.Reject{Proposal: n, Digest: digest, Note: "no"}
	case 28:
		op.Return = &cityid.Return{Proposal: n, Digest: digest, Note: "more"}
	default:
		op.Withdraw = &cityid.Withdraw{Proposal: n}
	}
	return op, about
}

// signers are mostly those that may decide about a code.
func (s *storm) signers(about cityid.Code) []cityid.PublicKey {
	var out []cityid.PublicKey
	if s.IntN(5) > 0 {
		w := s.view()
		if p, holder, err := w.governing(about); err == nil {
			voices := cityid.KeySet{}
			addKeys(voices, w.quorum(p, holder))
			for k := range voices {
				out = append(out, k)
			}
			slices.Sort(out) // the order of a map must not show
			s.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
			out = out[:min(len(out), 3)]
		}
	}
	for range s.IntN(2) {
		out = append(out, pick(s.Rand, s.keys))
	}
	if len(out) == 0 || s.IntN(3) == 0 {
		out = append(out, pick(s.Rand, s.keys[3:6])) // an intake desk
	}
	return out
}

// transaction sends one transaction and hashes what came of it.
func (s *storm) transaction() int {
	n := 1
	if s.IntN(5) == 0 {
		n += s.IntN(3)
	}
	b := cityid.Body{Chain: testChain, Expires: s.block.Time + cityid.Time(1+s.IntN(600))}
	var signers []cityid.PublicKey
	for range n {
		op, about := s.operation(0)
		b.Operations = append(b.Operations, op)
		signers = append(signers, s.signers(about)...)
	}
	result, err := s.apply(fakeTx(b, signers))
	code := cityid.CodeOf(err)
	s.counts[code]++
	fmt.Fprintln(s.hash, code, result.Proposals)
	if err == nil {
		s.applied++
		s.looked = nil
		for i := range b.Operations {
			s.learn(&b.Operations[i])
		}
	}
	weight := 0
	for i := range b.Operations {
		weight += b.Operations[i].Weight()
	}
	return weight
}

// learn remembers the codes of an operation that was carried out, a bounded
// number of them, and which of them stand still.
func (s *storm) learn(op *cityid.Operation) {
	const most = 600
	switch {
	case op.Allocate != nil:
		for _, a := range op.Allocate.Items[:min(3, len(op.Allocate.Items))] {
			if len(s.codes) < most {
				s.codes = append(s.codes, a.Code)
			} else {
				s.codes[4+s.IntN(most-4)] = a.Code
			}
			if a.Reserved {
				s.halted = append(s.halted, a.Code)
			}
			if a.Kind == cityid.KindDataset {
				s.sets = append(s.sets, a.Code)
			}
		}
	case op.AgreementRequest != nil:
		s.terms = append(s.terms, op.AgreementRequest.Terms)
		s.terms = s.terms[max(0, len(s.terms)-40):]
	case op.SetStatus != nil:
		s.halted = slices.DeleteFunc(s.halted, func(c cityid.Code) bool { return c == op.SetStatus.Code })
		if op.SetStatus.Status == cityid.StatusSuspended {
			s.halted = append(s.halted, op.SetStatus.Code)
		}
	}
}

func (s *storm) run(operations int) string {
	for done := 0; done < operations; {
		s.begin(cityid.Time(1 + s.IntN(20)*s.IntN(60)))
		s.looked = nil
		for range 50 {
			done += s.transaction()
		}
	}
	fmt.Fprintln(s.hash, s.state.root(s.tb))
	return hex.EncodeToString(s.hash.Sum(nil))
}

// TestAccumulated pins one hash over 100,000 random operations, each item of a
// batch being one: any change of
// what the registry accepts, writes or refuses shows here, on any machine. If a
// change is meant, put the new hash.
func TestAccumulated(t *testing.T) {
	const want = "aa5ecfda1a6313a9bf08ee2c8324b05e23b856dcf148ecddac64e0174178a04c"
	s := newStorm(t, 1)
	operations := 100_000
	if testing.Short() {
		operations = 5_000
	}
	got := s.run(operations)
	var tally []string
	for code, n := range s.counts {
		if n > 0 {
			tally = append(tally, fmt.Sprintf("%s %d", cityid.ErrorCode(code), n))
		}
	}
	t.Logf("%d keys; %s", len(s.state.values), strings.Join(tally, ", "))
	if what := broken(s.state, s.block.Time); what != "" {
		t.Error(what)
	}
	if s.applied < operations/40 || s.counts[cityid.ErrInternal] > 0 {
		t.Errorf("only %d transactions were applied, or some met a defect", s.applied)
	}
	if !testing.Short() && got != want {
		t.Errorf("the accumulated hash is %s, not %s", got, want)
	}
}

// TestSame runs the same operations twice.
func TestSame(t *testing.T) {
	for seed := range uint64(3) {
		if a, b := newStorm(t, 100+seed).run(2000), newStorm(t, 100+seed).run(2000); a != b {
			t.Errorf("seed %d gives %s and %s", seed, a, b)
		}
	}
}
