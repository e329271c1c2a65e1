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
	step := c.step
	head, f := readStripped(step.Head.Header, false)
	if f != nil {
		return "", f
	}
	head.ChainID = c.from.chain
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
	c.res.Zones[c.number].AsOf = c.res.AsOf
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
	if height == c.from.height && cityid.Digest(hash) != c.from.header {
		return invalid(ReasonFork, "header %d is %s, but %s names %s", height, hash, c.from.name(), c.from.header)
	}
	c.header, c.head.AppHash, c.logRoot = h, header.Hash(root), cityid.Digest(logRoot)
	return nil
}

// checkConnection checks that head's validators signed it and that they are the
// chain's, by what the step leads on from.
func (c *checker) checkConnection() (string, *finding) {
	step, t := c.step, c.from.trusted
	if c.head.Height <= t.At.Height {
		return c.checkBelow()
	}
	if f := c.readValidators(&t); f != nil {
		return "", f
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
			h.ChainID = c.from.chain
		}
		if h.Height <= t.At.Height {
			return "", invalid(ReasonMalformed, "transitions: header %d comes after header %d", h.Height, t.At.Height)
		}
		var f *finding
		if signed, f = readSigned(h, block, t.Set); f != nil {
			return "", f
		}
		if i == 0 && len(step.Validators) > 0 && h.ValidatorsHash == t.At.NextValidatorsHash {
			return "", invalid(ReasonMalformed, "validators of the checkpoint: the first header is signed by these, and names them itself")
		}
		// Beyond a gap nothing is connected, but it may still be wrong.
		if err := verifyFrom(&t, signed); err != nil {
			if f := signatures(err); f.verdict == Invalid {
				return "", f
			} else if gap == nil {
				gap = f
			}
		}
		if h != c.head && !advance(&t, signed) {
			return "", invalid(ReasonMalformed, "transition: header %d names no other validators than the one before", h.Height)
		}
	}
	if gap != nil {
		return "", gap
	}
	return fmt.Sprintf("%d validators signed header %d, %d transitions from %s", len(signed.Commit.Votes), c.head.Height, len(step.Transitions), c.from.name()), nil
}

// readValidators fills in the validators that a checkpoint names by their hash,
// if the step gives them.
func (c *checker) readValidators(t *header.Trusted) *finding {
	if len(c.step.Validators) == 0 {
		return nil
	}
	var vals header.Validators
	if err := vals.UnmarshalBinary(c.step.Validators); err != nil {
		return invalid(ReasonMalformed, "validators of the checkpoint: %v", err)
	}
	if vals.Hash() != t.At.NextValidatorsHash {
		return invalid(ReasonMalformed, "validators of the checkpoint: their hash is %s, and the checkpoint names %s", vals.Hash(), t.At.NextValidatorsHash)
	}
	t.Set = vals
	return nil
}

// checkBelow is checkConnection for a head at the height of what the step leads
// on from, or below.
func (c *checker) checkBelow() (string, *finding) {
	step, a := c.step, &c.from
	if len(step.Transitions) > 0 || len(step.Validators) > 0 {
		return "", invalid(ReasonMalformed, "transitions lead nowhere: the head, at height %d, is not above %s", c.head.Height, a.name())
	}
	signed, f := readSigned(c.head, &step.Head, a.trusted.Set)
	if f != nil {
		return "", f
	}
	if err := header.VerifyCommit(a.chain, signed.Validators, c.head, signed.Commit, keys.VerifyEd25519); err != nil {
		return "", signatures(err)
	}
	hash, gap := c.head.Hash(), a.time.Std().Sub(c.head.Time)
	switch {
	case uint64(c.head.Height) == a.height && cityid.Digest(hash) != a.header:
		return "", invalid(ReasonFork, "header %d is %s, but %s names %s", c.head.Height, hash, a.name(), a.header)
	case uint64(c.head.Height) == a.height:
		return "header " + hash.String() + " is the one that " + a.name() + " names", nil
	case gap <= -time.Second: // the time named is cut to the second
		return "", invalid(ReasonFork, "header %d is later than %s, of height %d", c.head.Height, a.name(), a.height)
	case a.point != nil:
		return "", undecided(ReasonNotConnected, "header %d is older than %s: ask again for an answer that leads on from it", c.head.Height, a.name())
	case c.head.ValidatorsHash != a.trusted.At.NextValidatorsHash || gap > c.opts.TrustingPeriod:
		return "", undecided(ReasonNotConnected, "header %d is older than the trust root and not signed by the validators it names, or too long before: ask for a bundle with a block log link", c.head.Height)
	}
	return fmt.Sprintf("%d of the trust root's validators signed header %d, before it", len(signed.Commit.Votes), c.head.Height), nil
}

// checkDescent checks that head goes on from the checkpoint: that its block log
// holds the checkpoint's header or, while no transaction followed that, is still
// the checkpoint's own. Signatures can not show it: a zone that was restored
// from an old copy signs with the same keys.
func (c *checker) checkDescent() (string, *finding) {
	d, p, height := c.step.Descent, c.from.point, uint64(c.head.Height)
	if height <= p.Height {
		if d != nil {
			return "", invalid(ReasonMalformed, "descent: header %d is not above the checkpoint", height)
		}
		return "not above the checkpoint", nil
	}
	if d == nil {
		return "", invalid(ReasonMalformed, "descent: nothing shows that header %d goes on from the checkpoint", height)
	}
	log, f := c.logOf(d)
	if f != nil {
		return "", f
	}
	if log.Size > 0 && (log.First < 1 || height-1 < log.First || log.Size > height-log.First) {
		return "", invalid(ReasonProof, "descent: a block log of %d from height %d can not stand in the state before height %d", log.Size, log.First, height)
	}
	detail, f := logDescends(&log, d, p)
	if f != nil {
		return "", f
	}
	if c.step.Log != nil {
		// The block log of head was shown already, by another of its leaves.
		if log.Root != c.logRoot {
			return "", invalid(ReasonDescent, "the block log of header %d does not hold the header of the checkpoint", height)
		}
		return detail, nil
	}
	var proof merkle.Proof
	if err := proof.UnmarshalBinary(d.Proof); err != nil {
		return "", invalid(ReasonMalformed, "block log proof: %v", err)
	}
	var root merkle.Hash
	var err error
	if log.Size == 0 {
		root, err = proof.RootAbsent(cityid.BlockLogKey)
	} else {
		root, err = proof.Root(cityid.BlockLogKey, merkle.ValueHash(cityid.MustMarshal(&log)))
	}
	if err != nil {
		return "", invalid(ReasonProof, "block log proof: %v", err)
	}
	if header.Hash(root) != c.head.AppHash {
		return "", invalid(ReasonDescent, "header %d does not go on from the checkpoint at height %d", height, p.Height)
	}
	return detail, nil
}

// logOf returns the block log of head as far as the step gives it: all but the
// root, which follows from the checkpoint.
func (c *checker) logOf(d *cityid.LogDescent) (log cityid.BlockLog, f *finding) {
	if l := c.step.Log; l != nil {
		if d.First != 0 || d.Size != 0 || len(d.Proof) > 0 {
			return log, invalid(ReasonMalformed, "descent: the block log is given twice")
		}
		return cityid.BlockLog{First: l.First, Size: l.Size}, nil
	}
	if (d.First == 0) != (d.Size == 0) {
		return log, invalid(ReasonMalformed, "descent: a block log has a first height and a size, or neither")
	}
	return cityid.BlockLog{First: d.First, Size: d.Size}, nil
}

// logDescends completes the root of a block log that goes on from a checkpoint.
func logDescends(log *cityid.BlockLog, d *cityid.LogDescent, p *cityid.Checkpoint) (string, *finding) {
	switch covered := log.Size > 0 && p.Height >= log.First && p.Height-log.First < log.Size; {
	case covered:
		var path merkle.LogProof
		if err := path.UnmarshalBinary(d.Path); err != nil {
			return "", invalid(ReasonMalformed, "block log path: %v", err)
		}
		root, err := merkle.InclusionRoot(p.Height-log.First, log.Size, merkle.LogLeafHash(p.Header[:]), path)
		if err != nil {
			return "", invalid(ReasonProof, "block log path: %v", err)
		}
		log.Root = cityid.Digest(root)
		if !d.Root.IsZero() {
			return "", invalid(ReasonMalformed, "descent: the root of the block log follows from the path")
		}
		return fmt.Sprintf("the block log holds the checkpoint's header, of height %d", p.Height), nil
	case len(d.Path) > 0:
		return "", invalid(ReasonMalformed, "descent: the block log does not reach the height of the checkpoint")
	case p.Height == 0 && log.Size > 0:
		if log.First != 1 || d.Root.IsZero() {
			return "", invalid(ReasonMalformed, "descent: from the genesis on, the root of the block log has to be given, and it begins with block 1")
		}
		log.Root = d.Root
		return "a block log from the genesis on", nil
	case !d.Root.IsZero():
		return "", invalid(ReasonMalformed, "descent: the root of the block log follows from the checkpoint")
	case log.First != p.Log.First || log.Size != p.Log.Size:
		return "", invalid(ReasonDescent, "the block log has %d blocks, which does not reach the checkpoint's header of height %d, and the checkpoint's own had %d", log.Size, p.Height, p.Log.Size)
	}
	log.Root = p.Log.Root
	return "no transaction since the checkpoint", nil
}

// readSigned decodes the validators and commit of a light block whose header h
// is, and sets h's validators hash. set is what stands for validators left out.
func readSigned(h *header.Header, b *cityid.LightBlock, set header.Validators) (*SignedHeader, *finding) {
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
