// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
	"cityid/label"
	"cityid/verify"
)

// The tests in this file compare verdicts with those of Go, on what no vector
// holds.

var (
	seed   = flag.Uint64("seed", 0, "seed of the random changes; 0: another one each time")
	rounds = flag.Int("rounds", 2000, "number of random changes")
)

// source returns a source of randomness and says how to have it again.
func source(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("to repeat: go test ./verify/js -run %s -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 1))
}

// try is a bundle to be judged in both languages.
type try struct {
	what   string
	vector *vector
	bundle []byte
}

// compare judges bundles in both languages, here by two processes at once.
func compare(t *testing.T, tries []try) {
	t.Helper()
	node(t)
	var seen [3]int
	type part struct{ from, to int }
	t.Run("both", func(t *testing.T) {
		for _, p := range []part{{0, len(tries) / 2}, {len(tries) / 2, len(tries)}} {
			t.Run("part", func(t *testing.T) {
				t.Parallel()
				var jobs []job
				for _, x := range tries[p.from:p.to] {
					jobs = append(jobs, x.vector.question(x.bundle))
				}
				for i, a := range runJobs(t, sourceFile, jobs) {
					x := tries[p.from+i]
					if a.Error != "" {
						t.Errorf("%s, %s: threw %s", x.vector.name, x.what, a.Error)
						continue
					}
					var got judgement
					a.into(t, &got)
					if d := got.differs(verify.CheckEncoded(&x.vector.Trust, x.bundle, x.vector.options())); d != "" {
						t.Errorf("%s, %s: %s\n%s", x.vector.name, x.what, d, hex.EncodeToString(x.bundle))
					}
				}
			})
		}
	})
	for _, x := range tries {
		seen[verify.CheckEncoded(&x.vector.Trust, x.bundle, x.vector.options()).Verdict]++
	}
	t.Logf("%d bundles: %d undecided, %d valid, %d invalid", len(tries), seen[0], seen[1], seen[2])
}

// TestChangedOctets changes every octet of some bundles in turn.
func TestChangedOctets(t *testing.T) {
	r := source(t)
	var tries []try
	for _, name := range []string{"bundle-good-record", "bundle-good-absence", "bundle-good-children-none", "bundle-good-zones-absence", "bundle-good-zones-log"} {
		v := readVectors(t, name)[0]
		for i := range v.Bundle {
			if strings.Contains(name, "zones") && r.IntN(3) > 0 {
				continue // they are long
			}
			data := bytes.Clone(v.Bundle)
			data[i] ^= 1 << r.IntN(8)
			tries = append(tries, try{"octet " + strconv.Itoa(i), v, data})
		}
	}
	compare(t, tries)
}

// TestRandomChanges changes all vectors at random: octets, whole parts, the
// trust root they are judged by, and the times.
func TestRandomChanges(t *testing.T) {
	r := source(t)
	vectors := readVectors(t, "bundle-*")
	n := *rounds
	if testing.Short() {
		n /= 4
	}
	var tries []try
	for range n {
		v := *vectors[r.IntN(len(vectors))]
		what, data := "as it is", bytes.Clone(v.Bundle)
		if r.IntN(5) > 0 {
			what, data = changeOctets(r, data)
		} else if b, err := verify.Decode(data); err == nil {
			what, data = changeParts(r, b, vectors)
		}
		switch r.IntN(8) {
		case 0:
			v.Trust = vectors[r.IntN(len(vectors))].Trust
		case 1:
			v.Now = v.Now.Add(time.Duration(r.Int64N(int64(40*24*time.Hour))) - 20*24*time.Hour)
		case 2:
			v.At = v.Now.Add(-time.Duration(r.Int64N(int64(3 * time.Minute))))
		case 3:
			v.At = v.Now.Add(-time.Duration(r.Int64N(int64(6 * 365 * 24 * time.Hour))))
		case 4:
			v.Kind, v.Code = 0, cityid.Code{}
		}
		tries = append(tries, try{what, &v, data})
	}
	compare(t, tries)
}

// TestEmptyFields writes out fields that are left out when they are empty.
func TestEmptyFields(t *testing.T) {
	v := readVectors(t, "bundle-good-record")[0]
	absent := readVectors(t, "bundle-good-absence")[0]
	insert := func(v *vector, before, field string) try {
		i := bytes.Index(v.Bundle, []byte(before))
		data := slices.Insert(bytes.Clone(v.Bundle), i, []byte(field)...)
		data[0]++
		return try{hex.EncodeToString([]byte(field)), v, data}
	}
	end := try{"no values", absent, append(bytes.Clone(absent.Bundle), 0x07, 0x80)}
	end.bundle[0]++
	tries := []try{end, insert(v, "\x06\x81\xa2", "\x05\x80"), {"as it is", v, v.Bundle}}
	for _, field := range []string{"\x09\x58\x20" + strings.Repeat("\x00", 32), "\x0a\x80", "\x0c\x00", "\x0e\x00", "\x0f\x60", "\x10\x60", "\x11\x80", "\x11\x81\x60"} {
		b, err := verify.Decode(v.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		b.Values[0] = append(bytes.Clone(b.Values[0]), field...)
		b.Values[0][0]++
		tries = append(tries, try{"record with " + hex.EncodeToString([]byte(field)), v, cityid.MustMarshal(b)})
	}
	compare(t, tries)
}

// TestTrustFile judges all vectors by a trust file of four versions, and holds
// the reading of such files to Go's.
func TestTrustFile(t *testing.T) {
	versions := map[uint32]cityid.Trust{}
	vectors := readVectors(t, "bundle-*")
	for _, v := range vectors {
		if s := &v.Trust.Statement; s.Chain == vectors[0].Trust.Statement.Chain && versions[s.Version].Signatures == nil {
			versions[s.Version] = v.Trust
		}
	}
	file, err := verify.NewTrustFile(versions[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Add(versions[2], versions[3], versions[4]); err != nil {
		t.Fatal(err)
	}
	good, err := verify.FormatTrustFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	files := []string{
		string(good), strings.ReplaceAll(string(good), "\n", "\r\n\t"), change(`"version": 1`, `"version": 1, "version": 1`), change(`"power": 10`, `"power": 11`),
		change(`"power": 10`, `"power": 10, "more": 1`), change(`"pinned": "`, `"pinned": "0`), string(good) + "{}", change(`"height": 0`, `"height": 0.0`),
		change(`"zone": "MA"`, `"zone": "ma"`), change(`"version": 3`, `"version": 4`), `{}`, `null`, `[]`, `{"pinned":"","versions":[]}`, "\ufeff" + string(good),
		change(`"signature": "`, `"signature": "A`), change(`"zone": "MA"`, `"zone": "\u004dA"`), change(`"Pinned"`, `"pinned"`), change(`"pinned"`, `"Pinned"`), "",
	}
	var jobs []job
	for _, f := range files {
		jobs = append(jobs, job{"op": "trust", "file": f})
	}
	for _, v := range vectors {
		j := v.question(v.Bundle)
		j["trust"] = string(good)
		jobs = append(jobs, j)
	}
	// A file that was parsed elsewhere is checked as well: its last version here is
	// not signed.
	unsigned := regexp.MustCompile(`(?s),\s*"signatures": \[[^\]]*\]`).ReplaceAllString(string(good), "")
	jobs = append(jobs, job{"op": "object", "file": string(good), "bundle": vectors[0].Bundle, "now": vectors[0].Now},
		job{"op": "object", "file": unsigned, "bundle": vectors[0].Bundle, "now": vectors[0].Now})
	answers := runJobs(t, sourceFile, jobs)
	if n := len(answers); answers[n-2].Error != "" || !strings.Contains(answers[n-1].Error, "not signed by the quorum") {
		t.Errorf("parsed elsewhere: %q, unsigned: %q", answers[n-2].Error, answers[n-1].Error)
	}
	for i, f := range files {
		_, err := verify.ParseTrustFile([]byte(f))
		if (err != nil) != (answers[i].Error != "") {
			t.Errorf("trust file %d: %s %q, want %v", i, answers[i].Result, answers[i].Error, err)
		}
	}
	var got struct {
		Zone, Chain, Hash, Pinned string
		Version                   uint32
	}
	answers[0].into(t, &got)
	if s := &file.Latest().Statement; got.Zone != s.Zone.String() || got.Chain != s.Chain || got.Version != 4 || got.Hash != s.Hash().String() || got.Pinned != file.Pinned().String() {
		t.Errorf("trust file: %+v", got)
	}
	for i, v := range vectors {
		base := file.Latest()
		if b, err := verify.Decode(v.Bundle); err == nil {
			base = file.For(b)
		}
		var got judgement
		answers[len(files)+i].into(t, &got)
		if d := got.differs(verify.CheckEncoded(base, v.Bundle, v.options())); d != "" {
			t.Errorf("%s: %s", v.name, d)
		}
	}
}

// TestSignatureEdges tries encodings of points that libraries treat differently:
// of small order, not canonical, with a signed zero.
func TestSignatureEdges(t *testing.T) {
	points := []string{
		"0000000000000000000000000000000000000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "0200000000000000000000000000000000000000000000000000000000000000",
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "5866666666666666666666666666666666666666666666666666666666666666",
	}
	scalars := []string{
		"0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
		"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", "ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
	}
	var jobs []job
	var want []bool
	for _, a := range points {
		for _, r := range points {
			for _, s := range scalars {
				pub, _ := hex.DecodeString(a)
				sig, _ := hex.DecodeString(r + s)
				jobs = append(jobs, job{"op": "signature", "key": "01" + a, "message": "6d", "signature": r + s})
				want = append(want, keys.VerifyEd25519(pub, []byte("m"), sig))
			}
		}
	}
	good := 0
	for i, a := range runJobs(t, sourceFile, jobs) {
		if string(a.Result) != strconv.FormatBool(want[i]) {
			t.Errorf("%v: %s %s, want %t", jobs[i], a.Result, a.Error, want[i])
		}
		if want[i] {
			good++
		}
	}
	if good < 100 || good == len(jobs) {
		t.Errorf("%d of %d are good, so this tests nothing", good, len(jobs))
	}
}

// TestQuorums compares when random quorums are met.
func TestQuorums(t *testing.T) {
	r := source(t)
	var pool []cityid.PublicKey
	for i := range 12 {
		switch i % 3 {
		case 0:
			pool = append(pool, cityid.PublicKey("\x01"+strings.Repeat(string(rune('a'+i)), 32)))
		case 1: // passkeys of two relying parties
			rp := []string{"a.example", "b.example"}[i/3%2]
			pool = append(pool, cityid.PublicKey("\x03"+strings.Repeat(string(rune('a'+i)), 33)+string(rune(len(rp)))+rp+"\x00\x00"))
		case 2: // passkeys of one, and malformed ones
			pool = append(pool, cityid.PublicKey("\x03"+strings.Repeat(string(rune('a'+i)), 33)+[]string{"\x09a.example\x00\x00", "", "\x09a.exa", "\x00\x00\x00"}[i/3]))
		}
	}
	var quorum func(depth int) *cityid.Quorum
	quorum = func(depth int) *cityid.Quorum {
		q := &cityid.Quorum{}
		for range 1 + r.IntN(4) {
			var m cityid.QuorumMember
			if depth < 2 && r.IntN(3) == 0 {
				m.Quorum = quorum(depth + 1)
			} else {
				for range r.IntN(4) {
					m.Keys = append(m.Keys, pool[r.IntN(len(pool))])
				}
			}
			q.Members = append(q.Members, m)
		}
		q.Threshold = uint8(1 + r.IntN(len(q.Members)))
		return q
	}
	var jobs []job
	var want []bool
	met := 0
	for range 4000 {
		q := quorum(0)
		var signed []cityid.PublicKey
		for _, k := range pool {
			if r.IntN(5) < 3 {
				signed = append(signed, k)
			}
		}
		ok := q.Met(cityid.KeysOf(signed...))
		jobs, want = append(jobs, job{"op": "quorum", "quorum": q, "keys": append([]cityid.PublicKey{}, signed...)}), append(want, ok)
		if ok {
			met++
		}
	}
	if met < 500 || met > 3500 {
		t.Errorf("%d of %d are met, so this tests little", met, len(jobs))
	}
	for i, a := range runJobs(t, sourceFile, jobs) {
		if string(a.Result) != strconv.FormatBool(want[i]) {
			t.Errorf("%v: %s %s, want %t", jobs[i], a.Result, a.Error, want[i])
		}
	}
}

// TestTyped compares the reading of what people type and scan.
func TestTyped(t *testing.T) {
	r := source(t)
	var texts []string
	seeds := []string{
		"MA.156.1301.01/20.010203.L-2/000123.LA7.E1", "HTTPS://ID.EXAMPLE:8443/GOV/MA.156.1301.02/20.010501/000045", "http://10.1.2.3/ma/", "https://0X7F.1/MA.156",
		"HTTPS://ID.EXAMPLE/X/MA.156.1301.02/20.010501/000045/" + strings.Repeat("0", 174), "MA.156.1301*" + cityid.MustParse("MA.156.1301").CheckCharacters(),
		"ＭＡ．１５６", "https://127.0.0.1/MA", "HTTP://A.B:80/MA.156/20.010501", "https://a.b/MA.156/20.010501/1.EX.LX", "https://192.168.001.1/MA",
	}
	u, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	mark, err := label.SourceURL(u, label.SourceMark{Code: cityid.MustParse("MA.156.1301.02"), Digest: cityid.Digest{1}, Time: 1763600000, Nonce: label.Nonce{1}, Expires: 1863600000})
	if err != nil {
		t.Fatal(err)
	}
	seeds = append(seeds, mark)
	alphabet := []rune("MA156.1301/20*-XZazＡ．＊ſı\u00a0\u2028\n:0 é😀\ufffd?#%LMDVE")
	for range 3000 {
		s := []rune(seeds[r.IntN(len(seeds))])
		for range r.IntN(4) {
			i := r.IntN(len(s) + 1)
			c := alphabet[r.IntN(len(alphabet))]
			switch {
			case i == len(s) || r.IntN(3) == 0:
				s = slices.Insert(s, i, c)
			case r.IntN(3) == 0:
				s = slices.Delete(s, i, i+1)
			default:
				s[i] = c
			}
		}
		texts = append(texts, string(s))
	}
	compareCodes(t, texts)
	var jobs []job
	for _, s := range texts {
		jobs = append(jobs, job{"op": "payload", "text": s})
	}
	good := 0
	for i, a := range runJobs(t, sourceFile, jobs) {
		p, err := label.ParsePayload(texts[i])
		if (err != nil) != (a.Error != "") {
			t.Errorf("%q: %s %q, want %+v %v", texts[i], a.Result, a.Error, p, err)
		}
		if err != nil || a.Error != "" {
			continue
		}
		good++
		var got struct{ Kind, Public, Host, Code string }
		a.into(t, &got)
		if got.Kind != p.Kind.String() || got.Public != p.Public.String() || got.Host != p.Public.Host() || got.Code != p.Code.String() {
			t.Errorf("%q: %+v, want %+v", texts[i], got, p)
		}
	}
	if good < 300 {
		t.Errorf("%d of %d could be read, so this tests little", good, len(texts))
	}
}
