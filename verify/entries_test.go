// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/merkle"
	"cityid/verify"
)

// What the chain of the tests knows of shared data.
var (
	dataset  = cityid.MustParse("MA.156.1301.01/40.010101/1")
	consumer = cityid.MustParse("MA.156.1302")
	terms    = cityid.Terms{
		Dataset: dataset, Consumer: consumer, Document: cityid.Digest{1}, Policy: cityid.Digest{2}, From: 1_793_836_800, Until: 2_000_000_000,
		Staleness: 30, Requests: 10_000, Purpose: cityid.Digest{3}, Respond: 1_960_000_000, Nonce: cityid.Nonce{4},
	}
	attested = cityid.Digest{5}
)

// Keys of the state, by names that the tests use.
var entryKeys = map[string][]byte{
	"agreement": cityid.AgreementKey(dataset, terms.ID()), "no agreement": cityid.AgreementKey(dataset, cityid.Digest{9}),
	"dataset": cityid.RecordKey(dataset), "department": cityid.RecordKey(cityid.MustParse(department)), "nowhere": cityid.RecordKey(cityid.MustParse(nowhere)),
	"city": cityid.RecordKey(cityid.MustParse(city)), "revision": cityid.HistoryKey(cityid.MustParse(city), 2), "no revision": cityid.HistoryKey(cityid.MustParse(city), 9),
	"anchor 1": cityid.AnchorKey(consumer, "main", 1), "anchor 2": cityid.AnchorKey(consumer, "main", 2), "anchor 3": cityid.AnchorKey(consumer, "main", 3),
	"attestation": cityid.AttestationKey(cityid.MustParse(department), attested), "abroad": cityid.RecordKey(cityid.MustParse("MB.156")),
	"parameters": cityid.ParamsKey,
}

// keysOf returns the keys with the names, in byte order.
func keysOf(names string) [][]byte {
	var keys [][]byte
	for n := range strings.SplitSeq(names, ", ") {
		if entryKeys[n] == nil {
			panic(n)
		}
		keys = append(keys, entryKeys[n])
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

func (c *chain) here() cityid.Change {
	return cityid.Change{Chain: c.id, Height: uint64(len(c.blocks) + 1), Time: cityid.TimeOf(c.now)}
}

// share writes a dataset, an agreement about it and the anchors of its consumer.
func (c *chain) share() {
	c.put(dataset.Parent().String(), cityid.KindClass, "数据集")
	c.put(dataset.String(), cityid.KindDataset, "公交到站")
	var r cityid.Record
	if err := cityid.Unmarshal(c.state.values[string(cityid.RecordKey(dataset))], &r); err != nil {
		panic(err)
	}
	r.Content.Dataset = &cityid.Dataset{Class: cityid.DatasetConditional, Document: terms.Document, Policy: terms.Policy}
	c.write(cityid.RecordKey(dataset), cityid.MustMarshal(&r))
	a := cityid.Agreement{Terms: terms, State: cityid.AgreementGranted, Provider: cityid.MustParse(department), Requested: c.here(), Decided: c.here(), Note: "好"}
	c.write(entryKeys["agreement"], cityid.MustMarshal(&a))
	c.write(cityid.AgreedKey(terms.ID()), cityid.MustMarshal(dataset))
	c.write(cityid.ConsumerKey(consumer, terms.ID()), cityid.MustMarshal(dataset))
	x := cityid.Anchor{Party: consumer, Log: "main", Sequence: 1, Root: cityid.Digest{6}, Bucket: 4, Key: public("gate"), Changed: c.here()}
	c.write(entryKeys["anchor 1"], cityid.MustMarshal(&x))
	x.Sequence, x.Prev, x.Root = 2, x.Root, cityid.Digest{7}
	c.write(entryKeys["anchor 2"], cityid.MustMarshal(&x))
	c.attest(time.Time{})
}

// attest writes an attestation, withdrawn at a time.
func (c *chain) attest(withdrawn time.Time) {
	a := cityid.Attestation{
		Source: cityid.MustParse(department), Digest: attested, Label: "井盖读数", Key: public("meter"), Changed: c.here(), Leaves: 60,
		From: cityid.TimeOf(c.now) - 60, Until: cityid.TimeOf(c.now),
	}
	if !withdrawn.IsZero() {
		a.Withdrawn = cityid.TimeOf(withdrawn)
	}
	c.write(entryKeys["attestation"], cityid.MustMarshal(&a))
}

// entries returns a bundle about keys in a state.
func entries(t testing.TB, w *verify.Way, s state, keys [][]byte) *verify.Bundle {
	t.Helper()
	w.Prove = s.prove
	proofs, values := make([]merkle.Proof, len(keys)), make([][]byte, len(keys))
	for i, k := range keys {
		proofs[i], values[i] = must(s.tree.Prove(k)), s.values[string(k)]
	}
	b, err := verify.NewEntries(w, keys, proofs, values)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mutateProofs changes the list of proofs of entries.
func mutateProofs(b *verify.Bundle, f func(list []cityid.Bytes) []cityid.Bytes) {
	var list []cityid.Bytes
	if err := cityid.Unmarshal(b.Steps[0].Proof, &list); err != nil {
		panic(err)
	}
	b.Steps[0].Proof = cityid.MustMarshal(f(list))
}

func TestEntries(t *testing.T) {
	c := story()
	keys := keysOf("agreement, no agreement, dataset, nowhere, revision, anchor 2, attestation")
	b := entries(t, c.way(t, 4, 4, 36), c.before(36), keys)
	r := verify.Check(&c.trusts[3], b, verify.Options{Now: c.at(36).header.Time, Kind: cityid.AnswerEntries, Keys: keys})
	if r.Verdict != verify.Valid || len(r.Entries) != 7 || len(r.Records) != 1 || r.Record != nil || r.Allocated {
		t.Fatalf("%s: %+v", r.Message, r)
	}
	if want := "there are entries at 5 of 7 keys, as of "; !strings.HasPrefix(r.Message, want) {
		t.Errorf("message %q", r.Message)
	}
	var a cityid.Agreement
	if ok, err := r.Entry(entryKeys["agreement"], &a); !ok || err != nil || a.Terms.ID() != terms.ID() || !a.InForce(cityid.TimeOf(r.AsOf.Time)) {
		t.Errorf("agreement: %v, %v, %+v", ok, err, a)
	}
	var rec cityid.Record
	if ok, err := r.Entry(entryKeys["dataset"], &rec); !ok || err != nil || rec.Content.Dataset == nil || rec.Code != r.Records[0].Code {
		t.Errorf("record: %v, %v, %+v", ok, err, rec)
	}
	var x cityid.Anchor
	if ok, err := r.Entry(entryKeys["anchor 2"], &x); !ok || err != nil || x.Sequence != 2 {
		t.Errorf("anchor: %v, %v, %+v", ok, err, x)
	}
	for _, absent := range []string{"no agreement", "nowhere"} {
		if ok, err := r.Entry(entryKeys[absent], &rec); ok || err != nil {
			t.Errorf("%s: %v, %v", absent, ok, err)
		}
	}
	if ok, err := r.Entry(entryKeys["anchor 1"], &x); ok || err == nil {
		t.Error("the bundle answers about a key that was not asked for")
	}
	if ok, err := r.Entry(entryKeys["agreement"], &x); ok || err == nil {
		t.Error("an agreement is taken for an anchor")
	}
	for _, e := range r.Entries {
		if (e.Value == nil) != (c.before(36).values[string(e.Key)] == nil) {
			t.Errorf("key %q: value %x", e.Key, e.Value)
		}
	}
}

// TestEntriesAsked: what was asked is compared key by key.
func TestEntriesAsked(t *testing.T) {
	c := story()
	b := entries(t, c.way(t, 4, 4, 36), c.before(36), keysOf("agreement, dataset"))
	o := verify.Options{Now: c.at(36).header.Time}
	for name, x := range map[string]struct {
		kind cityid.AnswerKind
		keys [][]byte
		want verify.Reason
	}{
		"these":                   {cityid.AnswerEntries, keysOf("agreement, dataset"), ""},
		"any":                     {cityid.AnswerEntries, nil, ""},
		"one of them":             {cityid.AnswerEntries, keysOf("agreement"), verify.ReasonQuestion},
		"one more":                {cityid.AnswerEntries, keysOf("agreement, dataset, attestation"), verify.ReasonQuestion},
		"another":                 {cityid.AnswerEntries, keysOf("agreement, department"), verify.ReasonQuestion},
		"a record":                {cityid.AnswerRecord, nil, verify.ReasonQuestion},
		"in no order":             {cityid.AnswerEntries, [][]byte{entryKeys["dataset"], entryKeys["agreement"]}, verify.ReasonQuestion},
		"a cut key, and the rest": {cityid.AnswerEntries, [][]byte{entryKeys["agreement"], entryKeys["dataset"][1:]}, verify.ReasonQuestion},
	} {
		o.Kind, o.Keys = x.kind, x.keys
		if r := verify.Check(&c.trusts[3], b, o); r.Reason != x.want {
			t.Errorf("%s: %s %q", name, r.Verdict, r.Message)
		}
	}
}

// TestEntriesAreNotInterchangeable passes the entries at one key off as those at
// another, with the tag that belongs to it. What is valid all the same must be
// true.
func TestEntriesAreNotInterchangeable(t *testing.T) {
	c := story()
	w, s := c.way(t, 4, 4, 36), c.before(36)
	valid := 0
	for given, from := range entryKeys {
		if given == "parameters" || given == "abroad" {
			continue
		}
		b := entries(t, w, s, [][]byte{from})
		for asked, key := range entryKeys {
			forged := mutate(t, b, func(b *verify.Bundle) {
				b.Keys = []cityid.Bytes{key}
				b.Code, _ = cityid.CodeOfEntryKey(key)
				b.Trust = verify.TagOf(&c.trusts[3], b.Kind, b.Code, b.Keys...)
			})
			r := verify.Check(&c.trusts[3], forged, verify.Options{Now: c.at(36).header.Time, Keys: [][]byte{key}})
			if given == asked && r.Verdict != verify.Valid {
				t.Errorf("%s: %s", given, r.Message)
			}
			if r.Verdict != verify.Valid {
				continue
			}
			valid++
			if !bytes.Equal(r.Entries[0].Value, s.values[string(key)]) {
				t.Errorf("%s, answered with %s: %x, want %x", asked, given, r.Entries[0].Value, s.values[string(key)])
			}
		}
	}
	if valid < len(entryKeys)-2 {
		t.Errorf("only %d are valid", valid)
	}
}

// TestEntriesThatCanNotBe: the validators themselves sign a record at the key of
// another.
func TestEntriesThatCanNotBe(t *testing.T) {
	for name, change := range map[string]func(c *chain, key []byte){
		"": func(*chain, []byte) {},
		"another's record": func(c *chain, key []byte) {
			c.write(key, c.state.values[string(cityid.RecordKey(cityid.MustParse("MA")))])
		},
		"no record":         func(c *chain, key []byte) { c.write(key, []byte{0xa0}) },
		"of another chain":  func(c *chain, key []byte) { c.rewrite(key, func(r *cityid.Record) { r.Changed.Chain = "elsewhere" }) },
		"of a later height": func(c *chain, key []byte) { c.rewrite(key, func(r *cityid.Record) { r.Changed.Height = 9 }) },
	} {
		c := liars()
		key := cityid.RecordKey(cityid.MustParse(city))
		c.change(func() { change(c, key) })
		c.quiet(1)
		b := entries(t, c.way(t, 1, 1, 5), c.before(5), [][]byte{key})
		r := verify.Check(&c.trusts[0], b, verify.Options{Now: c.at(5).header.Time})
		if name == "" && r.Verdict != verify.Valid || name != "" && r.Reason != verify.ReasonRecord {
			t.Errorf("%s: %s %s", name, r.Verdict, r.Message)
		}
	}
}

func (c *chain) rewrite(key []byte, change func(*cityid.Record)) {
	var r cityid.Record
	if err := cityid.Unmarshal(c.state.values[string(key)], &r); err != nil {
		panic(err)
	}
	change(&r)
	c.write(key, cityid.MustMarshal(&r))
}

// TestNewEntries: what can not be a bundle is not made.
func TestNewEntries(t *testing.T) {
	c := story()
	w, s := c.way(t, 4, 4, 36), c.before(36)
	proof := must(s.tree.Prove(entryKeys["agreement"]))
	var many [][]byte
	for i := range verify.MaxEntries + 1 {
		many = append(many, cityid.AgreementKey(dataset, cityid.Digest{byte(i)}))
	}
	for name, keys := range map[string][][]byte{
		"none": nil, "too many": many, "out of order": {entryKeys["dataset"], entryKeys["agreement"]}, "twice": {entryKeys["dataset"], entryKeys["dataset"]},
		"parameters": {cityid.ParamsKey},
	} {
		if _, err := verify.NewEntries(w, keys, slices.Repeat([]merkle.Proof{proof}, len(keys)), make([][]byte, len(keys))); err == nil {
			t.Errorf("%s: a bundle is made", name)
		}
	}
	if _, err := verify.NewEntries(w, many[:2], []merkle.Proof{proof}, make([][]byte, 2)); err == nil {
		t.Error("a bundle is made with too few proofs")
	}
	most := entries(t, w, s, many[:verify.MaxEntries])
	if r := verify.Check(&c.trusts[3], must(verify.Decode(encode(t, most))), verify.Options{Now: c.at(36).header.Time}); r.Verdict != verify.Valid {
		t.Errorf("as many keys as there may be: %s", r.Message)
	}
}

// TestArchivedEntries: a link connects entries as it does records.
func TestArchivedEntries(t *testing.T) {
	c := story()
	keys := keysOf("agreement, attestation")
	old := entries(t, c.way(t, 4, 4, 36), c.before(36), keys)
	link := must(verify.NewLink(c.link(t, c.way(t, 4, 4, 38), 36)))
	b, err := verify.Archive(old, link)
	if err != nil {
		t.Fatal(err)
	}
	want := entries(t, c.link(t, c.way(t, 4, 4, 38), 36), c.before(36), keys)
	if d := cmp.Diff(encode(t, want), encode(t, b)); d != "" {
		t.Error(d)
	}
	r := verify.Check(&c.trusts[3], b, verify.Options{Now: c.at(38).header.Time, At: c.at(36).header.Time, Keys: keys})
	if r.Verdict != verify.Valid {
		t.Errorf("%s: %s", r.Verdict, r.Message)
	}
	var a cityid.Attestation
	if ok, err := r.Entry(entryKeys["attestation"], &a); !ok || err != nil || a.Withdrawn != 0 {
		t.Errorf("the attestation before it was withdrawn: %v, %v, %+v", ok, err, a)
	}
}
