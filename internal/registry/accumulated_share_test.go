// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/binary"

	"cityid"
)

// dataset draws what a record may say about shared data.
func (s *storm) dataset() *cityid.Dataset {
	d := &cityid.Dataset{Class: cityid.DatasetClass(1 + s.IntN(3)), Document: cityid.Digest{byte(1 + s.IntN(2))}}
	if s.IntN(3) == 0 {
		d.Class = cityid.DatasetConditional
	}
	if s.IntN(30) == 0 {
		d.Document = cityid.Digest{}
	}
	return d
}

// onSharing draws an operation on agreements or receipts.
func (s *storm) onSharing(choice int) (op cityid.Operation, about cityid.Code) {
	switch choice {
	case 30, 31, 32:
		t := s.drawTerms()
		op.AgreementRequest = &cityid.AgreementRequest{Terms: t}
		return op, t.Consumer
	case 33, 34, 35, 36, 37:
		d, consumer := &cityid.AgreementDecision{Dataset: s.code(), Agreement: s.digest()}, s.code()
		if len(s.terms) > 0 && s.IntN(15) > 0 {
			t := pick(s.Rand, s.terms)
			d.Dataset, d.Agreement, consumer = t.Dataset, t.ID(), t.Consumer
		}
		switch choice {
		case 33, 34:
			op.AgreementGrant = d
		case 35:
			op.AgreementRefuse = d
		default:
			op.AgreementRevoke = d
			if s.IntN(2) == 0 {
				return op, consumer
			}
		}
		return op, d.Dataset
	}
	a := &cityid.AnchorReceipts{Party: s.code(), Log: pick(s.Rand, []string{"a", "b", "b-2"}), Root: s.digest(), Bucket: uint8(s.IntN(22))}
	var head cityid.AnchorHead
	s.view().load(cityid.AnchorHeadKey(a.Party, a.Log), &head)
	a.Sequence, a.Prev = head.Sequence+1, head.Root
	if s.IntN(20) == 0 {
		a.Sequence += uint64(s.IntN(2))
		a.Prev = s.digest()
	}
	op.AnchorReceipts = a
	return op, a.Party
}

// drawTerms are mostly such as the dataset's record allows.
func (s *storm) drawTerms() cityid.Terms {
	now := s.block.Time
	t := cityid.Terms{
		Dataset: s.code(), Consumer: s.code(), Document: s.digest(), Staleness: uint32(29 + s.IntN(60)), Purpose: s.digest(),
		From: now - 50 + cityid.Time(s.IntN(1000)), Respond: now - 5 + cityid.Time(s.IntN(2*day)),
	}
	t.Until = max(t.From, t.Respond) + cityid.Time(s.IntN(day))
	if len(s.sets) > 0 && s.IntN(15) > 0 {
		t.Dataset = pick(s.Rand, s.sets)
	}
	if r := s.view().record(t.Dataset); r != nil && r.Content.Dataset != nil && s.IntN(15) > 0 {
		t.Document, t.Policy = r.Content.Dataset.Document, r.Content.Dataset.Policy
	}
	binary.BigEndian.PutUint64(t.Nonce[:], s.Uint64())
	if len(s.terms) > 0 && s.IntN(30) == 0 {
		t = pick(s.Rand, s.terms)
	}
	return t
}
