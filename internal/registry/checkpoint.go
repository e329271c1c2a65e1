// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"time"

	"cityid"
	"cityid/header"
	"cityid/keys"
	"cityid/merkle"
)

// What another chain did is believed on the signatures of its validators, by the
// rules of a light client, from a header on that was believed before. These rules
// show who signed, not that the chain was never rewritten below: so a checkpoint
// also shows that the block log in its state goes on from the one before and
// holds that one's header.

const (
	// quickSpacing is the least time, in seconds, between two checkpoints where the
	// validators changed in between.
	quickSpacing = 10
	// maxProven bounds the signed headers of other chains in a transaction: what the
	// longest report of a fork has.
	maxProven = 2 * (cityid.MaxDescentTransitions + 1)
)

// checkpoint takes over a later header of a delegated zone, from anybody.
func (w *work) checkpoint(op *cityid.PostCheckpoint) error {
	z, err := w.believed(op.Zone)
	if err != nil {
		return err
	}
	if z.Fork != nil {
		return cityid.Errorf(cityid.ErrStatus, "the zone of %s is frozen, for its validators signed two headers %d: the parent and the code unfreeze it", op.Zone, z.Fork.Height)
	}
	log, root, err := followLog(&z.Checkpoint, &op.Log, op.Consistency)
	if err != nil {
		return err
	}
	head, err := w.descend(z.Chain, &z.Checkpoint, &op.Descent, &root, func(h *header.Header) error {
		return w.checkPace(op.Zone, z, h)
	})
	if err != nil {
		return err
	}
	next := checkpointOf(head, *log)
	if err := next.Check(); err != nil {
		return err
	}
	z.Checkpoint, z.Accepted = next, w.here()
	w.set(cityid.ZoneKey(op.Zone), z)
	return nil
}

// believed returns what is known of a code's zone while the validators that its
// checkpoint names are still believed.
func (w *work) believed(code cityid.Code) (*cityid.Zone, error) {
	_, z, err := w.zoneOf(code)
	if err == nil && w.block.Time-z.Checkpoint.Time > trustingPeriod {
		return nil, cityid.Errorf(cityid.ErrExpired, "the last checkpoint of the zone of %s is of %s, more than 14 days ago, and who held its validators' keys then may have passed them on: the parent and the code anchor the zone again", code, z.Checkpoint.Time)
	}
	return z, err
}

// checkpointOf is the checkpoint that a header makes.
func checkpointOf(h *header.Header, log cityid.BlockLog) cityid.Checkpoint {
	return cityid.Checkpoint{
		Height: uint64(h.Height), Time: cityid.TimeOf(h.Time), Header: cityid.Digest(h.Hash()),
		Next: cityid.Digest(h.NextValidatorsHash), Validators: cityid.Digest(h.ValidatorsHash), Log: log,
	}
}

// checkPace refuses a head that is from the future, or comes too soon after the
// checkpoint before. Where the validators change it may come sooner.
func (w *work) checkPace(code cityid.Code, z *cityid.Zone, h *header.Header) error {
	if err := w.checkAhead(h); err != nil {
		return err
	}
	spacing := w.params.Spacing()
	if cityid.Digest(h.NextValidatorsHash) != z.Checkpoint.Next {
		spacing = min(spacing, quickSpacing)
	}
	if at := z.Accepted.Time + spacing; w.block.Time < at {
		return cityid.Errorf(cityid.ErrRetry, "the last checkpoint of the zone of %s was accepted at %s: the next one from %s on", code, z.Accepted.Time, at)
	}
	return nil
}

func (w *work) checkAhead(h *header.Header) error {
	if h.Ahead(cityid.ClockTolerance*time.Second+time.Nanosecond, w.block.Time.Std()) {
		return cityid.Errorf(cityid.ErrRetry, "header %d is of %s, more than %d seconds ahead of this zone's time %s: submit it again later, and look at the clocks of that chain's validators if this lasts", h.Height, cityid.TimeOf(h.Time), cityid.ClockTolerance, w.block.Time)
	}
	return nil
}

// followLog checks that the block log in the state of a head goes on from a
// checkpoint, and returns it with the root of that state: the head's app hash,
// if all this is so. Fields that could be left out are refused.
func followLog(last *cityid.Checkpoint, l *cityid.LogDescent, consistency []byte) (*cityid.BlockLog, merkle.Hash, error) {
	fail := func(format string, args ...any) (*cityid.BlockLog, merkle.Hash, error) {
		return nil, merkle.Hash{}, cityid.Errorf(cityid.ErrInvalid, "block log: "+format, args...)
	}
	var proof merkle.Proof
	if err := proof.UnmarshalBinary(l.Proof); err != nil {
		return fail("proof: %v", err)
	}
	log := cityid.BlockLog{First: l.First, Size: l.Size, Root: last.Log.Root}
	if (l.First == 0) != (l.Size == 0) || l.First > 1<<62 || l.Size > 1<<62 {
		return fail("%d leaves from height %d on are no log", l.Size, l.First)
	}
	founded := last.Height == 0 && l.Size > 0
	covers := last.Height > 0 && l.First > 0 && l.First <= last.Height && last.Height-l.First < l.Size
	switch {
	case founded != !l.Root.IsZero():
		return fail("its root stands there after a genesis, and nowhere else")
	case !covers && len(l.Path) > 0:
		return fail("there is no path to the header of height %d in a log of %d leaves from height %d on", last.Height, l.Size, l.First)
	case last.Log.Size > 0 && l.First != last.Log.First:
		return fail("it begins at height %d, that of the checkpoint at height %d", l.First, last.Log.First)
	case founded:
		log.Root = l.Root
	case covers:
		var path merkle.LogProof
		if err := path.UnmarshalBinary(l.Path); err != nil {
			return fail("path: %v", err)
		}
		leaf := merkle.LogLeafHash(last.Header[:])
		root, err := merkle.InclusionRoot(last.Height-l.First, l.Size, leaf, path)
		if err != nil {
			return fail("path to the checkpoint's header %d: %v", last.Height, err)
		}
		log.Root = cityid.Digest(root)
	case log != last.Log:
		return fail("%d leaves from height %d on neither contain the checkpoint's header %d nor are the log it has: a state was restored that is older, or another", l.Size, l.First, last.Height)
	}
	if err := checkConsistency(&last.Log, &log, consistency); err != nil {
		return fail("it does not go on from the log of %d leaves that the checkpoint has, so a state was restored that is older, or another: %s", last.Log.Size, because(err))
	}
	var root merkle.Hash
	var err error
	if log.Size == 0 {
		root, err = proof.RootAbsent(cityid.BlockLogKey)
	} else {
		root, err = proof.Root(cityid.BlockLogKey, merkle.ValueHash(cityid.MustMarshal(&log)))
	}
	if err != nil {
		return fail("proof: %v", err)
	}
	return &log, root, nil
}

// checkConsistency checks that a block log goes on from an older one.
func checkConsistency(old, log *cityid.BlockLog, consistency []byte) error {
	if old.Size == 0 || *old == *log {
		if len(consistency) > 0 {
			return cityid.Errorf(cityid.ErrInvalid, "nothing was added to it, so there is no proof of that")
		}
		return nil
	}
	var p merkle.LogProof
	if err := p.UnmarshalBinary(consistency); err != nil {
		return err
	}
	return merkle.CheckConsistency(old.Size, log.Size, merkle.Hash(old.Root), merkle.Hash(log.Root), p)
}

// descend follows a chain from a checkpoint to a head and returns that. root is
// the head's app hash where its encoding leaves it out, else nil. check looks at
// the head, whose validators are not known yet, before any signature is verified.
func (w *work) descend(chain string, from *cityid.Checkpoint, d *cityid.Descent, root *merkle.Hash, check func(*header.Header) error) (*header.Header, error) {
	if len(d.Transitions) > cityid.MaxDescentTransitions {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%d headers at which the validators changed: at most %d, so go in several steps", len(d.Transitions), cityid.MaxDescentTransitions)
	}
	if w.proven += 1 + len(d.Transitions); w.proven > maxProven {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the transaction has more than %d signed headers of other chains: split it", maxProven)
	}
	head, err := readHeader(chain, &d.Head, root)
	if err != nil {
		return nil, err
	}
	if err := check(head); err != nil {
		return nil, err
	}
	t, err := trustedSince(chain, from, d.Validators)
	if err != nil {
		return nil, err
	}
	for i := range d.Transitions {
		h, err := readHeader(chain, &d.Transitions[i], nil)
		if err != nil {
			return nil, err
		}
		if h.Height >= head.Height {
			return nil, cityid.Errorf(cityid.ErrInvalid, "header %d leads nowhere: the head is header %d", h.Height, head.Height)
		}
		vals, err := follows(t, h, &d.Transitions[i], i == 0)
		if err != nil {
			return nil, err
		}
		if !t.Advance(h, vals) {
			return nil, cityid.Errorf(cityid.ErrInvalid, "header %d is of no use: it names no other validators than the one before", h.Height)
		}
	}
	if _, err = follows(t, head, &d.Head, len(d.Transitions) == 0); err != nil && root != nil {
		return nil, cityid.Errorf(cityid.CodeOf(err), "%s (its app hash follows from the proof, which may be of another state)", because(err))
	}
	return head, err
}

// trustedSince is what a checkpoint has one trust. vals are the validators it
// names as the next, encoded; none where the first header that follows has them.
func trustedSince(chain string, from *cityid.Checkpoint, vals []byte) (*header.Trusted, error) {
	t := &header.Trusted{At: header.Header{ChainID: chain, Height: int64(from.Height), Time: from.Time.Std(), NextValidatorsHash: header.Hash(from.Next)}}
	if from.Height == 0 {
		// The first block has the genesis time itself.
		t.At.Time = t.At.Time.Add(-time.Nanosecond)
	}
	if len(vals) == 0 {
		return t, nil
	}
	if err := t.Set.UnmarshalBinary(vals); err != nil {
		return nil, cityid.Errorf(cityid.ErrInvalid, "validators of the checkpoint: %v", err)
	}
	if got := t.Set.Hash(); got != t.At.NextValidatorsHash {
		return nil, cityid.Errorf(cityid.ErrInvalid, "validators with the hash %s are given, but the checkpoint at height %d names %s", got, from.Height, from.Next)
	}
	return t, nil
}

// readHeader decodes the header of a light block, but for its validators hash.
func readHeader(chain string, b *cityid.LightBlock, root *merkle.Hash) (*header.Header, error) {
	h, err := header.DecodeStripped(b.Header)
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrInvalid, "header: %v", err)
	}
	if h.AppHash.IsZero() != (root != nil) {
		return nil, cityid.Errorf(cityid.ErrInvalid, "header %d: the app hash stands in the headers of a fork and where validators changed, and in no other", h.Height)
	}
	h.ChainID = chain
	if root != nil {
		h.AppHash = header.Hash(*root)
	}
	return h, nil
}

// follows verifies that a header follows from what is trusted, sets its
// validators hash and returns its validators. Those of the first header after a
// checkpoint stand with it if they are the ones the checkpoint names: without
// them, the checkpoint's would not be known.
func follows(t *header.Trusted, h *header.Header, b *cityid.LightBlock, first bool) (header.Validators, error) {
	vals, err := readValidators(t.Set, b)
	if err != nil {
		return nil, err
	}
	if first && len(b.Validators) == 0 {
		return nil, cityid.Errorf(cityid.ErrInvalid, "header %d has the validators that the checkpoint names: give them with it, and not apart", h.Height)
	}
	h.ValidatorsHash = vals.Hash()
	c := new(header.Commit)
	if err := c.UnmarshalBinary(b.Commit); err != nil {
		return nil, cityid.Errorf(cityid.ErrInvalid, "votes for header %d: %v", h.Height, err)
	}
	if err := t.Verify(h, vals, c, keys.VerifyEd25519); err != nil {
		return nil, cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	return vals, nil
}

// readValidators decodes the validators of a light block. set stands for those
// left out, and is not to be spelled out.
func readValidators(set header.Validators, b *cityid.LightBlock) (header.Validators, error) {
	if len(b.Validators) == 0 {
		if set == nil {
			return nil, cityid.Errorf(cityid.ErrInvalid, "the validators of a header are missing: none are known yet")
		}
		return set, nil
	}
	var vals header.Validators
	if err := vals.UnmarshalBinary(b.Validators); err != nil {
		return nil, cityid.Errorf(cityid.ErrInvalid, "validators: %v", err)
	}
	if set != nil && vals.Hash() == set.Hash() {
		return nil, cityid.Errorf(cityid.ErrInvalid, "validators are given that follow from the header before: leave them out")
	}
	return vals, nil
}

// reportFork freezes a zone whose validators signed two headers at one height,
// on the report of anybody.
func (w *work) reportFork(op *cityid.ReportFork) error {
	z, err := w.believed(op.Zone)
	if err != nil {
		return err
	}
	last := &z.Checkpoint
	if z.Fork != nil {
		return cityid.Errorf(cityid.ErrExists, "the zone of %s is frozen already, for two headers %d", op.Zone, z.Fork.Height)
	}
	var one, other cityid.Digest
	var height uint64
	if op.Other == nil {
		if one, err = w.contradiction(z, &op.One); err != nil {
			return err
		}
		height, other = last.Height, last.Header
	} else {
		above := func(h *header.Header) error {
			if uint64(h.Height) <= last.Height || height != 0 && uint64(h.Height) != height {
				return cityid.Errorf(cityid.ErrInvalid, "header %d: a fork is two headers of one height, above the last checkpoint at height %d", h.Height, last.Height)
			}
			height = uint64(h.Height)
			return nil
		}
		a, err := w.descend(z.Chain, last, &op.One, nil, above)
		if err != nil {
			return err
		}
		b, err := w.descend(z.Chain, last, op.Other, nil, above)
		if err != nil {
			return err
		}
		one, other = cityid.Digest(a.Hash()), cityid.Digest(b.Hash())
	}
	switch c := bytes.Compare(one[:], other[:]); {
	case c == 0:
		return cityid.Errorf(cityid.ErrInvalid, "both are the same header %d, %s: that is no fork", height, one)
	case c > 0:
		one, other = other, one
	}
	z.Fork = &cityid.Fork{Height: height, Headers: [2]cityid.Digest{one, other}, Reported: w.here()}
	w.set(cityid.ZoneKey(op.Zone), z)
	return nil
}

// contradiction returns the hash of a header at the checkpoint's own height, by
// the checkpoint's own validators.
func (w *work) contradiction(z *cityid.Zone, d *cityid.Descent) (cityid.Digest, error) {
	last := &z.Checkpoint
	h, err := readHeader(z.Chain, &d.Head, nil)
	if err != nil {
		return cityid.Digest{}, err
	}
	switch {
	case last.Height == 0 || uint64(h.Height) != last.Height:
		return cityid.Digest{}, cityid.Errorf(cityid.ErrInvalid, "header %d alone shows no fork: the last checkpoint is at height %d", h.Height, last.Height)
	case len(d.Validators) > 0 || len(d.Transitions) > 0:
		return cityid.Digest{}, cityid.Errorf(cityid.ErrInvalid, "a header at the height of the last checkpoint needs no other to lead there")
	}
	vals, err := readValidators(nil, &d.Head)
	if err != nil {
		return cityid.Digest{}, err
	}
	h.ValidatorsHash = vals.Hash()
	if cityid.Digest(h.ValidatorsHash) != last.Validators {
		return cityid.Digest{}, cityid.Errorf(cityid.ErrInvalid, "header %d is signed by the validators %s, but at the last checkpoint they were %s", h.Height, h.ValidatorsHash, last.Validators)
	}
	c := new(header.Commit)
	if err := c.UnmarshalBinary(d.Head.Commit); err != nil {
		return cityid.Digest{}, cityid.Errorf(cityid.ErrInvalid, "votes for header %d: %v", h.Height, err)
	}
	w.proven++
	if err := header.VerifyCommit(z.Chain, vals, h, c, keys.VerifyEd25519); err != nil {
		return cityid.Digest{}, cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	return cityid.Digest(h.Hash()), nil
}
