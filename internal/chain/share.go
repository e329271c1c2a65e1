// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"encoding/hex"

	"cityid"
)

// Limits of pages about shared data.
const (
	maxAgreements = 200
	maxAnchors    = 1000
	maxScanned    = 20_000 // agreements looked at for one page
)

// Agreement returns the agreement with an id; [cityid.ErrNotFound] if there is
// none.
func (l *Local) Agreement(_ context.Context, id cityid.Digest) (_ *cityid.AgreementAnswer, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	a, err := agreementOf(reader{v}, id)
	if err != nil {
		return nil, err
	}
	return answerOf(id, a, l.asOf(h)), nil
}

func agreementOf(r reader, id cityid.Digest) (*cityid.Agreement, error) {
	raw := r.Get(cityid.AgreedKey(id))
	if raw == nil {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no agreement %s", id)
	}
	var dataset cityid.Code
	a := new(cityid.Agreement)
	err := cityid.UnmarshalTrusted(raw, &dataset)
	if err == nil {
		err = cityid.UnmarshalTrusted(r.Get(cityid.AgreementKey(dataset, id)), a)
	}
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrInternal, "agreement %s: %v", id, err)
	}
	return a, nil
}

func answerOf(id cityid.Digest, a *cityid.Agreement, at cityid.AsOf) *cityid.AgreementAnswer {
	now := cityid.TimeOf(at.Time)
	return &cityid.AgreementAnswer{ID: id, Agreement: *a, State: a.StateAt(now), InForce: a.InForce(now), AsOf: at}
}

// Agreements returns a page of the agreements about a dataset or of a consumer,
// in order of code and id. A page may be shorter than asked for and name a next
// one: it looks at 20,000 agreements at most.
func (l *Local) Agreements(_ context.Context, q cityid.AgreementQuery) (_ *cityid.AgreementPage, err error) {
	defer l.app.guardRead(&err)
	ranges := cityid.AgreementRanges(q.Dataset, true)
	if q.Dataset.IsZero() {
		ranges = cityid.ConsumerRanges(q.Consumer, true)
	}
	after, err := hex.DecodeString(q.After)
	switch {
	case q.Dataset.IsZero() == q.Consumer.IsZero():
		return nil, cityid.Errorf(cityid.ErrInvalid, "ask for the agreements about a dataset, or for those of a consumer")
	case q.Limit < 1 || q.Limit > maxAgreements:
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxAgreements)
	case err != nil || len(after) > 255 || len(after) > 0 && after[0] != ranges[0][0][0]:
		return nil, cityid.Errorf(cityid.ErrMalformed, "cursor %.40q is none of this list", q.After)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r, page := reader{v}, &cityid.AgreementPage{Agreements: []cityid.AgreementAnswer{}, AsOf: l.asOf(h)}
	scanned, last := 0, []byte(nil)
	for _, x := range ranges {
		lo, hi := x[0], x[1]
		if bytes.Compare(after, lo) >= 0 {
			lo = append(bytes.Clone(after), 0)
		}
		if bytes.Compare(lo, hi) >= 0 || page.Next != "" {
			continue
		}
		r.Scan(lo, hi, func(key, _ []byte) bool {
			if len(page.Agreements) == q.Limit || scanned == maxScanned {
				page.Next = hex.EncodeToString(last)
				return false
			}
			scanned, last = scanned+1, bytes.Clone(key)
			id := cityid.Digest(key[len(key)-33 : len(key)-1])
			var a *cityid.Agreement
			if a, err = agreementOf(r, id); err != nil {
				return false
			}
			if answer := answerOf(id, a, page.AsOf); q.State == 0 || answer.State == q.State {
				page.Agreements = append(page.Agreements, *answer)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

// Anchors returns which receipt logs a party has, or part of one log's anchors.
func (l *Local) Anchors(_ context.Context, q cityid.AnchorQuery) (_ *cityid.AnchorPage, err error) {
	defer l.app.guardRead(&err)
	switch {
	case q.Party.IsZero():
		return nil, cityid.Errorf(cityid.ErrInvalid, "anchors are asked for by party")
	case q.Limit < 1 || q.Limit > maxAnchors:
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxAnchors)
	case q.Log != "" && !cityid.ValidLogName(q.Log):
		return nil, cityid.Errorf(cityid.ErrMalformed, "log name %.40q: want 1 to %d lower-case letters, digits and hyphens", q.Log, cityid.MaxLogName)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r, page := reader{v}, &cityid.AnchorPage{AsOf: l.asOf(h)}
	if q.Log == "" {
		lo, hi := cityid.AnchorHeadRange(q.Party)
		r.Scan(lo, hi, func(key, raw []byte) bool {
			var head cityid.AnchorHead
			if err = cityid.UnmarshalTrusted(raw, &head); err != nil || len(page.Logs) == q.Limit {
				return false
			}
			page.Logs = append(page.Logs, cityid.LogHead{Log: string(key[len(lo) : len(key)-1]), Sequence: head.Sequence, Root: head.Root})
			return true
		})
	} else {
		_, hi := cityid.AnchorRange(q.Party, q.Log)
		r.Scan(cityid.AnchorKey(q.Party, q.Log, q.After+1), hi, func(_, raw []byte) bool {
			if len(page.Anchors) == q.Limit {
				page.Next = page.Anchors[q.Limit-1].Sequence
				return false
			}
			var a cityid.Anchor
			if err = cityid.UnmarshalTrusted(raw, &a); err != nil {
				return false
			}
			page.Anchors = append(page.Anchors, a)
			return true
		})
	}
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrInternal, "anchors of %s: %v", q.Party, err)
	}
	return page, nil
}
