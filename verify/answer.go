// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"cityid"
	"cityid/header"
	"cityid/merkle"
)

// checkAnswer decodes the records and computes the root of the state in which
// the proof shows them.
func (c *checker) checkAnswer() (string, *finding) {
	if c.b.Kind == cityid.AnswerEntries {
		return c.checkEntries()
	}
	hashes := make([]merkle.Hash, len(c.b.Values))
	for i, v := range c.b.Values {
		r, err := decodeRecord(v)
		if err != nil {
			return "", invalid(ReasonRecord, "%v", err)
		}
		c.res.Records = append(c.res.Records, *r)
		hashes[i] = merkle.ValueHash(v)
	}
	var root merkle.Hash
	var f *finding
	if c.b.Kind == cityid.AnswerChildren || c.b.Kind == cityid.AnswerDescendants {
		root, f = c.rootOfListing(hashes)
	} else {
		root, f = c.rootOfRecord(hashes)
	}
	if f != nil {
		return "", f
	}
	c.root = header.Hash(root)
	return "leads to the state " + root.String(), nil
}

// checkEntries computes the root of the state in which the proofs show the
// entries.
func (c *checker) checkEntries() (string, *finding) {
	var proofs []cityid.Bytes
	if err := cityid.Unmarshal(c.step.Proof, &proofs); err != nil || len(proofs) != len(c.b.Keys) {
		return "", invalid(ReasonMalformed, "state proofs: want one for each of %d keys", len(c.b.Keys))
	}
	for i, key := range c.b.Keys {
		root, f := rootOfEntry(key, c.b.Values[i], proofs[i])
		switch {
		case f != nil:
			return "", f
		case i > 0 && header.Hash(root) != c.root:
			return "", invalid(ReasonProof, "the state proofs of the keys 0 and %d lead to different states", i)
		}
		c.root = header.Hash(root)
		e := Entry{Key: key}
		if len(c.b.Values[i]) > 0 {
			e.Value = c.b.Values[i]
		}
		c.res.Entries = append(c.res.Entries, e)
		if code, ok := cityid.CodeOfRecordKey(key); ok && e.Value != nil {
			r, err := decodeRecord(e.Value)
			if err != nil || r.Code != code {
				return "", invalid(ReasonRecord, "at the key of %s stands no record of it", code)
			}
			c.res.Records = append(c.res.Records, *r)
		}
	}
	return "leads to the state " + c.root.String(), nil
}

func rootOfEntry(key, value, proof []byte) (merkle.Hash, *finding) {
	var p merkle.Proof
	if err := p.UnmarshalBinary(proof); err != nil {
		return merkle.Hash{}, invalid(ReasonMalformed, "state proof: %v", err)
	}
	var root merkle.Hash
	var err error
	if len(value) == 0 {
		root, err = p.RootAbsent(key)
	} else {
		root, err = p.Root(key, merkle.ValueHash(value))
	}
	if err != nil {
		return merkle.Hash{}, invalid(ReasonProof, "state proof: %v", err)
	}
	return root, nil
}

// decodeRecord decodes one value. What a record may hold is the registry's
// business; here, what proofs rest on.
func decodeRecord(value []byte) (*cityid.Record, error) {
	r := new(cityid.Record)
	if err := cityid.Unmarshal(value, r); err != nil {
		return nil, fmt.Errorf("a record can not be decoded: %w", err)
	}
	switch {
	case r.Code.IsZero() || !r.Kind.Valid() || !r.Status.Valid():
		return nil, fmt.Errorf("a record has no code, kind or status")
	case r.Revision < 1 || (r.Revision == 1) != r.Prev.IsZero():
		return nil, fmt.Errorf("the record of %s at revision %d must name the revision before, or be the first", r.Code, r.Revision)
	case r.Changed.Time < 0 || !r.Changed.Time.Valid():
		return nil, fmt.Errorf("the record of %s has an impossible time", r.Code)
	}
	return r, nil
}

func (c *checker) rootOfListing(hashes []merkle.Hash) (merkle.Hash, *finding) {
	var p merkle.RangeProof
	if err := p.UnmarshalBinary(c.step.Proof); err != nil {
		return merkle.Hash{}, invalid(ReasonMalformed, "state proof: %v", err)
	}
	root, entries, err := p.Root(Range(c.b.Code, c.b.Kind), hashes)
	if err != nil {
		return merkle.Hash{}, invalid(ReasonProof, "state proof: %v", err)
	}
	for i, e := range entries {
		code, ok := cityid.CodeOfRecordKey(e.Key)
		if !ok || code != c.res.Records[i].Code {
			return merkle.Hash{}, invalid(ReasonRecord, "the listing has a record of %s at the key %q", c.res.Records[i].Code, e.Key)
		}
	}
	return root, nil
}

func (c *checker) rootOfRecord(hashes []merkle.Hash) (merkle.Hash, *finding) {
	var p merkle.Proof
	if err := p.UnmarshalBinary(c.step.Proof); err != nil {
		return merkle.Hash{}, invalid(ReasonMalformed, "state proof: %v", err)
	}
	key := cityid.RecordKey(c.b.Code)
	var root merkle.Hash
	var err error
	if len(hashes) == 0 {
		root, err = p.RootAbsent(key)
	} else if f := c.checkHistory(hashes); f != nil {
		return merkle.Hash{}, f
	} else {
		root, err = p.Root(key, hashes[0])
	}
	if err != nil {
		return merkle.Hash{}, invalid(ReasonProof, "state proof: %v", err)
	}
	return root, nil
}

// checkHistory checks that the records are revisions of the code's, each named
// by the one before in the list and, for a history, down to the first.
func (c *checker) checkHistory(hashes []merkle.Hash) *finding {
	list := c.res.Records
	for i := range list {
		r := &list[i]
		if r.Code != c.b.Code {
			return invalid(ReasonRecord, "the record is one of %s, not of %s", r.Code, c.b.Code)
		}
		if i == 0 {
			continue
		}
		newer := &list[i-1]
		if cityid.Digest(hashes[i]) != newer.Prev || r.Revision != newer.Revision-1 {
			return invalid(ReasonRecord, "revision %d of %s names another revision before it than the one given", newer.Revision, c.b.Code)
		}
		if r.Parent != newer.Parent || r.Changed.Height > newer.Changed.Height || r.Changed.Time > newer.Changed.Time {
			return invalid(ReasonRecord, "revision %d of %s has another parent than, or is older than, the one before", newer.Revision, c.b.Code)
		}
	}
	if last := &list[len(list)-1]; c.b.Kind == cityid.AnswerHistory && last.Revision != 1 {
		return invalid(ReasonRecord, "the history of %s ends at revision %d, not at the first", c.b.Code, last.Revision)
	}
	return nil
}

// checkRecords checks the records against the header that answers.
func (c *checker) checkRecords() (string, *finding) {
	list := c.res.Records
	if c.next != nil {
		list = []cityid.Record{*c.next.record}
	}
	for i := range list {
		r := &list[i]
		switch {
		case r.Changed.Chain != c.header.ChainID:
			return "", invalid(ReasonRecord, "the record of %s was made on the chain %q, not on %q", r.Code, r.Changed.Chain, c.header.ChainID)
		case r.Changed.Height >= uint64(c.header.Height):
			return "", invalid(ReasonRecord, "the record of %s was made at height %d, which the state before height %d can not hold", r.Code, r.Changed.Height, c.header.Height)
		case r.Changed.Time.Std().After(c.header.Time):
			return "", invalid(ReasonRecord, "the record of %s was made later than the header", r.Code)
		}
	}
	if c.next != nil {
		return c.checkNext()
	}
	if f := c.checkApex(); f != nil {
		return "", f
	}
	if len(list) == 0 && c.b.Kind == cityid.AnswerEntries {
		return "none among the entries", nil
	}
	if len(list) == 0 {
		return "the state holds none", nil
	}
	return count(len(list), "record") + " of this chain, none newer than the header", nil
}
