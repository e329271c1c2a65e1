// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

const vectorFile = "testdata/vectors.json"

// vectors is the file that other implementations check themselves against.
type vectors struct {
	About        string              `json:"about"`
	Keys         []vectorKey         `json:"keys"`
	Payloads     []vectorPayload     `json:"payloads"`
	Certificates []vectorCertificate `json:"certificates"`
	Marks        []vectorMark        `json:"marks"`
}

type vectorKey struct {
	Seed   string           `json:"seed"` // Ed25519, hexadecimal
	Public cityid.PublicKey `json:"public"`
	ID     string           `json:"key_id"`
}

type vectorPayload struct {
	Text      string `json:"text"`
	Error     string `json:"error,omitempty"` // part of the reason; then nothing below is set
	Kind      string `json:"kind,omitempty"`
	Public    string `json:"public,omitempty"`
	Host      string `json:"host,omitempty"`
	Code      string `json:"code,omitempty"`
	KeyID     string `json:"key_id,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Time      string `json:"time,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	Issued    string `json:"issued,omitempty"`
	Expires   string `json:"expires,omitempty"`
	Message   string `json:"message,omitempty"` // what is signed, hexadecimal
	Signature string `json:"signature,omitempty"`
}

type vectorCertificate struct {
	Name       string            `json:"name"`
	Text       string            `json:"text"`
	Candidates []vectorCandidate `json:"candidates"`
	Now        cityid.Time       `json:"now"`
	Verdict    string            `json:"verdict"`
}

type vectorCandidate struct {
	Holder           cityid.Code      `json:"holder"`
	Key              cityid.PublicKey `json:"key"`
	NotBefore        cityid.Time      `json:"not_before,omitempty"`
	NotAfter         cityid.Time      `json:"not_after,omitempty"`
	CompromisedSince cityid.Time      `json:"compromised_since,omitempty"`
}

// vectorMark is a source mark to be judged with the bytes of a digest, or none.
type vectorMark struct {
	Name       string            `json:"name"`
	Text       string            `json:"text"`
	Candidates []vectorCandidate `json:"candidates"`
	Digest     cityid.Digest     `json:"digest,omitzero"`
	Now        cityid.Time       `json:"now"`
	Verdict    string            `json:"verdict"`
}

// describe fills a vector from what ParsePayload says, but for the error.
func describe(text string) (vectorPayload, error) {
	v := vectorPayload{Text: text}
	p, err := ParsePayload(text)
	if err != nil {
		return v, err
	}
	v.Kind, v.Public, v.Host, v.Code = p.Kind.String(), p.Public.String(), p.Public.Host(), p.Code.String()
	if p.Kind == KindCertificate {
		c := p.Certificate
		v.KeyID, v.Issued, v.Expires = c.KeyID.String(), c.Issued.String(), c.Expires.String()
		v.Message, v.Signature = hex.EncodeToString(c.Message()), hex.EncodeToString(c.Signature[:])
	}
	if p.Kind == KindSource {
		m := p.Source
		v.KeyID, v.Time, v.Expires, v.Nonce = m.KeyID.String(), m.Time.String(), m.Expires.String(), hex.EncodeToString(m.Nonce[:])
		v.Message, v.Signature = hex.EncodeToString(m.Message()), hex.EncodeToString(m.Signature[:])
		if !m.IsPlate() {
			v.Digest = m.Digest.String()
		}
	}
	return v, nil
}

// vectorInputs returns the vectors without their outcomes, but for the errors.
func vectorInputs(t *testing.T) vectors {
	c := testCertificate(t)
	text := Payload{Kind: KindCertificate, Public: public(t, "https://id.example"), Code: c.Code, Certificate: c}.String()
	digits := c.digits()
	swap := func(old, new string) string { return strings.Replace(text, old, new, 1) }
	forged := text[:len(text)-1] + string('0'+(text[len(text)-1]-'0'+1)%10)
	key, _ := testKey(1)
	other, _ := testKey(2)
	v := vectors{
		About: "texts of labels with what they mean, and certificates with the verdict they deserve; an error is part of one implementation's reason, that there is one is what counts",
	}
	for n, k := range []cityid.PublicKey{key, other} {
		seed := make([]byte, 32)
		seed[0] = byte(n + 1)
		v.Keys = append(v.Keys, vectorKey{Seed: hex.EncodeToString(seed), Public: k, ID: KeyIDOf(k).String()})
	}
	payloads := [][2]string{
		{"HTTPS://ID.EXAMPLE/MA.156.1301.02/20.010501/000045"},
		{"https://id.example/ma.156.1301.02/20.010501/000045"},
		{"http://10.1.2.3:8080/MA.156.1301"},
		{"HTTPS://ID.EXAMPLE:443/MA.156.1301"},
		{"HTTPS://ID.EXAMPLE/MA.156.1301/"},
		{"HTTPS://ID.EXAMPLE/MA"},
		{"HTTPS://ID.EXAMPLE/ID/MA"},
		{"HTTPS://ID.EXAMPLE/ID/2/MA.156.1301/20.010501"},
		{"HTTPS://ID.EXAMPLE/MA/20.010501/X"},
		{"MA.156.1301.02/20.010501/000045"},
		{code(t, "MA.156.1301.02/20.010501/000045").Display()},
		{text},
		{strings.ToLower(text)},
		{swap("ID.EXAMPLE", "OTHER.EXAMPLE:8080/ID")},
		{"", "neither a label nor a code"},
		{"LAMP 45", "neither a label nor a code"},
		{"ftp://id.example/MA", "must begin with"},
		{"HTTPS://ID.EXAMPLE", "no code after the host"},
		{"HTTPS://ID.EXAMPLE/", "no code after the host"},
		{"HTTPS://ID.EXAMPLE/EN", "reserved"},
		{"HTTPS://ID.EXAMPLE/zh/code/MA.156.1301", "not a label"},
		{"HTTPS://ID.EXAMPLE/v1/MA.156.1301", "not a label"},
		{"HTTPS://ID.EXAMPLE//MA.156.1301", "not a label"},
		{"HTTPS://ID.EXAMPLE/MA.156.1301?X=1", "only scheme, host, port"},
		{"HTTPS://ID.EXAMPLE/MA.156.1301#X", "only scheme, host, port"},
		{"HTTPS://ID.EXAMPLE/MA%2E156", "only scheme, host, port"},
		{"HTTPS://U@ID.EXAMPLE/MA.156.1301", "only scheme, host, port"},
		{"HTTPS://ID.EXAMPLE/MA.156.1301 ", "unexpected character"},
		{"HTTPS://ID.EXAMPLE/MA.156.13O1.02/20.0105", "not a label"},
		{"HTTP://LOCALHOST:8080/MA.156.1301", "names only the machine"},
		{"HTTP://127.0.0.1/MA.156.1301", "names only the machine"},
		{"HTTP://127.1/MA.156.1301", "neither a name nor"},
		{"HTTP://[::1]/MA.156.1301", "only scheme, host, port"},
		{strings.Replace(text, "/X/", "/Y/", 1), "not a label"},
		{text[:len(text)-1], "cut or altered"},
		{text + "0", "cut or altered"},
		{strings.TrimSuffix(text, digits) + strings.Repeat("9", 174), "above 576 bits"},
		{swap("/MA.156.1301.02/20.010501/000045", ""), "cut or altered"},
		{"HTTPS://ID.EXAMPLE/X/MA.156.1301", "want a code and a signature"},
		{markText(t, testMark(t))},
		{strings.ToLower(markText(t, testMark(t))) + "/"},
		{strings.Replace(markText(t, testMark(t)), "ID.EXAMPLE", "OTHER.EXAMPLE:8080/ID", 1)},
		{markText(t, testPlate(t))},
		{longestMark(t)},
		{strings.Replace(markText(t, testMark(t)), "/X/", "/X/0", 1), "cut or altered"},
		{markText(t, testMark(t))[:350], "cut or altered"},
		{strings.Replace(markText(t, testMark(t)), "/X/", "/X//", 1), "certificate"},
		{strings.Replace(markText(t, testMark(t)), "/X/", "/Y/", 1), "not a label"},
		{"HTTPS://ID.EXAMPLE/X/1", "cut or altered"},
		{"HTTPS://ID.EXAMPLE/X/" + strings.Repeat("9", 648), "holds no statement"},
		{"HTTPS://ID.EXAMPLE/X/" + strings.Repeat("9", 649), "cut or altered"},
		{strings.TrimSuffix(text, digits) + Certificate{Issued: 2, Expires: 1}.digits(), "before it is issued"},
		{strings.Repeat("A", 712), "longer than any label"},
	}
	for _, b := range badStatements(t) {
		payloads = append(payloads, [2]string{"HTTPS://ID.EXAMPLE/X/" + b.digits, b.want})
	}
	for _, p := range payloads {
		v.Payloads = append(v.Payloads, vectorPayload{Text: p[0], Error: p[1]})
	}
	city := vectorCandidate{Holder: code(t, "MA.156.1301"), Key: key}
	since := city
	since.CompromisedSince = day(t, "2027-01-01").Start()
	ended := city
	ended.NotAfter = day(t, "2026-11-01").Start()
	now := day(t, "2027-06-01").Start()
	for _, k := range []vectorCertificate{
		{Name: "a key of the city", Candidates: []vectorCandidate{city}},
		{Name: "a key of another city", Candidates: []vectorCandidate{{Holder: code(t, "MA.156.1302"), Key: key}}},
		{Name: "a key with another id", Candidates: []vectorCandidate{{Holder: city.Holder, Key: other}}},
		{Name: "no keys"},
		{Name: "before the first day", Candidates: []vectorCandidate{city}, Now: day(t, "2026-11-20").Start() - 1},
		{Name: "the last second", Candidates: []vectorCandidate{city}, Now: day(t, "2028-11-20").Start() - 1},
		{Name: "after the last day", Candidates: []vectorCandidate{city}, Now: day(t, "2028-11-20").Start()},
		{Name: "one digit changed", Text: forged, Candidates: []vectorCandidate{city}},
		{Name: "copied to another code", Text: swap("000045", "000046"), Candidates: []vectorCandidate{city}},
		{Name: "another host", Text: swap("ID.EXAMPLE", "OTHER.EXAMPLE"), Candidates: []vectorCandidate{city}},
		{Name: "a key compromised later", Candidates: []vectorCandidate{since}},
		{Name: "a key replaced before", Candidates: []vectorCandidate{ended}},
	} {
		if k.Text == "" {
			k.Text = text
		}
		if k.Now == 0 {
			k.Now = now
		}
		v.Certificates = append(v.Certificates, k)
	}
	v.Marks = markInputs(t)
	return v
}

// markInputs returns the vectors of source marks to be judged.
func markInputs(t *testing.T) []vectorMark {
	m, plate := testMark(t), testPlate(t)
	report, device := markText(t, m), markText(t, plate)
	forged := m
	forged.Signature[7] ^= 1
	key, _ := testKey(1)
	other, _ := testKey(2)
	department := vectorCandidate{Holder: m.Code, Key: key}
	stolen, early, late := department, department, department
	stolen.CompromisedSince = m.Time + 999
	early.NotAfter, late.NotBefore = m.Time, m.Time+1
	in := func(text string) string { return strings.Replace(text, "ID.EXAMPLE", "OTHER.EXAMPLE", 1) }
	out := []vectorMark{
		{Name: "a report", Digest: m.Digest},
		{Name: "a report whose bytes are not at hand"},
		{Name: "other bytes", Digest: cityid.Digest{1}},
		{Name: "another host", Text: in(report), Digest: m.Digest},
		{Name: "a plate", Text: device},
		{Name: "a plate beside bytes", Text: device, Digest: m.Digest},
		{Name: "one bit of the signature changed", Text: markText(t, forged), Digest: m.Digest},
		{Name: "no keys", Digest: m.Digest, Candidates: []vectorCandidate{}},
		{Name: "a key of another department", Digest: m.Digest, Candidates: []vectorCandidate{{Holder: code(t, "MA.156.1301.03"), Key: key}}},
		{Name: "a key of the city", Digest: m.Digest, Candidates: []vectorCandidate{{Holder: code(t, "MA.156.1301"), Key: key}}},
		{Name: "another key", Digest: m.Digest, Candidates: []vectorCandidate{{Holder: m.Code, Key: other}}},
		{Name: "a key compromised later", Digest: m.Digest, Candidates: []vectorCandidate{stolen}},
		{Name: "a key replaced before", Digest: m.Digest, Candidates: []vectorCandidate{early}},
		{Name: "a key of later", Digest: m.Digest, Candidates: []vectorCandidate{late}},
		{Name: "dated five minutes ahead", Digest: m.Digest, Now: m.Time - markDrift},
		{Name: "dated further ahead", Digest: m.Digest, Now: m.Time - markDrift - 1},
		{Name: "in its last second", Digest: m.Digest, Now: m.Expires - 1},
		{Name: "expired", Digest: m.Digest, Now: m.Expires},
	}
	for i := range out {
		if out[i].Text == "" {
			out[i].Text = report
		}
		if out[i].Candidates == nil {
			out[i].Candidates = []vectorCandidate{department}
		}
		if out[i].Now == 0 {
			out[i].Now = m.Time + 60
		}
	}
	return out
}

// badStatement is a mark that no source makes.
type badStatement struct{ digits, want string }

// badStatements returns signed numbers whose statements are wrong in one thing.
func badStatements(t *testing.T) []badStatement {
	m := testMark(t)
	good := m.Statement()
	signed := func(statement []byte) string {
		return new(big.Int).SetBytes(append(bytes.Clone(statement), m.Signature[:]...)).String()
	}
	swap := func(old, new string) string {
		b := bytes.Replace(good, []byte(old), []byte(new), 1)
		if bytes.Equal(b, good) {
			t.Fatalf("no %x in the statement", old)
		}
		return signed(b)
	}
	with := func(f func(*SourceMark)) string {
		x := m
		f(&x)
		return signed(x.Statement())
	}
	return []badStatement{
		{swap("\xa7\x01\x01", "\xa7\x01\x02"), "version 2"},
		{swap("\xa7\x01\x01", "\xa7\x01\x18\x01"), "version 24"},
		{swap("\xa7\x01\x01", "\xb8\x07\x01\x01"), "holds no statement"},
		{swap("\xa7\x01\x01", "\xbf\x01\x01"), "can not be read"},
		{swap("\x03\x58\x20", "\x03\x59\x00\x20"), "can not be read"},
		{swap("\xa7", "\xa8"), "can not be read"},
		{swap("\xa7", "\xa6"), "can not be read"},
		{signed(append(bytes.Clone(good), 0)), "can not be read"},
		{signed(append([]byte("\xa8"+string(good[1:])), 8, 0)), "can not be read"},
		{signed(good[:len(good)-6]), "can not be read"},
		{swap("\x50\x01\x02", "\x4f\x02"), "can not be read"},
		{swap("\x50\x01\x02", "\x51\x00\x01\x02"), "can not be read"},
		{swap("MA.156.1301.02", "ma.156.1301.02"), "can not be read"},
		{swap("MA.156.1301.02", "MA.156.1301.0-"), "can not be read"},
		{swap("\x6eMA.156.1301.02", "\x62EN"), "reserved"},
		{with(func(m *SourceMark) { m.Code = cityid.Code{} }), "no code"},
		{with(func(m *SourceMark) { m.Nonce = Nonce{} }), "nonce of zeros"},
		{with(func(m *SourceMark) { m.Expires = m.Time }), "not after it is signed"},
		{with(func(m *SourceMark) { m.Time = -1 }), "years 1970"},
		{with(func(m *SourceMark) { m.Time = 0 }), "years 1970"},
		{with(func(m *SourceMark) { m.Expires = 253402300800 }), "years 1970"},
		{signed([]byte("\xa7\x01\x01\x02\x6eMA.156.1301.02\x03\x58\x20" + strings.Repeat("\x00", 32) + string(good[bytes.Index(good, []byte("\x04\x1a")):]))), "can not be read"},
	}
}

// verdict judges one vector.
func (k vectorMark) verdict(t *testing.T) string {
	t.Helper()
	p, err := ParsePayload(k.Text)
	if err != nil || p.Kind != KindSource {
		t.Fatalf("%s: %v, %v", k.Name, p.Kind, err)
	}
	return CheckSource(p.Source, candidatesOf(k.Candidates), k.Digest, k.Now).Verdict.String()
}

func candidatesOf(list []vectorCandidate) []Candidate {
	var out []Candidate
	for _, c := range list {
		out = append(out, Candidate(c))
	}
	return out
}

// verdict judges one vector.
func (k vectorCertificate) verdict(t *testing.T) string {
	t.Helper()
	p, err := ParsePayload(k.Text)
	if err != nil || p.Kind != KindCertificate {
		t.Fatalf("%s: %v, %v", k.Name, p.Kind, err)
	}
	return Check(p.Certificate, candidatesOf(k.Candidates), k.Now).Verdict.String()
}

func TestVectors(t *testing.T) {
	if *update {
		v, err := vectorInputs(t), error(nil)
		for i, p := range v.Payloads {
			if p.Error != "" {
				continue
			}
			if v.Payloads[i], err = describe(p.Text); err != nil {
				t.Fatal(err)
			}
		}
		for i, k := range v.Certificates {
			v.Certificates[i].Verdict = k.verdict(t)
		}
		for i, k := range v.Marks {
			v.Marks[i].Verdict = k.verdict(t)
		}
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	inputs := vectorInputs(t)
	if diff := cmp.Diff(inputs.Keys, v.Keys); diff != "" {
		t.Errorf("keys differ (-want +file):\n%s", diff)
	}
	if len(v.Payloads) != len(inputs.Payloads) || len(v.Certificates) != len(inputs.Certificates) || len(v.Marks) != len(inputs.Marks) {
		t.Errorf("%d payloads, %d certificates and %d marks: run with -update, then read the difference", len(v.Payloads), len(v.Certificates), len(v.Marks))
	}
	for _, want := range v.Payloads {
		got, err := describe(want.Text)
		switch {
		case want.Error == "" && err != nil:
			t.Errorf("%q: %v", want.Text, err)
		case want.Error != "" && (err == nil || !strings.Contains(err.Error(), want.Error)):
			t.Errorf("%q: got %v, want an error with %q", want.Text, err, want.Error)
		case want.Error == "":
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q differs (-want +got):\n%s", want.Text, diff)
			}
		}
	}
	for _, k := range v.Certificates {
		if got := k.verdict(t); got != k.Verdict {
			t.Errorf("%s: %s, want %s", k.Name, got, k.Verdict)
		}
	}
	for _, k := range v.Marks {
		if got := k.verdict(t); got != k.Verdict {
			t.Errorf("%s: %s, want %s", k.Name, got, k.Verdict)
		}
	}
}
