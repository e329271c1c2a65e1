// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"fmt"

	"cityid"
)

// attestation checks one attestation by itself.
func attestation(key, raw []byte) string {
	var a cityid.Attestation
	if err := cityid.Unmarshal(raw, &a); err != nil {
		return err.Error()
	}
	if !bytes.Equal(key, cityid.AttestationKey(a.Source, a.Digest)) {
		return "the key is not that of the attestation"
	}
	if a.Key == "" || a.Leaves > cityid.MaxBatch || a.Until < a.From || a.Leaves == 0 && a.Until != 0 {
		return "nobody's, too many leaves, or impossible times"
	}
	return ""
}

// agreement checks one agreement, what finds it, and that it went through its
// states in order.
func (c *census) agreement(key, raw []byte) string {
	var a cityid.Agreement
	if err := cityid.Unmarshal(raw, &a); err != nil {
		return err.Error()
	}
	t, id := &a.Terms, a.Terms.ID()
	if err := t.Check(); err != nil {
		return err.Error()
	}
	if !bytes.Equal(key, cityid.AgreementKey(t.Dataset, id)) {
		return "the key is not that of the terms"
	}
	for _, k := range [][]byte{cityid.AgreedKey(id), cityid.ConsumerKey(t.Consumer, id)} {
		c.indexes++
		if !bytes.Equal(c.s.Get(k), cityid.MustMarshal(t.Dataset)) {
			return fmt.Sprintf("is not found by %q", k)
		}
	}
	if r := c.w.record(t.Dataset); r == nil || r.Kind != cityid.KindDataset {
		return "is about no dataset"
	}
	if r := c.w.record(t.Consumer); r == nil || !isParty(r.Kind) {
		return "is nobody's"
	}
	decided, ended := a.Decided.Height > 0, a.Ended.Height > 0
	switch a.State {
	case cityid.AgreementRequested:
		if decided || ended {
			return "is requested, yet decided or ended"
		}
		c.countDay(c.requests, cityid.RequestsKey(t.Consumer), t.Respond)
	case cityid.AgreementGranted, cityid.AgreementRefused:
		if !decided || ended {
			return "is decided nowhere, or ended"
		}
	case cityid.AgreementRevoked:
		if !ended || a.EndedBy.IsZero() || !decided && a.EndedBy != t.Consumer {
			return "is revoked by nobody, or taken back by the holder"
		}
	default:
		return "is written in a state that follows from the time"
	}
	if decided && (a.Decided.Time < a.Requested.Time || a.Decided.Time >= t.Respond) || ended && decided && a.Ended.Time < a.Decided.Time || ended != !a.EndedBy.IsZero() {
		return "went through its states in another order"
	}
	return ""
}

// anchor checks one anchor and, for the last of its log, the head.
func (c *census) anchor(key, raw []byte) string {
	var a cityid.Anchor
	if err := cityid.Unmarshal(raw, &a); err != nil {
		return err.Error()
	}
	if !bytes.Equal(key, cityid.AnchorKey(a.Party, a.Log, a.Sequence)) || a.Root.IsZero() || a.Bucket > cityid.MaxBucket || a.Key == "" {
		return "the key is not that of the anchor, or it has no root, no signer or an impossible size"
	}
	if c.w.record(a.Party) == nil {
		return "is nobody's"
	}
	if a.Sequence == 1 {
		if !a.Prev.IsZero() {
			return "the first of a log follows another"
		}
	} else {
		var before cityid.Anchor
		if !c.w.load(cityid.AnchorKey(a.Party, a.Log, a.Sequence-1), &before) || before.Root != a.Prev || before.Changed.Time > a.Changed.Time {
			return "does not follow the one before"
		}
	}
	if c.s.Get(cityid.AnchorKey(a.Party, a.Log, a.Sequence+1)) != nil {
		return ""
	}
	c.heads++
	var head cityid.AnchorHead
	if !c.w.load(cityid.AnchorHeadKey(a.Party, a.Log), &head) || head != (cityid.AnchorHead{Sequence: a.Sequence, Root: a.Root}) {
		return "is the last of its log, but not the head"
	}
	return ""
}
