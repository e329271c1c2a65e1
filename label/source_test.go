// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"

	"cityid"
)

const markTime cityid.Time = 1763600000 // 2025-11-20

// testMark returns a mark about the bytes "report", of a department.
func testMark(t testing.TB) SourceMark {
	t.Helper()
	key, sign := testKey(1)
	m := SourceMark{Code: code(t, "MA.156.1301.02"), Digest: cityid.Digest(sha256.Sum256([]byte("report"))), Time: markTime, Expires: markTime + 86400}
	for i := range m.Nonce {
		m.Nonce[i] = byte(i + 1)
	}
	m, err := SignSource(m, key, sign)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testPlate returns a mark of a device, about no bytes.
func testPlate(t testing.TB) SourceMark {
	t.Helper()
	key, sign := testKey(1)
	m, err := SignSource(SourceMark{Code: code(t, "MA.156.1301.02/20.010501/000045"), Time: markTime, Nonce: Nonce{9}}, key, sign)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func markText(t testing.TB, m SourceMark) string {
	t.Helper()
	text, err := SourceURL(public(t, "https://id.example"), m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// longestMark has the longest code, times and address there are.
func longestMark(t testing.TB) string {
	t.Helper()
	key, sign := testKey(1)
	long := "MA.156." + strings.Repeat("A", 12) + "." + strings.Repeat("A", 16) + "/20.01050123." + strings.Repeat("B", 20) + "/" + strings.Repeat("C", 25) + ".L" + strings.Repeat("D", 20) + ".M1"
	if len(long) != 120 {
		t.Fatalf("code of %d characters", len(long))
	}
	m, err := SignSource(SourceMark{Code: code(t, long), Digest: cityid.Digest{1}, Time: 5000000000, Expires: 6000000000, Nonce: Nonce{1}}, key, sign)
	if err != nil {
		t.Fatal(err)
	}
	u := public(t, "https://"+strings.Repeat("a", 52))
	text, err := SourceURL(u, m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := SourceSymbol(u, m)
	if err != nil {
		t.Fatal(err)
	}
	if s.Modules() > 69 {
		t.Errorf("%d modules: the comment says 69", s.Modules())
	}
	return text
}

func TestSourceMark(t *testing.T) {
	for _, m := range []SourceMark{testMark(t), testPlate(t)} {
		text := markText(t, m)
		for _, s := range []string{text, strings.ToLower(text), text + "/"} {
			p, err := ParsePayload(s)
			if err != nil || p.Kind != KindSource || p.Source != m || p.Code != m.Code || p.Public.Host() != "id.example" || p.String() != text {
				t.Errorf("%s: %+v, %v", s, p, err)
			}
		}
		if m.IsPlate() != m.Digest.IsZero() {
			t.Errorf("IsPlate = %t", m.IsPlate())
		}
	}
	text := longestMark(t)
	if len(text) != maxPayload {
		t.Errorf("the longest mark has %d characters, the bound is %d", len(text), maxPayload)
	}
	if _, err := ParsePayload(text); err != nil {
		t.Errorf("the longest mark: %v", err)
	}
	for _, c := range []struct {
		m    SourceMark
		side int
	}{{testMark(t), 53}, {testPlate(t), 49}} {
		s, err := SourceSymbol(public(t, "https://id.example"), c.m)
		if err != nil || s.Modules() > c.side {
			t.Errorf("symbol of %d modules, %v: want at most %d", s.Modules(), err, c.side)
		}
	}
}

func TestSignSource(t *testing.T) {
	key, sign := testKey(1)
	_, other := testKey(2)
	good := testMark(t)
	failing := func([]byte) ([]byte, error) { return nil, errors.New("the agent is gone") }
	short := func([]byte) ([]byte, error) { return []byte("short"), nil }
	for _, c := range []struct {
		name, want string
		change     func(*SourceMark)
		key        cityid.PublicKey
		sign       func([]byte) ([]byte, error)
	}{
		{"no code", "no code", func(m *SourceMark) { m.Code = cityid.Code{} }, key, sign},
		{"no time", "years 1970", func(m *SourceMark) { m.Time = 0 }, key, sign},
		{"time too late", "years 1970", func(m *SourceMark) { m.Time = 1 << 60; m.Expires = 0 }, key, sign},
		{"no nonce", "nonce of zeros", func(m *SourceMark) { m.Nonce = Nonce{} }, key, sign},
		{"expired before", "not after it is signed", func(m *SourceMark) { m.Expires = m.Time }, key, sign},
		{"negative expiry", "years 1970", func(m *SourceMark) { m.Expires = -1 }, key, sign},
		{"another algorithm", "need ed25519", func(*SourceMark) {}, "\x02" + key[1:], sign},
		{"another signer", "does not verify", func(*SourceMark) {}, key, other},
		{"a failing signer", "agent is gone", func(*SourceMark) {}, key, failing},
		{"a short signature", "5 octets", func(*SourceMark) {}, key, short},
	} {
		m := good
		c.change(&m)
		if _, err := SignSource(m, c.key, c.sign); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestSourceTamper changes every octet of a mark and every digit of its text:
// none is taken for valid.
func TestSourceTamper(t *testing.T) {
	m := testMark(t)
	key, _ := testKey(1)
	candidates := []Candidate{{Holder: m.Code, Key: key}}
	if f := CheckSource(m, candidates, m.Digest, markTime+60); f.Verdict != Valid {
		t.Fatalf("the mark is %s", f.Verdict)
	}
	text := markText(t, m)
	address := strings.TrimSuffix(text, m.digits())
	judge := func(what, text string) (read bool) {
		p, err := ParsePayload(text)
		if err != nil {
			return false
		}
		if f := CheckSource(p.Source, candidates, m.Digest, markTime+60); f.Verdict == Valid {
			t.Errorf("%s: valid all the same", what)
		}
		return true
	}
	octets := append(m.Statement(), m.Signature[:]...)
	read := 0
	for i := range octets {
		for _, x := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(octets)
			b[i] ^= x
			if judge("octet", address+new(big.Int).SetBytes(b).String()) {
				read++
			}
		}
		judge("cut", address+new(big.Int).SetBytes(octets[:i]).String())
		judge("octet left out", address+new(big.Int).SetBytes(append(bytes.Clone(octets[:i]), octets[i+1:]...)).String())
		if i == 0 {
			continue // a zero before a number changes nothing, but its text
		}
		judge("octet put in", address+new(big.Int).SetBytes(append(append(bytes.Clone(octets[:i]), 0), octets[i:]...)).String())
	}
	judge("leading zero", address+"0"+m.digits())
	if read < 200 {
		t.Errorf("only %d changed marks can be read, so this tests little", read)
	}
	for i := len(address); i < len(text); i++ {
		for d := byte('0'); d <= '9'; d++ {
			if d != text[i] {
				judge("digit", text[:i]+string(d)+text[i+1:])
			}
		}
	}
}

func TestCheckSource(t *testing.T) {
	m := testMark(t)
	plate := testPlate(t)
	key, _ := testKey(1)
	other, _ := testKey(2)
	department := Candidate{Holder: m.Code, Key: key}
	with := func(f func(*Candidate)) Candidate {
		c := department
		f(&c)
		return c
	}
	forged := m
	forged.Signature[5] ^= 1
	now := markTime + 60
	for _, c := range []struct {
		name       string
		mark       SourceMark
		candidates []Candidate
		digest     cityid.Digest
		now        cityid.Time
		want       Verdict
	}{
		{"a report", m, []Candidate{department}, m.Digest, now, Valid},
		{"its bytes not at hand", m, []Candidate{department}, cityid.Digest{}, now, BytesWanted},
		{"other bytes", m, []Candidate{department}, cityid.Digest{1}, now, WrongBytes},
		{"other bytes, no keys", m, nil, cityid.Digest{1}, now, WrongBytes},
		{"a plate", plate, []Candidate{department}, cityid.Digest{}, now, Valid},
		{"a plate for bytes", plate, []Candidate{department}, m.Digest, now, WrongBytes},
		{"the key of the city", m, []Candidate{with(func(c *Candidate) { c.Holder = code(t, "MA.156.1301") })}, m.Digest, now, Valid},
		{"the key of another department", m, []Candidate{with(func(c *Candidate) { c.Holder = code(t, "MA.156.1301.01") })}, m.Digest, now, NoKey},
		{"another key", m, []Candidate{with(func(c *Candidate) { c.Key = other })}, m.Digest, now, NoKey},
		{"no keys", m, nil, m.Digest, now, NoKey},
		{"forged", forged, []Candidate{department}, m.Digest, now, BadSignature},
		{"a thief's key", m, []Candidate{with(func(c *Candidate) { c.CompromisedSince = markTime + 9999 })}, m.Digest, now, Compromised},
		{"a key from later", m, []Candidate{with(func(c *Candidate) { c.NotBefore = markTime + 1 })}, m.Digest, now, KeyNotInForce},
		{"a key from then", m, []Candidate{with(func(c *Candidate) { c.NotBefore = markTime })}, m.Digest, now, Valid},
		{"a key until then", m, []Candidate{with(func(c *Candidate) { c.NotAfter = markTime })}, m.Digest, now, KeyNotInForce},
		{"a key until later", m, []Candidate{with(func(c *Candidate) { c.NotAfter = markTime + 1 })}, m.Digest, now, Valid},
		{"a clock five minutes behind", m, []Candidate{department}, m.Digest, markTime - markDrift, Valid},
		{"a clock further behind", m, []Candidate{department}, m.Digest, markTime - markDrift - 1, NotYetValid},
		{"the last second", m, []Candidate{department}, m.Digest, m.Expires - 1, Valid},
		{"expired", m, []Candidate{department}, m.Digest, m.Expires, Expired},
		{"expired, no bytes", m, []Candidate{department}, cityid.Digest{}, m.Expires, Expired},
		{"one of two keys", m, []Candidate{with(func(c *Candidate) { c.Key = other }), department}, m.Digest, now, Valid},
		{"also known as stolen", m, []Candidate{department, with(func(c *Candidate) { c.CompromisedSince = 1 })}, m.Digest, now, Compromised},
	} {
		f := CheckSource(c.mark, c.candidates, c.digest, c.now)
		if f.Verdict != c.want || (f.Key == "") != (c.want == BadSignature || c.want == NoKey || c.want == WrongBytes) {
			t.Errorf("%s: %v, want %v", c.name, f, c.want)
		}
		if undecided := c.want == NoKey || c.want == Compromised || c.want == BytesWanted; f.Verdict.Undecided() != undecided {
			t.Errorf("%s: undecided %t", c.name, f.Verdict.Undecided())
		}
	}
}

// TestSourceCandidates finds the keys of the policy that governs, and no others.
func TestSourceCandidates(t *testing.T) {
	policy := func(n byte) *cityid.Policy {
		key, _ := testKey(n)
		return &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: key, Roles: cityid.RoleAssert}}}}}
	}
	records := map[cityid.Code]*cityid.Record{}
	for _, r := range []cityid.Record{
		{Code: code(t, "MA.156.1301"), Status: cityid.StatusActive, Policy: policy(1)},
		{Code: code(t, "MA.156.1301.02"), Parent: code(t, "MA.156.1301"), Status: cityid.StatusActive, Policy: policy(2)},
		{Code: code(t, "MA.156.1301.02.7"), Parent: code(t, "MA.156.1301.02"), Status: cityid.StatusActive},
		{Code: code(t, "MA.156.1301.03"), Parent: code(t, "MA.156.1301"), Status: cityid.StatusActive},
		{Code: code(t, "MA.156.1301.04"), Parent: code(t, "MA.156.1301"), Status: cityid.StatusRetired, Policy: policy(3)},
	} {
		records[r.Code] = &r
	}
	record := func(c cityid.Code) (*cityid.Record, error) { return records[c], nil }
	for c, want := range map[string]string{
		"MA.156.1301": "MA.156.1301", "MA.156.1301.02": "MA.156.1301.02", "MA.156.1301.02.7": "MA.156.1301.02", "MA.156.1301.03": "MA.156.1301",
		"MA.156.1301.04": "", "MA.156.1301.09": "",
	} {
		got, err := SourceCandidates(code(t, c), record)
		if err != nil || (want == "") != (len(got) == 0) || want != "" && (len(got) != 1 || got[0].Holder != code(t, want)) {
			t.Errorf("%s: %v, %v, want those of %q", c, got, err, want)
		}
	}
	gone := errors.New("gone")
	if _, err := SourceCandidates(code(t, "MA"), func(cityid.Code) (*cityid.Record, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("the error %v", err)
	}
	circle := func(cityid.Code) (*cityid.Record, error) {
		return &cityid.Record{Code: code(t, "MA"), Parent: code(t, "MA")}, nil
	}
	if got, err := SourceCandidates(code(t, "MA"), circle); got != nil || err != nil {
		t.Errorf("a circle: %v, %v", got, err)
	}
}
