// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

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

// complete adds the way, the proof and the values to a bundle that says what it
// answers.
func (w *Way) complete(b *Bundle, proof []byte, values [][]byte) (*Bundle, error) {
	step, err := w.step()
	if err != nil {
		return nil, err
	}
	step.Proof = proof
	b.Version, b.Versions, b.Steps = Version, w.carried(), []Step{*step}
	b.Trust = b.tag(w.latest().Statement.Hash())
	for _, v := range values {
		b.Values = append(b.Values, v)
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

func (w *Way) step() (*Step, error) {
	s := &w.latest().Statement
	vals, err := validatorsOf(s)
	if err != nil {
		return nil, err
	}
	t := trustedBy(s, vals)
	step := new(Step)
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
func lightBlock(t *header.Trusted, s *SignedHeader, withAppHash bool) (*LightBlock, error) {
	commit := *s.Commit
	if commit.Votes = votesOf(t, s); commit.Votes == nil {
		return nil, fmt.Errorf("%w: from height %d to height %d more transitions are needed", header.ErrNotConnected, t.At.Height, s.Header.Height)
	}
	b := new(LightBlock)
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
	vals, err := validatorsOf(&trust.Statement)
	if err != nil {
		return nil, err
	}
	start := trustedBy(&trust.Statement, vals)
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
