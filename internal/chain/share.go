// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"encoding/hex"
	"math"

	"cityid"
)

// Limits of pages about shared data.
const (
	maxAgreements = 200
	maxAnchors    = 1000
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
	r := reader{v}
	dataset := r.Get(cityid.AgreedKey(id))
	if dataset == nil {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no agreement %s", id)
	}
	a, err := agreementAt(r, dataset, id)
	if err != nil {
		return nil, err
	}
	return answerOf(id, a, l.asOf(h)), nil
}

// agreementAt returns an agreement whose dataset is encoded as given.
func agreementAt(r reader, dataset []byte, id cityid.Digest) (*cityid.Agreement, error) {
	var code cityid.Code
	a := new(cityid.Agreement)
	err := cityid.UnmarshalTrusted(dataset, &code)
	if err == nil {
		err = cityid.UnmarshalTrusted(r.Get(cityid.AgreementKey(code, id)), a)
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
	switch {
	case q.Dataset.IsZero() == q.Consumer.IsZero():
		return nil, cityid.Errorf(cityid.ErrInvalid, "ask for the agreements about a dataset, or for those of a consumer")
	case q.Limit < 1 || q.Limit > maxAgreements:
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxAgreements)
	}
	ranges := cityid.AgreementRanges(q.Dataset, true)
	if q.Dataset.IsZero() {
		ranges = cityid.ConsumerRanges(q.Consumer, true)
	}
	after, err := parseCursor(q.After, ranges)
	if err != nil {
		return nil, err
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	p := &agreementPage{r: reader{v}, q: q, page: &cityid.AgreementPage{Agreements: []cityid.AgreementAnswer{}, AsOf: l.asOf(h)}}
	for _, x := range ranges {
		lo, hi := x[0], x[1]
		if bytes.Compare(after, lo) >= 0 {
			lo = append(bytes.Clone(after), 0)
		}
		if bytes.Compare(lo, hi) < 0 && p.page.Next == "" && p.err == nil {
			p.r.Scan(lo, hi, p.look)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.page, nil
}

// parseCursor returns the key after which a page begins, which stands in one of
// the ranges; nil for the first page.
func parseCursor(text string, ranges [][2][]byte) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	key, err := hex.DecodeString(text)
	if err == nil {
		for _, x := range ranges {
			if bytes.Compare(key, x[0]) >= 0 && bytes.Compare(key, x[1]) < 0 {
				return key, nil
			}
		}
	}
	return nil, cityid.Errorf(cityid.ErrMalformed, "cursor %.40q is none of this list: begin with the first page", text)
}

// agreementPage is a page of agreements in the making.
type agreementPage struct {
	r      reader
	q      cityid.AgreementQuery
	page   *cityid.AgreementPage
	looked int
	last   []byte // the key looked at last
	err    error
}

// look adds the agreement at a key, and reports whether to go on.
func (p *agreementPage) look(key, raw []byte) bool {
	if len(p.page.Agreements) == p.q.Limit || p.looked == maxLooked {
		p.page.Next = hex.EncodeToString(p.last)
		return false
	}
	p.looked, p.last = p.looked+1, bytes.Clone(key)
	id := cityid.Digest(key[len(key)-33 : len(key)-1])
	a := new(cityid.Agreement)
	if p.q.Dataset.IsZero() {
		a, p.err = agreementAt(p.r, raw, id)
	} else if err := cityid.UnmarshalTrusted(raw, a); err != nil {
		p.err = cityid.Errorf(cityid.ErrInternal, "agreement %s: %v", id, err)
	}
	if p.err != nil {
		return false
	}
	if answer := answerOf(id, a, p.page.AsOf); p.q.State == 0 || answer.State == p.q.State {
		p.page.Agreements = append(p.page.Agreements, *answer)
	}
	return true
}

// Anchors returns which receipt logs a party has, or part of one log's anchors.
func (l *Local) Anchors(_ context.Context, q cityid.AnchorQuery) (_ *cityid.AnchorPage, err error) {
	defer l.app.guardRead(&err)
	switch {
	case q.Party.IsZero():
		return nil, cityid.Errorf(cityid.ErrInvalid, "anchors are asked for by party")
	case q.Limit < 1 || q.Limit > maxAnchors:
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxAnchors)
	case q.Log != "" && !cityid.ValidLogName(q.Log) || q.AfterLog != "" && !cityid.ValidLogName(q.AfterLog):
		return nil, cityid.Errorf(cityid.ErrMalformed, "log name %.40q: want 1 to %d lower-case letters, digits and hyphens", q.Log+q.AfterLog, cityid.MaxLogName)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	page := &cityid.AnchorPage{AsOf: l.asOf(h)}
	if q.Log == "" {
		err = receiptLogs(reader{v}, q, page)
	} else {
		err = anchorsOf(reader{v}, q, page)
	}
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrInternal, "anchors of %s: %v", q.Party, err)
	}
	return page, nil
}

// receiptLogs adds the logs of a party.
func receiptLogs(r reader, q cityid.AnchorQuery, page *cityid.AnchorPage) (err error) {
	lo, hi := cityid.AnchorHeadRange(q.Party)
	from := lo
	if q.AfterLog != "" {
		from = append(cityid.AnchorHeadKey(q.Party, q.AfterLog), 0)
	}
	r.Scan(from, hi, func(key, raw []byte) bool {
		if len(page.Logs) == q.Limit {
			page.NextLog = page.Logs[q.Limit-1].Log
			return false
		}
		var head cityid.AnchorHead
		if err = cityid.UnmarshalTrusted(raw, &head); err != nil {
			return false
		}
		page.Logs = append(page.Logs, cityid.LogHead{Log: string(key[len(lo) : len(key)-1]), Sequence: head.Sequence, Root: head.Root})
		return true
	})
	return err
}

// anchorsOf adds the anchors of a log.
func anchorsOf(r reader, q cityid.AnchorQuery, page *cityid.AnchorPage) (err error) {
	if q.After == math.MaxUint64 {
		return nil
	}
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
	return err
}
