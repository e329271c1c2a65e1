// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"cityid"
	"cityid/keys"
	"cityid/label"
	"cityid/verify"
)

// officer signs trust roots with a key of some algorithm.
type officer struct {
	key  cityid.PublicKey
	sign func(t *testing.T, msg []byte) []byte
}

func ed25519Officer(t *testing.T) officer {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return officer{cityid.PublicKey("\x01" + string(pub)), func(_ *testing.T, msg []byte) []byte { return ed25519.Sign(private, msg) }}
}

func p256Officer(t *testing.T) officer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := elliptic.MarshalCompressed(elliptic.P256(), private.X, private.Y)
	return officer{cityid.PublicKey("\x02" + string(point)), func(t *testing.T, msg []byte) []byte { return signP256(t, private, msg) }}
}

func signP256(t *testing.T, private *ecdsa.PrivateKey, msg []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(msg)
	der, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig, err := keys.P256FromDER(der)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// passkey returns an officer whose key is bound to the web site rp.
func passkey(t *testing.T, rp string) officer {
	t.Helper()
	o := p256Officer(t)
	origin := "https://desk." + rp
	key := "\x03" + string(o.key[1:]) + string(rune(len(rp))) + rp + "\x00" + string(rune(len(origin))) + origin
	return officer{cityid.PublicKey(key), func(t *testing.T, msg []byte) []byte {
		rpHash := sha256.Sum256([]byte(rp))
		data := append(rpHash[:], 5, 0, 0, 0, 9)
		client := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(msg) + `","origin":"` + origin + `","crossOrigin":false,"other":1}`
		hash := sha256.Sum256([]byte(client))
		sig := append([]byte{0, byte(len(data))}, data...)
		sig = append(append(sig, byte(len(client)>>8), byte(len(client))), client...)
		return append(sig, o.sign(t, append(bytes.Clone(data), hash[:]...))...)
	}}
}

// TestRenewal carries versions of the trust root that quorums of all kinds of
// keys signed, or half signed.
func TestRenewal(t *testing.T) {
	v := readVectors(t, "bundle-good-record")[0]
	ed, p256, pass, same, third := ed25519Officer(t), p256Officer(t), passkey(t, "a.example"), passkey(t, "a.example"), passkey(t, "b.example")
	member := func(list ...officer) cityid.QuorumMember {
		var m cityid.QuorumMember
		for _, o := range list {
			m.Keys = append(m.Keys, o.key)
		}
		return m
	}
	nested := cityid.QuorumMember{Code: cityid.MustParse("MA.156"), Quorum: &cityid.Quorum{Threshold: 2, Members: []cityid.QuorumMember{member(ed, pass), member(p256)}}}
	mute := member(officer{key: cityid.PublicKey("\x04" + strings.Repeat("x", 32))}, officer{key: "\x05sm2"}) // never sign
	deep := &cityid.Quorum{Threshold: 1, Members: []cityid.QuorumMember{member(ed)}}
	for range 4 { // one level too many
		deep = &cityid.Quorum{Threshold: 1, Members: []cityid.QuorumMember{{Quorum: deep}}}
	}
	var tries []try
	verdicts := map[verify.Verdict]int{}
	for name, q := range map[string]*cityid.Quorum{
		"one":    {Threshold: 1, Members: []cityid.QuorumMember{member(ed, p256, pass, same, third)}},
		"two":    {Threshold: 2, Members: []cityid.QuorumMember{member(ed), member(p256), member(pass), member(same), member(third)}},
		"shared": {Threshold: 2, Members: []cityid.QuorumMember{member(ed, pass), member(ed, third), mute}},
		"nested": {Threshold: 2, Members: []cityid.QuorumMember{nested, member(third, same), member(ed)}},
		"deep":   deep,
		"empty":  {Threshold: 1, Members: []cityid.QuorumMember{{}, member(pass)}},
	} {
		first := cityid.Trust{Statement: v.Trust.Statement}
		first.Statement.Quorum = *q
		second := first.Statement
		second.Version, second.Prev = 2, first.Statement.Hash()
		digest := second.SigningDigest()
		for set := range 32 {
			next := cityid.Trust{Statement: second}
			for i, o := range []officer{ed, p256, pass, same, third} {
				if set>>i&1 == 1 {
					next.Signatures = append(next.Signatures, cityid.KeySignature{Key: o.key, Signature: o.sign(t, digest[:])})
				}
			}
			slices.SortFunc(next.Signatures, func(a, b cityid.KeySignature) int { return strings.Compare(string(a.Key), string(b.Key)) })
			b, err := verify.Decode(v.Bundle)
			if err != nil {
				t.Fatal(err)
			}
			b.Versions, b.Trust = []cityid.Trust{next}, verify.TagOf(&next, b.Kind, b.Code)
			judged := *v
			judged.Trust = first
			tries = append(tries, try{name, &judged, cityid.MustMarshal(b)})
			verdicts[verify.CheckEncoded(&first, cityid.MustMarshal(b), v.options()).Verdict]++
			if len(next.Signatures) > 1 { // the same in another order
				slices.Reverse(next.Signatures)
				tries = append(tries, try{name + ", reversed", &judged, cityid.MustMarshal(b)})
				slices.Reverse(next.Signatures)
			}
			if n := len(next.Signatures); n > 0 { // the same with a bit of a signature changed
				sig := &next.Signatures[set%n].Signature
				(*sig)[(set*7)%len(*sig)] ^= 1 << (set % 8)
				tries = append(tries, try{name + ", changed", &judged, cityid.MustMarshal(b)})
			}
		}
	}
	tries = append(tries, futureKeys(t, v, ed)...)
	if verdicts[verify.Valid] < 20 || verdicts[verify.Invalid] < 20 {
		t.Errorf("verdicts %v: this tests little", verdicts)
	}
	compare(t, tries)
}

// futureKeys are versions in whose quorum stand keys of algorithms that are not
// known yet: they are read, and count for nothing.
func futureKeys(t *testing.T, v *vector, ed officer) []try {
	t.Helper()
	var tries []try
	for _, sign := range []bool{false, true} {
		future := officer{"\x09future", func(*testing.T, []byte) []byte { return []byte("?") }}
		first := cityid.Trust{Statement: v.Trust.Statement}
		first.Statement.Quorum = cityid.Quorum{Threshold: 1, Members: []cityid.QuorumMember{{Keys: []cityid.PublicKey{ed.key}}}}
		second := cityid.Trust{Statement: first.Statement}
		second.Statement.Version, second.Statement.Prev = 2, first.Statement.Hash()
		second.Statement.Quorum.Members = []cityid.QuorumMember{{Keys: []cityid.PublicKey{ed.key, future.key}}}
		third := cityid.Trust{Statement: second.Statement}
		third.Statement.Version, third.Statement.Prev = 3, second.Statement.Hash()
		for i, next := range []*cityid.Trust{&second, &third} {
			o, digest := ed, next.Statement.SigningDigest()
			if sign && i == 1 {
				o = future
			}
			next.Signatures = []cityid.KeySignature{{Key: o.key, Signature: o.sign(t, digest[:])}}
		}
		b, err := verify.Decode(v.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		b.Versions, b.Trust = []cityid.Trust{second, third}, verify.TagOf(&first, b.Kind, b.Code)
		judged := *v
		judged.Trust = first
		tries = append(tries, try{"future keys", &judged, cityid.MustMarshal(b)})
	}
	return tries
}

// TestEvidence checks a certificate by the keys in a proven record, and finds no
// keys in one that is not proven.
func TestEvidence(t *testing.T) {
	v := readVectors(t, "bundle-good-record")[0]
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	first, err := label.ParseDay("2026-11-01")
	if err != nil {
		t.Fatal(err)
	}
	c, err := label.Sign(v.Code, first, first+9, cityid.PublicKey("\x01"+string(pub)), func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil })
	if err != nil {
		t.Fatal(err)
	}
	u, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	text, err := label.CertificateURL(u, c)
	if err != nil {
		t.Fatal(err)
	}
	bad := readVectors(t, "bundle-bad-record")[0]
	stale := readVectors(t, "bundle-undecided-stale")[0]
	hist := readVectors(t, "bundle-good-history")[0]
	candidate := job{"holder": v.Code, "key": cityid.PublicKey("\x01" + string(pub))}
	answers := runJobs(t, sourceFile, []job{
		{"op": "evidence", "trust": v.Trust, "bundle": v.Bundle, "text": text, "now": v.Now},
		{"op": "evidence", "trust": bad.Trust, "bundle": bad.Bundle, "text": text, "now": v.Now},
		{"op": "evidence", "trust": stale.Trust, "bundle": stale.Bundle, "text": text, "now": stale.Now},
		{"op": "certificate", "text": text, "candidates": []job{candidate}, "now": v.Now},
		{"op": "certificate", "text": text, "candidates": []job{candidate}, "now": "2026-11-11T00:00:00Z"},
		{"op": "certificate", "text": text, "candidates": []job{{"holder": v.Code, "key": candidate["key"], "notBefore": "2027-01-01T00:00:00+08:00"}}, "now": v.Now},
		{"op": "certificate", "text": text, "candidates": []job{{"holder": v.Code, "key": candidate["key"], "notBefore": "@253402300800"}}, "now": v.Now},
		{"op": "evidence", "trust": hist.Trust, "bundle": hist.Bundle, "text": text, "now": hist.Now},
	})
	for i, want := range []string{`"verdict":"no-key"`, "", "", `"verdict":"valid"`, `"verdict":"expired"`, "", `"verdict":"key-not-in-force"`, ""} {
		if a := answers[i]; (want == "") != (a.Error != "") || !strings.Contains(string(a.Result), want) {
			t.Errorf("%d: %s %s, want %s", i, a.Result, a.Error, want)
		}
	}
}

// TestSourceEvidence finds no keys for a source mark in records that are not
// proven, and none of another code than the one that governs the source.
func TestSourceEvidence(t *testing.T) {
	v := readVectors(t, "bundle-good-record")[0]
	bad := readVectors(t, "bundle-bad-record")[0]
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := cityid.PublicKey("\x01" + string(pub))
	m, err := label.SignSource(label.SourceMark{Code: v.Code, Digest: cityid.Digest{1}, Time: 1763600000, Nonce: label.Nonce{1}}, key, func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil })
	if err != nil {
		t.Fatal(err)
	}
	u, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	text, err := label.SourceURL(u, m)
	if err != nil {
		t.Fatal(err)
	}
	answers := runJobs(t, sourceFile, []job{
		{"op": "sourceEvidence", "trust": v.Trust, "bundles": []any{v.Bundle}, "text": text, "digest": m.Digest, "now": v.Now},
		{"op": "sourceEvidence", "trust": v.Trust, "bundles": []any{v.Bundle}, "text": text, "digest": cityid.Digest{2}, "now": v.Now},
		{"op": "sourceEvidence", "trust": bad.Trust, "bundles": []any{bad.Bundle}, "text": text, "digest": m.Digest, "now": v.Now},
		{"op": "mark", "text": text, "candidates": []job{{"holder": v.Code, "key": key}}, "digest": m.Digest, "now": "2026-01-01T00:00:00Z"},
		{"op": "mark", "text": "MA.156", "candidates": []job{}, "now": v.Now},
	})
	for i, want := range []string{`"verdict":"no-key"`, `"verdict":"wrong-bytes"`, "", `"verdict":"valid"`, ""} {
		if a := answers[i]; (want == "") != (a.Error != "") || !strings.Contains(string(a.Result), want) {
			t.Errorf("%d: %s %s, want %s", i, a.Result, a.Error, want)
		}
	}
}

// TestAssertKeys takes the keys that may sign certificates out of a record as
// cityid label scan does, from those of all roles and algorithms.
func TestAssertKeys(t *testing.T) {
	policy := &cityid.Policy{Threshold: 1, Members: []cityid.Member{
		{Keys: []cityid.Key{
			{Public: cityid.PublicKey("\x01" + strings.Repeat("a", 32)), Roles: cityid.RoleAssert | cityid.RoleControl, From: 1700000000, Until: 1800000000},
			{Public: cityid.PublicKey("\x01" + strings.Repeat("b", 32)), Roles: cityid.RoleControl},
			{Public: cityid.PublicKey("\x02" + strings.Repeat("c", 33)), Roles: cityid.RoleAssert},
			{Public: cityid.PublicKey("\x01" + strings.Repeat("d", 32)), Roles: cityid.RoleAssert | 0x80, Compromised: 1750000000},
		}},
		{Code: cityid.MustParse("MA.156")},
	}}
	r := cityid.Record{
		Code: cityid.MustParse("MA.156.1301"), Parent: cityid.MustParse("MA.156"), Kind: cityid.KindCity, Status: cityid.StatusActive, Revision: 1,
		Changed: cityid.Change{Chain: "c", Height: 1, Time: 1700000000}, Policy: policy, Recovery: policy, Reason: cityid.ReasonCommissioned, Note: "n",
		Content: cityid.Content{
			Names: cityid.Names{{Lang: "__proto__", Text: "p"}, {Lang: "en", Text: "n"}}, Hosts: []string{"h"}, Location: &cityid.Location{Lat: -1, Lon: 1800000000},
			Links: []cityid.Link{{Rel: "r", Href: "h", Hreflang: []string{"zh"}}}, Documents: []cityid.Document{{Label: "l", Digest: cityid.Digest{1}}},
		},
		Aliases: []cityid.Alias{{Scheme: "s", Value: "v", Until: 5}}, Heir: cityid.MustParse("MA"), Successors: []cityid.Code{cityid.MustParse("MA"), {}},
	}
	a := runJobs(t, sourceFile, []job{{"op": "record", "encoded": cityid.Bytes(cityid.MustMarshal(&r))}})[0]
	var got struct {
		Record     map[string]any
		Candidates []struct {
			Holder              cityid.Code
			Key                 cityid.PublicKey
			NotBefore, NotAfter string
			CompromisedSince    string
		}
	}
	a.into(t, &got)
	policy.Members[0].Keys[3].Roles &= 0x3f // JSON has no names for the others
	if !sameJSON(got.Record, &r) {
		t.Errorf("record %v", got.Record)
	}
	if c := got.Candidates; len(c) != 2 || c[0].Key != policy.Members[0].Keys[0].Public || c[0].NotBefore != "2023-11-14T22:13:20Z" || c[0].NotAfter != "2027-01-15T08:00:00Z" ||
		c[1].Key != policy.Members[0].Keys[3].Public || c[1].CompromisedSince != "2025-06-15T15:06:40Z" {
		t.Errorf("candidates %+v", c)
	}
}
