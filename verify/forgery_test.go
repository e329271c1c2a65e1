// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/header"
	"cityid/merkle"
	"cityid/verify"
)

// The tests of this file put true parts together into false answers.

// TestAnswersAreNotInterchangeable passes each answer off as that to each other
// question, in a state full of codes that begin like others, some below codes
// that are not allocated. What is valid all the same must be true.
func TestAnswersAreNotInterchangeable(t *testing.T) {
	c := newChain("forgers-1", cityid.MustParse("MA"), names("a b c d"))
	c.write(cityid.ParamsKey, []byte{0xa0})
	c.put("MA", cityid.KindAuthority, "代码机构")
	codes := []string{
		"MA.156.1", "MA.156.13", "MA.156.1301", "MA.156.1301.0", "MA.156.1301.01", "MA.156.1301.01.1", "MA.156.1301.01/20.010203",
		"MA.156.1301.01/20.010203/1", "MA.156.1301.01/20.010203/1.L1", "MA.156.1301.02.1", "MA.156.1301.02.1.1", "MA.156.1301.02/20.010203/7",
		"MA.156.1301/20.010203", "MA.156.1301/20.010203.A-B/2", "MA.156.13010", "MA.156.1302.01",
	}
	for _, code := range codes {
		c.put(code, cityid.KindDepartment, "部门")
	}
	c.quiet(2)
	w, s := c.way(t, 1, 1, 2), c.before(2)

	truth := func(code cityid.Code, kind cityid.AnswerKind) (list []string) {
		for _, x := range codes {
			k := cityid.MustParse(x)
			hidden := kind == cityid.AnswerChildren && slices.ContainsFunc(codes, func(y string) bool {
				above := cityid.MustParse(y)
				return code.Covers(above) && above.Covers(k)
			})
			if code.Covers(k) && !hidden {
				list = append(list, x)
			}
		}
		slices.Sort(list)
		return list
	}
	var answers []*verify.Bundle
	for _, code := range append([]string{"MA", "MA.156", "MA.156.1301.02", "MA.156.1302", "MA.156.13.01", "MA.156.2"}, codes...) {
		answers = append(answers, record(t, w, s, code), history(t, w, s, code),
			listing(t, w, s, code, cityid.AnswerChildren), listing(t, w, s, code, cityid.AnswerDescendants))
	}
	valid := 0
	for _, given := range answers {
		for _, asked := range answers {
			b := mutate(t, given, func(b *verify.Bundle) { b.Code, b.Kind = asked.Code, asked.Kind })
			b.Trust = verify.TagOf(&c.trusts[0], b.Kind, b.Code)
			r := verify.Check(&c.trusts[0], b, verify.Options{Now: c.at(2).header.Time, Code: asked.Code, Kind: asked.Kind})
			if r.Verdict != verify.Valid {
				if given == asked {
					t.Fatalf("the %s of %s: %s", asked.Kind, asked.Code, r.Message)
				}
				continue
			}
			valid++
			if asked.Kind == cityid.AnswerRecord || asked.Kind == cityid.AnswerHistory {
				if held := s.values[string(cityid.RecordKey(asked.Code))] != nil; r.Allocated != held || held && r.Record.Code != asked.Code {
					t.Errorf("the %s of %s, answered with that of %s: allocated is %v, want %v", asked.Kind, asked.Code, given.Code, r.Allocated, held)
				}
				continue
			}
			var got []string
			for _, x := range r.Records {
				got = append(got, x.Code.String())
			}
			if d := cmp.Diff(truth(asked.Code, asked.Kind), got); d != "" {
				t.Errorf("the %s of %s, answered with those of %s (-true +given):\n%s", asked.Kind, asked.Code, given.Code, d)
			}
		}
	}
	if valid <= len(answers) {
		t.Errorf("only %d answers were valid, none for another question", valid)
	}
}

// forger makes headers of a chain's name up, and signs for whom it has the keys.
type forger struct {
	r    *rand.Rand
	has  set // the validators whose keys it has
	t    testing.TB
	c    *chain
	lies state
}

// validators returns a set that has, beside the forger's, others of the chain's
// with little power.
func (f *forger) validators(trusted set) set {
	s := set{}
	for _, n := range slices.Sorted(maps.Keys(f.has)) {
		if f.r.IntN(3) > 0 {
			s[n] = 1 + f.r.Int64N(1000)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(trusted)) {
		if _, ok := f.has[n]; !ok && f.r.IntN(3) == 0 {
			s[n] = 1 + f.r.Int64N(10)
		}
	}
	if len(s) == 0 {
		return f.has
	}
	return s
}

// bundle returns a record of a state made up, under some transitions made up,
// after a version of the trust root with certain validators.
func (f *forger) bundle(trust *cityid.Trust, trusted set, code string) *verify.Bundle {
	known, height, now := trusted, int64(trust.Statement.Height), trust.Statement.Time.Std()
	key := cityid.RecordKey(cityid.MustParse(code))
	b := &verify.Bundle{
		Version: verify.Version, Kind: cityid.AnswerRecord, Code: cityid.MustParse(code), Steps: []verify.Step{{}},
		Values: []cityid.Bytes{f.lies.values[string(key)]},
	}
	b.Trust = verify.TagOf(trust, b.Kind, b.Code)
	step := &b.Steps[0]
	step.Proof = must(must(f.lies.tree.Prove(key)).MarshalBinary())
	for left := f.r.IntN(3); left >= 0; left-- {
		h := *f.c.at(17).header
		height, now = height+1+f.r.Int64N(3), now.Add(time.Second)
		h.Height, h.Time, h.AppHash = height, now, header.Hash(f.lies.tree.Root())
		vals, next := f.validators(trusted), f.validators(trusted)
		if known != nil && f.r.IntN(3) == 0 {
			vals = known
		}
		if f.r.IntN(2) == 0 {
			next = vals
		}
		h.ValidatorsHash, h.NextValidatorsHash = vals.validators().Hash(), next.validators().Hash()
		commit := vals.sign(&h, func(name string) bool { _, ok := f.has[name]; return ok })
		if known == nil {
			known = vals
		}
		if votes := header.MinimalSkipping(known.validators(), vals.validators(), commit.Votes); votes != nil {
			commit.Votes = votes
		} else if votes := header.Minimal(vals.validators(), commit.Votes); votes != nil {
			commit.Votes = votes
		}
		block := cityid.LightBlock{Header: must(header.EncodeStripped(&h, left > 0))}
		if len(commit.Votes) == 0 {
			commit.Votes = f.c.at(17).commit.Votes // the chain's own, for another block
		}
		block.Commit = must(commit.MarshalBinary())
		if h.ValidatorsHash != known.validators().Hash() || len(step.Transitions) > 0 && f.r.IntN(4) == 0 {
			block.Validators = must(vals.validators().MarshalBinary())
		}
		if left == 0 {
			step.Head = block
			break
		}
		step.Transitions = append(step.Transitions, block)
		if known = nil; h.NextValidatorsHash == h.ValidatorsHash {
			known = vals
		}
	}
	return b
}

// TestForgersNeedAThird has forgers with any number of keys of their own, but
// those of a fourth of the trusted power only. With those of half, which is more
// than a verifier can withstand, they come through.
func TestForgersNeedAThird(t *testing.T) {
	c := story()
	lies := c.before(17)
	for held, possible := range map[string]bool{"a": false, "e": false, "a e": true} {
		has := names(held + " v w x y z")
		f := &forger{rand.New(rand.NewPCG(uint64(held[0]), uint64(len(held)))), has, t, c, lies}
		valid, undecided := 0, 0
		for range 150 {
			b := f.bundle(&c.trusts[1], names("a b c e"), city)
			r := verify.Check(&c.trusts[1], b, verify.Options{Now: c.at(17).header.Time})
			switch r.Verdict {
			case verify.Valid:
				valid++
			case verify.Undecided:
				undecided++
			}
		}
		if possible != (valid > 0) || undecided == 0 {
			t.Errorf("forgers with the keys of %s: %d bundles are valid, %d undecided", held, valid, undecided)
		}
	}
}

// TestTransitionsOutOfOrder repeats, exchanges and postpones transitions whose
// signatures are good.
func TestTransitionsOutOfOrder(t *testing.T) {
	c := story()
	b := record(t, c.way(t, 2, 2, 22), c.before(22), city)
	if r := verify.Check(&c.trusts[1], b, verify.Options{Now: c.at(22).header.Time}); r.Verdict != verify.Valid || len(b.Steps[0].Transitions) == 0 {
		t.Fatalf("%d transitions: %s", len(b.Steps[0].Transitions), r.Message)
	}
	for name, change := range map[string]func(*verify.Step){
		"twice":           func(s *verify.Step) { s.Transitions = append(s.Transitions, s.Transitions[0]) },
		"after its head":  func(s *verify.Step) { s.Head = record(t, c.way(t, 2, 2, 17), c.before(17), city).Steps[0].Head },
		"at the head":     func(s *verify.Step) { s.Head.Header = s.Transitions[0].Header },
		"before the root": func(s *verify.Step) { mutateHeader(&s.Transitions[0], func(h *header.Header) { h.Height = 15 }) },
	} {
		t.Run(name, func(t *testing.T) {
			b := mutate(t, b, func(b *verify.Bundle) { change(&b.Steps[0]) })
			if r := verify.Check(&c.trusts[1], b, verify.Options{Now: c.at(22).header.Time}); r.Verdict != verify.Invalid {
				t.Errorf("%s: %s", r.Verdict, r.Message)
			}
		})
	}
}

// TestOneOfficerIsNotTwo signs the next version of the trust root, of which two
// officers are needed, with the key of one.
func TestOneOfficerIsNotTwo(t *testing.T) {
	member := func(officers ...string) (m cityid.QuorumMember) {
		for _, o := range officers {
			m.Keys = append(m.Keys, public(o))
		}
		return m
	}
	inner := func(threshold uint8, members ...cityid.QuorumMember) cityid.QuorumMember {
		return cityid.QuorumMember{Quorum: &cityid.Quorum{Threshold: threshold, Members: members}}
	}
	for name, x := range map[string]struct {
		members []cityid.QuorumMember
		signers []string
		want    verify.Verdict
	}{
		"two":                      {[]cityid.QuorumMember{member("zhao"), member("qian"), member("sun")}, []string{"zhao", "qian"}, verify.Valid},
		"one twice":                {[]cityid.QuorumMember{member("zhao"), member("qian"), member("sun")}, []string{"zhao", "zhao"}, verify.Invalid},
		"one under two members":    {[]cityid.QuorumMember{member("zhao"), member("zhao", "qian")}, []string{"zhao"}, verify.Invalid},
		"two keys of one member":   {[]cityid.QuorumMember{member("zhao", "li"), member("qian"), member("sun")}, []string{"zhao", "li"}, verify.Invalid},
		"one beside and below":     {[]cityid.QuorumMember{member("zhao"), inner(1, member("zhao"), member("qian"))}, []string{"zhao"}, verify.Invalid},
		"one below and below":      {[]cityid.QuorumMember{inner(1, member("zhao")), inner(1, inner(1, member("zhao")))}, []string{"zhao"}, verify.Invalid},
		"two, below and below":     {[]cityid.QuorumMember{inner(1, member("zhao")), inner(1, inner(1, member("zhao", "qian")))}, []string{"zhao", "qian"}, verify.Valid},
		"an inner one half signed": {[]cityid.QuorumMember{member("zhao"), inner(2, member("zhao"), member("qian"))}, []string{"zhao"}, verify.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			c := story()
			root := &c.trusts[0]
			root.Statement.Quorum.Members = x.members
			s := c.trusts[1].Statement
			s.Prev = root.Statement.Hash()
			next := signTrust(s, x.signers...)
			b := record(t, c.way(t, 2, 2, 17), c.before(17), city)
			b.Versions, b.Trust = []cityid.Trust{next}, verify.TagOf(&next, b.Kind, b.Code)
			r := verify.Check(root, b, verify.Options{Now: c.at(17).header.Time})
			if r.Verdict != x.want || (len(r.Learned) > 0) != (x.want == verify.Valid) {
				t.Errorf("%s, %d versions learned: %s", r.Verdict, len(r.Learned), r.Message)
			}
		})
	}
}

// TestShiftedBlockLogs moves the first height and the size of a good log link,
// and the position of the header in it.
func TestShiftedBlockLogs(t *testing.T) {
	c := story()
	b := record(t, c.link(t, c.way(t, 4, 4, 34), 11), c.before(11), city)
	log := c.before(34).log
	o := verify.Options{Now: c.at(34).header.Time, At: c.at(11).header.Time}
	for first := range uint64(4) {
		for size := log.Size - 3; size <= log.Size+3; size++ {
			for leaf := uint64(8); leaf < 13; leaf++ {
				path, err := merkle.ProveInclusion(leaf, min(size, log.Size), func(level uint8, index uint64) (merkle.Hash, error) {
					return c.nodes[[2]uint64{uint64(level), index}], nil
				})
				if err != nil {
					t.Fatal(err)
				}
				b := mutate(t, b, func(b *verify.Bundle) {
					l := b.Steps[0].Log
					l.First, l.Size, l.Path = first, size, must(path.MarshalBinary())
				})
				r := verify.Check(&c.trusts[3], b, o)
				if own := first == 1 && size == log.Size && leaf == 10; own != (r.Verdict == verify.Valid) {
					t.Errorf("log of %d from %d, leaf %d: %s: %s", size, first, leaf, r.Verdict, r.Message)
				}
			}
		}
	}
}
