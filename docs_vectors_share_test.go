// SPDX-License-Identifier: Apache-2.0

package cityid_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/office"
	"cityid/verify"
)

// termsVector shows what both parties of an agreement sign.
func termsVector(t *testing.T) []line {
	salt := cityid.Digest(bytes.Repeat([]byte{7}, 32))
	purpose := cityid.PurposeDigest(salt, "road safety")
	same(t, "purpose", sha([]byte("cityid/purpose/1"), salt[:], []byte("road safety")), purpose[:])
	terms := cityid.Terms{
		Dataset: cityid.MustParse("MA.156.1301.01/40.010101/1"), Consumer: cityid.MustParse("MA.156.1302"),
		Document: cityid.Digest(bytes.Repeat([]byte{1}, 32)), Policy: cityid.Digest(bytes.Repeat([]byte{2}, 32)),
		From: 1767225600, Until: 1798761600, Staleness: 30, Requests: 10_000, Octets: 1 << 30, Purpose: purpose,
		Respond: 1768435200, Nonce: cityid.Nonce(bytes.Repeat([]byte{3}, 16)),
	}
	if err := terms.Check(); err != nil {
		t.Error(err)
	}
	body, id := cityid.MustMarshal(&terms), terms.ID()
	same(t, "id", sha([]byte("cityid/terms/1"), body), id[:])
	return []line{hexLine("purpose", purpose[:]), hexLine("terms", body), hexLine("id", id[:])}
}

func purposeVector(t *testing.T) []line {
	p := office.Purpose{
		Format: "cityid/purpose/1", Salt: cityid.Digest(bytes.Repeat([]byte{9}, 32)), Text: "停车规划\nto plan car parks", Basis: "道路交通安全法 第33条",
	}
	digest := p.Digest()
	same(t, "digest", sha([]byte("cityid/purpose/1"), p.Salt[:], []byte(p.Text), []byte{0}, []byte(p.Basis)), digest[:])
	return []line{hexLine("encoded", cityid.MustMarshal(&p)), hexLine("digest", digest[:])}
}

// batchVector is a batch of three lines, and the proof of one.
func batchVector(t *testing.T) []line {
	source, seed := cityid.MustParse("MA.156.1301.01"), cityid.Digest(bytes.Repeat([]byte{5}, 32))
	pieces := []string{"21.5", "21.7", "21.9"}
	var leaves []cityid.Digest
	for i, x := range pieces {
		leaf := must(verify.BatchLeaf(seed, uint64(i), strings.NewReader(x)))(t)
		salt := sha([]byte("cityid/batch-salt/1"), seed[:], []byte{0, 0, 0, 0, 0, 0, 0, byte(i)})
		same(t, "leaf", sha([]byte{0}, salt, []byte(x)), leaf[:])
		leaves = append(leaves, leaf)
	}
	b := must(verify.NewBatch(seed, leaves))(t)
	root := b.Root()
	same(t, "root", sha([]byte{1}, sha([]byte{1}, leaves[0][:], leaves[1][:]), leaves[2][:]), root[:])
	p := must(b.Proof(source, 1, true))(t)
	if err := p.Check(strings.NewReader("21.7\n")); err != nil {
		t.Error(err)
	}
	var proof bytes.Buffer
	if err := json.Compact(&proof, p.Encode()); err != nil {
		t.Fatal(err)
	}
	out := []line{hexLine("seed", seed[:])}
	for i := range pieces {
		salt := verify.BatchSalt(seed, uint64(i))
		out = append(out, hexLine("salt of "+pieces[i], salt[:]), hexLine("leaf of "+pieces[i], leaves[i][:]))
	}
	return append(out, hexLine("root", root[:]), line{"proof of 21.7", proof.String()})
}
