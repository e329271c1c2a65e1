// SPDX-License-Identifier: Apache-2.0

package header

// Trusted is how far trust reaches on the way along a chain: from a header that
// is trusted, over headers at which the validators changed, to a head. It is for
// prover and checker alike, and for one goroutine.
type Trusted struct {
	// At has the chain id, height, time and next validators hash of the header
	// trusted last.
	At Header
	// Set are the validators that header names as the next; nil if only their
	// hash is known.
	Set Validators
}

// Next returns the set that counts as trusted for a header signed by vals, and
// whether there is one.
func (t *Trusted) Next(vals Validators) (Validators, bool) {
	if t.Set == nil && vals.Hash() == t.At.NextValidatorsHash {
		return vals, true
	}
	return t.Set, t.Set != nil
}

// Verify reports whether a header, its validators and their votes follow from
// the header trusted last, by [VerifySkipping]. The error wraps
// [ErrNotConnected] if they are sound and do not follow, else [ErrInvalid].
func (t *Trusted) Verify(h *Header, vals Validators, c *Commit, verify VerifyFunc) error {
	set, ok := t.Next(vals)
	if ok {
		return VerifySkipping(&t.At, set, h, vals, c, verify)
	}
	if err := VerifyCommit(t.At.ChainID, vals, h, c, verify); err != nil {
		return err
	}
	if err := follows(&t.At, h); err != nil {
		return err
	}
	return notConnected("header %d is signed by other validators than header %d names as the next", h.Height, t.At.Height)
}

// Advance trusts a header that [Trusted.Verify] accepted. It reports false if
// that was of no use, since the validators it names as the next were known as
// that before.
func (t *Trusted) Advance(h *Header, vals Validators) bool {
	if t.Set != nil && h.NextValidatorsHash == t.At.NextValidatorsHash {
		return false
	}
	t.At = Header{ChainID: t.At.ChainID, Height: h.Height, Time: h.Time, NextValidatorsHash: h.NextValidatorsHash}
	t.Set = nil
	if h.NextValidatorsHash == h.ValidatorsHash {
		t.Set = vals
	}
	return true
}

// Votes returns the votes, of all those for a header signed by vals, that lead
// on from what is trusted, or nil if they do not. For a header that is not above
// the one trusted last they are those that [VerifyCommit] takes.
func (t *Trusted) Votes(h *Header, vals Validators, votes []Vote) []Vote {
	if h.Height <= t.At.Height {
		return Minimal(vals, votes)
	}
	set, ok := t.Next(vals)
	if !ok || h.Height-1 == t.At.Height && h.ValidatorsHash != t.At.NextValidatorsHash {
		return nil
	}
	return MinimalSkipping(set, vals, votes)
}
