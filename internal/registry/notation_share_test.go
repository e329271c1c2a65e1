// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"cityid"
)

// onSharing parses the operations on agreements and receipts.
func (n *notation) onSharing(verb string, o *options) (op cityid.Operation, err error) {
	switch verb {
	case "request":
		t, err := n.parseTerms(o)
		op.AgreementRequest = &cityid.AgreementRequest{Terms: t}
		return op, err
	case "anchor":
		op.AnchorReceipts, err = n.parseAnchor(o)
		return op, err
	}
	d := &cityid.AgreementDecision{Agreement: sha256.Sum256([]byte(o.word(0))), Note: o.value("note")}
	if t := n.terms[o.word(0)]; t != nil {
		d.Dataset, d.Agreement = t.Dataset, t.ID()
	}
	if c := o.value("dataset"); c != "" {
		d.Dataset = cityid.MustParse(c)
	}
	switch verb {
	case "grant":
		op.AgreementGrant = d
	case "refuse":
		op.AgreementRefuse = d
	default:
		op.AgreementRevoke = d
	}
	return op, nil
}

func (n *notation) parseTerms(o *options) (t cityid.Terms, err error) {
	name := o.value("as")
	if name == "" {
		return t, errors.New("want as=NAME")
	}
	t = cityid.Terms{
		Document: hashOption(o, "describes"), Policy: hashOption(o, "odrl"), Purpose: sha256.Sum256([]byte("purpose")),
		Staleness: uint32(o.number("staleness", 30)), Requests: o.number("requests", 0), Octets: o.number("octets", 0),
		From: n.block.Time, Until: n.block.Time + 365*day, Respond: n.block.Time + 10*day,
	}
	h := sha256.Sum256([]byte(name))
	copy(t.Nonce[:], h[:])
	var errs [5]error
	t.Dataset, errs[0] = cityid.ParseCanonical(o.word(0))
	t.Consumer, errs[1] = cityid.ParseCanonical(o.word(1))
	for i, x := range []struct {
		name string
		into *cityid.Time
	}{{"from", &t.From}, {"until", &t.Until}, {"respond", &t.Respond}} {
		if o.value(x.name) != "" {
			*x.into, errs[2+i] = sinceGenesis(o.value(x.name))
		}
	}
	if n.terms == nil {
		n.terms = map[string]*cityid.Terms{}
	}
	n.terms[name] = &t
	return t, errors.Join(errs[:]...)
}

func (n *notation) parseAnchor(o *options) (*cityid.AnchorReceipts, error) {
	party, err := cityid.ParseCanonical(o.word(0))
	if err != nil {
		return nil, err
	}
	var head cityid.AnchorHead
	newWork(n.state, n.block, nil, nil).load(cityid.AnchorHeadKey(party, o.word(1)), &head)
	a := &cityid.AnchorReceipts{
		Party: party, Log: o.word(1), Sequence: o.number("seq", head.Sequence+1), Prev: head.Root, Bucket: uint8(o.number("bucket", 4)),
	}
	if text := o.word(2); text != "" {
		a.Root = sha256.Sum256([]byte(text))
	}
	switch v := o.value("prev"); v {
	case "":
	case "none":
		a.Prev = cityid.Digest{}
	default:
		a.Prev = sha256.Sum256([]byte(v))
	}
	return a, nil
}

// agreement prints the agreement with the named terms.
func (s *scenario) agreement(name string) (string, error) {
	t := s.terms[name]
	if t == nil {
		return "", fmt.Errorf("no terms are named %q", name)
	}
	var a cityid.Agreement
	if err := cityid.Unmarshal(s.state.Get(cityid.AgreementKey(t.Dataset, t.ID())), &a); err != nil {
		return name + " was never asked for\n", nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", name, a.StateAt(s.block.Time))
	if a.InForce(s.block.Time) {
		b.WriteString(", in force")
	}
	if a.Note != "" {
		fmt.Fprintf(&b, " %q", a.Note)
	}
	fmt.Fprintf(&b, "\n  %s lets %s use %s from %s until %s\n  asked at %s, decided %s, ended %s", a.Provider, a.Terms.Consumer, a.Terms.Dataset,
		showTime(a.Terms.From), showTime(a.Terms.Until), showTime(a.Requested.Time), showTime(a.Decided.Time), showTime(a.Ended.Time))
	if !a.EndedBy.IsZero() {
		fmt.Fprintf(&b, " by %s", a.EndedBy)
	}
	return b.String() + "\n", nil
}

// receiptLogs prints all anchors of a party.
func (s *scenario) receiptLogs(party cityid.Code) (string, error) {
	var b strings.Builder
	lo, hi := cityid.AnchorHeadRange(party)
	var err error
	s.state.Scan(lo, hi, func(key, raw []byte) bool {
		log := string(key[len(lo) : len(key)-1])
		var head cityid.AnchorHead
		if err = cityid.Unmarshal(raw, &head); err != nil {
			return false
		}
		fmt.Fprintf(&b, "log %s ends with batch %d\n", log, head.Sequence)
		lo, hi := cityid.AnchorRange(party, log)
		s.state.Scan(lo, hi, func(_, raw []byte) bool {
			var a cityid.Anchor
			if err = cityid.Unmarshal(raw, &a); err != nil {
				return false
			}
			fmt.Fprintf(&b, "  %d: %s after %s, to 2^%d leaves, by %s at %s\n", a.Sequence, a.Root, orNone(a.Prev), a.Bucket, a.Key, showTime(a.Changed.Time))
			return true
		})
		return err == nil
	})
	if b.Len() == 0 {
		return "no logs\n", err
	}
	return b.String(), err
}
