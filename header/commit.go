// SPDX-License-Identifier: Apache-2.0

package header

import (
	"time"
)

// VerifyFunc reports whether sig (64 bytes) is the Ed25519 signature of msg by the
// key pub (32 bytes), under the rules of ZIP 215, which CometBFT follows. Another
// rule would let verifiers disagree with validators on contrived signatures. It
// must not keep or change its arguments.
type VerifyFunc func(pub, msg, sig []byte) bool

// Vote is one validator's signature for a block.
type Vote struct {
	Index     uint      // of the validator in its set
	Time      time.Time // the validator's, exact to the nanosecond; part of what it signs
	Signature [64]byte
}

// Commit is the proof that validators agreed on a header: the votes that are
// needed for it, and what they sign besides the header.
type Commit struct {
	Round      int32  // of the votes, from 0
	PartsTotal uint32 // of the block, 1 to MaxParts
	PartsHash  Hash   // of the block
	Votes      []Vote // for the block, by ascending index
}

// Check reports whether the fields of c keep to their ranges and the votes, one
// at least, to their order. It verifies no signature. The error wraps [ErrInvalid].
func (c *Commit) Check() error {
	if c.Round < 0 {
		return invalid("commit is of round %d", c.Round)
	}
	if err := checkParts(c.PartsTotal); err != nil {
		return err
	}
	if len(c.Votes) == 0 {
		return invalid("commit has no votes")
	}
	for i, v := range c.Votes {
		if v.Index >= MaxValidators {
			return invalid("vote %d is of validator %d, beyond the limit of %d", i, v.Index, MaxValidators)
		}
		if i > 0 && v.Index <= c.Votes[i-1].Index {
			return invalid("vote %d, of validator %d, is out of order", i, v.Index)
		}
		if !validTime(v.Time) {
			return invalid("vote %d has a time outside the years 1 to 9999", i)
		}
	}
	return nil
}

// SignBytes returns the message that a validator signs who votes at time t in c
// for the block with the given hash, the height and chain id being its header's.
func (c *Commit) SignBytes(chainID string, height int64, block Hash, t time.Time) []byte {
	id := BlockID{Hash: block, PartsTotal: c.PartsTotal, PartsHash: c.PartsHash}
	return protoVote(chainID, height, c.Round, id, t)
}

// VerifyCommit reports whether vals is the set of validators that h names and more
// than two thirds of its power signed h in c. Every vote in c is verified, and c
// must be minimal (see the package comment). It does not tell whether vals are to
// be trusted. The error wraps [ErrInvalid].
func VerifyCommit(chainID string, vals Validators, h *Header, c *Commit, verify VerifyFunc) error {
	_, err := verifyCommit(chainID, nil, vals, h, c, verify)
	return err
}

// verifyCommit is VerifyCommit, except that votes of validators in trusted may go
// on until these exceed one third of its power. It reports whether they do.
func verifyCommit(chainID string, trusted, vals Validators, h *Header, c *Commit, verify VerifyFunc) (connected bool, err error) {
	if h == nil || c == nil {
		return false, invalid("header or commit is missing")
	}
	if err := h.Check(); err != nil {
		return false, err
	}
	if h.ChainID != chainID {
		return false, invalid("header is of chain %q, not %q", h.ChainID, chainID)
	}
	if err := vals.Check(); err != nil {
		return false, err
	}
	if got := vals.Hash(); got != h.ValidatorsHash {
		return false, invalid("validators have the hash %s, but the header names %s", got, h.ValidatorsHash)
	}
	if err := c.Check(); err != nil {
		return false, err
	}

	t := newTally(vals, trusted)
	for i, v := range c.Votes {
		if v.Index >= uint(len(vals)) {
			return false, invalid("vote %d is of validator %d, but there are %d", i, v.Index, len(vals))
		}
		if !t.take(vals[v.Index]) {
			return false, invalid("vote %d, of validator %d, is superfluous", i, v.Index)
		}
	}
	if !t.enough() {
		return false, invalid("header is signed by a power of %d of %d, not more than two thirds", t.power, t.total)
	}

	block := h.Hash()
	for _, v := range c.Votes {
		key := vals[v.Index].PublicKey
		msg := c.SignBytes(chainID, h.Height, block, v.Time)
		if !verify(key[:], msg, v.Signature[:]) {
			return false, invalid("wrong signature of validator %d at height %d", v.Index, h.Height)
		}
	}
	return t.connected(), nil
}

// Minimal returns the votes among the given ones, all for the block and by
// ascending index, that belong in a commit by vals, or nil if they do not suffice
// or do not fit vals. It takes the signatures on trust.
func Minimal(vals Validators, votes []Vote) []Vote {
	return MinimalSkipping(nil, vals, votes)
}

// MinimalSkipping is [Minimal] for a commit that [VerifySkipping] is to accept with
// trustedNext. It returns nil as well if the voters do not hold more than one third
// of the power of trustedNext.
func MinimalSkipping(trustedNext, vals Validators, votes []Vote) []Vote {
	if vals.Check() != nil || len(trustedNext) > 0 && trustedNext.Check() != nil {
		return nil
	}
	var taken []Vote
	t := newTally(vals, trustedNext)
	for i, v := range votes {
		if v.Index >= uint(len(vals)) || i > 0 && v.Index <= votes[i-1].Index {
			return nil
		}
		if t.take(vals[v.Index]) {
			taken = append(taken, v)
		}
	}
	if !t.enough() || !t.connected() {
		return nil
	}
	return taken
}

// tally is the walk over votes in index order that defines a minimal commit. The
// sets it is made from have passed Check, so that no sum overflows.
type tally struct {
	power, total int64 // of the header's own validators: taken, and all

	// Of the trusted validators likewise; the map is empty without any.
	trusted                    map[[32]byte]int64
	trustedPower, trustedTotal int64
}

func newTally(vals, trusted Validators) *tally {
	t := &tally{
		total:        vals.Total(),
		trusted:      make(map[[32]byte]int64, len(trusted)),
		trustedTotal: trusted.Total(),
	}
	for _, v := range trusted {
		t.trusted[v.PublicKey] = v.Power
	}
	return t
}

// take counts the vote of v if it is still needed, and reports whether it was.
func (t *tally) take(v Validator) bool {
	known := t.trusted[v.PublicKey]
	if t.enough() && (known == 0 || t.connected()) {
		return false
	}
	t.power += v.Power
	t.trustedPower += known
	return true
}

func (t *tally) enough() bool { return 3*t.power > 2*t.total }

func (t *tally) connected() bool {
	return len(t.trusted) == 0 || 3*t.trustedPower > t.trustedTotal
}
