// SPDX-License-Identifier: Apache-2.0

package label

import (
	"encoding/hex"
	"encoding/json"
	"flag"
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
	for _, p := range [][2]string{
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
		{swap("/MA.156.1301.02/20.010501/000045", ""), "want a code and a signature"},
		{"HTTPS://ID.EXAMPLE/X/MA.156.1301", "want a code and a signature"},
		{strings.TrimSuffix(text, digits) + Certificate{Issued: 2, Expires: 1}.digits(), "before it is issued"},
		{strings.Repeat("A", 513), "longer than any label"},
	} {
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
	return v
}

// verdict judges one vector.
func (k vectorCertificate) verdict(t *testing.T) string {
	t.Helper()
	p, err := ParsePayload(k.Text)
	if err != nil || p.Kind != KindCertificate {
		t.Fatalf("%s: %v, %v", k.Name, p.Kind, err)
	}
	var candidates []Candidate
	for _, c := range k.Candidates {
		candidates = append(candidates, Candidate(c))
	}
	return Check(p.Certificate, candidates, k.Now).Verdict.String()
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
	if len(v.Payloads) != len(inputs.Payloads) || len(v.Certificates) != len(inputs.Certificates) {
		t.Errorf("%d payloads and %d certificates: run with -update, then read the difference", len(v.Payloads), len(v.Certificates))
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
}
