// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cityid"
	"cityid/header"
	"cityid/keys"
	"cityid/merkle"
)

// Way is how a prover gets from the asker's trust root to the header that
// answers. Everything superfluous in it is left out of the bundle.
type Way struct {
	Trust    *cityid.Trust  // the version the asker holds
	Versions []cityid.Trust // the versions after it, ascending, that the bundle is to carry; none: it leads on from Trust

	Transitions []SignedHeader // at which the validators changed, by ascending height; see [Transitions]
	Head        SignedHeader   // a recent header, with all its votes
	Log         *LogInclusion  // nil: Head answers

	// Point is set where the way begins at a checkpoint of the zone instead of
	// a trust root. Trust and Versions are then not looked at, and the bundle is
	// one that [Join] puts after a referral.
	Point *Point

	// Prove proves what stands at a key of the state that answers, whether
	// anything does or not. It is asked about delegated zones, where an answer
	// has to show that none of them is the one to ask.
	Prove func(key []byte) (merkle.Proof, []byte, error)
}

// Point is a header of a zone from which a way leads on, which the zone above
// accepted as a checkpoint.
type Point struct {
	Zone    cityid.Code // apex
	Chain   string
	Height  uint64             // 0: the genesis
	Header  cityid.Digest      // hash of the header at Height
	Time    time.Time          // of it, or of the genesis
	Next    header.Validators  // of the next height
	Descent *cityid.LogDescent // of Head from this header; nil if Head is it
}

// from returns what the way begins with: the zone, what is trusted, and the
// digest of the tag.
func (w *Way) from() (apex cityid.Code, t header.Trusted, base cityid.Digest, err error) {
	if p := w.Point; p != nil {
		cut := &cityid.Checkpoint{Height: p.Height, Time: cityid.TimeOf(p.Time), Next: cityid.Digest(p.Next.Hash())}
		return p.Zone, trustedAt(p.Chain, cut), tagBase(p.Chain, p.Height, p.Header), nil
	}
	s := &w.latest().Statement
	vals, err := validatorsOf(s)
	if err != nil {
		return apex, t, base, err
	}
	return s.Zone, trustedBy(s, vals), s.Hash(), nil
}

// LogInclusion shows that the block log in the state before Head contains the
// header that answers.
type LogInclusion struct {
	Header *header.Header
	Log    cityid.BlockLog // as it stands in that state
	Path   merkle.LogProof // of Header's hash
	Proof  merkle.Proof    // of the block log's leaf
}

// latest returns the version of the trust root from which the way leads on.
func (w *Way) latest() *cityid.Trust {
	if n := len(w.Versions); n > 0 {
		return &w.Versions[n-1]
	}
	return w.Trust
}

// NewRecord returns a bundle that answers with the record of a code, or with
// its absence if value is nil. The proof is of [cityid.RecordKey] in the state
// that the answering header commits to; value is the record's encoding. The
// bundle shares memory with its arguments.
//
// The error says that the way does not lead to the head. Whether the proof fits
// is not looked at: [Check] tells.
func NewRecord(w *Way, code cityid.Code, proof merkle.Proof, value []byte) (*Bundle, error) {
	var values [][]byte
	if value != nil {
		values = [][]byte{value}
	}
	return w.bundle(cityid.AnswerRecord, code, proof, values)
}

// NewHistory is [NewRecord] for all revisions of a record, latest first, or
// none if the code is not allocated.
func NewHistory(w *Way, code cityid.Code, proof merkle.Proof, values [][]byte) (*Bundle, error) {
	return w.bundle(cityid.AnswerHistory, code, proof, values)
}

// NewListing is [NewRecord] for the codes below a code: kind is
// [cityid.AnswerChildren] or [cityid.AnswerDescendants], the proof is of
// [Range], and the values are those of the listing in its order.
func NewListing(w *Way, code cityid.Code, kind cityid.AnswerKind, proof merkle.RangeProof, values [][]byte) (*Bundle, error) {
	return w.bundle(kind, code, proof, values)
}

func (w *Way) bundle(kind cityid.AnswerKind, code cityid.Code, proof interface{ MarshalBinary() ([]byte, error) }, values [][]byte) (*Bundle, error) {
	data, err := proof.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("state proof: %w", err)
	}
	return w.complete(&Bundle{Kind: kind, Code: code}, data, values)
}

// NewEntries is [NewRecord] for what stands at keys of the state, which are in
// byte order. There is a proof and a value for each; nil says that nothing
// stands there.
func NewEntries(w *Way, keys [][]byte, proofs []merkle.Proof, values [][]byte) (*Bundle, error) {
	if len(keys) == 0 || len(proofs) != len(keys) {
		return nil, fmt.Errorf("entries: %d proofs for %d keys", len(proofs), len(keys))
	}
	b := &Bundle{Kind: cityid.AnswerEntries}
	b.Code, _ = cityid.CodeOfEntryKey(keys[0])
	list := make([]cityid.Bytes, len(keys))
	for i, k := range keys {
		data, err := proofs[i].MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("state proof: %w", err)
		}
		list[i], b.Keys = data, append(b.Keys, k)
	}
	return w.complete(b, cityid.MustMarshal(list), values)
}

// NewReferral returns a bundle that refers whoever asks for code to the zone of
// apex, with the record of that and what is known of the zone. [Way.Prove] shows
// both.
func NewReferral(w *Way, code, apex cityid.Code) (*Bundle, error) {
	if w.Prove == nil {
		return nil, errors.New("referral: nothing proves it")
	}
	list, values := make([]cityid.Bytes, 2), make([][]byte, 2)
	for i, key := range [][]byte{cityid.RecordKey(apex), cityid.ZoneKey(apex)} {
		proof, value, err := w.Prove(key)
		if err == nil && value == nil {
			err = fmt.Errorf("%s has no zone of its own", apex)
		}
		if err != nil {
			return nil, fmt.Errorf("referral: %w", err)
		}
		if list[i], err = proof.MarshalBinary(); err != nil {
			return nil, fmt.Errorf("state proof: %w", err)
		}
		values[i] = value
	}
	return w.complete(&Bundle{Kind: cityid.AnswerReferral, Code: code}, cityid.MustMarshal(list), values)
}

// authority shows that no zone below is the one to ask about codes.
func (w *Way) authority(apex cityid.Code, codes []cityid.Code) (list []Authority, err error) {
	f := authority(apex, codes, func(d cityid.Code) (p merkle.Proof, f *finding) {
		if w.Prove == nil {
			return p, undecided(ReasonZone, "nothing proves whether %s has a zone of its own", d)
		}
		p, value, err := w.Prove(cityid.ZoneKey(d))
		if err != nil {
			return p, undecided(ReasonZone, "%v", err)
		}
		if value != nil {
			if f := reaches(d, value, codes); f != nil {
				return p, f
			}
		}
		data, err := p.MarshalBinary()
		if err != nil {
			return p, undecided(ReasonZone, "state proof: %v", err)
		}
		list = append(list, Authority{Proof: data, Value: value})
		return p, nil
	})
	switch {
	case f != nil:
		return nil, errors.New(f.message)
	case len(list) > MaxAuthority:
		return nil, fmt.Errorf("%d zones would have to be shown: at most %d", len(list), MaxAuthority)
	}
	return list, nil
}

// Join puts an answer that leads on from a checkpoint after the referral that
// shows the checkpoint: the bundle that results answers as a whole, or refers
// further. trust is the version of the trust root from which the referral leads
// on: the last one that it carries, else the asker's. The result shares memory
// with both. Join checks form alone; [Check] judges the result.
func Join(trust *cityid.Trust, referral, answer *Bundle) (*Bundle, error) {
	for _, b := range []*Bundle{referral, answer} {
		if err := b.check(); err != nil {
			return nil, err
		}
	}
	if referral.Kind != cityid.AnswerReferral || len(answer.Versions) > 0 || len(answer.Steps) != 1 {
		return nil, errors.New("join: want a referral, and an answer that leads on from a checkpoint")
	}
	if n := len(referral.Versions); n > 0 {
		trust = &referral.Versions[n-1]
	}
	out := &Bundle{
		Version: Version, Kind: answer.Kind, Code: answer.Code, Versions: referral.Versions,
		Steps: slices.Concat(referral.Steps, answer.Steps), Values: answer.Values, Keys: answer.Keys,
	}
	out.Trust = out.tag(trust.Statement.Hash())
	return out, out.check()
}

// Carry returns a copy of a bundle that carries what an asker lacks who holds
// the first of versions: those after it, each with no more signatures than
// needed. They follow one another, and the bundle leads on from the last.
func Carry(b *Bundle, versions []cityid.Trust) (*Bundle, error) {
	if len(versions) == 0 {
		return nil, errors.New("carry: want the version of the trust root that the asker holds")
	}
	if last := versions[len(versions)-1].Statement.Hash(); b.tag(last) != b.Trust {
		return nil, fmt.Errorf("carry: the bundle does not lead on from version %d of the trust root", versions[len(versions)-1].Statement.Version)
	}
	out := *b
	out.Versions = (&Way{Trust: &versions[0], Versions: versions[1:]}).carried()
	return &out, out.check()
}

// complete adds the way, the proof and the values to a bundle that says what it
// answers.
func (w *Way) complete(b *Bundle, proof []byte, values [][]byte) (*Bundle, error) {
	apex, t, base, err := w.from()
	if err != nil {
		return nil, err
	}
	step, err := w.step(t)
	if err != nil {
		return nil, err
	}
	step.Proof = proof
	for _, v := range values {
		b.Values = append(b.Values, v)
	}
	if b.Kind == cityid.AnswerReferral {
		step.Values, b.Values = b.Values, nil
	}
	if step.Authority, err = w.authority(apex, b.unauthorized()); err != nil {
		return nil, err
	}
	b.Version, b.Steps, b.Trust = Version, []Step{*step}, b.tag(base)
	if w.Point == nil {
		b.Versions = w.carried()
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

// carried returns the versions of the trust root as a bundle carries them.
func (w *Way) carried() []cityid.Trust {
	var out []cityid.Trust
	prev := w.Trust
	for i := range w.Versions {
		out = append(out, minimalTrust(prev, &w.Versions[i]))
		prev = &w.Versions[i]
	}
	return out
}

func (w *Way) step(t header.Trusted) (*Step, error) {
	step := new(Step)
	if p := w.Point; p != nil {
		first := &w.Head
		if len(w.Transitions) > 0 {
			first = &w.Transitions[0]
		}
		if first.Header.Height > t.At.Height && first.Header.ValidatorsHash != t.At.NextValidatorsHash {
			t.Set = p.Next
			var err error
			if step.Validators, err = p.Next.MarshalBinary(); err != nil {
				return nil, err
			}
		}
		if step.Descent = p.Descent; p.Descent != nil && w.Log != nil {
			step.Descent = &cityid.LogDescent{Path: p.Descent.Path, Root: p.Descent.Root} // the rest is in the log link
		}
	}
	for i := range w.Transitions {
		tr := &w.Transitions[i]
		block, err := lightBlock(&t, tr, true)
		if err != nil {
			return nil, err
		}
		if !advance(&t, tr) {
			return nil, fmt.Errorf("header %d is no transition: it names the same validators as the one before", tr.Header.Height)
		}
		step.Transitions = append(step.Transitions, *block)
	}
	head, err := lightBlock(&t, &w.Head, false)
	if err != nil {
		return nil, err
	}
	step.Head = *head
	if w.Log == nil {
		return step, nil
	}
	l := &LogLink{Validators: cityid.Digest(w.Log.Header.ValidatorsHash), First: w.Log.Log.First, Size: w.Log.Log.Size}
	if l.Header, err = header.EncodeStripped(w.Log.Header, false); err != nil {
		return nil, err
	}
	if l.Path, err = w.Log.Path.MarshalBinary(); err != nil {
		return nil, fmt.Errorf("block log path: %w", err)
	}
	if l.Proof, err = w.Log.Proof.MarshalBinary(); err != nil {
		return nil, fmt.Errorf("block log proof: %w", err)
	}
	step.Log = l
	return step, nil
}

// Descent returns the way from its point to its head, as operations on the zone
// in the one above carry it: with whole, the head's header has its app hash.
func (w *Way) Descent(whole bool) (*cityid.Descent, error) {
	if w.Point == nil {
		return nil, errors.New("descent: the way does not begin at a checkpoint")
	}
	_, t, _, err := w.from()
	if err != nil {
		return nil, err
	}
	step, err := w.step(t)
	if err != nil {
		return nil, err
	}
	if whole {
		if step.Head.Header, err = header.EncodeStripped(w.Head.Header, true); err != nil {
			return nil, err
		}
	}
	return &cityid.Descent{Validators: step.Validators, Transitions: step.Transitions, Head: step.Head}, nil
}

// votesOf returns the votes of s that lead on from t, or nil if they do not.
func votesOf(t *header.Trusted, s *SignedHeader) []header.Vote {
	return t.Votes(s.Header, s.Validators, s.Commit.Votes)
}

// verifyFrom reports whether s follows from t.
func verifyFrom(t *header.Trusted, s *SignedHeader) error {
	return t.Verify(s.Header, s.Validators, s.Commit, keys.VerifyEd25519)
}

func advance(t *header.Trusted, s *SignedHeader) bool { return t.Advance(s.Header, s.Validators) }

// lightBlock encodes a header that follows from what is trusted.
func lightBlock(t *header.Trusted, s *SignedHeader, withAppHash bool) (*cityid.LightBlock, error) {
	commit := *s.Commit
	if commit.Votes = votesOf(t, s); commit.Votes == nil {
		return nil, fmt.Errorf("%w: from height %d to height %d more transitions are needed", header.ErrNotConnected, t.At.Height, s.Header.Height)
	}
	b := new(cityid.LightBlock)
	var err error
	if b.Header, err = header.EncodeStripped(s.Header, withAppHash); err != nil {
		return nil, err
	}
	if b.Commit, err = commit.MarshalBinary(); err != nil {
		return nil, err
	}
	if t.Set == nil || s.Header.ValidatorsHash != t.Set.Hash() {
		b.Validators, err = s.Validators.MarshalBinary()
	}
	return b, err
}

// Transitions returns the headers that lead from a trust root to a head at which
// the validators may have changed since, by bisection. load returns a header of
// the chain in between by its height, with all its votes. The result is empty if
// head connects directly, as it does as long as enough of the validators stay, and
// none of it can be left out. known are headers of the chain that lead part of the
// way, by ascending height: load is asked only about what comes after them.
// Errors are those of load, or wrap [header.ErrNotConnected] if head does not
// follow at all.
func Transitions(trust *cityid.Trust, head SignedHeader, load func(height int64) (SignedHeader, error), known ...SignedHeader) ([]SignedHeader, error) {
	return (&Way{Trust: trust, Head: head}).Bisect(load, known...)
}

// Bisect returns the transitions of the way, as [Transitions] does: from where
// it begins, be that a trust root or a checkpoint, to its head.
func (w *Way) Bisect(load func(height int64) (SignedHeader, error), known ...SignedHeader) ([]SignedHeader, error) {
	_, start, _, err := w.from()
	if err != nil {
		return nil, err
	}
	if w.Point != nil {
		start.Set = w.Point.Next
	}
	head := w.Head
	t, low := start, start.At.Height // low is the highest height known to follow
	var found []SignedHeader
	for i := range known {
		if k := &known[i]; k.Header.Height > low && k.Header.Height < head.Header.Height && votesOf(&t, k) != nil {
			low = k.Header.Height
			if advance(&t, k) {
				found = append(found, *k)
			}
		}
	}
	for goals := []SignedHeader{head}; len(goals) > 0; {
		goal := &goals[len(goals)-1]
		if votesOf(&t, goal) != nil {
			low = goal.Header.Height
			if len(goals) > 1 && advance(&t, goal) {
				found = append(found, *goal)
			}
			goals = goals[:len(goals)-1]
			continue
		}
		if goal.Header.Height <= low+1 {
			return nil, fmt.Errorf("%w: header %d does not follow from height %d", header.ErrNotConnected, goal.Header.Height, low)
		}
		mid, err := load(low + (goal.Header.Height-low)/2)
		if err != nil {
			return nil, err
		}
		goals = append(goals, mid)
	}
	for i := 0; i < len(found); {
		if less := slices.Delete(slices.Clone(found), i, i+1); leads(start, less, &head) {
			found = less
		} else {
			i++
		}
	}
	return found, nil
}

// leads reports whether the transitions lead to a head, as far as the votes go
// by number.
func leads(t header.Trusted, transitions []SignedHeader, head *SignedHeader) bool {
	for i := range transitions {
		if votesOf(&t, &transitions[i]) == nil || !advance(&t, &transitions[i]) {
			return false
		}
	}
	return votesOf(&t, head) != nil
}
