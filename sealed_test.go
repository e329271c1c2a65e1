// SPDX-License-Identifier: Apache-2.0

package cityid_test

import (
	"encoding/json"
	"strings"
	"testing"

	"cityid"
)

const sealedLine = `{"code":"MA.156.1301.01/20.020101/000001","salt":"` + "0100000000000000000000000000000000000000000000000000000000000000" + `","content":{"names":{"zh":"一号楼"}}}`

func TestSealedContentOpens(t *testing.T) {
	s, err := cityid.ParseSealedContent([]byte(sealedLine))
	if err != nil {
		t.Fatal(err)
	}
	r := cityid.Record{Code: s.Code, Revision: 3, Sealed: s.Digest()}
	if err := s.Opens(&r); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*cityid.SealedContent, *cityid.Record){
		"the record of": func(s *cityid.SealedContent, _ *cityid.Record) {
			s.Code = cityid.MustParse("MA.156.1301.01/20.020101/000002")
		},
		"is not sealed":          func(_ *cityid.SealedContent, r *cityid.Record) { r.Sealed = cityid.Digest{} },
		"revision 3 of":          func(s *cityid.SealedContent, _ *cityid.Record) { s.Salt[31]++ },
		"with its salt has":      func(s *cityid.SealedContent, _ *cityid.Record) { s.Content.Names = nil },
		"MA.156.1301.01/20.0201": func(_ *cityid.SealedContent, r *cityid.Record) { r.Sealed[0]++ },
	} {
		other, record := *s, r
		change(&other, &record)
		if err := other.Opens(&record); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestParseSealedContent(t *testing.T) {
	for what, line := range map[string]string{
		"empty":         "",
		"unknown field": strings.Replace(sealedLine, `"content"`, `"more":1,"content"`, 1),
		"repeated":      strings.Replace(sealedLine, `"content"`, `"code":"MA.156.1301","content"`, 1),
		"trailing":      sealedLine + "{}",
		"cut off":       sealedLine[:len(sealedLine)-1],
		"no salt":       strings.Replace(sealedLine, "01000000", "00000000", 1),
		"no code":       strings.Replace(sealedLine, `"code":"MA.156.1301.01/20.020101/000001",`, "", 1),
		"bad content":   strings.Replace(sealedLine, `"zh"`, `"!"`, 1),
		"too large":     sealedLine + strings.Repeat(" ", cityid.MaxSealedContent),
	} {
		if s, err := cityid.ParseSealedContent([]byte(line)); err == nil || s != nil {
			t.Errorf("%s: %v, %v", what, s, err)
		}
	}
}

// FuzzParseSealedContent: what is taken has a digest, and is taken again as it
// is written.
func FuzzParseSealedContent(f *testing.F) {
	f.Add([]byte(sealedLine))
	f.Add([]byte(`{"code":"MA.156.1301","salt":"01","content":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := cityid.ParseSealedContent(b)
		if err != nil {
			return
		}
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(line) > cityid.MaxSealedContent {
			return
		}
		again, err := cityid.ParseSealedContent(line)
		if err != nil || again.Digest() != s.Digest() {
			t.Fatalf("%s: %v, %v", line, again, err)
		}
	})
}
