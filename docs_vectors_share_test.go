// SPDX-License-Identifier: Apache-2.0

package cityid_test

import (
	"bytes"
	"testing"

	"cityid"
	"cityid/internal/office"
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
