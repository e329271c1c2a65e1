// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/header"
	"cityid/keys"
	"cityid/merkle"
)

// SignedHeader is a header with the validators of its height and their votes.
type SignedHeader struct {
	Header     *header.Header
	Validators header.Validators
	Commit     *header.Commit
	// Priorities say, for each validator, how near its turn to propose is, as
	// whoever gives the header says: nothing signs it. None if it is not said.
	Priorities []int64
}

// trustedBy returns the start of the way: what a trust statement names. Its
// validators are vals. The first block has the genesis time itself, so that
// version 1 stands for the moment before.
func trustedBy(s *cityid.TrustStatement, vals header.Validators) header.Trusted {
	t := header.Trusted{
		At:  header.Header{ChainID: s.Chain, Height: int64(s.Height), Time: s.Time.Std(), NextValidatorsHash: vals.Hash()},
		Set: vals,
	}
	if s.Height == 0 {
		t.At.Time = t.At.Time.Add(-time.Nanosecond)
	}
	return t
}

// readHeaders decodes the answering header and head, and fills in what they
// leave out. c.head is head without its validators hash until connected.
func (c *checker) readHeaders() (string, *finding) {
	step := &c.b.Steps[0]
	head, f := readStripped(step.Head.Header, false)
	if f != nil {
		return "", f
	}
	head.ChainID = c.base.Statement.Chain
	c.head = head
	detail := fmt.Sprintf("height %d", head.Height)
	if step.Log == nil {
		head.AppHash = c.root
		c.header = head
	} else if f := c.readLog(step.Log); f != nil {
		return "", f
	} else {
		detail = fmt.Sprintf("height %d, which the block log at height %d contains", c.header.Height, head.Height)
	}
	c.res.AsOf = cityid.AsOf{Chain: head.ChainID, Height: uint64(c.header.Height) - 1, Time: c.header.Time}
	return detail, nil
}

func readStripped(data []byte, withAppHash bool) (*header.Header, *finding) {
	h, err := header.DecodeStripped(data)
	if err != nil {
		return nil, invalid(ReasonMalformed, "header: %v", err)
	}
	if h.AppHash.IsZero() == withAppHash {
		return nil, invalid(ReasonMalformed, "header %d: the app hash belongs in the header of a transition and in no other", h.Height)
	}
	return h, nil
}

// readLog decodes the answering header of a log link and sets the app hash of
// head to what follows from it.
func (c *checker) readLog(l *LogLink) *finding {
	h, f := readStripped(l.Header, false)
	if f != nil {
		return f
	}
	h.ChainID, h.ValidatorsHash, h.AppHash = c.head.ChainID, header.Hash(l.Validators), c.root
	if err := h.Check(); err != nil {
		return invalid(ReasonMalformed, "header: %v", err)
	}
	var path merkle.LogProof
	if err := path.UnmarshalBinary(l.Path); err != nil {
		return invalid(ReasonMalformed, "block log path: %v", err)
	}
	var proof merkle.Proof
	if err := proof.UnmarshalBinary(l.Proof); err != nil {
		return invalid(ReasonMalformed, "block log proof: %v", err)
	}
	height, before := uint64(h.Height), uint64(c.head.Height)-1
	if l.First < 1 || height < l.First || before < l.First || l.Size > before-l.First+1 {
		return invalid(ReasonProof, "a block log of %d from height %d in the state before height %d can not contain height %d", l.Size, l.First, c.head.Height, h.Height)
	}
	hash := h.Hash()
	logRoot, err := merkle.InclusionRoot(height-l.First, l.Size, merkle.LogLeafHash(hash[:]), path)
	if err != nil {
		return invalid(ReasonProof, "block log path: %v", err)
	}
	value := cityid.MustMarshal(&cityid.BlockLog{First: l.First, Size: l.Size, Root: cityid.Digest(logRoot)})
	root, err := proof.Root(cityid.BlockLogKey, merkle.ValueHash(value))
	if err != nil {
		return invalid(ReasonProof, "block log proof: %v", err)
	}
	if !h.Time.Before(c.head.Time) {
		return invalid(ReasonFork, "header %d is not earlier than header %d", h.Height, c.head.Height)
	}
	if s := &c.base.Statement; height == s.Height && cityid.Digest(hash) != s.Header {
		return invalid(ReasonFork, "header %d is %s, but the trust root names %s", height, hash, s.Header)
	}
	c.header, c.head.AppHash = h, header.Hash(root)
	return nil
}

// checkConnection checks that head's validators signed it and that they are the
// chain's, by the trust root.
func (c *checker) checkConnection() (string, *finding) {
	step, s := &c.b.Steps[0], &c.base.Statement
	t := trustedBy(s, c.vals)
	if c.head.Height <= t.At.Height {
		return c.checkBelow()
	}
	var gap *finding // the first place where the way breaks off
	var signed *SignedHeader
	for i := range len(step.Transitions) + 1 {
		h, block := c.head, &step.Head
		if i < len(step.Transitions) {
			block = &step.Transitions[i]
			var f *finding
			if h, f = readStripped(block.Header, true); f != nil {
				return "", f
			}
			h.ChainID = s.Chain
		}
		if h.Height <= t.At.Height {
			return "", invalid(ReasonMalformed, "transitions: header %d comes after header %d", h.Height, t.At.Height)
		}
		var f *finding
		if signed, f = readSigned(h, block, t.Set); f != nil {
			return "", f
		}
		// Beyond a gap nothing is connected, but it may still be wrong.
		if err := verifyFrom(&t, signed); err != nil {
			if f := signatures(err); f.verdict == Invalid {
				return "", f
			} else if gap == nil {
				gap = f
			}
		}
		if h != c.head && !t.Advance(signed.Header, signed.Validators) {
			return "", invalid(ReasonMalformed, "transition: header %d names no other validators than the one before", h.Height)
		}
	}
	if gap != nil {
		return "", gap
	}
	return fmt.Sprintf("%d validators signed header %d, %d transitions from the trust root", len(signed.Commit.Votes), c.head.Height, len(step.Transitions)), nil
}

// checkBelow is checkConnection for a head at the trust root's height or below.
func (c *checker) checkBelow() (string, *finding) {
	step, s := &c.b.Steps[0], &c.base.Statement
	if len(step.Transitions) > 0 {
		return "", invalid(ReasonMalformed, "transitions lead nowhere: the head, at height %d, is not above the trust root", c.head.Height)
	}
	signed, f := readSigned(c.head, &step.Head, c.vals)
	if f != nil {
		return "", f
	}
	if err := header.VerifyCommit(s.Chain, signed.Validators, c.head, signed.Commit, keys.VerifyEd25519); err != nil {
		return "", signatures(err)
	}
	hash, gap := c.head.Hash(), s.Time.Std().Sub(c.head.Time)
	switch {
	case uint64(c.head.Height) == s.Height && cityid.Digest(hash) != s.Header:
		return "", invalid(ReasonFork, "header %d is %s, but the trust root names %s", c.head.Height, hash, s.Header)
	case uint64(c.head.Height) == s.Height:
		return "header " + hash.String() + " is the trust root's own", nil
	case gap <= -time.Second: // the trust root's time is cut to the second
		return "", invalid(ReasonFork, "header %d is later than the trust root's header %d", c.head.Height, s.Height)
	case c.head.ValidatorsHash != c.vals.Hash() || gap > c.opts.TrustingPeriod:
		return "", undecided(ReasonNotConnected, "header %d is older than the trust root and not signed by the validators it names, or too long before: ask for a bundle with a block log link", c.head.Height)
	}
	return fmt.Sprintf("%d of the trust root's validators signed header %d, before it", len(signed.Commit.Votes), c.head.Height), nil
}

// readSigned decodes the validators and commit of a light block whose header h
// is, and sets h's validators hash. set is what stands for validators left out.
func readSigned(h *header.Header, b *LightBlock, set header.Validators) (*SignedHeader, *finding) {
	s := &SignedHeader{Header: h, Validators: set, Commit: new(header.Commit)}
	if len(b.Validators) > 0 {
		s.Validators = nil
		if err := s.Validators.UnmarshalBinary(b.Validators); err != nil {
			return nil, invalid(ReasonMalformed, "validators of header %d: %v", h.Height, err)
		}
	}
	h.ValidatorsHash = s.Validators.Hash()
	if len(s.Validators) == 0 || len(b.Validators) > 0 && set != nil && h.ValidatorsHash == set.Hash() {
		return nil, invalid(ReasonMalformed, "validators of header %d: they are given exactly if the header before does not give them", h.Height)
	}
	if err := s.Commit.UnmarshalBinary(b.Commit); err != nil {
		return nil, invalid(ReasonMalformed, "commit of header %d: %v", h.Height, err)
	}
	return s, nil
}

// signatures turns an error of package header into a finding.
func signatures(err error) *finding {
	if errors.Is(err, header.ErrNotConnected) {
		return undecided(ReasonNotConnected, "%v", err)
	}
	return invalid(ReasonSignature, "%s", strings.TrimPrefix(err.Error(), header.ErrInvalid.Error()+": "))
}
