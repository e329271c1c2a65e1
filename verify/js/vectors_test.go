// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/label"
	"cityid/merkle"
	"cityid/verify"
)

// vector is a file in testdata/vectors, of either kind; see its README.md.
type vector struct {
	name     string
	Trust    cityid.Trust      `json:"trust"`
	Bundle   cityid.Bytes      `json:"bundle"`
	Link     cityid.Bytes      `json:"link"`
	Archived cityid.Bytes      `json:"archived"`
	Code     cityid.Code       `json:"code"`
	Kind     cityid.AnswerKind `json:"kind"`
	Keys     []cityid.Bytes    `json:"keys"`
	Now      time.Time         `json:"now"`
	At       time.Time         `json:"at,omitzero"`
	Want     struct {
		Before    verify.Verdict `json:"before"`
		Refused   bool           `json:"refused"`
		Verdict   verify.Verdict `json:"verdict"`
		Reason    verify.Reason  `json:"reason"`
		Height    uint64         `json:"height"`
		Time      time.Time      `json:"time"`
		Trust     uint32         `json:"trust"`
		Allocated bool           `json:"allocated"`
		Revision  uint32         `json:"revision"`
		Records   []string       `json:"records"`
		Zones     []struct {
			Zone   string    `json:"zone"`
			Chain  string    `json:"chain"`
			Height uint64    `json:"height"`
			Time   time.Time `json:"time"`
			Status string    `json:"status"`
		} `json:"zones"`
	} `json:"want"`
}

func readVectors(t testing.TB, pattern string) []*vector {
	t.Helper()
	files, err := filepath.Glob("../../testdata/vectors/" + pattern + ".json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors %s (%v)", pattern, err)
	}
	var out []*vector
	for _, f := range files {
		v := &vector{name: strings.TrimSuffix(filepath.Base(f), ".json")}
		readJSON(t, f, v)
		out = append(out, v)
	}
	return out
}

// question is the job that judges a bundle as the vector says.
func (v *vector) question(bundle []byte) job {
	j := job{"op": "bundle", "trust": v.Trust, "bundle": cityid.Bytes(bundle), "now": v.Now}
	if !v.At.IsZero() {
		j["at"] = v.At
	}
	if v.Kind != 0 {
		j["kind"], j["code"] = v.Kind, v.Code
	}
	if len(v.Keys) > 0 {
		j["keys"] = v.Keys
	}
	return j
}

func (v *vector) options() verify.Options {
	o := verify.Options{Now: v.Now, At: v.At, Code: v.Code, Kind: v.Kind}
	for _, k := range v.Keys {
		o.Keys = append(o.Keys, k)
	}
	return o
}

// judgement is the result of the job.
type judgement struct {
	Verdict   verify.Verdict    `json:"verdict"`
	Reason    verify.Reason     `json:"reason"`
	Message   string            `json:"message"`
	Height    string            `json:"height"`
	Time      string            `json:"time"`
	Trust     uint32            `json:"trust"`
	TrustHash cityid.Digest     `json:"trustHash"`
	Allocated bool              `json:"allocated"`
	Absent    bool              `json:"absent"`
	Record    json.RawMessage   `json:"record"`
	Records   json.RawMessage   `json:"records"`
	Entries   json.RawMessage   `json:"entries"`
	Learned   []json.RawMessage `json:"learned"`
	Zones     []zoneJudgement   `json:"zones"`
	Checks    []string          `json:"checks"`
}

// zoneJudgement is a zone of the way, as the driver gives it.
type zoneJudgement struct {
	Zone   string          `json:"zone"`
	Chain  string          `json:"chain"`
	Height string          `json:"height"`
	Time   string          `json:"time"`
	Record json.RawMessage `json:"record"`
	Known  json.RawMessage `json:"known"`
}

// differs says whether a zone differs from that of Go.
func (j *zoneJudgement) differs(z *verify.ZoneResult) bool {
	height, at := "", ""
	if z.AsOf.Chain != "" {
		height, at = strconv.FormatUint(z.AsOf.Height, 10), z.AsOf.Time.Format(time.RFC3339Nano)
	}
	return j.Zone != z.Zone.String() || j.Chain != z.Chain || j.Height != height || j.Time != at || !sameJSON(j.Record, z.Record) || !sameJSON(j.Known, z.Known)
}

// differs says in what a judgement differs from that of Go, or "". Of the times
// and numbers in messages only a valid answer's are compared.
func (j *judgement) differs(r verify.Result) string {
	if j.Verdict != r.Verdict || j.Reason != r.Reason {
		return fmt.Sprintf("verdict %s %q (%s), want %s %q (%s)", j.Verdict, j.Reason, j.Message, r.Verdict, r.Reason, r.Message)
	}
	var checks []string
	for _, c := range r.Checks {
		checks = append(checks, strings.TrimSpace(c.Zone.String()+" "+c.Name+" "+[...]string{"undecided", "ok", "failed"}[c.Verdict]))
	}
	if !slices.Equal(checks, j.Checks) {
		return fmt.Sprintf("checks %q, want %q", j.Checks, checks)
	}
	if r.Verdict == verify.Invalid {
		return ""
	}
	height, at := "", ""
	if r.AsOf.Chain != "" {
		height, at = strconv.FormatUint(r.AsOf.Height, 10), r.AsOf.Time.Format(time.RFC3339Nano)
	}
	if j.Height != height || j.Time != at || j.Allocated != r.Allocated || r.Trust != nil && (j.Trust != r.Trust.Statement.Version || j.TrustHash != r.Trust.Statement.Hash()) {
		return fmt.Sprintf("as of %s, %s, allocated %t by version %d %s, want %s, %s, %t, %+v", j.Height, j.Time, j.Allocated, j.Trust, j.TrustHash, height, at, r.Allocated, r.Trust)
	}
	single := r.Kind == cityid.AnswerRecord || r.Kind == cityid.AnswerHistory
	if j.Absent != (r.Verdict == verify.Valid && single && !r.Allocated) {
		return "absent"
	}
	if r.Verdict == verify.Valid && j.Message != r.Message {
		return fmt.Sprintf("message %q, want %q", j.Message, r.Message)
	}
	for i := range r.Learned {
		// Keys of unknown algorithms have no text form that could be compared.
		if len(j.Learned) != len(r.Learned) || !sameJSON(j.Learned[i], r.Learned[i]) && !bytes.Contains(j.Learned[i], []byte("algorithm-")) {
			return "learned versions"
		}
	}
	if len(j.Zones) != len(r.Zones) {
		return fmt.Sprintf("zones %+v, want %+v", j.Zones, r.Zones)
	}
	for i := range r.Zones {
		if j.Zones[i].differs(&r.Zones[i]) {
			return fmt.Sprintf("zone %+v, want %+v", j.Zones[i], r.Zones[i])
		}
	}
	if !sameJSON(j.Record, r.Record) || !sameJSON(j.Records, r.Records) && len(r.Records)+len(j.Records) > 2 {
		return fmt.Sprintf("record %s\nrecords %s", j.Record, j.Records)
	}
	if !sameJSON(j.Entries, r.Entries) && len(r.Entries)+len(j.Entries) > 2 {
		return fmt.Sprintf("entries %s", j.Entries)
	}
	return ""
}

// sameJSON compares values by their JSON, members in any order.
func sameJSON(a, b any) bool {
	plain := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		var x any
		d := json.NewDecoder(bytes.NewReader(data))
		if err := d.Decode(&x); err != nil {
			return err.Error()
		}
		data, err = json.Marshal(x)
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	return plain(a) == plain(b)
}

func TestBundles(t *testing.T) {
	vectors := readVectors(t, "bundle-*")
	var jobs []job
	for _, v := range vectors {
		jobs = append(jobs, v.question(v.Bundle))
	}
	forms(t, func(t *testing.T, module string) {
		for i, a := range runJobs(t, module, jobs) {
			v := vectors[i]
			var got judgement
			a.into(t, &got)
			if got.Verdict != v.Want.Verdict || got.Reason != v.Want.Reason {
				t.Errorf("%s: %s %q (%s), want %s %q", v.name, got.Verdict, got.Reason, got.Message, v.Want.Verdict, v.Want.Reason)
			}
			if d := got.differs(verify.CheckEncoded(&v.Trust, v.Bundle, v.options())); d != "" {
				t.Errorf("%s: %s", v.name, d)
			}
		}
	})
}

func TestLinks(t *testing.T) {
	vectors := readVectors(t, "link-*")
	var jobs []job
	for _, v := range vectors {
		jobs = append(jobs, v.question(v.Bundle), job{"op": "archive", "bundle": v.Bundle, "link": v.Link})
		if v.Archived != nil {
			jobs = append(jobs, v.question(v.Archived))
		}
	}
	forms(t, func(t *testing.T, module string) {
		answers := runJobs(t, module, jobs)
		for _, v := range vectors {
			var before judgement
			answers[0].into(t, &before)
			var made struct {
				Archived cityid.Bytes `json:"archived"`
				Refused  string       `json:"refused"`
			}
			answers[1].into(t, &made)
			answers = answers[2:]
			if before.Verdict != v.Want.Before {
				t.Errorf("%s: before %s, want %s", v.name, before.Verdict, v.Want.Before)
			}
			if !bytes.Equal(made.Archived, v.Archived) || v.Want.Refused && made.Refused != v.Want.Verdict.String() {
				t.Errorf("%s: archived to %d octets, refused %q", v.name, len(made.Archived), made.Refused)
			}
			if v.Archived == nil {
				continue
			}
			var after judgement
			answers[0].into(t, &after)
			answers = answers[1:]
			if after.Verdict != v.Want.Verdict || after.Reason != v.Want.Reason {
				t.Errorf("%s: %s %q, want %s %q", v.name, after.Verdict, after.Reason, v.Want.Verdict, v.Want.Reason)
			}
		}
	})
}

func TestSignatureVectors(t *testing.T) {
	type signature struct {
		Name, Public, Message, Signature string
		Valid                            bool
	}
	var all []signature
	for _, kind := range []string{"ed25519", "p256", "webauthn"} {
		var list []signature
		readJSON(t, "../../keys/testdata/"+kind+".json", &list)
		all = append(all, list...)
	}
	var jobs []job
	for _, s := range all {
		jobs = append(jobs, job{"op": "signature", "key": s.Public, "message": s.Message, "signature": s.Signature})
	}
	forms(t, func(t *testing.T, module string) {
		for i, a := range runJobs(t, module, jobs) {
			if string(a.Result) != strconv.FormatBool(all[i].Valid) {
				t.Errorf("%s: %s %s, want %t", all[i].Name, a.Result, a.Error, all[i].Valid)
			}
		}
	})
}

func TestTreeVectors(t *testing.T) {
	type treeRange struct {
		Lo      string   `json:"lo"`
		Hi      *string  `json:"hi"`
		Shallow bool     `json:"shallow"`
		Keys    []string `json:"keys"`
		Proof   string   `json:"proof"`
	}
	var maps []struct {
		Name    string
		Records []struct{ Key, Value string }
		Root    string
		Proofs  []struct {
			Key    string
			Exists bool
			Proof  string
		}
		Ranges []treeRange
	}
	readJSON(t, "../../merkle/testdata/map.json", &maps)
	var jobs []job
	var want []string
	for _, m := range maps {
		values := map[string]string{}
		for _, r := range m.Records {
			value, err := hex.DecodeString(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			values[r.Key] = merkle.ValueHash(value).String()
		}
		for _, p := range m.Proofs {
			j := job{"op": "proof", "key": p.Key, "proof": p.Proof}
			if p.Exists {
				j["value"] = values[p.Key]
			}
			jobs, want = append(jobs, j), append(want, `"`+m.Root+`"`)
		}
		for _, r := range m.Ranges {
			hashes := []string{}
			for _, k := range r.Keys {
				hashes = append(hashes, values[k])
			}
			keys, err := json.Marshal(append([]string{}, r.Keys...))
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job{"op": "range", "lo": r.Lo, "hi": r.Hi, "shallow": r.Shallow, "proof": r.Proof, "values": hashes})
			want = append(want, `{"root":"`+m.Root+`","keys":`+string(keys)+`}`)
		}
	}
	for i, a := range runJobs(t, sourceFile, jobs) {
		if string(a.Result) != want[i] {
			t.Errorf("%v: %s %s, want %s", jobs[i], a.Result, a.Error, want[i])
		}
	}
}

func TestHeaderVectors(t *testing.T) {
	var file struct {
		Blocks []struct {
			Name   string
			Header struct {
				Chain      string `json:"chain_id"`
				Height     int64
				Validators string `json:"validators_hash"`
				AppHash    string `json:"app_hash"`
			}
			Hash              string `json:"header_hash"`
			Stripped          string `json:"header_stripped"`
			WithAppHash       string `json:"header_stripped_with_app_hash"`
			ValidatorsHash    string `json:"validators_hash"`
			ValidatorsEncoded string `json:"validators_encoded"`
			Commit            string `json:"commit_encoded"`
			Votes             []struct {
				Index     int
				SignBytes string `json:"sign_bytes"`
			}
		}
		Refused []struct{ Decoder, Why, Encoded string }
	}
	readJSON(t, "../../header/testdata/vectors.json", &file)
	var jobs []job
	var want []string
	for _, b := range file.Blocks {
		for _, withAppHash := range []bool{false, true} {
			stripped := b.Stripped
			if withAppHash {
				stripped = b.WithAppHash
			}
			jobs = append(jobs, job{"op": "header", "stripped": stripped, "chain": b.Header.Chain, "validators": b.Header.Validators, "appHash": b.Header.AppHash, "withAppHash": withAppHash})
			want = append(want, `"`+b.Hash+`"`)
		}
		jobs, want = append(jobs, job{"op": "validators", "encoded": b.ValidatorsEncoded}), append(want, `"`+b.ValidatorsHash+`"`)
		jobs = append(jobs, job{"op": "votes", "encoded": b.Commit, "chain": b.Header.Chain, "height": strconv.FormatInt(b.Header.Height, 10), "block": b.Hash})
		votes := make([]string, len(b.Votes))
		for i, v := range b.Votes {
			votes[i] = fmt.Sprintf(`{"index":%d,"message":"%s"}`, v.Index, v.SignBytes)
		}
		want = append(want, "["+strings.Join(votes, ",")+"]")
	}
	for _, r := range file.Refused {
		j := job{"op": r.Decoder, "encoded": r.Encoded, "chain": "c", "height": "1", "block": ""}
		switch r.Decoder {
		case "commit":
			j["op"] = "votes"
		case "stripped":
			j["op"], j["stripped"], j["withAppHash"] = "header", r.Encoded, len(r.Encoded) > 1 && (r.Encoded[1]-'0')&1 == 1
			j["validators"], j["appHash"] = "", ""
		case "validators":
		default: // headers with all fields are in no bundle
			continue
		}
		jobs, want = append(jobs, j), append(want, "")
	}
	for i, a := range runJobs(t, sourceFile, jobs) {
		if string(a.Result) != want[i] || (want[i] == "") != (a.Error != "") {
			t.Errorf("%v: %s %s, want %s", jobs[i], a.Result, a.Error, want[i])
		}
	}
}

func TestLabelVectors(t *testing.T) {
	var file struct {
		Payloads []struct {
			Text, Error, Kind, Public, Host, Code, Issued, Expires, Message string
			Digest, Time, Nonce                                             string
			KeyID                                                           string `json:"key_id"`
		}
		Certificates, Marks []struct {
			Name, Text, Digest string
			Candidates         []struct {
				Holder           cityid.Code
				Key              cityid.PublicKey
				NotBefore        cityid.Time `json:"not_before"`
				NotAfter         cityid.Time `json:"not_after"`
				CompromisedSince cityid.Time `json:"compromised_since"`
			}
			Now     cityid.Time
			Verdict string
		}
	}
	readJSON(t, "../../label/testdata/vectors.json", &file)
	var jobs []job
	for _, p := range file.Payloads {
		jobs = append(jobs, job{"op": "payload", "text": p.Text}, job{"op": "message", "text": p.Text})
	}
	judged := append(slices.Clone(file.Certificates), file.Marks...)
	for i, c := range judged {
		candidates := []job{}
		for _, k := range c.Candidates {
			candidates = append(candidates, job{"holder": k.Holder, "key": k.Key, "notBefore": k.NotBefore, "notAfter": k.NotAfter, "compromisedSince": k.CompromisedSince})
		}
		op := "certificate"
		if i >= len(file.Certificates) {
			op = "mark"
		}
		jobs = append(jobs, job{"op": op, "text": c.Text, "candidates": candidates, "digest": c.Digest, "now": c.Now})
	}
	forms(t, func(t *testing.T, module string) {
		answers := runJobs(t, module, jobs)
		for i, p := range file.Payloads {
			a, message := answers[2*i], answers[2*i+1]
			if (p.Error != "") != (a.Error != "") {
				t.Errorf("%q: error %q, want %q", p.Text, a.Error, p.Error)
			}
			if p.Error != "" {
				continue
			}
			var got struct {
				Kind, Public, Host, Code, Display string
				Certificate                       struct{ KeyID, IssuedDate, ExpiresDate string }
				Source                            struct{ KeyID, Digest, Time, Nonce, Expires string }
			}
			a.into(t, &got)
			if x := got.Source; got.Kind == label.KindSource.String() {
				if x.Digest != p.Digest || x.Time != p.Time || x.Nonce != p.Nonce {
					t.Errorf("%q: %+v, want %+v", p.Text, x, p)
				}
				got.Certificate.KeyID, got.Certificate.ExpiresDate = x.KeyID, x.Expires
			}
			if got.Kind != p.Kind || got.Public != p.Public || got.Host != p.Host || got.Code != p.Code || got.Display != cityid.MustParse(p.Code).Display() ||
				got.Certificate.KeyID != p.KeyID || got.Certificate.IssuedDate != p.Issued || got.Certificate.ExpiresDate != p.Expires {
				t.Errorf("%q: %+v, want %+v", p.Text, got, p)
			}
			if p.Message != "" && string(message.Result) != `"`+p.Message+`"` {
				t.Errorf("%q: message %s, want %s", p.Text, message.Result, p.Message)
			}
		}
		for i, c := range judged {
			a := answers[2*len(file.Payloads)+i]
			var got struct {
				Verdict   string
				Undecided bool
			}
			a.into(t, &got)
			if got.Verdict != c.Verdict || got.Undecided != (c.Verdict == label.Compromised.String() || c.Verdict == label.NoKey.String() || c.Verdict == label.BytesWanted.String()) {
				t.Errorf("%s: %+v, want %s", c.Name, got, c.Verdict)
			}
		}
	})
}

func TestCodeVectors(t *testing.T) {
	var file struct {
		Good, Bad, Not []struct{ Input, Code string }
		NotCanonical   []struct{ Input string } `json:"not_canonical"`
	}
	readJSON(t, "../../testdata/codes.json", &file)
	var inputs []string
	for _, c := range file.Good {
		inputs = append(inputs, c.Input)
	}
	for _, c := range file.Bad {
		inputs = append(inputs, c.Input)
	}
	for _, c := range file.NotCanonical {
		inputs = append(inputs, c.Input)
	}
	compareCodes(t, inputs)
}

// compareCodes parses what people may type here and in Go.
func compareCodes(t *testing.T, inputs []string) {
	t.Helper()
	var jobs []job
	for _, s := range inputs {
		jobs = append(jobs, job{"op": "code", "text": s})
	}
	for i, a := range runJobs(t, sourceFile, jobs) {
		code, err := cityid.Parse(inputs[i])
		if (err != nil) != (a.Error != "") || err == nil && string(a.Result) != `"`+code.String()+`"` {
			t.Errorf("code %q: %s %s, want %s (%v)", inputs[i], a.Result, a.Error, code, err)
		}
	}
}
