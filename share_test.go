// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func goodTerms() Terms {
	return Terms{
		Dataset: MustParse("MA.156.1301/40.010101/1"), Consumer: MustParse("MA.156.1302"), Document: Digest{1}, From: 100, Until: 300,
		Staleness: 30, Purpose: Digest{2}, Respond: 200, Nonce: Nonce{3},
	}
}

func TestTermsCheck(t *testing.T) {
	for name, change := range map[string]func(t *Terms){
		"as they are":              func(*Terms) {},
		"answer due at the end":    func(t *Terms) { t.Respond = t.Until },
		"longest staleness":        func(t *Terms) { t.Staleness = MaxStaleness },
		"!no dataset":              func(t *Terms) { t.Dataset = Code{} },
		"!no consumer":             func(t *Terms) { t.Consumer = Code{} },
		"!no description":          func(t *Terms) { t.Document = Digest{} },
		"!no purpose":              func(t *Terms) { t.Purpose = Digest{} },
		"!no nonce":                func(t *Terms) { t.Nonce = Nonce{} },
		"!ends as it begins":       func(t *Terms) { t.Until = t.From },
		"!begins before 1970":      func(t *Terms) { t.From = -5 },
		"!never begins":            func(t *Terms) { t.From = 0 },
		"!end beyond all dates":    func(t *Terms) { t.Until = 1 << 60 },
		"!answer due after":        func(t *Terms) { t.Respond = t.Until + 1 },
		"!no answer due":           func(t *Terms) { t.Respond = 0 },
		"!staleness of 29 s":       func(t *Terms) { t.Staleness = 29 },
		"!staleness beyond 4 h":    func(t *Terms) { t.Staleness = MaxStaleness + 1 },
		"!answer due before 1970":  func(t *Terms) { t.Respond = -1 },
		"!answer beyond all dates": func(t *Terms) { t.Until, t.Respond = 1<<60, 1<<60 },
	} {
		terms := goodTerms()
		change(&terms)
		if err := terms.Check(); (err != nil) != strings.HasPrefix(name, "!") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTermsID: every field of the terms counts.
func TestTermsID(t *testing.T) {
	base := goodTerms()
	seen := map[Digest]string{base.ID(): "the base"}
	for name, change := range map[string]func(t *Terms){
		"dataset": func(t *Terms) { t.Dataset = MustParse("MA.156.1301/40.010101/2") }, "consumer": func(t *Terms) { t.Consumer = MustParse("MA.156") },
		"document": func(t *Terms) { t.Document[31]++ }, "policy": func(t *Terms) { t.Policy[0]++ }, "from": func(t *Terms) { t.From++ },
		"until": func(t *Terms) { t.Until++ }, "staleness": func(t *Terms) { t.Staleness++ }, "requests": func(t *Terms) { t.Requests++ },
		"octets": func(t *Terms) { t.Octets++ }, "purpose": func(t *Terms) { t.Purpose[3]++ }, "respond": func(t *Terms) { t.Respond++ },
		"nonce": func(t *Terms) { t.Nonce[15]++ },
	} {
		terms := goodTerms()
		change(&terms)
		if other, ok := seen[terms.ID()]; ok {
			t.Errorf("%s and %s have one id", name, other)
		}
		seen[terms.ID()] = name
	}
}

func TestAgreementState(t *testing.T) {
	terms := goodTerms() // respond 200, in force from 100 to 300
	for _, tt := range []struct {
		written AgreementState
		now     Time
		reads   AgreementState
		inForce bool
	}{
		{AgreementRequested, 199, AgreementRequested, false}, {AgreementRequested, 200, AgreementLapsed, false}, {AgreementRequested, 400, AgreementLapsed, false},
		{AgreementGranted, 99, AgreementGranted, false}, {AgreementGranted, 100, AgreementGranted, true}, {AgreementGranted, 299, AgreementGranted, true},
		{AgreementGranted, 300, AgreementExpired, false}, {AgreementRefused, 150, AgreementRefused, false}, {AgreementRefused, 400, AgreementRefused, false},
		{AgreementRevoked, 150, AgreementRevoked, false}, {AgreementRevoked, 400, AgreementRevoked, false},
	} {
		a := Agreement{Terms: terms, State: tt.written}
		if got := a.StateAt(tt.now); got != tt.reads || a.InForce(tt.now) != tt.inForce {
			t.Errorf("%s at %d reads %s, in force %v", tt.written, tt.now, got, a.InForce(tt.now))
		}
	}
}

func TestNonce(t *testing.T) {
	n := Nonce{1, 2, 0xab}
	text, err := json.Marshal(n)
	var back Nonce
	if err != nil || json.Unmarshal(text, &back) != nil || back != n {
		t.Errorf("%s: %v, %s", text, err, back)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("0", 34), strings.Repeat("A", 32), strings.Repeat("g", 32)} {
		if err := back.UnmarshalText([]byte(bad)); err == nil || back != n {
			t.Errorf("%q is read as %s: %v", bad, back, err)
		}
	}
}

func TestValidLogName(t *testing.T) {
	for name, want := range map[string]bool{
		"main": true, "a": true, "0": true, "-": true, strings.Repeat("a", 32): true,
		"": false, strings.Repeat("a", 33): false, "Main": false, "a b": false, "a_b": false, "a\x00": false, "主": false, "a.b": false,
	} {
		if ValidLogName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestDatasetCheck(t *testing.T) {
	for _, tt := range []struct {
		d  Dataset
		ok bool
	}{
		{Dataset{Class: DatasetOpen, Document: Digest{1}}, true}, {Dataset{Class: DatasetClosed, Document: Digest{1}, Schema: Digest{1}, Policy: Digest{1}}, true},
		{Dataset{Document: Digest{1}}, false}, {Dataset{Class: 4, Document: Digest{1}}, false}, {Dataset{Class: DatasetOpen}, false},
	} {
		c := Content{Dataset: &tt.d}
		if err := c.Check(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.d, err)
		}
	}
}

// TestAgreementRanges: the ranges hold the keys of a code and of what lies below
// it, and of nobody else.
func TestAgreementRanges(t *testing.T) {
	c := MustParse("MA.156.1301")
	for text, want := range map[string][2]bool{ // in the ranges without and with deep
		"MA.156.1301": {true, true}, "MA.156.1301.01": {false, true}, "MA.156.1301/40.010101/1": {false, true}, "MA.156.1301.01/40.010101/1.L2": {false, true},
		"MA.156.13011": {}, "MA.156.1302": {}, "MA.156": {}, "MA.156.130": {},
	} {
		for _, last := range []byte{0, 1, 0xff} {
			id := Digest(bytes.Repeat([]byte{last}, 32))
			for i, deep := range []bool{false, true} {
				in := func(key []byte, ranges [][2][]byte) bool {
					return slices.ContainsFunc(ranges, func(r [2][]byte) bool { return bytes.Compare(key, r[0]) >= 0 && bytes.Compare(key, r[1]) < 0 })
				}
				other := MustParse(text)
				if in(AgreementKey(other, id), AgreementRanges(c, deep)) != want[i] || in(ConsumerKey(other, id), ConsumerRanges(c, deep)) != want[i] {
					t.Errorf("%s, deep %v, id %x…", text, deep, last)
				}
			}
		}
	}
}

func TestCodeOfEntryKey(t *testing.T) {
	c, d := MustParse("MA.156.1301"), Digest{0, 1}
	for name, key := range map[string][]byte{
		"record": RecordKey(c), "history": HistoryKey(c, 0), "attestation": AttestationKey(c, d), "agreement": AgreementKey(c, d), "anchor": AnchorKey(c, "a-1", 0),
	} {
		if got, ok := CodeOfEntryKey(key); !ok || got != c {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
		for i := range key {
			if _, ok := CodeOfEntryKey(key[:i]); ok {
				t.Errorf("%s cut to %d octets is taken for a key", name, i)
			}
		}
		if _, ok := CodeOfEntryKey(append(bytes.Clone(key), 0)); ok {
			t.Errorf("%s with an octet more is taken for a key", name)
		}
		lower := bytes.ToLower(key)
		lower[0] = key[0]
		if _, ok := CodeOfEntryKey(lower); ok && !bytes.Equal(lower, key) {
			t.Errorf("%s in lower case is taken for a key", name)
		}
	}
	for name, key := range map[string][]byte{
		"parameters": ParamsKey, "consumer": ConsumerKey(c, d), "id": AgreedKey(d), "requests": RequestsKey(c), "head": AnchorHeadKey(c, "a"), "proposal": ProposalKey(1),
		"empty": {}, "namespace": {'r', 0, 0}, "log name": AnchorKey(c, "A", 1), "no log name": AnchorKey(c, "", 1), "waiting": WaitingKey(c),
	} {
		if got, ok := CodeOfEntryKey(key); ok {
			t.Errorf("%s is taken for a key of %s", name, got)
		}
	}
}

func FuzzCodeOfEntryKey(f *testing.F) {
	c, d := MustParse("MA.156.1301"), Digest{0, 1}
	for _, key := range [][]byte{RecordKey(c), HistoryKey(c, 7), AttestationKey(c, d), AgreementKey(c, d), AnchorKey(c, "a-1", 9), ParamsKey} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		c, ok := CodeOfEntryKey(key)
		if !ok {
			return
		}
		rest := key[2+len(c.String()):]
		var again []byte
		switch key[0] {
		case 'r':
			again = RecordKey(c)
		case 'h':
			again = HistoryKey(c, uint32(rest[0])<<24|uint32(rest[1])<<16|uint32(rest[2])<<8|uint32(rest[3]))
		case 'a':
			again = AttestationKey(c, Digest(rest[:32]))
		case 'g':
			again = AgreementKey(c, Digest(rest[:32]))
		case 'l':
			log, number, _ := bytes.Cut(rest, []byte{0})
			var n uint64
			for _, b := range number[:8] {
				n = n<<8 | uint64(b)
			}
			again = AnchorKey(c, string(log), n)
		}
		if !bytes.Equal(again, key) {
			t.Errorf("key %x is none that is ever made: %x", key, again)
		}
	})
}
